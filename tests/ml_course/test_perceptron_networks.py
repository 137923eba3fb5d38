"""The perceptron chapter's softmax regression and networks against torch, finite differences and each other."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import perceptron, tensors
from ml_course.data import digits, split

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
seeds = st.integers(0, 10_000)


def slopes(function, at, step=1e-6):
    """Central differences of a number-valued function by every entry of an array."""
    result = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[place] = step
        result[place] = (function(at + shift) - function(at - shift)) / (2 * step)
    return result


# Softmax regression.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_equals_torch(dtype):
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(20, 5)) * 10 ** rng.uniform(0, 4, size=(20, 1))).astype(dtype)
    result = perceptron.softmax(logits)
    assert result.dtype == dtype
    assert np.allclose(result, torch.tensor(logits).softmax(-1), rtol=1e-5)
    assert np.allclose(perceptron.softmax(logits[3]), result[3]) and np.allclose(perceptron.softmax(logits + 7), result)


@settings(deadline=None)
@given(seed=seeds, samples=st.integers(1, 7), features=st.integers(1, 4), classes=st.integers(1, 5))
def test_softmax_regression_gradient_equals_torch(seed, samples, features, classes):
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(samples, features)), rng.integers(0, classes, size=samples)
    weights, bias = rng.normal(size=(classes, features)), rng.normal(size=classes)
    w, b = torch.tensor(weights, requires_grad=True), torch.tensor(bias, requires_grad=True)
    F.cross_entropy(F.linear(torch.tensor(points), w, b), torch.tensor(labels)).backward()
    by_weights, by_bias = perceptron.softmax_regression_gradient(weights, bias, points, labels)
    assert np.allclose(by_weights, w.grad) and np.allclose(by_bias, b.grad)


@pytest.mark.parametrize("labels", [np.array([0, 3]), np.array([-1, 0])])
def test_labels_beyond_the_classes_are_refused(labels):
    points = np.zeros((2, 2))
    for call in (
        lambda: perceptron.softmax_regression_gradient(np.zeros((3, 2)), np.zeros(3), points, labels),
        lambda: perceptron.MLP((2, 3)).fit(points, labels),
    ):
        with pytest.raises(ValueError, match=r"labels run from .* expected 0 to 2"):
            call()


# The fully connected network.


@pytest.mark.parametrize("activation", perceptron.ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(4, 3), (4, 5, 3), (4, 6, 5, 3)])
def test_gradients_equal_finite_differences(sizes, activation):
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(7, 4)), rng.integers(0, 3, size=7)
    network = perceptron.MLP(sizes, activation, seed=1)
    network.biases = [rng.normal(size=bias.shape) for bias in network.biases]
    by_weights, by_biases = network.gradients(points, labels)
    for arrays, gradients in ((network.weights, by_weights), (network.biases, by_biases)):
        for layer in range(len(arrays)):
            kept = arrays[layer]

            def loss(value, arrays=arrays, layer=layer):
                arrays[layer] = value
                return tensors.cross_entropy(network.logits(points), labels)

            assert np.allclose(gradients[layer], slopes(loss, kept), rtol=1e-4, atol=1e-8)
            arrays[layer] = kept


def test_without_hidden_layer_it_is_softmax_regression():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(7, 4)), rng.integers(0, 3, size=7)
    network = perceptron.MLP((4, 3))
    (by_weights,), (by_bias,) = network.gradients(points, labels)
    wanted = perceptron.softmax_regression_gradient(network.weights[0], network.biases[0], points, labels)
    assert np.allclose(by_weights, wanted[0]) and np.allclose(by_bias, wanted[1])


@pytest.mark.parametrize("activation", perceptron.ACTIVATIONS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_and_torch_learn_the_same_weights(activation, dtype, device):
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(50, 4)).astype(dtype), rng.integers(0, 3, size=50)
    network = perceptron.MLP((4, 6, 3), activation, seed=1, dtype=dtype)
    twin = perceptron.to_torch(network).to(device)
    there = torch.from_numpy(points).to(device), torch.from_numpy(labels).to(device)
    history = perceptron.fit_torch(twin, *there, learning_rate=0.3, epochs=4, batch_size=16, seed=5)
    network.fit(points, labels, learning_rate=0.3, epochs=4, batch_size=16, seed=5)
    close = {"rtol": 1e-9, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-5}
    assert len(history) == 5 and np.allclose(history, network.history, **close)
    assert history[-1] < history[0]
    back = perceptron.to_numpy(twin)
    assert back.sizes == network.sizes and back.activation == activation
    for ours, theirs in zip(network.weights + network.biases, back.weights + back.biases, strict=True):
        assert ours.dtype == theirs.dtype == dtype and np.allclose(ours, theirs, **close)


def test_conversions_copy():
    network = perceptron.MLP((2, 3, 2))
    twin = perceptron.to_torch(network)
    before = network.weights[0].copy()
    with torch.no_grad():
        twin.layers[0].weight.zero_()
    assert np.array_equal(network.weights[0], before)
    back = perceptron.to_numpy(twin)
    back.weights[0] += 1
    assert not twin.layers[0].weight.any()


def test_torch_network_runs_in_bfloat16(device):
    network = perceptron.TorchMLP((4, 6, 3)).to(device, torch.bfloat16)
    points = torch.randn(5, 4, device=device, dtype=torch.bfloat16)
    assert network(points).dtype == torch.bfloat16 and network(points).device.type == device.type


def test_batches_hold_every_sample_once_in_a_new_order_each_epoch():
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(perceptron.mlp.batches(23, 5, rng))) for _ in range(2))
    assert np.array_equal(np.sort(first), np.arange(23)) and np.array_equal(np.sort(second), np.arange(23))
    assert not np.array_equal(first, second)


def test_a_hidden_layer_solves_xor():
    # Ten networks of eight neurons: a hidden ReLU layer may begin unluckily, but hardly ever does at this size.
    labels = np.array([0, 1, 1, 0])
    solved = [
        np.array_equal(perceptron.MLP((2, 8, 2), seed=seed).fit(CORNERS, labels, 0.5, 200).predict(CORNERS), labels)
        for seed in range(10)
    ]
    assert sum(solved) >= 9
    assert all(
        not np.array_equal(perceptron.MLP((2, 2), seed=seed).fit(CORNERS, labels, 0.5, 200).predict(CORNERS), labels)
        for seed in range(10)
    )


def test_network_reads_digits():
    parts = split(digits())
    network = perceptron.MLP((64, 32, 10)).fit(parts.train.points, parts.train.labels, epochs=30)
    assert (network.predict(parts.test.points) == parts.test.labels).mean() > 0.95
    chances = network.predict_proba(parts.test.points)
    assert np.allclose(chances.sum(axis=1), 1)
    assert np.array_equal(chances.argmax(axis=1), network.predict(parts.test.points))


def test_counts_and_first_weights():
    network = perceptron.MLP((64, 32, 10), seed=3)
    assert network.parameter_count == 64 * 32 + 32 + 32 * 10 + 10
    assert network.parameter_count == sum(p.numel() for p in perceptron.to_torch(network).parameters())
    assert np.isclose(network.weights[0].std(), np.sqrt(2 / 64), rtol=0.1) and not network.biases[0].any()


@pytest.mark.parametrize("build", [perceptron.MLP, perceptron.TorchMLP])
def test_networks_name_what_is_wrong(build):
    with pytest.raises(ValueError, match=r"sizes = \(4,\) has 1 entries"):
        build((4,))
    with pytest.raises(ValueError, match="activation = 'step', expected one of sigmoid, tanh"):
        build((4, 2), "step")
