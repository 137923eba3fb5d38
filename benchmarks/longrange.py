"""Attention for long inputs: peak memory and time of one pass forward and back against the length, and both exponents.

One sequence, one head of width 64, one thread, processor time. Naive attention is the readable form that stores its
matrices; outputs of the blockwise form are checked to be equal first.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ml_course import longrange
from ml_course.attention import scaled_dot_product_attention

WIDTH, LENGTHS = 64, (512, 1024, 2048, 4096, 8192)
NAIVE, BLOCKWISE = "naive", "blockwise (flash)"


def forms(time: int) -> dict[str, Callable[..., Tensor]]:
    """Name → attention of queries, keys and values of that length, with everything it needs drawn beforehand."""
    torch.manual_seed(0)
    directions = longrange.orthogonal_directions(2 * WIDTH, WIDTH)
    aft = longrange.AFT(time)
    return {
        NAIVE: partial(scaled_dot_product_attention, fused=False),
        "torch's kernel": scaled_dot_product_attention,
        BLOCKWISE: longrange.flash_attention,
        "LSH, 2 rounds": partial(longrange.lsh_attention, rounds=2, chunk=64),
        "BigBird": partial(longrange.sparse_attention, block=64),
        "linear": longrange.linear_attention,
        "Performer": partial(longrange.performer_attention, directions=directions),
        "RFA": partial(longrange.random_feature_attention, directions=directions),
        "AFT-full": aft,
        "AFT-simple": longrange.aft_simple,
    }


def inputs(time: int) -> list[Tensor]:
    torch.manual_seed(time)
    return [torch.randn(1, 1, time, WIDTH, requires_grad=True) for _ in range(3)]


def step(attend: Callable[..., Tensor], given: list[Tensor]) -> Tensor:
    """One pass forward and one back."""
    outputs = attend(*given)
    torch.autograd.grad(outputs.sum(), given, allow_unused=True)  # Reformer makes its keys of the queries
    return outputs


def processor_seconds(run: Callable[[], Any], repetitions: int) -> float:
    """The median over repetitions, after one that does not count. With one thread it is what a quiet machine takes."""
    taken = []
    for _ in range(repetitions + 1):
        start = clock.process_time()
        run()
        taken.append(clock.process_time() - start)
    return float(np.median(taken[1:]))


def exponent(lengths: tuple[int, ...], sizes: list[float]) -> float:
    """The slope in a doubly logarithmic picture, over the longer half, where what is constant hardly counts."""
    half = len(lengths) // 2
    return float(np.polyfit(np.log(lengths[half:]), np.log(sizes[half:]), 1)[0])


def measure(large: bool, lengths: tuple[int, ...] = LENGTHS) -> list[dict[str, Any]]:
    before, rows = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        given = inputs(1024)
        torch.testing.assert_close(forms(1024)[BLOCKWISE](*given), forms(1024)[NAIVE](*given), rtol=1e-5, atol=1e-5)
        peak: dict[str, list[float]] = {name: [] for name in forms(1)}
        seconds: dict[str, list[float]] = {name: [] for name in forms(1)}
        for time in lengths:
            given = inputs(time)
            runs = {name: partial(step, attend, given) for name, attend in forms(time).items()}
            for name, run in runs.items():
                peak[name].append(longrange.peak_bytes(run))
                seconds[name].append(processor_seconds(run, 7 if large else 3))
        share = peak[BLOCKWISE][-1] / peak[NAIVE][-1]
        rows.append(
            {
                "what": f"blockwise attention by naive, peak memory at {lengths[-1]:,} tokens",
                "ratio": round(share, 5),
                "told": f"1/{1 / share:.0f} ({peak[BLOCKWISE][-1] / 1e6:.1f} and {peak[NAIVE][-1] / 1e6:,.0f} MB)",
            }
        )
        for name in peak:
            slopes = exponent(lengths, seconds[name]), exponent(lengths, peak[name])
            rows.append(
                {
                    "what": f"{name}, {lengths[0]:,} to {lengths[-1]:,} tokens",
                    "lengths": list(lengths),
                    "seconds": [round(value, 5) for value in seconds[name]],
                    "megabytes": [round(value / 1e6, 2) for value in peak[name]],
                    "told": f"time ~ n^{slopes[0]:.2f}, memory ~ n^{slopes[1]:.2f}; at {lengths[-1]:,}: "
                    f"{seconds[name][-1]:.3g} s, {peak[name][-1] / 1e6:,.1f} MB",
                }
            )
    finally:
        torch.set_num_threads(before)
    return rows


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"], entry.get("seconds", ""), entry.get("megabytes", ""), sep=" | ")
