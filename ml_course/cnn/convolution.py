r"""Convolution in readable form: lay the windows side by side, multiply once. What deep learning calls convolution is
cross-correlation: the kernel is not flipped.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Pair = int | tuple[int, int]


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    r"""How many places a kernel finds along one axis.

    ⌊(size + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1

    All in pixels (or tokens). `dilation·(kernel − 1) + 1` is the kernel's reach; what is left over after the last full
    stride is not read. Raises: ValueError when a number is out of range, or when not even one place is found.
    Source: dumoulin2016guide, relationships 6 and 15 (its i, k, s, p, d).

    >>> output_size(28, kernel=5), output_size(28, kernel=5, padding=2), output_size(224, kernel=7, stride=2, padding=3)
    (24, 28, 112)
    """
    for name, number, least in (
        ("size", size, 1),
        ("kernel", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if number < least:
            raise ValueError(f"{name} = {number}, expected {least} or more")
    reach = dilation * (kernel - 1) + 1
    if reach > size + 2 * padding:
        raise ValueError(f"a kernel that reaches over {reach} does not fit into {size} with padding = {padding}")
    return (size + 2 * padding - reach) // stride + 1


def windows(
    x: Float[Tensor, "*batch height width"], kernel: Pair, *, stride: Pair = 1, dilation: Pair = 1
) -> Float[Tensor, "*batch out_height out_width kernel_height kernel_width"]:
    r"""All pieces of a picture that a kernel of this size gets to see, each at its place.

    windows(x)[…, i, j, a, b] = x[…, i·stride + a·dilation, j·stride + b·dilation]

    kernel, stride, dilation   in pixels: one number for both axes, or (down, across)
    Raises: ValueError as `output_size` does. Cost: none, a view: no number is copied.

    >>> windows(torch.arange(9.0).reshape(3, 3), kernel=2)[1, 0]
    tensor([[3., 4.],
            [6., 7.]])
    """
    for axis, k, s, d in zip((-2, -1), _pair(kernel), _pair(stride), _pair(dilation), strict=True):
        output_size(x.shape[axis], k, s, dilation=d)  # refuses what does not fit
    (down, across), (step_down, step_across), (thin_down, thin_across) = map(_pair, (kernel, stride, dilation))
    x = x.unfold(-2, thin_down * (down - 1) + 1, step_down)
    x = x.unfold(-2, thin_across * (across - 1) + 1, step_across)
    return x[..., ::thin_down, ::thin_across]


def conv2d(
    x: Float[Tensor, "batch channels height width"],
    weight: Float[Tensor, "filters channels_per_group kernel_height kernel_width"],
    bias: Float[Tensor, " filters"] | None = None,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
    fused: bool = True,
) -> Float[Tensor, "batch filters out_height out_width"]:
    r"""Slides every filter over the pictures; where it fits, the output is large.

    y[n,f,i,j] = bias[f] + Σ_{c,p,q} w[f,c,p,q] · x[n, c, down(i,p), across(j,q)],
    where down(i,p) = i·stride + p·dilation − padding, and across likewise.

    stride, padding, dilation   in pixels: one number for both axes, or (down, across); padding is zeros on all sides
    groups   channels and filters are cut into as many consecutive groups, and a filter reads its own group only
    fused    takes torch's kernel, which computes the same without laying the windows side by side in memory

    Raises: ValueError when the groups do not divide channels or filters, the weight reads another number of channels,
    or the kernel does not fit. Cost: O(out_height·out_width·numel(weight)) a picture; the readable form also stores
    the windows, kernel_height·kernel_width times the picture.
    Source: lecun1998gradient, section II-A, dumoulin2016guide; windows and one product: chellapilla2006high.

    >>> edge = torch.tensor([[[[-1.0, 1.0]]]])
    >>> conv2d(torch.tensor([[[[5.0, 5.0, 9.0, 9.0]]]]), edge)
    tensor([[[[0., 4., 0.]]]])
    """
    _check(x.shape[1], weight.shape, groups)
    spans = zip(x.shape[2:], weight.shape[2:], *map(_pair, (stride, padding, dilation)), strict=True)
    for size, k, s, p, d in spans:
        output_size(size, k, s, p, d)  # refuses what does not fit, in the same words on both ways
    if fused:
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    (down, across), kernel = _pair(padding), tuple(weight.shape[2:])
    seen = windows(F.pad(x, (across, across, down, down)), kernel, stride=stride, dilation=dilation)
    columns = rearrange(seen, "batch (g channels) i j a b -> batch g (channels a b) (i j)", g=groups)
    rows = rearrange(weight, "(g filters) channels a b -> g filters (channels a b)", g=groups)
    y = rearrange(rows @ columns, "batch g filters (i j) -> batch (g filters) i j", i=seen.shape[2])
    return y if bias is None else y + bias[:, None, None]


def conv1d(
    x: Float[Tensor, "batch channels time"],
    weight: Float[Tensor, "filters channels_per_group kernel"],
    bias: Float[Tensor, " filters"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    fused: bool = True,
) -> Float[Tensor, "batch filters out_time"]:
    r"""Slides every filter along the sequences: `conv2d` over a picture that is one row high.

    y[n,f,i] = b[f] + Σ_{c,a} w[f,c,a] · x[n, c, i·stride + a·dilation − padding]

    Arguments, errors and cost are those of `conv2d`, with one axis, in time steps. Source: waibel1989phoneme.

    >>> conv1d(torch.tensor([[[1.0, 2.0, 4.0, 8.0]]]), torch.tensor([[[1.0, 1.0]]]))
    tensor([[[ 3.,  6., 12.]]])
    """
    along = dict(stride=(1, stride), padding=(0, padding), dilation=(1, dilation))
    return conv2d(x[:, :, None], weight[:, :, None], bias, **along, groups=groups, fused=fused)[:, :, 0]


def flip(weight: Float[Tensor, "*filters kernel_height kernel_width"]) -> Float[Tensor, "*filters a b"]:
    r"""The kernel turned by half a circle: `conv2d` with it is the convolution of mathematics.

    >>> flip(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[4., 3.],
            [2., 1.]])
    """
    return weight.flip(-2, -1)


def convolution_matrix(
    weight: Float[Tensor, "filters channels kernel_height kernel_width"],
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
) -> Float[Tensor, "outputs inputs"]:
    r"""The same convolution as a fully connected layer: its matrix, mostly zeros, the rest copies of the kernel.

    M · x.flatten() = conv2d(x, weight).flatten() for a picture x of `size` (height, width) with all its channels.

    Cost: O(outputs·inputs) memory, so for small pictures only.

    >>> convolution_matrix(torch.tensor([[[[1.0, 2.0]]]]), size=(1, 3))
    tensor([[1., 2., 0.],
            [0., 1., 2.]])
    """
    inputs = weight.shape[1] * _pair(size)[0] * _pair(size)[1]
    # A column is what the layer makes of one pixel that is 1 in a picture of zeros.
    pixels = torch.eye(inputs, dtype=weight.dtype, device=weight.device)
    pixels = pixels.reshape(inputs, weight.shape[1], *_pair(size))
    return conv2d(pixels, weight, stride=stride, padding=padding, dilation=dilation).flatten(1).T


def _pair(number: Pair) -> tuple[int, int]:
    return (number, number) if isinstance(number, int) else number


def _check(channels: int, weight: torch.Size, groups: int) -> None:
    if groups < 1:
        raise ValueError(f"groups = {groups}, expected 1 or more")
    for name, number in (("channels", channels), ("filters", weight[0])):
        if number % groups:
            raise ValueError(f"{name} = {number} is not divisible by groups = {groups}")
    if weight[1] * groups != channels:
        read = f"{weight[1]} channels" + (f" in each of {groups} groups" if groups > 1 else "")
        raise ValueError(f"weight reads {read}, but x has {channels}")
