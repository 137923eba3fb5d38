"""Attention in blocks against naive attention: peak memory and time of one pass forward and back over 8,192 tokens.

One sequence, one head of width 64, one thread. Naive attention is the readable form that stores its matrices; outputs
and gradients are checked to be equal first. How both grow with the length: `growth`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import ratios
from ml_course.attention import scaled_dot_product_attention
from ml_course.longrange import flash_attention, peak_bytes

WIDTH, TIME, ROUNDS = 64, 8192, 3


def step(attend: Callable[..., Tensor], given: list[Tensor]) -> tuple[Tensor, ...]:
    """One pass forward and one back."""
    outputs = attend(*given)
    return outputs, *torch.autograd.grad(outputs.sum(), given)


def rows(time: int, rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    with ratios.here():
        given = [torch.randn(1, 1, time, WIDTH, requires_grad=True) for _ in range(3)]
    naive = partial(step, partial(scaled_dot_product_attention, fused=False), given)
    blocks = partial(step, flash_attention, given)
    whole, part = (peak_bytes(run, ratios.PLACE.device) for run in (naive, blocks))
    memory = {
        "what": f"blockwise attention, peak memory at {time:,} tokens",
        "ratio": round(part / whole, 5),
        "told": f"1/{whole / part:.0f} of naive attention's ({part / 1e6:.1f} and {whole / 1e6:,.0f} MB)",
    }
    what = f"blockwise attention, time at {time:,} tokens"
    return [memory, ratios.compared(what, blocks, naive, "× naive attention", rounds, warm_up=0)]


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        return rows(TIME, 3 * ROUNDS if large else ROUNDS)
