r"""What BERT is taught with: tokens hidden and changed, to be guessed; and pairs of texts, true or made up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

IGNORED = -100  # the label of what is not asked; torch's cross-entropy leaves it out by itself


class Corrupted(NamedTuple):
    r"""A text with some tokens hidden or changed, and what it was there."""

    tokens: Int[Tensor, "batch time"]  # what the model reads
    chosen: Bool[Tensor, "batch time"]  # the tokens it is asked for
    labels: Int[Tensor, "batch time"]  # what they were; IGNORED elsewhere


def corrupt(
    tokens: Int[Tensor, "batch time"],
    maskable: Bool[Tensor, "batch time"],
    *,
    mask: int,
    vocab: int,
    share: float = 0.15,
    hidden: float = 0.8,
    random: float = 0.1,
    first: int = 0,
    generator: torch.Generator | None = None,
) -> Corrupted:
    r"""Chooses tokens to be guessed; of these most become [MASK], some another token, and some stay as they are.

    Of each row's n maskable tokens max(1, round(share·n)) are chosen, each as likely as any other; of the chosen, each
    becomes `mask` with probability `hidden`, a token drawn uniformly with probability `random`, and else stays.

    maskable   True where a token may be chosen: never at [CLS], [SEP] or filler
    mask       number of [MASK]
    vocab      random tokens are drawn from first … vocab − 1
    generator  of randomness, on the device of `tokens`; another draw at each call is RoBERTa's dynamic masking
    A row with nothing maskable stays as it is. Raises: ValueError for shares that are no probabilities.
    Cost: O(numel · log time). Source: devlin2019bert, section 3.1, task 1, and appendix A.1.

    >>> tokens = torch.tensor([[2, 7, 8, 9, 10, 3]])
    >>> result = corrupt(tokens, tokens > 4, mask=4, vocab=20, share=0.5, hidden=1.0, random=0.0)
    >>> torch.equal(torch.where(result.chosen, result.labels, result.tokens), tokens), int((result.tokens == 4).sum())
    (True, 2)
    """
    if not (0 <= share <= 1 and hidden >= 0 and random >= 0 and hidden + random <= 1):
        raise ValueError(
            f"share = {share}, hidden = {hidden}, random = {random}: expected probabilities, the last two together "
            "at most 1"
        )
    draw = torch.rand(3, *tokens.shape, device=tokens.device, generator=generator)
    order = draw[0].masked_fill(~maskable, 2.0).argsort(1).argsort(1)  # rank of each token; those not maskable last
    available = maskable.sum(1, keepdim=True)
    wanted = (share * available + 0.5).floor().clamp(min=1)
    chosen = maskable & (order < wanted)
    others = (first + draw[2] * (vocab - first)).long().clamp(max=vocab - 1)
    return change(tokens, chosen, draw[1], others, mask=mask, hidden=hidden, random=random)


def change(
    tokens: Int[Tensor, "batch time"],
    chosen: Bool[Tensor, "batch time"],
    fate: Float[Tensor, "batch time"],
    others: Int[Tensor, "batch time"],
    *,
    mask: int,
    hidden: float = 0.8,
    random: float = 0.1,
) -> Corrupted:
    r"""What becomes of the chosen tokens, told by numbers between 0 and 1 that were drawn before.

    fate     below `hidden`: the token becomes `mask`; from there to hidden + random: that of `others`; else it stays
    Source: devlin2019bert, appendix A.1.

    >>> tokens, fate = torch.tensor([[7, 8, 9]]), torch.tensor([[0.5, 0.85, 0.95]])
    >>> change(tokens, tokens > 0, fate, tokens + 10, mask=4).tokens
    tensor([[ 4, 18,  9]])
    """
    corrupted = torch.where(chosen & (fate < hidden), mask, tokens)
    corrupted = torch.where(chosen & (fate >= hidden) & (fate < hidden + random), others, corrupted)
    return Corrupted(corrupted, chosen, torch.where(chosen, tokens, IGNORED))


class Pair(NamedTuple):
    r"""Two texts, and whether the second follows the first where they come from."""

    first: list[int]
    second: list[int]
    follows: bool


def sentence_pairs(
    documents: Sequence[Sequence[Sequence[int]]], length: int, rng: np.random.Generator, *, share: float = 0.5
) -> list[Pair]:
    r"""Pairs for next-sentence prediction: about half of them stand side by side in a document, the others do not.

    documents   each a list of sentences, each a list of tokens
    length      tokens of both texts together, at most
    share       probability that the second is the true one

    From each document sentences are taken in their order until `length` is full, two at least; they are cut in two
    between two sentences, anywhere. The second part stays, or is replaced by sentences from a random place of another
    document; what it would have been is used for the next pair then, so nothing is lost. Where both are too long the
    longer one is shortened, the first at its beginning, the second at its end: the border between them stays. The last
    sentence of a document, when it is left alone, always gets a stranger.
    Raises: ValueError when there are fewer than two documents, length is below 2, or a sentence is empty.
    Source: devlin2019bert, section 3.1, task 2, and the published code (which also makes some texts short).

    >>> documents = [[[1, 2], [3], [4, 5]], [[6], [7, 8]]]
    >>> pairs = sentence_pairs(documents, length=4, rng=np.random.default_rng(0), share=1.0)
    >>> pairs[0], len(pairs)
    (Pair(first=[1, 2], second=[3], follows=True), 3)
    """
    if len(documents) < 2 or length < 2:
        raise ValueError(f"documents has {len(documents)}, length = {length}: expected at least 2 of both")
    if any(not sentence for document in documents for sentence in document):
        raise ValueError("documents has an empty sentence, expected at least one token in each")
    pairs = []
    for number, document in enumerate(documents):
        start = 0
        while start < len(document):
            taken = min(max(2, _fill(document, start, length)), len(document) - start)
            cut = int(rng.integers(1, taken)) if taken > 1 else 1
            first = joined(document[start : start + cut])
            if taken > 1 and rng.random() < share:
                second, start, follows = joined(document[start + cut : start + taken]), start + taken, True
            else:
                other = documents[(number + int(rng.integers(1, len(documents)))) % len(documents)]
                place = int(rng.integers(len(other)))
                second = joined(other[place : place + _fill(other, place, length - len(first))])
                start, follows = start + cut, False
            pairs.append(Pair(*_shortened(first, second, length), follows))
    return pairs


def full_sentences(documents: Sequence[Sequence[Sequence[int]]], length: int) -> list[list[int]]:
    r"""Stretches of whole sentences, one after another, as long as `length` allows: RoBERTa's inputs, without pairs.

    A stretch ends with its document. Source: liu2019roberta, section 4.2, "doc-sentences".

    >>> full_sentences([[[1, 2], [3], [4, 5]], [[6]]], length=3)
    [[1, 2, 3], [4, 5], [6]]
    """
    stretches = []
    for document in documents:
        start = 0
        while start < len(document):
            taken = _fill(document, start, length)
            stretches.append(joined(document[start : start + taken])[:length])
            start += taken
    return stretches


def _fill(document: Sequence[Sequence[int]], start: int, length: int) -> int:
    """How many sentences from `start` on fit into `length` tokens; one at least."""
    taken, tokens = 0, 0
    while start + taken < len(document) and (taken == 0 or tokens + len(document[start + taken]) <= length):
        tokens += len(document[start + taken])
        taken += 1
    return taken


def joined(sentences: Sequence[Sequence[int]]) -> list[int]:
    """All of them in one list."""
    return [token for sentence in sentences for token in sentence]


def _shortened(first: list[int], second: list[int], length: int) -> tuple[list[int], list[int]]:
    """Both, as long as `length` allows; the longer gives, what is next to the border stays."""
    while len(first) + len(second) > length:
        if len(first) > len(second):
            first = first[1:]
        else:
            second = second[:-1]
    return first, second
