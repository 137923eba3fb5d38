r"""What a model loses while it learns something else, and two ways to lose less."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor, nn


def forgetting(accuracies: ArrayLike) -> float:
    r"""How much of the best was lost in the end, the mean over all tasks but the last.

    F = 1/(K−1) Σ_{j<K} ( max_{i<K} R_ij − R_Kj ),  i from j on

    accuracies   R, (tasks, tasks): row i is after learning task i, column j is how well task j goes
    Raises: ValueError when R is not square or has fewer than two tasks.
    Source: chaudhry2018riemannian, section 3, eq. 3; there the maximum runs over all earlier rows.

    >>> round(forgetting([[0.9, 0.2], [0.5, 0.8]]), 3)
    0.4
    """
    matrix = _square(accuracies)
    last = len(matrix) - 1
    return float(np.mean([matrix[j:last, j].max() - matrix[last, j] for j in range(last)]))


def average_accuracy(accuracies: ArrayLike) -> float:
    r"""How well all tasks go after the last was learned: the mean of the last row. Raises: as `forgetting`.

    >>> round(average_accuracy([[0.9, 0.2], [0.5, 0.8]]), 3)
    0.65
    """
    return float(_square(accuracies)[-1].mean())


def backward_transfer(accuracies: ArrayLike) -> float:
    r"""What learning later tasks did to earlier ones; below 0 it is forgetting, above 0 they helped.

    1/(K−1) Σ_{j<K} ( R_Kj − R_jj )

    Raises: as `forgetting`. Source: lopezpaz2017gradient, eq. 3.

    >>> round(backward_transfer([[0.9, 0.2], [0.5, 0.8]]), 3)
    -0.4
    """
    matrix = _square(accuracies)
    return float((matrix[-1] - matrix.diagonal())[:-1].mean())


def _square(accuracies: ArrayLike) -> Float[np.ndarray, "tasks tasks"]:
    matrix = np.asarray(accuracies, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"accuracies has shape {matrix.shape}, expected (tasks, tasks) with at least two")
    return matrix


class Anchor:
    r"""Holds weights near where they were when it was made: a penalty to add to the loss.

    strength/2 · Σ (w − w₀)²,  over the parameters that learn

    Weight decay pulls to 0, this pulls to what was learned before. Keeps a copy of the weights.
    Source: li2018explicit, eq. 2, without the penalty on the new head: leave it out of `parameters`.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> anchor = Anchor(layer.parameters(), strength=2.0)
    >>> with torch.no_grad():
    ...     _ = layer.weight.add_(3.0)
    >>> round(anchor().item(), 4)
    18.0
    """

    def __init__(self, parameters: Iterable[nn.Parameter], strength: float | int):
        if strength < 0:
            raise ValueError(f"strength = {strength}, expected at least 0")
        self.strength = strength
        self.pairs = [(parameter, parameter.detach().clone()) for parameter in parameters]

    def __call__(self) -> Float[Tensor, ""]:
        return self.strength / 2 * sum((parameter - start).square().sum() for parameter, start in self.pairs)


def moved(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    r"""How far weights went, against how long they were: ‖w − w₀‖ / ‖w₀‖ over all of them together.

    >>> import torch
    >>> moved([torch.ones(4)], [1.1 * torch.ones(4)]) < 0.11
    True
    """
    pairs = [(old.detach().double(), new.detach().double()) for old, new in zip(before, after, strict=True)]
    way, length = (
        sum(x.square().sum() for x in some) for some in ([new - old for old, new in pairs], [old for old, _ in pairs])
    )
    return float((way / length).sqrt())
