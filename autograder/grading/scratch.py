"""A template's temporary folder: gone with its owner, or, where the owner was killed, when the next one is made."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, OWNER = "autograder-", "owner"


class Scratch:
    """A folder that is locked as long as its owner lives: the kernel lets the lock go however the owner ends."""

    def __init__(self) -> None:
        sweep()
        fresh = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}"))  # nobody sweeps it before it is locked
        self.lock = FileLock(fresh / OWNER)
        self.lock.acquire(timeout=0)
        self.path = fresh.rename(fresh.with_name(fresh.name.removeprefix("new-")))

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.release()


def sweep() -> None:
    """Remove the folders of owners that are no more; other people's are not touched."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, Timeout):
            if path.lstat().st_uid == os.getuid() and (path / OWNER).is_file():
                with FileLock(path / OWNER, timeout=0):
                    shutil.rmtree(path, ignore_errors=True)
