"""Our parts in nbgrader's places: named in a course's `nbgrader_config.py`, nothing of nbgrader is patched.

`Readable` stands in for an unreadable notebook, `RunCells` survives a dead kernel, `SaveVerdicts` takes points only
from a verdict (stock nbgrader gives full marks to a cell without output and none to right code that warns on stderr).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient.exceptions import DeadKernelError
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import Execute, SaveAutoGrades

from autograder.checking import VERDICT_TYPE
from autograder.seeds import VARIABLE, student_key

SECRET = ".course_secret"
UNREADABLE = "unreadable"
NO_GRADES = (
    "**This submission could not be read as a notebook ({reason}).** Please submit the file again; no points yet."
)


class Readable(NotebookExporter):
    """Opens notebooks; one that cannot be opened is replaced by the empty homework with a note, so it earns nothing."""

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[str, dict]:
        try:
            notebook = nbformat.read(filename, as_version=4)
            nbformat.validate(notebook)
        except Exception as error:
            reason = type(error).__name__ if isinstance(error, nbformat.ValidationError) else "it is not JSON"
            notebook = self._empty_homework(resources or {})
            note = nbformat.v4.new_markdown_cell(NO_GRADES.format(reason=reason), id="unreadable-note")
            notebook.cells.insert(0, note)
            notebook.metadata[UNREADABLE] = reason
        return self.from_notebook_node(notebook, resources, **kwargs)

    def _empty_homework(self, resources: dict) -> NotebookNode:
        course, place = self.parent.coursedir, resources["nbgrader"]
        folder = course.format_path(course.release_directory, ".", place["assignment"])
        return nbformat.read(Path(folder) / f"{place['notebook']}.ipynb", as_version=4)


class RunCells(Execute):
    """Runs a notebook with its student's own seeds. A cell that kills the kernel is left out and the rest run again."""

    def preprocess(self, nb: NotebookNode, resources: dict, km: Any = None) -> tuple[NotebookNode, dict]:
        self.deadly: set[int] = set()
        with official_seeds(resources["nbgrader"]):
            while True:
                try:
                    return super().preprocess(nb, resources, km)
                except DeadKernelError:
                    self.deadly.add(self.running)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int) -> tuple[NotebookNode, dict]:
        if index in self.deadly:
            text = "This cell ended the whole session, so it was left out."
            cell.outputs = [nbformat.v4.new_output("error", ename="DeadKernel", evalue=text, traceback=[text])]
            return cell, resources
        self.running = index
        return super().preprocess_cell(cell, resources, index)


@contextlib.contextmanager
def official_seeds(place: dict[str, str]) -> Iterator[None]:
    """Kernels started inside get the student's key. nbgrader runs with the course folder as working directory."""
    secret = bytes.fromhex(Path(SECRET).read_text())
    os.environ[VARIABLE] = student_key(secret, place["assignment"], place["student"]).hex()
    try:
        yield
    finally:
        del os.environ[VARIABLE]


class SaveVerdicts(SaveAutoGrades):
    """Writes the points of verdicts into the gradebook; a graded cell without a verdict earns nothing."""

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        grade = self.gradebook.find_grade(
            cell.metadata.nbgrader["grade_id"], self.notebook_id, self.assignment_id, self.student_id
        )
        grade.auto_score = earned(cell)
        grade.needs_manual_grade = grade.manual_score is not None
        self.gradebook.db.commit()


def verdict_of(cell: NotebookNode) -> dict[str, Any] | None:
    """The verdict a graded cell ended with, if it did."""
    results = [output for output in cell.get("outputs", ()) if output.output_type == "execute_result"]
    return results[-1].data.get(VERDICT_TYPE) if results else None


def earned(cell: NotebookNode) -> float:
    """Points of the cell's verdict, at most what the cell is worth."""
    verdict = verdict_of(cell)
    return min(max(float(verdict["points"]), 0.0), float(cell.metadata.nbgrader["points"])) if verdict else 0.0
