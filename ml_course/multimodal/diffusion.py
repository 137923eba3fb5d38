r"""Diffusion: pictures are drowned in noise step by step, and a network learns to say which part of it is the noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]  # (noisy, times, labels) → the noise in it


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    r"""How much of a picture is left after t steps of noise, t = 0 … T.

    x_t = √(1 − β_t) x_{t−1} + √β_t z_t,  and so at once  x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε,  ᾱ_t = Π_{s ≤ t} (1 − β_s)

    The variance stays 1 where x_0 has variance 1. Wherever `times` are asked for they are whole numbers from 0, the
    picture itself, to T, almost nothing but noise.
    Raises: ValueError when alpha_bar does not fall from 1, or not stay above 0. Source: ho2020denoising, eq. 2 and 4.

    >>> schedule = NoiseSchedule.linear(1000)
    >>> schedule.steps, float(schedule.alpha_bar[0]), f"{schedule.alpha_bar[-1]:.6f}"
    (1000, 1.0, '0.000040')
    """

    alpha_bar: Float[Tensor, " levels"]  # ᾱ_0 = 1 … ᾱ_T, float64

    def __post_init__(self) -> None:
        kept = self.alpha_bar
        if len(kept) < 2 or kept[0] != 1 or not (kept[1:] < kept[:-1]).all() or not kept[-1] > 0:
            raise ValueError(f"alpha_bar = {kept.tolist()[:4]} …, expected 1 first and falling, above 0 to the end")

    @classmethod
    def linear(cls, steps: int = 1000) -> NoiseSchedule:
        r"""β grows evenly from 10⁻⁴ to 0.02, times 1000/T where there are other than 1,000 steps.

        Raises: ValueError when there are fewer than 21 steps, for then the last β would be 1 or more.
        Source: ho2020denoising, section 4; for other numbers of steps as nichol2021improved's code has it.
        """
        if steps < 21:
            raise ValueError(f"steps = {steps}, expected at least 21: the last β is 20 / steps")
        beta = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
        return cls(torch.cat([torch.ones(1, dtype=torch.float64), (1 - beta).cumprod(0)]))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008) -> NoiseSchedule:
        r"""ᾱ_t = f(t)/f(0) with f(t) = cos²(π/2 · (t/T + s)/(1 + s)), and no β above 0.999.

        offset   s; without it the first steps would add next to nothing
        Small pictures lose their shape sooner than large ones; this keeps more of them in the middle than `linear`.
        Raises: ValueError when there is no step. Source: nichol2021improved, eq. 17.
        """
        if steps < 1:
            raise ValueError(f"steps = {steps}, expected at least 1")
        progress = torch.arange(steps + 1, dtype=torch.float64) / steps
        left = torch.cos(math.pi / 2 * (progress + offset) / (1 + offset)).square()
        kept = (left[1:] / left[:-1]).clamp(min=1e-3)  # 1 − β
        return cls(torch.cat([torch.ones(1, dtype=torch.float64), kept.cumprod(0)]))

    @property
    def steps(self) -> int:
        r"""T."""
        return len(self.alpha_bar) - 1

    def shares(self, times: Int[Tensor, " batch"], like: Tensor) -> tuple[Tensor, Tensor]:
        r"""√ᾱ_t and √(1 − ᾱ_t) of each sample, shaped so that they multiply `like`.

        Raises: ValueError when a time is not from 0 to T.
        """
        if len(times) and not 0 <= int(times.min()) <= int(times.max()) <= self.steps:
            raise ValueError(f"times are from {int(times.min())} to {int(times.max())}, expected 0 to {self.steps}")
        kept = self.alpha_bar.to(like.device)[times].reshape(-1, *[1] * (like.ndim - 1))
        return kept.sqrt().to(like.dtype), (1 - kept).sqrt().to(like.dtype)

    def add_noise(
        self,
        clean: Float[Tensor, "batch channels height width"],
        times: Int[Tensor, " batch"],
        noise: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch channels height width"]:
        r"""x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε: t steps of noise in one go. Source: ho2020denoising, eq. 4.

        >>> schedule, picture = NoiseSchedule.cosine(10), torch.ones(2, 1, 2, 2)
        >>> schedule.add_noise(picture, torch.tensor([0, 10]), torch.zeros_like(picture))[:, 0, 0, 0]
        tensor([1.0000, 0.0049])
        """
        signal, spread = self.shares(times, clean)
        return signal * clean + spread * noise

    def clean_from(
        self,
        noisy: Float[Tensor, "batch channels height width"],
        times: Int[Tensor, " batch"],
        noise: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch channels height width"]:
        r"""x̂_0 = (x_t − √(1 − ᾱ_t) ε̂) / √ᾱ_t: whoever knows the noise knows the picture. Inverse of `add_noise`."""
        signal, spread = self.shares(times, noisy)
        return (noisy - spread * noise) / signal

    def step_back(
        self,
        noisy: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch channels height width"],
        time: int,
        earlier: int,
        *,
        eta: float | int = 1.0,
        limit: float | int | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch channels height width"]:
        r"""From x_t to x_s, s < t, with the noise ε̂ that the network sees in x_t.

        x_s = √ᾱ_s x̂_0 + √(1 − ᾱ_s − σ²) ε̂ + σ z,  σ = η √((1 − ᾱ_s)/(1 − ᾱ_t)) √(1 − ᾱ_t/ᾱ_s),  z fresh noise

        eta     η: 1 is the random walk back that belongs to the way there (with s = t − 1, exactly its posterior),
                0 takes no fresh noise: the same start gives the same picture, and fewer steps will do
        limit   x̂_0 is cut to ±limit, where pictures are known to lie within; ε̂ is made to agree
        Raises: ValueError when not 0 ≤ s < t ≤ T, or eta is not from 0 to 1.
        Source: song2021denoising, eq. 12 and 16; η = 1 is ho2020denoising, eq. 7.
        """
        if not 0 <= earlier < time <= self.steps or not 0 <= eta <= 1:
            raise ValueError(
                f"time = {time}, earlier = {earlier}, eta = {eta}: "
                f"expected 0 ≤ earlier < time ≤ {self.steps} and 0 ≤ eta ≤ 1"
            )
        now, then = (float(self.alpha_bar[t]) for t in (time, earlier))
        clean = (noisy - math.sqrt(1 - now) * noise) / math.sqrt(now)
        if limit is not None:
            clean = clean.clamp(-limit, limit)
            noise = (noisy - math.sqrt(now) * clean) / math.sqrt(1 - now)
        sigma = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
        back = math.sqrt(then) * clean + math.sqrt(max(1 - then - sigma**2, 0.0)) * noise
        if sigma == 0:
            return back
        fresh = torch.randn(noisy.shape, generator=generator, device=noisy.device, dtype=noisy.dtype)
        return back + sigma * fresh


def diffusion_loss(
    predict: Predict,
    clean: Float[Tensor, "batch channels height width"],
    labels: Int[Tensor, " batch"],
    schedule: NoiseSchedule,
    *,
    no_label: int,
    drop: float | int = 0.1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    r"""How badly the network tells the noise from the picture: the mean of (ε − ε̂(x_t, t, y))².

    Each picture gets a time of its own, evenly from 1 to T, and noise of its own. 1 is what saying "no noise" costs.

    predict    predict(noisy, times, labels) → ε̂; a `DiT`
    no_label   the number that stands for no label; `drop` is the share of pictures that get it, so that the network
               also learns what pictures are like of which nothing was said, which `guided` needs
    Raises: ValueError when drop is not from 0 to 1. Source: ho2020denoising, eq. 14; ho2022classifier, algorithm 1.
    """
    if not 0 <= drop <= 1:
        raise ValueError(f"drop = {drop}, expected 0 to 1")
    batch, made = len(clean), dict(generator=generator, device=clean.device)
    times = torch.randint(1, schedule.steps + 1, (batch,), **made)
    noise = torch.randn(clean.shape, **made, dtype=clean.dtype)
    labels = torch.where(torch.rand(batch, **made) < drop, no_label, labels)
    return F.mse_loss(predict(schedule.add_noise(clean, times, noise), times, labels), noise)


def guided(predict: Callable[..., Tensor], guidance: float | int, no_label: int) -> Callable[..., Tensor]:
    r"""Classifier-free guidance: away from any picture, towards one of what was asked.

    ŝ = f(x, ∅) + w · (f(x, y) − f(x, ∅))

    predict    predict(x, …, labels): the noise in x, or the logits of tokens
    guidance   w: 0 does not listen, 1 is the network as it learned, above 1 exaggerates what the label adds. (The paper
               counts from there: its w is ours − 1.)
    With w other than 0 or 1 both are asked in one batch, at twice the cost. Source: ho2022classifier, eq. 6.

    >>> ask = guided(lambda x, labels: x + labels[:, None], 3, no_label=0)
    >>> ask(torch.zeros(2, 1), torch.tensor([1, 5])).flatten()
    tensor([ 3., 15.])
    """

    def ask(*inputs: Tensor) -> Tensor:
        *rest, labels = inputs
        if guidance in (0, 1):
            return predict(*rest, labels if guidance else torch.full_like(labels, no_label))
        both = [torch.cat([one, one]) for one in rest]
        answer = predict(*both, torch.cat([labels, torch.full_like(labels, no_label)]))
        with_label, without = answer.chunk(2)
        return without + guidance * (with_label - without)

    return ask


def denoise(
    predict: Predict,
    schedule: NoiseSchedule,
    labels: Int[Tensor, " batch"],
    shape: Sequence[int],
    *,
    steps: int | None = None,
    eta: float | int = 1.0,
    limit: float | int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Float[Tensor, "batch channels height width"]]:
    r"""The way from noise to pictures: yields the noise first, then what is left of it after each step.

    shape   of one picture, as (channels, height, width)
    steps   how many, spread evenly over 1 … T; all T when None
    eta, limit   as of `NoiseSchedule.step_back`
    Raises: ValueError when steps is not from 1 to T. Cost: one call of `predict` a step.
    Source: ho2020denoising, algorithm 2; song2021denoising, section 4.2.
    """
    count = schedule.steps if steps is None else steps
    if not 1 <= count <= schedule.steps:
        raise ValueError(f"steps = {steps}, expected 1 to {schedule.steps}")
    times = torch.linspace(schedule.steps, 0, count + 1, dtype=torch.float64).round().long().tolist()
    x = torch.randn(len(labels), *shape, generator=generator, device=labels.device)
    yield x
    for time, earlier in pairwise(times):
        with torch.no_grad():  # not around the yield, where other people's code runs
            noise = predict(x, torch.full_like(labels, time), labels)
        x = schedule.step_back(x, noise, time, earlier, eta=eta, limit=limit, generator=generator)
        yield x


def sample(
    predict: Predict, schedule: NoiseSchedule, labels: Int[Tensor, " batch"], shape: Sequence[int], **options: object
) -> Float[Tensor, "batch channels height width"]:
    r"""Pictures of what the labels ask: the last of `denoise`, whose options it takes.

    >>> nothing_learned = lambda x, times, labels: torch.zeros_like(x)
    >>> sample(nothing_learned, NoiseSchedule.cosine(50), torch.tensor([3, 4]), (1, 8, 8), steps=5, limit=1).shape
    torch.Size([2, 1, 8, 8])
    """
    *_, last = denoise(predict, schedule, labels, shape, **options)
    return last
