r"""What a restorer of gapped texts has to beat: which letter stood most often between the same neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from ml_course.multimodal.text import GAP

EDGE = "\n"  # stands before and after a text


class Neighbours:
    r"""Fills gaps by counting: the letter seen most often between the same letters on the left and on the right.

    argmax_a count(left · a · right), with the most letters on both sides that can be read and were seen in this company

    Left and right have at most `reach` letters each. Of two neighbourhoods of the same size the more even one is asked
    first, then the one with more on the left. No neighbour at all: the most frequent letter. Each gap is filled by
    itself; a space is never an answer.
    reach   letters to either side, at most
    Raises: ValueError when reach is below 1. Cost: (reach + 1)² counts a letter to fit, as many looks a gap to restore.

    >>> Neighbours(reach=2).fit(["norway", "norwich", "conway"]).restore("no?way")
    'norway'
    """

    def __init__(self, reach: int = 3):
        if reach < 1:
            raise ValueError(f"reach = {reach}, expected at least 1")
        self.reach = reach
        sizes = [(left, right) for left in range(reach + 1) for right in range(reach + 1)]
        self.sizes = sorted(sizes, key=lambda size: (-sum(size), abs(size[0] - size[1]), -size[0]))
        self.counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def fit(self, texts: Iterable[str]) -> Neighbours:
        r"""Counts in these texts, besides what was counted before."""
        for text in texts:
            for place, letter in enumerate(text):
                if letter != " ":
                    for around in self._around(text, place):
                        self.counts[around][letter] += 1
        return self

    def restore(self, text: str) -> str:
        r"""The text without gaps. Raises: ValueError before `fit`."""
        if not self.counts:
            raise ValueError("nothing is counted yet: call fit(texts) first")
        return "".join(self._best(text, place) if letter == GAP else letter for place, letter in enumerate(text))

    def _best(self, text: str, place: int) -> str:
        readable = (around for around in self._around(text, place) if GAP not in around[0] + around[1])
        known = next(around for around in readable if around in self.counts)
        return self.counts[known].most_common(1)[0][0]

    def _around(self, text: str, place: int) -> Iterable[tuple[str, str]]:
        """The neighbourhoods of a place, the largest first; those that would reach beyond the edge are cut there."""
        framed, place = f"{EDGE}{text}{EDGE}", place + 1
        for left, right in self.sizes:
            if place - left >= 0 and place + right < len(framed):
                yield framed[place - left : place], framed[place + 1 : place + 1 + right]
