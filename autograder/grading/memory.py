"""How much memory all processes of a cell take together: the kernel's own limits count each of them alone."""

from __future__ import annotations

import contextlib
import threading

import psutil

EVERY = 0.2  # seconds between two looks; most submissions are done before the first


class MemoryWatch(threading.Thread):
    """Looks at everything below a template process and ends the largest where all together are too large.

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
                while self.most is not None and self._ended_some():
                    self.over.wait(0.01)

    def _ended_some(self) -> bool:
        """Whether it was too much. Then the largest have been ended, at once: many outgrow what ends one by one."""
        beyond = [(size - self.shared, process) for size, process in self._sizes() if size > self.shared]
        beyond.sort(key=lambda pair: pair[0], reverse=True)
        left = sum(size for size, _ in beyond)
        if left <= self.most or not self._is_too_much(beyond):
            return False
        for size, process in beyond:
            if left <= self.most:
                break
            with contextlib.suppress(psutil.Error):
                process.kill()
            left -= size
        return True

    def _is_too_much(self, beyond: list[tuple[int, psutil.Process]]) -> bool:
        """What forks of a large session share is not counted twice; the largest suffice to know of too much."""
        total = 0
        for size, process in beyond:
            total += own_share(process, size)
            if total > self.most:
                return True
        return False

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
