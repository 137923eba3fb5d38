r"""Damaged names: what people call places, languages, money and scripts, with gaps, as letters and as words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from babel import Locale
from jaxtyping import Bool, Int
from torch import Tensor

from ml_course.data import Split, split_by_key
from ml_course.data.names import KINDS
from ml_course.text import Vocabulary, pad

GAP = "?"  # stands for one letter that cannot be read
LANGUAGES = ("de", "en", "es", "fi", "fr", "pl")  # all in Latin letters


@dataclass(frozen=True)
class Names:
    r"""Names, each in one language and of one kind of thing."""

    texts: tuple[str, ...]
    languages: Int[np.ndarray, " samples"]  # number in `of_languages`
    kinds: Int[np.ndarray, " samples"]  # number in `of_kinds`
    of_languages: tuple[str, ...] = LANGUAGES
    of_kinds: tuple[str, ...] = KINDS

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: np.ndarray) -> Names:
        r"""The names at these numbers, or where these bools are True."""
        texts = tuple(np.array(self.texts, dtype=object)[chosen])
        return replace(self, texts=texts, languages=self.languages[chosen], kinds=self.kinds[chosen])

    def contents(self) -> np.ndarray:
        r"""What makes two names the same, for `split`."""
        return np.array(self.texts)


def names(
    languages: Sequence[str] = LANGUAGES, kinds: Sequence[str] = KINDS, longest: int = 32, test_share: float = 0.1
) -> Split[Names]:
    r"""Names of places, languages, currencies and scripts in several languages, in small letters, without brackets.

    languages    codes of the CLDR, as "de"
    kinds        any of `ml_course.data.names.KINDS`
    longest      letters of a name, at most
    test_share   about this share of *things* is for testing, in all languages at once; what has the same name in
                 English, as a language and its script, stays together

    A name that means two kinds or is written so in two of the languages, as "malta", is left out.
    Raises: ValueError for a kind that there is not. Source: the CLDR in the package Babel, see `ml_course.data.names`.

    >>> parts = names()
    >>> len(parts.train) > 4000, parts.test.of_kinds
    (True, ('territories', 'languages', 'currencies', 'scripts'))
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds names {kind!r}, expected some of {', '.join(KINDS)}")
    english, found = Locale.parse("en"), defaultdict(set)
    for language, code in enumerate(languages):
        for number, kind in enumerate(kinds):
            for thing, name in getattr(Locale.parse(code), kind).items():
                found[_plain(name)].add((language, number, _plain(getattr(english, kind).get(thing, thing))))
    kept = []
    for text, meanings in sorted(found.items()):
        languages_of, kinds_of, things = map(set, zip(*meanings, strict=True))
        if len(languages_of) == len(kinds_of) == 1 and 2 < len(text) <= longest and GAP not in text:
            kept.append((text, languages_of.pop(), kinds_of.pop(), min(things)))
    texts, of_language, of_kind, keys = zip(*kept, strict=True)
    samples = Names(texts, np.array(of_language), np.array(of_kind), tuple(languages), tuple(kinds))
    return split_by_key(samples, list(keys), test_share)


def hide(text: str, rng: np.random.Generator, share: float | int = 0.25, longest: int = 3) -> str:
    r"""Damages a text: runs of 1 to `longest` letters become gaps, until `share` of all letters are hidden.

    Spaces stay. At least one letter is hidden, and at least one stays.
    Raises: ValueError when share is not between 0 and 1, or longest below 1.

    >>> hide("new zealand", np.random.default_rng(5))
    'new zea??nd'
    """
    if not 0 < share < 1 or longest < 1:
        raise ValueError(f"share = {share}, longest = {longest}: expected 0 < share < 1, and at least 1")
    letters = [place for place, letter in enumerate(text) if letter != " "]
    wanted = min(max(1, round(share * len(letters))), len(letters) - 1)
    hidden: set[int] = set()
    while len(hidden) < wanted:
        start, run = rng.integers(len(letters)), rng.integers(1, longest + 1)
        hidden |= set(letters[start : start + min(run, wanted - len(hidden))])
    return "".join(GAP if place in hidden else letter for place, letter in enumerate(text))


class Gapped(NamedTuple):
    r"""Damaged texts as numbers: at each place a letter, and the word that this letter is in."""

    letters: Int[Tensor, "batch time"]
    words: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]  # True = real, False = filler


@dataclass(frozen=True)
class Reader:
    r"""Numbers the letters and the words of gapped texts.

    A word with a gap in it cannot be read, so it is unknown; so is a word that was not among those to learn from.
    """

    letters: Vocabulary
    words: Vocabulary

    @classmethod
    def of(cls, texts: Iterable[str], least: int = 2) -> Reader:
        r"""Knows the letters of these texts, and the words that occur in them at least so often."""
        texts = list(texts)
        words = Vocabulary.from_texts((text.split() for text in texts), least=least)
        return cls(Vocabulary.from_texts(texts, special=(GAP,)), words)

    @property
    def gap(self) -> int:
        r"""The number of a letter that cannot be read."""
        return self.letters.number(GAP)

    def encode(self, texts: Sequence[str]) -> Gapped:
        r"""As tensors; a space belongs to no word, which is 0.

        >>> reader = Reader.of(["new york", "new delhi"])
        >>> reader.encode(["new yo?k"]).words  # 4 is "new", 1 is unknown
        tensor([[4, 4, 4, 0, 1, 1, 1, 1]])
        """
        letters, words = [], []
        for text in texts:
            numbers = self.letters.encode(text)
            letters.append([self.gap if a == GAP else number for a, number in zip(text, numbers, strict=True)])
            around: list[int] = []
            for word in text.split(" "):
                around += [0] * bool(around) + self.words.encode([word]) * len(word)
            words.append(around)
        padded = pad(letters)
        return Gapped(padded.ids, pad(words).ids, padded.mask)

    def targets(self, texts: Sequence[str], gapped: Gapped) -> Int[Tensor, " gaps"]:
        r"""The letters that stood in the gaps, in the order of rows."""
        return pad([self.letters.encode(text) for text in texts]).ids[gapped.letters == self.gap]


def _plain(name: str) -> str:
    """Small letters, ordinary spaces, no brackets."""
    return " ".join(re.sub(r"[(\[].*?[)\]]", "", name).lower().split())
