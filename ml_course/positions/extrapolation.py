r"""Train short, test long: how surprised a language model is when the text is longer than any it has learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def nats_by_position(
    model: Callable[[Tensor], Tensor], tokens: Int[Tensor, " time"], length: int, batch: int = 32
) -> Float[Tensor, " position"]:
    r"""Mean surprise at the next token after 1, 2, …, `length` tokens of a window, in nats.

    The text is cut into windows side by side, which know nothing of each other; a rest that fills no window is left
    out. The mean of the result is the model's loss at this length.

    model    tokens (batch, time) → logits (batch, time, vocab) of what follows each
    batch    windows at once: it changes the memory needed, not the result
    Raises: ValueError when the text is too short for one window and the token after it. A model with dropout should be
    in evaluation mode.

    >>> knows_nothing = lambda tokens: torch.zeros(*tokens.shape, 8)
    >>> nats_by_position(knows_nothing, torch.arange(7), length=3) / torch.tensor(8).log()
    tensor([1., 1., 1.])
    """
    windows = (len(tokens) - 1) // length if length > 0 else 0
    if windows < 1:
        raise ValueError(f"tokens has {len(tokens)} entries, expected more than length = {length}, which is from 1 on")
    inputs, targets = (part[: windows * length].reshape(windows, length) for part in (tokens[:-1], tokens[1:]))
    total = torch.zeros(length, device=tokens.device)
    for rows in torch.arange(windows, device=tokens.device).split(batch):
        surprise = F.cross_entropy(model(inputs[rows]).flatten(0, 1), targets[rows].flatten(), reduction="none")
        total += surprise.reshape(-1, length).sum(0)
    return total / windows


def nats_by_length(
    model: Callable[[Tensor], Tensor], tokens: Int[Tensor, " time"], lengths: Sequence[int]
) -> Float[Tensor, " length"]:
    r"""Mean surprise, in nats, when the same text is read in windows of each of these lengths.

    Longer windows have more context at most places, so a model that can use it gets better, and one that is lost beyond
    what it learned gets worse. Raises: ValueError as `nats_by_position`. Source: press2022train, section 2.

    >>> knows_nothing = lambda tokens: torch.zeros(*tokens.shape, 9)
    >>> nats_by_length(knows_nothing, torch.arange(9), [2, 4]) / torch.tensor(9).log()
    tensor([1., 1.])
    """
    return torch.stack([nats_by_position(model, tokens, length).mean() for length in lengths])
