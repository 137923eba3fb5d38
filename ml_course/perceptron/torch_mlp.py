r"""The network of `mlp.py` once more in torch, which finds the gradients itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml_course.perceptron.activations import ACTIVATIONS
from ml_course.perceptron.mlp import MLP, batches

TORCH_ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": F.relu, "leaky_relu": F.leaky_relu}


class TorchMLP(nn.Module):
    r"""The same fully connected network: nn.Linear is X Wᵀ + b alone, so the activation stands between the layers.

    Arguments as for `MLP`, without the seed: torch draws the first weights from its own generator and law.
    Raises: ValueError when there are fewer than two sizes, or the activation is unknown.

    >>> TorchMLP((64, 32, 10))(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu"):
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"sizes = {tuple(sizes)} has {len(sizes)} entries, expected at least inputs and classes")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation = {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        self.activation = activation
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, points: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        r"""The logits; softmax is left to the loss, which takes it in a safer way."""
        hidden = points
        for layer in self.layers[:-1]:
            hidden = TORCH_ACTIVATIONS[self.activation](layer(hidden))
        return self.layers[-1](hidden)


def to_torch(network: MLP) -> TorchMLP:
    r"""A copy of a NumPy network in torch: the same weights, the same answers.

    >>> twin = to_torch(MLP((3, 4, 2), activation="tanh"))
    >>> [tuple(weights.shape) for weights in twin.state_dict().values()]
    [(4, 3), (4,), (2, 4), (2,)]
    """
    twin = TorchMLP(network.sizes, network.activation)
    twin.to(torch.from_numpy(network.weights[0]).dtype)
    with torch.no_grad():
        for layer, weights, bias in zip(twin.layers, network.weights, network.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.copy_(torch.from_numpy(bias))
    return twin


def to_numpy(network: TorchMLP) -> MLP:
    r"""A copy of a torch network in NumPy: the same weights, the same answers.

    >>> to_numpy(TorchMLP((3, 4, 2))).sizes
    (3, 4, 2)
    """
    weights = [layer.weight.detach().cpu().numpy().copy() for layer in network.layers]
    twin = MLP([weights[0].shape[1], *map(len, weights)], network.activation, dtype=weights[0].dtype)
    twin.weights = weights
    twin.biases = [layer.bias.detach().cpu().numpy().copy() for layer in network.layers]
    return twin


def fit_torch(
    network: TorchMLP,
    points: Float[Tensor, "samples features"],
    labels: Int[Tensor, " samples"],
    learning_rate: float = 0.1,
    epochs: int = 50,
    batch_size: int = 32,
    seed: int = 0,
) -> list[float]:
    r"""`MLP.fit` with torch's gradients and optimiser, on the same batches; returns the same history of losses.

    Points, labels and network share one device.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate)
    rng = np.random.default_rng(seed)
    history = [_loss(network, points, labels)]
    for _ in range(epochs):
        for rows in batches(len(points), batch_size, rng):
            batch = torch.from_numpy(rows).to(points.device)
            optimiser.zero_grad()
            F.cross_entropy(network(points[batch]), labels[batch]).backward()
            optimiser.step()
        history.append(_loss(network, points, labels))
    return history


@torch.no_grad()
def _loss(network: TorchMLP, points: Tensor, labels: Tensor) -> float:
    return F.cross_entropy(network(points), labels).item()
