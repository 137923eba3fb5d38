r"""A convolution joins the autodiff engine of `backprop`: one operation with three rules, and a network made of it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from ml_course.backprop import Linear, Module, Tensor, he_normal, operation
from ml_course.cnn.convolution import output_size


def conv2d(
    x: Float[Tensor, "batch channels height width"],
    weight: Float[Tensor, "filters channels_read kernel_height kernel_width"],
    bias: Float[Tensor, " filters"],
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Tensor, "batch filters out_height out_width"]:
    r"""`ml_course.cnn.conv2d` for tensors of the engine: y = windows(x)·w + b, and what comes back by each.

    ∂w = gᵀ·windows(x)    ∂windows = g·w, and ∂x adds up all windows that a pixel stood in    ∂b = Σ g

    stride, padding, dilation   in pixels, for both axes
    Raises: ValueError when the weight reads another number of channels, or the kernel does not fit.
    Cost: three matrix products of O(out_height·out_width·numel(weight)) a picture in all, forward and backward.

    >>> x = Tensor(np.arange(9.0).reshape(1, 1, 3, 3), requires_grad=True)
    >>> conv2d(x, Tensor(np.ones((1, 1, 2, 2))), Tensor(np.zeros(1))).sum().backward()
    >>> x.grad[0, 0]  # how many windows each pixel stands in
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    if weight.shape[1] != x.shape[1]:
        raise ValueError(f"weight reads {weight.shape[1]} channels, but x has {x.shape[1]}")
    batch, channels, *size = x.shape
    filters, _, *kernel = weight.shape
    out = [output_size(n, k, stride, padding, dilation) for n, k in zip(size, kernel, strict=True)]
    padded = np.pad(x.data, ((0, 0), (0, 0), (padding, padding), (padding, padding)))

    def place(a: int, b: int) -> tuple:
        """Where in the padded picture the kernel's pixel (a, b) lies, for all windows at once."""
        rows, columns = (
            slice(offset * dilation, offset * dilation + stride * (n - 1) + 1, stride)
            for offset, n in zip((a, b), out, strict=True)
        )
        return (slice(None), slice(None), rows, columns)

    pixels = list(np.ndindex(*kernel))
    # One row per window: (batch · out_height · out_width, channels · kernel_height · kernel_width).
    seen = (
        np.stack([padded[place(a, b)] for a, b in pixels], axis=-1)
        .transpose(0, 2, 3, 1, 4)
        .reshape(-1, channels * len(pixels))
    )
    flat = weight.data.reshape(filters, -1)

    def rows_of(g: np.ndarray) -> np.ndarray:
        return g.transpose(0, 2, 3, 1).reshape(-1, filters)

    def by_x(g: np.ndarray) -> np.ndarray:
        by_window = (rows_of(g) @ flat).reshape(batch, *out, channels, len(pixels))
        whole = np.zeros_like(padded)
        for number, (a, b) in enumerate(pixels):
            whole[place(a, b)] += by_window[..., number].transpose(0, 3, 1, 2)
        return whole[:, :, padding : padding + size[0], padding : padding + size[1]]

    value = (seen @ flat.T + bias.data).reshape(batch, *out, filters).transpose(0, 3, 1, 2)
    return operation(
        value,
        (x, by_x),
        (weight, lambda g: (rows_of(g).T @ seen).reshape(weight.shape)),
        (bias, lambda g: g.sum((0, 2, 3))),
    )


def max_pool2d(x: Float[Tensor, "batch channels height width"], kernel: int) -> Float[Tensor, "batch channels a b"]:
    r"""The largest number of each kernel × kernel patch; it needs no rule of its own: reshape and max have theirs.

    Raises: ValueError when height or width is not divisible by the kernel.

    >>> max_pool2d(Tensor(np.arange(16.0).reshape(1, 1, 4, 4)), 2).data[0, 0]
    array([[ 5.,  7.],
           [13., 15.]])
    """
    batch, channels, height, width = x.shape
    for name, number in (("height", height), ("width", width)):
        if kernel < 1 or number % kernel:
            raise ValueError(f"{name} = {number} is not divisible by kernel = {kernel}")
    return x.reshape(batch, channels, height // kernel, kernel, width // kernel, kernel).max((3, 5))


class Conv2d(Module):
    r"""A convolutional layer of the engine: `filters` kernels over all channels, and a bias for each.

    kernel, stride, padding   in pixels; rng   draws the weights, as he2015delving, eq. 10; biases start at zero
    Cost: as `conv2d`.

    >>> Conv2d(3, 8, kernel=5, rng=np.random.default_rng(0))(Tensor(np.zeros((2, 3, 9, 9)))).shape
    (2, 8, 5, 5)
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: int,
        rng: np.random.Generator,
        *,
        stride: int = 1,
        padding: int = 0,
        dtype: DTypeLike = np.float64,
    ):
        first = he_normal(filters, channels * kernel**2, rng).reshape(filters, channels, kernel, kernel)
        self.weight = Tensor(first.astype(dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(filters, dtype), requires_grad=True)
        self.stride, self.padding = stride, padding

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch filters out_height out_width"]:
        return conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)


class ConvNet(Module):
    r"""A small convolutional network of the engine: two rounds of convolution, ReLU and pooling, then a linear layer.

    8×8 → conv 3×3 → 8×8 → pool → 4×4 → conv 3×3 → 4×4 → pool → 2×2 → classes

    filters   of the two convolutions; seed   of the weights
    Raises: ValueError when pictures are not 8 × 8. Cost: O(64·9·filters₁ + 16·9·filters₁·filters₂) a picture.

    >>> network = ConvNet()
    >>> network(Tensor(np.zeros((5, 1, 8, 8)))).shape, sum(p.size for p in network.parameters())
    ((5, 10), 1898)
    """

    def __init__(
        self,
        filters: tuple[int, int] = (8, 16),
        classes: int = 10,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float64,
    ):
        rng = np.random.default_rng(seed)
        self.first = Conv2d(1, filters[0], 3, rng, padding=1, dtype=dtype)
        self.second = Conv2d(filters[0], filters[1], 3, rng, padding=1, dtype=dtype)
        self.output = Linear(4 * filters[1], classes, rng, dtype=dtype)

    def forward(self, pictures: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch classes"]:
        r"""The logits."""
        height, width = pictures.shape[2:]
        if (height, width) != (8, 8):
            raise ValueError(f"pictures are {height} × {width}, expected 8 × 8")
        x = max_pool2d(self.first(pictures).relu(), 2)
        x = max_pool2d(self.second(x).relu(), 2)
        return self.output(x.reshape(len(x), -1))
