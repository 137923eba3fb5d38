r"""Scaling laws: how the loss falls with the size of the model, as a straight line on logarithmic paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class PowerLaw(NamedTuple):
    r"""L(n) = floor + (scale / n)^exponent."""

    exponent: float
    scale: float
    floor: float = 0.0

    def __call__(self, n: float | int | Float[np.ndarray, " sizes"]) -> float | Float[np.ndarray, " sizes"]:
        return self.floor + (self.scale / n) ** self.exponent


def fit_power_law(sizes: Sequence[float | int] | np.ndarray, losses: Sequence[float | int] | np.ndarray) -> PowerLaw:
    r"""The straight line through the logarithms, by least squares: log L = exponent · (log scale − log n).

    Raises: ValueError when there are fewer than two different sizes, or a number is not above 0.
    Source: kaplan2020scaling, eq. 1.1.

    >>> law = fit_power_law([10, 100, 1000], [4.0, 2.0, 1.0])
    >>> round(law.exponent, 3), round(law(10), 3), round(law.scale)
    (0.301, 4.0, 1000)
    """
    n, loss = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    if n.shape != loss.shape or len(np.unique(n)) < 2 or (n <= 0).any() or (loss <= 0).any():
        raise ValueError(
            f"sizes has {len(np.unique(n))} different ones and {len(loss)} losses: "
            "expected two or more, one loss each, all above 0"
        )
    slope, height = np.polyfit(np.log(n), np.log(loss), 1)
    return PowerLaw(float(-slope), float(np.exp(-height / slope)) if slope else float("nan"))


def fit_power_law_with_floor(
    sizes: Sequence[float | int] | np.ndarray, losses: Sequence[float | int] | np.ndarray, *, steps: int = 2000
) -> PowerLaw:
    r"""As `fit_power_law`, with a loss that no size gets below: the best of `steps` floors from 0 to the lowest loss.

    Three numbers from few points: believe it only where there are more points than four.
    Raises: ValueError as `fit_power_law`, and for fewer than three sizes. Source: hoffmann2022training, section 3.3.

    >>> law = fit_power_law_with_floor([1, 2, 4, 8, 16], [2 + 1, 2 + 0.5, 2 + 0.25, 2 + 0.125, 2 + 0.0625])
    >>> round(law.floor, 2), round(law.exponent, 2)
    (2.0, 1.0)
    """
    n, loss = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    if len(np.unique(n)) < 3:
        raise ValueError(f"sizes has {len(np.unique(n))} different ones, expected three or more")
    laws = [
        fit_power_law(n, loss - floor)._replace(floor=float(floor))
        for floor in np.linspace(0, loss.min(), steps + 1)[:-1]
    ]
    return min(laws, key=lambda law: float(np.square(np.log(law(n)) - np.log(loss)).sum()))


def chinchilla_loss(parameters: float | int, tokens: float | int) -> float:
    r"""The loss in nats a token that Hoffmann and others fitted: 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28.

    parameters, tokens   N of the model, D that it learned from
    Source: hoffmann2022training, eq. 10.

    >>> round(chinchilla_loss(70e9, 1.4e12), 2)  # Chinchilla
    1.94
    """
    return 1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28


def training_flops(parameters: float | int, tokens: float | int) -> float:
    r"""About how many floating point operations a training takes: 6 N D, of which the backward pass is two thirds.

    Source: kaplan2020scaling, section 2.1.

    >>> f"{training_flops(174.6e9, 300e9):.2g}"  # GPT-3
    '3.1e+23'
    """
    return 6.0 * parameters * tokens
