r"""What a decoder learns from: the target shifted by one, its true prefix or its own, and a loss that skips filler."""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def shift(
    target: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> tuple[Int[Tensor, "batch shorter"], Int[Tensor, "batch shorter"], Bool[Tensor, "batch shorter"]]:
    r"""Teacher forcing: what the decoder reads, what it shall say at the same time, and where that is real.

    target = <bos> y₁ … y_n <eos>:  reads <bos> y₁ … y_n,  says y₁ … y_n <eos>

    Source: the name is williams1989learning's.

    >>> import torch
    >>> target = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    >>> reads, says, real = shift(target, mask=target > 0)
    >>> reads.tolist(), says.tolist(), real.tolist()
    ([[2, 7, 8], [2, 9, 3]], [[7, 8, 3], [9, 3, 0]], [[True, True, True], [True, True, False]])
    """
    return target[:, :-1], target[:, 1:], mask[:, 1:]


def masked_cross_entropy(
    logits: Float[Tensor, "batch time vocab"],
    target: Int[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    *,
    fused: bool = True,
) -> Float[Tensor, ""]:
    r"""The mean surprise of the real tokens, in nats; filler has no part in it, whatever stands there.

    −Σ mask · log softmax(logits)[target] / Σ mask

    A long sentence weighs more than a short one: it has more tokens. Without any real token the loss is 0.
    fused   torch's kernel; else the formula in its own words
    Cost: O(batch·time·vocab).

    >>> import torch
    >>> logits, target = torch.zeros(1, 3, 8), torch.tensor([[1, 2, 0]])
    >>> masked_cross_entropy(logits, target, mask=torch.tensor([[True, True, False]])) / math.log(8)
    tensor(1.)
    """
    count = mask.sum().clamp(min=1)
    if fused:
        ignored = target.masked_fill(~mask, -100)  # the label that torch's kernel leaves out
        return F.cross_entropy(logits.flatten(0, 1), ignored.flatten(), reduction="sum") / count
    surprise = -logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]
    return surprise.masked_fill(~mask, 0).sum() / count


def inverse_sigmoid(k: float | int) -> Callable[[int], float]:
    r"""A schedule for scheduled sampling: how often the decoder reads the truth at a training step.

    ε(step) = k / (k + exp(step / k)): nearly 1 at first, ½ at step k·ln k, then towards 0.

    Raises: ValueError when k is below 1. Source: bengio2015scheduled, section 2.4.

    >>> truth = inverse_sigmoid(100)
    >>> round(truth(0), 2), round(truth(461), 2), round(truth(2000), 2)
    (0.99, 0.5, 0.0)
    """
    if not k >= 1:
        raise ValueError(f"k = {k}, expected at least 1")
    return lambda step: 1 / (1 + math.exp(min(step / k, 700.0)) / k)
