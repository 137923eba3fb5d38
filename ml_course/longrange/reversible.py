r"""Reversible layers: what went in can be computed from what came out, so nothing need be kept for the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ml_course.transformer import LayerNorm


class Branch(nn.Module):
    r"""What a pre-norm layer adds, without the sum: sublayer(LayerNorm(x), *arguments)."""

    def __init__(self, sublayer: nn.Module, d_model: int):
        super().__init__()
        self.norm, self.sublayer = LayerNorm(d_model), sublayer

    def forward(self, x: Float[Tensor, "*batch time d_model"], *arguments: Any) -> Float[Tensor, "*batch time d_model"]:
        return self.sublayer(self.norm(x), *arguments)


def invert_layer(
    y1: Float[Tensor, "*batch d_model"],
    y2: Float[Tensor, "*batch d_model"],
    first: Callable[[Tensor], Tensor],
    second: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, "*batch d_model"], Float[Tensor, "*batch d_model"]]:
    r"""What went into y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁): what was added last is taken away first.

    x₂ = y₂ − G(y₁),  x₁ = y₁ − F(x₂)

    first, second   F and G
    Source: gomez2017reversible.

    >>> invert_layer(torch.tensor([7.0]), torch.tensor([50.0]), lambda x: 5 * x, lambda x: x**2)
    (tensor([2.]), tensor([1.]))
    """
    x2 = y2 - second(y1)
    return y1 - first(x2), x2


class ReversibleLayer(nn.Module):
    r"""Two streams that take turns: each adds to itself what a branch makes of the other.

    y₁ = x₁ + F(x₂),  y₂ = x₂ + G(y₁)          x₂ = y₂ − G(y₁),  x₁ = y₁ − F(x₂)

    first, second   F and G, called as F(x, *arguments) and G(x); in a Transformer attention and the position-wise
                    network, each as a `Branch`
    Cost: as the branches, in either direction. Source: gomez2017reversible; kitaev2020reformer, section 3.

    >>> layer = ReversibleLayer(nn.Linear(4, 4), nn.Linear(4, 4))
    >>> x = torch.randn(3, 4), torch.randn(3, 4)
    >>> back = layer.inverse(*layer(*x))
    >>> torch.allclose(back[0], x[0], atol=1e-5) and torch.allclose(back[1], x[1], atol=1e-5)
    True
    """

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x1: Tensor, x2: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        y1 = x1 + self.first(x2, *arguments)
        return y1, x2 + self.second(y1)

    def inverse(self, y1: Tensor, y2: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
        r"""The streams that went in."""
        return invert_layer(y1, y2, lambda x: self.first(x, *arguments), self.second)


class ReversibleStack(nn.Module):
    r"""Reversible layers one after another; both streams begin as the input, and their mean is the output.

    For the way back only the last layer's two streams are kept, however many layers there are: each layer's inputs are
    computed again from its outputs. Random choices (dropout, hashing) are repeated as they fell.

    layers       `ReversibleLayer`s
    final_norm   a LayerNorm of the output, as pre-norm layers need it
    keep         autograd keeps all activations as usual: the same numbers, for comparison
    Called as `ml_course.transformer.Stack`. Cost: each layer's forward pass once more, about a third in all.
    Source: gomez2017reversible, algorithm 1; kitaev2020reformer, section 3.

    >>> layers = (ReversibleLayer(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(3))
    >>> ReversibleStack(layers, 4)(torch.randn(2, 5, 4)).shape
    torch.Size([2, 5, 4])
    """

    def __init__(
        self, layers: Iterable[ReversibleLayer], d_model: int, *, final_norm: bool = False, keep: bool = False
    ):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = LayerNorm(d_model) if final_norm else nn.Identity()
        self.keep = keep

    def forward(self, x: Float[Tensor, "*batch time d_model"], *arguments: Any) -> Float[Tensor, "*batch time d_model"]:
        r"""`arguments` go to every layer's first branch: None and a mask, for attention. They get no gradient."""
        if self.keep:
            y1 = y2 = x
            for layer in self.layers:
                y1, y2 = layer(y1, y2, *arguments)
        else:
            y1, y2 = _Reversible.apply(x, self.layers, arguments, *self.layers.parameters())
        return self.norm((y1 + y2) / 2)


class _Reversible(torch.autograd.Function):
    """Forward without a graph; backward layer by layer, each with a small graph of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: nn.ModuleList, arguments: tuple, *parameters: Tensor) -> tuple:
        y1 = y2 = x
        ctx.seeds = []
        for layer in layers:
            ctx.seeds.append([int(torch.randint(2**62, ())) for _ in range(2)])
            y1 = y1 + _seeded(ctx.seeds[-1][0], layer.first, y2, *arguments)
            y2 = y2 + _seeded(ctx.seeds[-1][1], layer.second, y1)
        ctx.layers, ctx.arguments = layers, arguments
        ctx.save_for_backward(y1, y2)
        return y1, y2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope1: Tensor, slope2: Tensor) -> tuple[Tensor | None, ...]:
        y1, y2 = ctx.saved_tensors
        found: dict[Tensor, Tensor] = {}  # by parameter: several layers may share one
        for layer, (seed1, seed2) in zip(reversed(ctx.layers), reversed(ctx.seeds), strict=True):
            # y₂ = x₂ + G(y₁): its slope reaches y₁ through G.
            added, through = _with_slopes(seed2, layer.second, y1, slope2, found)
            y2, slope1 = y2 - added, slope1 + through
            added, through = _with_slopes(seed1, layer.first, y2, slope1, found, *ctx.arguments)
            y1, slope2 = y1 - added, slope2 + through
        parameters = list(ctx.layers.parameters())
        return slope1 + slope2, None, None, *(found.get(parameter) for parameter in parameters)


def _seeded(seed: int, branch: nn.Module, *arguments: Any) -> Tensor:
    """The branch with random choices of its own, which the same seed repeats; everybody else's go on undisturbed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return branch(*arguments)


def _with_slopes(
    seed: int, branch: nn.Module, x: Tensor, slope: Tensor, found: dict[Tensor, Tensor], *arguments: Any
) -> tuple[Tensor, Tensor]:
    """The branch's output again, and what `slope` at the output is at the input; those of parameters go to `found`."""
    x = x.detach().requires_grad_()
    parameters = [parameter for parameter in branch.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        output = _seeded(seed, branch, x, *arguments)
    through, *others = torch.autograd.grad(output, (x, *parameters), slope, allow_unused=True)
    for parameter, other in zip(parameters, others, strict=True):
        if other is not None:
            found[parameter] = found[parameter] + other if parameter in found else other
    return output.detach(), torch.zeros_like(x) if through is None else through


def reversible_encoder(
    layers: int,
    d_model: int,
    attention: Callable[[], nn.Module],
    feed_forward: Callable[[], nn.Module],
    *,
    keep: bool = False,
) -> ReversibleStack:
    r"""A Transformer's encoder in reversible form: F is attention, G the position-wise network, both pre-norm.

    attention, feed_forward   make a layer's two sublayers
    keep                      as of `ReversibleStack`

    >>> from ml_course.attention import MultiHeadAttention
    >>> from ml_course.transformer import FeedForward
    >>> encoder = reversible_encoder(2, 8, lambda: MultiHeadAttention(8, 2), lambda: FeedForward(8, 16))
    >>> encoder(torch.randn(3, 5, 8), None, None).shape
    torch.Size([3, 5, 8])
    """
    made = (ReversibleLayer(Branch(attention(), d_model), Branch(feed_forward(), d_model)) for _ in range(layers))
    return ReversibleStack(made, d_model, final_norm=True, keep=keep)
