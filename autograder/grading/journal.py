"""What was graded, on disk before anything else happens: a line of JSON a verdict, never rewritten.

A line torn by a stop (only the last can be) is left out when the journal is read; that submission is graded again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from autograder.errors import CourseError


class Journal:
    """The journal of one topic in a course folder."""

    def __init__(self, path: Path):
        self.path = path

    def entries(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError), open(self.path, encoding="utf-8") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict) and "student" in entry:
                        yield entry

    def latest(self) -> dict[str, dict[str, Any]]:
        """The last entry of every student."""
        return {entry["student"]: entry for entry in self.entries()}

    def append(self, entry: dict[str, Any]) -> None:
        """On disk when this returns: `CourseError` when the disk does not take it."""
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a+b") as journal:
                if journal.tell() and not self._ends_well(journal):
                    line = "\n" + line
                journal.write(line.encode())
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            told = f"cannot write {self.path}: {error.strerror}"
            raise CourseError(f"{told}; make room and run the same command again, nothing is lost") from None

    @staticmethod
    def _ends_well(journal: Any) -> bool:
        journal.seek(-1, os.SEEK_END)
        ends = journal.read(1) == b"\n"
        journal.seek(0, os.SEEK_END)
        return ends


def write_whole(path: Path, text: str) -> None:
    """A file in one step: a stop at any moment leaves the old one or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(fresh, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(fresh, path)
    except OSError as error:
        raise CourseError(f"cannot write {path}: {error.strerror}; make room and run the same command again") from None
