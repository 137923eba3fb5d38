r"""From a curve of air pressure to a picture of pitches: frames, their Fourier transforms, and bands as we hear."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

Number = TypeVar("Number", float, Tensor)

RATE = 16_000  # samples a second, Whisper's; a telephone has half, a compact disc 44,100
WINDOW, HOP = 400, 160  # samples: a frame of 25 ms every 10 ms
SCALES = ("slaney", "htk")


def frames_of(sound: Float[Tensor, "*batch samples"], window: int = WINDOW, hop: int = HOP) -> Tensor:
    r"""Overlapping pieces of a sound, one every `hop` samples, each with its middle at the sample it belongs to.

    frames[t, n] = sound[t·hop + n − window/2],  t = 0 … ⌊samples/hop⌋

    Beyond either end the sound is mirrored, so that the first and last frames are full.
    Returns (*batch, frames, window), a view of the mirrored sound.
    Raises: ValueError when window or hop is below 1, or the sound is too short to be mirrored.

    >>> frames_of(torch.arange(6.0), window=4, hop=2)
    tensor([[2., 1., 0., 1.],
            [0., 1., 2., 3.],
            [2., 3., 4., 5.],
            [4., 5., 4., 3.]])
    """
    if window < 2 or hop < 1:
        raise ValueError(f"window = {window}, hop = {hop}: expected at least 2 and 1")
    samples, half = sound.shape[-1], window // 2
    if samples <= half:
        raise ValueError(f"sound has {samples} samples, expected more than {half}, half a window")
    mirrored = F.pad(sound.reshape(-1, 1, samples), (half, half), mode="reflect")
    return mirrored.reshape(*sound.shape[:-1], -1).unfold(-1, window, hop)


def stft(
    sound: Float[Tensor, "*batch samples"], window: int = WINDOW, hop: int = HOP, *, fused: bool = True
) -> Complex[Tensor, "*batch frames bins"]:
    r"""Short-time Fourier transform: how much of each frequency there is in each frame, and at which phase.

    X[t, k] = Σₙ w[n] · frames[t, n] · exp(−2πi·kn/window),  w[n] = ½ − ½ cos(2πn/window),  k = 0 … window/2

    Bin k is the frequency k·rate/window. The window w (Hann's) lets a frame begin and end softly: a piece cut off
    hard would have frequencies that are the knife's, not the sound's.

    window, hop   in samples
    fused         torch's fast Fourier transform, O(window·log window) a frame; else the formula as one matrix product,
                  O(window²)
    Raises: ValueError as `frames_of`. Source: allen1977unified.

    >>> time = torch.arange(1600) / RATE
    >>> tone = torch.sin(2 * torch.pi * 1000 * time)
    >>> stft(tone).abs()[5].argmax() * RATE / WINDOW
    tensor(1000.)
    """
    frames = frames_of(sound, window, hop)
    n = torch.arange(window, dtype=torch.float64, device=sound.device)
    hann = (0.5 - 0.5 * torch.cos(2 * torch.pi * n / window)).to(sound.dtype)
    if fused:
        return torch.fft.rfft(frames * hann)
    # kn modulo window first: sines of large angles lose digits.
    angle = 2 * torch.pi / window * (torch.outer(n, n[: window // 2 + 1]) % window)
    waves = torch.complex(angle.cos(), -angle.sin())
    return (frames * hann).to(waves.dtype).matmul(waves).to(sound.dtype.to_complex())


def hertz_to_mel(hertz: Number, scale: str = "slaney") -> Number:
    r"""A frequency on a scale on which equal steps sound equally far apart, roughly.

    htk      2595 · log₁₀(1 + f/700)
    slaney   3f/200 up to 1000 Hz, above 15 + 27 · log₆.₄(f/1000): 27 steps to each factor of 6.4

    The unit, mel, differs between the two; only ratios of distances count. Takes a number or a tensor.
    Raises: ValueError for another scale or a frequency below 0. Source: stevens1937scale had the idea.

    >>> hertz_to_mel(1000.0), round(hertz_to_mel(1000.0, "htk"), 1)
    (15.0, 1000.0)
    """
    _check_scale(scale)
    f = torch.as_tensor(hertz, dtype=None if isinstance(hertz, Tensor) else torch.float64)
    if (f < 0).any():
        raise ValueError(f"hertz has {float(f.min()):g}, expected 0 or more")
    if scale == "htk":
        mel = 2595 * torch.log10(1 + f / 700)
    else:
        above = 15 + 27 / math.log(6.4) * torch.log(f.clamp(min=1000) / 1000)
        mel = torch.where(f < 1000, 3 * f / 200, above)
    return mel if isinstance(hertz, Tensor) else mel.item()


def mel_to_hertz(mel: Number, scale: str = "slaney") -> Number:
    r"""The inverse of `hertz_to_mel`.

    >>> round(mel_to_hertz(hertz_to_mel(440.0)), 6), round(mel_to_hertz(hertz_to_mel(4400.0, "htk"), "htk"), 6)
    (440.0, 4400.0)
    """
    _check_scale(scale)
    m = torch.as_tensor(mel, dtype=None if isinstance(mel, Tensor) else torch.float64)
    if scale == "htk":
        hertz = 700 * (10 ** (m / 2595) - 1)
    else:
        above = 1000 * torch.exp(math.log(6.4) / 27 * (m.clamp(min=15) - 15))
        hertz = torch.where(m < 15, 200 * m / 3, above)
    return hertz if isinstance(mel, Tensor) else hertz.item()


def mel_filter_bank(
    mels: int,
    bins: int = WINDOW // 2 + 1,
    rate: float | int = RATE,
    *,
    lowest: float | int = 0.0,
    highest: float | int | None = None,
    scale: str = "slaney",
    equal_area: bool = True,
    dtype: torch.dtype | None = None,
) -> Float[Tensor, "mels bins"]:
    r"""Triangles that gather the bins of a Fourier transform into bands, narrow where pitch is low, wide where high.

    Corners c₀ … c_{mels+1} stand at equal distances on the mel scale. Band m rises from c_m to its top of 1 at c_{m+1}
    and falls to c_{m+2}:

    B[m, k] = max(0, min((f_k − c_m)/(c_{m+1} − c_m), (c_{m+2} − f_k)/(c_{m+2} − c_{m+1}))),  f_k = k·rate/2/(bins − 1)

    bins             of the Fourier transform, 0 Hz to rate/2
    lowest, highest  first and last corner in hertz; rate/2 when None
    equal_area       times 2/(c_{m+2} − c_m): a wide band is no louder in white noise than a narrow one
    dtype            of the result, which is computed in float64; torch's default dtype when None
    The defaults are Whisper's bank. A band that is narrower than the distance of two bins may be empty.
    Raises: ValueError when a count is too small, or not 0 ≤ lowest < highest ≤ rate/2.
    Source: davis1980comparison, figure 1, had the triangles; ours are those of slaney1998auditory.

    >>> bank = mel_filter_bank(80)
    >>> bank.shape, bool((bank >= 0).all())
    (torch.Size([80, 201]), True)
    """
    highest = rate / 2 if highest is None else highest
    if mels < 1 or bins < 2:
        raise ValueError(f"mels = {mels}, bins = {bins}: expected at least 1 and 2")
    if not 0 <= lowest < highest <= rate / 2:
        raise ValueError(f"lowest = {lowest:g}, highest = {highest:g}: expected 0 ≤ lowest < highest ≤ {rate / 2:g}")
    ends = [hertz_to_mel(float(f), scale) for f in (lowest, highest)]
    corners = mel_to_hertz(torch.linspace(*ends, mels + 2, dtype=torch.float64), scale)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    f = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    bank = torch.minimum((f - left) / (top - left), (right - f) / (right - top)).clamp(min=0)
    return (bank * 2 / (right - left) if equal_area else bank).to(dtype or torch.get_default_dtype())


def log_mel(
    sound: Float[Tensor, "*batch samples"],
    mels: int = 80,
    *,
    rate: float | int = RATE,
    window: int = WINDOW,
    hop: int = HOP,
    floor: float | int = 8.0,
) -> Float[Tensor, "*batch frames mels"]:
    r"""The picture a recogniser looks at: energy in each band of each frame, as a logarithm, because ears count so.

    S[t, m] = log₁₀ Σ_k B[m, k] |X[t, k]|²,  then max(S, max S − floor), then (S + 4)/4

    Nothing is fainter than `floor` powers of ten below the loudest of its sound, so that silence is not −∞; the last
    line brings speech to about −1 … 1. The last frame, which hangs over the end, is left out.
    rate, window, hop   as of `mel_filter_bank` and `stft`
    Raises: ValueError as `stft` and `mel_filter_bank`.
    Source: davis1980comparison; every number as in radford2023robust, section 2.2, and its code.

    >>> log_mel(torch.randn(2, 16_000)).shape  # two sounds of one second
    torch.Size([2, 100, 80])
    """
    power = stft(sound, window, hop)[..., :-1, :].abs().square()
    bank = mel_filter_bank(mels, window // 2 + 1, rate, dtype=power.dtype).to(power.device)
    loudness = (power @ bank.mT).clamp(min=1e-10).log10()
    faintest = loudness.amax(dim=(-2, -1), keepdim=True) - floor
    return (torch.maximum(loudness, faintest) + 4) / 4


def _check_scale(scale: str) -> None:
    if scale not in SCALES:
        raise ValueError(f"scale = {scale!r}, expected one of {', '.join(SCALES)}")
