"""Ratios that a busy machine does not bend: the rivals take turns, and medians are compared, with an interval."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from ml_course.longrange import peak_bytes

Run = Callable[[], Any]
BUDGET, FEWEST = 10.0, 5  # seconds a row; rounds whatever they take
# How far two right results may lie apart, by the largest number in them: sums of many terms in another order.
CLOSE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.bfloat16: 5e-2}


def wall(run: Run) -> float:
    """Seconds by the clock on the wall."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def cuda_events(run: Run) -> float:
    """Seconds between two events on the graphics card, which works on while the processor goes ahead."""
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    run()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop) / 1000


@dataclass(frozen=True)
class Place:
    """Where runs are made and what tells their time."""

    device: str = "cpu"
    dtype: torch.dtype = torch.float32
    clock: Callable[[Run], float] = wall
    counting: bool = False  # also operations a second, and peak memory


PLACE = Place()


@contextlib.contextmanager
def on(place: Place) -> Iterator[None]:
    """Within it `here` is that place, numbers have its precision, and `interleaved` takes its clock."""
    global PLACE
    before, dtype, exact = PLACE, torch.get_default_dtype(), torch.backends.cudnn.allow_tf32
    PLACE = place
    torch.set_default_dtype(place.dtype)
    torch.backends.cudnn.allow_tf32 = False  # float32 shall mean it, on both sides
    try:
        yield
    finally:
        PLACE = before
        torch.set_default_dtype(dtype)
        torch.backends.cudnn.allow_tf32 = exact


def here() -> torch.device:
    """`with here():` makes tensors and layers at the place. Not to be timed within: it slows every call of torch."""
    return torch.device(PLACE.device)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """torch's threads within it. Raises: RuntimeError where one is wanted, but NumPy's products would take more."""
    if count == 1 and os.environ.get("OMP_NUM_THREADS") != "1":
        raise RuntimeError(f"OMP_NUM_THREADS = {os.environ.get('OMP_NUM_THREADS')}, expected 1: one thread a side")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def check_equal(first: Iterable[Tensor], second: Iterable[Tensor], close: Mapping[torch.dtype, float] = CLOSE) -> None:
    """Raises: AssertionError when two results differ by more than their precision lets expect."""
    for one, other in zip(first, second, strict=True):
        size = float(other.detach().abs().max().clamp(min=1))
        torch.testing.assert_close(one, other, rtol=0, atol=close[other.dtype] * size)


def interleaved(runs: Mapping[str, Run], repetitions: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every repetition of every run; in each round all take a turn, in changing order.

    After BUDGET seconds no round begins, but for the first few: a slow machine measures less often, not for longer.
    """
    for run in runs.values():
        for _ in range(warm_up):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names, began = list(runs), time.perf_counter()
    gc.collect()
    gc.freeze()  # what is there by now need not be looked through before every run
    try:
        for repetition in tqdm(range(repetitions), "rounds", leave=False, delay=2):
            if repetition >= FEWEST and time.perf_counter() - began > BUDGET:
                break
            for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
                gc.collect()
                gc.disable()
                seconds[name].append(PLACE.clock(runs[name]))
                gc.enable()
    finally:
        gc.enable()
        gc.unfreeze()
    return seconds


def compared(what: str, ours: Run, theirs: Run, unit: str, rounds: int, warm_up: int = 2) -> dict[str, Any]:
    """A row of two that give tensors, which are checked to be equal first."""
    check_equal(ours(), theirs())
    seconds = interleaved({"ours": ours, "theirs": theirs}, rounds, warm_up)
    return with_rate(row(what, seconds["ours"], seconds["theirs"], unit), ours, seconds["ours"])


def with_rate(made: dict[str, Any], run: Run, seconds: Sequence[float]) -> dict[str, Any]:
    """The row with operations a second and peak memory of its first side, at a place where these are counted."""
    if not PLACE.counting:
        return made
    with FlopCounterMode(display=False) as counter:
        run()
    rate, peak = counter.get_total_flops() / float(np.median(seconds)), peak_bytes(run, PLACE.device)
    told = f"{made['told']}, {rate / 1e12:.3g} TFLOP/s, {peak / 1e6:,.0f} MB"
    return made | {"flops_per_second": rate, "peak_bytes": peak, "told": told}


def ratio(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Median of `first` by median of `second`, and its 95 % bootstrap interval over the rounds, drawn in pairs."""
    pairs = np.array([first, second])
    drawn = np.random.default_rng(seed).integers(0, pairs.shape[1], size=(2000, pairs.shape[1]))
    medians = np.median(pairs[:, drawn], axis=-1)
    low, high = np.quantile(medians[0] / medians[1], [0.025, 0.975])
    return float(np.median(first) / np.median(second)), float(low), float(high)


def row(what: str, first: Sequence[float], second: Sequence[float], unit: str) -> dict[str, Any]:
    """A row of the table: how many times as long `first` takes as `second`, with the interval and both medians."""
    value, low, high = ratio(first, second)
    told = f"{value:.2f} {unit} [{low:.2f}, {high:.2f}] ({_time(np.median(first))} and {_time(np.median(second))})"
    return {"what": what, "ratio": round(value, 3), "low": round(low, 3), "high": round(high, 3), "told": told}


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"
