"""Where cases come from: open seeds for practice, secret ones for grades.

The official seed is HMAC(course secret, assignment, student, exercise): the same at every regrade, unknown to students.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from autograder.errors import CourseError

SECRET = ".course_secret"
SETS = 16  # of cases, an assignment


def derive(key: bytes, *parts: str) -> bytes:
    """A key for one purpose from a key for many."""
    return hmac.new(key, "\0".join(parts).encode(), hashlib.sha256).digest()


def student_key(secret: bytes, assignment: str, student: str) -> bytes:
    """The key of a student's cases: one of sixteen, which the course's secret chooses.

    Sixteen sets are as unknown as ten thousand, and what the reference answers to each is found once, not per student.
    """
    number = derive(secret, assignment, student)[0] % SETS
    return derive(secret, assignment, f"set {number}")


def case_seed(exercise: str, key: bytes = b"practice") -> int:
    """A 63-bit seed of one exercise's cases."""
    return int.from_bytes(derive(key, exercise)[:8], "big") >> 1


def make_secret(folder: Path) -> None:
    """A new course's secret, for its owner's eyes alone (mode 0600)."""
    descriptor = os.open(folder / SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as secret:
        secret.write(secrets.token_hex(32))


def read_secret(folder: Path) -> bytes:
    """The course's secret: `CourseError` where it is missing or torn."""
    try:
        return bytes.fromhex((folder / SECRET).read_text().strip())
    except (OSError, ValueError):
        raise CourseError(
            f"{folder / SECRET} is missing or damaged: put it back from your copy of the course"
        ) from None
