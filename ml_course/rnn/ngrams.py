r"""What a recurrent language model has to beat: counts of n tokens in a row, smoothed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SMOOTHINGS = ("witten-bell", "kneser-ney")


@dataclass(frozen=True)
class _Table:
    """Counts of all k-grams. A k-gram is one number: its tokens as digits in base `vocab`."""

    grams: Int[np.ndarray, " grams"]  # sorted
    counts: Float[np.ndarray, " grams"]
    contexts: Int[np.ndarray, " contexts"]  # sorted: the grams without their last token
    totals: Float[np.ndarray, " contexts"]  # sum of the counts after each context
    kinds: Float[np.ndarray, " contexts"]  # how many different tokens follow it
    discount: float  # of Kneser–Ney


class NGram:
    r"""A language model of order n: the next token depends on the n − 1 before it.

    Witten–Bell mixes each order with the one below by how many *kinds* of tokens were seen after the context h:
        P(w | h) = (c(hw) + k(h) P(w | h′)) / (c(h) + k(h)),  k(h) = |{w : c(hw) > 0}|,  h′ = h without its first token
    Kneser–Ney (interpolated) takes a discount D from every count and gives it to the order below:
        P(w | h) = (max(c(hw) − D, 0) + D k(h) P(w | h′)) / c(h)
    where below the highest order c counts not how often a gram occurs but after how many different tokens it does, and
    D = n₁ / (n₁ + 2 n₂) comes from how many grams have count one and two. Below the unigrams stands the uniform
    distribution, and a context never seen leaves all to the order below.

    order      n; 1 looks at no context
    vocab      number of tokens; vocab**order must fit in 63 bits
    smoothing  "witten-bell" or "kneser-ney"
    Raises: ValueError for another smoothing, or when order or vocab are out of range.
    Cost: fitting sorts the text `order` times, a probability takes two binary searches an order.
    Source: witten1991zero (method C); kneser1995improved in the form of chen1999empirical, section 2.7.

    >>> model = NGram(order=2, vocab=2).fit(np.array([0, 1, 0, 1, 0, 0]))
    >>> model.distribution(np.array([1])).round(3)  # after 1 came only 0; some is left for the rest
    array([0.875, 0.125])
    """

    def __init__(self, order: int, vocab: int, smoothing: str = "witten-bell"):
        if smoothing not in SMOOTHINGS:
            raise ValueError(f"smoothing = {smoothing!r}, expected {' or '.join(map(repr, SMOOTHINGS))}")
        if order < 1 or vocab < 1:
            raise ValueError(f"order = {order}, vocab = {vocab}: expected at least 1")
        if vocab**order >= 2**63:
            raise ValueError(f"vocab ** order = {vocab}**{order} does not fit in 63 bits: take a lower order")
        self.order, self.vocab, self.smoothing = order, vocab, smoothing
        self._tables: list[_Table] = []

    def fit(self, tokens: Int[np.ndarray, " time"]) -> NGram:
        r"""Counts the grams of a text; what was counted before is forgotten.

        Raises: ValueError when the text is shorter than the order, or a token is not in 0 … vocab − 1.
        """
        if len(tokens) < self.order:
            raise ValueError(f"tokens has {len(tokens)} entries, expected at least order = {self.order}")
        self._check(tokens)
        counted = [np.unique(self._grams(tokens, k), return_counts=True) for k in range(1, self.order + 1)]
        if self.smoothing == "kneser-ney":  # lower orders count the different tokens before a gram
            for k in range(1, self.order):  # upwards: the longer ones are still those of the text
                counted[k - 1] = np.unique(counted[k][0] % self.vocab**k, return_counts=True)
        self._tables = [self._table(grams, counts) for grams, counts in counted]
        return self

    def probabilities(self, tokens: Int[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        r"""Probability of each token of a text after those before it; the first ones have shorter contexts.

        Raises: ValueError before `fit`, or when a token is not in 0 … vocab − 1.
        """
        self._check(tokens, fitted=True)
        found = np.full(len(tokens), 1 / self.vocab)
        for k, table in enumerate(self._tables, start=1):
            if len(tokens) < k:
                break
            grams = self._grams(tokens, k)
            found[k - 1 :] = self._mixed(table, grams, found[k - 1 :])
        return found

    def distribution(self, context: Int[np.ndarray, " time"]) -> Float[np.ndarray, " vocab"]:
        r"""Probability of every token after this context, of which only the last order − 1 tokens count.

        Raises: ValueError as `probabilities`.
        """
        self._check(context, fitted=True)
        found, every = np.full(self.vocab, 1 / self.vocab), np.arange(self.vocab)
        for k, table in enumerate(self._tables, start=1):
            if len(context) < k - 1:
                break
            before = self._grams(context[len(context) - k + 1 :], k - 1)[0] if k > 1 else 0
            found = self._mixed(table, before * self.vocab + every, found)
        return found

    def nats_per_token(self, tokens: Int[np.ndarray, " time"]) -> float:
        r"""Mean surprise at each token after the first, in nats, as the function of this name for `CharLM`."""
        return float(-np.log(self.probabilities(tokens)[1:]).mean())

    def _check(self, tokens: np.ndarray, fitted: bool = False) -> None:
        if fitted and not self._tables:
            raise ValueError("the model has counted nothing yet: call fit(tokens) first")
        if len(tokens) and not (tokens.min() >= 0 and tokens.max() < self.vocab):
            raise ValueError(f"tokens has {tokens.min()} to {tokens.max()}, expected 0 to {self.vocab - 1}")

    def _grams(self, tokens: np.ndarray, k: int) -> np.ndarray:
        """Every k tokens in a row as one number."""
        codes = np.zeros(len(tokens) - k + 1, dtype=np.int64)
        for place in range(k):
            codes = codes * self.vocab + tokens[place : place + len(codes)]
        return codes

    def _table(self, grams: np.ndarray, counts: np.ndarray) -> _Table:
        contexts, start = np.unique(grams // self.vocab, return_index=True)
        kinds = np.diff(np.append(start, len(grams)))
        totals = np.add.reduceat(counts, start)
        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = once / (once + 2 * twice) if once else 0.5  # no gram came once: any D in 0 … 1 is as good
        return _Table(grams, counts.astype(float), contexts, totals.astype(float), kinds.astype(float), discount)

    def _mixed(self, table: _Table, grams: np.ndarray, below: np.ndarray) -> np.ndarray:
        """One order's probabilities of grams, given those of the order below."""
        count = _look_up(table.grams, table.counts, grams)
        total = _look_up(table.contexts, table.totals, grams // self.vocab)
        kinds = _look_up(table.contexts, table.kinds, grams // self.vocab)
        if self.smoothing == "witten-bell":
            above, weight, whole = count, kinds, total + kinds
        else:
            above, weight, whole = np.maximum(count - table.discount, 0), table.discount * kinds, total
        unseen = total == 0
        return np.where(unseen, below, (above + weight * below) / np.where(unseen, 1, whole))


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 where there is none."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0.0)
