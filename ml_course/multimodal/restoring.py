r"""How the small Ithaca learns, and how it is measured: names are damaged anew each time they are read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from ml_course.multimodal.ithaca import Ithaca, ithaca_loss
from ml_course.multimodal.text import GAP, Names, Reader, hide


class Scores(NamedTuple):
    r"""Shares of right answers, from 0 to 1."""

    letters: float  # of the gaps
    languages: float  # of the texts
    kinds: float


def teach_ithaca(
    model: Ithaca,
    reader: Reader,
    samples: Names,
    *,
    steps: int,
    rate: float = 6e-3,
    size: int = 64,
    seed: int = 0,
    share: float = 0.25,
) -> list[float]:
    r"""Trains the model in place on names that get other gaps at each reading; returns the loss of each step.

    steps   of AdamW; the rate rises for the first 20 and falls to 0 in a straight line
    size    names in a batch, of about the same length
    share   of letters that are hidden
    Raises: ValueError when steps or size is below 1.
    """
    if steps < 1 or size < 1:
        raise ValueError(f"steps = {steps}, size = {size}: expected at least 1")
    rng, optimiser = np.random.default_rng(seed), torch.optim.AdamW(model.parameters(), rate, fused=True)
    losses, waiting = [], []
    model.train()
    for step in range(1, steps + 1):
        waiting = waiting or _batches_by_length(samples, size, rng)
        rows = waiting.pop()
        texts = [samples.texts[row] for row in rows]
        gapped = reader.encode([hide(text, rng, share) for text in texts])
        languages, kinds = torch.from_numpy(samples.languages[rows]), torch.from_numpy(samples.kinds[rows])
        loss = ithaca_loss(model(gapped), reader.targets(texts, gapped), languages, kinds)
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = rate * min(step / 20, 1 - step / (steps + 1))
        optimiser.step()
        losses.append(loss.item())
    model.eval()
    return losses


@torch.no_grad()
def ithaca_scores(model: Ithaca, reader: Reader, samples: Names, damaged: list[str]) -> Scores:
    r"""How often each of the three heads is right about these names, of which the model sees the damaged form alone."""
    gapped = reader.encode(damaged)
    asked = reader.targets(samples.texts, gapped), torch.from_numpy(samples.languages), torch.from_numpy(samples.kinds)
    said = zip(model(gapped), asked, strict=True)
    return Scores(*((logits.argmax(1) == right).float().mean().item() for logits, right in said))


def restored_share(restored: list[str], samples: Names, damaged: list[str]) -> float:
    r"""The share of gaps that hold the right letter.

    >>> samples = Names(("norway",), np.array([0]), np.array([0]))
    >>> restored_share(["norway"], samples, ["no??ay"]), restored_share(["nolway"], samples, ["no??ay"])
    (1.0, 0.5)
    """
    gaps = [
        found == right
        for text, whole, holes in zip(restored, samples.texts, damaged, strict=True)
        for found, right, hole in zip(text, whole, holes, strict=True)
        if hole == GAP
    ]
    return sum(gaps) / len(gaps)


def _batches_by_length(samples: Names, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Every name once, with others of about its length, so that little is filler; in random order."""
    order = rng.permutation(len(samples))
    about = np.array([len(text) // 3 for text in samples.texts])
    order = order[np.argsort(about[order], kind="stable")]
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    return [batches[number] for number in rng.permutation(len(batches))]
