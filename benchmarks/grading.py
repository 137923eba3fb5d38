"""Grading against stock nbgrader, on the same submissions of the attention homework, cage on.

Throughput counts from the first verdict to the last; the whole run counts everything from the command to the last
grade written, start-up included. Feedback pages are made by nbgrader in either case and are not counted. Every student
has an own copy of the cases, one of sixteen sets, so the class is graded as a real one is.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import nbformat
import numpy as np
import psutil
from nbgrader.apps.api import NbGraderAPI
from tqdm import tqdm
from traitlets.config import Config

from autograder import course, homework, sample_class
from autograder.exercise import load
from autograder.grading import batch, cage
from autograder.grading import job as jobs
from benchmarks import ratios

TOPIC = "attention"
STOCK, THROUGHPUT, WHOLE, LARGE, HUGE = 20, 200, 60, 2000, 10_000


def submissions(folder: Path, count: int) -> None:
    """A mixed class of so many: right in three styles, half done, empty, each known mistake; nobody who hangs."""
    released = nbformat.read(folder / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    hanging = ("sven", "tara", "uma")
    kinds = [answers for name, answers in sample_class.students(TOPIC).items() if not name.startswith(hanging)]
    made = [nbformat.writes(sample_class.fill_in(released, TOPIC, answers)) for answers in kinds]
    for number, text in zip(range(count), itertools.cycle(made), strict=False):
        path = folder / "submitted" / f"student-{number:05d}" / TOPIC / f"{TOPIC}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")


def new_course(folder: Path, count: int) -> Path:
    course.init(folder)
    course.release(folder, [TOPIC])
    submissions(folder, count)
    return folder


def stock_seconds(folder: Path) -> list[float]:
    """Seconds of each submission by stock nbgrader, one process, after its own start-up."""
    homework.write_notebook(homework.source_notebook(TOPIC), folder / "source" / TOPIC / f"{TOPIC}.ipynb")
    settings = Config()
    settings.CourseDirectory.root = str(folder)
    settings.CourseDirectory.course_id = "ml-course"
    settings.Execute.extra_arguments = ["--log-level=40"]  # else every kernel says that it does not encrypt
    api = NbGraderAPI(config=settings)
    with homework.quiet("traitlets"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy's, of nbgrader's own tables
        api.generate_assignment(TOPIC, force=True, create=True)
        submissions(folder, STOCK + 1)
        api.autograde(TOPIC, "student-00000", force=True, create=True)  # imports and first-time work are not counted
        taken = []
        for number in tqdm(range(1, STOCK + 1), "stock nbgrader", leave=False):
            began = time.perf_counter()
            result = api.autograde(TOPIC, f"student-{number:05d}", force=True, create=True)
            taken.append(time.perf_counter() - began)
            assert result["success"], result.get("error") or result["log"]
    return taken


def our_times(folder: Path, options: course.Options) -> tuple[float, list[float]]:
    """When the command began, and when each verdict was in the gradebook."""
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
    return began, moments


def steady(moments: list[float]) -> float:
    """Seconds a verdict between the first and the last."""
    return (moments[-1] - moments[0]) / (len(moments) - 1)


def processor_seconds(folder: Path, kind: str, count: int) -> tuple[float, float]:
    """Of one submission, on the judge's side and on the student's, once each set of cases has been met."""
    work = course.prepare(folder, TOPIC, course.Options(cage=kind))
    todo = [batch.as_job(work, one, work.released) for one in batch.find_submissions(folder, TOPIC, {})]
    for one in todo:
        jobs.grade(one)
    template = psutil.Process(jobs.examiner(kind, work.released).template.process.pid)

    def spent() -> tuple[float, float]:
        theirs = template.cpu_times()
        return time.process_time(), theirs.user + theirs.system + theirs.children_user + theirs.children_system

    before = spent()
    for one in todo[:count]:
        jobs.grade(one)
    return tuple((after - earlier) / count for after, earlier in zip(spent(), before, strict=True))


@contextlib.contextmanager
def dask_workers(count: int) -> Iterator[str]:
    """A scheduler and so many worker processes of one thread on this machine; its address."""
    with tempfile.TemporaryDirectory() as place:
        note = Path(place) / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": place}
        ours = ["--host", "127.0.0.1", "--no-dashboard", "--port", "0", "--scheduler-file", str(note)]
        started = [subprocess.Popen([*dask, "scheduler", *ours], **quiet)]
        try:
            while not (note.is_file() and note.stat().st_size):
                time.sleep(0.1)
            address = json.loads(note.read_text())["address"]
            worker = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", place]
            started += [subprocess.Popen(worker, **quiet) for _ in range(count)]
            from distributed import Client

            with Client(address) as client:
                client.wait_for_workers(count, timeout=120)
            yield address
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait()


class MemoryPeak(threading.Thread):
    """The most memory that this process and all below it take together; what they share counts once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(1.0):
            together = 0
            for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    together += process.memory_full_info().pss
            self.bytes = max(self.bytes, together)


def large_run(folder: Path, options: course.Options, few: float) -> list[dict[str, Any]]:
    """A large class, and the memory it takes."""
    peak = MemoryPeak()
    peak.start()
    _, moments = our_times(new_course(folder, LARGE), options)
    peak.over.set()
    each = steady(moments)
    return [
        row(f"{LARGE:,} submissions, each", each / few, f"× of {WHOLE}", each, few),
        {"what": f"memory at {LARGE:,}, all processes", "told": f"{peak.bytes / 2**30:.2f} GB", "bytes": peak.bytes},
    ]


def dry_run(folder: Path, options: course.Options, each: float) -> dict[str, Any]:
    """A huge class whose examinations are played back: what the one owner of the gradebook can keep up with."""
    work = course.prepare(new_course(folder, HUGE), TOPIC, options)
    found = batch.find_submissions(folder, TOPIC, work.troubles)
    made = jobs.grade(batch.as_job(work, found[0], work.released))
    examine_all = batch.examine_all
    batch.examine_all = lambda _, todo: ((one, replace(made, student=one.student)) for one in todo)
    began = time.perf_counter()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            batch.run(work, found, force=True)
    finally:
        batch.examine_all = examine_all
    owner = (time.perf_counter() - began) / HUGE
    told = (
        f"{each * HUGE / 60:.0f} minutes with these workers; the owner of the gradebook needs {1000 * owner:.0f} ms "
        f"of each ({owner * HUGE / 60:.0f} minutes), so it keeps up with {2 * each / owner:.0f} such cores"
    )
    return {"what": f"{HUGE:,} submissions, on paper and played back", "told": told, "owner_seconds": owner}


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        return graded(large)


def graded(large: bool) -> list[dict[str, Any]]:
    kind = cage.offered() or "none"
    caged = course.Options(cage=kind, feedback=False)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        each = stock_seconds(root / "stock")
        stock = mean(each)
        sixty = new_course(root / "sixty", WHOLE)
        began, moments = our_times(sixty, caged)
        whole, start = (moments[-1] - began) / WHOLE, moments[0] - began
        _, moments = our_times(new_course(root / "many", THROUGHPUT), caged)
        ours, gaps = steady(moments), [later - earlier for earlier, later in pairwise(moments)]
        judge, session = processor_seconds(sixty, kind, 30)
        shares = f"judge {judge:.3f} s, session {session:.3f} s of processor time a submission"
        floor = (judge + session) / psutil.cpu_count()
        low, high = interval(each, gaps)
        first = row(f"throughput, {THROUGHPUT} submissions, cage {kind}", stock / ours, "× stock nbgrader", stock, ours)
        rows = [
            first | {"low": low, "high": high},
            row(f"whole run, {WHOLE} submissions", stock / whole, "× stock nbgrader", stock, whole),
            {"what": "start-up to the first verdict", "told": f"{start:.1f} s", "seconds": start},
            {"what": "where the time goes", "told": shares, "judge": judge, "session": session},
            row("the floor on these cores, of what is reached", floor / ours, "", floor, ours),
        ]
        if large:
            few = steady(our_times(sixty, caged)[1])
            rows += [*ways(sixty, caged, few), *large_run(root / "large", caged, few)]
            rows.append(dry_run(root / "huge", caged, ours))
    return rows


def ways(folder: Path, caged: course.Options, few: float) -> list[dict[str, Any]]:
    """What the cage costs, and whether Dask's workers are as fast as ours."""
    uncaged = steady(our_times(folder, replace(caged, cage="none"))[1])
    with dask_workers(2) as scheduler:
        spread = replace(caged, scheduler=scheduler)
        our_times(folder, spread)  # its workers import and open their templates
        dask = steady(our_times(folder, spread)[1])
    local = steady(our_times(folder, replace(caged, workers=2))[1])
    return [
        row("cost of the cage", few / uncaged, "× without one", few, uncaged),
        row("two Dask workers, speed", local / dask, "× two local workers", dask, local),
    ]


def interval(first: list[float], second: list[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % bootstrap interval of the ratio of two means that were not measured in pairs."""
    draw = np.random.default_rng(seed)
    means = [draw.choice(taken, size=(2000, len(taken))).mean(1) for taken in (first, second)]
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return round(float(low), 3), round(float(high), 3)


def row(what: str, ratio: float, unit: str, first: float, second: float) -> dict[str, Any]:
    told = f"{ratio:.2f} {unit} ({first:.3f} s and {second:.3f} s each)"
    return {"what": what, "ratio": round(ratio, 3), "told": told}
