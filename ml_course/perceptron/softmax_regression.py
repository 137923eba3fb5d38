r"""Many classes: a row of neurons whose sums compete for one probability distribution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def softmax(logits: Float[np.ndarray, "*rows classes"]) -> Float[np.ndarray, "*rows classes"]:
    r"""Turns each row of sums into probabilities: pₖ = e^(zₖ)/Σⱼ e^(zⱼ).

    The largest sum of a row is subtracted first: p does not change, and no exponential overflows.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]]))
    array([[0.5, 0.5],
           [1. , 0. ]])
    """
    grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


def softmax_regression_gradient(
    weights: Float[np.ndarray, "classes features"],
    bias: Float[np.ndarray, " classes"],
    points: Float[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, " classes"]]:
    r"""Gradient of the mean cross-entropy of softmax(X Wᵀ + b): ∂/∂W = (P − Y)ᵀX/n and ∂/∂b = Σ rows of (P − Y)/n.

    P holds the predicted probabilities, Y one row per sample with a 1 at its label.
    Raises: ValueError when a label is not one of the classes.
    Cost: O(samples · classes · features).
    Source: bishop2006pattern, eq. 4.109, there for the sum instead of the mean.

    >>> softmax_regression_gradient(np.zeros((2, 1)), np.zeros(2), np.array([[4.0]]), np.array([1]))
    (array([[ 2.],
           [-2.]]), array([ 0.5, -0.5]))
    """
    _check_classes(labels, len(weights))
    error = softmax(points @ weights.T + bias)
    error[np.arange(len(labels)), labels] -= 1  # P − Y without writing Y down
    error /= len(labels)
    return error.T @ points, error.sum(axis=0)


def _check_classes(labels: np.ndarray, classes: int) -> None:
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
