r"""Pooling: a patch of a feature map becomes one number, its largest or its mean. Nothing is learned."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ml_course.cnn.convolution import Pair, _pair, output_size, windows


def max_pool2d(
    x: Float[Tensor, "batch channels height width"],
    kernel: Pair,
    *,
    stride: Pair | None = None,
    padding: Pair = 0,
    fused: bool = True,
) -> Float[Tensor, "batch channels out_height out_width"]:
    r"""Keeps the largest number of each window, channel by channel: was the feature anywhere here?

    y[n,c,i,j] = max over a, b of x[n, c, i·stride + a − padding, j·stride + b − padding]

    The gradient goes to the place the maximum came from, to the first in reading order where there are several.
    stride    in pixels; the kernel's size when None, so that windows neither overlap nor leave gaps
    padding   in pixels, filled with −∞, so that it never wins; at most half the kernel, or a window had nothing else

    Raises: ValueError when padding is too large or the kernel does not fit. Cost: O(numel(y)·kernel²).
    Source: ranzato2007unsupervised; in a network like ours: scherer2010evaluation.

    >>> max_pool2d(torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 4.0, 0.0, 7.0]]]]), 2)
    tensor([[[[5., 7.]]]])
    """
    kernel, padding = _pair(kernel), _pair(padding)
    stride = kernel if stride is None else _pair(stride)
    for size, k, s, p in zip(x.shape[2:], kernel, stride, padding, strict=True):
        output_size(size, k, s, p)
        if 2 * p > k:
            raise ValueError(f"padding = {p}, expected at most half of kernel = {k}")
    if fused:
        return F.max_pool2d(x, kernel, stride, padding)
    (down, across) = padding
    padded = F.pad(x, (across, across, down, down), value=-torch.inf)
    return windows(padded, kernel, stride=stride).flatten(-2).max(-1).values


def avg_pool2d(
    x: Float[Tensor, "batch channels height width"], kernel: Pair, *, stride: Pair | None = None, fused: bool = True
) -> Float[Tensor, "batch channels out_height out_width"]:
    r"""Takes the mean of each window, channel by channel: a linear map, the same as a convolution with 1/kernel².

    y[n,c,i,j] = mean over a, b of x[n, c, i·stride + a, j·stride + b]

    stride   in pixels; the kernel's size when None
    Raises: ValueError when the kernel does not fit. Cost: O(numel(y)·kernel²). Source: lecun1998gradient, section II-B.

    >>> avg_pool2d(torch.tensor([[[[1.0, 5.0, 2.0, 0.0], [3.0, 3.0, 0.0, 6.0]]]]), 2)
    tensor([[[[3., 2.]]]])
    """
    kernel = _pair(kernel)
    stride = kernel if stride is None else _pair(stride)
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        output_size(size, k, s)
    if fused:
        return F.avg_pool2d(x, kernel, stride)
    return windows(x, kernel, stride=stride).mean((-2, -1))


def max_over_time(
    x: Float[Tensor, "batch channels time"], mask: Bool[Tensor, "#batch #channels time"] | None = None
) -> Float[Tensor, "batch channels"]:
    r"""The largest number of each channel, wherever it stands; a sequence of any length becomes a vector of one size.

    mask   True where a place counts; a sequence without any such place gives zeros

    Cost: O(numel(x)). Source: collobert2011natural, kim2014convolutional.

    >>> max_over_time(torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[True, True, False]]]))
    tensor([[3.]])
    """
    if mask is None:
        return x.max(-1).values
    largest = x.masked_fill(~mask, -torch.inf).max(-1).values
    return largest.masked_fill(~mask.any(-1), 0)
