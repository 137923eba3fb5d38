r"""Which part learns how fast: parameter groups with rates of their own, and a pace for all of them together."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

DISCRIMINATIVE = 1 / 2.6  # howard2018universal, section 3.2: each layer's rate against that of the layer above


def parameter_groups(
    blocks: Iterable[nn.Module], rate: float | int, *, factor: float | int = 1.0, decay: float | int = 0.01
) -> list[dict[str, Any]]:
    r"""Groups for torch's AdamW: the lower the block, the slower; no decay for norms and biases.

    block k of K learns with rate · factor^(K − 1 − k)

    blocks   from the bottom up; what is frozen in them is left out
    rate     of the last, topmost block
    factor   1 for one rate everywhere; `DISCRIMINATIVE` is ULMFiT's
    decay    weight decay of matrices; vectors (norms, biases) get 0, for there decay has no capacity to take away and
             pulls scales to 0
    Raises: ValueError when rate or factor is not positive, decay is negative, or a parameter stands in two blocks.
    Source: howard2018universal, section 3.2; devlin2019bert's published code, for the decay.

    >>> network = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    >>> for group in parameter_groups(network, 1e-3, factor=0.5):
    ...     print(group["lr"], group["weight_decay"], len(group["params"]))
    0.00025 0.01 1
    0.00025 0.0 1
    0.0005 0.0 2
    0.001 0.01 1
    0.001 0.0 1
    """
    if not rate > 0 or not factor > 0 or decay < 0:
        raise ValueError(f"rate = {rate}, factor = {factor}, decay = {decay}: expected positive, decay at least 0")
    blocks, groups, seen = list(blocks), [], set()
    for number, block in enumerate(blocks):
        of_matrices, of_vectors = [], []
        for name, parameter in block.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter in seen:
                raise ValueError(f"blocks has {name} of block {number} in an earlier block too, expected each once")
            seen.add(parameter)
            (of_matrices if parameter.ndim > 1 else of_vectors).append(parameter)
        own = float(rate * factor ** (len(blocks) - 1 - number))
        for parameters, decayed in ((of_matrices, float(decay)), (of_vectors, 0.0)):
            if parameters:
                groups.append({"params": parameters, "lr": own, "weight_decay": decayed})
    return groups


def warm_then_linear(steps: int, warm: float | int = 0.1) -> Callable[[int], float]:
    r"""A pace from near 0 up to 1 within the first share of the steps, then straight down to near 0.

    min(step / (warm·steps), (steps − step + 1) / (steps − warm·steps)), steps from 1

    warm   share of the steps; 0 < warm < 1
    Raises: ValueError for others. Source: devlin2019bert, appendix A.2.

    >>> pace = warm_then_linear(10, warm=0.2)
    >>> [round(pace(step), 3) for step in (1, 2, 3, 10)]
    [0.5, 1.0, 1.0, 0.125]
    """
    if steps < 1 or not 0 < warm < 1:
        raise ValueError(f"steps = {steps}, warm = {warm}: expected at least 1, and between 0 and 1")
    top = warm * steps
    return lambda step: min(1.0, step / top, (steps - step + 1) / (steps - top))


def slanted_triangle(steps: int, cut: float | int = 0.1, ratio: float | int = 32) -> Callable[[int], float]:
    r"""ULMFiT's pace: a short way up, a long way down, from 1/ratio to 1 and back.

    (1 + p·(ratio − 1)) / ratio,  p = t/c for t < c, else 1 − (t − c) / (c·(1/cut − 1)),  c = ⌊steps·cut⌋, t = step − 1

    Raises: ValueError when steps·cut is below 1, cut is not between 0 and 1, or ratio below 1.
    Source: howard2018universal, eq. 3; there t counts from 1.

    >>> pace = slanted_triangle(100)
    >>> pace(1), pace(11), round(pace(100), 4)
    (0.03125, 1.0, 0.042)
    """
    if not 0 < cut < 1 or steps * cut < 1 or ratio < 1:
        raise ValueError(f"steps = {steps}, cut = {cut}, ratio = {ratio}: expected steps·cut ≥ 1 and ratio ≥ 1")
    top = math.floor(steps * cut)

    def pace(step: int) -> float:
        t = step - 1
        p = t / top if t < top else max(0.0, 1 - (t - top) / (top * (1 / cut - 1)))
        return (1 + p * (ratio - 1)) / ratio

    return pace


class Paced:
    r"""An optimiser for `ml_course.training.fit` whose groups keep their ratios while all speed up and slow down.

    rate of a group in a step = its own rate · pace(step); `fit`'s own `schedule` would give all groups one rate

    optimiser   torch's, with any groups
    pace        pace(step) → a factor, steps from 1; 1 throughout when None
    begin       begin(step), called before the forward pass of each step, as `GradualUnfreezing`

    >>> layer = nn.Linear(1, 1)
    >>> optimiser = Paced(torch.optim.SGD([{"params": [layer.weight], "lr": 0.5}]), lambda step: 1 / step)
    >>> for _ in range(4):
    ...     optimiser.zero_grad()
    ...     optimiser.step()
    >>> optimiser.optimiser.param_groups[0]["lr"]
    0.125
    """

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        pace: Callable[[int], float] | None = None,
        begin: Callable[[int], Any] | None = None,
    ):
        self.optimiser, self.pace, self.begin, self.steps = optimiser, pace, begin, 0
        self.rates = [group["lr"] for group in optimiser.param_groups]

    def zero_grad(self) -> None:
        r"""Empties the gradients; what `begin` does comes first, so it holds for the forward pass that follows."""
        if self.begin is not None:
            self.begin(self.steps + 1)
        self.optimiser.zero_grad()

    def step(self) -> None:
        r"""One step of the optimiser at this step's rates."""
        self.steps += 1
        if self.pace is not None:
            factor = self.pace(self.steps)
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor
        self.optimiser.step()
