r"""What a task takes of ELMo: one vector a word, a mixture of all layers that the task itself learns."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def scalar_mix(
    layers: Float[Tensor, "depth *batch features"],
    weights: Float[Tensor, " depth"],
    scale: Float[Tensor, ""],
    *,
    normalise: bool = False,
) -> Float[Tensor, "*batch features"]:
    r"""A weighted mean of the layers, times a number.

    γ Σⱼ softmax(s)ⱼ hⱼ

    weights     s, any numbers: equal ones give the plain mean
    scale       γ, which brings the vectors to the size the task's network likes
    normalise   first give each vector of each layer mean 0 and deviation 1, so that no layer counts more for its size
    Cost: O(numel(layers)). Source: peters2018deep, eq. 1.

    >>> layers = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> scalar_mix(layers, weights=torch.tensor([0.0, 0.0]), scale=torch.tensor(2.0))
    tensor([[1., 1.]])
    """
    if normalise:
        layers = F.layer_norm(layers, layers.shape[-1:])
    return scale * torch.tensordot(weights.softmax(0), layers, dims=1)


class ScalarMix(nn.Module):
    r"""`scalar_mix` with weights that are learned along with the task; they begin equal, and the scale at 1.

    depth       number of layers
    normalise   as in `scalar_mix`

    >>> mix = ScalarMix(depth=3)
    >>> mix(torch.randn(3, 5, 7)).shape, sum(p.numel() for p in mix.parameters())
    (torch.Size([5, 7]), 4)
    """

    def __init__(self, depth: int, *, normalise: bool = False):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(depth))
        self.scale = nn.Parameter(torch.ones(()))
        self.normalise = normalise

    @property
    def shares(self) -> Float[Tensor, " depth"]:
        r"""How much each layer counts; they sum to one."""
        return self.weights.detach().softmax(0)

    def forward(self, layers: Float[Tensor, "depth *batch features"]) -> Float[Tensor, "*batch features"]:
        r"""The mixture with the shares and the scale as they are now."""
        return scalar_mix(layers, self.weights, self.scale, normalise=self.normalise)


class MixTagger(nn.Module):
    r"""The smallest task on top of ELMo: mix the layers, and let one linear layer say the class of each word.

    logits = W mix(h₀ … h_L) + b

    depth, features   of the layers; with depth 1 it is a linear layer on plain vectors
    classes           to choose from
    normalise         as in `scalar_mix`

    >>> tagger = MixTagger(depth=3, features=12, classes=2)
    >>> tagger(torch.randn(3, 8, 12)).shape
    torch.Size([8, 2])
    """

    def __init__(self, depth: int, features: int, classes: int, *, normalise: bool = True):
        super().__init__()
        self.mix = ScalarMix(depth, normalise=normalise)
        self.output = nn.Linear(features, classes)

    def forward(self, layers: Float[Tensor, "depth *batch features"]) -> Float[Tensor, "*batch classes"]:
        r"""Logits of each word's classes; `layers` are frozen features, with no gradient of their own."""
        return self.output(self.mix(layers))
