"""The template process: a Python with the course's libraries imported, from which every session is forked.

It is started by exec from a clean process, builds the house of its cage before it imports anything of weight, keeps
torch to one thread (a fork of a process that ran more hangs), never touches a GPU, and holds no reference and no seed.

    python -m autograder.grading.template FD CAGE LIBRARY MODULE…
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import types
from typing import Any

from autograder.grading import cage, session
from autograder.grading.channel import Broken, Channel
from autograder.wire import pack, unpack

BEHIND = 10  # how much a session stands back where processors are scarce
CAGES = ("namespaces", "bubblewrap", "none")


def main() -> None:
    handle, kind, library, *modules = sys.argv[1:]
    orders = Channel(socket.socket(fileno=int(handle)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us
    cage.die_with_parent()
    filter_calls = cage.prepare_filter() if kind != "none" else None
    if kind == "namespaces":
        cage.enter_house(library)
    sys.path.insert(0, library if kind == "none" else str(cage.LIBRARY))
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    session.keep_to_one_thread()
    shell = make_shell()
    session.rehearse(shell)
    hide_autograder()
    session.freeze()
    orders.send(pack({"ready": True}))
    with contextlib.suppress(Broken):
        while True:
            start_session(orders, kind, filter_calls, shell)


def make_shell() -> Any:
    """The IPython that runs cells as a notebook does: magics, top-level await, rich output."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    settings = Config()
    settings.HistoryManager.enabled = False
    settings.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell.instance(config=settings)
    shell._showtraceback = lambda *_: None  # errors are reported once, as plain text
    return shell


def hide_autograder() -> None:
    """In a session `from autograder import check` gives a stand-in: the real one is outside, with the verdict."""
    for name in [name for name in sys.modules if name.split(".")[0] == "autograder"]:
        del sys.modules[name]
    stand_in = types.ModuleType("autograder", "Checks are made outside this process.")
    stand_in.check = lambda name, answer=None: None
    sys.modules["autograder"] = stand_in
    sys.path[:] = [path for path in sys.path if path not in ("", os.getcwd())]


def start_session(orders: Channel, kind: str, filter_calls: Any, shell: Any) -> None:
    """Wait for an order. It brings a socket: fork a session that owns it and say its process id; or it ends one."""
    orders.end.settimeout(None)
    message, handles, _, _ = socket.recv_fds(orders.end, 65536, 1)
    if not message:
        raise Broken("the other side is gone")
    request = unpack(message)
    if "end" in request:
        end_session(request["end"], kind)
        orders.send(pack({"ended": True}))
        return
    reap()
    limits = cage.Limits(megabytes=request["megabytes"])
    with socket.socket(fileno=handles[0]) as end:
        outer = os.fork()
        if outer == 0:
            orders.end.detach()
            live(Channel(end), kind, limits, filter_calls, shell)
    orders.send(pack({"process": outer}))


ending: list[int] = []  # sessions told to end that have not been waited for


def end_session(process: int, kind: str) -> None:
    """Kill a session with everything it started."""
    if kind == "bubblewrap":  # all but this and the first process of a PID namespace that is ours alone
        os.kill(-1, signal.SIGKILL)
    stop = signal.SIGTERM if kind == "namespaces" else signal.SIGKILL
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            kill(process, stop)
    ending.append(process)


def reap() -> None:
    """Wait until what was told to end is gone: no two sessions of a template live side by side."""
    while ending:
        os.waitpid(ending.pop(), 0)


def live(channel: Channel, kind: str, limits: cage.Limits, filter_calls: Any, shell: Any) -> None:
    """In the fork: build the cell and serve. Never returns."""
    try:
        os.setsid()
        os.nice(BEHIND)  # a crowd of hungry processes must not keep the grader from seeing them
        # Grader → template → this process → the session: none outlives the one before it.
        cage.die_with_parent(signal.SIGTERM if kind == "namespaces" else signal.SIGKILL)
        number = os.getpid()  # no two sessions on this machine share it
        if kind == "namespaces":
            cage.enter_cell_namespaces()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            inner = os.fork()  # the first process of the new PID namespace; all others die with it
            if inner != 0:
                channel.close()
                guard(inner)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            cage.enter_cell(limits, filter_calls, number)
            cage.die_with_parent()  # anew, as giving up rights has undone it
        elif kind == "bubblewrap":
            cage.enter_plain_cell(limits, filter_calls, number)
        only_keep(channel.end.fileno())
        session.keep_to_one_thread()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        channel.send(pack({"alive": True}))
        session.serve(channel, shell)
    except BaseException as error:
        with contextlib.suppress(BaseException):
            channel.send(pack({"alive": False, "error": f"{type(error).__name__}: {error}"}))
    finally:
        os._exit(0)


def guard(inner: int) -> None:
    """Outside the cell, which cannot see or reach this process: end the cell when told to, and end with it.

    What the kernel does when a parent dies is not enough: the student's code can switch it off in its own process.
    """
    signal.signal(signal.SIGTERM, lambda *_: os.kill(inner, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.waitpid(inner, 0)
    os._exit(0)


def only_keep(handle: int) -> None:
    """Close every other file; standard streams go nowhere."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.closerange(3, handle)
    os.closerange(handle + 1, 4096)


if __name__ == "__main__":
    main()
