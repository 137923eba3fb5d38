"""The student's side of a question: run a probe on an answer and report plain values. Nothing is judged here.

This module and `wire` are all of the autograder that a student's process needs; neither imports an exercise.
"""

from __future__ import annotations

import contextlib
import cProfile
import linecache
import random
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from autograder.wire import LARGEST_MESSAGE, Array, pack, plain, unpack, weight

LARGEST_REPLY = LARGEST_MESSAGE // 16  # bytes of one case's outputs; an exercise has up to a dozen cases
PATIENCE = 4  # seconds by the clock that an answer may take for each second of work
WATCHED_PACKAGES = {"torch", "numpy", "scipy", "sklearn", "ml_course"}
NOT_RUN = "NotRun"


class TimeUp(BaseException):
    """Raised inside an answer that ran past its time. Not an Exception, so that `except Exception` lets it pass."""


@dataclass(frozen=True)
class Question:
    """A probe's source and one case's plain inputs; the names of the results where the answer returns several."""

    probe: str
    probe_name: str
    inputs: dict[str, Any]
    topic: str
    forbidden: list[str] = field(default_factory=list)
    seed: int = 0
    results: list[str] = field(default_factory=list)

    def pack(self) -> bytes:
        return pack({key: plain(value) for key, value in vars(self).items()})

    @classmethod
    def unpack(cls, message: bytes) -> Question:
        return cls(**unpack(message))


@dataclass(frozen=True)
class Reply:
    """What came back: outputs, or the error's type, message and line; the inputs afterwards; forbidden calls."""

    outputs: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    message: str = ""
    line: str = ""
    called: list[str] = field(default_factory=list)

    def pack(self) -> bytes:
        return pack({key: plain(value) for key, value in vars(self).items()})

    @classmethod
    def unpack(cls, message: bytes) -> Reply:
        return cls(**unpack(message))


def observe(question: Question, answer: Callable, watch: bool = True) -> Reply:
    """Run the question's probe on `answer`. Whatever the answer does, a reply comes back (but for `TimeUp`)."""
    namespace: dict[str, Any] = {"__name__": "probe"}
    exec(compiled(question.probe), namespace)
    inputs = {name: as_passed(value) for name, value in question.inputs.items()}
    reseed(question.seed)
    if question.results:
        answer = returning(answer, question.results)
    called: set[str] = set()
    try:
        with watching(question.forbidden, question.topic, called) if watch else contextlib.nullcontext():
            returned = namespace[question.probe_name](answer, **inputs)
        outputs = {key: plain(value) for key, value in returned.items()}
        reply = Reply(outputs, called=sorted(called))
    except Exception as error:
        reply = Reply(error=type(error).__name__, message=str(error)[:500], line=own_line(error), called=sorted(called))
    if weight(reply.outputs) > LARGEST_REPLY:
        return Reply(error="ValueError", message=f"the result is larger than {LARGEST_REPLY // 2**20} MB")
    after = {name: plain(value) for name, value in inputs.items() if isinstance(value, np.ndarray | list | dict)}
    return replace(reply, after=after)


def returning(answer: Callable, results: list[str]) -> Callable:
    """The answer, with a plain word where it does not return as many results as are asked for."""

    def checked(*args: Any, **kwargs: Any) -> Any:
        returned = answer(*args, **kwargs)
        several = isinstance(returned, tuple | list)
        if several and len(returned) == len(results):
            return returned
        got = len(returned) if several else "None" if returned is None else f"one {type(returned).__name__}"
        raise TypeError(f"expected {len(results)} results, `return {', '.join(results)}`, got {got}")

    return checked


@cache
def compiled(source: str) -> CodeType:
    return compile(source, "<probe>", "exec")


def as_passed(value: Any) -> Any:
    """An input as the probe receives it: a copy that may be written into, so that no case leaks into the next."""
    if isinstance(value, Array):
        return np.array(value.data)
    if isinstance(value, np.ndarray):
        return np.array(value)
    if isinstance(value, list):
        return [as_passed(item) for item in value]
    if isinstance(value, dict):
        return {key: as_passed(item) for key, item in value.items()}
    return value


def reseed(seed: int) -> None:
    """The same random numbers for every answer to the same case."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.manual_seed(seed)  # the CPU's alone: a grader's fork has no other


def own_line(error: BaseException) -> str:
    """The deepest line of the student's own code in a traceback, as `line 3: scores / depth`."""
    for entry in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" in entry.filename or entry.filename == "<probe>" or "/lib/python" in entry.filename:
            continue
        if entry.filename == __file__:
            continue
        text = entry.line or linecache.getline(entry.filename, entry.lineno or 0).strip()
        return f"line {entry.lineno}: {text}" if text else f"line {entry.lineno}"
    return ""


@contextlib.contextmanager
def watching(forbidden: list[str], topic: str, called: set[str]) -> Iterator[None]:
    """Note in `called` which forbidden functions ran, by their own name, however they were reached.

    Python's own profiler counts calls of Python and C functions under any alias; a torch function mode sees what C
    code calls and what goes through `torch.ops`. Both live in the student's process: a tripwire, not a wall.
    """
    profiles: list[cProfile.Profile] = []

    def begin(*_: Any) -> None:
        profiles.append(cProfile.Profile(subcalls=False))
        with contextlib.suppress(ValueError):  # from Python 3.12 on one profiler sees all threads, and is the only one
            profiles[-1].enable()

    names, seen, before, in_threads = frozenset(forbidden), set(), sys.getprofile(), threading.getprofile()
    with _function_mode(seen) if names and "torch" in sys.modules else contextlib.nullcontext():
        threading.setprofile(begin)
        sys.setprofile(None)
        begin()
        try:
            yield
        finally:
            profiles[0].disable()
            threading.setprofile(in_threads)
            sys.setprofile(before)
    for function in seen:
        called.update(named(getattr(function, "__name__", str(function)).split("."), names))
    for profile in profiles:
        for entry in profile.getstats():
            called.update(noted(entry.code, names, topic))


@cache
def noted(code: CodeType | str, names: frozenset[str], topic: str) -> set[str]:
    """What is forbidden about a function that ran: a Python function's code, or a C function's description."""
    if isinstance(code, str):  # such as <built-in method torch.softmax>
        words = set(re.findall(r"\w+", code))
        return named(words, names) | {f"sys.{word}" for word in words & {"setprofile", "settrace"}}
    path = Path(code.co_filename).with_suffix("").parts
    found = named(code.co_qualname.split("."), names) if WATCHED_PACKAGES.intersection(path) else set()
    steps = set(pairwise(path))
    if ("ml_course", topic) in steps:
        found.add(f"ml_course.{topic}")
    if ("torch", "jit") in steps and names:
        found.add("torch.jit")
    return found


def named(words: Iterable[str], names: frozenset[str]) -> set[str]:
    """Those of the names that are among the words, as torch's own variants write them."""
    return {word.removeprefix("special_").strip("_") for word in words} & names


def _function_mode(seen: set[Callable]) -> contextlib.AbstractContextManager:
    from torch.overrides import TorchFunctionMode

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            seen.add(function)
            return function(*args, **kwargs) if kwargs else function(*args)

    return Watch()


def hung(seconds: float) -> Reply:
    """The reply of an answer that ran past its time."""
    why = "is there a loop that never ends, or one that does far more work than is needed?"
    return Reply(error="TimeUp", message=f"no result after {seconds:g} s: {why}")


def from_here_on(failed: Reply, cases: int) -> list[Reply]:
    """The replies to the case in which an answer ran out of time or ended everything, and to those never reached."""
    why = "the time was used up" if failed.error == "TimeUp" else "the program ended"
    skipped = Reply(error=NOT_RUN, message=f"not run: {why} in an earlier case")
    return [failed, *[skipped] * (cases - 1)] if cases else []


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the main thread after so many seconds of work, again and again until the block ends.

    Counted is processor time, so that a busy machine wrongs nobody; who sleeps is stopped after `PATIENCE` times as
    long by the clock. Where there are no signals (Windows, other threads) there is no limit.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise TimeUp

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, PATIENCE))
    before = {number: signal.signal(number, ring) for _, number, _ in timers}
    for timer, _, factor in timers:
        signal.setitimer(timer, factor * seconds, 0.2)
    try:
        yield
    finally:
        for timer, number, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
