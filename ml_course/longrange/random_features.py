r"""Random features: φ(x)·φ(y) is exp(x·y) on average, so attention by features is softmax attention, nearly."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.longrange.linear import feature_attention
from ml_course.longrange.padding import padding_of

KINDS = ("trigonometric", "positive", "hyperbolic")


def gaussian_directions(
    number: int, d_head: int, generator: torch.Generator | None = None
) -> Float[Tensor, "directions d_head"]:
    r"""Directions w ~ N(0, I), each drawn by itself.

    >>> gaussian_directions(6, 4).shape
    torch.Size([6, 4])
    """
    return torch.randn(number, d_head, generator=generator)


def orthogonal_directions(
    number: int, d_head: int, generator: torch.Generator | None = None
) -> Float[Tensor, "directions d_head"]:
    r"""Directions each N(0, I) by itself, and every d_head of them at right angles to each other.

    A random matrix is made orthogonal (QR: what Gram and Schmidt do) and its rows get the lengths of other random
    vectors, χ with d_head degrees of freedom. Beyond d_head of them the next such block begins.

    Cost: O(number·d_head²). Source: yu2016orthogonal; choromanski2021performers.

    >>> w = orthogonal_directions(3, 4)
    >>> bool(((w @ w.T) - torch.diag(w.square().sum(1))).abs().max() < 1e-5)
    True
    """
    squares = torch.randn(-(-number // d_head), d_head, d_head, generator=generator)
    orthogonal, upper = torch.linalg.qr(squares)
    # With R's diagonal positive Q is uniform among the rotations; LAPACK leaves its signs to chance.
    rows = (orthogonal * upper.diagonal(dim1=1, dim2=2).sign()[:, None]).mT.flatten(0, 1)
    lengths = torch.randn(number, d_head, generator=generator).norm(dim=1, keepdim=True)
    return rows[:number] * lengths


def random_features(
    x: Float[Tensor, "*batch d_head"], directions: Float[Tensor, "directions d_head"], kind: str = "positive"
) -> Float[Tensor, "*batch features"]:
    r"""Features with E[φ(x)·φ(y)] = exp(x·y), over the m random directions w.

    trigonometric   φ(x) = e^{+‖x‖²/2}/√m  [cos w₁·x, …, cos w_m·x, sin w₁·x, …, sin w_m·x]
    positive        φ(x) = e^{−‖x‖²/2}/√m  [e^{w₁·x}, …, e^{w_m·x}]
    hyperbolic      φ(x) = e^{−‖x‖²/2}/√2m [e^{w₁·x}, …, e^{w_m·x}, e^{−w₁·x}, …, e^{−w_m·x}]

    Raises: ValueError for another kind. Cost: O(m·d_head) a vector.
    Source: rahimi2007random and peng2021random (trigonometric), choromanski2021performers, lemma 1 (the others).

    >>> x, w = torch.tensor([0.3, 0.4]), gaussian_directions(100_000, 2, torch.Generator().manual_seed(0))
    >>> [bool((random_features(x, w, kind).square().sum() - x.square().sum().exp()).abs() < 0.02) for kind in KINDS]
    [True, True, True]
    """
    projected, half = x @ directions.mT, x.square().sum(-1, keepdim=True) / 2
    root = math.sqrt(len(directions))
    if kind == "trigonometric":
        return half.exp() * torch.cat([projected.cos(), projected.sin()], -1) / root
    if kind == "positive":
        return (projected - half).exp() / root
    if kind == "hyperbolic":
        return (torch.cat([projected, -projected], -1) - half).exp() / (root * math.sqrt(2))
    raise ValueError(f"kind = {kind!r}, expected one of {', '.join(KINDS)}")


def feature_variance(
    x: Float[Tensor, "*batch d_head"], y: Float[Tensor, "*batch d_head"], directions: int, kind: str = "positive"
) -> Float[Tensor, "*batch"]:
    r"""The variance of φ(x)·φ(y) as an estimate of exp(x·y), for independent directions.

    trigonometric   (1 − e^{−‖x−y‖²})² e^{‖x‖²+‖y‖²} / 2m: none where x = y, and large where exp(x·y) is small
    positive        (1 − e^{−‖x+y‖²}) e^{‖x+y‖²} e^{2x·y} / m: small where exp(x·y) is small
    hyperbolic      (1 − e^{−‖x+y‖²}) / 2 times the positive one

    directions   m
    Raises: ValueError for another kind. Source: choromanski2021performers, lemma 2; yu2016orthogonal (the first).

    >>> x = torch.tensor([1.0, 0.0])
    >>> feature_variance(x, x, 10, "trigonometric"), feature_variance(x, -x, 10, "positive")
    (tensor(0.), tensor(0.))
    """
    apart, along = (x - y).square().sum(-1), (x + y).square().sum(-1)
    if kind == "trigonometric":
        size = (x.square().sum(-1) + y.square().sum(-1)).exp()
        return (1 - (-apart).exp()).square() * size / (2 * directions)
    positive = (1 - (-along).exp()) * (along + 2 * (x * y).sum(-1)).exp() / directions
    if kind == "positive":
        return positive
    if kind == "hyperbolic":
        return (1 - (-along).exp()) / 2 * positive
    raise ValueError(f"kind = {kind!r}, expected one of {', '.join(KINDS)}")


def performer_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    directions: Float[Tensor, "directions d_head"],
) -> Float[Tensor, "*batch query features"]:
    r"""Softmax attention estimated with positive random features, in linear time.

    oᵢ = φ(qᵢ′)ᵀ Σⱼ φ(kⱼ′) vⱼᵀ / φ(qᵢ′)ᵀ Σⱼ φ(kⱼ′),  x′ = x / d_head^¼

    What is subtracted from the exponents, the largest of each query and the largest of all keys, cancels in the
    quotient. Numerator and denominator are unbiased; their quotient is so in the limit of many directions.

    Raises, cost: as `feature_attention`. Source: choromanski2021performers (FAVOR+).

    >>> q, k, v = (torch.randn(50, 8) / 2 for _ in range(3))
    >>> estimate = performer_attention(q, k, v, directions=orthogonal_directions(4096, 8))
    >>> bool((estimate - F.scaled_dot_product_attention(q, k, v)).abs().mean() < 0.05)
    True
    """
    queries, keys = (x / x.shape[-1] ** 0.25 for x in (queries, keys))
    if (real := padding_of(mask, "performer_attention")) is not None:
        keys = keys.masked_fill(~real[..., None], 0)  # filler has no say in what is the largest
    directions = directions.to(queries)

    def exponents(x: Tensor) -> Tensor:
        return x @ directions.mT - x.square().sum(-1, keepdim=True) / 2

    of_queries, of_keys = exponents(queries), exponents(keys)
    of_queries = (of_queries - of_queries.detach().amax(-1, keepdim=True)).exp()
    of_keys = (of_keys - of_keys.detach().amax((-2, -1), keepdim=True)).exp()
    return feature_attention(of_queries, of_keys, values, mask, causal=causal)


def random_feature_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    directions: Float[Tensor, "directions d_head"],
) -> Float[Tensor, "*batch query features"]:
    r"""Softmax attention between vectors of length one, estimated with trigonometric features, in linear time.

    oᵢ = φ(q̂ᵢ)ᵀ Σⱼ φ(k̂ⱼ) vⱼᵀ / φ(q̂ᵢ)ᵀ Σⱼ φ(k̂ⱼ),  x̂ = x / ‖x‖

    estimates weights ∝ exp(q̂·k̂); with `directions` of deviation s instead of 1, exp(s² q̂·k̂). At length one the factor
    e^{‖x‖²/2} cancels, and without it no feature exceeds 1. The sum below may still come near zero, or under it:
    cosines have both signs.

    Raises, cost: as `feature_attention`. Source: peng2021random, without its gate.

    >>> q, k, v = (torch.randn(50, 8) for _ in range(3))
    >>> estimate = random_feature_attention(q, k, v, directions=gaussian_directions(4096, 8))
    >>> exact = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT).softmax(-1) @ v
    >>> bool((estimate - exact).abs().max() < 0.3)
    True
    """
    directions = directions.to(queries)
    queries, keys = (F.normalize(x, dim=-1) @ directions.mT for x in (queries, keys))
    queries, keys = (torch.cat([x.cos(), x.sin()], -1) for x in (queries, keys))
    return feature_attention(queries, keys, values, mask, causal=causal)


class RandomFeatures(nn.Module):
    r"""An attention by random features with directions of its own, that stay until they are drawn again.

    attend       `performer_attention` or `random_feature_attention`
    d_head       width of a head
    directions   how many; 2·d_head when None
    draw         `orthogonal_directions` or `gaussian_directions`
    causal       as of `attend`
    Trainings draw anew from time to time (`redraw`), so that the network does not settle in one draw's errors.
    Source: choromanski2021performers.

    >>> RandomFeatures(performer_attention, 8, causal=True)(*(torch.randn(2, 5, 8) for _ in range(3))).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        attend: Callable[..., Tensor],
        d_head: int,
        directions: int | None = None,
        *,
        draw: Callable[..., Tensor] = orthogonal_directions,
        causal: bool = False,
    ):
        super().__init__()
        self.attend, self.draw, self.causal = attend, draw, causal
        self.register_buffer("directions", draw(2 * d_head if directions is None else directions, d_head))

    def redraw(self, generator: torch.Generator | None = None) -> None:
        r"""New directions, as many as before."""
        self.directions.copy_(self.draw(*self.directions.shape, generator))

    def forward(
        self,
        queries: Float[Tensor, "*batch query d_head"],
        keys: Float[Tensor, "*batch key d_head"],
        values: Float[Tensor, "*batch key features"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> Float[Tensor, "*batch query features"]:
        r"""As `attend`, with the directions held here."""
        return self.attend(queries, keys, values, mask, causal=self.causal, directions=self.directions)
