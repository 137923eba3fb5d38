r"""Back-propagation through time by hand: the chain rule along the unrolled network, whole or window by window."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Gradients(NamedTuple):
    r"""Of a loss by what Elman's network is made of and fed with."""

    weight_ih: Float[Tensor, "hidden features"]
    weight_hh: Float[Tensor, "hidden hidden"]
    bias: Float[Tensor, " hidden"]  # the same for both of torch's biases
    inputs: Float[Tensor, "batch time features"]
    start: Float[Tensor, "batch hidden"]  # the state before the first step


def unroll(
    inputs: Float[Tensor, "batch time features"],
    start: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "hidden features"],
    weight_hh: Float[Tensor, "hidden hidden"],
    bias: Float[Tensor, " hidden"],
) -> Float[Tensor, "batch states hidden"]:
    r"""The forward pass, with all the states that the backward pass will ask for: the start, then one for each step.

    hₜ = tanh(W_ih xₜ + W_hh hₜ₋₁ + b)

    Cost: O(batch·time·hidden·(features + hidden)); the memory of `time + 1` states.

    >>> one = torch.ones(1, 1)
    >>> unroll(torch.zeros(1, 2, 1), one, one, one, torch.zeros(1)).flatten()
    tensor([1.0000, 0.7616, 0.6420])
    """
    states = [start]
    for now in inputs.unbind(1):
        states.append(torch.tanh(now @ weight_ih.mT + states[-1] @ weight_hh.mT + bias))
    return torch.stack(states, dim=1)


def backward_through_time(
    inputs: Float[Tensor, "batch time features"],
    states: Float[Tensor, "batch states hidden"],
    gradient: Float[Tensor, "batch time hidden"],
    weight_ih: Float[Tensor, "hidden features"],
    weight_hh: Float[Tensor, "hidden hidden"],
    window: int | None = None,
) -> Gradients:
    r"""The gradients of a loss, from those by the outputs: each state answers for its output and for all that follow.

    ∂L/∂hₜ = gₜ + W_hhᵀ δₜ₊₁,  δₜ = (1 − hₜ²) ∘ ∂L/∂hₜ
    ∂L/∂W_hh = Σₜ δₜ hₜ₋₁ᵀ,  ∂L/∂W_ih = Σₜ δₜ xₜᵀ,  ∂L/∂b = Σₜ δₜ

    states     what `unroll` gave
    gradient   gₜ, of the loss by hₜ where the loss reads hₜ itself
    window     truncated: nothing goes back over the border between two windows of so many steps. None: nothing is cut
    Raises: ValueError when the window is below 1, or states is not one longer than the inputs.
    Cost: twice the forward pass. Source: werbos1990backpropagation; truncated: williams1990efficient.

    >>> x, one = torch.ones(1, 1, 1), torch.ones(1, 1)
    >>> states = unroll(x, torch.zeros(1, 1), one, one, torch.zeros(1))
    >>> backward_through_time(x, states, torch.ones(1, 1, 1), one, one).weight_ih  # 1 − tanh²(1)
    tensor([[0.4200]])
    """
    batch, time, _ = inputs.shape
    if window is not None and window < 1:
        raise ValueError(f"window = {window}, expected at least 1")
    if states.shape[1] != time + 1:
        raise ValueError(f"states has {states.shape[1]} times, expected those of the inputs and the start: {time + 1}")
    from_later = states.new_zeros(batch, states.shape[2])
    deltas = []
    for t in reversed(range(time)):
        if window is not None and (t + 1) % window == 0:
            from_later = torch.zeros_like(from_later)  # the next window's news stays there
        state = states[:, t + 1]
        delta = (1 - state * state) * (gradient[:, t] + from_later)
        from_later = delta @ weight_hh
        deltas.append(delta)
    delta = torch.stack(deltas[::-1], dim=1)
    return Gradients(
        weight_ih=torch.einsum("bth,btf->hf", delta, inputs),
        weight_hh=torch.einsum("bth,btk->hk", delta, states[:, :-1]),
        bias=delta.sum((0, 1)),
        inputs=delta @ weight_ih,
        start=from_later,
    )
