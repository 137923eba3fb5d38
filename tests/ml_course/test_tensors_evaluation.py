"""Splits, shares and intervals against scikit-learn, SciPy, brute force, and coverage counted out."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from ml_course import tensors

seeds = st.integers(0, 10_000)


@pytest.mark.filterwarnings("ignore:A single label")  # scikit-learn's; we pass all labels
@settings(deadline=None)
@given(seed=seeds, samples=st.integers(1, 40), classes=st.integers(1, 5))
def test_counts_and_shares_are_scikit_learns(seed, samples, classes):
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, size=(2, samples))
    all_classes = {"labels": np.arange(classes)}
    assert np.array_equal(
        tensors.confusion(labels, predicted, classes), metrics.confusion_matrix(labels, predicted, **all_classes)
    )
    assert tensors.accuracy(labels, predicted) == pytest.approx(metrics.accuracy_score(labels, predicted))
    theirs = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0, **all_classes)
    ours = (f(labels, predicted, classes) for f in (tensors.precision, tensors.recall, tensors.f1_score))
    for found, wanted in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(found, wanted)


def test_counting_takes_small_integers():
    labels = np.array([15, 3], dtype=np.int8)  # 16 · 15 + 3 is more than int8 holds
    assert tensors.confusion(labels, labels, 16)[15, 15] == 1


@pytest.mark.parametrize("wrong", [-1, 3])
def test_labels_outside_the_classes_are_refused(wrong):
    right, strange = np.array([0, 1]), np.array([0, wrong])
    with pytest.raises(ValueError, match=rf"labels holds {wrong}, expected numbers from 0 to 2"):
        tensors.confusion(strange, right, 3)
    with pytest.raises(ValueError, match=rf"predicted holds {wrong}"):
        tensors.precision(right, strange, 3)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="labels has no samples"):
        tensors.accuracy(np.zeros(0, dtype=int), np.zeros(0, dtype=int))


# Intervals.


@settings(deadline=None)
@given(samples=st.integers(1, 500), share=st.floats(0, 1), level=st.floats(0.5, 0.999))
def test_wilson_is_scipys(samples, share, level):
    right = round(share * samples)
    theirs = stats.binomtest(right, samples).proportion_ci(level, method="wilson")
    assert tensors.wilson_interval(right, samples, level) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilsons_ends_are_where_the_result_is_just_two_deviations_away():
    for end in tensors.wilson_interval(17, 40):
        assert abs(17 / 40 - end) == pytest.approx(stats.norm.ppf(0.975) * math.sqrt(end * (1 - end) / 40))


@pytest.mark.parametrize(("right", "samples"), [(-1, 4), (5, 4), (0, 0)])
def test_wilson_refuses_impossible_counts(right, samples):
    with pytest.raises(ValueError, match=rf"right = {right} of samples = {samples}"):
        tensors.wilson_interval(right, samples)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_are_shares(level):
    with pytest.raises(ValueError, match=rf"level = {level} is not between 0 and 1"):
        tensors.wilson_interval(1, 2, level)
    with pytest.raises(ValueError, match=rf"level = {level} is not between 0 and 1"):
        tensors.bootstrap_interval(np.ones(3), level=level)


def test_bootstrap_is_near_the_interval_over_every_possible_resample():
    sample = np.array([1.0, 2.0, 4.0, 9.0, 20.0])
    means = [np.mean(drawn) for drawn in product(sample, repeat=5)]  # all 3,125 of them
    low, high = np.quantile(means, [0.05, 0.95])
    assert tensors.bootstrap_interval(sample, level=0.9, resamples=20_000) == pytest.approx((low, high), abs=0.25)


def test_bootstrap_takes_any_statistic_of_rows_and_agrees_with_scipy():
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    rows = np.stack([x, 0.5 * x + rng.normal(size=60)], axis=1)

    def correlation(rows):
        return np.corrcoef(rows.T)[0, 1]

    ours = tensors.bootstrap_interval(rows, correlation)
    theirs = stats.bootstrap(
        tuple(rows.T), lambda a, b: np.corrcoef(a, b)[0, 1], paired=True, vectorized=False, n_resamples=2000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_bootstrap_depends_on_its_seed_alone():
    sample = np.random.default_rng(0).normal(size=30)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    first = tensors.bootstrap_interval(sample, resamples=50, seed=1)
    assert first == tensors.bootstrap_interval(sample, resamples=50, seed=1)
    assert first != tensors.bootstrap_interval(sample, resamples=50, seed=2)
    assert np.array_equal(np.random.get_state()[1], before)


def test_bootstrap_shrinks_with_the_root_of_the_sample():
    rng = np.random.default_rng(0)
    widths = [np.diff(tensors.bootstrap_interval(rng.normal(size=n), resamples=1000))[0] for n in (100, 1600)]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.3)
    assert widths[1] == pytest.approx(2 * 1.96 / 40, rel=0.15)


def test_bootstrap_refuses_nothing():
    with pytest.raises(ValueError, match="sample is empty"):
        tensors.bootstrap_interval(np.zeros(0))
    with pytest.raises(ValueError, match="resamples = 0 is not at least 1"):
        tensors.bootstrap_interval(np.ones(3), resamples=0)


# Splits.


@settings(deadline=None)
@given(seed=seeds, groups=st.integers(6, 30), samples=st.integers(0, 60))
def test_grouped_split_deals_out_every_row_once_and_no_group_twice(seed, groups, samples):
    rng = np.random.default_rng(seed)
    member = rng.permutation(np.concatenate([np.arange(groups), rng.integers(0, groups, size=samples)]))
    parts = tensors.grouped_split(member, (0.5, 0.25, 0.25), seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(member)))
    assert all((np.diff(part) > 0).all() for part in parts)
    inside = [set(member[part]) for part in parts]
    assert sum(map(len, inside)) == groups
    for found, share in zip(inside, (0.5, 0.25, 0.25), strict=True):
        assert abs(len(found) - share * groups) <= 1


def test_grouped_split_takes_names_and_depends_on_its_seed_alone():
    names = np.array([f"patient {i % 12}" for i in range(50)])
    splits = [tensors.grouped_split(names, seed=seed) for seed in (1, 1, 2)]
    assert all(np.array_equal(one, again) for one, again in zip(splits[0], splits[1], strict=True))
    assert not np.array_equal(splits[0][2], splits[2][2])
    tested = {name for seed in range(60) for name in names[tensors.grouped_split(names, seed=seed)[2]]}
    assert len(tested) == 12  # every patient has a chance to be tested


@pytest.mark.parametrize("shares", [(0.5, 0.6), (1.2, -0.2), (1.0, 0.0), ()])
def test_grouped_split_refuses_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="expected positive numbers that sum to 1"):
        tensors.grouped_split(np.arange(10), shares)


def test_grouped_split_refuses_an_empty_part():
    with pytest.raises(ValueError, match="leave a part of 2 groups empty"):
        tensors.grouped_split(np.array([0, 0, 1]))
