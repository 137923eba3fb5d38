"""Grading against stock nbgrader, on the same submissions of the attention homework, cage on.

Throughput counts from the first verdict to the last; the whole run counts everything from the command to the last
grade written, start-up included. Feedback pages are made by nbgrader in either case and are not counted.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbgrader.apps.api import NbGraderAPI
from traitlets.config import Config

from autograder import course, homework, sample_class
from autograder.exercise import load
from autograder.grading import batch, cage

TOPIC = "attention"
STOCK, THROUGHPUT, WHOLE, LARGE = 20, 200, 60, 2000


def submissions(folder: Path, count: int) -> None:
    """A mixed class of so many: right in three styles, half done, empty, each known mistake; nobody who hangs."""
    released = nbformat.read(folder / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    hanging = ("sven", "tara", "uma")
    kinds = [answers for name, answers in sample_class.students(TOPIC).items() if not name.startswith(hanging)]
    for number, answers in zip(range(count), itertools.cycle(kinds), strict=False):
        path = folder / "submitted" / f"student-{number:05d}" / TOPIC / f"{TOPIC}.ipynb"
        sample_class.put(path, sample_class.fill_in(released, TOPIC, answers))


def new_course(folder: Path, count: int) -> Path:
    course.init(folder)
    course.release(folder, [TOPIC])
    submissions(folder, count)
    return folder


def stock_seconds(folder: Path) -> float:
    """Seconds a submission by stock nbgrader, one process, after its own start-up."""
    homework.write_notebook(homework.source_notebook(TOPIC), folder / "source" / TOPIC / f"{TOPIC}.ipynb")
    settings = Config()
    settings.CourseDirectory.root = str(folder)
    settings.CourseDirectory.course_id = "ml-course"
    api = NbGraderAPI(config=settings)
    with homework.quiet("traitlets"):
        api.generate_assignment(TOPIC, force=True, create=True)
        submissions(folder, STOCK + 1)
        api.autograde(TOPIC, "student-00000", force=True, create=True)  # imports and first-time work are not counted
        began = time.perf_counter()
        for number in range(1, STOCK + 1):
            result = api.autograde(TOPIC, f"student-{number:05d}", force=True, create=True)
            assert result["success"], result["log"]
    return (time.perf_counter() - began) / STOCK


def our_times(folder: Path, options: course.Options) -> tuple[float, list[float], float]:
    """When the command began, when each verdict was in the gradebook, and the seconds workers spent on all."""
    moments: list[float] = []
    keep = batch.keep

    def noted(*arguments: Any) -> None:
        keep(*arguments)
        moments.append(time.perf_counter())

    began = time.perf_counter()
    batch.keep = noted
    try:
        work = course.prepare(folder, TOPIC, options)
        with contextlib.redirect_stderr(io.StringIO()):
            batch.run(work, batch.find_submissions(folder, TOPIC, work.troubles), force=True)
    finally:
        batch.keep = keep
    assert not work.troubles, work.troubles
    total = sum(exercise.points for exercise in load(TOPIC).values())
    assert any(sum(v["points"] for v in entry["verdicts"]) == total for entry in work.journal.entries())
    return began, moments, sum(entry["seconds"] for entry in work.journal.latest().values())


def steady(moments: list[float]) -> float:
    """Seconds a verdict between the first and the last."""
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def measure(large: bool) -> list[dict[str, Any]]:
    kind = cage.offered() or "none"
    caged, bare = course.Options(cage=kind, feedback=False), course.Options(cage="none", feedback=False)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        stock = stock_seconds(root / "stock")
        began, moments, busy = our_times(new_course(root / "many", THROUGHPUT), caged)
        ours, start = steady(moments), moments[0] - began
        sixty = new_course(root / "sixty", WHOLE)
        began, moments, _ = our_times(sixty, caged)
        whole, few = (moments[-1] - began) / WHOLE, steady(moments)
        _, moments, _ = our_times(sixty, bare)
        uncaged = steady(moments)
        rows = [
            row(f"throughput, {THROUGHPUT} submissions, cage {kind}", stock / ours, "× stock nbgrader", stock, ours),
            row(f"whole run, {WHOLE} submissions", stock / whole, "× stock nbgrader", stock, whole),
            row("cost of the cage", few / uncaged, "× without one", few, uncaged),
            {"what": "start-up to the first verdict", "told": f"{start:.1f} s", "seconds": start},
            {"what": "share of workers' time in examinations", "told": f"{busy / 2 / (ours * THROUGHPUT):.0%}"},
        ]
        if large:
            _, moments, _ = our_times(new_course(root / "large", LARGE), caged)
            rows.append(row(f"{LARGE} submissions, each", steady(moments) / few, f"× of {WHOLE}", steady(moments), few))
    return rows


def row(what: str, ratio: float, unit: str, first: float, second: float) -> dict[str, Any]:
    told = f"{ratio:.2f} {unit} ({first:.3f} s and {second:.3f} s each)"
    return {"what": what, "ratio": round(ratio, 3), "told": told}


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"])
