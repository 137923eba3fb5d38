"""The published networks, receptive fields, TextCNN, and the convolution of the course's own autodiff engine."""

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course import cnn
from ml_course.backprop import Adam, Tensor, check_gradients, cross_entropy
from ml_course.cnn import AlexNet, AlexNetConfig, LeNet5, LeNet5Config, TextCNN, engine_conv
from ml_course.cnn.lenet import C3_TABLE, drawn_digits
from ml_course.data import digits, split

few = st.integers(1, 3)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# LeNet-5.


def test_lenet5_has_as_many_parameters_as_published():
    original = LeNet5(LeNet5Config.ORIGINAL)
    layers = {name: count(child) for name, child in original.named_children()}
    assert layers == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "output": 0}  # section II-B
    assert count(original) == 60_000 and original.output.drawings.numel() == 840
    assert count(LeNet5()) == 61_706


def test_c3_reads_what_table_one_says():
    connected = np.zeros((6, 16), dtype=int)
    for feature_map, channels in enumerate(C3_TABLE):
        connected[list(channels), feature_map] = 1
    published = (
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    )
    assert np.array_equal(connected, [[mark == "X" for mark in row] for row in published])


def test_sparse_c3_is_a_full_one_whose_other_kernels_are_zero():
    layer = LeNet5(LeNet5Config.ORIGINAL).c3
    full = nn.Conv2d(6, 16, 5)
    nn.init.zeros_(full.weight)
    kernels = iter(layer.weight)
    with torch.no_grad():
        for feature_map, channels in enumerate(C3_TABLE):
            for channel in channels:
                full.weight[feature_map, channel] = next(kernels)
        full.bias.copy_(layer.bias)
    x = torch.randn(2, 6, 14, 14)
    assert_close(layer(x), full(x))


def test_modern_lenet5_equals_torchs_layers_in_a_row(device):
    network = LeNet5().to(device)
    theirs = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 120, 5), nn.ReLU(), nn.Flatten(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    ).to(device)  # fmt: skip
    with torch.no_grad():
        for mine, other in zip(network.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine)
    x = torch.randn(3, 1, 32, 32, device=device)
    assert_close(network(x), theirs(x))


@torch.no_grad()
def test_original_lenet5_step_by_step():
    network = LeNet5(LeNet5Config.ORIGINAL)
    for parameter in (network.s2.weight, network.s2.bias, network.s4.weight, network.s4.bias):
        parameter.uniform_(0.5, 1.5)
    squash = lambda a: 1.7159 * torch.tanh(2 / 3 * a)  # noqa: E731
    x = torch.randn(2, 1, 32, 32)
    maps = squash(network.c1(x))
    for pool, convolution in ((network.s2, network.c3), (network.s4, network.c5)):
        four = maps[..., ::2, ::2] + maps[..., 1::2, ::2] + maps[..., ::2, 1::2] + maps[..., 1::2, 1::2]
        maps = squash(four * (pool.weight / 4)[:, None, None] + pool.bias[:, None, None])
        maps = squash(convolution(maps))
    code = squash(network.f6(maps.flatten(1)))
    assert_close(network(x), -(torch.cdist(code, drawn_digits()) ** 2), torch.bfloat16)
    assert network(x).shape == (2, 10)


def test_lenet5_configurations_and_errors():
    for config in (LeNet5Config(pooling="average", activation="tanh"), LeNet5Config(sparse_c3=True)):
        assert LeNet5(config)(torch.randn(1, 1, 32, 32)).isfinite().all()
    assert count(LeNet5(LeNet5Config(pooling="average"))) == 61_706
    with pytest.raises(ValueError, match="pictures are 28 × 28, expected 32 × 32: pad"):
        LeNet5()(torch.randn(1, 1, 28, 28))
    with pytest.raises(ValueError, match="pooling = 'sum', expected one of max, average, trained"):
        LeNet5Config(pooling="sum")
    with pytest.raises(ValueError, match="activation = 'gelu'"):
        LeNet5Config(activation="gelu")


def test_drawn_digits_differ_from_each_other():
    drawings = drawn_digits()
    apart = (drawings[:, None] != drawings).sum(-1) + 84 * torch.eye(10, dtype=torch.long)
    assert drawings.shape == (10, 84) and apart.min() > 5


# AlexNet.


@pytest.mark.parametrize(
    ("config", "parameters", "first_connected"),
    [(AlexNetConfig.ONE_TOWER_2014, 61_100_840, 9216), (AlexNetConfig.TWO_GROUPS_2012, 60_965_224, 9216)],
    ids=["2014", "2012"],
)
def test_alexnet_has_as_many_parameters_as_published(config, parameters, first_connected):
    with torch.device("meta"):
        network = AlexNet(config)
        logits = network(torch.empty(2, 3, config.size, config.size))
    assert count(network) == parameters and network.connected[0].in_features == first_connected
    assert logits.shape == (2, 1000)


@torch.no_grad()
def test_alexnet_equals_torchs_layers_in_a_row(device):
    config = AlexNetConfig((4, 6, 8, 8, 6), (1, 2, 1, 2, 2), 0, 67, hidden=16, classes=5, normalise=True)
    network = AlexNet(config).to(device).eval()
    norm = dict(size=5, alpha=5e-4, beta=0.75, k=2.0)
    theirs = nn.Sequential(
        nn.Conv2d(3, 4, 11, 4), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, 2),
        nn.Conv2d(4, 6, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(**norm), nn.MaxPool2d(3, 2),
        nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(8, 6, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Flatten(), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 5),
    ).to(device)  # fmt: skip
    for mine, other in zip(network.parameters(), theirs.parameters(), strict=True):
        other.copy_(mine)
    x = torch.randn(2, 3, 67, 67, device=device)
    assert_close(network(x), theirs(x))
    squares = torch.rand(1, 7, 1, 1)  # the paper's formula: k + α·Σ over five neighbouring maps, α = 0.0001
    near = torch.stack([squares[0, max(0, i - 2) : i + 3].square().sum() for i in range(7)])
    assert_close(F.local_response_norm(squares, **norm)[0, :, 0, 0], squares[0, :, 0, 0] / (2 + 1e-4 * near) ** 0.75)


def test_alexnet_drops_while_training_and_names_a_wrong_size():
    network = AlexNet(AlexNetConfig.TINY)
    x = torch.randn(1, 3, 67, 67)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    with pytest.raises(ValueError, match="pictures are 64 × 67, expected 67 × 67"):
        network(torch.randn(1, 3, 64, 67))


# Receptive fields.


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 4), few, few), min_size=1, max_size=4))
def test_receptive_field_is_where_gradients_come_from(layers):
    field = cnn.receptive_field(layers)
    stack = nn.Sequential(*[nn.Conv1d(1, 1, k, s, dilation=d, bias=False) for k, s, d in layers]).double()
    for layer in stack:
        nn.init.uniform_(layer.weight, 0.5, 1.5)  # no two paths cancel
    x = torch.randn(1, 1, 4 * field, dtype=torch.float64)
    place = stack(x).shape[2] // 2
    assert cnn.measured_receptive_field(stack, x, (place,)) == (field,)


def test_receptive_field_of_lenet_by_hand_and_by_gradients():
    layers = [(5,), (2, 2), (5,), (2, 2), (5,)]
    assert cnn.receptive_field(layers) == 32 and cnn.receptive_field(layers[:2]) == 6
    network = LeNet5(LeNet5Config(pooling="average", activation="tanh"))
    features = lambda x: network.c5(network.s4(network.c3(network.s2(network.c1(x)))))  # noqa: E731
    assert cnn.measured_receptive_field(features, torch.randn(1, 1, 32, 32), (0, 0)) == (32, 32)
    assert cnn.receptive_field([]) == 1 and cnn.receptive_field([(3, 1, 4)]) == 9


def test_influence_is_the_sum_of_absolute_slopes():
    layer, x = nn.Conv2d(2, 3, 3, padding=1), torch.randn(2, 2, 5, 6)
    seen = cnn.influence(layer, x, (1, 2))
    expected = torch.zeros(5, 6)
    expected[0:3, 1:4] = 2 * layer.weight.detach().abs().sum((0, 1))  # two pictures
    assert_close(seen, expected)
    assert x.grad is None and not x.requires_grad
    assert cnn.measured_receptive_field(lambda x: (x * 0).detach(), x, (1, 2)) == (0, 0)


@given(st.integers(1, 400), st.integers(2, 6))
def test_layers_to_span_reaches_and_one_less_does_not(length, kernel):
    for dilated in (False, True):
        layers = cnn.layers_to_span(length, kernel, dilated=dilated)
        stack = [(kernel, 1, kernel**level if dilated else 1) for level in range(layers)]
        assert cnn.receptive_field(stack) >= length
        assert layers == 0 or cnn.receptive_field(stack[:-1]) < length


def test_receptive_fields_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"layer 1 is \(3, 0\), expected \(kernel, stride, dilation\)"):
        cnn.receptive_field([(3,), (3, 0)])
    with pytest.raises(ValueError, match="layer 0 is"):
        cnn.receptive_field([(3, 1, 1, 1)])
    with pytest.raises(ValueError, match="kernel = 1, expected 2 or more"):
        cnn.layers_to_span(10, 1)
    with pytest.raises(ValueError, match="length = 0"):
        cnn.layers_to_span(0, 3)


# TextCNN.


def sentences(batch=3, time=7, vocab=20):
    lengths = torch.randint(1, time + 1, (batch,))
    lengths[0], lengths[-1] = time, 1
    mask = torch.arange(time) < lengths[:, None]
    return torch.randint(1, vocab, (batch, time)) * mask, mask


@torch.no_grad()
def test_textcnn_by_loops_one_sentence_at_a_time(device):
    network = TextCNN(20, 3, d_model=6, filters=4, widths=(2, 3)).to(device).eval()
    tokens, mask = (array.to(device) for array in sentences())
    logits = network(tokens, mask)
    for n in range(3):
        words = network.embedding(tokens[n][mask[n]])
        kept = []
        for weight, bias in zip(network.filters, network.biases, strict=True):
            width = weight.shape[2]
            padded = F.pad(words, (0, 0, width - 1, width - 1))
            found = [
                [((weight[f] * padded[i : i + width].T).sum() + bias[f]).relu() for i in range(len(words) + width - 1)]
                for f in range(len(weight))
            ]
            kept += [max(row) for row in found]
        assert_close(logits[n], network.output(torch.stack(kept)))


def test_textcnn_does_not_read_padding():
    network = TextCNN(20, 2, d_model=6, filters=4, widths=(1, 3, 5)).eval()
    tokens, mask = sentences(4)
    logits = network(tokens, mask)
    garbage = torch.where(mask, tokens, 19)
    assert torch.equal(network(garbage, mask), logits)
    longer = network(F.pad(tokens, (0, 5)), F.pad(mask, (0, 5)))
    assert_close(longer, logits)
    alone = torch.cat([network(tokens[n : n + 1, mask[n]]) for n in range(4)])
    assert_close(alone, logits)
    gradient = torch.autograd.grad(network(garbage, mask).sum(), network.embedding.weight)[0]
    assert not gradient[19].any() or (tokens == 19).any()


def test_textcnn_is_blind_to_where_a_phrase_stands_inside():
    network = TextCNN(20, 2, d_model=6, filters=4, widths=(2,)).eval()
    logits = network(torch.tensor([[1, 1, 7, 8, 1, 1, 1, 1], [1, 1, 1, 1, 1, 7, 8, 1]]))
    assert_close(logits[0], logits[1])


def test_textcnn_counts_and_errors():
    network = TextCNN(1000, 2)
    assert count(network) == 1000 * 300 + 100 * (300 * (3 + 4 + 5) + 3) + 300 * 2 + 2
    assert network.embedding.weight.abs().max() <= 0.25
    x = torch.randint(1, 1000, (2, 9))
    assert not torch.equal(network(x), network(x))  # dropout
    with pytest.raises(ValueError, match=r"widths = \(\), expected one or more"):
        TextCNN(10, 2, widths=())
    with pytest.raises(ValueError, match=r"widths = \(3, 0\)"):
        TextCNN(10, 2, widths=(3, 0))


# The engine's convolution.


@settings(deadline=None, max_examples=100)
@given(few, few, few, st.tuples(few, few), few, st.integers(0, 2), few, st.integers(7, 9), st.integers(7, 9))
def test_engine_conv2d_equals_torchs_in_values_and_gradients(
    batch, channels, filters, kernel, stride, padding, dilation, height, width
):
    rng = np.random.default_rng(height)
    arrays = [rng.normal(size=shape) for shape in ((batch, channels, height, width), (filters, channels, *kernel))]
    arrays.append(rng.normal(size=filters))
    ours = [Tensor(array, requires_grad=True) for array in arrays]
    theirs = [torch.tensor(array, requires_grad=True) for array in arrays]
    options = dict(stride=stride, padding=padding, dilation=dilation)
    y, z = engine_conv.conv2d(*ours, **options), F.conv2d(*theirs, **options)
    towards = rng.normal(size=y.shape)
    y.backward(towards)
    z.backward(torch.tensor(towards))
    assert np.allclose(y.data, z.detach(), rtol=1e-9, atol=1e-9)
    for mine, other in zip(ours, theirs, strict=True):
        assert np.allclose(mine.grad, other.grad, rtol=1e-9, atol=1e-9)


def test_engine_conv2d_and_pooling_against_finite_differences():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 2, 6, 6)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)
    assert check_gradients(lambda *a: engine_conv.conv2d(*a, stride=2, padding=1), x, weight, bias) < 1e-6
    assert check_gradients(lambda x: engine_conv.max_pool2d(x, 3), x) < 1e-6
    pooled = engine_conv.max_pool2d(Tensor(x), 2).data
    assert np.array_equal(pooled, F.max_pool2d(torch.tensor(x), 2))


def test_engine_convolution_keeps_float32_and_names_what_does_not_fit():
    x = Tensor(np.ones((1, 2, 4, 4), np.float32), requires_grad=True)
    layer = engine_conv.Conv2d(2, 3, 3, np.random.default_rng(0), dtype=np.float32)
    y = layer(x)
    y.sum().backward()
    assert y.dtype == x.grad.dtype == layer.weight.grad.dtype == layer.bias.grad.dtype == np.float32
    with pytest.raises(ValueError, match="weight reads 2 channels, but x has 1"):
        layer(Tensor(np.ones((1, 1, 4, 4), np.float32)))
    with pytest.raises(ValueError, match="a kernel that reaches over 3 does not fit into 2"):
        layer(Tensor(np.ones((1, 2, 2, 4), np.float32)))
    with pytest.raises(ValueError, match="width = 5 is not divisible by kernel = 2"):
        engine_conv.max_pool2d(Tensor(np.ones((1, 1, 4, 5))), 2)
    with pytest.raises(ValueError, match="pictures are 9 × 8, expected 8 × 8"):
        engine_conv.ConvNet()(Tensor(np.ones((1, 1, 9, 8))))


def test_engine_network_equals_torchs_and_reads_digits():
    parts = split(digits())
    network = engine_conv.ConvNet(dtype=np.float32)
    x, test = (part.points.reshape(-1, 1, 8, 8).astype(np.float32) for part in (parts.train, parts.test))
    weights = [torch.tensor(parameter.data) for parameter in network.parameters()]
    z = F.max_pool2d(F.conv2d(torch.tensor(x), *weights[:2], padding=1).relu(), 2)
    z = F.max_pool2d(F.conv2d(z, *weights[2:4], padding=1).relu(), 2).flatten(1)
    assert np.allclose(network(Tensor(x)).data, F.linear(z, *weights[4:]), atol=1e-5)

    optimiser, rng = Adam(network.parameters(), 0.01), np.random.default_rng(0)
    for _ in range(4):
        for chosen in np.array_split(rng.permutation(len(x)), len(x) // 32):
            optimiser.zero_grad()
            cross_entropy(network(Tensor(x[chosen])), parts.train.labels[chosen]).backward()
            optimiser.step()
    guessed = network(Tensor(test)).data.argmax(1)
    assert (guessed == parts.test.labels).mean() > 0.9
