r"""What a word keeps company with: pairs of words near each other, and how often a word is drawn at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Pairs(NamedTuple):
    r"""What is given and what is asked for: a sample a row."""

    given: Int[Tensor, "samples ..."]  # skip-gram: the word in the middle; CBOW: the words around it
    asked: Int[Tensor, " samples"]  # skip-gram: one word around it; CBOW: the word in the middle


def skipgram_pairs(sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator | None = None) -> Pairs:
    r"""Every word with every word at most `window` places away in the same sentence: first the middle, then the other.

    generator   when given, every word in the middle draws a window of its own from 1 to `window`, as word2vec does:
                a neighbour counts more often than a word further away. None: the whole window, always
    Raises: ValueError when window is below 1 or there is no word.
    Cost: O(words·window). Source: mikolov2013efficient, section 3.2.

    >>> given, asked = skipgram_pairs([[7, 8, 9]], window=1)
    >>> sorted(zip(given.tolist(), asked.tolist()))
    [(7, 8), (8, 7), (8, 9), (9, 8)]
    """
    given, asked = [], []
    for _, words, others, near in at_offsets(sentences, window, generator):
        given.append(words[near])
        asked.append(others[near])
    return Pairs(torch.cat(given), torch.cat(asked))


def cbow_contexts(
    sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator | None = None, filler: int = 0
) -> Pairs:
    r"""For every word all words at most `window` places away, in rows of 2·window filled up with `filler`.

    A word that is alone in its sentence is left out. The rest is as in `skipgram_pairs`.
    Raises: ValueError when window is below 1 or there is no word.

    >>> given, asked = cbow_contexts([[7, 8, 9], [5]], window=1)
    >>> given.tolist(), asked.tolist()
    ([[0, 8], [7, 9], [8, 0]], [7, 8, 9])
    """
    found = list(at_offsets(sentences, window, generator))
    columns = [others.masked_fill(~near, filler) for _, _, others, near in found]
    words, in_company = found[0][1], torch.stack([near for *_, near in found]).any(0)
    return Pairs(torch.stack(columns, dim=1)[in_company], words[in_company])


def at_offsets(
    sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator | None = None
) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    r"""For each offset −window … window but 0: itself, all words, the words so far on, and where both belong together.

    generator   as in `skipgram_pairs`
    Raises: ValueError when window is below 1 or there is no word.
    """
    if window < 1:
        raise ValueError(f"window = {window}, expected at least 1")
    words, sentence = _in_one_row(sentences)
    if generator is None:
        reach = torch.full((len(words),), window)
    else:
        reach = torch.randint(1, window + 1, (len(words),), generator=generator)
    for offset in (*range(-window, 0), *range(1, window + 1)):
        inside = torch.zeros(len(words), dtype=torch.bool)
        first, last = max(0, -offset), max(0, len(words) - max(0, offset))
        inside[first:last] = True
        inside &= sentence.roll(-offset) == sentence  # what rolls over the ends is not inside
        yield offset, words, words.roll(-offset), inside & (reach >= abs(offset))


def _in_one_row(sentences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """All words one after the other, and the number of the sentence each comes from."""
    lengths = torch.tensor([len(sentence) for sentence in sentences], dtype=torch.long)
    words = torch.tensor([word for sentence in sentences for word in sentence], dtype=torch.long)
    if not len(words):
        raise ValueError("sentences has no word, expected at least one")
    return words, torch.repeat_interleave(torch.arange(len(lengths)), lengths)


def word_counts(sentences: Sequence[Sequence[int]], vocab: int) -> Int[Tensor, " vocab"]:
    r"""How often each word occurs.

    Raises: ValueError when a word's number is not below vocab, or there is no word.

    >>> word_counts([[0, 2, 2], [1]], vocab=4)
    tensor([1, 1, 2, 0])
    """
    words, _ = _in_one_row(sentences)
    if words.min() < 0 or words.max() >= vocab:
        raise ValueError(f"sentences has the word {words.max()}, expected numbers from 0 to vocab − 1 = {vocab - 1}")
    return words.bincount(minlength=vocab)


def keep_probability(counts: Int[Tensor, " vocab"], threshold: float | int = 1e-3) -> Float[Tensor, " vocab"]:
    r"""How likely an occurrence of each word is kept, so that frequent words do not crowd out the rest.

    min(1, √(t / f)),  f = the word's share of all words

    threshold   t; a word with a smaller share is always kept. Published values are 1e-5 to 1e-3, the smaller the larger
                the corpus
    Raises: ValueError when the threshold is not positive. Source: mikolov2013distributed, eq. 5. Their program keeps
    √(t/f) + t/f, somewhat more.

    >>> keep_probability(torch.tensor([900, 100, 0]), threshold=0.1)
    tensor([0.3333, 1.0000, 1.0000])
    """
    if not threshold > 0:
        raise ValueError(f"threshold = {threshold}, expected a positive number")
    share = counts / counts.sum().clamp(min=1)
    return (threshold / share.clamp(min=torch.finfo(share.dtype).tiny)).sqrt().clamp(max=1)


def subsample(
    sentences: Sequence[Sequence[int]], keep: Float[Tensor, " vocab"], generator: torch.Generator | None = None
) -> list[list[int]]:
    r"""Leaves out occurrences at random, each word with its own probability; those left move together.

    keep   of each word, as from `keep_probability`

    >>> subsample([[0, 1, 0, 1], [0]], keep=torch.tensor([0.0, 1.0]))
    [[1, 1], []]
    """
    words, sentence = _in_one_row(sentences)
    kept = torch.rand(len(words), generator=generator) < keep[words]
    rest: list[list[int]] = [[] for _ in sentences]
    for word, number in zip(words[kept].tolist(), sentence[kept].tolist(), strict=True):
        rest[number].append(word)
    return rest


def noise_distribution(counts: Int[Tensor, " vocab"], power: float | int = 0.75) -> Float[Tensor, " vocab"]:
    r"""How likely each word is drawn as a negative example.

    P(w) ∝ count(w)^power;  power 1: as often as in the text, power 0: all words alike

    Words that never occur are never drawn, whatever the power. Raises: ValueError when no word occurs.
    Source: mikolov2013distributed, section 2.2, where ¾ was found best by trying.

    >>> noise_distribution(torch.tensor([16, 1, 0]))
    tensor([0.8889, 0.1111, 0.0000])
    """
    if not (counts > 0).any():
        raise ValueError("counts is zero everywhere, expected a word that occurs")
    weights = torch.where(counts > 0, counts.clamp(min=1).to(torch.get_default_dtype()) ** power, 0.0)
    return weights / weights.sum()
