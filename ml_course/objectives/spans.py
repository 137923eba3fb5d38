r"""Span corruption: stretches of a text are taken out, each leaves a sentinel, and the target says what stood there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

SENTENCE_TASKS = {
    "acceptability": "cola sentence: {sentence}",
    "translation": "translate {source} to {target}: {sentence}",
    "summary": "summarize: {sentence}",
}


class SpanPair(NamedTuple):
    r"""What an encoder–decoder reads, and what it shall say."""

    inputs: list[int]
    targets: list[int]


def random_spans(
    batch: int,
    length: int,
    *,
    share: float = 0.15,
    mean: float | int = 3.0,
    generator: torch.Generator | None = None,
) -> Bool[Tensor, "batch time"]:
    r"""Which tokens of each row are taken out: spans of random lengths at random places, never two side by side.

    max(1, round(share · length)) tokens a row, in max(1, round(of these / mean)) spans: how many is fixed, so that
    every row becomes an input and a target of the same lengths, and a batch needs no filler. Both the tokens that go
    and those that stay are cut at random places into pieces, which take turns.

    share   of the tokens that are taken out
    mean    tokens in a span, on average
    Raises: ValueError when length is below 2, share is not in (0, 1) or mean below 1.
    Source: raffel2020exploring, section 3.3.4, and its published code; there a row always begins with a token that
    stays and ends with a span, which in short rows would leave nothing else to guess.

    >>> taken = random_spans(4, 20, generator=torch.Generator().manual_seed(0))
    >>> taken.shape, taken.sum(1)
    (torch.Size([4, 20]), tensor([3, 3, 3, 3]))
    """
    if length < 2 or not 0 < share < 1 or mean < 1:
        raise ValueError(f"length = {length}, share = {share}, mean = {mean}: expected ≥ 2, within 0 and 1, ≥ 1")
    taken = min(max(round(share * length), 1), length - 1)
    spans = min(max(round(taken / mean), 1), taken, length - taken + 1)

    def cut(total: int, pieces: int) -> Tensor:
        """Lengths of at least 1 that add up to `total`, for each row; each way as likely as any other."""
        borders = torch.rand(batch, total - 1, generator=generator).argsort(1)[:, : pieces - 1].sort(1).values + 1
        ends = torch.cat([borders, torch.full((batch, 1), total)], 1)
        return ends.diff(dim=1, prepend=torch.zeros(batch, 1, dtype=torch.long))

    stay = cut(length - taken + 2, spans + 1)
    stay[:, [0, -1]] -= 1  # nothing has to stay before the first span, nor after the last
    lengths = torch.stack([stay, torch.cat([cut(taken, spans), torch.zeros(batch, 1, dtype=torch.long)], 1)], 2)
    ends = lengths.flatten(1).cumsum(1)
    piece = (torch.arange(length) >= ends[..., None]).sum(1)  # how many pieces end before a token
    return piece % 2 == 1


def corrupt_spans(tokens: Sequence[int], taken: Sequence[bool] | Tensor, sentinels: Sequence[int]) -> SpanPair:
    r"""Puts one sentinel in place of each span; the target is each sentinel with its span, and one more at the end.

    Thank you [for inviting] me to your party [last] week.
    → Thank you <X> me to your party <Y> week.      <X> for inviting <Y> last <Z>

    tokens      numbers of the text
    taken       True where a token is taken out; True side by side are one span
    sentinels   numbers that stand for no text, in the order of their use: one for each span, one for the end
    Raises: ValueError when the lengths differ, there are too few sentinels, or the text holds one of them.
    Cost: O(time). Source: raffel2020exploring, section 3.1.4 and figure 2.

    >>> corrupt_spans([1, 2, 3, 4, 5, 6], [False, True, True, False, False, True], sentinels=[90, 91, 92])
    SpanPair(inputs=[1, 90, 4, 5, 91], targets=[90, 2, 3, 91, 6, 92])
    """
    tokens, taken = list(map(int, tokens)), list(map(bool, taken))
    if len(tokens) != len(taken):
        raise ValueError(f"taken has {len(taken)} entries, expected {len(tokens)}, as tokens has")
    spans = sum(now and not before for before, now in zip([False, *taken], taken, strict=False))
    if len(sentinels) < spans + 1:
        raise ValueError(f"sentinels has {len(sentinels)}, expected {spans + 1}: one a span, and one for the end")
    if set(tokens) & set(sentinels):
        raise ValueError(f"tokens has {min(set(tokens) & set(sentinels))}, which is a sentinel")
    inputs, targets, used = [], [], 0
    for i, token in enumerate(tokens):
        if not taken[i]:
            inputs.append(token)
            continue
        if i == 0 or not taken[i - 1]:
            inputs.append(sentinels[used])
            targets.append(sentinels[used])
            used += 1
        targets.append(token)
    return SpanPair(inputs, [*targets, sentinels[used]])


def restore_spans(inputs: Sequence[int], targets: Sequence[int], sentinels: Sequence[int]) -> list[int]:
    r"""The text again: every sentinel of the input is replaced by what the target says after it.

    A model's target may lack a sentinel: nothing is put in its place then; what it says after one that the input lacks
    is left out, as is what comes before the first.

    >>> restore_spans([1, 90, 4, 5, 91], [90, 2, 3, 91, 6, 92], sentinels=[90, 91, 92])
    [1, 2, 3, 4, 5, 6]
    """
    known, said, current = set(sentinels), {}, None
    for token in map(int, targets):
        if token in known:
            current = said.setdefault(token, [])
        elif current is not None:
            current.append(token)
    restored = []
    for token in map(int, inputs):
        restored += said.get(token, []) if token in known else [token]
    return restored


def text_to_text(task: str, **fields: str) -> str:
    r"""A task as a text that begins with the task's name, so that one model can be asked everything.

    task     "acceptability" (sentence), "translation" (source, target, sentence) or "summary" (sentence)
    Raises: ValueError for another task or when a field is missing. Source: raffel2020exploring, appendix D.

    >>> text_to_text("translation", source="English", target="German", sentence="That is good.")
    'translate English to German: That is good.'
    >>> text_to_text("acceptability", sentence="The course is jumping well.")
    'cola sentence: The course is jumping well.'
    """
    if task not in SENTENCE_TASKS:
        raise ValueError(f"task = {task!r}, expected one of {', '.join(SENTENCE_TASKS)}")
    try:
        return SENTENCE_TASKS[task].format(**fields)
    except KeyError as missing:
        raise ValueError(f"task = {task!r} needs the field {missing}") from None
