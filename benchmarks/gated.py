"""LSTM and GRU, forward and backward, against torch.nn's: batch 32, 100 steps, width 256, one thread and two.

Outputs and gradients are checked to be equal first, with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
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


def check_equal(ours: nn.Module, theirs: nn.Module, inputs: torch.Tensor, towards: torch.Tensor) -> None:
    first = [result.clone() for result in step(ours, inputs, towards)]
    for mine, other in zip(first, step(theirs, inputs, towards), strict=True):
        # Gradients of weights are sums of 3,200 terms: relative to the largest of them.
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5 * float(other.abs().max().clamp(min=1)))


def measure(large: bool) -> list[dict[str, Any]]:
    rows, before = [], torch.get_num_threads()
    torch.manual_seed(0)
    inputs, towards = torch.randn(BATCH, TIME, WIDTH, requires_grad=True), torch.randn(BATCH, TIME, WIDTH)
    try:
        for threads in THREADS:
            torch.set_num_threads(threads)
            for name, (own, other) in PAIRS.items():
                ours, theirs = own(WIDTH, WIDTH), other(WIDTH, WIDTH, batch_first=True)
                ours.load_state_dict(theirs.state_dict())
                check_equal(ours, theirs, inputs, towards)
                runs: dict[str, Callable[[], Any]] = {
                    "ours": lambda layer=ours: step(layer, inputs, towards),
                    "torch": lambda layer=theirs: step(layer, inputs, towards),
                }
                seconds = ratios.interleaved(runs, 3 * ROUNDS if large else ROUNDS, warm_up=2)
                what = f"{name} forward and backward, {threads} thread{'s' * (threads > 1)}"
                rows.append(ratios.row(what, seconds["ours"], seconds["torch"], "× torch"))
    finally:
        torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"])
