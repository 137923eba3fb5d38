"""How cost grows: time and peak memory of attention's variants, RNN and CNN against the length and against the width.

One pass forward and one back to the inputs, one sequence, one head, one thread, processor time. The exponent is the
slope of a least-squares line in a doubly logarithmic picture through the four largest sizes, where what is constant
hardly counts, with its 95 % interval; beside it what theory says.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from tqdm import tqdm

from benchmarks import ratios
from ml_course import longrange
from ml_course.attention import scaled_dot_product_attention
from ml_course.cnn import conv1d
from ml_course.rnn import RNN

LENGTHS, WIDTHS = (128, 256, 512, 1024, 2048, 4096, 8192), (32, 64, 128, 256, 512, 1024)
LENGTH, WIDTH = 1024, 64  # of the inputs while the other grows
UPPER, ENOUGH, MOST = 4, 0.3, 15  # sizes in the fit; seconds and repetitions after which a size is known

Make = Callable[[int, int], Callable[[], Any]]


@dataclass(frozen=True)
class Kind:
    """A computation by length and width, and what theory says: exponents of time and of memory."""

    make: Make
    length: tuple[int, int]
    width: tuple[int, int]


def attending(attend_by: Callable[[int, int], Callable[..., Tensor]]) -> Make:
    def make(length: int, width: int) -> Callable[[], Any]:
        attend, given = attend_by(length, width), [torch.randn(1, 1, length, width, requires_grad=True) for _ in "qkv"]
        return partial(back, attend, given)

    return make


def back(run: Callable[..., Tensor], given: list[Tensor]) -> Tensor:
    """One pass forward and one back to what is given."""
    outputs = run(*given)
    torch.autograd.grad(outputs.sum(), given, allow_unused=True)  # Reformer makes its keys of the queries
    return outputs


def performer(length: int, width: int) -> Callable[..., Tensor]:
    return partial(longrange.performer_attention, directions=longrange.orthogonal_directions(2 * width, width))


def random_features(length: int, width: int) -> Callable[..., Tensor]:
    return partial(longrange.random_feature_attention, directions=longrange.orthogonal_directions(2 * width, width))


def recurrent(length: int, width: int) -> Callable[[], Any]:
    layer = RNN(width, width).requires_grad_(False)
    return partial(back, lambda x: layer(x)[0], [torch.randn(1, length, width, requires_grad=True)])


def convolution(length: int, width: int) -> Callable[[], Any]:
    weight = torch.randn(width, width, 3) / width**0.5
    return partial(back, lambda x: conv1d(x, weight, padding=1), [torch.randn(1, width, length, requires_grad=True)])


def same(attend: Callable[..., Tensor]) -> Make:
    return attending(lambda length, width: attend)


# Widths: where n² numbers are stored they hide the n·d that grow with the width. The features' directions are as many
# as the width, twice, so that linear forms cost n·d². Hashing has an n² too, as each token is compared with the
# directions of n/32 buckets, but 64 times smaller than naive attention's.
KINDS = {
    "naive": Kind(same(partial(scaled_dot_product_attention, fused=False)), (2, 2), (1, 0)),
    "torch's kernel": Kind(same(scaled_dot_product_attention), (2, 1), (1, 1)),
    "blockwise (flash)": Kind(same(longrange.flash_attention), (2, 1), (1, 1)),
    "LSH, 2 rounds": Kind(same(partial(longrange.lsh_attention, rounds=2, chunk=64)), (1, 1), (1, 1)),
    "BigBird": Kind(same(partial(longrange.sparse_attention, block=64)), (1, 1), (1, 1)),
    "linear": Kind(same(longrange.linear_attention), (1, 1), (2, 1)),
    "Performer": Kind(attending(performer), (1, 1), (2, 1)),
    "RFA": Kind(attending(random_features), (1, 1), (2, 1)),
    "AFT-full": Kind(attending(lambda length, width: longrange.AFT(length)), (2, 2), (1, 0)),
    "AFT-simple": Kind(same(longrange.aft_simple), (1, 1), (1, 1)),
    "RNN": Kind(recurrent, (1, 1), (2, 1)),
    "CNN, kernel 3": Kind(convolution, (1, 1), (2, 1)),
}


class Slope(NamedTuple):
    exponent: float
    low: float
    high: float


def exponent(sizes: Sequence[float], values: Sequence[float]) -> Slope:
    """The slope in a doubly logarithmic picture through the largest sizes, with Student's 95 % interval."""
    if len(sizes) < 3 or len(sizes) != len(values):
        raise ValueError(f"{len(sizes)} sizes and {len(values)} values, expected as many, and at least 3")
    fit = stats.linregress(np.log(sizes[-UPPER:]), np.log(values[-UPPER:]))
    reach = stats.t.ppf(0.975, len(sizes[-UPPER:]) - 2) * fit.stderr
    return Slope(float(fit.slope), float(fit.slope - reach), float(fit.slope + reach))


def processor_seconds(run: Callable[[], Any]) -> float:
    """The median over repetitions, after one that does not count. With one thread it is what a quiet machine takes."""
    run()
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < ENOUGH and len(taken) < MOST):
        start = clock.process_time()
        run()
        taken.append(clock.process_time() - start)
    return float(np.median(taken))


def grown(name: str, along: str, sizes: Sequence[int]) -> dict[str, Any]:
    """A row: one kind, measured at every size."""
    kind, seconds, peak = KINDS[name], [], []
    for size in sizes:
        torch.manual_seed(size)
        run = kind.make(size, WIDTH) if along == "length" else kind.make(LENGTH, size)
        peak.append(longrange.peak_bytes(run))
        seconds.append(processor_seconds(run))
    fits = {"time": exponent(sizes, seconds), "memory": exponent(sizes, peak)}
    theory = dict(zip(fits, getattr(kind, along), strict=True))
    told = (
        f"{what} ~ {along}^{fit.exponent:.2f} [{fit.low:.2f}, {fit.high:.2f}] (theory: {theory[what]})"
        for what, fit in fits.items()
    )
    return {
        "what": f"{name}, {along} {sizes[0]:,} to {sizes[-1]:,}",
        "kind": name,
        "along": along,
        "sizes": list(sizes),
        "seconds": [round(value, 6) for value in seconds],
        "megabytes": [round(value / 1e6, 3) for value in peak],
        "exponents": {what: [round(number, 3) for number in fit] for what, fit in fits.items()},
        "theory": theory,
        "told": "; ".join(told),
    }


def measure(large: bool, lengths: Sequence[int] = LENGTHS, widths: Sequence[int] = WIDTHS) -> list[dict[str, Any]]:
    with ratios.threads(1):
        cases = [(name, along, sizes) for along, sizes in (("length", lengths), ("width", widths)) for name in KINDS]
        return [grown(*case) for case in tqdm(cases, "growth", leave=False)]
