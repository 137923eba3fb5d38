r"""Is a gradient right? Nudge every number and look."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from ml_course.backprop.engine import Tensor, no_grad


def numerical_gradient(
    function: Callable[[np.ndarray], float], at: Float[np.ndarray, "*shape"], step: float = 1e-6
) -> Float[np.ndarray, "*shape"]:
    r"""Slope of a number-valued function by every entry, by central differences: (f(x + h) − f(x − h))/2h.

    step   the nudge h; the error is about h² from the curve's bend plus ε/h from rounding, so 1e-6 suits float64
    Cost: two calls per entry. `at` is left as it was.

    >>> numerical_gradient(lambda x: float(x[0] * x[1]), np.array([3.0, 5.0])).round(6)
    array([5., 3.])
    """
    slopes, nudged = np.zeros_like(at), at.copy()
    for place in np.ndindex(at.shape):
        nudged[place] = at[place] + step
        above = function(nudged)
        nudged[place] = at[place] - step
        slopes[place] = (above - function(nudged)) / (2 * step)
        nudged[place] = at[place]
    return slopes


def check_gradients(
    function: Callable[..., Tensor],
    *inputs: np.ndarray,
    step: float = 1e-6,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> float:
    r"""Compares the gradients `backward` finds with measured ones; returns the largest relative difference.

    ‖g − ĝ‖∞ / max(1, ‖ĝ‖∞), for the sum of the function's numbers, each times a random weight.

    function    takes as many tensors as there are inputs and returns one, of any shape
    inputs      float64 arrays, away from corners such as relu's at 0
    step        the nudge; tolerance   what relative difference is still right; seed   of the random weights
    Raises: ValueError when an input is not float64, or a gradient is missing or differs: it names the input and entry.
    Cost: two calls of the function per number.

    >>> check_gradients(lambda x, y: (x @ y).tanh(), np.ones((2, 3)) / 4, np.ones((3, 2)) / 5) < 1e-8
    True
    """
    for number, array in enumerate(inputs):
        if array.dtype != np.float64:
            raise ValueError(f"input {number} has dtype {array.dtype}, expected float64: nudges drown in anything less")
    tensors = [Tensor(array.copy(), requires_grad=True) for array in inputs]
    result = function(*tensors)
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, result.shape)
    result.backward(weights)
    worst = 0.0
    for number, (array, tensor) in enumerate(zip(inputs, tensors, strict=True)):

        def nudged(value: np.ndarray, number: int = number) -> float:
            arguments = [Tensor(value if i == number else other) for i, other in enumerate(inputs)]
            with no_grad():
                return float((function(*arguments).data * weights).sum())

        measured = numerical_gradient(nudged, array, step)
        found = np.zeros_like(array) if tensor.grad is None else tensor.grad
        if not array.size:
            continue
        gap = np.abs(found - measured)
        place = np.unravel_index(gap.argmax(), gap.shape)
        difference = float(gap[place] / max(1.0, np.abs(measured).max()))
        if not difference <= tolerance:  # so that NaN is refused
            raise ValueError(
                f"gradient of input {number} at {tuple(map(int, place))}: "
                f"backward says {found[place]:.6g}, nudging says {measured[place]:.6g}"
            )
        worst = max(worst, difference)
    return worst
