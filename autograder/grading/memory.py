"""How much memory all processes of a cell take together: the kernel's own limits count each of them alone."""

from __future__ import annotations

import contextlib
import threading

import psutil

EVERY = 0.4  # seconds between two looks; most submissions are done before the first


class MemoryWatch(threading.Thread):
    """Looks at everything below a template process and ends the largest while all together are too large.

    Counted is what each process has beyond the template's own size, which forks share. A student's process that is
    ended this way is an ordinary event: whatever ran in it has given no result.
    """

    def __init__(self, template: int):
        super().__init__(daemon=True, name="memory watch")
        self.template = psutil.Process(template)
        self.shared = max((size for size, _ in self._sizes()), default=0)
        self.most: int | None = None  # bytes; set with each session
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(EVERY):
            with contextlib.suppress(psutil.Error):
                while self.most is not None and self._too_much():
                    self.over.wait(0.01)

    def _too_much(self) -> bool:
        """Whether it was too much; then the largest process has been ended."""
        beyond = [(size - self.shared, process) for size, process in self._sizes() if size > self.shared]
        if sum(size for size, _ in beyond) <= self.most:
            return False
        if sum(own_share(process, size) for size, process in beyond) <= self.most:
            return False  # forks of a large session, which share what it holds
        _, largest = max(beyond, key=lambda pair: pair[0])
        with contextlib.suppress(psutil.Error):
            largest.kill()
        return True

    def _sizes(self) -> list[tuple[int, psutil.Process]]:
        """Resident bytes of the template and of every process below it that still lives."""
        found = []
        for process in (self.template, *self.template.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                found.append((process.memory_info().rss, process))
        return found


def own_share(process: psutil.Process, otherwise: int) -> int:
    """Bytes of a process, those shared by n counted as one nth; slower to find than its resident bytes."""
    try:
        return min(process.memory_full_info().pss, otherwise)
    except psutil.Error:
        return otherwise
