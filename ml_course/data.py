r"""Small real data sets that come with scikit-learn, and the two steps where test data likes to leak into training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn import datasets


@dataclass(frozen=True)
class Dataset:
    r"""Labelled points: one row a sample, one column a feature."""

    points: Float[np.ndarray, "samples features"]
    labels: Int[np.ndarray, " samples"]  # 0 … classes − 1
    features: tuple[str, ...] = ()  # name of each column
    classes: tuple[str, ...] = ()  # name of each label

    def rows(self, chosen: np.ndarray) -> Dataset:
        r"""The samples at these row numbers, or where these bools are True."""
        return replace(self, points=self.points[chosen], labels=self.labels[chosen])


@dataclass(frozen=True)
class Split:
    r"""The part a model may learn from, and the part that says how well it did."""

    train: Dataset
    test: Dataset


def iris() -> Dataset:
    r"""150 irises of three species: length and width of sepals and petals, in centimetres.

    Source: fisher1936use.

    >>> iris().points.shape, iris().classes
    ((150, 4), ('setosa', 'versicolor', 'virginica'))
    """
    return _bundled(datasets.load_iris)


def breast_cancer() -> Dataset:
    r"""569 tumours, malignant (0) or benign (1): 30 measures of the cell nuclei in an image of each.

    The measures have units of their own (pixels, squared pixels, plain ratios), so `standardise` before learning.
    Source: street1993nuclear.

    >>> breast_cancer().points.shape, breast_cancer().classes
    ((569, 30), ('malignant', 'benign'))
    """
    return _bundled(datasets.load_breast_cancer)


def digits() -> Dataset:
    r"""1,797 handwritten digits, each an image of 8 × 8 grey values from 0 (paper) to 1 (ink), row after row.

    Source: kaynak1995methods.

    >>> digits().points.shape, float(digits().points.max())
    ((1797, 64), 1.0)
    """
    bundled = _bundled(datasets.load_digits)
    return replace(bundled, points=bundled.points / 16)


def split(data: Dataset, test_share: float = 0.25, seed: int = 0) -> Split:
    r"""Shuffles the samples and sets `test_share` of them aside; equal rows stay together.

    Iris holds one flower twice: were one copy learned and the other tested, the test would measure memory.
    Raises: ValueError when test_share is not between 0 and 1, or when one of the two parts would be empty.
    Cost: O(samples · features · log samples), for finding equal rows.

    >>> parts = split(iris(), test_share=0.2)
    >>> len(parts.train.labels), len(parts.test.labels)
    (120, 30)
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share = {test_share} is not between 0 and 1")
    distinct, group = np.unique(data.points, axis=0, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(distinct))
    set_aside = shuffled[: round(test_share * len(distinct))]
    test = np.isin(group.ravel(), set_aside)
    if test.all() or not test.any():
        raise ValueError(f"test_share = {test_share} leaves one part of {len(distinct)} distinct samples empty")
    return Split(data.rows(~test), data.rows(test))


def standardise(parts: Split) -> Split:
    r"""Shifts and scales every feature to mean 0 and deviation 1 *of the training part*: x ↦ (x − μ_train)/σ_train.

    The test part is transformed with the same two numbers and plays no part in finding them. A feature that never
    varies in training is only shifted.

    >>> even = standardise(split(breast_cancer()))
    >>> bool(np.isclose(even.train.points.mean(), 0)), bool(np.isclose(even.test.points.mean(), 0))
    (True, False)
    """
    mean, deviation = parts.train.points.mean(axis=0), parts.train.points.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1).astype(mean.dtype)
    return Split(*(replace(part, points=(part.points - mean) / deviation) for part in (parts.train, parts.test)))


def _bundled(load: Callable[[], Any]) -> Dataset:
    """One of scikit-learn's own data sets in our form."""
    loaded = load()
    return Dataset(
        np.asarray(loaded.data, dtype=np.float64),
        np.asarray(loaded.target, dtype=np.int64),
        tuple(map(str, loaded.feature_names)),
        tuple(map(str, loaded.target_names)),
    )
