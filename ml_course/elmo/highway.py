r"""Highway layers: a gate decides, feature by feature, how much is changed and how much is carried through."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def highway(
    x: Float[Tensor, "*batch features"],
    weight: Float[Tensor, "features features"],
    bias: Float[Tensor, " features"],
    gate_weight: Float[Tensor, "features features"],
    gate_bias: Float[Tensor, " features"],
) -> Float[Tensor, "*batch features"]:
    r"""What a layer would make of its input, mixed with the input itself.

    t = σ(W_t x + b_t);  y = t ⊙ relu(W x + b) + (1 − t) ⊙ x

    A gate of 0 carries x through unchanged, a gate of 1 is an ordinary layer.

    Cost: O(batch·features²). Source: srivastava2015highway, eq. 3.

    >>> x, closed = torch.tensor([[3.0, -4.0]]), torch.full((2,), -50.0)
    >>> highway(x, torch.eye(2), torch.zeros(2), torch.zeros(2, 2), closed)
    tensor([[ 3., -4.]])
    """
    t = torch.sigmoid(F.linear(x, gate_weight, gate_bias))
    return t * F.linear(x, weight, bias).relu() + (1 - t) * x


class Highway(nn.Module):
    r"""A highway layer that starts with its gates nearly closed.

    y = t ⊙ relu(W x + b) + (1 − t) ⊙ x,  t = σ(W_t x + b_t)

    features    length of x and of y
    gate_bias   b_t at the start; σ(−1) = 27 % is changed. Texts that write y = c ⊙ x + (1 − c) ⊙ relu(…), with a gate
                that carries, mean the same with a bias of +1
    Source: srivastava2015highway.

    >>> layer = Highway(features=6)
    >>> layer(torch.randn(2, 3, 6)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 3, 6]), 84)
    """

    def __init__(self, features: int, gate_bias: float | int = -1.0):
        super().__init__()
        self.change = nn.Linear(features, features)
        self.gate = nn.Linear(features, features)
        nn.init.constant_(self.gate.bias, gate_bias)

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        r"""`highway` with this layer's weights."""
        return highway(x, self.change.weight, self.change.bias, self.gate.weight, self.gate.bias)
