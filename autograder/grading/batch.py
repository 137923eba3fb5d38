"""A whole class: long-lived workers, a journal, one writer of the gradebook, a progress bar.

The order of events for each submission is: examined by a worker, graded notebook written, verdict journalled, gradebook
written. A stop at any moment loses nothing: what the journal holds is not examined again, and what the gradebook lacks
is written to it first.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from nbgrader.utils import parse_utc
from tqdm import tqdm

from autograder.errors import CourseError
from autograder.exercise import files_of
from autograder.grading import job as jobs
from autograder.grading.examiner import PATIENT, NoSession, Patience
from autograder.grading.gradebook import Writer, holds
from autograder.grading.job import Job, Result
from autograder.grading.journal import Journal, write_whole
from autograder.grading.mending import LARGEST_FILE, decoded
from autograder.seeds import student_key

MOST_DEATHS = 2  # workers that may die while they have a submission alone, before it is left ungraded
SCHEDULER_SECONDS, WORKER_SECONDS = 10, 30  # how long a Dask cluster may take to answer, and to have a worker
LOOKING_BACK = {"exports", "regrade", "report", "similarity"}  # modules here that judge nothing


@dataclass(frozen=True)
class Submission:
    """A file to grade and the hash of it and of all that judges it."""

    student: str
    path: Path
    stamp: str
    renamed: bool = False
    digest: str = ""  # of the file alone


@dataclass
class Batch:
    """What grading needs to know of a course."""

    folder: Path
    topic: str
    url: str
    secret: bytes
    cage: str
    workers: int = 0
    patience: Patience = PATIENT
    scheduler: str = ""
    penalty: Callable[[str, float, float], float | None] | None = None
    troubles: dict[str, str] = field(default_factory=dict)

    @property
    def journal(self) -> Journal:
        return Journal(self.folder / ".autograder" / f"{self.topic}.jsonl")

    @property
    def released(self) -> str:
        return (self.folder / "release" / self.topic / f"{self.topic}.ipynb").read_text(encoding="utf-8")


def find_submissions(folder: Path, topic: str, troubles: dict[str, str]) -> list[Submission]:
    """Every submission of a topic; a renamed file is found where it is the only one that can be meant."""
    judges = judges_hash(topic)
    found = []
    for place in sorted(path for path in folder.glob(f"submitted/*/{topic}") if path.is_dir()):
        student = place.parent.name
        if place.is_symlink() or place.parent.is_symlink():
            troubles[student] = f"{place.relative_to(folder)} is a link to elsewhere: ask for the file"
            continue
        try:
            path = meant(place, topic)
            content = handed_in(path) if path else b""
        except OSError as error:
            troubles[student] = f"{place.relative_to(folder)} cannot be read: {error.strerror}; see to its permissions"
            continue
        if path is None:
            troubles[student] = f"no {topic}.ipynb in {place.relative_to(folder)}: ask for the file"
            continue
        stamp, digest = (hashlib.sha256(part + content).hexdigest() for part in (judges, b""))
        found.append(Submission(student, path, stamp, path.stem != topic, digest))
    return found


def meant(place: Path, topic: str) -> Path | None:
    """The notebook a student handed in: of the asked name, else the newest that speaks of the topic's exercises."""
    files = [path for path in place.glob("*.ipynb") if path.is_file() and not path.is_symlink()]
    named = [path for path in files if path.stem == topic]
    about = named or [path for path in files if f"{topic}." in decoded(handed_in(path))]
    return max(about, key=lambda path: path.stat().st_mtime, default=None)


def handed_in(path: Path) -> bytes:
    """What a student's file holds, and not more of it than can be a notebook."""
    with open(path, "rb") as file:
        return file.read(LARGEST_FILE + 1)


def judges_hash(topic: str) -> bytes:
    """A hash of all that judges a topic: exercises, references, engine."""
    here = Path(__file__).parents[1]
    topical = [*files_of(here / "exercises" / topic), *files_of(here.parent / "ml_course" / topic)]
    engine = [here / f"{name}.py" for name in ("exercise", "judging", "probing", "seeds", "wire")]
    digest = hashlib.sha256()
    grading = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in LOOKING_BACK)
    for path in [*topical, *engine, *grading]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def timestamp_of(submission: Submission) -> datetime | None:
    """When it was handed in, as nbgrader's exchange notes it."""
    with contextlib.suppress(OverflowError, ValueError):
        return parse_utc(noted(submission).strip())
    return None


def noted(submission: Submission) -> str:
    """The text of that note; nothing where it is a link to some other file."""
    path = submission.path.parent / "timestamp.txt"
    if path.is_symlink() or not path.is_file():
        return ""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as note:
        return note.read(100)
    return ""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One grader at a time in a course: two would do the work twice. The lock ends with its owner, in whatever way."""
    lock = FileLock(folder / ".autograder" / "lock")
    try:
        Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CourseError(f"another grader is at work in {folder}: wait until it is done, or end it") from None
    except OSError as error:
        raise CourseError(f"cannot write {lock.lock_file}: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def run(batch: Batch, submissions: list[Submission], force: bool = False) -> None:
    """Grade what has not been graded; troubles are collected in the batch, never raised by a submission."""
    with alone(batch.folder):
        _run(batch, submissions, force)


def _run(batch: Batch, submissions: list[Submission], force: bool) -> None:
    known = {} if force else batch.journal.latest()
    todo = [one for one in submissions if known.get(one.student, {}).get("stamp") != one.stamp]
    with Writer(batch.url, batch.topic) as writer:
        written = writer.written()
        for one in submissions:  # journalled before a stop, but not in the gradebook yet
            entry = known.get(one.student)
            if entry and entry["stamp"] == one.stamp and not holds(written.get(one.student), entry["verdicts"]):
                writer.write(one.student, entry["verdicts"], timestamp_of(one), batch.penalty)
        if todo:
            with tqdm(total=len(todo), desc=f"grading {batch.topic}", unit="student") as bar:
                for submission, result in examine_all(batch, todo):
                    keep(writer, batch, submission, result)
                    bar.update()


def keep(writer: Writer, batch: Batch, submission: Submission, result: Result | Exception) -> None:
    """Notebook, journal, gradebook: in this order."""
    if isinstance(result, Exception):
        batch.troubles[submission.student] = f"not graded: {result}"
        return
    target = batch.folder / "autograded" / submission.student / batch.topic / f"{batch.topic}.ipynb"
    write_whole(target, result.notebook)
    if note := noted(submission):
        write_whole(target.with_name("timestamp.txt"), note)
    entry = {"stamp": submission.stamp, "file": submission.digest, **result.record()}
    if submission.renamed:
        entry["notes"] = [f"the file was called {submission.path.name}", *entry["notes"]]
    batch.journal.append(entry)
    writer.write(submission.student, entry["verdicts"], timestamp_of(submission), batch.penalty)


def as_job(batch: Batch, submission: Submission, released: str) -> Job:
    """What a worker needs of a submission; a file that has gone since it was found reads as empty."""
    text = ""
    with contextlib.suppress(OSError):
        text = decoded(handed_in(submission.path))
    key = student_key(batch.secret, batch.topic, submission.student)
    return Job(batch.topic, submission.student, text, released, key, batch.cage, batch.patience)


Outcome = tuple[Submission, Result | Exception]


def examine_all(batch: Batch, todo: list[Submission]) -> Iterator[Outcome]:
    """The results of all submissions as they come, from local processes or a Dask cluster."""
    released = batch.released
    if batch.scheduler:
        yield from on_dask(batch, todo, released)
        return
    workers = min(batch.workers or os.cpu_count() or 1, len(todo))
    waiting, suspects, deaths = list(todo), [], Counter()
    while waiting or suspects:
        if not suspects:
            suspects, waiting = yield from on_pools(batch, waiting, released, workers, ahead=2)
            continue
        guilty, suspects = yield from on_pools(batch, suspects, released, workers=1, ahead=1)
        for submission in guilty:  # at most one
            deaths[submission.student] += 1
            if deaths[submission.student] < MOST_DEATHS:
                suspects.append(submission)
            else:
                yield submission, RuntimeError("the grader's process died on it more than once; see it by hand")


Left = tuple[list[Submission], list[Submission]]


def on_pools(
    batch: Batch, todo: list[Submission], released: str, workers: int, ahead: int
) -> Generator[Outcome, None, Left]:
    """Local processes, each with `ahead` submissions of its own share in hand; yields results.

    Returns what was in work when a process died, and what was not yet begun.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    if sys.platform == "linux":
        context.set_forkserver_preload(["torch", jobs.__name__])  # imported once, not by each worker
    shares, begun, running = dealt(batch, todo, workers), [], {}
    with contextlib.ExitStack() as stack:
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, mp_context=context, initializer=start_worker)) for _ in shares
        ]
        free = deque([*range(workers)] * ahead)  # a worker stands here once for each submission it could take
        try:
            while running or any(shares):
                while free and any(shares):
                    worker = free.popleft()
                    begun.append(taken(shares, worker))  # noted before its worker can be found dead
                    job = as_job(batch, begun[-1], released)
                    running[pools[worker].submit(jobs.grade, job)] = begun[-1], worker
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = result_of(future)
                    submission, worker = running.pop(future)
                    begun.remove(submission)
                    free.append(worker)
                    yield submission, result
        except BrokenProcessPool:
            return begun, [one for share in shares for one in share]
    return [], []


def dealt(batch: Batch, todo: list[Submission], workers: int) -> list[deque[Submission]]:
    """A share of the class for each worker. Those who have the same cases share a worker: it prepares them once."""
    alike = defaultdict(list)
    for one in todo:
        alike[student_key(batch.secret, batch.topic, one.student)].append(one)
    shares: list[deque[Submission]] = [deque() for _ in range(workers)]
    for group in sorted(alike.values(), key=len, reverse=True):
        min(shares, key=len).extend(group)
    return shares


def taken(shares: list[deque[Submission]], worker: int) -> Submission:
    """The next of the worker's own share; when that is done, the last of the largest."""
    return shares[worker].popleft() if shares[worker] else max(shares, key=len).pop()


def result_of(future: Future) -> Result | Exception:
    """What a worker brought: `BrokenProcessPool` where it died, `CourseError` where it could not even begin."""
    try:
        return future.result()
    except BrokenProcessPool:
        raise
    except NoSession as error:
        raise CourseError(f"{error}; see `autograder doctor`") from None
    except Exception as error:
        return error


def start_worker() -> None:
    """In a worker: one thread; Ctrl-C is for the owner of the batch; known mistakes may divide by zero in silence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_owner, daemon=True).start()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)


def end_with_owner() -> None:
    """Wait for the end of the batch's owner: when it is killed, nobody is left behind."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGKILL)


def on_dask(batch: Batch, todo: Iterable[Submission], released: str) -> Iterator[Outcome]:
    """The same jobs on the workers of a `dask.distributed` cluster."""
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise CourseError("--dask needs dask.distributed: pip install -e '.[cluster]'") from None
    try:
        client = Client(batch.scheduler, timeout=SCHEDULER_SECONDS)
    except (OSError, ValueError):
        raise CourseError(f"no Dask scheduler at {batch.scheduler}: start one with `dask scheduler`") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except OSError:
            told = f"the Dask scheduler at {batch.scheduler} has no workers"
            raise CourseError(f"{told}: start some with `dask worker {batch.scheduler}`") from None
        queue, running, completed = deque(todo), {}, as_completed()
        while queue or running:
            most = 2 * max(sum(client.nthreads().values()), 1)  # a whole class at once would fill their memory
            while queue and len(running) < most:
                job = as_job(batch, queue[0], released)
                future = client.submit(jobs.grade_in_thread, job, pure=False, retries=MOST_DEATHS)
                running[future] = queue.popleft()
                completed.add(future)
            future = next(completed)
            try:
                result = future.result()
            except Exception as error:
                result = error
            yield running.pop(future), result
            future.release()
