"""Training the digits network 64–128–10 in the array engine, against the scalar engine and against torch.

The same float64 network from the same weights, plain gradient descent on the same batches of 32, one thread each. An
epoch of the scalar engine would take minutes, so it is timed on a few batches; the gradients, and the weights after
two epochs, are checked to be equal first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import ratios
from ml_course import backprop
from ml_course.backprop import MLP, SGD, Tensor, Value, scalar
from ml_course.data import digits, split

SIZES, BATCH, RATE = (64, 128, 10), 32, 0.1
ROUNDS, SCALAR_ROUNDS = 31, 3


def data() -> list[tuple[np.ndarray, np.ndarray]]:
    """One epoch of batches, all of them full."""
    train = split(digits()).train
    starts = range(0, len(train.labels) - BATCH + 1, BATCH)
    return [(train.points[i : i + BATCH], train.labels[i : i + BATCH]) for i in starts]


def torch_twin(network: MLP) -> nn.Sequential:
    twin = nn.Sequential(nn.Linear(SIZES[0], SIZES[1]), nn.ReLU(), nn.Linear(SIZES[1], SIZES[2])).double()
    with torch.no_grad():
        for layer, own in zip((twin[0], twin[2]), network.layers, strict=True):
            layer.weight.copy_(torch.from_numpy(own.weight.data))
            layer.bias.copy_(torch.from_numpy(own.bias.data))
    return twin


def scalar_twin(network: MLP) -> list[tuple[list[list[Value]], list[Value]]]:
    return [
        ([[Value(w) for w in row] for row in layer.weight.data.tolist()], [Value(b) for b in layer.bias.data.tolist()])
        for layer in network.layers
    ]


def epoch(network: MLP, batches: list) -> None:
    optimiser = SGD(network.parameters(), RATE)
    for points, labels in batches:
        optimiser.zero_grad()
        backprop.cross_entropy(network(Tensor(points)), labels).backward()
        optimiser.step()


def torch_epoch(network: nn.Sequential, batches: list) -> None:
    optimiser = torch.optim.SGD(network.parameters(), RATE)
    for points, labels in batches:
        optimiser.zero_grad()
        F.cross_entropy(network(points), labels).backward()
        optimiser.step()


def scalar_step(layers: list, points: np.ndarray, labels: np.ndarray) -> None:
    losses = [
        scalar.cross_entropy(scalar.mlp(layers, point), label)
        for point, label in zip(points.tolist(), labels.tolist(), strict=True)
    ]
    parameters = [value for weights, biases in layers for values in (*weights, biases) for value in values]
    for value in parameters:
        value.grad = 0.0
    (sum(losses) / len(losses)).backward()
    for value in parameters:
        value.data -= RATE * value.grad


def check_equal(batches: list, theirs: list) -> None:
    """All three learn the same: scalar and array after one step, array and torch after two epochs."""
    network = MLP(SIZES, seed=1)
    layers = scalar_twin(network)
    points, labels = batches[0]
    scalar_step(layers, points[:2], labels[:2])
    epoch(network, [(points[:2], labels[:2])])
    for (weights, _), layer in zip(layers, network.layers, strict=True):
        np.testing.assert_allclose([[w.data for w in row] for row in weights], layer.weight.data, rtol=1e-9, atol=1e-12)
    network = MLP(SIZES, seed=1)
    twin = torch_twin(network)
    for _ in range(2):
        epoch(network, batches)
        torch_epoch(twin, theirs)
    for layer, other in zip(network.layers, (twin[0], twin[2]), strict=True):
        np.testing.assert_allclose(layer.weight.data, other.weight.detach().numpy(), rtol=1e-8, atol=1e-10)


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        batches = data()
        theirs = [(torch.from_numpy(points), torch.from_numpy(labels)) for points, labels in batches]
        check_equal(batches, theirs)
        network = MLP(SIZES)
        twin = torch_twin(network)
        rows = []
        seconds = ratios.interleaved(
            {"ours": lambda: epoch(network, batches), "torch": lambda: torch_epoch(twin, theirs)}, ROUNDS, warm_up=2
        )
        what = "an epoch of steps on the digits, array engine"
        rows.append(ratios.row(what, seconds["ours"], seconds["torch"], "× torch"))

        layers, few = scalar_twin(network), batches[:2]
        runs: dict[str, Callable[[], None]] = {
            "scalar": lambda: [scalar_step(layers, *batch) for batch in few],
            "array": lambda: epoch(network, few),
        }
        seconds = ratios.interleaved(runs, 3 * SCALAR_ROUNDS if large else SCALAR_ROUNDS)
        what = f"{len(few)} steps with {BATCH} digits each, array engine"
        rows.append(ratios.row(what, seconds["scalar"], seconds["array"], "× the array engine"))
    return rows
