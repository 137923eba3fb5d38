"""Arrays, derivatives and surprise against NumPy, SciPy, torch's autodiff and plain loops."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from scipy import special, stats
from scipy.spatial.distance import cdist

from ml_course import tensors

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
seeds = st.integers(0, 10_000)


# Shapes.


@given(mutually_broadcastable_shapes(num_shapes=3))
def test_broadcast_shape_is_numpys(drawn):
    assert tensors.broadcast_shape(*drawn.input_shapes) == np.broadcast_shapes(*drawn.input_shapes)


@given(st.lists(st.lists(st.integers(0, 3), max_size=4).map(tuple), max_size=4))
def test_broadcast_shape_refuses_what_numpy_refuses(shapes):
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError:
        with pytest.raises(ValueError, match="do not broadcast"):
            tensors.broadcast_shape(*shapes)
    else:
        assert tensors.broadcast_shape(*shapes) == expected


def test_broadcast_shape_names_axis_and_sizes():
    with pytest.raises(ValueError, match=r"shapes \(2, 5\) and \(3, 1\) do not broadcast: sizes 3 and 2 .* axis -2"):
        tensors.broadcast_shape((2, 5), (3, 1))


PATTERNS = [
    *("i->i", "i->", "ij->ji", "ij->j", "ii->i", "ii->", "ij,j->i", "ij,jk->ik", "i,j->ij", "ij,ij->"),
    *("bij,bjk->bik", "bqhd,bkhd->bhqk", "ij,kj,lj->ikl", "ij,k->"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
@dtypes
def test_einsum_by_loops_is_einsum(pattern, dtype):
    rng = np.random.default_rng(0)
    sizes = dict(zip("ijklbqhd", (2, 3, 4, 2, 2, 3, 2, 4), strict=True))
    terms = pattern.split("->")[0].split(",")
    inputs = [rng.normal(size=[sizes[letter] for letter in term]).astype(dtype) for term in terms]
    ours = tensors.einsum_loops(pattern, *inputs)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, np.einsum(pattern, *inputs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("pattern", "shapes", "told"),
    [
        ("ij,jk", [(2, 3), (3, 2)], "no arrow"),
        ("ij,jk->ik", [(2, 3)], "describes 2 arrays, but 1 came"),
        ("ij->i", [(2,)], r"names 2 axes of an array of shape \(2,\)"),
        ("ij,jk->ik", [(2, 3), (4, 2)], "letter 'j' has size 3 in one place and 4 in another"),
        ("ij->ik", [(2, 3)], r"keeps \['k'\], which no array has"),
    ],
)
def test_einsum_by_loops_explains_what_does_not_fit(pattern, shapes, told):
    with pytest.raises(ValueError, match=told):
        tensors.einsum_loops(pattern, *map(np.ones, shapes))


@dtypes
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_batched_matmul_both_ways_is_the_product_of_each_pair(batch, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(*batch, 4, 5)).astype(dtype), rng.normal(size=(*batch, 5, 2)).astype(dtype)
    for fused in (True, False):
        product = tensors.batched_matmul(a, b, fused=fused)
        assert product.shape == (*batch, 4, 2) and product.dtype == dtype
        for place in np.ndindex(*batch):
            np.testing.assert_allclose(product[place], a[place] @ b[place], rtol=1e-4, atol=1e-5)
    with pytest.raises(Exception, match="b"):
        tensors.batched_matmul(a, b[..., :4, :])


class NoProducts(np.ndarray):
    """An array that knows no `@`."""

    def __matmul__(self, other):
        raise AssertionError("@ was used")


def test_the_product_is_spelled_out_only_when_asked():
    a = np.ones((2, 3, 4)).view(NoProducts)
    assert np.array_equal(tensors.batched_matmul(a, np.ones((2, 4, 1)), fused=False), np.full((2, 3, 1), 4.0))
    with pytest.raises(AssertionError, match="@ was used"):
        tensors.batched_matmul(a, np.ones((2, 4, 1)))


@dtypes
def test_squared_distances_are_scipys(dtype):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)).astype(dtype), rng.normal(size=(4, 3)).astype(dtype)
    for fast in (True, False):
        ours = tensors.squared_distances(a, b, fast=fast)
        assert ours.dtype == dtype and (ours >= 0).all()
        np.testing.assert_allclose(ours, cdist(a, b, "sqeuclidean"), rtol=1e-4, atol=1e-5)


def test_fast_distances_keep_their_digits_away_from_the_origin():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(4, 3))
    far = tensors.squared_distances(a + 1e6, b + 1e6, fast=True)
    np.testing.assert_allclose(far, cdist(a, b, "sqeuclidean"), rtol=1e-6)
    assert (tensors.squared_distances(a, a, fast=True) >= 0).all()  # rounding alone would leave some below


def test_only_fast_distances_lose_digits_far_from_the_mean():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(6, 3)) + 1e6, np.concatenate([rng.normal(size=(4, 3)) + 1e6, np.full((1, 3), -1e6)])
    expected = cdist(a, b, "sqeuclidean")
    np.testing.assert_allclose(tensors.squared_distances(a, b), expected, rtol=1e-12)
    assert not np.allclose(tensors.squared_distances(a, b, fast=True)[:, :4], expected[:, :4], rtol=1e-6)


# Derivatives.


def layer(x):
    """A small network: torch differentiates it, we measure it."""
    weight = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)
    return torch.tanh(weight @ x) * x.sum()


def measured(f):
    return lambda x: f(torch.from_numpy(np.ascontiguousarray(x))).numpy()


@settings(deadline=None)
@given(arrays(np.float64, 3, elements=st.floats(-3, 3)), arrays(np.float64, 3, elements=st.floats(-3, 3)))
def test_jacobian_and_its_products_are_torchs(x, direction):
    ours, theirs = tensors.jacobian(measured(layer), x), torch.autograd.functional.jacobian(layer, torch.from_numpy(x))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-8)
    along = tensors.jacobian_vector_product(measured(layer), x, direction)
    np.testing.assert_allclose(along, theirs.numpy() @ direction, rtol=1e-7, atol=1e-7)


def test_jacobian_of_a_number_is_the_gradient_and_keeps_the_inputs_shape():
    x = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(tensors.jacobian(lambda x: float((x**3).sum()), x), 3 * x**2, rtol=1e-7, atol=1e-9)
    outer = tensors.jacobian(lambda x: x.T @ x, x)
    assert outer.shape == (3, 3, 2, 3)
    theirs = torch.autograd.functional.jacobian(lambda x: x.T @ x, torch.from_numpy(x))
    np.testing.assert_allclose(outer, theirs, rtol=1e-7, atol=1e-8)
    assert tensors.jacobian(lambda x: np.zeros(4), np.zeros(0)).shape == (4, 0)


def test_jacobian_works_for_large_inputs_and_float32_and_leaves_x_alone():
    x = np.array([1e6, -3e7])
    np.testing.assert_allclose(tensors.jacobian(lambda x: x**2, x), np.diag(2 * x), rtol=1e-8, atol=1e-2)
    single = np.array([0.5, 2.0], dtype=np.float32)
    kept = single.copy()
    np.testing.assert_allclose(tensors.jacobian(np.sin, single), np.diag(np.cos(single.astype(float))), atol=1e-9)
    assert np.array_equal(single, kept)


def test_products_with_the_jacobian_are_computed_in_float64_and_take_nothing_for_an_input():
    single = np.array([0.5, 2.0], dtype=np.float32)
    along = tensors.jacobian_vector_product(np.sin, single, np.array([1.0, -3.0], dtype=np.float32))
    np.testing.assert_allclose(along, np.cos([0.5, 2.0]) * [1, -3], atol=1e-9)
    assert tensors.jacobian_vector_product(lambda x: np.ones(2), np.zeros(0), np.zeros(0)).tolist() == [0, 0]


def test_an_own_step_is_used_and_checked():
    # The central difference of x³ at 1 with step h is exactly 3 + h².
    assert tensors.jacobian(lambda x: x**3, np.array([1.0]), step=0.1)[0, 0] == pytest.approx(3.01)
    for call in (tensors.jacobian, lambda *a, **k: tensors.jacobian_vector_product(*a, np.ones(1), **k)):
        with pytest.raises(ValueError, match=r"step = 0\.0 is not above zero"):
            call(lambda x: x, np.ones(1), step=0.0)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_the_chain_rule_is_a_product_of_jacobians(seed):
    rng = np.random.default_rng(seed)
    first, second, x = rng.normal(size=(4, 3)), rng.normal(size=(2, 4)), rng.normal(size=3)

    def inner(x):
        return np.tanh(first @ x)

    def outer(y):
        return np.exp(second @ y / 3)

    whole = tensors.jacobian(lambda x: outer(inner(x)), x)
    pieces = tensors.jacobian(outer, inner(x)) @ tensors.jacobian(inner, x)
    np.testing.assert_allclose(whole, pieces, rtol=1e-6, atol=1e-7)


# Surprise.


@dtypes
@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_log_sum_exp_is_scipys(axis, dtype):
    x = np.random.default_rng(0).normal(scale=30, size=(3, 4, 5)).astype(dtype)
    ours = tensors.log_sum_exp(x, axis)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, special.logsumexp(x, axis=axis), rtol=1e-5)


def test_log_sum_exp_at_the_ends_of_the_number_line():
    inf = np.inf
    x = np.array([[1e300, 0.0], [-1e300, -1e300], [-inf, 3.0], [-inf, -inf], [inf, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        assert tensors.log_sum_exp(x).tolist() == [1e300, -1e300, 3.0, -inf, inf]
    with pytest.raises(ValueError, match=r"x has shape \(2, 0\): nothing to sum along axis -1"):
        tensors.log_sum_exp(np.ones((2, 0)))


@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(-500, 500)), st.floats(-1e5, 1e5))
def test_log_sum_exp_moves_with_a_shift_and_is_near_the_maximum(x, shift):
    total = tensors.log_sum_exp(x)
    assert x.max() <= total <= x.max() + math.log(len(x)) + 1e-9
    assert tensors.log_sum_exp(x + shift) == pytest.approx(total + shift, abs=1e-8)


@dtypes
@pytest.mark.parametrize("axis", [-1, 0])
def test_log_softmax_is_torchs(axis, dtype):
    logits = np.random.default_rng(0).normal(scale=100, size=(3, 4)).astype(dtype)
    ours = tensors.log_softmax(logits, axis)
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, F.log_softmax(torch.from_numpy(logits), axis), rtol=1e-5, atol=1e-5)


@dtypes
@settings(deadline=None)
@given(seed=seeds, scale=st.sampled_from([1.0, 3000.0]))
def test_cross_entropy_is_torchs(dtype, seed, scale):
    rng = np.random.default_rng(seed)
    logits, labels = (scale * rng.normal(size=(5, 4))).astype(dtype), rng.integers(0, 4, size=5)
    theirs = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    assert tensors.cross_entropy(logits, labels) == pytest.approx(theirs, rel=1e-5)


def test_cross_entropy_is_the_negative_log_likelihood_per_sample():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    likelihood = 0.25 * 0.8
    assert tensors.cross_entropy(np.log(probabilities), np.array([2, 1])) == pytest.approx(-math.log(likelihood) / 2)


def test_cross_entropy_refuses_strange_labels_and_nothing():
    with pytest.raises(ValueError, match="labels run from 0 to 3, expected 0 to 2"):
        tensors.cross_entropy(np.zeros((2, 3)), np.array([0, 3]))
    with pytest.raises(ValueError, match="labels run from -1 to 2"):
        tensors.cross_entropy(np.zeros((2, 3)), np.array([-1, 2]))
    with pytest.raises(ValueError, match="logits has no rows"):
        tensors.cross_entropy(np.zeros((0, 3)), np.zeros(0, dtype=int))


@given(arrays(np.float64, (3, 4), elements=st.floats(0, 1)), arrays(np.float64, (3, 4), elements=st.floats(0.01, 1)))
def test_entropy_and_divergence_are_scipys_and_make_up_cross_entropy(p, q):
    p = p + (p.sum(axis=1, keepdims=True) == 0)  # rows of zeros become uniform
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(tensors.entropy(p), stats.entropy(p, axis=1), atol=1e-12)
    np.testing.assert_allclose(tensors.kl_divergence(p, q), stats.entropy(p, q, axis=1), atol=1e-12)
    crossed = -(p * np.log(q)).sum(axis=1)
    np.testing.assert_allclose(tensors.entropy(p) + tensors.kl_divergence(p, q), crossed, rtol=1e-9)
    assert (tensors.kl_divergence(p, q) >= -1e-12).all()


def test_divergence_is_infinite_where_the_possible_is_called_impossible():
    assert tensors.kl_divergence(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf
    assert tensors.kl_divergence(np.array([1.0, 0.0]), np.array([0.5, 0.5])) == pytest.approx(math.log(2))


@dtypes
def test_impossible_classes_cost_nothing_and_raise_no_warning(dtype):
    sure, even = np.array([1, 0], dtype=dtype), np.array([0.5, 0.5], dtype=dtype)
    with np.errstate(all="raise"):
        assert tensors.entropy(sure) == 0 and tensors.kl_divergence(sure, sure) == 0
        assert tensors.entropy(even) == tensors.kl_divergence(sure, even) == pytest.approx(math.log(2))
        assert tensors.kl_divergence(even, sure) == np.inf
    assert tensors.entropy(even).dtype == tensors.kl_divergence(even, even).dtype == dtype


@pytest.mark.parametrize("wrong", [[0.5, 0.6], [1.5, -0.5]])
def test_what_is_no_distribution_is_refused(wrong):
    with pytest.raises(ValueError, match="p is no distribution"):
        tensors.entropy(np.array(wrong))
    with pytest.raises(ValueError, match="p is no distribution"):
        tensors.kl_divergence(np.array(wrong), np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="q is no distribution"):
        tensors.kl_divergence(np.array([0.5, 0.5]), np.array(wrong))
