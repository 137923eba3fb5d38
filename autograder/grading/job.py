"""One submission from its bytes to its verdicts: the piece of work that workers, Dask and nbgrader all do alike."""

from __future__ import annotations

import ast
import contextlib
import json
import multiprocessing.util
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.checking import VERDICT_TYPE, amount, as_html
from autograder.exercise import load
from autograder.grading.examiner import PATIENT, Examined, Examiner, Patience, refused
from autograder.grading.mending import Mended, Unreadable, mend
from autograder.judging import Facet, Verdict

UNREADABLE = "unreadable"
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Job:
    """A submission: what was handed in, what had been released, whose it is, and the key of that student's cases."""

    topic: str
    student: str
    submitted: str
    released: str
    key: bytes
    cage: str
    patience: Patience = PATIENT


@dataclass(frozen=True)
class Result:
    """What came of it, as plain JSON values but for the graded notebook's text."""

    topic: str
    student: str
    verdicts: list[dict[str, Any]]
    notebook: str
    notes: list[str] = field(default_factory=list)
    tampering: list[str] = field(default_factory=list)
    unreadable: str = ""
    seconds: float = 0.0

    @property
    def points(self) -> float:
        return sum(verdict["points"] for verdict in self.verdicts)

    def record(self) -> dict[str, Any]:
        """For the journal: everything but the notebook."""
        return {key: value for key, value in asdict(self).items() if key != "notebook"}


@cache
def examiner(kind: str, released: str) -> Examiner:
    """This process's examiner for a homework; its template lives as long as the process.

    It has imported what the released notebook imports and no more: the smaller a process, the cheaper its forks.
    """
    made = Examiner(kind, imported(parsed(released)))
    multiprocessing.util.Finalize(None, made.close, exitpriority=1)  # a worker of a pool ends without `atexit`
    return made


def grade(job: Job, examine: Callable[[list, bytes, Patience], Examined] | None = None) -> Result:
    """Mend, examine and write up one submission."""
    began = time.monotonic()
    try:
        mended = mend(job.submitted, parsed(job.released), job.topic)
    except Unreadable as error:
        return unreadable(job, str(error))
    examined = (examine or examiner(job.cage, job.released).examine)(mended.cells, job.key, job.patience)
    verdicts = [examined.verdicts[name].as_dict() for name in load(job.topic)]
    write_up(mended, examined, verdicts)
    seconds = round(time.monotonic() - began, 3)
    text = nbformat.writes(mended.notebook, version=4) + "\n"
    notes = [*mended.notes, *faults(mended, examined)]
    return Result(job.topic, job.student, verdicts, text, notes, mended.tampering, "", seconds)


def imported(notebook: NotebookNode) -> list[str]:
    """The modules that a notebook's cells import, in their order, but for the course's own."""
    found: dict[str, None] = {}
    for cell in notebook.cells:
        with contextlib.suppress(SyntaxError):  # magics
            for node in ast.walk(ast.parse(cell.source if cell.cell_type == "code" else "")):
                if isinstance(node, ast.Import):
                    found |= dict.fromkeys(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    found |= dict.fromkeys([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return [name for name in found if name.split(".")[0] not in ("autograder", "ml_course")]


@lru_cache(maxsize=4)
def parsed(released: str) -> NotebookNode:
    """A released notebook, to be read and not changed."""
    return nbformat.reads(released, as_version=4)


def grade_in_thread(job: Job) -> Result:
    """On a Dask worker, whatever its number of threads: one submission at a time, for a template has one owner."""
    import torch

    with _one_at_a_time:
        torch.set_num_threads(1)
        return grade(job)


def unreadable(job: Job, reason: str) -> Result:
    """No points for what cannot be opened; the feedback says so."""
    released = deepcopy(parsed(job.released))
    told = f"**This submission could not be read as a notebook: {reason}.** Please hand the file in again."
    released.cells.insert(0, nbformat.v4.new_markdown_cell(told, id="unreadable-note"))
    verdicts = [refused(name, f"the submission could not be read: {reason}").as_dict() for name in load(job.topic)]
    show_verdicts(released, verdicts)
    text = nbformat.writes(released, version=4) + "\n"
    return Result(job.topic, job.student, verdicts, text, [f"{UNREADABLE}: {reason}"], [], reason)


def write_up(mended: Mended, examined: Examined, verdicts: list[dict[str, Any]]) -> None:
    """Put outputs, faults and verdicts into the notebook that feedback is made of."""
    for number, place in enumerate(mended.places):
        if place < 0:
            continue
        cell = mended.notebook.cells[place]
        if number in examined.outputs:
            cell.outputs = as_outputs(examined.outputs[number])
        elif number in examined.faults and not mended.cells[number].exercise:
            cell.outputs = [error_output("LeftOut", examined.faults[number])]
    show_verdicts(mended.notebook, verdicts)


def show_verdicts(notebook: NotebookNode, verdicts: list[dict[str, Any]]) -> None:
    """Each graded cell's verdict as its output, and all of them in the notebook's metadata."""
    by_id = {f"check_{verdict['exercise'].split('.')[1]}": verdict for verdict in verdicts}
    for cell in notebook.cells:
        verdict = by_id.get(cell.metadata.get("nbgrader", {}).get("grade_id"))
        if verdict:
            data = {"text/plain": amount(verdict["points"]), "text/html": as_html(restored(verdict))}
            cell.outputs = [output("execute_result", {**data, VERDICT_TYPE: verdict})]


def restored(verdict: dict[str, Any]) -> Verdict:
    """A verdict from its dictionary."""
    facets = tuple(Facet(**facet) for facet in verdict["facets"])
    plain = {key: value for key, value in verdict.items() if key not in ("points", "max_points", "facets", "called")}
    return Verdict(**plain, facets=facets, called=tuple(verdict["called"]))


def as_outputs(told: dict[str, Any]) -> list[NotebookNode]:
    """A session's outputs as a notebook's: text and pictures, never HTML or scripts of a student's."""
    outputs = [
        NotebookNode(output_type="stream", name=name, text=told[name]) for name in ("stdout", "stderr") if told[name]
    ]
    outputs += [output("display_data", data) for data in told["shown"] if data]
    if told["value"]:
        outputs.append(output("execute_result", {"text/plain": told["value"]}))
    if told["error"]:
        name, _, message = told["error"].partition(": ")
        outputs.append(error_output(name, message))
    return outputs


def output(kind: str, data: dict[str, Any]) -> NotebookNode:
    """As `nbformat.v4.new_output` makes it, which looks at the schema each time; the whole is checked when written."""
    made = NotebookNode(output_type=kind, data=NotebookNode(data), metadata=NotebookNode())
    return NotebookNode(made, execution_count=None) if kind == "execute_result" else made


def error_output(name: str, message: str) -> NotebookNode:
    return NotebookNode(output_type="error", ename=name, evalue=message, traceback=[f"{name}: {message}"])


def faults(mended: Mended, examined: Examined) -> list[str]:
    """Cells that ended or hung the session, for the instructor."""
    return [f"cell {mended.places[number] + 1}: {told}" for number, told in sorted(examined.faults.items())]


def as_json(result: Result) -> str:
    return json.dumps(result.record(), ensure_ascii=False)
