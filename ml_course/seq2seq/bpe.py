r"""Byte-pair encoding: words as pieces, so that a vocabulary of fixed size can spell every word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

END = "</w>"  # marks the piece that ends a word
Pair = tuple[str, str]


def merge(pieces: Sequence[str], pair: Pair) -> list[str]:
    r"""Joins the pair wherever it stands, from left to right; what was joined is not joined again.

    >>> merge(["a", "a", "a", "b"], ("a", "a"))
    ['aa', 'a', 'b']
    """
    joined, i = [], 0
    while i < len(pieces):
        if i + 1 < len(pieces) and (pieces[i], pieces[i + 1]) == pair:
            joined.append(pieces[i] + pieces[i + 1])
            i += 2
        else:
            joined.append(pieces[i])
            i += 1
    return joined


def spell(word: str) -> list[str]:
    r"""The word's characters, the last one with the mark of the end.

    Raises: ValueError when the word is empty or holds the mark itself.

    >>> spell("low")
    ['l', 'o', 'w</w>']
    """
    if not word or END in word:
        raise ValueError(f"word = {word!r}, expected some characters without {END!r}")
    return [*word[:-1], word[-1] + END]


class BPE:
    r"""Splits words into pieces that were found frequent: first characters, then what the merges join, in their order.

    merges   pairs of pieces, in the order in which they were learned
    spell    makes a word's first pieces; characters with the mark of the end when left out
    What `encode` makes of any word, `decode` puts together again; only characters that were never seen are pieces that
    a vocabulary lacks. Source: sennrich2016neural, section 3.2, after gage1994new; there the mark of the end is a
    symbol of its own, here it belongs to the last character, as in their later subword-nmt.

    >>> bpe = BPE.train({"low": 5, "lower": 2, "newest": 6, "widest": 3}, merges=4)
    >>> bpe.merges
    (('e', 's'), ('es', 't</w>'), ('l', 'o'), ('e', 'w'))
    >>> bpe.encode(["lowest"]), bpe.decode(["lo", "w", "est</w>"])
    (['lo', 'w', 'est</w>'], ['lowest'])
    """

    def __init__(self, merges: Iterable[Pair], *, spell: Callable[[str], list[str]] = spell):
        self.merges, self.spell = tuple(merges), spell
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._known: dict[str, list[str]] = {}

    @classmethod
    def train(
        cls, counts: Mapping[str, int], merges: int, *, least: int = 2, spell: Callable[[str], list[str]] = spell
    ) -> BPE:
        r"""Learns `merges` merges: each joins the two pieces that stand side by side most often.

        counts   how often each word occurs
        least    stop before a pair that occurs less often than this
        spell    as above
        Of pairs of equal count the one is taken whose first piece (then second) is older: characters in the order of
        their code points, then merged pieces as they came.
        Raises: ValueError for a negative number of merges, or as `spell`.
        Cost: about O(merges · pairs) for finding the most frequent pair; only words that change are counted again.
        """
        if merges < 0:
            raise ValueError(f"merges = {merges}, expected 0 or more")
        words = {word: spell(word) for word in counts}
        characters = sorted({piece for pieces in words.values() for piece in pieces})
        age = {piece: number for number, piece in enumerate(characters)}
        frequency: Counter[Pair] = Counter()
        having: dict[Pair, set[str]] = defaultdict(set)
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                frequency[pair] += counts[word]
                having[pair].add(word)
        learned: list[Pair] = []
        while len(learned) < merges and frequency:
            most = max(frequency.values())
            if most < least:
                break
            tied = [pair for pair, count in frequency.items() if count == most]
            best = min(tied, key=lambda pair: (age[pair[0]], age[pair[1]]))
            learned.append(best)
            age.setdefault(best[0] + best[1], len(age))
            for word in having.pop(best):
                before, after = words[word], merge(words[word], best)
                for pair in pairwise(before):
                    frequency[pair] -= counts[word]
                for pair in pairwise(after):
                    frequency[pair] += counts[word]
                    having[pair].add(word)
                for pair in {*pairwise(before)}:
                    if frequency[pair] <= 0:
                        del frequency[pair]
                words[word] = after
        return cls(learned, spell=spell)

    def encode(self, words: Iterable[str]) -> list[str]:
        r"""The pieces of all words, in a row; the last piece of each word carries the mark of the end.

        Raises: ValueError as `spell`.
        """
        return [piece for word in words for piece in self.pieces(word)]

    def pieces(self, word: str) -> list[str]:
        r"""The pieces of one word: of the pairs in it the one learned first is joined, until none is left."""
        if word not in self._known:
            pieces = self.spell(word)
            while len(pieces) > 1:
                best = min(pairwise(pieces), key=lambda pair: self._rank.get(pair, len(self._rank)))
                if best not in self._rank:
                    break
                pieces = merge(pieces, best)
            self._known[word] = pieces
        return list(self._known[word])

    @staticmethod
    def decode(pieces: Iterable[str]) -> list[str]:
        r"""The words again; pieces at the end that lack the mark, as of an output cut short, make a word as well."""
        words = "".join(pieces).split(END)
        return [word for word in words if word]
