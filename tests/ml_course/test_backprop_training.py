"""The backprop chapter's optimisers, layers and initialisations against torch and against what they promise."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ml_course import backprop, perceptron, training
from ml_course.backprop import MLP, SGD, Adam, AdamW, BatchNorm, Dropout, LayerNorm, Linear, RMSProp, Tensor
from ml_course.data import digits, split

OPTIMISERS = {
    "descent": (lambda p: SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "descent with decay": (
        lambda p: SGD(p, 0.1, weight_decay=0.2),
        lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.2),
    ),
    "momentum": (lambda p: SGD(p, 0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9)),
    "Nesterov": (
        lambda p: SGD(p, 0.1, 0.8, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, 0.8, nesterov=True, weight_decay=0.1),
    ),
    "RMSProp": (lambda p: RMSProp(p, 0.02, 0.9), lambda p: torch.optim.RMSprop(p, 0.02, 0.9)),
    "RMSProp, large eps": (
        lambda p: RMSProp(p, eps=0.3),
        lambda p: torch.optim.RMSprop(p, eps=0.3),
    ),
    "Adam": (lambda p: Adam(p, 0.05), lambda p: torch.optim.Adam(p, 0.05)),
    "Adam, other numbers": (
        lambda p: Adam(p, betas=(0.8, 0.9), eps=0.1, weight_decay=0.3),
        lambda p: torch.optim.Adam(p, betas=(0.8, 0.9), eps=0.1, weight_decay=0.3),
    ),
    "AdamW": (lambda p: AdamW(p, 0.05), lambda p: torch.optim.AdamW(p, 0.05)),
    "AdamW, much decay": (
        lambda p: AdamW(p, 0.05, weight_decay=0.5),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.5),
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_step_equals_torchs_on_both_kinds_of_tensors(name, dtype, device):
    rng = np.random.default_rng(0)
    start, target = [rng.normal(size=shape).astype(dtype) for shape in ((3, 2), (4,))], rng.normal()
    ours = [Tensor(array.copy(), requires_grad=True) for array in start]
    mixed, theirs = ([torch.tensor(array, device=device, requires_grad=True) for array in start] for _ in range(2))
    make, reference = OPTIMISERS[name]
    runs = [(make(ours), ours), (make(mixed), mixed), (reference(theirs), theirs)]
    tolerance = 1e-6 if dtype == np.float64 else 1e-4
    for step in range(8):
        for optimiser, tensors in runs:
            optimiser.zero_grad()
            loss = sum(((x * x - target) ** 2).sum() for x in (tensors if step != 3 else tensors[:1]))
            loss.backward()
            optimiser.step()
        for x, y, z in zip(ours, mixed, theirs, strict=True):
            wanted = z.detach().cpu().numpy()
            np.testing.assert_allclose(x.data, wanted, tolerance, tolerance * 1e-3)
            np.testing.assert_allclose(y.detach().cpu().numpy(), wanted, tolerance, tolerance * 1e-3)
            assert x.dtype == dtype and y.device.type == device.type
    assert not np.allclose(ours[1].data, start[1])


@pytest.mark.parametrize("make", [lambda p: SGD(p, 0.1), lambda p: Adam(p), lambda p: RMSProp(p)])
def test_parameters_without_gradient_stand_still_and_values_move_in_place(make):
    moving, still = Tensor([1.0], requires_grad=True), Tensor([1.0], requires_grad=True)
    held = moving.data
    (moving * 3).sum().backward()
    make([moving, still]).step()
    assert moving.data is held and held[0] != 1 and still.data[0] == 1


@given(st.floats(1e-6, 1e6), st.integers(1, 6))
def test_adams_first_step_has_length_eta_whatever_the_gradients_size(size, seed):
    x = Tensor(np.zeros(3), requires_grad=True)
    x.grad = size * np.random.default_rng(seed).choice([-1.0, 1.0], 3)
    Adam([x], 0.5, eps=1e-12).step()
    assert np.allclose(np.abs(x.data), 0.5, rtol=1e-4)


def test_decoupled_decay_shrinks_all_weights_alike_and_l2_does_not():
    shrunk = {}
    for kind in (Adam, AdamW):
        x = Tensor(np.array([1.0, 1.0]), requires_grad=True)
        optimiser = kind([x], 0.01, weight_decay=0.1)
        rng = np.random.default_rng(0)
        for _ in range(200):
            x.grad = rng.normal(size=2) * [10.0, 0.1]  # no direction, but a hundred times the noise in the first
            optimiser.step()
        without = Tensor(np.array([1.0, 1.0]), requires_grad=True)
        optimiser = Adam([without], 0.01)
        rng = np.random.default_rng(0)
        for _ in range(200):
            without.grad = rng.normal(size=2) * [10.0, 0.1]
            optimiser.step()
        shrunk[kind] = without.data - x.data
    assert np.ptp(shrunk[AdamW]) < 0.05 and np.ptp(shrunk[Adam]) > 0.3


@settings(deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.floats(0.01, 20), st.integers(0, 99))
def test_clipping_equals_torchs(sizes, limit, seed):
    rng = np.random.default_rng(seed)
    gradients = [rng.normal(size=(n, 2)) * 3 for n in sizes]

    def parameters():
        made = [torch.zeros(n, 2, dtype=torch.float64, requires_grad=True) for n in sizes]
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        return made

    ours = [Tensor(np.zeros((n, 2)), requires_grad=True) for n in sizes]
    for ours_clip, their_clip in (
        (backprop.clip_by_norm, nn.utils.clip_grad_norm_),
        (backprop.clip_by_value, nn.utils.clip_grad_value_),
    ):
        theirs, mixed = parameters(), parameters()
        for tensor, gradient in zip(ours, gradients, strict=True):
            tensor.grad = gradient.copy()
        told, on_torch, wanted = ours_clip(ours, limit), ours_clip(mixed, limit), their_clip(theirs, limit)
        if wanted is not None:
            assert math.isclose(told, wanted.item()) and math.isclose(on_torch, wanted.item())
        for x, y, z in zip(ours, mixed, theirs, strict=True):
            np.testing.assert_allclose(x.grad, z.grad.numpy(), 1e-5)  # torch adds 1e-6 to the norm it divides by
            np.testing.assert_allclose(y.grad.numpy(), z.grad.numpy(), 1e-5)


def test_clipping_passes_over_parameters_without_gradient():
    assert backprop.clip_by_norm([Tensor([1.0], requires_grad=True)], 1.0) == 0.0
    backprop.clip_by_value([Tensor([1.0], requires_grad=True)], 1.0)


X = [Tensor([1.0], requires_grad=True)]


@pytest.mark.parametrize(
    "call, complaint",
    [
        (lambda: SGD([], 0.1), "parameters is empty"),
        (lambda: SGD(X, -0.1), "learning_rate = -0.1, expected 0 or more"),
        (lambda: SGD(X, math.nan), "learning_rate = nan"),
        (lambda: SGD(X, 0.1, 1.0), "momentum = 1.0, expected from 0 up to, not including, 1"),
        (lambda: SGD(X, 0.1, nesterov=True), "nesterov = True .* expected momentum > 0"),
        (lambda: RMSProp(X, decay=-0.5), "decay = -0.5"),
        (lambda: Adam(X, betas=(0.9, 1.0)), "betas = 1.0"),
        (lambda: backprop.clip_by_norm(X, 0.0), "limit = 0.0, expected a positive number"),
        (lambda: backprop.clip_by_value(X, -1.0), "limit = -1.0, expected a positive number"),
        (lambda: Dropout(1.0, np.random.default_rng(0)), "share = 1.0"),
        (lambda: MLP((3,)), r"sizes = \(3,\) has 1 entries"),
        (lambda: MLP((3, 2), "swish"), "activation = 'swish', expected one of relu, tanh, sigmoid"),
        (lambda: BatchNorm(3)(Tensor(np.ones((1, 3)))), r"x has shape \(1, 3\), expected at least two rows"),
        (
            lambda: LayerNorm(2).load_state_dict({}),
            r"differs in the names \['scale', 'shift'\]",
        ),
        (
            lambda: LayerNorm(2).load_state_dict({"scale": np.ones(3), "shift": np.ones(2)}),
            r"scale has shape \(3,\), expected \(2,\)",
        ),
    ],
)
def test_errors_name_what_came_and_what_was_expected(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()


# Layers.


def same_pass(ours, theirs, x, dtype):
    """Both layers on the same numbers: equal values, and equal gradients by the input and every parameter."""
    mine, other = Tensor(x.astype(dtype), requires_grad=True), torch.tensor(x.astype(dtype), requires_grad=True)
    result, wanted = ours(mine), theirs(other)
    tolerance = {"rtol": 1e-6, "atol": 1e-9} if dtype == np.float64 else {"rtol": 1e-3, "atol": 1e-5}
    assert result.dtype == dtype
    np.testing.assert_allclose(result.data, wanted.detach().numpy(), **tolerance)
    if not result.requires_grad:
        return
    weights = np.linspace(-1, 2, result.size, dtype=dtype).reshape(result.shape)
    result.backward(weights)
    wanted.backward(torch.from_numpy(weights))
    np.testing.assert_allclose(mine.grad, other.grad.numpy(), **tolerance)
    for tensor, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(tensor.grad, twin.grad.numpy(), **tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(5, 3), (3,), (2, 4, 3)])
def test_linear_equals_torchs(shape, dtype):
    ours, theirs = (
        Linear(3, 2, np.random.default_rng(0), dtype=dtype),
        nn.Linear(3, 2).to(torch.from_numpy(np.zeros(0, dtype)).dtype),
    )
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
    same_pass(ours, theirs, np.random.default_rng(1).normal(size=shape), dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (3,)])
def test_layer_norm_equals_torchs(shape, dtype):
    ours, theirs = LayerNorm(3, dtype=dtype), nn.LayerNorm(3, dtype=torch.from_numpy(np.zeros(0, dtype)).dtype)
    rng = np.random.default_rng(0)
    for tensor, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        tensor.data[...] = rng.normal(size=3)
        twin.data.copy_(torch.from_numpy(tensor.data))
    same_pass(ours, theirs, 7 + 3 * rng.normal(size=shape), dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_batch_norm_equals_torchs_in_training_and_after(dtype):
    ours = BatchNorm(3, momentum=0.3, dtype=dtype)
    theirs = nn.BatchNorm1d(3, momentum=0.3, dtype=torch.from_numpy(np.zeros(0, dtype)).dtype)
    rng = np.random.default_rng(0)
    for tensor, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        tensor.data[...] = rng.normal(size=3)
        twin.data.copy_(torch.from_numpy(tensor.data))
    for rows in (5, 2, 9):
        same_pass(ours, theirs, 7 + 3 * rng.normal(size=(rows, 3)), dtype)
        np.testing.assert_allclose(ours.mean, theirs.running_mean.numpy(), 1e-5)
        np.testing.assert_allclose(ours.variance, theirs.running_var.numpy(), 1e-5)
        for parameter in (*ours.parameters(), *theirs.parameters()):
            parameter.grad = None
    before = ours.mean.copy()
    same_pass(ours.eval(), theirs.eval(), 7 + 3 * rng.normal(size=(1, 3)), dtype)
    assert np.array_equal(ours.mean, before)


def test_batch_norm_averages_over_all_axes_but_the_last():
    ours, x = BatchNorm(3), np.random.default_rng(0).normal(size=(4, 5, 3))
    wanted = F.batch_norm(torch.from_numpy(x.reshape(20, 3)), None, None, training=True)
    np.testing.assert_allclose(ours(Tensor(x)).data.reshape(20, 3), wanted.numpy(), 1e-6, 1e-9)


def test_dropout_keeps_the_mean_drops_its_share_and_is_gone_in_evaluation():
    layer, x = Dropout(0.3, np.random.default_rng(0)), Tensor(np.ones((200, 500), np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == np.float32
    assert abs((y.data == 0).mean() - 0.3) < 0.01 and abs(y.data.mean() - 1) < 0.01
    assert np.allclose(y.data[y.data > 0], 1 / 0.7)
    assert not np.array_equal(layer(x).data, y.data)  # another draw each time
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)  # what was dropped gets no gradient, what was scaled a scaled one
    assert layer.eval()(x) is x and layer.train()(x) is not x
    assert Dropout(0.0, np.random.default_rng(0))(x) is x


@pytest.mark.parametrize("normalise", [None, BatchNorm, LayerNorm])
def test_a_network_finds_its_parameters_and_its_modes(normalise):
    network = MLP((4, 5, 6, 3), normalise=normalise, dropout=0.5, seed=3)
    extra = 0 if normalise is None else 2 * (5 + 6)
    assert sum(p.size for p in network.parameters()) == 5 * 5 + 6 * 6 + 7 * 3 + extra
    assert len({id(p) for p in network.parameters()}) == len(network.parameters())
    x = Tensor(np.random.default_rng(0).normal(size=(7, 4)))
    assert not np.array_equal(network(x).data, network(x).data)
    network.eval()
    assert np.array_equal(network(x).data, network(x).data)
    assert not network.dropout.training and all(not norm.training for norm in network.norms)
    assert network.train() is network and network.dropout.training


def test_state_goes_from_one_network_to_another_averages_included():
    first, second = (MLP((4, 5, 3), normalise=BatchNorm, seed=seed) for seed in (0, 1))
    x = Tensor(np.random.default_rng(0).normal(size=(7, 4)))
    first(x)
    assert "norms.0.mean" in first.state_dict() and "layers.1.weight" in first.state_dict()
    second.load_state_dict(first.state_dict())
    assert np.array_equal(first.eval()(x).data, second.eval()(x).data)
    second.layers[0].weight.data += 1
    assert not np.array_equal(first(x).data, second(x).data)  # a copy, not the same arrays


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("normalise", [None, BatchNorm, LayerNorm])
def test_a_whole_network_passes_the_gradient_check(activation, normalise):
    network = MLP((3, 5, 4, 2), activation, normalise=normalise, seed=2)
    labels = np.array([0, 1, 1, 0, 1])
    x = np.random.default_rng(5).normal(size=(5, 3))
    shapes = [p.data for p in network.parameters()]

    def loss(x, *parameters):
        for layer, pair in zip([*network.layers], zip(parameters[::2], parameters[1::2], strict=True), strict=False):
            layer.weight, layer.bias = pair
        return backprop.cross_entropy(network(x), labels)

    assert backprop.check_gradients(loss, x, *shapes[:6]) < 1e-6


def test_it_learns_exactly_what_the_network_with_gradients_by_hand_learns():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(40, 4)), rng.integers(0, 3, size=40)
    by_hand, network = perceptron.MLP((4, 6, 3), "tanh", seed=1), MLP((4, 6, 3), "tanh", seed=2)
    for layer, weights in zip(network.layers, by_hand.weights, strict=True):
        layer.weight.data[...] = weights
    by_hand.fit(points, labels, learning_rate=0.3, epochs=5, batch_size=16, seed=7)
    order = np.random.default_rng(7)
    batches = [list(perceptron.mlp.batches(40, 16, order)) for _ in range(5)]
    optimiser = SGD(network.parameters(), 0.3)
    for rows in (rows for epoch in batches for rows in epoch):
        optimiser.zero_grad()
        backprop.cross_entropy(network(Tensor(points[rows])), labels[rows]).backward()
        optimiser.step()
    for layer, weights, bias in zip(network.layers, by_hand.weights, by_hand.biases, strict=True):
        assert np.allclose(layer.weight.data, weights, rtol=1e-9) and np.allclose(layer.bias.data, bias, rtol=1e-9)


def test_the_ground_floors_loop_trains_it_and_stops_early():
    parts = split(digits())
    network = MLP((64, 32, 10), normalise=BatchNorm, dropout=0.2)
    rows = [slice(start, start + 64) for start in range(0, 1280, 64)]
    batches = [(parts.train.points[r], parts.train.labels[r]) for r in rows]

    def loss_of(model, batch):
        return backprop.cross_entropy(model(Tensor(batch[0])), batch[1])

    def validate(model):
        with backprop.no_grad():
            return loss_of(model, (parts.test.points, parts.test.labels)).item()

    history = training.fit(
        network, batches, loss_of, Adam(network.parameters(), 0.01), epochs=40, validate=validate, patience=3
    )
    assert len(history.loss) < 40 and history.best == len(history.loss) - 4
    assert not network.training and math.isclose(validate(network), history.validation.min())
    right = (network(Tensor(parts.test.points)).data.argmax(1) == parts.test.labels).mean()
    assert right > 0.93


# First weights.


@pytest.mark.parametrize("name", backprop.INITIALISATIONS)
def test_first_weights_have_torchs_spread_and_bounds(name):
    ours = backprop.INITIALISATIONS[name](300, 500, np.random.default_rng(0))
    family, law = name.split("_")
    theirs = torch.empty(300, 500, dtype=torch.float64)
    start = getattr(nn.init, f"{'xavier' if family == 'xavier' else 'kaiming'}_{law}_")
    start(theirs, **({} if family == "xavier" else {"nonlinearity": "relu"}))
    assert ours.shape == (300, 500) and abs(ours.mean()) < 1e-3
    assert np.isclose(ours.std(), theirs.std().item(), rtol=0.01)
    if law == "uniform":
        assert np.isclose(np.abs(ours).max(), theirs.abs().max().item(), rtol=0.001)
    else:
        assert np.abs(ours).max() > 3.5 * ours.std()


def test_he_keeps_the_signal_through_thirty_relu_layers_and_xavier_loses_it():
    x = np.random.default_rng(0).normal(size=(200, 256))
    for start, low, high in ((backprop.he_normal, 0.25, 4), (backprop.xavier_normal, 0, 1e-3)):
        network = MLP((256,) * 31, initialise=start, seed=1)
        strength = (network(Tensor(x)).data ** 2).mean() ** 0.5 / (x**2).mean() ** 0.5
        assert low < strength < high, (start.__name__, strength)
