"""The student's session, inside the cage: run cells, and put questions to answers, so that none can spoil the next.

Everything here runs in a process that the student's code owns. It can lie, so all it ever says is plain values; what
they are worth is decided elsewhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import os
import resource
import select
import signal
import struct
import sys
import time
from functools import cache
from typing import Any

from autograder.grading.cage import leaving_a_reserve
from autograder.grading.channel import Broken, Channel
from autograder.grading.state import Snapshot
from autograder.probing import PATIENCE, Question, Reply, TimeUp, deadline, from_here_on, hung, observe
from autograder.wire import pack, plain, unpack

LONGEST_OUTPUT = 20_000  # characters of a cell's text
MOST_OUTPUTS = 50
HUGE_PAGE, MADV_COLLAPSE = 2**21, 25  # bytes; the number of madvise(2) since Linux 6.1
GRACE = 1.0  # seconds between asking an answer to stop and stopping it


class Output(io.StringIO):
    """Text that stops growing: an endless print costs time, not memory."""

    def write(self, text: str) -> int:
        if self.tell() < LONGEST_OUTPUT:
            super().write(text[: LONGEST_OUTPUT - self.tell()])
        return len(text)


def serve(channel: Channel, shell: Any) -> None:
    """Answer requests until the other side is gone."""
    with contextlib.suppress(Broken):
        while True:
            request = unpack(channel.receive())
            if request["do"] == "run":
                channel.send(pack(run_cell(shell, request["source"], request["seconds"])))
            elif request["do"] == "ask":
                channel.send(asked(shell.user_ns, request))


def run_cell(shell: Any, source: str, seconds: float) -> dict[str, Any]:
    """Run one cell; its outputs and error as plain values."""
    out, err, shown = Output(), Output(), publisher()(parent=shell)
    before = shell.display_pub, sys.displayhook
    shell.display_pub = shown
    began = time.monotonic()
    error: BaseException | None = None
    result = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), deadline(seconds), leaving_a_reserve():
            result = shell.run_cell(source, store_history=False)
            error = result.error_before_exec or result.error_in_exec
    except BaseException as raised:  # TimeUp, SystemExit: whatever the cell threw past the shell
        error = raised
    shell.display_pub, sys.displayhook = before
    told = ""
    if error is not None:
        late = isinstance(error, TimeUp)
        told = f"{type(error).__name__}: {f'stopped after {seconds:g} s' if late else str(error)[:1000]}"
    value = "" if result is None or result.result is None else brief_repr(result.result)
    return {
        "stdout": out.getvalue(),
        "stderr": err.getvalue(),
        "shown": shown.pieces,
        "value": value,
        "error": told,
        "seconds": time.monotonic() - began,
    }


@cache
def publisher() -> type:
    """A class for the place of IPython's display publisher: keeps text and pictures, and not too many."""
    from IPython.core.displaypub import DisplayPublisher

    class Displayed(DisplayPublisher):
        def __init__(self, *arguments: Any, **named: Any):
            super().__init__(*arguments, **named)
            self.pieces: list[dict[str, str]] = []

        def publish(self, data: dict[str, Any], metadata: Any = None, **_: Any) -> None:
            kept = {kind: str(data[kind]) for kind in ("text/plain", "image/png") if isinstance(data.get(kind), str)}
            if len(self.pieces) < MOST_OUTPUTS and sum(map(len, kept.values())) < 10 * LONGEST_OUTPUT:
                self.pieces.append(kept)

        def clear_output(self, wait: bool = False) -> None:
            self.pieces.clear()

    return Displayed


def brief_repr(value: Any) -> str:
    try:
        return repr(value)[:LONGEST_OUTPUT]
    except BaseException as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def asked(namespace: dict[str, Any], request: dict[str, Any]) -> bytes:
    """Put all questions of one exercise to an answer: right here where that cannot hide a trace, else in a fork.

    With `"apart"` it is a fork in any case. The reply says `"changed"` where this process is no longer what it was.
    """
    keep_to_one_thread()
    before = None if request["apart"] else seen(namespace)
    if before is None:
        return ask(namespace, request)
    replies = collect(namespace, request)
    late = any(reply["error"] == "TimeUp" for reply in replies)
    return pack({"replies": replies, "changed": late or not before.unchanged()})


def seen(namespace: dict[str, Any]) -> Snapshot | None:
    """The session's state, where it is small and plain enough to be seen."""
    try:
        return Snapshot(namespace)
    except Exception:  # Unseen, or what a student's object raises when it is looked at
        return None


def ask(namespace: dict[str, Any], request: dict[str, Any]) -> bytes:
    """Put the questions to the answer in a fork, and pass on what the fork writes."""
    reading, writing = os.pipe()
    before = others()
    try:
        child = fork()
    except OSError as error:
        failed = as_dict(Reply(error="NoProcess", message=f"the answer could not be run: {error.strerror}"))
        os.close(reading)
        os.close(writing)
        return pack({"replies": [failed] * len(request["questions"])})
    if child == 0:
        os.close(reading)
        answer_in_fork(namespace, request, writing)
    os.close(writing)
    try:
        return read_until(reading, PATIENCE * request["seconds"] + GRACE)
    finally:
        os.close(reading)
        for stop in (lambda: os.killpg(child, signal.SIGKILL), lambda: os.kill(child, signal.SIGKILL)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                stop()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
        end_others(before)


def fork() -> int:
    """A fork, also where processes that the student's code has left running leave no room for one: they end."""
    try:
        return os.fork()
    except OSError:
        end_others(set())
        return os.fork()


def others() -> set[int]:
    """The other processes of this cell; unknown where it has no PID namespace of its own, with this as its first."""
    with contextlib.suppress(OSError):
        if os.getpid() == 1:
            return {int(name) for name in os.listdir("/proc") if name.isdigit()} - {1}
    return set()


def end_others(spared: set[int]) -> None:
    """Kill what an answer has left running, so that it cannot cost the next question anything."""
    for _ in range(20):
        left = others() - spared
        if not left:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL) if not spared else [os.kill(process, signal.SIGKILL) for process in left]
        for process in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process, 0)


def read_until(pipe: int, seconds: float, largest: int = 2**26) -> bytes:
    """The message that comes through a pipe: empty when it is not whole at its end, the deadline or the limit."""
    end, pieces, size, whole = time.monotonic() + seconds, [], 0, largest
    while size < whole:
        ready, _, _ = select.select([pipe], [], [], max(end - time.monotonic(), 0))
        if not ready:
            break
        piece = os.read(pipe, 2**20)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        if whole == largest and size >= 4:
            whole = min(4 + struct.unpack("<I", b"".join(pieces)[:4])[0], largest)
    return b"".join(pieces)[4:whole] if size >= whole else b""


def answer_in_fork(namespace: dict[str, Any], request: dict[str, Any], pipe: int) -> None:
    """In the fork: observe the answer on every question, write the replies, end. Never returns."""
    try:
        os.setpgid(0, 0)
        keep_to_one_thread()
        resource.setrlimit(resource.RLIMIT_CPU, (int(request["seconds"]) + 2, int(request["seconds"]) + 3))
        replies = collect(namespace, request)
        text = pack({"replies": replies})
    except BaseException as error:
        failed = Reply(error=type(error).__name__, message=str(error)[:200])
        text = pack({"replies": [as_dict(failed)] * len(request["questions"])})
    with contextlib.suppress(OSError), os.fdopen(pipe, "wb") as stream:
        stream.write(struct.pack("<I", len(text)) + text)
    os._exit(0)


def collect(namespace: dict[str, Any], request: dict[str, Any]) -> list[dict[str, Any]]:
    """One reply a question; after a hang or an exit the rest are not run."""
    questions = [Question(**question) for question in request["questions"]]
    name, seconds = request["answer"], request["seconds"]
    answer = namespace.get(name)
    if not callable(answer):
        missing = Reply(error="NotDefined", message=f"there is no function or class called {name}")
        return [as_dict(missing)] * len(questions)
    replies: list[dict[str, Any]] = []
    try:
        with deadline(seconds), contextlib.redirect_stdout(Output()), contextlib.redirect_stderr(Output()):
            for question in questions:
                replies.append(as_dict(observe(question, answer)))
    except TimeUp:
        failed = hung(seconds)
    except BaseException as error:
        failed = Reply(error=type(error).__name__, message=str(error)[:200])
    else:
        return replies
    return replies + [as_dict(reply) for reply in from_here_on(failed, len(questions) - len(replies))]


def as_dict(reply: Reply) -> dict[str, Any]:
    return dict(vars(reply))


def keep_to_one_thread() -> None:
    """A fork of a process whose torch ran two threads hangs in its next operation otherwise."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


REHEARSAL = """def probe(answer, x):
    import sys
    if "torch" not in sys.modules:
        return {"y": answer(x @ x)}
    import torch
    x = torch.from_numpy(x).requires_grad_()
    y = answer((x @ x.mT)[..., None, :].exp().sum(-1) / x.masked_fill(x > 0, 1.0).mean())
    return {"y": y, "gradient": torch.autograd.grad(y.sum(), x)[0]}
"""


def rehearse(shell: Any) -> None:
    """Run a cell and answer a question before the first fork: what libraries do once is not done in every fork."""
    import numpy as np

    run_cell(shell, "pass", 10.0)
    question = Question(REHEARSAL, "probe", {"x": np.ones((2, 3, 3))}, "", ["rehearsed"])
    request = {"answer": "double", "questions": [plain(vars(question))], "seconds": 10.0}
    pack({"replies": collect({"double": lambda x: 2 * x}, request)})


def freeze() -> None:
    """Before the first fork: nothing made so far is collected, so its memory stays shared, in pages as large as can be.

    A fork copies a table of pages, and its end takes that apart again: with pages of 2 MB both are three times as fast.
    """
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError, ValueError):  # not Linux, or older than 6.1: slower, no worse
        collapse = ctypes.CDLL(None).madvise
        collapse.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for start, end in own_memory():
            for page in range(-(-start // HUGE_PAGE) * HUGE_PAGE, end - HUGE_PAGE + 1, HUGE_PAGE):
                collapse(page, HUGE_PAGE, MADV_COLLAPSE)  # refused where a part is unused


def own_memory() -> list[tuple[int, int]]:
    """Start and end of every writable stretch of memory that is no file's."""
    found = []
    with open("/proc/self/maps") as stretches:
        for line in stretches:
            bounds, rights, _, _, _, *name = line.split(maxsplit=5)
            if "w" in rights and not "".join(name).strip().removeprefix("[heap]"):
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                found.append((start, end))
    return found
