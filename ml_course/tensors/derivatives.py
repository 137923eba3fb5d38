r"""Derivatives by measuring: nudge the input, see how the output moves. Slow, but there is no formula to get wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

# The error of a central difference is about step² (a curve is not straight) plus 1e-16/step (rounding). Their sum is
# smallest near the cube root of 1e-16.
STEP = float(np.finfo(np.float64).eps ** (1 / 3))
Function = Callable[[np.ndarray], np.ndarray | float]


def jacobian(
    f: Function, x: Float[np.ndarray, "*inputs"], step: float | None = None
) -> Float[np.ndarray, "*outputs_and_inputs"]:
    r"""How each output of f moves with each input at x: Jᵢⱼ = ∂fᵢ/∂xⱼ ≈ (fᵢ(x + h·eⱼ) − fᵢ(x − h·eⱼ))/2h.

    The result has the axes of f(x) followed by those of x: (outputs, inputs) for vectors, and the gradient's
    (inputs,) when f returns one number.

    step   h, in the units of x; when None, 6e-6 times the larger of 1 and |xⱼ|, near the best for float64
    Raises: ValueError when step is not above zero.
    Cost: two calls of f for each number in x. Error: about 1e-10 relative where f is smooth and of ordinary size.
    Source: griewank2008evaluating.

    >>> jacobian(lambda x: np.array([x[0] * x[1], x[0] + 3 * x[1]]), np.array([2.0, 5.0])).round(6)
    array([[5., 2.],
           [1., 3.]])
    """
    x, columns = x.astype(np.float64), []
    for place in np.ndindex(x.shape):
        unit = np.zeros_like(x)
        unit[place] = 1.0
        columns.append(jacobian_vector_product(f, x, unit, _step(step, x[place])))
    stacked = np.stack(columns, axis=-1) if columns else np.zeros((*np.shape(f(x)), 0))
    return stacked.reshape(*stacked.shape[:-1], *x.shape)


def jacobian_vector_product(
    f: Function,
    x: Float[np.ndarray, "*inputs"],
    direction: Float[np.ndarray, "*inputs"],
    step: float | None = None,
) -> Float[np.ndarray, "*outputs"]:
    r"""How f moves when x moves along v: J v = d/dt f(x + t·v) at t = 0 ≈ (f(x + h·v) − f(x − h·v))/2h.

    The derivative as a linear map: the whole Jacobian is never built.

    step   h; when None, as in `jacobian`, for the longest coordinate of x
    Raises: ValueError when step is not above zero.
    Cost: two calls of f, however many inputs there are.
    Source: griewank2008evaluating, chapter 3.

    >>> f = lambda x: np.array([x[0] * x[1], x[0] + 3 * x[1]])
    >>> jacobian_vector_product(f, np.array([2.0, 5.0]), np.array([1.0, -1.0])).round(6)
    array([ 3., -2.])
    """
    x, direction = x.astype(np.float64), direction.astype(np.float64)
    step = _step(step, np.abs(x).max(initial=0.0))
    ahead, behind = (np.asarray(f(x + sign * step * direction), dtype=np.float64) for sign in (1, -1))
    return np.asarray((ahead - behind) / (2 * step))


def _step(step: float | None, size: float) -> float:
    if step is None:
        return STEP * max(1.0, abs(float(size)))
    if not step > 0:
        raise ValueError(f"step = {step} is not above zero")
    return float(step)
