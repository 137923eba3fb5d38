"""Seen from outside: what a class that is being graded does to the machine."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from pathlib import Path

import psutil


class Listener:
    """Sockets nobody of the class should reach: TCP and UDP on 127.0.0.1, an abstract and a named local one."""

    def __init__(self, folder: Path):
        self.abstract = f"hostile-{os.getpid()}"
        self.tcp, self.udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tcp.bind(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.hidden, self.named = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self.hidden.bind("\0" + self.abstract)
        here = os.getcwd()
        os.chdir(folder)  # a socket's path may be 108 characters long; a test's folder is longer
        self.named.bind("listener")
        os.chdir(here)
        for end in (self.tcp, self.hidden, self.named):
            end.listen()

    def reached(self) -> list[str]:
        """Which of them somebody has spoken to."""
        found = []
        for name, end in (("tcp", self.tcp), ("udp", self.udp), ("abstract", self.hidden), ("named", self.named)):
            end.settimeout(0)
            try:
                end.recv(1) if name == "udp" else end.accept()
            except BlockingIOError:
                continue
            found.append(name)
        return found

    def close(self) -> None:
        for end in (self.tcp, self.udp, self.hidden, self.named):
            end.close()


class Sampler(threading.Thread):
    """Notes the network namespaces of everything this process starts, and the least memory the machine had left.

    What it had started earlier, such as another test's template, is not looked at.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.stop, self.houses = threading.Event(), set()
        self.earlier = set(psutil.Process().children(recursive=True))
        self.before = self.least = psutil.virtual_memory().available

    def run(self) -> None:
        me = psutil.Process()
        while not self.stop.wait(0.1):
            self.least = min(self.least, psutil.virtual_memory().available)
            for process in set(me.children(recursive=True)) - self.earlier:
                self.houses.add(house_of(process.pid))

    def left_behind(self, seconds: float = 5) -> list[str]:
        """Processes that still live in a house of the class, after time to end on their own."""
        self.houses -= {house_of(os.getpid()), None}
        end = time.monotonic() + seconds
        while (left := self._in_houses()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def _in_houses(self) -> list[str]:
        return [described(process) for process in psutil.process_iter() if house_of(process.pid) in self.houses]


def described(process: psutil.Process) -> str:
    """Enough of a process to find out where it came from."""
    told = process.as_dict(["pid", "ppid", "status", "cmdline", "create_time", "uids"], ad_value="?")
    age = time.time() - told.pop("create_time")
    return f"{told} for {age:.0f} s"


def house_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


def fingerprint(folder: Path, leaving_out: tuple[str, ...]) -> dict[str, str]:
    """Every file below a folder with a hash of its content; links with where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.split("/")[0] in leaving_out:
            continue
        if path.is_symlink():
            found[name] = f"to {os.readlink(path)}"
        elif path.is_file():
            size = path.stat().st_size
            with open(path, "rb") as file:
                content = file.read() if size < 2**28 else b""
            found[name] = f"{size} {hashlib.sha256(content).hexdigest()}"
        else:
            found[name] = "folder or other"
    return found
