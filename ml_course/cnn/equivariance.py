r"""Equivariance: moving the picture moves the answer. Measured, for any layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def shift(x: Float[Tensor, "*batch height width"], down: int, across: int) -> Float[Tensor, "*batch height width"]:
    r"""The picture moved, with zeros where nothing came from; negative numbers move up and to the left.

    >>> shift(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, 0)
    tensor([[0., 0.],
            [1., 2.]])
    """
    height, width = x.shape[-2:]
    moved = torch.zeros_like(x)
    if abs(down) < height and abs(across) < width:
        target = (..., slice(max(down, 0), height + min(down, 0)), slice(max(across, 0), width + min(across, 0)))
        source = (..., slice(max(-down, 0), height - max(down, 0)), slice(max(-across, 0), width - max(across, 0)))
        moved[target] = x[source]
    return moved


def equivariance_error(
    layer: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch channels height width"],
    down: int,
    across: int,
    *,
    stride: int = 1,
) -> float:
    r"""Does moving the picture and then applying the layer give the same as applying it and moving the result?

    ‖layer(shift(x)) − shift(layer(x))‖ / ‖shift(layer(x))‖: 0 when the layer is equivariant, about √2 for unrelated
    results.

    stride   of the whole layer: the result is moved by down / stride and across / stride
    The picture should be zero near its edges, or what is moved out of it counts as an error.
    Raises: ValueError when the shift is not a multiple of the stride. Source: goodfellow2016deep, section 9.2.

    >>> picture = torch.zeros(1, 1, 8, 8)
    >>> picture[..., 3:5, 3:5] = 1
    >>> equivariance_error(torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), picture, 1, 2) < 1e-6
    True
    """
    if down % stride or across % stride:
        raise ValueError(f"a shift by ({down}, {across}) is not a multiple of stride = {stride}")
    with torch.no_grad():
        first, then = layer(shift(x, down, across)), shift(layer(x), down // stride, across // stride)
    return ((first - then).norm() / then.norm()).item()
