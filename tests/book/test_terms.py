"""The glossary and the chapters know of each other: what is set in bold is a term, and every term is led to."""

import re
from pathlib import Path

import pytest

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
GLOSSARY = re.findall(r"^(\S.*)\n  \S", (ROOT / "book" / "glossary.md").read_text(), re.MULTILINE)
HEADER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
FENCED = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2 *$", re.DOTALL | re.MULTILINE)
BOLD = re.compile(r"(?<![*`])\*\*(?!\*)((?:[^*]|(?<=\\)\*)+)\*\*(?!\*)")
LINK = re.compile(r"\{term\}`([^`]+)`")
# A title that runs into its text stands at the beginning of a paragraph or an item; a table has heads and best values.
RUN_IN = re.compile(r"(?:^|\n\n)\s*$|\n *(?:[-*]|\d+\.) $|(?:^|\n)\|[^\n]*$")


def prose(topic: str) -> str:
    """A chapter's source without its head, its cells and its other fenced blocks."""
    return FENCED.sub("", HEADER.sub("", (ROOT / "book" / f"{topic}.md").read_text()))


def linked(text: str) -> set[str]:
    """The terms that a text leads to."""
    roles = (" ".join(role.split()) for role in LINK.findall(text))
    return {re.sub(r"^.*<(.+)>$", r"\1", role) for role in roles}


def bold_words(text: str):
    """What is set in bold within a sentence, or begins one and is a term; no titles that run into the text."""
    terms = {term.lower() for term in GLOSSARY}
    for match in BOLD.finditer(text):
        words = " ".join(match[1].split())
        begins = RUN_IN.search(text[: match.start()])
        if words[-1] not in ".:?!" and not (begins and words.lower() not in terms):
            yield words


@pytest.mark.parametrize("topic", TOPICS)
def test_what_is_bold_is_a_term(topic):
    """Bold is for terms, which lead to the glossary; *italics* are for stress."""
    strange = [words for words in bold_words(prose(topic)) if "{term}`" not in words]
    assert not strange, "write {term}`…`, add it to book/glossary.md, or set it in italics"


def test_bold_words_are_found():
    text = "A **layer** of **two\nwords**.\n\n**Learn.** It\n\n- **Adam**: and\n- **A title** goes\n\n| **0.4** | x |\n"
    assert list(bold_words(text)) == ["layer", "two words", "Adam"]


def test_every_term_is_led_to_from_a_chapter():
    used = set().union(*(linked(prose(topic)) for topic in TOPICS))
    assert not sorted(set(GLOSSARY) - used)
    assert not sorted(used - set(GLOSSARY)), "no such term; the case counts"


def test_the_glossary_is_sorted_and_without_repetition():
    assert sorted(set(GLOSSARY), key=str.lower) == GLOSSARY


def test_terms_are_told_in_russian_too():
    """All but names that are the same in both languages, which are capitals and figures."""
    entries = re.findall(r"^(\S.*)\n  (\S.*)", (ROOT / "book" / "glossary.md").read_text(), re.MULTILINE)
    bare = [term for term, told in entries if not re.match(r"\*[^*]*[а-яё][^*]*\.\*", told, re.IGNORECASE)]
    assert not [term for term in bare if not re.search(r"[A-Z0-9]|^einops$", term)]
