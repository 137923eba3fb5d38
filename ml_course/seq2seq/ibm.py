r"""IBM Model 1: which word goes with which, learned from pairs of sentences by expectation–maximisation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float, Int

NULL = "<null>"  # a source word that stands nowhere: what a target word comes from that has no counterpart


def alignment_posterior(
    table: Float[np.ndarray, "source_vocab target_vocab"],
    source: Int[np.ndarray, " source"],
    target: Int[np.ndarray, " target"],
) -> Float[np.ndarray, "source target"]:
    r"""How likely each target word comes from each word of its source sentence; every column sums to one.

    P(a_j = i | e, f) = t(f_j | e_i) / Σ_k t(f_j | e_k),  e = source, f = target, t = table

    Model 1 chooses a source word for each target word by itself, so the sum over all |source|^|target| alignments of
    a sentence is a product of small sums. Cost: O(source·target). Source: brown1993mathematics, section 4.1.

    >>> table = np.array([[0.6, 0.4], [0.2, 0.8]])
    >>> alignment_posterior(table, np.array([0, 1]), np.array([0])).round(2)
    array([[0.75],
           [0.25]])
    """
    fits = table[source][:, target]
    return fits / fits.sum(axis=0)


def em_step(
    pairs: Sequence[tuple[Int[np.ndarray, " _source"], Int[np.ndarray, " _target"]]],
    table: Float[np.ndarray, "source_vocab target_vocab"],
) -> Float[np.ndarray, "source_vocab target_vocab"]:
    r"""One step of expectation–maximisation on the table t(target | source), whose rows sum to one.

    expectation    count each pair of words as often as the posterior says, summed over all sentences
    maximisation   divide each row of the counts by its sum

    The likelihood never falls. A source word that stands in no sentence keeps its row. Readable and dense: `Model1`
    does the same for vocabularies of thousands. Source: brown1993mathematics, equation 17; dempster1977maximum.

    >>> pairs = [(np.array([0, 1]), np.array([0, 1])), (np.array([0]), np.array([0]))]
    >>> em_step(pairs, np.full((2, 2), 0.5))
    array([[0.75, 0.25],
           [0.5 , 0.5 ]])
    """
    counts = np.zeros_like(table)
    for source, target in pairs:
        np.add.at(counts, (source[:, None], target[None, :]), alignment_posterior(table, source, target))
    totals = counts.sum(axis=1, keepdims=True)
    return np.where(totals > 0, counts / np.where(totals > 0, totals, 1), table)


class Model1:
    r"""Learns t(target | source) from pairs of sentences, given as lists of words, letters or any other tokens.

    P(f | e) = Π_j 1/|e| Σ_i t(f_j | e_i),  the null word being one of e

    Only pairs of words that ever stand in one pair of sentences are stored, side by side in one array; a step of EM is
    three sums over them. All weights begin equal; every start with positive weights leads to the same likelihood.

    null   add the null word to each source sentence
    Raises: ValueError when a sentence is empty, or the sides differ in number.
    Cost: O(Σ source·target) a step. Source: brown1993mathematics, section 4.1, equations 6 and 17.

    >>> german = ["das haus".split(), "das buch".split(), "ein buch".split()]
    >>> english = ["the house".split(), "the book".split(), "a book".split()]
    >>> Model1(german, english).fit(20).align("das buch".split(), "book the".split())
    [1, 0]
    """

    def __init__(
        self, sources: Sequence[Sequence[Hashable]], targets: Sequence[Sequence[Hashable]], *, null: bool = True
    ):
        if len(sources) != len(targets) or not len(sources):
            raise ValueError(f"sources has {len(sources)} sentences, targets {len(targets)}: expected as many, some")
        self.null = null
        self.source_numbers: dict[Hashable, int] = {NULL: 0} if null else {}
        self.target_numbers: dict[Hashable, int] = {}
        links, sizes = [], []
        for number, (source, target) in enumerate(zip(sources, targets, strict=True)):
            if not len(source) or not len(target):
                raise ValueError(f"pair {number} has an empty side, expected at least one token on each")
            e = [self.source_numbers.setdefault(word, len(self.source_numbers)) for word in self._with_null(source)]
            f = [self.target_numbers.setdefault(word, len(self.target_numbers)) for word in target]
            links.append(np.stack([np.tile(e, len(f)), np.repeat(f, len(e))]))  # every word with every word
            sizes += [len(e)] * len(f)
        linked_sources, linked_targets = np.concatenate(links, axis=1)
        self._sizes = np.array(sizes)  # how many source words each target word may come from
        self._token = np.repeat(np.arange(len(sizes)), self._sizes)  # the target word of each link
        width = len(self.target_numbers)
        kept, self._cell = np.unique(linked_sources * width + linked_targets, return_inverse=True)
        self._source, self._target = np.divmod(kept, width)
        uses = np.bincount(self._source)
        self.weights = 1 / uses[self._source]  # t(target | source) of each cell
        self.log_likelihoods: list[float] = []  # before each step made so far

    def fit(self, steps: int) -> Model1:
        r"""Takes `steps` steps of EM and notes the log-likelihood, in nats, before each."""
        for _ in range(steps):
            fits = self.weights[self._cell]
            sums = np.bincount(self._token, fits)
            self.log_likelihoods.append(float(np.log(sums / self._sizes).sum()))
            counts = np.bincount(self._cell, fits / sums[self._token])
            self.weights = counts / np.bincount(self._source, counts)[self._source]
        return self

    def log_likelihood(self) -> float:
        r"""log P(targets | sources) in nats with the weights of now, given the targets' lengths."""
        return float(np.log(np.bincount(self._token, self.weights[self._cell]) / self._sizes).sum())

    def table(self) -> Float[np.ndarray, "source_vocab target_vocab"]:
        r"""t(target | source) as a matrix, in the order of `source_numbers` and `target_numbers`."""
        dense = np.zeros((len(self.source_numbers), len(self.target_numbers)))
        dense[self._source, self._target] = self.weights
        return dense

    def translations(self, word: Hashable, count: int = 5) -> list[tuple[Hashable, float]]:
        r"""The target words that a source word most likely stands for, and how likely.

        Raises: KeyError for a word that no source sentence has.
        """
        words = list(self.target_numbers)
        mine = np.flatnonzero(self._source == self.source_numbers[word])
        best = mine[np.argsort(-self.weights[mine], kind="stable")][:count]
        return [(words[self._target[cell]], float(self.weights[cell])) for cell in best]

    def posterior(self, source: Sequence[Hashable], target: Sequence[Hashable]) -> Float[np.ndarray, "source target"]:
        r"""As `alignment_posterior`, for two sentences of known words; the null word, if any, is the first row."""
        table = self._weights_between(self._with_null(source), target)
        return table / np.where(table.sum(axis=0) > 0, table.sum(axis=0), 1)

    def align(self, source: Sequence[Hashable], target: Sequence[Hashable]) -> list[int | None]:
        r"""For each target word the place of the source word it most likely comes from; None for the null word.

        Words that were never seen together align to the null word, or to the first place where there is none.
        """
        best = self.posterior(source, target).argmax(axis=0) - self.null
        return [None if place < 0 else int(place) for place in best]

    def _with_null(self, source: Sequence[Hashable]) -> list[Hashable]:
        return [*[NULL] * self.null, *source]

    def _weights_between(self, source: Sequence[Hashable], target: Sequence[Hashable]) -> np.ndarray:
        """t of each word of one sentence given each of the other; zero where they never met."""
        width = len(self.target_numbers)
        e = np.array([self.source_numbers.get(word, -1) for word in source])
        f = np.array([self.target_numbers.get(word, -1) for word in target])
        wanted = e[:, None] * width + f[None, :]
        stored = self._source * width + self._target  # in growing order, as `unique` left them
        place = np.searchsorted(stored, wanted).clip(max=len(stored) - 1)
        known = (stored[place] == wanted) & (e >= 0)[:, None] & (f >= 0)[None, :]
        return np.where(known, self.weights[place], 0.0)
