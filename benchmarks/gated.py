"""LSTM and GRU, forward and backward, against torch.nn's: batch 32, 100 steps, width 256, one thread and two.

Outputs and gradients are checked to be equal first, with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import ratios
from ml_course.gated import GRU, LSTM

BATCH, TIME, WIDTH = 32, 100, 256
THREADS, ROUNDS = (1, 2), 21
PAIRS = {"LSTM": (LSTM, nn.LSTM), "GRU": (GRU, nn.GRU)}


def step(layer: nn.Module, inputs: torch.Tensor, towards: torch.Tensor) -> list[torch.Tensor]:
    """One pass forward and one back; the outputs and every gradient."""
    inputs.grad = None
    layer.zero_grad()
    outputs = layer(inputs)[0]
    outputs.backward(towards)
    return [outputs.detach(), inputs.grad, *(parameter.grad for parameter in layer.parameters())]


def rows(rounds: int, where: str = "") -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    for name, (own, other) in PAIRS.items():
        with ratios.here():
            inputs, towards = torch.randn(BATCH, TIME, WIDTH, requires_grad=True), torch.randn(BATCH, TIME, WIDTH)
            ours, theirs = own(WIDTH, WIDTH), other(WIDTH, WIDTH, batch_first=True)
        ours.load_state_dict(theirs.state_dict())
        both = [partial(step, layer, inputs, towards) for layer in (ours, theirs)]
        yield ratios.compared(f"{name} forward and backward{where}", *both, "× torch", rounds)


def measure(large: bool) -> list[dict[str, Any]]:
    found = []
    for count in THREADS:
        with ratios.threads(count):
            found += rows(3 * ROUNDS if large else ROUNDS, f", {count} thread{'s' * (count > 1)}")
    return found
