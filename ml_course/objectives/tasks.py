r"""Four objectives as one: what is read, who may see whom, and which tokens are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ml_course.attention import causal_mask
from ml_course.bert import IGNORED, corrupt
from ml_course.objectives.byte_bpe import ByteBPE
from ml_course.objectives.permutation import random_ranks
from ml_course.objectives.spans import corrupt_spans, random_spans
from ml_course.transformer import family_mask

PERMUTED = 1 / 6  # of the tokens XLNet is asked for


@dataclass(frozen=True)
class Layout:
    r"""Which number means what: the text's tokens first, then those of the machinery."""

    ordinary: int  # tokens a text is made of have the numbers 0 … ordinary − 1
    sentinels: int = 16  # how many; they come after the mask and the end

    @property
    def mask(self) -> int:
        r"""The number of the token that hides another."""
        return self.ordinary

    @property
    def end(self) -> int:
        r"""The number that ends an answer."""
        return self.ordinary + 1

    @property
    def sentinel(self) -> tuple[int, ...]:
        r"""The numbers of the sentinels, in the order of their use."""
        return tuple(range(self.ordinary + 2, self.ordinary + 2 + self.sentinels))

    @property
    def vocab(self) -> int:
        r"""How many numbers there are."""
        return self.ordinary + 2 + self.sentinels

    def names(self) -> list[str]:
        r"""The special tokens as `ByteBPE` takes them.

        >>> Layout(256, sentinels=2).names()
        ['<mask>', '<end>', '<X0>', '<X1>']
        """
        return ["<mask>", "<end>", *(f"<X{i}>" for i in range(self.sentinels))]

    @classmethod
    def learned(cls, texts: list[str], merges: int, sentinels: int = 16) -> tuple[ByteBPE, Layout]:
        r"""A byte-level encoding of the texts with the special tokens, and its layout."""
        plain = ByteBPE.train(texts, merges)
        layout = cls(len(plain), sentinels)
        return ByteBPE(plain.merges, layout.names()), layout


class Task(NamedTuple):
    r"""One batch of one objective."""

    tokens: Int[Tensor, "batch time"]  # what is read
    labels: Int[Tensor, "batch time"]  # what is asked at each place; IGNORED where nothing is
    sees: Bool[Tensor, "*#batch time time"] | None  # True = may attend; None: everybody sees everybody
    ranks: Int[Tensor, "batch time"] | None = None  # the order of XLNet; then `sees` is not used
    places: Int[Tensor, " time"] | None = None  # where each token is told to stand; None: 0, 1, 2 …

    def rows(self, chosen: slice) -> Task:
        r"""The same of some rows; a mask that holds for all stays as it is."""
        sees = self.sees[chosen] if self.sees is not None and self.sees.dim() == 3 else self.sees
        ranks = None if self.ranks is None else self.ranks[chosen]
        return Task(self.tokens[chosen], self.labels[chosen], sees, ranks, self.places)

    def to(self, device: torch.device | str) -> Task:
        r"""The same on another device."""
        return Task(*(part if part is None else part.to(device) for part in self))


def causal_shift(
    tokens: Int[Tensor, "batch time"],
) -> tuple[Int[Tensor, "batch shorter"], Int[Tensor, "batch shorter"]]:
    r"""What a causal language model reads, and what it shall say at each place: the token after it.

    reads x₁ … x_{n−1},  says x₂ … x_n

    Raises: ValueError when there are fewer than two tokens in a row.

    >>> reads, says = causal_shift(torch.tensor([[5, 6, 7, 8]]))
    >>> reads.tolist(), says.tolist()
    ([[5, 6, 7]], [[6, 7, 8]])
    """
    if tokens.shape[1] < 2:
        raise ValueError(f"tokens has {tokens.shape[1]} in a row, expected at least 2")
    return tokens[:, :-1], tokens[:, 1:]


def causal_task(tokens: Int[Tensor, "batch time"], layout: Layout, generator: torch.Generator) -> Task:
    r"""GPT: each token is asked of those before it. Source: radford2018improving, eq. 1."""
    reads, says = causal_shift(tokens)
    return Task(reads, says, causal_mask(reads.shape[1], device=tokens.device))


def masked_task(tokens: Int[Tensor, "batch time"], layout: Layout, generator: torch.Generator) -> Task:
    r"""BERT: 15 % of the tokens are asked of all others, after `ml_course.bert.corrupt`. Source: devlin2019bert."""
    maskable = torch.ones_like(tokens, dtype=torch.bool)
    changed = corrupt(tokens, maskable, mask=layout.mask, vocab=layout.ordinary, generator=generator)
    return Task(changed.tokens, changed.labels, None)


def span_task(tokens: Int[Tensor, "batch time"], layout: Layout, generator: torch.Generator) -> Task:
    r"""T5: spans are asked of the rest and of what was said so far, in one stack with the mask of a prefix.

    The input is followed by the target without its last sentinel, and the label of each is the next. The target is told
    to stand where the row ended before it was corrupted, however much shorter the input became. Spans have 3 tokens on
    average, in rows of fewer than 64 tokens 1: there would be one or two spans only, of nearly always one length.
    Source: raffel2020exploring, section 3.1.4 for the spans, 3.2.1 for the prefix language model.
    """
    rows, labels, source = [], [], 0
    taken = random_spans(*tokens.shape, mean=3.0 if tokens.shape[1] >= 64 else 1.0, generator=generator)
    for row, gone in zip(tokens.tolist(), taken.tolist(), strict=True):
        pair = corrupt_spans(row, gone, layout.sentinel)
        source = len(pair.inputs)  # the same for every row: the number of spans and what they take is fixed
        rows.append(pair.inputs + pair.targets[:-1])
        labels.append([IGNORED] * (source - 1) + pair.targets)
    target = len(rows[0]) - source
    sees = family_mask("encoder-decoder", source, target)
    return Task(torch.tensor(rows), torch.tensor(labels), sees, None, _places(source, tokens.shape[1], target)).to(
        tokens.device
    )


def permutation_task(tokens: Int[Tensor, "batch time"], layout: Layout, generator: torch.Generator) -> Task:
    r"""XLNet: the last sixth of a random order is asked, each token of those before it in the order.

    Source: yang2019xlnet, section 2.3; there whole spans are asked for, here single tokens.
    """
    ranks = random_ranks(*tokens.shape, predicted=PERMUTED, generator=generator, device=tokens.device)
    return Task(tokens, tokens.masked_fill(ranks == 0, IGNORED), None, ranks)


OBJECTIVES: dict[str, Callable[[Tensor, Layout, torch.Generator], Task]] = {
    "gpt": causal_task,
    "bert": masked_task,
    "t5": span_task,
    "xlnet": permutation_task,
}


def cloze_task(objective: str, tokens: Int[Tensor, "batch time"], place: int, layout: Layout) -> Task:
    r"""One token of each row is asked, in the way this objective has learned to be asked.

    gpt     of the tokens before it; bert with [MASK] in its place; t5 with a sentinel there, to be said after it;
    xlnet   last in the order
    place   of the token, from 0; GPT needs one before it
    Raises: ValueError for another objective, or a place that there is not.
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"objective = {objective!r}, expected one of {', '.join(OBJECTIVES)}")
    if not 1 <= place < tokens.shape[1]:
        raise ValueError(f"place = {place}, expected 1 to {tokens.shape[1] - 1}")
    asked, nothing = tokens[:, place], torch.full_like(tokens, IGNORED)
    if objective == "gpt":
        labels = torch.cat([nothing[:, 1:place], asked[:, None]], 1)
        return Task(tokens[:, :place], labels, causal_mask(place, device=tokens.device))
    labels = nothing.clone()
    labels[:, place] = asked
    if objective == "xlnet":
        ranks = torch.zeros_like(tokens)
        ranks[:, place] = 1
        return Task(tokens, labels, None, ranks)
    hidden = tokens.clone()
    hidden[:, place] = layout.mask if objective == "bert" else layout.sentinel[0]
    if objective == "bert":
        return Task(hidden, labels, None)
    time = tokens.shape[1]
    first = torch.full_like(asked, layout.sentinel[0])[:, None]
    sees = family_mask("encoder-decoder", time, 1).to(tokens.device)
    return Task(torch.cat([hidden, first], 1), torch.cat([nothing, asked[:, None]], 1), sees)


def _places(source: int, row: int, target: int) -> Tensor:
    """0, 1 … for the input; row, row + 1 … for the target."""
    return torch.cat([torch.arange(source), row + torch.arange(target)])
