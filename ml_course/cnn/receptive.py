r"""How far does an output see? By formula, and by asking the gradients; and how many layers reach how far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def receptive_field(layers: Sequence[tuple[int, ...]]) -> int:
    r"""How many neighbouring inputs along one axis can change one output of a stack of layers.

    R = 1 + Σ_l dilation_l · (kernel_l − 1) · Π_{m<l} stride_m

    layers   from input to output, each (kernel,), (kernel, stride) or (kernel, stride, dilation), in places of the
             layer's own input; a pooling is a layer like any other
    Raises: ValueError when a layer is something else. Cost: O(layers). Source: araujo2019computing.

    >>> receptive_field([(3,), (3,)]), receptive_field([(5,), (2, 2), (5,), (2, 2)])
    (5, 16)
    """
    size, jump = 1, 1  # jump: how far apart in the input two neighbours of this layer's input lie
    for place, layer in enumerate(layers):
        if not 1 <= len(layer) <= 3 or min(layer) < 1:
            raise ValueError(f"layer {place} is {layer}, expected (kernel, stride, dilation), each 1 or more")
        kernel, stride, dilation = (*layer, *(1, 1)[len(layer) - 1 :])
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size


def influence(network: Callable[[Tensor], Tensor], x: Float[Tensor, "*shape"], place: tuple[int, ...]) -> Tensor:
    r"""How much each input moves the outputs at one place: Σ_f |∂y[n, f, place] / ∂x|, summed over x's channels too.

    x       a batch (batch, channels, height, width) or (batch, channels, time); the batch's sum is taken
    place   of the output: (row, column) or (time,)
    Returns one number per pixel or time step. Cost: one backward pass per output channel.
    Source: luo2016understanding, section 2.

    >>> blur = torch.nn.Conv1d(1, 1, 3, bias=False)
    >>> (influence(blur, torch.zeros(1, 1, 6), (2,)) > 0).tolist()
    [False, False, True, True, True, False]
    """
    x = x.detach().requires_grad_()
    outputs = network(x)[(..., *place)]
    total = torch.zeros(x.shape[2:], dtype=x.dtype, device=x.device)
    for output in outputs.sum(0).unbind():
        if output.requires_grad:
            (slope,) = torch.autograd.grad(output, x, retain_graph=True, allow_unused=True)
            total += 0 if slope is None else slope.abs().sum((0, 1))
    return total


def measured_receptive_field(
    network: Callable[[Tensor], Tensor], x: Float[Tensor, "*shape"], place: tuple[int, ...]
) -> tuple[int, ...]:
    r"""How wide the region is, along each axis, from which gradients arrive at one place of the output.

    It equals `receptive_field` when x reaches beyond the region on all sides and no path is dead: take many random
    pictures, for a ReLU or a maximum lets only one way pass in each.
    Returns (height, width) or (time,); zeros when nothing arrives. Cost: as `influence`.

    >>> stack = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 3), torch.nn.Conv1d(1, 1, 3, dilation=4))
    >>> measured_receptive_field(stack, torch.randn(1, 1, 30), (10,)), receptive_field([(3,), (3, 1, 4)])
    ((11,), 11)
    """
    reached = (influence(network, x, place) > 0).nonzero()
    if not len(reached):
        return (0,) * len(place)
    return tuple((reached.max(0).values - reached.min(0).values + 1).tolist())


def layers_to_span(length: int, kernel: int, *, dilated: bool = False) -> int:
    r"""How many convolutions of stride 1 are needed until one output sees `length` neighbouring inputs.

    ⌈(length − 1) / (kernel − 1)⌉ contiguous: O(n/k).  ⌈log_k length⌉ when layer l has dilation kernel^l: O(log_k n).

    Raises: ValueError when length < 1 or kernel < 2. Source: vaswani2017attention, table 1 and section 4, where the
    maximum path length is meant; dilations that grow like powers: oord2016wavenet, section 2.1.

    >>> layers_to_span(1000, kernel=3), layers_to_span(1000, kernel=3, dilated=True)
    (500, 7)
    """
    for name, number, least in (("length", length, 1), ("kernel", kernel, 2)):
        if number < least:
            raise ValueError(f"{name} = {number}, expected {least} or more")
    if not dilated:
        return -(-(length - 1) // (kernel - 1))
    layers, reach = 0, 1
    while reach < length:  # counted, not computed: a logarithm of floats is wrong at exact powers
        layers, reach = layers + 1, reach * kernel
    return layers
