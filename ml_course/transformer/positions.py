r"""Sinusoidal positions: where a token stands, told by clocks that tick at different speeds."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def frequencies(d_model: int, base: float = 10_000.0) -> Float[Tensor, " pairs"]:
    r"""How fast each pair of features turns, in radians a position.

    ωᵢ = base^(−2i/d_model),  i = 0 … d_model/2 − 1

    Raises: ValueError when d_model is odd. Source: vaswani2017attention, section 3.5.

    >>> frequencies(4)
    tensor([1.0000, 0.0100], dtype=torch.float64)
    """
    if d_model < 2 or d_model % 2:
        raise ValueError(
            f"d_model = {d_model}, expected an even number from 2 on: a sine and a cosine for each frequency"
        )
    return base ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model)


def sinusoidal_positions(time: int, d_model: int, base: float = 10_000.0) -> Float[Tensor, "time d_model"]:
    r"""A vector for each position; sines and cosines take turns.

    P[t, 2i] = sin(ωᵢ t),  P[t, 2i + 1] = cos(ωᵢ t),  ωᵢ = base^(−2i/d_model)

    Computed in float64, since ωᵢ t is wanted modulo 2π, and given in torch's default dtype.
    Raises: ValueError when d_model is odd. Cost: O(time·d_model). Source: vaswani2017attention, section 3.5.

    >>> sinusoidal_positions(3, 4)
    tensor([[ 0.0000,  1.0000,  0.0000,  1.0000],
            [ 0.8415,  0.5403,  0.0100,  0.9999],
            [ 0.9093, -0.4161,  0.0200,  0.9998]])
    """
    angle = torch.arange(time, dtype=torch.float64)[:, None] * frequencies(d_model, base)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(torch.get_default_dtype())


def shift_matrix(offset: int, d_model: int, base: float = 10_000.0) -> Float[Tensor, "d_model d_model"]:
    r"""The linear map that takes every position's vector to that of the position `offset` further.

    P[t + offset] = S P[t] for every t: S has on its diagonal a rotation of each pair,
    ((cos a, sin a), (−sin a, cos a)) with a = ωᵢ·offset, because sin(ωt + a) = sin ωt cos a + cos ωt sin a.

    Raises: ValueError when d_model is odd. Source: vaswani2017attention, section 3.5, says that it exists.

    >>> P = sinusoidal_positions(10, 4)
    >>> torch.allclose(P[2:7] @ shift_matrix(3, 4).T, P[5:10], atol=1e-6)
    True
    """
    angle = frequencies(d_model, base) * offset
    turns = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()], dim=-1).unflatten(-1, (2, 2))
    return torch.block_diag(*turns).to(torch.get_default_dtype())


def convolution_matrix(
    weights: Float[Tensor, " width"], offsets: Int[Tensor, " places"], d_model: int, base: float = 10_000.0
) -> Float[Tensor, "d_model d_model"]:
    r"""A weighted sum of neighbours' position vectors, as one linear map of a position's own vector.

    C = Σ_j w_j S(offset_j), so that C P[t] = Σ_j w_j P[t + offset_j]: a convolution over positions, at every t at once

    Raises: ValueError when weights and offsets differ in number or d_model is odd. Source: the lecture; it follows
    from `shift_matrix`, because sums of linear maps are linear.

    >>> P, offsets = sinusoidal_positions(10, 4), torch.tensor([-1, 0, 1])
    >>> C = convolution_matrix(torch.tensor([0.5, 1.0, 0.25]), offsets, 4)
    >>> torch.allclose(C @ P[5], 0.5 * P[4] + P[5] + 0.25 * P[6], atol=1e-6)
    True
    """
    if len(weights) != len(offsets):
        raise ValueError(f"weights has {len(weights)} entries and offsets {len(offsets)}, expected as many")
    shifts = [shift_matrix(offset, d_model, base) for offset in offsets.tolist()]
    return sum((w * S for w, S in zip(weights, shifts, strict=True)), torch.zeros(d_model, d_model))
