r"""The course's default text: the reference that `help("if")` and its like print, which every Python carries.

About 0.4 MB of English about Python, with examples and grammar. Builds of Python differ in it, some typographic, some
because the language grew. The cleaning takes out what differs for no reason a reader would see.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import re
from pydoc_data.topics import topics

PUBLISHED = "of Python 3.11.7"
PUBLISHED_SHA256 = "de06211cbe40a3f14884747385ca5f4d1ffa0829ba089a4993fd32251912dd1f"

TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " "})
RULER = re.compile(r"^\s*([*=~^-])\1{2,}\s*$")  # what underlines a title
TABLE = re.compile(r"^\s*\+[-=]+\+")  # its upper border; a line of a grammar may begin with | too
HISTORY = re.compile(r"^\s*(New|Changed|Added|Deprecated|Removed)\b.* (in|since) (version )?\d")


@functools.cache
def reference_topics() -> dict[str, str]:
    r"""The cleaned text of each topic, by its name in `help`, in alphabetical order.

    Quotation marks and dashes become those of ASCII; tables, the lines under titles, and the notes about versions go.
    A paragraph that stands in several topics stays in the first of them, so that a text kept for testing is new.

    >>> print(reference_topics()["pass"].splitlines()[0])
    The "pass" statement
    """
    seen, cleaned = set(), {}
    for name in sorted(topics):
        kept = []
        for paragraph in re.split(r"\n\s*\n", topics[name].translate(TYPOGRAPHY)):
            lines = [line.rstrip() for line in paragraph.split("\n") if line.strip() and not RULER.match(line)]
            words = " ".join(" ".join(lines).split())
            dropped = words in seen or not words.isascii() or HISTORY.match(words) or any(map(TABLE.match, lines[:1]))
            seen.add(words)
            if lines and not dropped:
                kept.append("\n".join(lines))
        if kept:
            cleaned[name] = "\n\n".join(kept)
    return cleaned


@functools.cache
def reference_text() -> str:
    r"""The whole cleaned reference in one piece, topic after topic.

    Prints a line when this Python's text is not the one the course's figures were made with: trainings on it then give
    somewhat other numbers.

    >>> text = reference_text()
    >>> 300_000 < len(text) < 600_000, text.isascii()
    (True, True)
    """
    text = "\n\n".join(reference_topics().values()) + "\n"
    if (came := hashlib.sha256(text.encode()).hexdigest()) != PUBLISHED_SHA256:
        print(
            f"The reference of Python {platform.python_version()} ({len(text):,} characters, SHA-256 {came[:12]}…) "
            f"is not the one {PUBLISHED} that the course's figures come from: expect somewhat other numbers."
        )
    return text
