r"""What BERT does to a text before it looks any word up: clean, lower, strip the accents, cut at spaces and marks."""

from __future__ import annotations

import functools
import re
import unicodedata

WHITE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")  # Unicode's White_Space
ASCII_MARKS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")  # also those Unicode calls symbols: $ + < = > ^ ` | ~
IDEOGRAPHS = re.compile(
    "([\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f"
    "\U0002b920-\U0002ceaf\uf900-\ufaff\U0002f800-\U0002fa1f])"
)


def normalise(text: str, *, lowercase: bool = True, strip_accents: bool | None = None, chinese: bool = True) -> str:
    r"""The text as BERT's vocabulary knows it: one kind of space, no control characters, small letters, no accents.

    lowercase       small letters, each by itself, so that a final Σ becomes σ as any other
    strip_accents   letters lose what is written above and below them (Unicode's category Mn, after NFD); as
                    `lowercase` when None
    chinese         spaces around each Chinese character, so that each is a word
    Marks, accents and controls are told by Python's table of Unicode. The `tokenizers` library has an older one, and
    differs at characters that came after it.
    Source: devlin2019bert's published code, in the order of steps of that library.

    >>> normalise("Café\tÅ\u200b Ünïcode"), normalise("北京 2022")
    ('cafe a unicode', ' 北  京  2022')
    """
    if text.isascii() and text.isprintable():  # most text: nothing else to do
        return text.lower() if lowercase else text
    text = "".join(c for c in text if not _is_removed(c))
    text = WHITE.sub(lambda found: " " * len(found[0]), text)
    if chinese:
        text = IDEOGRAPHS.sub(r" \1 ", text)
    if lowercase if strip_accents is None else strip_accents:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return "".join(map(str.lower, text)) if lowercase else text


def split_words(text: str) -> list[str]:
    r"""Cuts at white space, which is lost, and around every punctuation mark, which is a word by itself.

    >>> split_words("didn't cross (x_1) …")
    ['didn', "'", 't', 'cross', '(', 'x', '_', '1', ')', '…']
    """
    words, begun = [], []
    for c in text:
        white, mark = c.isspace() and bool(WHITE.match(c)), _is_mark(c)
        if (white or mark) and begun:
            words.append("".join(begun))
            begun = []
        if mark:
            words.append(c)
        elif not white:
            begun.append(c)
    return [*words, "".join(begun)] if begun else words


@functools.cache
def _is_removed(c: str) -> bool:
    """Control and format characters, private ones, and the mark of what could not be decoded."""
    return c not in "\t\n\r" and (c == "\ufffd" or unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs"))


@functools.cache
def _is_mark(c: str) -> bool:
    return c in ASCII_MARKS or unicodedata.category(c).startswith("P")
