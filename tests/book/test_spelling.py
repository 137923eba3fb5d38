"""Every English word of the book is in a dictionary or in the course's own list, words.txt; no word there is idle."""

import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from built import PAGES
from spylls.hunspell import Dictionary

OWN = Path(__file__).with_name("words.txt")
# The dictionary is American, the book is not: how a British spelling is found in it.
AMERICAN = (
    (r"is(e|ed|er|ers|es|ing|ation|ations|able)$", r"iz\1"),
    (r"ys(e|ed|es|ing)$", r"yz\1"),
    (r"our", "or"),
    (r"ll(ed|er|ers|ing|ings)$", r"l\1"),
    (r"tre(s|d)?$", r"ter\1"),
    (r"ogue(s?)$", r"og\1"),
    (r"ence(s?)$", r"ense\1"),
)
NOT_PROSE = "pre, code, math, script, style, .citation, .bibtex, .bibtex-citation, .live, .drawing, .headerlink, [lang]"
WORD = re.compile(r"(?<![\w.@/-])[A-Za-z][a-z]+(?:['’][a-z]+)?(?![\w@/])")


def words(html):
    """Words of the prose: no code, no formulas, no names of variables, no sources."""
    page = BeautifulSoup(html, "html.parser").find("article")
    for other in page.select(NOT_PROSE):
        other.replace_with(" ")
    return {word.replace("’", "'").removesuffix("'s") for word in WORD.findall(page.get_text(" "))}


@pytest.fixture(scope="module")
def unknown(html):
    """Each word the dictionary does not have, with a page where it stands."""
    dictionary = Dictionary.from_files("en_US")
    places = {}
    for page in PAGES:
        if page != "book/references":
            places |= dict.fromkeys(words((html / f"{page}.html").read_text()), page)

    def known(word):
        spellings = {word, *(re.sub(british, american, word) for british, american in AMERICAN)}
        return any(dictionary.lookup(spelling) for spelling in spellings)

    return {word: page for word, page in places.items() if not known(word)}


def test_every_word_is_known(unknown):
    own = set(OWN.read_text().split())
    strange = {word: page for word, page in unknown.items() if word not in own and word.lower() not in own}
    assert not strange, "misspelt, or to be added to tests/book/words.txt"


def test_the_course_s_own_words_are_all_used(unknown):
    used = unknown.keys() | {word.lower() for word in unknown}
    own = OWN.read_text().split()
    assert own == sorted(set(own), key=lambda word: (word.lower(), word)), "keep the list in order"
    assert not [word for word in own if word not in used]
