r"""Surprise: how unlikely what happened was, and sums of exponentials that neither overflow nor vanish."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def log_sum_exp(x: Float[np.ndarray, "*axes"], axis: int = -1) -> Float[np.ndarray, "*fewer"]:
    r"""The logarithm of a sum of exponentials along one axis: log Σᵢ e^(xᵢ) = m + log Σᵢ e^(xᵢ − m), with m = max x.

    With the largest number taken out every exponent is at most 0, and the largest term is exactly 1: nothing overflows,
    and the sum cannot vanish. −∞ stands for a term of zero; where all are −∞, so is the result.
    Raises: ValueError when the axis has no entries.
    Cost: O(size). Source: blanchard2021accurately.

    >>> log_sum_exp(np.array([[1000.0, 1000.0], [0.0, -np.inf]])).round(4)  # 1000 + log 2, and log 1
    array([1000.6931,    0.    ])
    """
    if x.shape[axis] == 0:
        raise ValueError(f"x has shape {x.shape}: nothing to sum along axis {axis}")
    largest = x.max(axis=axis, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, 0).astype(x.dtype)  # ∞ − ∞ would not be a number
    with np.errstate(divide="ignore"):  # log 0 = −∞ is what a sum of nothing should give
        total = np.log(np.exp(x - shift).sum(axis=axis))
    return np.asarray(np.squeeze(shift, axis) + total, dtype=x.dtype)


def log_softmax(logits: Float[np.ndarray, "*axes"], axis: int = -1) -> Float[np.ndarray, "*axes"]:
    r"""The logarithms of the probabilities e^(zₖ)/Σⱼ e^(zⱼ), without ever leaving logarithms: zₖ − log Σⱼ e^(zⱼ).

    Cost: O(size).

    >>> np.exp(log_softmax(np.array([0.0, np.log(3.0)]))).round(4)
    array([0.25, 0.75])
    """
    return logits - np.expand_dims(log_sum_exp(logits, axis), axis)


def cross_entropy(logits: Float[np.ndarray, "samples classes"], labels: Int[np.ndarray, " samples"]) -> float:
    r"""Mean surprise at what really was the case, in nats: mean of −log p_label, p = softmax of the logits.

    It is the negative log-likelihood of the labels, divided by their number.
    Raises: ValueError when a label is not one of the classes, or when there are no samples.
    Cost: O(samples · classes). Source: goodfellow2016deep, section 5.5.

    >>> round(cross_entropy(np.zeros((2, 8)), np.array([0, 5])) / float(np.log(2)), 4)  # one of eight, no idea: 3 bits
    3.0
    """
    samples, classes = logits.shape
    if samples == 0:
        raise ValueError("logits has no rows: the mean of nothing is not defined")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    return float(-log_softmax(logits)[np.arange(samples), labels].mean())


def entropy(p: Float[np.ndarray, "*rows classes"]) -> Float[np.ndarray, "*rows"]:
    r"""Mean surprise of one who knows the distribution, in nats: H(p) = −Σₖ pₖ log pₖ, with 0·log 0 = 0.

    Raises: ValueError when p is not a distribution.
    Source: shannon1948mathematical, section 6.

    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4)
    array([0.6931, 0.    ])
    """
    _check_distribution("p", p)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p > 0, -p * np.log(p), 0).sum(axis=-1), dtype=p.dtype)


def kl_divergence(
    p: Float[np.ndarray, "*rows classes"], q: Float[np.ndarray, "*rows classes"]
) -> Float[np.ndarray, "*rows"]:
    r"""What it costs to believe q where p is true, in nats: KL(p‖q) = Σₖ pₖ log(pₖ/qₖ), never negative.

    Cross-entropy is what one cannot avoid plus this: −Σ pₖ log qₖ = H(p) + KL(p‖q).
    It is infinite where q calls impossible what p does not.
    Raises: ValueError when p or q is not a distribution.
    Source: goodfellow2016deep, eq. 3.50.

    >>> kl_divergence(np.array([0.5, 0.5]), np.array([0.25, 0.75])).round(4)
    np.float64(0.1438)
    """
    _check_distribution("p", p)
    _check_distribution("q", q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(p > 0, p * (np.log(p) - np.log(q)), 0).sum(axis=-1), dtype=p.dtype)


def _check_distribution(name: str, p: np.ndarray) -> None:
    if (p < 0).any() or not np.allclose(p.sum(axis=-1), 1, atol=1e-5):
        lowest, sums = float(p.min(initial=0)), p.sum(axis=-1)
        furthest = float(sums.ravel()[np.abs(sums - 1).argmax()])
        raise ValueError(f"{name} is no distribution: smallest entry {lowest:g}, a row sums to {furthest:g}, not 1")
