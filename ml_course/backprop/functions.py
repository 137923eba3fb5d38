r"""Functions of tensors that are worth a rule of their own; each shows how an operation joins the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from ml_course.backprop.engine import Tensor, operation


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    r"""Joins tensors along an axis; each gets its own piece of the gradient back.

    >>> concatenate([Tensor([1.0, 2.0]), Tensor([3.0])])
    Tensor([1., 2., 3.])
    """
    ends = np.cumsum([tensor.shape[axis] for tensor in tensors])
    pairs = [(t, lambda g, i=i: np.split(g, ends[:-1], axis)[i]) for i, t in enumerate(tensors)]
    return operation(np.concatenate([tensor.data for tensor in tensors], axis), *pairs)


def where(condition: Bool[np.ndarray, ...], yes: Tensor, no: Tensor | float | int) -> Tensor:
    r"""Numbers of `yes` where the bool array is True, else of `no`; the gradient goes to the one that was taken.

    >>> where(np.array([True, False]), Tensor([1.0, 2.0]), 0.0)
    Tensor([1., 0.])
    """
    no = yes._constant(no)
    return operation(
        np.where(condition, yes.data, no.data),
        (yes, lambda g: np.where(condition, g, 0)),
        (no, lambda g: np.where(condition, 0, g)),
    )


def softmax(logits: Float[Tensor, "*shape"], axis: int = -1) -> Float[Tensor, "*shape"]:
    r"""Probabilities along an axis: pᵢ = e^(zᵢ)/Σⱼ e^(zⱼ); its rule is p ⊙ (g − Σ g ⊙ p).

    >>> softmax(Tensor([0.0, 1000.0, 1000.0]))
    Tensor([0. , 0.5, 0.5])
    """
    grown = np.exp(logits.data - logits.data.max(axis, keepdims=True))
    value = grown / grown.sum(axis, keepdims=True)
    return operation(value, (logits, lambda g: value * (g - (g * value).sum(axis, keepdims=True))))


def cross_entropy(logits: Float[Tensor, "*rows classes"], labels: Int[np.ndarray, "*rows"]) -> Float[Tensor, ""]:
    r"""Mean surprise at the true classes, in nats: mean of log Σⱼ e^(zⱼ) − z_label; its rule is (p − y)/n.

    Raises: ValueError when a label is not one of the classes, or there is none.

    >>> round(cross_entropy(Tensor(np.zeros((1, 10))), np.array([3])).item(), 4)  # log 10
    2.3026
    """
    classes = logits.shape[-1]
    if not labels.size:
        raise ValueError("labels is empty: the mean of no rows is not defined")
    if not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}, expected 0 to {classes - 1}")
    at = labels[..., None]
    shifted = logits.data - logits.data.max(-1, keepdims=True)
    grown = np.exp(shifted)
    total = grown.sum(-1, keepdims=True)

    def rule(g: np.ndarray) -> np.ndarray:
        error = grown / total
        np.put_along_axis(error, at, np.take_along_axis(error, at, -1) - 1, -1)  # p − y
        return g * error / labels.size

    return operation((np.log(total) - np.take_along_axis(shifted, at, -1)).mean(), (logits, rule))
