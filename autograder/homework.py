"""From `solutions/<topic>.py`, the only source of an assignment, to the notebook a student gets.

The source says nothing to nbgrader: a cell with a solution region is an answer, a cell that is one call of `check` is
graded, and the points come from the exercise bank. The rest is nbgrader's own `generate_assignment`.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import logging
import re
import shutil
import tempfile
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from traitlets.config import Config

import autograder.environment  # noqa: F401  (nbgrader finds alembic)
from autograder.errors import CourseError
from autograder.exercise import Exercise, load, topics
from autograder.install import install_cell

ROOT = Path(__file__).parent.parent
SOLUTIONS, HOMEWORK = ROOT / "solutions", ROOT / "notebooks" / "homework"
CHECK_LINE = re.compile(r'^check\("(?P<name>[\w.]+)", (?P<answer>\w+)\)$')
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SCHEMA = {"schema_version": 3, "task": False}


def read_source(topic: str) -> NotebookNode:
    """`solutions/<topic>.py` as a notebook without any metadata: `CourseError` where there is none."""
    path = SOLUTIONS / f"{topic}.py"
    if not path.is_file():
        raise CourseError(f"no homework called {topic!r}; there is: {', '.join(topics())}")
    import jupytext  # here, because graders import this module and never come here

    notebook = jupytext.read(path, fmt="py:percent")
    for cell in notebook.cells:
        cell.metadata = NotebookNode()
    return notebook


def checked(cell: NotebookNode) -> str | None:
    """The exercise a graded cell asks about, else None."""
    match = CHECK_LINE.match(cell.source.strip()) if cell.cell_type == "code" else None
    return match["name"] if match else None


def defined(source: str) -> str:
    """The function or class an answer cell defines (its first)."""
    return next(node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef))


def source_notebook(topic: str) -> NotebookNode:
    """The instructor's notebook: solutions in place, nbgrader's metadata filled in, ids that never change."""
    exercises, notebook = load(topic), read_source(topic)
    by_answer = {exercise.answer_name: exercise for exercise in exercises.values()}
    opening, *rest = notebook.cells
    notebook.cells = [opening, nbformat.v4.new_code_cell(install_cell()), *rest]
    for number, cell in enumerate(notebook.cells):
        label = mark(cell, exercises, by_answer) or f"{cell.cell_type}-{number:02d}"
        cell.id = cell_id(label)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        language_info={"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    )
    missing = set(exercises) - {name for cell in notebook.cells if (name := checked(cell))}
    if missing:
        raise CourseError(f"solutions/{topic}.py never checks {', '.join(sorted(missing))}: add the graded cells")
    return nbformat.from_dict(notebook)


def mark(cell: NotebookNode, exercises: dict[str, Exercise], by_answer: dict[str, Exercise]) -> str | None:
    """Give a cell its metadata and return its grade_id; headings of exercises get their points line."""
    if name := checked(cell):
        grade_id, points = "check_" + exercises[name].answer_name, exercises[name].points
        cell.metadata.nbgrader = dict(
            grade=True, grade_id=grade_id, locked=True, points=points, solution=False, **SCHEMA
        )
        return grade_id
    if cell.cell_type == "code" and BEGIN in cell.source:
        grade_id = defined(cell.source)
        cell.metadata.nbgrader = dict(grade=False, grade_id=grade_id, locked=False, solution=True, **SCHEMA)
        return grade_id
    if cell.cell_type == "markdown" and (heading := re.match(r"## `?(\w+)`?\s*$", cell.source, re.MULTILINE)):
        exercise = by_answer.get(heading[1])
        if exercise:
            level = ("easy", "medium", "hard")[exercise.difficulty - 1]
            told = f"*{exercise.points:g} points · {level} · about {exercise.minutes} minutes*"
            cell.source = cell.source.replace(heading[0], f"{heading[0].rstrip()}\n\n{told}\n", 1)
    return None


def cell_id(label: str) -> str:
    """A valid notebook cell id that depends on the label alone."""
    return re.sub(r"[^a-zA-Z0-9_-]", "-", label)[:55] + "-" + hashlib.sha256(label.encode()).hexdigest()[:8]


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    nbformat.validate(notebook)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook, version=4) + "\n", encoding="utf-8")


def release(topic: str, course: Path, config: Config | None = None) -> Path:
    """Write `source/` and have nbgrader make `release/` in a course folder. Returns the released notebook."""
    from nbgrader.apps.api import NbGraderAPI

    write_notebook(source_notebook(topic), course / "source" / topic / f"{topic}.ipynb")
    settings = Config(config or {})
    settings.CourseDirectory.root = str(course)
    with quiet("traitlets"):
        result = NbGraderAPI(config=settings).generate_assignment(topic, force=True, create=True)
    if not result["success"]:
        raise CourseError(f"nbgrader could not release {topic}: {last_error(result.get('error') or result['log'])}")
    return course / "release" / topic / f"{topic}.ipynb"


def last_error(log: str) -> str:
    """The line of a log that names the error; its last one where none does."""
    lines = [line.strip() for line in log.splitlines() if line.strip()] or ["it did not say why"]
    named = [line for line in lines if re.match(r"(\(?[\w.]+(Error|Exception)\)?:? )", line)]
    return (named or lines)[-1][:300]


def homework_notebook(topic: str) -> str:
    """The text of the released notebook, byte-identical from run to run."""
    with tempfile.TemporaryDirectory() as folder:
        return release(topic, Path(folder)).read_text(encoding="utf-8")


def write_homework(topic: str) -> Path:
    """Generate `notebooks/homework/<topic>/<topic>.ipynb`."""
    path = HOMEWORK / topic / f"{topic}.ipynb"
    text = homework_notebook(topic)  # before the old one goes
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return path


@cache
def answer_cells(topic: str) -> dict[str, str]:
    """Source of each answer cell of the solution, by the exercise's full name."""
    cells = read_source(topic).cells
    answers = {defined(cell.source): cell.source for cell in cells if cell.cell_type == "code" and BEGIN in cell.source}
    return {exercise.name: answers[exercise.answer_name] for exercise in load(topic).values()}


@cache
def import_cell(topic: str) -> str:
    """Source of the homework's first code cell, which imports what every answer may use."""
    return next(cell.source for cell in read_source(topic).cells if cell.cell_type == "code")


def stub(source: str) -> str:
    """An answer cell as a student finds it."""
    lines, inside = [], False
    for line in source.splitlines():
        if BEGIN in line:
            indent = line[: len(line) - len(line.lstrip())]
            lines += [f"{indent}# YOUR CODE HERE", f"{indent}raise NotImplementedError()"]
            inside = True
        elif END in line:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)


@contextlib.contextmanager
def quiet(*names: str):
    """Keep libraries that log every step from filling the screen."""
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def main() -> None:
    """Write every homework notebook."""
    for topic in topics():
        print(write_homework(topic).relative_to(ROOT))


if __name__ == "__main__":
    main()
