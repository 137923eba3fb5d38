"""Elman's network against torch.nn.RNN: one step of learning at batch 32, 100 steps, width 256.

The same weights and inputs, one thread each; outputs and gradients are checked to agree first. Ours goes through time
in Python with one product a step; torch does in C++. Ragged batches are given by lengths here and packed there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks import ratios
from ml_course.rnn import RNN

BATCH, TIME, WIDTH, ROUNDS = 32, 100, 256, 31


def ours_step(layer: RNN, x: Tensor, lengths: Tensor | None) -> list[Tensor]:
    outputs, _ = layer(x, lengths=lengths)
    return [outputs, *torch.autograd.grad(outputs.square().mean(), [x, *layer.parameters()])]


def torch_step(layer: nn.RNN, x: Tensor, lengths: Tensor | None) -> list[Tensor]:
    if lengths is None:
        outputs, _ = layer(x)
    else:
        packed, _ = layer(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=TIME)
    return [outputs, *torch.autograd.grad(outputs.square().mean(), [x, *layer.parameters()])]


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    theirs = nn.RNN(WIDTH, WIDTH, batch_first=True)
    ours = RNN(WIDTH, WIDTH)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(BATCH, TIME, WIDTH, requires_grad=True)
    for what, lengths in (("full rows", None), ("rows of 10 to 100", torch.linspace(10, TIME, BATCH).long())):
        both = partial(ours_step, ours, x, lengths), partial(torch_step, theirs, x, lengths)
        yield ratios.compared(f"RNN, forward and backward, {what}", *both, "× torch", rounds)


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        return list(rows(3 * ROUNDS if large else ROUNDS))
