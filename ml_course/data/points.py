r"""Small real data sets that come with scikit-learn: labelled points, one row a sample."""

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

    def contents(self) -> np.ndarray:
        r"""What makes two samples the same, for `split`."""
        return self.points


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


def _bundled(load: Callable[[], Any]) -> Dataset:
    """One of scikit-learn's own data sets in our form."""
    loaded = load()
    return Dataset(
        np.asarray(loaded.data, dtype=np.float64),
        np.asarray(loaded.target, dtype=np.int64),
        tuple(map(str, loaded.feature_names)),
        tuple(map(str, loaded.target_names)),
    )
