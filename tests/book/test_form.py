"""Chapters are all of one form: how they begin, how they end, and enough questions a reader can check alone."""

import re
from pathlib import Path

import pytest

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[2]
END = ["Common mistakes", "Questions to check yourself", "Exercises", "Summary", "Further reading", "Homework"]
LEAST_QUESTIONS = 5
CODE = re.compile(r"^(`{3,})\{code-cell\}.*?^\1$", re.DOTALL | re.MULTILINE)


@pytest.fixture(params=chapters.topics(ROOT))
def prose(request) -> str:
    return CODE.sub("", (ROOT / "book" / f"{request.param}.md").read_text())


def test_it_begins_with_goals_and_what_is_needed(prose):
    first = prose[: prose.index("\n## ")]
    assert re.search(r"^:{3,}\{admonition\} You will learn$", first, re.MULTILINE)
    assert first.index("You will learn") < first.index("**What you need first.**")


def test_it_ends_as_all_do(prose):
    assert re.findall(r"^## (.+)$", prose, re.MULTILINE)[-len(END) :] == END


def test_a_reader_can_check_what_was_understood(prose):
    asked = prose[prose.index("\n## Questions to check yourself") : prose.index("\n## Exercises")]
    boxes = re.findall(r"^(:{3,})\{admonition\} (.+?)\n:class: dropdown\n(.+?)\n\1$", asked, re.DOTALL | re.MULTILINE)
    assert len(boxes) >= LEAST_QUESTIONS
    for _, question, answer in boxes:
        assert len(answer.split()) > 8, f"answered without a reason: {question}"
