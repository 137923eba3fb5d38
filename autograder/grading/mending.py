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
from autograder.wire import whole

LARGEST_FILE = 64 * 2**20  # bytes
MOST_CELLS, LONGEST_CELL, LONGEST_TEXT = 1000, 100_000, 2_000_000  # the last in characters of all cells together
# Of text cells, what is shown of one and of all: the time to render some texts grows with the square of their length.
LONGEST_PROSE, MOST_PROSE = 10_000, 100_000
CHECK = re.compile(r"""^[ \t]*check\([ \t]*["']([\w.]+)["']""", re.MULTILINE)
ONLY_CHECK = re.compile(r"""check\(\s*["'][\w.]+["']\s*,\s*\w+\s*\)\s*;?\s*(#.*)?""")
ACTIVE = re.compile(r"<[a-z/!?]|(script|data)\W{0,9}:|&(#|colon|tab|newline)", re.IGNORECASE)
MARKS = ("grade_id", "points", "grade", "solution", "locked")
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


def decoded(content: bytes) -> str:
    """A file's text in whichever Unicode it was saved: some editors write UTF-16, or a mark before the first letter."""
    return content.decode(json.detect_encoding(content), errors="replace")


def read(text: str) -> NotebookNode:
    """A notebook of any version as version 4: `Unreadable` with the reason where it cannot be."""
    if len(text) > LARGEST_FILE:
        raise Unreadable(f"it is larger than {LARGEST_FILE // 2**20} MB")
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("it is not JSON") from None
    if not isinstance(raw, dict):
        raise Unreadable("it is not a notebook but some other JSON")
    try:
        version = raw.get("nbformat")
        if "worksheets" in raw or (type(version) is int and version < 4):
            raw = nbformat.convert(nbformat.from_dict(raw), 4)
    except Exception:
        raise Unreadable("it is a notebook of an old version that cannot be converted") from None
    cells = raw.get("cells")
    if not isinstance(cells, list):
        raise Unreadable("it has no cells")
    tidy, length = [], 0
    for cell in cells[:MOST_CELLS]:
        if isinstance(cell, dict):
            tidy.append(tidied(cell))
            length += len(tidy[-1].source)
            if length > LONGEST_TEXT:
                break
    return NotebookNode(cells=tidy, metadata=NotebookNode(), nbformat=4, nbformat_minor=5)


def tidied(raw: dict[str, Any]) -> NotebookNode:
    """A cell with nothing but what is used: type, text, and nbgrader's marks."""
    source = raw.get("source", "")
    if isinstance(source, list):
        source = "".join(piece for piece in source if isinstance(piece, str))
    source = whole(source[:LONGEST_CELL]) if isinstance(source, str) else ""
    kind = raw.get("cell_type") if raw.get("cell_type") in ("code", "markdown", "raw") else "raw"
    marks = raw.get("metadata", {}).get("nbgrader", {}) if isinstance(raw.get("metadata"), dict) else {}
    kept = NotebookNode()
    for key in MARKS:
        if isinstance(marks, dict) and type(marks.get(key)) in (str, int, float, bool):
            kept[key] = whole(marks[key][:100]) if type(marks[key]) is str else marks[key]
    return new_cell(kind, source, kept)


def new_cell(kind: str, source: str, marks: NotebookNode | None = None) -> NotebookNode:
    """A cell in nbformat 4.5, as `nbformat.v4.new_code_cell` makes it but without a look at the schema each time."""
    cell = NotebookNode(cell_type=kind, id="", source=source, metadata=NotebookNode(nbgrader=marks or NotebookNode()))
    return NotebookNode(cell, outputs=[], execution_count=None) if kind == "code" else cell


def mend(text: str, released: NotebookNode, topic: str) -> Mended:
    """Find every answer, put the released graded cells in their places, list what to run in which order."""
    notebook = read(text)
    exercises = load(topic)
    by_id = {marks(cell).get("grade_id"): cell for cell in released.cells if marks(cell).get("grade_id")}
    report = Mended(notebook)
    compare(notebook, released, report)
    answers = {name: find_answers(notebook.cells, exercise, by_id, report) for name, exercise in exercises.items()}
    asked = {name: asking(notebook.cells, name) for name in exercises}
    old = [cell for cell in notebook.cells if only_checks(cell)]
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader")
    for name, exercise in exercises.items():
        stub, graded = by_id[exercise.answer_name], by_id[f"check_{exercise.answer_name}"]
        place(notebook, answers[name], asked[name], stub, graded)
    notebook.cells = [cell for cell in notebook.cells if not any(cell is one for one in old)]
    calm(notebook, {cell.source.strip() for cell in released.cells})
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
    written = [cell for cell in cells if defines(cell, name)]
    done = [cell for cell in written if cell.source.strip() != released.source.strip()] or written
    marked = [cell for cell in done if marks(cell).get("grade_id") == name]
    code = [cell for cell in done if cell.cell_type == "code"]
    chosen = next(iter([cell for cell in marked if cell in code] or code[-1:] or marked or done[-1:]), None)
    if chosen is None:
        report.notes.append(f"{name}: no cell defines it")
    elif chosen.cell_type != "code":
        report.notes.append(f"{name}: its cell was of type {chosen.cell_type}, taken as code")
        replacement = new_cell("code", chosen.source, marks(chosen))
        cells[[cell is chosen for cell in cells].index(True)] = replacement
        chosen = replacement
    for cell in written:
        if cell is not chosen and cell.source.strip() == released.source.strip() and cell.cell_type == "code":
            cell.source = ""  # an untouched copy of the stub must not undo the answer
            report.notes.append(f"{name}: an empty copy of its cell was left out")
    return chosen


def only_checks(cell: NotebookNode) -> bool:
    """Whether a cell does nothing but ask for checks. An answer with such a line below it does more."""
    lines = [line.strip() for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
    return cell.cell_type == "code" and bool(lines) and all(map(ONLY_CHECK.fullmatch, lines))


def asking(cells: list[NotebookNode], name: str) -> list[NotebookNode]:
    """The student's own graded cell of an exercise, else every cell that asks for its check."""
    grade_id = f"check_{name.split('.')[1]}"
    marked = [cell for cell in cells if marks(cell).get("grade_id") == grade_id]
    return marked or [cell for cell in cells if cell.cell_type == "code" and name in CHECK.findall(cell.source)]


def calm(notebook: NotebookNode, released: set[str]) -> None:
    """Let nothing a student wrote act in the browser of whoever reads it: such text is shown as it was typed."""
    room = MOST_PROSE
    for number, cell in enumerate(notebook.cells):
        text = cell.source
        if cell.cell_type == "code" or text.strip() in released:
            continue
        most = min(LONGEST_PROSE, room)
        room -= min(len(text), most)
        if cell.cell_type == "raw" or len(text) > most or ACTIVE.search(text):
            text = text if len(text) <= most else f"{text[:most]}\n… and so on: too long to show"
            fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 3)
            notebook.cells[number] = nbformat.v4.new_markdown_cell(f"{fence}text\n{text}\n{fence}")


def place(
    notebook: NotebookNode,
    answer: NotebookNode | None,
    asked: list[NotebookNode],
    stub: NotebookNode,
    graded: NotebookNode,
) -> None:
    """Mark the answer as nbgrader's; put the released graded cell where the student's is, else right behind it."""
    graded = nbformat.from_dict(json.loads(json.dumps(graded)))
    if answer is None:
        answer = nbformat.from_dict(json.loads(json.dumps(stub)))
        answer.source = f"# {TAKEN_OVER}\n{stub.source}"
        notebook.cells.append(answer)
    answer.metadata.nbgrader = nbformat.from_dict(marks(stub))
    where = [cell is answer for cell in notebook.cells].index(True)
    later = [n for n, cell in enumerate(notebook.cells) if n > where and any(cell is one for one in asked)]
    notebook.cells.insert((later or [where])[0] + 1, graded)


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
