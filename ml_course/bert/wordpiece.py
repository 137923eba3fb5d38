r"""WordPiece: words cut into the longest pieces that a vocabulary has, from the left."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ml_course.bert.learning import INSIDE, learn_pieces
from ml_course.bert.normaliser import normalise, split_words
from ml_course.text import pad

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Inputs(NamedTuple):
    r"""A batch as BERT reads it: `bert(*inputs)`."""

    tokens: Int[Tensor, "batch time"]
    segments: Int[Tensor, "batch time"]  # 0 for the first text with its [CLS] and [SEP], 1 for the second
    mask: Bool[Tensor, "batch time"]  # True = real, False = filler

    def to(self, device: torch.device | str) -> Inputs:
        return Inputs(*(tensor.to(device) for tensor in self))


def longest_match(word: str, vocabulary: Collection[str], unknown: str = "[UNK]", longest: int = 100) -> list[str]:
    r"""Cuts one word into pieces: always the longest that fits next; if once none fits, the whole word is unknown.

    vocabulary   pieces; those for a word's inside begin with ##
    longest      a word of more characters than this is unknown
    Cost: O(length²) look-ups of a word that is one piece per character. Source: devlin2019bert's published code.

    >>> longest_match("unaffable", {"un", "##aff", "##able", "##a"})
    ['un', '##aff', '##able']
    >>> longest_match("unaffected", {"un", "##aff", "##able", "##a"})
    ['[UNK]']
    """
    if len(word) > longest:
        return [unknown]
    pieces, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            piece = (INSIDE if start else "") + word[start:stop]
            if piece in vocabulary:
                break
        else:
            return [unknown]
        pieces.append(piece)
        start = stop
    return pieces


class WordPiece:
    r"""BERT's tokenizer: normalise, split at spaces and punctuation, then `longest_match` for each word.

    vocabulary   the pieces in the order of their numbers; the five special ones among them
    lowercase, strip_accents, chinese   of `normalise`
    longest      of `longest_match`
    Numbers equal those of the `tokenizers` library. A special token written in a text is text, unless asked otherwise.

    Raises: ValueError when a piece stands twice or a special one is missing.
    Source: wu2016google, section 4.1; devlin2019bert, section 3.

    >>> tokenizer = WordPiece([*SPECIAL, "the", "un", "##want", "##ed", "run", "##ning", ","])
    >>> tokenizer.pieces("UNwanted,running"), tokenizer.encode("the running [MASK]", special=True)
    (['un', '##want', '##ed', ',', 'run', '##ning'], [5, 9, 10, 4])
    >>> tokenizer.batch(["the running", "the"], ["unwanted", "the, the"]).segments
    tensor([[0, 0, 0, 0, 0, 1, 1, 1, 1],
            [0, 0, 0, 1, 1, 1, 1, 0, 0]])
    """

    def __init__(
        self,
        vocabulary: Iterable[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        chinese: bool = True,
        longest: int = 100,
    ):
        self.vocabulary = tuple(vocabulary)
        self._numbers = {piece: number for number, piece in enumerate(self.vocabulary)}
        if len(self._numbers) < len(self.vocabulary):
            twice = next(piece for piece, count in Counter(self.vocabulary).items() if count > 1)
            raise ValueError(f"vocabulary has {twice!r} twice, expected each piece once")
        if missing := [token for token in SPECIAL if token not in self._numbers]:
            raise ValueError(f"vocabulary lacks {', '.join(missing)}, expected all of {', '.join(SPECIAL)}")
        self.lowercase, self.strip_accents, self.chinese = lowercase, strip_accents, chinese
        self.longest = longest
        self.pad, self.unk, self.cls, self.sep, self.mask = (self._numbers[token] for token in SPECIAL)
        self._known: dict[str, list[str]] = {}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        size: int,
        *,
        least: int = 2,
        lowercase: bool = True,
        strip_accents: bool | None = None,
    ) -> WordPiece:
        r"""Learns a vocabulary of `size` pieces, the five special ones among them, from texts: see `learn_pieces`.

        least   how often a pair of pieces must occur to become one
        Raises: ValueError as `learn_pieces`.
        """
        counts = Counter(
            word
            for text in texts
            for word in split_words(normalise(text, lowercase=lowercase, strip_accents=strip_accents))
        )
        return cls.from_counts(counts, size, least=least, lowercase=lowercase, strip_accents=strip_accents)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], size: int, *, least: int = 2, **options: bool | None) -> WordPiece:
        r"""As `train`, from words that are counted already; `options` are those of the tokenizer itself."""
        return cls([*SPECIAL, *learn_pieces(counts, size - len(SPECIAL), least=least)], **options)

    @classmethod
    def from_file(cls, path: str | os.PathLike, **options: bool | None) -> WordPiece:
        r"""The tokenizer of a published vocabulary, a piece a line.

        path      `vocab.txt`, or a folder that has it; the folder's `tokenizer_config.json`, where there is one, says
                  how to normalise
        options   of the tokenizer itself; they count more than that file
        Raises: FileNotFoundError when there is no such file; ValueError as the tokenizer itself.
        """
        path = Path(path)
        folder, file = (path, path / "vocab.txt") if path.is_dir() else (path.parent, path)
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: expected a vocabulary, one piece a line")
        said = folder / "tokenizer_config.json"
        config = json.loads(said.read_text(encoding="utf-8")) if said.is_file() else {}
        names = dict(lowercase="do_lower_case", strip_accents="strip_accents", chinese="tokenize_chinese_chars")
        stored = {ours: config[theirs] for ours, theirs in names.items() if theirs in config}
        pieces = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        return cls((piece.removesuffix("\r") for piece in pieces), **(stored | options))

    def save(self, folder: str | os.PathLike) -> None:
        r"""Writes `vocab.txt` and `tokenizer_config.json` into the folder, as `from_file` and others read them."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in self.vocabulary), encoding="utf-8")
        config = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": self.strip_accents,
            "tokenize_chinese_chars": self.chinese,
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")

    def __len__(self) -> int:
        return len(self.vocabulary)

    def __getitem__(self, number: int) -> str:
        return self.vocabulary[number]

    def number(self, piece: str) -> int:
        r"""The number of this piece. Raises: KeyError when the vocabulary lacks it."""
        return self._numbers[piece]

    def words(self, text: str) -> list[str]:
        r"""The text's words and punctuation marks, normalised: what is cut into pieces."""
        return split_words(
            normalise(text, lowercase=self.lowercase, strip_accents=self.strip_accents, chinese=self.chinese)
        )

    def pieces(self, text: str, *, special: bool = False) -> list[str]:
        r"""The pieces of a text.

        special   whether a special token written in the text, as [MASK], means itself; else it is text as any other
        """
        if special:
            parts = re.split("(" + "|".join(map(re.escape, SPECIAL)) + ")", text)
            return [piece for part in parts for piece in ([part] if part in SPECIAL else self.pieces(part))]
        return [piece for word in self.words(text) for piece in self._cut(word)]

    def encode(self, text: str, *, special: bool = False) -> list[int]:
        r"""Numbers of the text's pieces, without [CLS] and [SEP]; `special` as of `pieces`."""
        return [self._numbers[piece] for piece in self.pieces(text, special=special)]

    def encode_words(self, words: Iterable[str]) -> tuple[list[int], list[int]]:
        r"""Numbers of the pieces of words, each normalised by itself, and for each piece the word it belongs to.

        >>> WordPiece([*SPECIAL, "a", "##b"]).encode_words(["a", "ab", "-"])
        ([5, 5, 6, 1], [0, 1, 1, 2])
        """
        pieces = [(number, i) for i, word in enumerate(words) for number in self.encode(word)]
        return [number for number, _ in pieces], [i for _, i in pieces]

    def decode(self, numbers: Iterable[int] | Tensor, *, special: bool = False) -> str:
        r"""Text of the numbers: words apart by a space, pieces put together; capitals, accents and spacing are lost.

        special   show special tokens too; else only [UNK] is shown
        Raises: ValueError for a number that no piece has.
        """
        text, hidden = "", () if special else (self.pad, self.cls, self.sep, self.mask)
        for number in map(int, numbers):
            if not 0 <= number < len(self):
                raise ValueError(f"numbers has {number}, expected 0 to {len(self) - 1}")
            if number not in hidden:
                piece = self.vocabulary[number]
                inside = piece.startswith(INSIDE) and text != ""
                text += piece.removeprefix(INSIDE) if inside else f" {piece}"
        return text.removeprefix(" ")

    def batch(
        self,
        texts: Sequence[str | Sequence[int]],
        seconds: Sequence[str | Sequence[int]] | None = None,
        *,
        context: int = 512,
        special: bool = False,
    ) -> Inputs:
        r"""Texts, or pairs of texts, as BERT reads them: [CLS] first [SEP] second [SEP], padded to the longest.

        texts, seconds   texts, or numbers of their pieces
        context          how many tokens at most; the longer text of a pair loses its last ones first
        special          as of `pieces`
        Raises: ValueError when there is no text, or the seconds are not as many.
        """
        if seconds is not None and len(seconds) != len(texts):
            raise ValueError(f"texts has {len(texts)} entries and seconds {len(seconds)}, expected as many")
        rows = []
        for i, text in enumerate(texts):
            pair = (text,) if seconds is None else (text, seconds[i])
            numbers = [self.encode(one, special=special) if isinstance(one, str) else list(one) for one in pair]
            rows.append(join(*shorten(numbers, context), cls=self.cls, sep=self.sep))
        tokens, mask = pad([tokens for tokens, _ in rows], filler=self.pad)
        segments = pad([segments for _, segments in rows], filler=0).ids
        return Inputs(tokens, segments, mask)

    def _cut(self, word: str) -> list[str]:
        if word not in self._known:
            self._known[word] = longest_match(word, self._numbers, longest=self.longest)
        return self._known[word]


def join(
    first: Sequence[int], second: Sequence[int] | None = None, *, cls: int, sep: int
) -> tuple[list[int], list[int]]:
    r"""One or two texts in a row with what BERT puts around them, and the segment of each token.

    [CLS] first [SEP] second [SEP],  segments 0 … 0 up to the first [SEP] itself, then 1 … 1 up to the second.
    Source: devlin2019bert, figure 2.

    >>> join([7, 8], [9], cls=2, sep=3)
    ([2, 7, 8, 3, 9, 3], [0, 0, 0, 0, 1, 1])
    """
    tokens = [cls, *first, sep]
    if second is None:
        return tokens, [0] * len(tokens)
    return [*tokens, *second, sep], [0] * len(tokens) + [1] * (len(second) + 1)


def shorten(texts: Sequence[Sequence[int]], context: int) -> list[list[int]]:
    r"""Takes tokens from the end of the longest text, one by one, until [CLS], all texts and their [SEP] fit.

    Of texts of one length the last is shortened. Raises: ValueError when `context` has no room even for empty texts.

    >>> shorten([[1, 2, 3, 4], [5, 6]], context=7)
    [[1, 2], [5, 6]]
    """
    room = context - 1 - len(texts)
    if room < 0:
        raise ValueError(f"context = {context} has no room for [CLS] and {len(texts)} [SEP]")
    kept = [list(text) for text in texts]
    while sum(map(len, kept)) > room:
        max(reversed(kept), key=len).pop()
    return kept
