"""On a graphics card: the rows that can run there, in float32 and in bfloat16, timed by the card's own events.

Each row also says the operations a second that our side reaches, as a share of what one large product of matrices
reaches there, and its peak memory. Without a card there are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks import attention, cnn, gated, longrange, ratios, transformer

SIDE, ROUNDS = 8192, 21


def product_rate(side: int = SIDE) -> float:
    """Operations a second of one product of two large square matrices."""
    with ratios.here():
        left, right = torch.randn(2, side, side)
    seconds = ratios.interleaved({"product": lambda: left @ right}, ROUNDS, warm_up=3)["product"]
    return 2 * side**3 / float(np.median(seconds))


def rows(rounds: int) -> Iterator[dict[str, Any]]:
    yield from cnn.convolutions(rounds)
    yield from gated.rows(rounds)
    yield from attention.rows(rounds)
    yield from (transformer.training_step(form, rounds) for form in (False, True))
    yield from longrange.rows(longrange.TIME, rounds)


def with_share(row: dict[str, Any], place: str, best: float) -> dict[str, Any]:
    """The row as one of this place, with the share of the best rate."""
    row = row | {"what": f"{place}: {row['what']}"}
    if "flops_per_second" not in row:
        return row
    share = row["flops_per_second"] / best
    return row | {"share": round(share, 4), "told": f"{row['told']}, {share:.1%} of a large product's rate"}


def measure(large: bool) -> list[dict[str, Any]]:
    if not torch.cuda.is_available():
        return []
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        with ratios.on(ratios.Place("cuda", dtype, ratios.cuda_events, counting=True)):
            place, best = f"{torch.cuda.get_device_name()}, {str(dtype).removeprefix('torch.')}", product_rate()
            told = f"{best / 1e12:.3g} TFLOP/s"
            found.append({"what": f"{place}: product of matrices", "flops_per_second": best, "told": told})
            found += [with_share(row, place, best) for row in rows(3 * ROUNDS if large else ROUNDS)]
    return found
