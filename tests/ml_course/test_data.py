"""The data loaders, and the two promises of `split` and `standardise`: nothing lost, nothing leaked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from ml_course.data import Dataset, Split, breast_cancer, digits, iris, split, standardise


@pytest.mark.parametrize(
    ("load", "samples", "features", "classes"), [(iris, 150, 4, 3), (breast_cancer, 569, 30, 2), (digits, 1797, 64, 10)]
)
def test_bundled_sets_have_their_published_sizes(load, samples, features, classes):
    data = load()
    assert data.points.shape == (samples, features) == (len(data.labels), len(data.features))
    assert np.array_equal(np.unique(data.labels), np.arange(classes))
    assert len(data.classes) == classes


def test_breast_cancer_calls_malignant_zero():
    data = breast_cancer()
    assert data.classes[0] == "malignant" and int((data.labels == 0).sum()) == 212


def test_digits_are_ink_from_zero_to_one():
    data = digits()
    assert data.points.min() == 0 and data.points.max() == 1
    zero, one = data.points[data.labels == 0].mean(axis=0), data.points[data.labels == 1].mean(axis=0)
    middle = 3 * 8 + 3  # a zero is hollow there
    assert zero[middle] < 0.3 < one[middle]


@settings(deadline=None)
@given(samples=st.integers(2, 40), distinct=st.integers(2, 40), share=st.floats(0.3, 0.7), seed=st.integers(0, 99))
def test_split_keeps_every_sample_once_and_equal_rows_together(samples, distinct, share, seed):
    kinds = np.arange(samples) % distinct
    data = Dataset(np.stack([kinds, -kinds], axis=1).astype(float), np.arange(samples))
    parts = split(data, share, seed)
    together = np.concatenate([parts.train.labels, parts.test.labels])
    assert np.array_equal(np.sort(together), np.arange(samples))
    assert not set(parts.train.points[:, 0]) & set(parts.test.points[:, 0])
    for part in (parts.train, parts.test):  # each point still carries its own label
        assert np.array_equal(part.points[:, 0], part.labels % distinct)


def test_split_depends_on_its_seed_alone():
    first, again, other = split(iris(), seed=1), split(iris(), seed=1), split(iris(), seed=2)
    assert np.array_equal(first.test.points, again.test.points)
    assert not np.array_equal(first.test.points, other.test.points)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_split_refuses_shares_outside_zero_and_one(share):
    with pytest.raises(ValueError, match=r"test_share = .* is not between 0 and 1"):
        split(iris(), share)


def test_split_refuses_an_empty_part():
    with pytest.raises(ValueError, match=r"test_share = 0.1 leaves one part of 2 distinct samples empty"):
        split(Dataset(np.array([[0.0], [1.0], [1.0]]), np.array([0, 1, 1])), 0.1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardise_uses_the_training_part_alone(dtype):
    parts = split(breast_cancer())
    typed = Split(*(Dataset(part.points.astype(dtype), part.labels) for part in (parts.train, parts.test)))
    even = standardise(typed)
    assert even.train.points.dtype == even.test.points.dtype == dtype
    assert np.allclose(even.train.points.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(even.train.points.std(axis=0), 1, atol=1e-4)

    changed = Split(typed.train, Dataset(typed.test.points * 100, typed.test.labels))
    assert np.array_equal(standardise(changed).train.points, even.train.points)
    oracle = StandardScaler().fit(parts.train.points)
    assert np.allclose(even.test.points, oracle.transform(parts.test.points), rtol=1e-3, atol=1e-3)


def test_standardise_only_shifts_what_never_varies():
    constant = Dataset(np.array([[5.0], [5.0]]), np.array([0, 1]))
    other = Dataset(np.array([[7.0]]), np.array([0]))
    even = standardise(Split(constant, other))
    assert np.array_equal(even.train.points, [[0.0], [0.0]]) and np.array_equal(even.test.points, [[2.0]])
