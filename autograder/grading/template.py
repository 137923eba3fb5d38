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

CAGES = ("namespaces", "bubblewrap", "none")


def main() -> None:
    handle, kind, library, *modules = sys.argv[1:]
    orders = Channel(socket.socket(fileno=int(handle)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who started us
    cage.call("prctl", cage.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    filter_calls = cage.prepare_filter() if kind != "none" else None
    if kind == "namespaces":
        cage.enter_house(library)
    sys.path.insert(0, library if kind == "none" else str(cage.LIBRARY))
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    session.keep_to_one_thread()
    shell = make_shell()
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
    """Wait for an order, which brings a socket; fork a session that owns it; say its process id."""
    orders.end.settimeout(None)
    message, handles, _, _ = socket.recv_fds(orders.end, 65536, 1)
    if not message or not handles:
        raise Broken("the other side is gone")
    request = unpack(message)
    limits = cage.Limits(megabytes=request["megabytes"])
    with socket.socket(fileno=handles[0]) as end:
        outer = os.fork()
        if outer == 0:
            orders.end.detach()
            live(Channel(end), kind, limits, filter_calls, shell)
    orders.send(pack({"process": outer}))
    reap()


def reap() -> None:
    """Collect sessions that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def live(channel: Channel, kind: str, limits: cage.Limits, filter_calls: Any, shell: Any) -> None:
    """In the fork: build the cell and serve. Never returns."""
    try:
        os.setsid()
        if kind == "namespaces":
            cage.enter_cell_namespaces()
            inner = os.fork()  # the first process of the new PID namespace; all others die with it
            if inner != 0:
                channel.close()
                os.waitpid(inner, 0)
                os._exit(0)
            cage.enter_cell(limits, filter_calls)
            cage.call("prctl", cage.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        elif kind == "bubblewrap":
            cage.enter_plain_cell(limits, filter_calls)
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


def only_keep(handle: int) -> None:
    """Close every other file; standard streams go nowhere."""
    nowhere = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.closerange(3, handle)
    os.closerange(handle + 1, 4096)


if __name__ == "__main__":
    main()
