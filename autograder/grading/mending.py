"""From whatever a student handed in to cells that can be run and a notebook that nbgrader can show.

What can be found is graded, by its id first and by its content next; the rest is missing, with the reason said. Points,
ids and test cells of the submission decide nothing, so changing them gains nothing; it is reported, apart from ordinary
edits, as a difference from the released notebook.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.errors import CourseError
from autograder.exercise import Exercise, load
from autograder.grading.examiner import Cell
from autograder.homework import cell_id

MOST_CELLS, LONGEST_CELL = 1000, 100_000
CHECK = re.compile(r"""^\s*check\(\s*["']([\w.]+)["']""", re.MULTILINE)
TAKEN_OVER = "This cell was missing or changed; it is shown as it was released."


class Unreadable(CourseError):
    """Not a notebook in any version."""


@dataclass
class Mended:
    """A notebook in nbgrader's form, the cells to run, and where each stands in it."""

    notebook: NotebookNode
    cells: list[Cell] = field(default_factory=list)
    places: list[int] = field(default_factory=list)  # of each cell to run, its place in the notebook
    notes: list[str] = field(default_factory=list)  # what was mended
    tampering: list[str] = field(default_factory=list)  # what was changed that students have no reason to change


def read(text: str) -> NotebookNode:
    """A notebook of any version as version 4: `Unreadable` with the reason where it cannot be."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None
    if not isinstance(raw, dict):
        raise Unreadable("it is not a notebook but some other JSON")
    try:
        if raw.get("nbformat", 4) < 4 or "worksheets" in raw:
            raw = nbformat.convert(nbformat.from_dict(raw), 4)
    except Exception:
        raise Unreadable("it is a notebook of an old version that cannot be converted") from None
    cells = raw.get("cells")
    if not isinstance(cells, list):
        raise Unreadable("it has no cells")
    tidy = [tidied(cell) for cell in cells[:MOST_CELLS] if isinstance(cell, dict)]
    return nbformat.v4.new_notebook(cells=tidy)


def tidied(raw: dict[str, Any]) -> NotebookNode:
    """A cell with nothing but what is used: type, text, and nbgrader's marks."""
    source = raw.get("source", "")
    if isinstance(source, list):
        source = "".join(piece for piece in source if isinstance(piece, str))
    source = source[:LONGEST_CELL] if isinstance(source, str) else ""
    kind = raw.get("cell_type") if raw.get("cell_type") in ("code", "markdown", "raw") else "raw"
    marks = raw.get("metadata", {}).get("nbgrader", {}) if isinstance(raw.get("metadata"), dict) else {}
    cell = getattr(nbformat.v4, f"new_{kind}_cell")(source)
    cell.metadata.nbgrader = nbformat.from_dict(marks) if isinstance(marks, dict) else NotebookNode()
    return cell


def mend(text: str, released: NotebookNode, topic: str) -> Mended:
    """Find every answer, put the released graded cells in their places, list what to run in which order."""
    notebook = read(text)
    exercises = load(topic)
    by_id = {marks(cell).get("grade_id"): cell for cell in released.cells if marks(cell).get("grade_id")}
    report = Mended(notebook)
    compare(notebook, released, report)
    answers = {name: find_answers(notebook.cells, exercise, by_id, report) for name, exercise in exercises.items()}
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader")
    notebook.cells = [cell for cell in notebook.cells if not (cell.cell_type == "code" and CHECK.search(cell.source))]
    for name, exercise in exercises.items():
        place(notebook, answers[name], by_id[exercise.answer_name], by_id[f"check_{exercise.answer_name}"])
    give_ids(notebook)
    plan(notebook, released, exercises, report)
    notebook.metadata = nbformat.from_dict(released.metadata)
    return report


def marks(cell: NotebookNode) -> dict[str, Any]:
    return cell.metadata.get("nbgrader", {})


def defines(cell: NotebookNode, name: str) -> bool:
    """Whether a cell defines a function or class of that name at its top level."""
    if re.search(rf"^(async\s+def|def|class)\s+{name}\b", cell.source, re.MULTILINE):
        return True
    return bool(re.search(rf"^{name}\s*=", cell.source, re.MULTILINE))


def find_answers(
    cells: list[NotebookNode], exercise: Exercise, by_id: dict[str, NotebookNode], report: Mended
) -> NotebookNode | None:
    """The cell that holds the answer: by id if it defines the asked name, else the last cell that does."""
    name, released = exercise.answer_name, by_id[exercise.answer_name]
    written = [cell for cell in cells if defines(cell, name) and not CHECK.search(cell.source)]
    done = [cell for cell in written if cell.source.strip() != released.source.strip()] or written
    marked = [cell for cell in done if marks(cell).get("grade_id") == name]
    code = [cell for cell in done if cell.cell_type == "code"]
    chosen = next(iter([cell for cell in marked if cell in code] or code[-1:] or marked or done[-1:]), None)
    if chosen is None:
        report.notes.append(f"{name}: no cell defines it")
    elif chosen.cell_type != "code":
        report.notes.append(f"{name}: its cell was of type {chosen.cell_type}, taken as code")
        replacement = nbformat.v4.new_code_cell(chosen.source)
        replacement.metadata.nbgrader = chosen.metadata.nbgrader
        cells[[cell is chosen for cell in cells].index(True)] = replacement
        chosen = replacement
    for cell in written:
        if cell is not chosen and cell.source.strip() == released.source.strip() and cell.cell_type == "code":
            cell.source = ""  # an untouched copy of the stub must not undo the answer
            report.notes.append(f"{name}: an empty copy of its cell was left out")
    return chosen


def place(notebook: NotebookNode, answer: NotebookNode | None, stub: NotebookNode, graded: NotebookNode) -> None:
    """Mark the answer as nbgrader's and put the released graded cell right behind it."""
    graded = nbformat.from_dict(json.loads(json.dumps(graded)))
    if answer is None:
        answer = nbformat.from_dict(json.loads(json.dumps(stub)))
        answer.source = f"# {TAKEN_OVER}\n{stub.source}"
        notebook.cells.append(answer)
    answer.metadata.nbgrader = nbformat.from_dict(marks(stub))
    where = [cell is answer for cell in notebook.cells].index(True)
    notebook.cells.insert(where + 1, graded)


def give_ids(notebook: NotebookNode) -> None:
    """Every cell an id of its own, in nbformat 4.5."""
    for number, cell in enumerate(notebook.cells):
        cell.id = cell_id(f"{number}")
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.nbformat, notebook.nbformat_minor = 4, 5


def plan(notebook: NotebookNode, released: NotebookNode, exercises: dict[str, Exercise], report: Mended) -> None:
    """What to run, in the notebook's order; the released imports first where the student's have gone."""
    by_check = {f"check_{exercise.answer_name}": name for name, exercise in exercises.items()}
    first_code = [cell for cell in released.cells if cell.cell_type == "code"][:2]
    install, imports = (cell.source for cell in first_code)
    if all(cell.source.strip() != imports.strip() for cell in notebook.cells):
        report.cells.append(Cell(imports))
        report.places.append(-1)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip() or cell.source.strip() == install.strip():
            continue
        report.cells.append(Cell(cell.source, by_check.get(marks(cell).get("grade_id"), "")))
        report.places.append(number)


def compare(notebook: NotebookNode, released: NotebookNode, report: Mended) -> None:
    """List what was changed of the parts that are not the student's to change."""
    theirs: dict[str, list[NotebookNode]] = {}
    for cell in notebook.cells:
        with contextlib.suppress(TypeError):
            theirs.setdefault(marks(cell).get("grade_id"), []).append(cell)
    known = {marks(cell)["grade_id"]: cell for cell in released.cells if marks(cell).get("grade_id")}
    for grade_id in theirs:
        if grade_id and grade_id not in known:
            report.tampering.append(f"a cell has the unknown id {str(grade_id)[:60]!r}")
    for grade_id, original in known.items():
        copies = theirs.get(grade_id, [])
        if not copies:
            report.notes.append(f"the cell {grade_id} was missing")
        if len(copies) > 1:
            report.notes.append(f"the cell {grade_id} stands {len(copies)} times")
        for cell in copies[:1]:
            report.tampering += differences(grade_id, cell, original)


def differences(grade_id: str, cell: NotebookNode, original: NotebookNode) -> list[str]:
    """How a marked cell differs from the released one where it should not."""
    found = []
    if cell.cell_type != original.cell_type:
        found.append(f"{grade_id}: type {cell.cell_type}, released as {original.cell_type}")
    for key, told in (("points", "points"), ("grade", "graded"), ("solution", "answer"), ("locked", "locked")):
        if marks(cell).get(key) != marks(original).get(key):
            found.append(f"{grade_id}: {told} {str(marks(cell).get(key))[:40]}, released as {marks(original).get(key)}")
    if marks(original).get("grade") and cell.source.strip() != original.source.strip():
        found.append(f"{grade_id}: the graded cell was rewritten")
    return found
