r"""How a vocabulary of word pieces is learned: join the two pieces whose union makes the text most likely."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

INSIDE = "##"  # marks a piece that does not begin a word


def spell_pieces(word: str) -> list[str]:
    r"""The word's characters as pieces: the first bare, the others with the mark of a word's inside.

    >>> spell_pieces("low")
    ['l', '##o', '##w']
    """
    return [c if i == 0 else INSIDE + c for i, c in enumerate(word)]


def join_pieces(first: str, second: str) -> str:
    r"""One piece of two that stand side by side in a word.

    >>> join_pieces("l", "##o"), join_pieces("##o", "##w")
    ('lo', '##ow')
    """
    return first + second.removeprefix(INSIDE)


def log_likelihood(counts: Sequence[int] | np.ndarray) -> float:
    r"""How well pieces are explained by their own frequencies, in nats: Σ c log(c / N), N = Σ c.

    >>> round(log_likelihood([1, 1]), 4)
    -1.3863
    """
    counts = np.asarray(counts, dtype=float)
    return float(_x_log_x(counts).sum() - _x_log_x(counts.sum()))


def gains(
    together: Int[np.ndarray, " pairs"],
    first: Int[np.ndarray, " pairs"],
    second: Int[np.ndarray, " pairs"],
    already: Int[np.ndarray, " pairs"],
    same: Bool[np.ndarray, " pairs"],
    total: int,
) -> Float[np.ndarray, " pairs"]:
    r"""By how much each merge would raise `log_likelihood`, in nats.

    With f(x) = x log x, for a pair that occurs n times, of pieces that occur a and b times among N, whose union is a
    new piece: f(n) + f(a − n) − f(a) + f(b − n) − f(b) − f(N − n) + f(N).

    together, first, second   n, a and b of each pair
    already                   how often the union stands there already, 0 for a new piece: f(n) becomes a difference
    same                      whether both pieces are the same one, which then loses 2n
    total                     N
    For rare pairs of frequent pieces it is nearly n (log(nN / ab) − 1): a pair must be e times as frequent as chance.
    Source: schuster2012japanese, section 3, says what is maximised; the formula follows from it.
    """
    n, a, b, made = (np.asarray(x, dtype=float) for x in (together, first, second, already))
    apart = _x_log_x(np.maximum(a - n, 0)) + _x_log_x(np.maximum(b - n, 0)) - _x_log_x(a) - _x_log_x(b)
    twice = _x_log_x(np.maximum(a - 2 * n, 0)) - _x_log_x(a)
    new = _x_log_x(made + n) - _x_log_x(made)
    return new + np.where(same, twice, apart) - _x_log_x(total - n) + _x_log_x(float(total))


def learn_pieces(counts: Mapping[str, int], size: int, *, least: int = 2) -> list[str]:
    r"""Pieces of words: the characters first, then what was joined, in the order of joining.

    counts   how often each word occurs
    size     how many pieces; fewer when no merge is left that raises the likelihood
    least    how often a pair must occur to be joined
    Every character is a piece with the mark and one without, so that no word of known characters is unknown. Of pairs
    that gain the same the one met first is joined, words taken in alphabetical order.
    Raises: ValueError when `size` has no room for the characters. Cost: O(size · pairs), in NumPy.
    Source: schuster2012japanese, section 3; wu2016google, section 4.1.

    >>> learn_pieces({"low": 5, "lower": 2, "newest": 6, "widest": 3}, size=24)[-4:]
    ['##st', 'lo', '##est', 'ne']
    """
    characters = sorted({c for word in counts for c in word})
    alphabet = [*characters, *(INSIDE + c for c in characters)]
    if size < len(alphabet):
        raise ValueError(f"size = {size} has no room for {len(alphabet)} pieces of one character")
    corpus = _Corpus(counts, alphabet)
    while len(corpus.pieces) < size and corpus.merge_best(least):
        pass
    return corpus.pieces


class _Corpus:
    """The words as numbers of pieces, and how often each piece and each pair occurs, in arrays that grow."""

    def __init__(self, counts: Mapping[str, int], alphabet: Sequence[str]):
        self.pieces, self.number = list(alphabet), {piece: i for i, piece in enumerate(alphabet)}
        ordered = sorted(word for word in counts if word)
        self.words = [[self.number[piece] for piece in spell_pieces(word)] for word in ordered]
        self.times = [counts[word] for word in ordered]
        self.piece_counts = np.zeros(2 * len(alphabet) + 2, dtype=np.int64)  # one entry more than there are pieces
        self.pairs: dict[tuple[int, int], int] = {}  # the columns below belong to them, in this order
        self.left, self.right, self.made, self.together = (np.zeros(1024, dtype=np.int64) for _ in range(4))
        self.making: dict[str, list[int]] = defaultdict(list)  # a union that is no piece yet → its pairs
        self.having: dict[tuple[int, int], set[int]] = defaultdict(set)  # pair → rows of words
        for row in range(len(self.words)):
            self._count(row, +1)

    def merge_best(self, least: int) -> bool:
        """Joins the pair that gains most, if one does and occurs often enough."""
        often = np.flatnonzero(self.together[: len(self.pairs)] >= least)
        if not len(often):
            return False
        counts, (left, right) = self.piece_counts, (self.left[often], self.right[often])
        gain = gains(
            self.together[often], counts[left], counts[right], counts[self.made[often]], left == right,
            int(counts.sum()),
        )  # fmt: skip
        if gain.max() <= 0:
            return False
        best = often[gain.argmax()]
        self._merge((int(self.left[best]), int(self.right[best])))
        return True

    def _merge(self, pair: tuple[int, int]) -> None:
        """Joins the pair in every word that has it, from left to right."""
        union = join_pieces(self.pieces[pair[0]], self.pieces[pair[1]])
        if union not in self.number:
            self.number[union] = len(self.pieces)
            self.pieces.append(union)
            self.made[self.making.pop(union)] = self.number[union]
            if len(self.pieces) == len(self.piece_counts):
                self.piece_counts = _twice_as_long(self.piece_counts)
        for row in sorted(self.having.pop(pair)):
            self._count(row, -1)
            before, after, i = self.words[row], [], 0
            while i < len(before):
                found = (*before[i : i + 2],) == pair
                after.append(self.number[union] if found else before[i])
                i += 2 if found else 1
            self.words[row] = after
            self._count(row, +1)

    def _count(self, row: int, sign: int) -> None:
        """Adds a word's pieces and pairs to the counts, or takes them away."""
        word, times = self.words[row], sign * self.times[row]
        for piece in word:
            self.piece_counts[piece] += times
        for pair, often in pairs_without_overlap(word).items():
            if pair not in self.pairs:
                self._meet(pair)
            self.together[self.pairs[pair]] += often * times
            if sign > 0:
                self.having[pair].add(row)

    def _meet(self, pair: tuple[int, int]) -> None:
        """Makes a column for a pair that was never seen before."""
        column = self.pairs[pair] = len(self.pairs)
        if column == len(self.together):
            self.left, self.right, self.made, self.together = map(
                _twice_as_long, (self.left, self.right, self.made, self.together)
            )
        union = join_pieces(self.pieces[pair[0]], self.pieces[pair[1]])
        if union not in self.number:
            self.making[union].append(column)
        self.left[column], self.right[column] = pair
        self.made[column] = self.number.get(union, -1)  # the entry at the end always counts 0


def pairs_without_overlap(word: Sequence[int]) -> Counter[tuple[int, int]]:
    r"""How often each pair of neighbours could be joined: in a a a the pair (a, a) once, not twice.

    >>> pairs_without_overlap([7, 7, 7, 8])
    Counter({(7, 7): 1, (7, 8): 1})
    """
    found: Counter[tuple[int, int]] = Counter()
    blocked = -1  # where a pair of equals ends, so that no other begins there
    for i in range(len(word) - 1):
        pair = (word[i], word[i + 1])
        if pair[0] == pair[1]:
            if i == blocked:
                continue
            blocked = i + 1
        found[pair] += 1
    return found


def _twice_as_long(array: np.ndarray) -> np.ndarray:
    return np.append(array, np.zeros_like(array))


def _x_log_x(x: np.ndarray | float) -> np.ndarray:
    return np.asarray(x * np.log(np.maximum(x, 1)))
