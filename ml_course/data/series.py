r"""Numbers in the course of time, made: sine waves, and cycles like those of the sunspots."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def sine_waves(
    samples: int = 100, length: int = 60, noise: float = 0.0, seed: int = 0
) -> Float[np.ndarray, "samples time"]:
    r"""Waves x_t = a sin(2πt/p + φ) + noise: each has its own period p (8–24 steps), amplitude a (0.5–1.5), phase φ.

    noise   standard deviation of what is added at each step
    Raises: ValueError when samples or length is below 1.

    >>> sine_waves(3, 50).shape
    (3, 50)
    """
    _check_sizes(samples=samples, length=length)
    rng = np.random.default_rng(seed)
    period, amplitude, phase = (rng.uniform(*ends, (samples, 1)) for ends in ((8, 24), (0.5, 1.5), (0, 2 * np.pi)))
    waves = amplitude * np.sin(2 * np.pi * np.arange(length) / period + phase)
    return waves + noise * rng.standard_normal(waves.shape)


def sunspot_like(years: int = 300, noise: float = 0.1, seed: int = 0) -> Float[np.ndarray, " time"]:
    r"""A made series that behaves as the yearly number of sunspots does: uneven cycles of about eleven years.

    Each cycle lasts 9–13 years, has a height of its own (60–180), rises in 2/5 of its time and falls in the rest; what
    is added grows with the height, and no number is below zero. It only looks like the Sun's record.

    noise   standard deviation of what is added, as a share of the current height
    Raises: ValueError when years is below 1.

    >>> series = sunspot_like(300)
    >>> series.shape, bool(series.min() >= 0)
    ((300,), True)
    """
    _check_sizes(years=years)
    rng = np.random.default_rng(seed)
    pieces, made = [], 0
    while made < years:
        length, height = int(rng.integers(9, 14)), rng.uniform(60, 180)
        share = np.arange(length) / length
        position = np.where(share < 0.4, share / 0.4, (1 - share) / 0.6)  # 0 at both ends, 1 at the peak
        pieces.append(height * np.sin(np.pi / 2 * position) ** 2)
        made += length
    series = np.concatenate(pieces)[:years]
    return np.maximum(series + noise * (series + 5) * rng.standard_normal(years), 0)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} = {size}, expected at least 1")
