"""The judge's process: start a caged session, run a student's cells in it, ask its answers, award verdicts.

References, seeds and verdicts live here; the session gets inputs and gives plain values. Whatever it does (silence,
nonsense, death) is an ordinary event: the session is started anew, the cells that went well are run again without the
one that did not, and the examination goes on with the next.

An answer is first asked in the session itself, which is fast. When it kills or changes that, the state before it is
made anew, and from then on every answer is asked in a fork, so that a fault costs one question.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.exercise import Exercise, files_of, find
from autograder.grading import cage
from autograder.grading.channel import Broken, Channel
from autograder.grading.memory import MemoryWatch
from autograder.grading.scratch import Scratch
from autograder.judging import Facet, Verdict, award, question
from autograder.probing import PATIENCE, Reply
from autograder.seeds import case_seed
from autograder.wire import pack, plain, unpack

GRACE = 3.0  # seconds beyond a limit before a session that does not answer is ended
START_SECONDS = 120.0
TOGETHER = 3  # times one process's memory, all processes of a session together
LIBRARY_PARTS = ("data", "plots", "training", "text")  # ground floor that every homework may use


@dataclass(frozen=True)
class Patience:
    """How many seconds a cell may take, an answer (never more than its exercise allows), and a whole submission."""

    cell: float = 10.0
    answer: float = 60.0
    submission: float = 300.0


PATIENT = Patience()
SHOWN = {"text/plain": 20_000, "image/png": 500_000}  # characters of a cell's pieces of output, by kind
MOST_SHOWN = 50  # pieces
LARGEST_SHOWN = 5_000_000  # characters of all outputs of a submission
LEFT_OUT = {"stdout": "This submission prints too much: the rest is left out.", "stderr": "", "value": "", "shown": []}
LONGEST_NAME = 100


class NoSession(Exception):
    """The grader itself could not start a session: nobody's answer is to blame, so nothing is graded."""


@dataclass(frozen=True)
class Cell:
    """A code cell to run, or with `exercise` a question to put instead."""

    source: str
    exercise: str = ""


@dataclass
class Examined:
    """What came of a submission: verdicts by exercise, outputs by cell number, faults by cell number."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    outputs: dict[int, dict[str, Any]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0


class Template:
    """A process with some modules imported; `start` forks a session from it. Ended with `close` or with its owner."""

    def __init__(self, kind: str, modules: Sequence[str] = ()):
        self.kind, self.modules = kind, modules
        self.process: subprocess.Popen | None = None
        self.watch: MemoryWatch | None = None

    def open(self) -> None:
        """Start the process and wait until its libraries are imported: `Broken` when it does not come up."""
        self.scratch = Scratch()
        self.log = open(self.scratch.path / "log", "w+")  # noqa: SIM115  (closed with the template)
        library = ground_floor(self.scratch.path)
        here, there = Channel.pair()
        command = [
            sys.executable,
            "-m",
            "autograder.grading.template",
            str(there.end.fileno()),
            self.kind,
            str(library),
        ]
        root = Path(__file__).parents[2]
        if self.kind == "bubblewrap":
            seen = {library: cage.LIBRARY, root / "autograder": root / "autograder"}
            command = ["bwrap", *cage.bubblewrap_options(seen), "--chdir", str(root), *command]
        self.process = subprocess.Popen(
            [*command, *self.modules],
            cwd=root,
            env=clean_environment(),
            pass_fds=[there.end.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log,
        )
        there.close()
        self.orders = here
        here.receive(START_SECONDS)
        self.watch = MemoryWatch(self.process.pid)
        self.watch.start()

    def start(self, megabytes: int) -> Session:
        """A fresh session, from a new template if need be: `NoSession` when there is none to be had."""
        for attempt in (1, 2):
            try:
                if self.process is None or self.process.poll() is not None:
                    self.close()
                    self.open()
                return self._fork(megabytes)
            except Broken as broken:
                said = self.last_words()
                self.close()
                if attempt == 2:
                    told = f"no session could be started in the cage {self.kind!r}: {broken}"
                    raise NoSession(f"{told}: {said}" if said else told) from None
        raise AssertionError

    def _fork(self, megabytes: int) -> Session:
        here, there = Channel.pair()
        self.watch.most = TOGETHER * megabytes * 2**20
        message = pack({"megabytes": megabytes})
        try:
            socket.send_fds(self.orders.end, [message], [there.end.fileno()])
        except OSError as error:
            raise Broken(f"the template is gone: {error}") from None
        finally:
            there.close()
        process = unpack(self.orders.receive(30))["process"]
        told = unpack(here.receive(30))
        if not told["alive"]:
            raise Broken(f"the cage could not be built: {told['error']}")
        return Session(here, process, self)

    def end(self, process: int) -> None:
        """Have a session killed with everything it started: the template knows its own children for certain."""
        try:
            self.orders.end.sendall(pack({"end": process}))
            self.orders.receive(30)
        except (Broken, OSError):
            self.close()  # all sessions end with their template

    def last_words(self) -> str:
        """The last line the template wrote on stderr."""
        self.log.flush()
        self.log.seek(0)
        return (self.log.read().strip().splitlines() or [""])[-1][:200]

    def close(self) -> None:
        if self.watch is not None:
            self.watch.over.set()
            self.watch = None
        if self.process is not None:
            self.orders.close()
            self.process.kill()
            self.process.wait()
            self.log.close()
            self.scratch.close()
            self.process = None


class Session:
    """A live session: what it says is checked and never believed."""

    def __init__(self, channel: Channel, process: int, template: Template):
        self.channel, self.process, self.template = channel, process, template
        self.changed = False

    def run(self, source: str, seconds: float) -> dict[str, Any]:
        """Run a cell: `Broken` when the session does not survive it."""
        self.channel.send(pack({"do": "run", "source": source, "seconds": seconds}), 10)
        return outputs_checked(understood(self.channel.receive(PATIENCE * seconds + GRACE)))

    def ask(self, exercise: Exercise, seed: int, seconds: float, apart: bool = True) -> tuple[Reply, ...]:
        """The replies to every case: `Broken` when the session itself does not survive.

        Asked apart, in a fork, an answer cannot change the session. Otherwise it may; `changed` says whether it did.
        """
        questions = [plain(vars(question(exercise, case))) for case in exercise.make_cases(seed)]
        request = {"do": "ask", "answer": exercise.answer_name, "questions": questions}
        request |= {"seconds": seconds, "apart": apart}
        self.channel.send(pack(request), 10)
        message = self.channel.receive(PATIENCE * seconds + 2 * GRACE)
        if not message:
            gone = Reply(error="Died", message="the process of this answer ended without a result")
            return (gone,) * len(questions)
        try:
            told = unpack(message)
            self.changed = told.get("changed") is True
            return replies_checked(told, len(questions))
        except ValueError as error:  # the session itself is not what it was
            raise Broken(str(error)) from None

    def end(self) -> None:
        """Kill it with everything it started."""
        self.channel.close()
        self.template.end(self.process)


def understood(message: bytes) -> dict[str, Any]:
    try:
        return unpack(message)
    except ValueError as error:
        raise Broken(str(error)) from None


def outputs_checked(told: dict[str, Any]) -> dict[str, Any]:
    """A cell's outputs as the types they must have: `Broken` otherwise."""
    texts = {key: told.get(key) for key in ("stdout", "stderr", "value", "error")}
    shown = told.get("shown")
    if not all(type(text) is str for text in texts.values()) or type(shown) is not list:
        raise Broken("outputs of another form")
    pieces = [
        {kind: piece[kind] for kind, most in SHOWN.items() if type(piece.get(kind)) is str and len(piece[kind]) <= most}
        for piece in shown[:MOST_SHOWN]
        if type(piece) is dict
    ]
    return {**{key: text[: SHOWN["text/plain"]] for key, text in texts.items()}, "shown": pieces}


def size_of(told: dict[str, Any]) -> int:
    """Characters of a cell's outputs."""
    texts = [text for key, text in told.items() if key != "shown"]
    return sum(map(len, texts)) + sum(len(text) for piece in told["shown"] for text in piece.values())


def replies_checked(told: dict[str, Any], count: int) -> tuple[Reply, ...]:
    """As many replies as there were questions, each of the right types: `ValueError` otherwise."""
    replies = told.get("replies")
    if type(replies) is not list or len(replies) != count:
        raise ValueError("another number of replies")
    return tuple(reply_checked(reply) for reply in replies)


def reply_checked(told: Any) -> Reply:
    if type(told) is not dict:
        raise ValueError("a reply of another form")
    outputs, after, called = told.get("outputs"), told.get("after"), told.get("called")
    error, message, line = told.get("error"), told.get("message"), told.get("line")
    if (
        type(outputs) is not dict
        or type(after) is not dict
        or type(called) is not list
        or not all(type(name) is str for name in called)
        or not all(type(text) is str for text in (message, line))
        or type(error) not in (str, type(None))
    ):
        raise ValueError("a reply of another form")
    error = error[:LONGEST_NAME] if error else error
    return Reply(outputs, after, error, message[:500], line[:200], [name[:LONGEST_NAME] for name in called[:10]])


def clean_environment() -> dict[str, str]:
    """No variable of ours reaches the student's side; one thread for every library that asks."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        **threads,
        "HOME": "/tmp",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": "/tmp",
        "IPYTHONDIR": "/tmp/.ipython",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }


def ground_floor(folder: Path) -> Path:
    """A copy of ml_course with the ground floor alone: in the cage the modules with the answers are not there."""
    import ml_course

    target = folder / "library" / "ml_course"
    target.mkdir(parents=True)
    source = Path(ml_course.__file__).parent
    for name in ("__init__", *LIBRARY_PARTS):
        for path in filter(Path.is_file, files_of(source / name)):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
    for path in (folder, target.parent, *target.rglob("")):
        path.chmod(0o755)
    return target.parent


class Examiner:
    """Examines one submission after another with the same template."""

    def __init__(self, kind: str, modules: Sequence[str] = ("numpy", "torch")):
        self.template = Template(kind, modules)

    def close(self) -> None:
        self.template.close()

    def examine(self, cells: list[Cell], key: bytes, patience: Patience = PATIENT) -> Examined:
        """Run and judge a submission with its student's own cases."""
        began = time.monotonic()
        found, shown, end = Examined(), 0, began + patience.submission
        session: Session | None = None
        apart = (
            False  # whether answers are asked in forks: from the first on that takes its session along or changes it
        )
        megabytes = max((find(cell.exercise).megabytes for cell in cells if cell.exercise), default=1024)
        for number, cell in enumerate(cells):
            if time.monotonic() > end:
                found.faults[number] = f"not run: the submission used more than {patience.submission:g} s"
                if cell.exercise:
                    found.verdicts[cell.exercise] = refused(cell.exercise, found.faults[number])
                continue
            try:
                if session is None:
                    session = self._replayed(cells[:number], found, megabytes, patience.cell, end)
                if cell.exercise:
                    exercise = find(cell.exercise)
                    seed, seconds = case_seed(exercise.name, key), min(exercise.seconds, patience.answer)
                    try:
                        replies = session.ask(exercise, seed, seconds, apart)
                    except Broken:
                        if apart:
                            raise
                        session, apart = session.end(), True
                        session = self._replayed(cells[:number], found, megabytes, patience.cell, end)
                        replies = session.ask(exercise, seed, seconds, apart)
                    if session.changed:
                        session, apart = session.end(), True
                    found.verdicts[cell.exercise] = award(exercise, seed, replies)
                else:
                    told = session.run(cell.source, patience.cell)
                    shown += size_of(told)
                    found.outputs[number] = told if shown < LARGEST_SHOWN else {**told, **LEFT_OUT}
            except Broken as broken:
                found.faults[number] = f"this cell ended the session ({broken}), so it was left out"
                if cell.exercise:
                    found.verdicts[cell.exercise] = refused(cell.exercise, f"the process was lost: {broken}")
                if session is not None:
                    session.end()
                session = None
        if session is not None:
            session.end()
        found.seconds = time.monotonic() - began
        return found

    def _replayed(self, cells: list[Cell], found: Examined, megabytes: int, seconds: float, end: float) -> Session:
        """A new session in which every cell so far that did no harm has run: `Broken` when that takes too long."""
        while True:
            session = self.template.start(megabytes)
            for number, cell in enumerate(cells):
                if cell.exercise or number in found.faults:
                    continue
                try:
                    if time.monotonic() > end:
                        raise Broken("there was no time to run all cells before it again")
                    session.run(cell.source, seconds)
                except Broken as broken:
                    session.end()
                    if time.monotonic() > end:
                        raise
                    # It went well the first time: it is left out from now on.
                    found.faults[number] = f"this cell did not run the same way twice ({broken}), so it was left out"
                    break
            else:
                return session


def refused(name: str, why: str) -> Verdict:
    """No points, and why."""
    exercise = find(name)
    return Verdict(
        name, tuple(Facet(facet, 0, share, why) for facet, share in exercise.facets.items()), "not right yet"
    )
