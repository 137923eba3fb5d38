"""Our parts in nbgrader's places: named in a course's `nbgrader_config.py`, nothing of nbgrader is patched.

`find_renamed` finds a notebook under another name; `Readable` mends what was handed in, or puts the empty homework in
its place; `Examine` has the answers judged outside the student's process; `SaveVerdicts` writes the points in one
transaction. Outputs of cells decide nothing: stock nbgrader reads points from them, gives full marks to a cell without
output, and none to right code that warns on stderr.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades
from traitlets import Unicode

from autograder.grading import job as jobs
from autograder.grading.batch import handed_in, meant
from autograder.grading.cage import chosen
from autograder.grading.gradebook import Writer
from autograder.grading.mending import Unreadable, decoded, mend
from autograder.seeds import read_secret, student_key

POINTS = "ml_course_verdicts"  # the resources' entry in which verdicts travel from Examine to SaveVerdicts


def find_renamed(assignment: str, student: str, notebooks: list[str]) -> None:
    """`pre_convert_hook`: where the asked file is missing, the one that can be meant is copied to its name."""
    wanted = [path for path in notebooks if Path(path).stem == assignment]
    if notebooks and not wanted:
        found = meant(Path(notebooks[0]).parent, assignment)
        if found is not None:
            target = found.with_name(f"{assignment}.ipynb")
            shutil.copyfile(found, target)
            wanted = [str(target)]
    notebooks[:] = wanted or notebooks


class Readable(NotebookExporter):
    """Opens what was handed in, in whatever state, as a notebook that nbgrader's frame can carry on with."""

    def from_filename(self, filename: str, resources: dict | None = None, **kwargs: Any) -> tuple[str, dict]:
        place = (resources or {})["nbgrader"]
        released = released_notebook(place)
        if Path(filename).resolve().is_relative_to(Path(self.parent.coursedir.autograded_directory).resolve()):
            return super().from_filename(filename, resources, **kwargs)  # mended already, on its way to be graded
        text = decoded(handed_in(Path(filename)))
        try:
            notebook = mend(text, released, place["assignment"]).notebook
        except Unreadable as error:
            notebook = released
            notebook.metadata[jobs.UNREADABLE] = str(error)
        return self.from_notebook_node(notebook, resources, **kwargs)


def released_notebook(place: dict[str, str]) -> NotebookNode:
    """The notebook as students got it. nbgrader runs with the course folder as working directory."""
    return nbformat.read(Path("release") / place["assignment"] / f"{place['notebook']}.ipynb", as_version=4)


class Examine(NbGraderPreprocessor):
    """Has every answer judged in a cage of its own; what is shown of it is for the feedback alone."""

    cage = Unicode("", help="namespaces, bubblewrap, none (unsafe); empty: the best this machine offers").tag(
        config=True
    )

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        place = resources["nbgrader"]
        released = nbformat.writes(released_notebook(place))
        key = student_key(read_secret(Path()), place["assignment"], place["student"])
        job = jobs.Job(place["assignment"], place["student"], nbformat.writes(nb), released, key, chosen(self.cage))
        reason = nb.metadata.get(jobs.UNREADABLE)
        result = jobs.unreadable(job, reason) if reason else jobs.grade(job)
        resources[POINTS] = result.verdicts
        return nbformat.reads(result.notebook, as_version=4), resources


class SaveVerdicts(SaveAutoGrades):
    """Writes the verdicts of `Examine` into the gradebook, all of a submission's or none."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        place = resources["nbgrader"]
        with Writer(place["db_url"], place["assignment"]) as writer:
            timestamp = writer.submission(place["student"]).timestamp  # nbgrader has noted it already
            writer.write(place["student"], resources[POINTS], timestamp)
        return nb, resources
