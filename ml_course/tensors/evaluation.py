r"""How good a classifier is, and how far the answer can be trusted: shares of right answers and their intervals."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int, Shaped


def confusion(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], classes: int
) -> Int[np.ndarray, "classes classes"]:
    r"""Counts how often each true class (row) was taken for each class (column).

    Raises: ValueError when a label or a prediction is not a number from 0 to classes − 1.
    Cost: O(samples + classes²).

    >>> confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), classes=2)
    array([[1, 1],
           [1, 2]])
    """
    for name, given in (("labels", labels), ("predicted", predicted)):
        wrong = given[(given < 0) | (given >= classes)]
        if len(wrong):
            raise ValueError(f"{name} holds {int(wrong[0])}, expected numbers from 0 to {classes - 1}")
    pairs = classes * labels.astype(np.int64) + predicted  # one number for each cell of the table
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def accuracy(labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"]) -> float:
    r"""The share of right answers, from 0 to 1.

    Raises: ValueError when there are no samples.

    >>> accuracy(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]))
    0.75
    """
    if len(labels) == 0:
        raise ValueError("labels has no samples: a share of nothing is not defined")
    return float((labels == predicted).mean())


def precision(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], classes: int
) -> Float[np.ndarray, " classes"]:
    r"""Of the samples *called* k, the share that is k: right calls of k / all calls of k, for each class.

    Zero where a class was never called. Raises: as `confusion`.

    >>> precision(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), classes=2).round(3)
    array([0.5  , 0.667])
    """
    table = confusion(labels, predicted, classes)
    return _share(np.diag(table), table.sum(axis=0))


def recall(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], classes: int
) -> Float[np.ndarray, " classes"]:
    r"""Of the samples that *are* k, the share that was found: right calls of k / all samples of k, for each class.

    Zero where a class does not occur. Raises: as `confusion`.

    >>> recall(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0]), classes=2).round(3)
    array([0.5  , 0.667])
    """
    table = confusion(labels, predicted, classes)
    return _share(np.diag(table), table.sum(axis=1))


def f1_score(
    labels: Int[np.ndarray, " samples"], predicted: Int[np.ndarray, " samples"], classes: int
) -> Float[np.ndarray, " classes"]:
    r"""Precision and recall in one number, their harmonic mean 2·P·R/(P + R), for each class: near the smaller.

    Zero where both are. Raises: as `confusion`.

    >>> f1_score(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), classes=2).round(3)
    array([0.5, 0.5])
    """
    table = confusion(labels, predicted, classes)
    return _share(2 * np.diag(table), table.sum(axis=0) + table.sum(axis=1))


def wilson_interval(right: int, samples: int, level: float = 0.95) -> tuple[float, float]:
    r"""Shares that `right` of `samples` right answers do not speak against, from low to high, both within 0 and 1.

    (p̂ + z²/2n ± z·√(p̂(1 − p̂)/n + z²/4n²))/(1 + z²/n), with p̂ = right/n and z = 1.96 for a level of 0.95: all shares p
    for which p̂ lies within z standard deviations of p, taken at p itself.
    Raises: ValueError when right is not between 0 and samples, samples not above 0, or level not between 0 and 1.
    Source: wilson1927probable; recommended for small samples by brown2001interval.

    >>> [round(end, 3) for end in wilson_interval(20, 20)]  # all right, and still no certainty
    [0.839, 1.0]
    """
    if samples < 1 or not 0 <= right <= samples:
        raise ValueError(f"right = {right} of samples = {samples}: expected 0 ≤ right ≤ samples, and samples above 0")
    z = NormalDist().inv_cdf(0.5 + _checked(level) / 2)
    share = right / samples
    middle = share + z**2 / (2 * samples)
    half = z * (share * (1 - share) / samples + z**2 / (4 * samples**2)) ** 0.5
    whole = 1 + z**2 / samples
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def bootstrap_interval(
    sample: Shaped[np.ndarray, " samples *features"],
    statistic: Callable[[np.ndarray], float] = np.mean,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    r"""Where a statistic falls in most samples like this one, drawn *with replacement* from this very sample.

    The percentile interval: quantiles (1 − level)/2 and (1 + level)/2 of the statistic over the resamples.

    sample      one row a sample; rows that belong together (label and prediction) are columns of one array
    statistic   a function of such an array that returns a number
    level       from 0 to 1; resamples   how many; seed   of the draws
    Raises: ValueError when the sample is empty, level not between 0 and 1, or resamples not above 0.
    Cost: `resamples` calls of the statistic. Too narrow for small samples; how much, the chapter measures.
    Source: efron1979bootstrap; the percentile interval: efron1993introduction, section 13.3.

    >>> bootstrap_interval(np.array([3.0, 3.0, 3.0]))  # a sample without spread knows of no doubt
    (3.0, 3.0)
    """
    if len(sample) == 0:
        raise ValueError("sample is empty: there is nothing to draw from")
    if resamples < 1:
        raise ValueError(f"resamples = {resamples} is not at least 1")
    outside = (1 - _checked(level)) / 2
    rng = np.random.default_rng(seed)
    drawn = [statistic(sample[rng.integers(len(sample), size=len(sample))]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [outside, 1 - outside])
    return float(low), float(high)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)  # where the whole is 0 so is the part


def _checked(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level = {level} is not between 0 and 1")
    return level
