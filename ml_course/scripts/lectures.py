"""The boxes “The lecture says …” of all chapters, read from their sources.

A box says what it corrects by a class: `lecture-2-40` is the 40th of the places we know to be wrong or half right, in
lecture 2 (they are numbered through all lectures); `lecture-2` is a remark on that lecture beside them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ml_course.scripts import chapters

BOX = re.compile(
    r"^(:{3,})\{admonition\} The lecture(?:'s comments)? says?: (?P<said>.+)\n(?P<body>(?:.*\n)*?)\1$", re.MULTILINE
)
CLASSES = re.compile(r"^:class:(.*)\n", re.MULTILINE)
MARK = re.compile(r"\blecture-(\d)(?:-(\d+))?\b")


@dataclass(frozen=True)
class Box:
    """One box: how it is led to, what the lecture says, the answer as MyST, and marks as (lecture, number or None)."""

    topic: str
    label: str
    said: str
    text: str
    marks: tuple[tuple[int, int | None], ...]

    def numbers(self, lecture: int) -> list[int]:
        return sorted(number for its, number in self.marks if its == lecture and number)


def label(topic: str, place: int) -> str:
    """Where the chapter's box number `place`, counted from 1, can be led to."""
    return f"says-{topic}-{place}"


def marks_of(classes: str) -> tuple[tuple[int, int | None], ...]:
    return tuple((int(lecture), int(number) if number else None) for lecture, number in MARK.findall(classes))


def boxes(root: Path = chapters.ROOT) -> list[Box]:
    """All boxes in the order of the book."""
    found = []
    for topic in chapters.topics(root):
        text = Path(root, "book", f"{topic}.md").read_text()
        for place, box in enumerate(BOX.finditer(text), start=1):
            classes = CLASSES.search(box["body"])
            marks = marks_of(classes[1] if classes else "")
            if not marks:
                raise ValueError(f"book/{topic}.md: the box {box['said']!r} has no class lecture-LECTURE-NUMBER")
            answer = CLASSES.sub("", box["body"], count=1).strip()
            found.append(Box(topic, label(topic, place), box["said"], answer, marks))
    return found
