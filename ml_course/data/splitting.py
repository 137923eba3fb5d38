r"""The two steps where test data likes to leak into training: setting samples aside, and scaling."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from ml_course.data.points import Dataset


@runtime_checkable
class Samples(Protocol):
    r"""Any of the data sets here: points, images, labelled texts, pairs."""

    def rows(self, chosen: np.ndarray) -> Samples: ...

    def contents(self) -> np.ndarray: ...


Kind = TypeVar("Kind", bound=Samples)


@dataclass(frozen=True)
class Split(Generic[Kind]):
    r"""The part a model may learn from, and the part that says how well it did."""

    train: Kind
    test: Kind


def split(data: Kind, test_share: float = 0.25, seed: int = 0) -> Split[Kind]:
    r"""Shuffles the samples and sets `test_share` of them aside; equal samples stay together.

    Iris holds one flower twice: were one copy learned and the other tested, the test would measure memory.
    Raises: ValueError when test_share is not between 0 and 1, or when one of the two parts would be empty.
    Cost: O(samples · features · log samples), for finding equal rows.

    >>> from ml_course.data import iris
    >>> parts = split(iris(), test_share=0.2)
    >>> len(parts.train.labels), len(parts.test.labels)
    (120, 30)
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share = {test_share} is not between 0 and 1")
    distinct, group = np.unique(data.contents(), axis=0, return_inverse=True)
    shuffled = np.random.default_rng(seed).permutation(len(distinct))
    set_aside = shuffled[: round(test_share * len(distinct))]
    test = np.isin(group.ravel(), set_aside)
    if test.all() or not test.any():
        raise ValueError(f"test_share = {test_share} leaves one part of {len(distinct)} distinct samples empty")
    return Split(data.rows(~test), data.rows(test))


def split_by_key(data: Kind, keys: list[str], test_share: float = 0.1) -> Split[Kind]:
    r"""Sets aside the samples whose key's hash is small: the same ones on every machine, whatever else is there.

    keys   one per sample; samples with equal keys stay together, and a new release of the data moves none of the old
    Raises: ValueError when test_share is not between 0 and 1.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share = {test_share} is not between 0 and 1")
    test = np.array([position(key) < test_share for key in keys])
    return Split(data.rows(~test), data.rows(test))


def position(key: str) -> float:
    r"""A number from 0 up to 1 that looks random and depends on the text alone: the first 8 bytes of its SHA-256.

    >>> round(position("Norway"), 3)
    0.745
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def standardise(parts: Split[Dataset]) -> Split[Dataset]:
    r"""Shifts and scales every feature to mean 0 and deviation 1 *of the training part*: x ↦ (x − μ_train)/σ_train.

    The test part is transformed with the same two numbers and plays no part in finding them. A feature that never
    varies in training is only shifted.

    >>> from ml_course.data import breast_cancer
    >>> even = standardise(split(breast_cancer()))
    >>> bool(np.isclose(even.train.points.mean(), 0)), bool(np.isclose(even.test.points.mean(), 0))
    (True, False)
    """
    mean, deviation = parts.train.points.mean(axis=0), parts.train.points.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1).astype(mean.dtype)
    return Split(*(replace(part, points=(part.points - mean) / deviation) for part in (parts.train, parts.test)))
