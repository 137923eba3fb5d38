r"""Rotary positions: every pair of features is turned by an angle that grows with the position."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor, nn

from ml_course.attention import scaled_dot_product_attention
from ml_course.positions.toeplitz import check_sizes
from ml_course.transformer import frequencies


def rotate(
    x: Float[Tensor, "*batch time d_head"],
    positions: Real[Tensor, " time"],
    *,
    base: float = 10_000.0,
    halves: bool = False,
) -> Float[Tensor, "*batch time d_head"]:
    r"""Turns the i-th pair of features at position m by the angle m ωᵢ: RoPE.

    (a, b) ↦ (a cos mωᵢ − b sin mωᵢ, a sin mωᵢ + b cos mωᵢ),  ωᵢ = base^(−2i/d_head)

    ⟨rotate(q, m), rotate(k, n)⟩ depends on q, k and m − n alone, and no vector changes its length.

    positions   where the tokens stand; whole numbers or others
    halves      pairs are the features i and i + d_head/2, as in many published weights; else 2i and 2i + 1
    Raises: ValueError when d_head is odd. Cost: O(numel). Source: su2021roformer, eq. 34; `halves` is
    black2022gptneox's order of the features.

    >>> rotate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    tensor([[1.0000, 0.0000],
            [0.5403, 0.8415]])
    """
    return _turn(x, *_cos_and_sin(positions, x.shape[-1], base, x.dtype), halves)


def rotate_complex(
    x: Float[Tensor, "*batch time d_head"], positions: Real[Tensor, " time"], *, base: float = 10_000.0
) -> Float[Tensor, "*batch time d_head"]:
    r"""The same with each pair read as one complex number, which is multiplied by one of length 1.

    z ↦ z e^(i m ω)

    Raises: ValueError when d_head is odd. Cost: O(numel). Source: su2021roformer, eq. 12.

    >>> x, positions = torch.randn(5, 8), torch.arange(5)
    >>> torch.allclose(rotate_complex(x, positions), rotate(x, positions), atol=1e-6)
    True
    """
    angles = _angles(positions, x.shape[-1], base)
    exact = x.to(_at_least_float32(x.dtype))  # there are no complex numbers of two bytes a part
    pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)).contiguous())
    turned = pairs * torch.polar(torch.ones_like(angles), angles).to(pairs.dtype)
    return torch.view_as_real(turned).flatten(-2).to(x.dtype)


class RotaryAttention(nn.Module):
    r"""Scaled dot product attention between rotated queries and rotated keys; values stay as they are.

    softmax(R_m q · R_n k / √d_head) v, with R_m q = rotate(q, m): scores know offsets, and nothing has to be learned

    base     of the frequencies: the slowest pair turns once in about 2π·base positions
    scale    positions are multiplied by it. L/L′ is position interpolation, which makes a model that learned texts of
             length L see those of length L′ with no angle it has not met
    halves   see `rotate`
    fused    torch's kernel; else the readable form
    The keys come unrotated and all of them, also with a cache: key j stands at position j.
    Raises: ValueError when d_head is odd or there are more queries than keys. Cost: O((query + key)·d_head) more than
    attention. Source: su2021roformer; scale: chen2023extending.

    >>> q, k, v = torch.randn(3, 2, 5, 8)
    >>> attend = RotaryAttention()
    >>> torch.allclose(attend(q, k, v)[:, -1:], attend(q[:, -1:], k, v), atol=1e-6)
    True
    """

    def __init__(self, *, base: float = 10_000.0, scale: float = 1.0, halves: bool = False, fused: bool = True):
        super().__init__()
        self.base, self.scale, self.halves, self.fused = base, scale, halves, fused
        self._kept: tuple[tuple, Tensor, Tensor] | None = None  # cosines and sines, so that not every call needs them

    def forward(
        self,
        queries: Float[Tensor, "*batch query d_head"],
        keys: Float[Tensor, "*batch key d_head"],
        values: Float[Tensor, "*batch key features"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> Float[Tensor, "*batch query features"]:
        query, key = queries.shape[-2], keys.shape[-2]
        check_sizes(query, key)
        cos, sin = self._turns(key, queries)
        queries = _turn(queries, cos[key - query :], sin[key - query :], self.halves)
        return scaled_dot_product_attention(queries, _turn(keys, cos, sin, self.halves), values, mask, fused=self.fused)

    def _turns(self, time: int, like: Tensor) -> tuple[Tensor, Tensor]:
        asked = like.shape[-1], self.base, self.scale, like.dtype, like.device
        if self._kept is None or self._kept[0] != asked or len(self._kept[1]) < time:
            positions = self.scale * torch.arange(2 * time, dtype=torch.float64, device=like.device)
            self._kept = asked, *_cos_and_sin(positions, like.shape[-1], self.base, like.dtype)
        return self._kept[1][:time], self._kept[2][:time]


def _angles(positions: Tensor, d_head: int, base: float) -> Tensor:
    """m ωᵢ in float64: large angles are wanted modulo 2π."""
    return positions.double()[:, None] * frequencies(d_head, base).to(positions.device)


def _cos_and_sin(positions: Tensor, d_head: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    angles = _angles(positions, d_head, base)
    return angles.cos().to(_at_least_float32(dtype)), angles.sin().to(_at_least_float32(dtype))


def _turn(x: Tensor, cos: Tensor, sin: Tensor, halves: bool) -> Tensor:
    a, b = x.chunk(2, dim=-1) if halves else (x[..., 0::2], x[..., 1::2])
    turned = a * cos - b * sin, a * sin + b * cos
    joined = torch.cat(turned, dim=-1) if halves else torch.stack(turned, dim=-1).flatten(-2)
    return joined.to(x.dtype)


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
