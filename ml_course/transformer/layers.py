r"""The layers: normalisation, the position-wise network, and attention, each within a residual connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention


def layer_norm(
    x: Float[Tensor, "*batch d_model"],
    scale: Float[Tensor, " d_model"],
    shift: Float[Tensor, " d_model"],
    epsilon: float = 1e-5,
) -> Float[Tensor, "*batch d_model"]:
    r"""Brings each token's numbers to mean 0 and variance 1, then stretches and shifts them as learned.

    (x − μ) / √(σ² + ε) · scale + shift,  μ and σ² of the token's own d_model numbers, σ² with divisor d_model

    Cost: O(numel). Source: ba2016layer, eq. 4; here with ε under the root, as torch has it.

    >>> layer_norm(torch.tensor([[1.0, 3.0], [10.0, 10.0]]), torch.ones(2), torch.tensor([0.0, 5.0]))
    tensor([[-1.0000,  6.0000],
            [ 0.0000,  5.0000]])
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + epsilon).sqrt() * scale + shift


class LayerNorm(nn.Module):
    r"""`layer_norm` with a scale that starts at 1 and a shift that starts at 0.

    fused   torch's kernel; else the formula in its own words

    >>> LayerNorm(4)(torch.randn(2, 3, 4)).mean(-1).abs().max() < 1e-6
    tensor(True)
    """

    def __init__(self, d_model: int, *, epsilon: float = 1e-5, fused: bool = True):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.epsilon, self.fused = epsilon, fused

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        if self.fused:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)
        return layer_norm(x, self.weight, self.bias, self.epsilon)


class FeedForward(nn.Module):
    r"""The position-wise network: each token goes through the same two layers, alone.

    f(x W₁ᵀ + b₁) W₂ᵀ + b₂

    d_model      width of a token
    d_ff         width between the two layers
    activation   f: `F.relu`, `F.gelu` …
    Cost: 2·d_model·d_ff multiplications a token. Source: vaswani2017attention, eq. 2.

    >>> FeedForward(8, 32)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        d_ff: int,
        *,
        activation: Callable[[Tensor], Tensor] = F.relu,
        dropout: float = 0.0,
        bias: bool = True,
    ):
        super().__init__()
        self.wider, self.narrower = nn.Linear(d_model, d_ff, bias), nn.Linear(d_ff, d_model, bias)
        self.activation, self.dropout = activation, nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.narrower(self.dropout(self.activation(self.wider(x))))


class SwiGLU(nn.Module):
    r"""A position-wise network whose one half is a gate for the other.

    (swish(x W₁ᵀ) ⊙ x V₁ᵀ) W₂ᵀ,  swish(z) = z σ(z)

    Three matrices instead of two: with d_ff = ⅔ of `FeedForward`'s it has as many weights. Without biases.
    Source: shazeer2020glu, eq. 6.

    >>> SwiGLU(8, 21)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, d_ff: int, *, dropout: float = 0.0):
        super().__init__()
        self.gate, self.wider = (nn.Linear(d_model, d_ff, bias=False) for _ in range(2))
        self.narrower, self.dropout = nn.Linear(d_ff, d_model, bias=False), nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return self.narrower(self.dropout(F.silu(self.gate(x)) * self.wider(x)))


class Residual(nn.Module):
    r"""A sublayer that adds to what comes in instead of replacing it, with the norm after the sum or inside the branch.

    post-norm: LayerNorm(x + sublayer(x))      pre-norm: x + sublayer(LayerNorm(x))

    Source: vaswani2017attention, section 3.1 (post); wang2019learning and xiong2020layer (pre).
    """

    def __init__(self, sublayer: nn.Module, d_model: int, *, pre_norm: bool = False, dropout: float = 0.0):
        super().__init__()
        self.sublayer, self.norm, self.dropout = sublayer, LayerNorm(d_model), nn.Dropout(dropout)
        self.pre_norm = pre_norm

    def forward(self, x: Float[Tensor, "*batch time d_model"], *arguments: Any, **options: Any) -> Tensor:
        if self.pre_norm:
            return x + self.dropout(self.sublayer(self.norm(x), *arguments, **options))
        return self.norm(x + self.dropout(self.sublayer(x, *arguments, **options)))


class EncoderLayer(nn.Module):
    r"""Self-attention, where the tokens exchange what they know, then the position-wise network, where each digests it.

    d_model        width of a token
    attention      a module called as attention(x, None, mask, **options): `MultiHeadAttention` or one like it
    feed_forward   a module called with the tokens
    pre_norm       where the norms are, see `Residual`
    dropout        of what each branch adds

    >>> from ml_course.attention import MultiHeadAttention
    >>> EncoderLayer(8, MultiHeadAttention(8, 2), FeedForward(8, 32))(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        attention: nn.Module,
        feed_forward: nn.Module,
        *,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attention = Residual(attention, d_model, pre_norm=pre_norm, dropout=dropout)
        self.feed_forward = Residual(feed_forward, d_model, pre_norm=pre_norm, dropout=dropout)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        mask: Bool[Tensor, "*#batch #time #key"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "*batch time d_model"]:
        r"""`options` go to the attention, as a cache would. With a causal mask: a decoder-only layer."""
        return self.feed_forward(self.attention(x, None, mask, **options))


class DecoderLayer(nn.Module):
    r"""As the encoder's layer, and between its two parts cross-attention: what is written looks at what was read.

    attention         self-attention, as in `EncoderLayer`
    cross_attention   called as cross_attention(x, memory, memory_mask)
    feed_forward, pre_norm, dropout   as in `EncoderLayer`
    """

    def __init__(
        self,
        d_model: int,
        attention: nn.Module,
        cross_attention: nn.Module,
        feed_forward: nn.Module,
        *,
        pre_norm: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.attention = Residual(attention, d_model, pre_norm=pre_norm, dropout=dropout)
        self.cross_attention = Residual(cross_attention, d_model, pre_norm=pre_norm, dropout=dropout)
        self.feed_forward = Residual(feed_forward, d_model, pre_norm=pre_norm, dropout=dropout)

    def forward(
        self,
        x: Float[Tensor, "*batch time d_model"],
        memory: Float[Tensor, "*batch source d_model"],
        mask: Bool[Tensor, "*#batch #time #key"] | None = None,
        memory_mask: Bool[Tensor, "*#batch #time #source"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "*batch time d_model"]:
        r"""`mask` says which earlier tokens a token sees (causal), `memory_mask` which source tokens (no filler)."""
        x = self.attention(x, None, mask, **options)
        return self.feed_forward(self.cross_attention(x, memory, memory_mask))


class Stack(nn.Module):
    r"""Layers one after another, each called with what the one below gives and the same further arguments.

    layers       modules called as layer(x, *arguments)
    final_norm   a LayerNorm after the last: pre-norm layers need it, because what they hand on is never normalised
    """

    def __init__(self, layers: Iterable[nn.Module], d_model: int, *, final_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = LayerNorm(d_model) if final_norm else nn.Identity()

    def forward(
        self, x: Float[Tensor, "*batch time d_model"], *arguments: Any, caches: Sequence[Any] | None = None
    ) -> Float[Tensor, "*batch time d_model"]:
        r"""`caches`, one for each layer, go to the layers as `cache`."""
        for number, layer in enumerate(self.layers):
            x = layer(x, *arguments) if caches is None else layer(x, *arguments, cache=caches[number])
        return self.norm(x)


def pre_norm_stack(
    d_model: int,
    heads: int,
    d_ff: int,
    layers: int,
    *,
    dropout: float = 0.0,
    attention: Callable[[int, int], nn.Module] = MultiHeadAttention,
) -> Stack:
    r"""The stack of most models since GPT-2: pre-norm layers of self-attention and GELU, and a norm after the last.

    attention   attention(d_model, heads) → the module of one layer
    dropout     of what each branch adds
    Raises: ValueError when d_model is not divisible by heads. Source: radford2019language, section 2.3.

    >>> pre_norm_stack(8, heads=2, d_ff=16, layers=3)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    made = (
        EncoderLayer(
            d_model,
            attention(d_model, heads),
            FeedForward(d_model, d_ff, activation=F.gelu),
            pre_norm=True,
            dropout=dropout,
        )
        for _ in range(layers)
    )
    return Stack(made, d_model, final_norm=True)
