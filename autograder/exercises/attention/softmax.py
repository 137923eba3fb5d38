"""The exercise on the softmax: one that neither overflows nor trips over a row of nothing but −∞."""

import math

import numpy as np
import torch

from autograder.exercise import Case, Exercise
from autograder.exercises.attention.dot_product import FUSED
from ml_course import attention


def softmax_along(scores, dim=-1):
    """The reference under the homework's signature."""
    return attention.softmax(scores, dim=dim)


stable_softmax = Exercise(
    "attention.stable_softmax",
    reference=softmax_along,
    facets={"values": 1, "stability": 1, "masked rows": 1, "no side effects": 1},
    difficulty=1,
    minutes=10,
    forbidden=("softmax", "log_softmax", "softmin", "_safe_softmax", *FUSED),
)


@stable_softmax.cases
def softmax_cases(rng):
    rows, columns = rng.integers(2, 6, size=2)
    yield Case("a few scores", scores=rng.normal(size=columns), dim=-1)
    yield Case("rows of a matrix", scores=rng.normal(size=(rows, columns)), dim=-1)
    yield Case("columns of a square matrix", scores=rng.normal(size=(rows, rows)), dim=0)
    yield Case("the middle of three axes", scores=rng.normal(size=(2, rows, columns)), dim=1)
    yield Case("one score", scores=rng.normal(size=(3, 1)), dim=-1)
    yield Case("float32", scores=rng.normal(size=(rows, columns)).astype(np.float32), dim=-1)
    yield Case("not contiguous", scores=rng.normal(size=(columns, rows)).T, dim=-1)
    large = rng.normal(size=(rows, columns))
    yield Case("scores above 1000", "stability", scores=large + 1000, dim=-1)
    yield Case("scores below −1000", "stability", scores=large - 1000, dim=-1)
    apart = large + np.linspace(-1500, 1500, rows)[:, None]
    yield Case("rows far apart", "stability", scores=apart, dim=-1)
    some = np.where(rng.random((rows, columns)) < 0.4, -np.inf, large)
    some[:, 0] = large[:, 0]
    some[0, -1] = -np.inf
    yield Case("some scores are −∞", "masked rows", scores=some, dim=-1)
    none = some.copy()
    none[1] = -np.inf
    yield Case("all scores of a row are −∞", "masked rows", scores=none, dim=-1)


@stable_softmax.probe
def ask_softmax(answer, scores, dim):
    import torch

    return {"weights": answer(torch.from_numpy(scores), dim)}


@stable_softmax.alternative
def by_the_logarithm_of_the_sum(scores, dim=-1):
    total = torch.logsumexp(scores, dim, keepdim=True)
    return torch.exp(scores - total.clamp(min=torch.finfo(scores.dtype).min))


@stable_softmax.alternative
def row_by_row(scores, dim=-1):
    moved = scores.movedim(dim, -1)
    rows = []
    for row in moved.reshape(-1, moved.shape[-1]):
        powers = torch.exp(row - row.max()) if row.max() > -math.inf else torch.zeros_like(row)
        rows.append(powers / max(powers.sum(), 1))
    return torch.stack(rows).reshape(moved.shape).movedim(-1, dim)


@stable_softmax.alternative
def with_where(scores, dim=-1):
    highest = scores.max(dim, keepdim=True).values
    highest = torch.where(highest == -torch.inf, 0.0, highest)
    powers = torch.exp(scores - highest)
    total = powers.sum(dim, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


@stable_softmax.mistake(
    hint="What is exp(1000) in floating point? A softmax does not change when all scores are shifted."
)
def no_shift(scores, dim=-1):
    """The exponentials overflow: no maximum is subtracted first."""
    powers = torch.exp(scores)
    total = powers.sum(dim, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


stable_softmax.slip(
    "one maximum for everything",
    with_where,
    "scores.max(dim, keepdim=True).values",
    "scores.max()",
    cause="The largest score of the whole tensor is subtracted, so rows far below it underflow to nothing.",
    hint="Each row is a distribution of its own. Which maximum does it need?",
)
stable_softmax.slip(
    "sum over everything",
    with_where,
    "powers.sum(dim, keepdim=True)",
    "powers.sum()",
    cause="The weights sum to one over the whole tensor instead of along `dim`.",
    hint="What should weights.sum(dim) be?",
)
stable_softmax.slip(
    "not a number when all is masked",
    with_where,
    "    highest = torch.where(highest == -torch.inf, 0.0, highest)\n",
    "",
    cause="Where all scores are −∞ the shift computes −∞ − (−∞), which is NaN.",
    hint="Try one row of nothing but −∞, and print the maximum and the difference.",
)


@stable_softmax.mistake(hint="Try a matrix and dim=0, and sum the result along both axes.")
def dim_is_ignored(scores, dim=-1):
    """The softmax always runs along the last axis, whatever `dim` says."""
    highest = scores.max(-1, keepdim=True).values
    highest = torch.where(highest == -torch.inf, 0.0, highest)
    powers = torch.exp(scores - highest)
    total = powers.sum(-1, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


@stable_softmax.mistake(
    hint="Which of your lines writes into a tensor that the caller still holds? Look for `-=` and names ending in _."
)
def shifted_in_place(scores, dim=-1):
    """The caller's scores are changed: the maximum is subtracted in place."""
    scores -= scores.max(dim, keepdim=True).values.clamp(min=torch.finfo(scores.dtype).min)
    powers = torch.exp(scores)
    return powers / powers.sum(dim, keepdim=True).clamp(min=1)
