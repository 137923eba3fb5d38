"""The perceptron chapter's activations and single neurons against torch, scikit-learn and plain loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn.linear_model import Perceptron as SklearnPerceptron

from ml_course import perceptron
from ml_course.data import iris

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
seeds = st.integers(0, 10_000)


def separable(seed, samples=40, features=3, gap=0.1):
    """Points at least `gap` away from a random plane, labelled by their side; and that plane, of unit length."""
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=features + 1)
    plane /= np.linalg.norm(plane)
    points = rng.normal(size=(20 * samples, features))
    sums = points @ plane[:-1] + plane[-1]
    chosen = np.flatnonzero(np.abs(sums) >= gap)[:samples]
    return points[chosen], np.where(sums[chosen] > 0, 1, -1), plane[:-1], float(plane[-1])


# Activations.

TORCH = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "leaky_relu": F.leaky_relu}


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_and_derivatives_equal_torch(name, dtype):
    function, derivative = perceptron.ACTIVATIONS[name]
    z = np.concatenate([[0.0, -700.0, 700.0, -1e-8], np.random.default_rng(0).normal(scale=3, size=50)]).astype(dtype)
    x = torch.tensor(z, requires_grad=True)
    y = TORCH[name](x)
    y.sum().backward()
    close = {"rtol": 1e-5 if dtype == np.float32 else 1e-10, "atol": 1e-6 if dtype == np.float32 else 1e-15}
    assert np.allclose(function(z), y.detach(), **close)
    assert np.allclose(derivative(z), x.grad, **close)
    assert function(z).dtype == derivative(z).dtype == dtype


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_leaky_relu_takes_its_slope(slope):
    z = np.array([-2.0, 0.0, 3.0])
    assert np.allclose(perceptron.leaky_relu(z, slope), np.maximum(slope * z, z))
    assert np.allclose(perceptron.leaky_relu_derivative(z, slope), [slope, slope, 1])


def test_sigmoid_neither_overflows_nor_loses_small_numbers():
    z = np.array([-1000.0, -700.0, -40.0, 40.0, 1000.0])
    with np.errstate(over="raise"):
        assert np.allclose(perceptron.sigmoid(z), special.expit(z), rtol=1e-12, atol=0)
        assert np.array_equal(perceptron.sigmoid_derivative(z), perceptron.sigmoid_derivative(-z))
        assert perceptron.sigmoid_derivative(np.array([40.0])) > 0  # 1 − σ(40) would be rounded to zero


# The threshold neuron and Rosenblatt's rule.


def test_neuron_answers_plus_one_on_its_boundary():
    points = np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    assert perceptron.neuron_output(points, np.array([1.0, -1.0]), 0.0).tolist() == [-1, 1, 1]


@settings(deadline=None)
@given(seed=seeds, label=st.sampled_from([-1, 1]))
def test_a_step_moves_the_sum_towards_the_label_or_nothing(seed, label):
    rng = np.random.default_rng(seed)
    weights, bias, point = rng.normal(size=4), float(rng.normal()), rng.normal(size=4)
    kept = weights.copy(), point.copy()
    new_weights, new_bias = perceptron.learning_step(weights, bias, point, label)
    right = label * (weights @ point + bias) > 0
    gained = label * (new_weights @ point + new_bias - weights @ point - bias)
    assert np.isclose(gained, 0 if right else point @ point + 1)
    assert np.array_equal(weights, kept[0]) and np.array_equal(point, kept[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(5))
def test_fit_equals_the_rule_point_by_point(seed, dtype):
    points, labels, *_ = separable(seed)
    points = points.astype(dtype)
    weights, bias, history = np.zeros(3, dtype), 0.0, []
    while not history or history[-1] > 0:
        history.append(0)
        for x, y in zip(points, labels, strict=True):
            if (1 if weights @ x + bias >= 0 else -1) != y:
                weights, bias, history[-1] = weights + y * x, bias + y, history[-1] + 1
    neuron = perceptron.Perceptron().fit(points, labels)
    assert np.allclose(neuron.weights, weights, rtol=1e-5) and neuron.bias == bias
    assert neuron.weights.dtype == dtype
    assert neuron.history == history and neuron.mistakes == sum(history) > 0


def test_fit_equals_scikit_learn():
    # scikit-learn also steps where the sum is exactly zero. If the first label is -1 the first step is the same.
    points, labels, *_ = separable(3, samples=60, gap=0.2)
    order = np.argsort(labels, kind="stable")
    points, labels = points[order], labels[order]
    theirs = SklearnPerceptron(shuffle=False, max_iter=10_000, tol=None, n_iter_no_change=10_000).fit(points, labels)
    ours = perceptron.Perceptron().fit(points, labels)
    assert np.allclose(ours.weights, theirs.coef_[0]) and np.isclose(ours.bias, theirs.intercept_[0])
    assert np.allclose(ours.decision_function(points), theirs.decision_function(points))
    assert np.array_equal(ours.predict(points), theirs.predict(points))


@settings(max_examples=50, deadline=None)
@given(seed=seeds, features=st.integers(1, 6), gap=st.floats(0.05, 0.5))
def test_mistakes_never_exceed_the_bound(seed, features, gap):
    points, labels, weights, bias = separable(seed, features=features, gap=gap)
    neuron = perceptron.Perceptron().fit(points, labels)
    bound = perceptron.mistake_bound(points, labels, weights, bias)
    longest = max(np.linalg.norm(np.append(point, 1.0)) for point in points)
    gap = min(y * np.append(x, 1.0) @ np.append(weights, bias) for x, y in zip(points, labels, strict=True))
    assert np.isclose(bound, (longest / gap) ** 2)
    assert neuron.mistakes <= bound and np.array_equal(neuron.predict(points), labels)
    assert np.isclose(perceptron.mistake_bound(points, labels, 7 * weights, 7 * bias), bound)  # a plane has no length


def test_fit_gives_up_on_xor_and_starts_afresh():
    neuron = perceptron.Perceptron(max_passes=9).fit(CORNERS, np.array([-1, 1, 1, -1]))
    assert len(neuron.history) == 9 and min(neuron.history) > 0
    assert neuron.fit(CORNERS, np.array([-1, -1, -1, 1])).history == [1, 0]


def test_iris_setosa_is_learned_without_error():
    data = iris()
    labels = np.where(data.labels == 0, 1, -1)
    neuron = perceptron.Perceptron().fit(data.points, labels)
    assert neuron.history[-1] == 0 and np.array_equal(neuron.predict(data.points), labels)


def test_margin_is_negative_where_a_point_is_on_the_wrong_side():
    weights = np.array([3.0, 0.0])
    assert np.isclose(perceptron.margin(CORNERS, np.array([-1, -1, 1, 1]), weights, 4.0), (-3 + 4) / -5)
    with pytest.raises(ValueError, match=r"margin -0.2, expected a separating pair"):
        perceptron.mistake_bound(CORNERS, np.array([-1, -1, 1, 1]), weights, 4.0)
    with pytest.raises(ValueError, match=r"margin 0, expected"):  # on the boundary proves nothing either
        perceptron.mistake_bound(CORNERS[3:], np.array([1]), np.array([1.0, -1.0]), 0.0)


@pytest.mark.parametrize("model", [perceptron.Perceptron(), perceptron.LogisticNeuron()])
def test_labels_of_zero_and_one_are_refused(model):
    with pytest.raises(ValueError, match=r"labels has the values \[0, 1\], expected only -1 and 1"):
        model.fit(CORNERS, np.array([0, 0, 0, 1]))


def test_max_passes_is_checked():
    with pytest.raises(ValueError, match="max_passes = 0 is not at least 1"):
        perceptron.Perceptron(max_passes=0)


# The logistic neuron.


@settings(deadline=None)
@given(seed=seeds)
def test_logistic_loss_and_gradient_equal_torch(seed):
    points, labels, *_ = separable(seed)
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=3), float(rng.normal())
    w, b = torch.tensor(weights, requires_grad=True), torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(torch.tensor(points) @ w + b, torch.tensor((labels + 1) / 2))
    loss.backward()
    by_weights, by_bias = perceptron.logistic_gradient(points, labels, weights, bias)
    assert np.isclose(perceptron.logistic_loss(points, labels, weights, bias), loss.item())
    assert np.allclose(by_weights, w.grad) and np.isclose(by_bias, b.grad)


def test_logistic_neuron_goes_down_to_where_the_slope_is_zero():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2))
    labels = np.where(points @ [1.0, -2.0] + 0.5 + rng.logistic(size=200) > 0, 1, -1)  # no plane separates these
    neuron = perceptron.LogisticNeuron(learning_rate=1.0, steps=2000).fit(points, labels)
    by_weights, by_bias = perceptron.logistic_gradient(points, labels, neuron.weights, neuron.bias)
    assert np.abs(by_weights).max() < 1e-6 and abs(by_bias) < 1e-6
    assert len(neuron.history) == 2000 and np.isclose(neuron.history[0], np.log(2))
    assert all(later <= before + 1e-12 for before, later in zip(neuron.history, neuron.history[1:], strict=False))
    chances = neuron.predict_proba(points)
    assert np.array_equal(neuron.predict(points), np.where(chances >= 0.5, 1, -1))
    assert np.isclose(chances.mean(), (labels == 1).mean())  # the bias's slope is zero: as many +1 as were seen


def test_shapes_are_checked():
    with pytest.raises(Exception, match="features"):
        perceptron.neuron_output(np.zeros((3, 2)), np.zeros(3), 0.0)
