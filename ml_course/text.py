r"""From text to numbers and back: tokens, vocabularies, and batches of what differs in length."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")  # filler, unknown token, begin and end of a sequence
WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


def characters(text: str) -> list[str]:
    r"""Every character is a token.

    >>> characters("a b")
    ['a', ' ', 'b']
    """
    return list(text)


def words(text: str) -> list[str]:
    r"""Words, with the apostrophes inside them, and each punctuation mark by itself; only white space is lost.

    >>> words("Don't panic, it's 2024!")
    ["Don't", 'panic', ',', "it's", '2024', '!']
    """
    return WORD.findall(text)


class Vocabulary:
    r"""Numbers the tokens: 0–3 are <pad>, <unk>, <bos>, <eos>, then further special ones, then the rest as given.

    tokens    each once; `from_counts` and `from_texts` choose them by how often they occur
    special   further special tokens, as "<mask>"
    No text can speak for the machinery: a literal "<pad>" in it is encoded as unknown. `decode(encode(tokens))` gives
    the tokens back when all of them are known.

    Raises: ValueError when a token stands twice or is called as a special one.

    >>> letters = Vocabulary("abc")
    >>> letters.encode("cab!", bos=True, eos=True)
    [2, 6, 4, 5, 1, 3]
    >>> "".join(letters.decode([2, 6, 4, 5, 3, 0, 0])), letters[6], letters.number("<eos>"), len(letters)
    ('cab', 'c', 3, 7)
    """

    pad, unk, bos, eos = range(len(SPECIAL))

    def __init__(self, tokens: Iterable[str], special: Sequence[str] = ()):
        self.special = (*SPECIAL, *special)
        self.tokens = (*self.special, *tokens)
        self._numbers = {token: number for number, token in enumerate(self.tokens)}
        if len(self._numbers) < len(self.tokens):
            twice = sorted(token for token, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"tokens has {twice[0]!r} twice (or it is a special one), expected each once")

    @classmethod
    def from_counts(
        cls, counts: Mapping[str, int], *, size: int | None = None, least: int = 1, special: Sequence[str] = ()
    ) -> Vocabulary:
        r"""The most frequent tokens, those of equal count in alphabetical order.

        size    at most this many tokens in all, the special ones among them; None sets no limit
        least   how often a token must occur
        """
        room = None if size is None else size - len(SPECIAL) - len(special)
        if room is not None and room < 0:
            raise ValueError(f"size = {size} has no room for the {len(SPECIAL) + len(special)} special tokens")
        kept = [token for token, count in counts.items() if count >= least and token not in (*SPECIAL, *special)]
        return cls(sorted(kept, key=lambda token: (-counts[token], token))[:room], special)

    @classmethod
    def from_texts(cls, texts: Iterable[Iterable[str]], **options: Any) -> Vocabulary:
        r"""As `from_counts`, counting the tokens of all texts (of the training part, or the test leaks into it)."""
        return cls.from_counts(Counter(token for text in texts for token in text), **options)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: str) -> bool:
        return token in self._numbers

    def __getitem__(self, number: int) -> str:
        return self.tokens[number]

    def number(self, token: str) -> int:
        r"""The number of this token, special ones too.

        Raises: KeyError when the vocabulary lacks it.
        """
        return self._numbers[token]

    def encode(self, tokens: Iterable[str], *, bos: bool = False, eos: bool = False) -> list[int]:
        r"""Numbers of the tokens, unknown ones as <unk>; with <bos> before and <eos> after them when asked."""
        first = len(self.special)
        numbers = (self._numbers.get(token, self.unk) for token in tokens)
        inside = [number if number >= first else self.unk for number in numbers]
        return [self.bos] * bos + inside + [self.eos] * eos

    def decode(self, numbers: Iterable[int] | Tensor | np.ndarray, *, special: bool = False) -> list[str]:
        r"""Tokens of the numbers, up to the first <eos> and without <pad> and <bos>; all of them with special=True.

        Raises: ValueError for a number that no token has.
        """
        found = []
        for number in map(int, numbers):
            if not 0 <= number < len(self):
                raise ValueError(f"numbers has {number}, expected 0 to {len(self) - 1}")
            if number == self.eos and not special:
                break
            if special or number not in (self.pad, self.bos):
                found.append(self.tokens[number])
        return found


class Padded(NamedTuple):
    r"""Sequences of different lengths in one array, and which of its entries are real."""

    ids: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]  # True = real, False = filler

    @property
    def lengths(self) -> Int[Tensor, " batch"]:
        return self.mask.sum(dim=1)

    def to(self, device: torch.device | str) -> Padded:
        return Padded(self.ids.to(device), self.mask.to(device))


def pad(sequences: Sequence[Sequence[int] | Tensor], filler: int = Vocabulary.pad, length: int | None = None) -> Padded:
    r"""Puts sequences below one another and fills the shorter ones up at the end.

    length   of the result's axis of time; the longest sequence's when None
    Raises: ValueError when there is no sequence, or one is longer than `length`.

    >>> pad([[5, 6, 7], [8]])
    Padded(ids=tensor([[5, 6, 7],
            [8, 0, 0]]), mask=tensor([[ True,  True,  True],
            [ True, False, False]]))
    """
    if not len(sequences):
        raise ValueError("sequences is empty, expected at least one")
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    longest = int(lengths.max())
    if length is not None and longest > length:
        raise ValueError(f"length = {length}, but a sequence has {longest} entries")
    mask = torch.arange(longest if length is None else length) < lengths[:, None]
    ids = torch.full(mask.shape, filler)
    ids[mask] = torch.cat([torch.as_tensor(sequence, dtype=torch.long) for sequence in sequences])
    return Padded(ids, mask)


def unpad(batch: Padded) -> list[list[int]]:
    r"""The sequences that `pad` was given.

    >>> unpad(pad([[5, 6, 7], [8]]))
    [[5, 6, 7], [8]]
    """
    return [ids[mask].tolist() for ids, mask in zip(batch.ids, batch.mask, strict=True)]


class Batches:
    r"""Cuts aligned columns of samples into batches, in a new order on each pass: `for tokens, labels in batches`.

    columns     arrays or tensors, indexed as they are; or sequences of id lists, each batch of which is padded
    size        samples in a batch; the last may have fewer
    seed        of the order, which depends on it and on the number of the pass alone; None keeps the given order
    by_length   samples of about equal length share a batch, so that little is filler: each pass shuffles, sorts
                stretches of 50 batches by the length of the first ragged column, and shuffles the batches
    Raises: ValueError when the columns differ in length, there is none, or size is below 1.

    >>> batches = Batches([[4], [5, 6], [7, 8, 9]], np.array([0, 1, 0]), size=2, seed=None)
    >>> [(tokens.ids.tolist(), labels.tolist()) for tokens, labels in batches]
    [([[4, 0], [5, 6]], [0, 1]), ([[7, 8, 9]], [0])]
    """

    STRETCH = 50

    def __init__(self, *columns: Any, size: int, seed: int | None = 0, by_length: bool = False):
        counts = [len(column) for column in columns]
        if len(set(counts)) != 1 or not any(counts):
            raise ValueError(f"columns have {counts} samples, expected equally many and at least one")
        if size < 1:
            raise ValueError(f"size = {size}, expected at least 1")
        self.columns, self.size, self.seed, self.passes = columns, size, seed, 0
        ragged = [column for column in columns if not isinstance(column, np.ndarray | Tensor)]
        if by_length and not ragged:
            raise ValueError("by_length = True needs a column of sequences, but all columns are arrays")
        self.lengths = np.array([len(sequence) for sequence in ragged[0]]) if by_length else None

    def __len__(self) -> int:
        return -(-len(self.columns[0]) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        chosen = self._order()
        self.passes += 1
        for rows in chosen:
            yield tuple(self._rows(column, rows) for column in self.columns)

    def _order(self) -> list[np.ndarray]:
        """Row numbers of each batch in this pass."""
        order = np.arange(len(self.columns[0]))
        rng = None if self.seed is None else np.random.default_rng((self.seed, self.passes))
        if rng is not None:
            rng.shuffle(order)
        if self.lengths is not None:
            stretch = self.STRETCH * self.size
            pieces = [order[start : start + stretch] for start in range(0, len(order), stretch)]
            order = np.concatenate([piece[np.argsort(self.lengths[piece], kind="stable")] for piece in pieces])
        cut = [order[start : start + self.size] for start in range(0, len(order), self.size)]
        if rng is not None and self.lengths is not None:
            rng.shuffle(cut)
        return cut

    @staticmethod
    def _rows(column: Any, rows: np.ndarray) -> Any:
        if isinstance(column, np.ndarray):
            return column[rows]
        if isinstance(column, Tensor):
            return column[torch.from_numpy(rows).to(column.device)]
        return pad([column[row] for row in rows.tolist()])
