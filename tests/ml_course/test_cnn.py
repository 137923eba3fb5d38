"""Convolution and pooling against torch, SciPy, loops and matrices; layers against torch's; equivariance."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from closeness import TOLERANCE, assert_close, dtypes, gradients
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course import cnn

few = st.integers(1, 3)
pairs = st.tuples(few, few)


# How many places there are.


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 5), st.integers(0, 4), st.integers(1, 4))
def test_output_size_counts_the_places(size, kernel, stride, padding, dilation):
    reach = dilation * (kernel - 1)
    starts = [start for start in range(-padding, size + padding, stride) if start + reach < size + padding]
    if starts:
        assert cnn.output_size(size, kernel, stride, padding, dilation) == len(starts)
    else:
        with pytest.raises(ValueError, match=f"reaches over {reach + 1} does not fit into {size} with padding = "):
            cnn.output_size(size, kernel, stride, padding, dilation)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (dict(size=0, kernel=1), "size = 0"),
        (dict(size=5, kernel=0), "kernel = 0"),
        (dict(size=5, kernel=2, stride=0), "stride = 0"),
        (dict(size=5, kernel=2, padding=-1), "padding = -1"),
        (dict(size=5, kernel=2, dilation=0), "dilation = 0"),
    ],
)
def test_output_size_names_what_is_out_of_range(wrong, told):
    with pytest.raises(ValueError, match=f"{told}, expected . or more"):
        cnn.output_size(**wrong)


def test_windows_are_views_at_their_places():
    x = torch.arange(60.0).reshape(2, 5, 6)
    seen = cnn.windows(x, (2, 3), stride=(1, 2), dilation=(2, 1))
    assert seen.shape == (2, 3, 2, 2, 3) and seen.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
    for i, j, a, b in [(0, 0, 0, 0), (2, 1, 1, 2), (1, 0, 1, 1)]:
        assert torch.equal(seen[:, i, j, a, b], x[:, i + 2 * a, 2 * j + b])


# Convolution.


@st.composite
def convolutions(draw):
    """Inputs and options of a convolution that fits; sizes, strides, paddings, dilations differ along the axes."""
    groups, batch, channels, filters = draw(few), draw(few), draw(few), draw(few)
    kernel, stride, dilation = draw(pairs), draw(pairs), draw(pairs)
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    assume(all(d * (k - 1) < n + 2 * p for n, k, p, d in zip(size, kernel, padding, dilation, strict=True)))
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return (batch, channels * groups, *size), (filters * groups, channels, *kernel), options, draw(st.booleans())


def compare(theirs, inputs, *versions):
    slopes = gradients(theirs, *inputs)
    for ours in versions:
        assert_close(ours, theirs)
        for mine, other in zip(gradients(ours, *inputs), slopes, strict=True):
            assert_close(mine, other)


@settings(deadline=None, max_examples=300)
@given(convolutions(), st.integers(0, 2**32 - 1))
def test_readable_conv2d_equals_torchs_in_values_and_gradients(drawn, seed):
    shape, weight_shape, options, with_bias = drawn
    torch.manual_seed(seed)
    inputs = [torch.randn(*shape, dtype=torch.float64), torch.randn(*weight_shape, dtype=torch.float64)]
    inputs += [torch.randn(weight_shape[0], dtype=torch.float64)] * with_bias
    inputs = [array.requires_grad_() for array in inputs]
    theirs = F.conv2d(*inputs, **options)
    compare(theirs, inputs, cnn.conv2d(*inputs, **options, fused=False), cnn.conv2d(*inputs, **options))
    expected = [
        cnn.output_size(*numbers)
        for numbers in zip(
            shape[2:], weight_shape[2:], options["stride"], options["padding"], options["dilation"], strict=True
        )
    ]
    assert list(theirs.shape[2:]) == expected


@settings(deadline=None, max_examples=100)
@given(few, few, few, few, few, st.integers(0, 3), few, st.integers(7, 12), st.booleans())
def test_conv1d_equals_torchs_in_values_and_gradients(
    batch, channels, filters, kernel, stride, padding, dilation, time, by_channel
):
    groups = channels if by_channel else 1
    x = torch.randn(batch, channels, time, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(filters * groups, channels // groups, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(filters * groups, dtype=torch.float64, requires_grad=True)
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    inputs = x, weight, bias
    theirs = F.conv1d(*inputs, **options)
    compare(theirs, inputs, cnn.conv1d(*inputs, **options, fused=False), cnn.conv1d(*inputs, **options))


@dtypes
def test_readable_and_fused_agree_in_every_dtype(dtype, device):
    x = torch.randn(2, 4, 9, 8, dtype=dtype, device=device).transpose(2, 3)  # not contiguous
    weight, bias = torch.randn(6, 2, 3, 3, dtype=dtype, device=device), torch.randn(6, dtype=dtype, device=device)
    options = dict(stride=2, padding=1, groups=2)
    readable, fused = (cnn.conv2d(x, weight, bias, **options, fused=choice) for choice in (False, True))
    assert readable.dtype == fused.dtype == dtype and readable.device.type == device.type
    torch.testing.assert_close(readable, fused, rtol=TOLERANCE[dtype], atol=3 * TOLERANCE[dtype])


def test_the_kernel_is_used_by_default_and_only_then(monkeypatch):
    calls = []
    for name in ("conv2d", "max_pool2d", "avg_pool2d"):
        kernel = getattr(F, name)
        monkeypatch.setattr(F, name, lambda *a, name=name, kernel=kernel, **k: calls.append(name) or kernel(*a, **k))
    x, weight = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 2, 2)
    cnn.conv2d(x, weight, fused=False), cnn.max_pool2d(x, 2, fused=False), cnn.avg_pool2d(x, 2, fused=False)
    assert not calls
    cnn.conv2d(x, weight), cnn.max_pool2d(x, 2), cnn.avg_pool2d(x, 2)
    assert calls == ["conv2d", "max_pool2d", "avg_pool2d"]


def test_it_is_cross_correlation_and_flipped_it_is_convolution():
    rng = np.random.default_rng(0)
    picture, kernel = rng.normal(size=(7, 8)), rng.normal(size=(3, 2))
    x, weight = torch.tensor(picture)[None, None], torch.tensor(kernel)[None, None]
    assert np.allclose(cnn.conv2d(x, weight)[0, 0], scipy.signal.correlate2d(picture, kernel, mode="valid"))
    flipped = cnn.conv2d(x, cnn.flip(weight), padding=(2, 1))[0, 0]
    assert np.allclose(flipped, scipy.signal.convolve2d(picture, kernel, mode="full"))


def test_conv2d_by_the_formula():
    x, weight, bias = torch.randn(2, 4, 5, 6), torch.randn(6, 2, 3, 2), torch.randn(6)
    y = cnn.conv2d(x, weight, bias, stride=2, padding=1, dilation=(1, 2), groups=2, fused=False)
    for n, f, i, j in [(0, 0, 0, 0), (1, 5, 2, 2), (0, 3, 1, 2), (1, 2, 2, 0)]:
        total = bias[f].item()
        for c in range(2):
            for a in range(3):
                for b in range(2):
                    row, column = 2 * i + a - 1, 2 * j + 2 * b - 1
                    if 0 <= row < 5 and 0 <= column < 6:
                        total += (weight[f, c, a, b] * x[n, 2 * (f // 3) + c, row, column]).item()
        assert y[n, f, i, j].item() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(
    ("shape", "weight", "groups", "told"),
    [
        ((1, 3, 5, 5), (2, 2, 3, 3), 1, "weight reads 2 channels, but x has 3"),
        ((1, 3, 5, 5), (2, 1, 3, 3), 2, "channels = 3 is not divisible by groups = 2"),
        ((1, 4, 5, 5), (3, 2, 3, 3), 2, "filters = 3 is not divisible by groups = 2"),
        ((1, 4, 5, 5), (4, 1, 3, 3), 2, "weight reads 1 channels in each of 2 groups, but x has 4"),
        ((1, 3, 5, 5), (2, 3, 3, 3), 0, "groups = 0, expected 1 or more"),
        ((1, 3, 2, 5), (2, 3, 3, 3), 1, "a kernel that reaches over 3 does not fit into 2"),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_conv2d_names_what_does_not_fit(shape, weight, groups, told, fused):
    with pytest.raises(ValueError, match=told):
        cnn.conv2d(torch.randn(shape), torch.randn(weight), groups=groups, fused=fused)


# A convolution is a linear layer, and moves with its picture.


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 1}, {"dilation": 2}, {"stride": 2, "padding": 2}], ids=str
)
def test_convolution_matrix_is_the_convolution(options):
    weight, x = torch.randn(3, 2, 2, 3, dtype=torch.float64), torch.randn(4, 2, 5, 6, dtype=torch.float64)
    matrix = cnn.convolution_matrix(weight, (5, 6), **options)
    assert_close(x.flatten(1) @ matrix.T, cnn.conv2d(x, weight, **options).flatten(1))
    assert set(matrix[matrix != 0].tolist()) == set(weight.flatten().tolist())  # copies of the kernel, nothing else


@pytest.mark.parametrize(("down", "across"), [(0, 0), (1, 0), (0, -2), (3, 1), (-1, -1), (5, 0), (0, 9)])
def test_shift_by_loops(down, across):
    x = torch.randn(2, 4, 5)
    moved = cnn.shift(x, down, across)
    for i in range(4):
        for j in range(5):
            inside = 0 <= i - down < 4 and 0 <= j - across < 5
            expected = x[:, i - down, j - across] if inside else torch.zeros(2)
            assert torch.equal(moved[:, i, j], expected)


def test_equivariance_is_a_property_of_convolution_and_not_of_linear_layers():
    picture = torch.zeros(2, 3, 16, 16, dtype=torch.float64)
    picture[..., 5:11, 5:11] = torch.rand(2, 3, 6, 6)
    convolution = nn.Conv2d(3, 4, 3, padding=1, bias=False).double()
    assert cnn.equivariance_error(convolution, picture, 2, -3) < 1e-12
    strided = nn.Conv2d(3, 4, 3, padding=1, stride=2, bias=False).double()
    assert cnn.equivariance_error(strided, picture, 2, -4, stride=2) < 1e-12
    linear = nn.Linear(3 * 256, 4 * 256, bias=False).double()
    as_layer = lambda x: linear(x.flatten(1)).reshape(-1, 4, 16, 16)  # noqa: E731
    assert cnn.equivariance_error(as_layer, picture, 2, -3) > 1
    with pytest.raises(ValueError, match=r"a shift by \(1, 2\) is not a multiple of stride = 2"):
        cnn.equivariance_error(strided, picture, 1, 2, stride=2)


# Pooling.


@settings(deadline=None, max_examples=150)
@given(
    few, few, pairs, st.none() | pairs, st.tuples(st.integers(3, 8), st.integers(3, 8)), st.booleans(), st.booleans()
)
def test_pooling_equals_torchs_in_values_and_gradients(batch, channels, kernel, stride, size, pad, ties):
    x = torch.randn(batch, channels, *size, dtype=torch.float64)
    x = (x.round() if ties else x).requires_grad_()  # ties: the first in reading order gets the gradient
    padding = tuple(k // 2 for k in kernel) if pad else 0
    maxima = [cnn.max_pool2d(x, kernel, stride=stride, padding=padding, fused=fused) for fused in (False, True)]
    compare(F.max_pool2d(x, kernel, stride, padding), (x,), *maxima)
    means = [cnn.avg_pool2d(x, kernel, stride=stride, fused=fused) for fused in (False, True)]
    compare(F.avg_pool2d(x, kernel, stride), (x,), *means)


def test_average_pooling_is_a_convolution_and_the_maximum_is_not_linear():
    x, y = torch.randn(2, 3, 6, 6, dtype=torch.float64), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    mean = torch.full((3, 1, 2, 2), 1 / 4, dtype=torch.float64)
    assert_close(cnn.avg_pool2d(x, 2), cnn.conv2d(x, mean, stride=2, groups=3))
    assert_close(cnn.avg_pool2d(x + y, 2), cnn.avg_pool2d(x, 2) + cnn.avg_pool2d(y, 2))
    assert not torch.allclose(cnn.max_pool2d(x + y, 2), cnn.max_pool2d(x, 2) + cnn.max_pool2d(y, 2))


@pytest.mark.parametrize("fused", [True, False])
def test_pooling_names_what_does_not_fit(fused):
    with pytest.raises(ValueError, match="padding = 2, expected at most half of kernel = 3"):
        cnn.max_pool2d(torch.randn(1, 1, 5, 5), 3, padding=2, fused=fused)
    for pool in (cnn.max_pool2d, cnn.avg_pool2d):
        with pytest.raises(ValueError, match="a kernel that reaches over 6 does not fit into 5"):
            pool(torch.randn(1, 1, 5, 5), 6, fused=fused)


@dtypes
def test_pooling_keeps_the_dtype(dtype, device):
    x = torch.randn(1, 2, 5, 5, dtype=dtype, device=device)
    for pool in (cnn.max_pool2d, cnn.avg_pool2d):
        for fused in (True, False):
            assert pool(x, 2, fused=fused).dtype == dtype
        assert_close(pool(x, 2), pool(x, 2, fused=False))


def test_max_over_time_by_loops_and_without_any_place():
    x, mask = torch.randn(3, 4, 6, requires_grad=True), torch.rand(3, 1, 6) > 0.5
    mask[0], mask[1] = False, True
    kept = cnn.max_over_time(x, mask)
    for n in range(3):
        for c in range(4):
            seen = [x[n, c, t].item() for t in range(6) if mask[n, 0, t]]
            assert kept[n, c].item() == (max(seen) if seen else 0.0)
    assert torch.equal(cnn.max_over_time(x), x.amax(-1))
    (gradient,) = gradients(kept, x)
    assert gradient.isfinite().all() and not gradient[0].any() and (gradient[1] != 0).sum() == 4
    assert torch.equal(cnn.max_over_time(x, mask.expand(3, 4, 6)), kept)


# Layers.


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}, {"bias": False}], ids=str
)
def test_conv2d_layer_exchanges_weights_with_torchs(options, device):
    ours, theirs = cnn.Conv2d(4, 6, 3, **options).to(device), nn.Conv2d(4, 6, 3, **options).to(device)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 4, 9, 8, device=device)
    assert_close(ours(x), theirs(x))
    back = cnn.Conv2d(4, 6, 3, **options).to(device)
    back.load_state_dict(theirs.state_dict())
    assert torch.equal(back(x), ours(x))


def test_conv2d_layer_begins_as_he_says_and_tells_what_it_is():
    layer = cnn.Conv2d(16, 400, (3, 5), stride=2, groups=2)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (8 * 15)), rel=0.02) and not layer.bias.any()
    assert repr(layer) == "Conv2d(16, 400, kernel=(3, 5), stride=2, groups=2)"
    with pytest.raises(ValueError, match="filters = 3 is not divisible by groups = 2"):
        cnn.Conv2d(4, 3, 3, groups=2)
    with pytest.raises(ValueError, match="groups = 0"):
        cnn.Conv2d(4, 3, 3, groups=0)


class TorchBlock(nn.Module):
    """The residual block again, in torch's layers and operations only."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)
        changes = stride > 1 or channels != filters
        self.shortcut = nn.Identity()
        if changes:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x):
        inside = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inside)) + self.shortcut(x))


@pytest.mark.parametrize(("channels", "filters", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1), (4, 4, 2)])
def test_residual_block_equals_torchs_parts(channels, filters, stride, device):
    ours, theirs = cnn.ResidualBlock(channels, filters, stride=stride).to(device), TorchBlock(channels, filters, stride)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(3, channels, 8, 6, device=device)
    theirs.to(device)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)
    assert ours(x).shape == (3, filters, 8 // stride, 6 // stride)


def test_a_residual_block_whose_convolutions_are_zero_lets_positive_numbers_pass():
    block, plain = cnn.ResidualBlock(3, 3), cnn.ResidualBlock(3, 3, residual=False)
    for layer in (block.second, plain.second):
        nn.init.zeros_(layer.weight)
    x = torch.rand(2, 3, 5, 5)
    assert_close(block(x), x)
    assert not plain(x).any()
