r"""How a Transformer is taught: a learning rate that warms up, and targets that are never quite sure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def noam(d_model: int, warmup: int, factor: float | int = 1.0) -> Callable[[int], float]:
    r"""A schedule of the learning rate: straight up for `warmup` steps, then down with the root of the step.

    rate(step) = factor · d_model^(−½) · min(step^(−½), step · warmup^(−3/2))

    The two branches meet at step = warmup, at factor/√(d_model·warmup), the highest rate there is.
    Steps count from 1, as `ml_course.training.fit` counts them. Raises: ValueError for numbers below 1, here or as
    the step. Source: vaswani2017attention, eq. 3; the name is that of Noam Shazeer.

    >>> rate = noam(d_model=512, warmup=4000)
    >>> round(rate(1) * 1e6, 3), round(rate(4000) * 1e3, 3), round(rate(16_000) * 1e3, 3)
    (0.175, 0.699, 0.349)
    """
    if d_model < 1 or warmup < 1:
        raise ValueError(f"d_model = {d_model}, warmup = {warmup}: expected at least 1")

    def rate(step: int) -> float:
        if step < 1:
            raise ValueError(f"step = {step}: steps count from 1")
        return factor * d_model**-0.5 * min(step**-0.5, step * warmup**-1.5)

    return rate


def smoothed_targets(
    target: Int[Tensor, "*batch"],
    vocab: int,
    epsilon: float | int,
    *,
    others: bool = False,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "*batch vocab"]:
    r"""The distribution to be learned in place of "this token and no other".

    (1 − ε)·[k = target] + ε/vocab, or with `others` (1 − ε) for the target and ε/(vocab − 1) for each other token

    Both are one family: ε over the others is as ε·vocab/(vocab − 1) over all. `dtype` is torch's default when None.
    Raises: ValueError when epsilon is not in 0 ≤ ε < 1 or a target is no token.
    Source: szegedy2016rethinking, section 7; the second form is that of many translation systems.

    >>> smoothed_targets(torch.tensor([2]), vocab=4, epsilon=0.1)
    tensor([[0.0250, 0.0250, 0.9250, 0.0250]])
    >>> smoothed_targets(torch.tensor([2]), vocab=4, epsilon=0.3, others=True)
    tensor([[0.1000, 0.1000, 0.7000, 0.1000]])
    """
    _check(epsilon)
    least, most = (int(target.min()), int(target.max())) if target.numel() else (0, 0)
    if not 0 <= least <= most < vocab:
        raise ValueError(f"target has numbers from {least} to {most}, expected 0 to {vocab - 1}")
    sure = F.one_hot(target, vocab).to(dtype or torch.get_default_dtype())
    if others:
        return sure * (1 - epsilon) + (1 - sure) * epsilon / (vocab - 1)
    return sure * (1 - epsilon) + epsilon / vocab


def smoothed_cross_entropy(
    logits: Float[Tensor, "batch time vocab"],
    target: Int[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    epsilon: float | int,
    *,
    fused: bool = True,
) -> Float[Tensor, ""]:
    r"""The mean surprise of the real tokens, where each is a token only with probability 1 − ε, and else any.

    −Σ_t mask_t Σ_k q_tk log softmax(logits)_tk / Σ mask,  q = `smoothed_targets`

    Its least possible value is the entropy of q, not 0. With ε = 0 it is `seq2seq.masked_cross_entropy`.
    fused   torch's kernel; else the formula in its own words
    Raises: ValueError when epsilon is not in 0 ≤ ε < 1. Cost: O(batch·time·vocab). Source: szegedy2016rethinking,
    section 7; vaswani2017attention, section 5.4, with ε = 0.1.

    >>> logits, target = torch.tensor([[[0.0, 9.0]]]), torch.tensor([[1]])
    >>> [round(smoothed_cross_entropy(logits, target, target > 0, e).item(), 3) for e in (0.0, 0.1)]
    [0.0, 0.45]
    """
    _check(epsilon)
    count = mask.sum().clamp(min=1)
    if fused:
        ignored = target.masked_fill(~mask, -100)  # the label that torch's kernel leaves out
        total = F.cross_entropy(
            logits.flatten(0, 1), ignored.flatten(), reduction="sum", label_smoothing=float(epsilon)
        )
        return total / count
    wanted = smoothed_targets(target.masked_fill(~mask, 0), logits.shape[-1], epsilon, dtype=logits.dtype)
    surprise = -(wanted * logits.log_softmax(-1)).sum(-1)
    return surprise.masked_fill(~mask, 0).sum() / count


def _check(epsilon: float | int) -> None:
    if not 0 <= epsilon < 1:
        raise ValueError(f"epsilon = {epsilon}, expected 0 ≤ epsilon < 1")
