"""Ratios that a busy machine does not bend: the rivals take turns, and medians are compared, with an interval."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def interleaved(runs: Mapping[str, Callable[[], Any]], repetitions: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every repetition of every run; in each round all take a turn, in changing order."""
    for run in runs.values():
        for _ in range(warm_up):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for repetition in range(repetitions):
        for name in names[repetition % len(names) :] + names[: repetition % len(names)]:
            gc.collect()
            gc.disable()
            try:
                start = time.perf_counter()
                runs[name]()
                seconds[name].append(time.perf_counter() - start)
            finally:
                gc.enable()
    return seconds


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
