r"""Byte-level byte-pair encoding: 256 first pieces spell every text there is, and no token is ever unknown."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ml_course.seq2seq import BPE
from ml_course.seq2seq.bpe import merge

Pair = tuple[str, str]
CONTRACTION = re.compile(r"'(?:s|t|re|ve|m|ll|d)")
# Of the kinds of characters that `_kind` names: a space before a word belongs to it, before more space it does not.
PIECE = re.compile(r" ?L+| ?N+| ?O+|[ _]+(?![LNO])|[ _]+")


def byte_characters() -> tuple[str, ...]:
    r"""A visible character for each of the 256 bytes, so that pieces can be printed and kept as text.

    Bytes that are visible in Latin-1 stand for themselves; the 68 others get the characters from U+0100 on, in order.
    So the space, byte 32, is shown as Ġ. Source: radford2019language's published code.

    >>> table = byte_characters()
    >>> table[ord("A")], table[ord(" ")], table[ord("\n")], len(set(table))
    ('A', 'Ġ', 'Ċ', 256)
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


SHOWN = byte_characters()
BYTE = {character: byte for byte, character in enumerate(SHOWN)}


def split_text(text: str) -> list[str]:
    r"""Cuts a text where no piece may reach across: words, numbers and signs, each with the space before it.

    Contractions ('s, 'll …) stand apart; of several spaces the last goes with what follows. Nothing is lost:
    "".join(split_text(text)) == text. Source: radford2019language, section 2.2, and its published pattern
    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

    >>> split_text("We'll see  2 cats!")
    ['We', "'ll", ' see', ' ', ' 2', ' cats', '!']
    """
    kinds = "".join(map(_kind, text))
    pieces, start = [], 0
    while start < len(text):
        found = CONTRACTION.match(text, start) or PIECE.match(kinds, start)
        pieces.append(text[start : found.end()])
        start = found.end()
    return pieces


@functools.lru_cache(maxsize=4096)
def _kind(character: str) -> str:
    """L letter, N number, O other; the space itself, and _ for other white space."""
    if character == " ":
        return " "
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f":  # which Python counts as spaces, and Unicode not
        return "_"
    return {"L": "L", "N": "N"}.get(unicodedata.category(character)[0], "O")


def as_bytes(text: str) -> list[str]:
    r"""The text's UTF-8 bytes, as the characters that show them.

    >>> as_bytes("é!")
    ['Ã', '©', '!']
    """
    return [SHOWN[byte] for byte in text.encode()]


def merge_once(words: Sequence[Sequence[str]], counts: Sequence[int]) -> tuple[Pair | None, list[list[str]]]:
    r"""One step of learning, in its plainest form: the most frequent pair, and the words with that pair as one piece.

    words    pieces of each word
    counts   how often each word occurs; a pair counts at every place where it stands, that many times
    Of pairs that are equally frequent the first in alphabetical order is taken; None when no word has two pieces.
    Source: gage1994new; sennrich2016neural, algorithm 1. `BPE.train` does it quicker, with older pieces first.

    >>> merge_once([["l", "o", "w"], ["l", "o", "w", "e", "r"]], [5, 2])
    (('l', 'o'), [['lo', 'w'], ['lo', 'w', 'e', 'r']])
    """
    often: Counter[Pair] = Counter()
    for pieces, count in zip(words, counts, strict=True):
        for pair in pairwise(pieces):
            often[pair] += count
    if not often:
        return None, [list(pieces) for pieces in words]
    best = min(often, key=lambda pair: (-often[pair], pair))
    return best, [merge(pieces, best) for pieces in words]


class ByteBPE:
    r"""Text as numbers and back, for every text: first bytes, then what the merges join, in their order.

    merges    pairs of pieces in `byte_characters`, in the order in which they were learned
    special   tokens of the machinery, which no text can produce; they get the last numbers
    Numbers 0–255 are the bytes as the order of `byte_characters`' code points has them, then come the merged pieces.
    `decode(encode(text)) == text`. Source: radford2019language, section 2.2; the merging is sennrich2016neural's.

    >>> bpe = ByteBPE.train(["low lower lowest", "slow 🐌"], merges=3, special=["<end>"])
    >>> bpe.merges
    (('l', 'o'), ('lo', 'w'), ('Ġ', 'low'))
    >>> bpe.pieces("slowly 🐌")
    ['s', 'low', 'l', 'y', 'Ġ', 'ð', 'Ł', 'Ĳ', 'Į']
    >>> bpe.decode(bpe.encode("Ünïcode 🐌\n")), len(bpe), bpe.number("<end>")
    ('Ünïcode 🐌\n', 260, 259)
    """

    def __init__(self, merges: Iterable[Pair], special: Sequence[str] = ()):
        self.merges, self.special = tuple(map(tuple, merges)), tuple(special)
        # The text is turned into characters that show bytes before it gets here, so a word's letters are its bytes.
        self._bpe = BPE(self.merges, spell=list)
        self.tokens = list(dict.fromkeys([*sorted(SHOWN), *(a + b for a, b in self.merges)])) + list(special)
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            raise ValueError(f"special = {list(special)} has a token twice, or one that a text can produce")

    @classmethod
    def train(cls, texts: Iterable[str], merges: int, *, least: int = 2, special: Sequence[str] = ()) -> ByteBPE:
        r"""Learns `merges` merges from texts, as `ml_course.seq2seq.BPE.train` does from words.

        Raises: ValueError for a negative number of merges.
        """
        counts = Counter("".join(as_bytes(piece)) for text in texts for piece in split_text(text))
        return cls(BPE.train(counts, merges, least=least, spell=list).merges, special)

    def __len__(self) -> int:
        return len(self.tokens)

    def number(self, token: str) -> int:
        r"""The number of a piece or of a special token.

        Raises: KeyError when there is no such token.
        """
        return self._numbers[token]

    def pieces(self, text: str) -> list[str]:
        r"""The pieces of a text, shown by `byte_characters`."""
        return self._bpe.encode("".join(as_bytes(piece)) for piece in split_text(text))

    def encode(self, text: str) -> list[int]:
        r"""The numbers of a text's pieces. A special token's name in a text is spelled like any other word."""
        return [self._numbers[piece] for piece in self.pieces(text)]

    def decode(self, numbers: Iterable[int]) -> str:
        r"""The text again; special tokens show their names, bytes that are no UTF-8 become �.

        Raises: IndexError for a number that no token has.
        """
        first_special = len(self) - len(self.special)
        parts: list[bytes] = []
        for number in map(int, numbers):
            if not 0 <= number < len(self):
                raise IndexError(f"numbers has {number}, expected 0 to {len(self) - 1}")
            token = self.tokens[number]
            parts.append(token.encode() if number >= first_special else bytes(BYTE[c] for c in token))
        return b"".join(parts).decode(errors="replace")
