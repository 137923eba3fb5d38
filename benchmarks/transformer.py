"""A training step of our layers against torch.nn.Transformer's with the same weights; and the names, by three models.

Two layers each side at the width of the base model (512, 8 heads, 2,048), batch 32, 64 tokens on both sides, masks of
the future and of filler, two threads. Outputs and gradients are checked to be equal first. `--large` also trains
English → Russian names with each model of the names script, three seeds each, beams of five.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import ratios
from ml_course.attention import causal_mask, padding_mask
from ml_course.data import name_pairs
from ml_course.scripts import names
from ml_course.transformer import stacks_from_torch

BATCH, TIME, WIDTH, HEADS, D_FF, LAYERS = 32, 64, 512, 8, 2048, 2
THREADS, ROUNDS = 2, 31


def batch() -> tuple[torch.Tensor, ...]:
    """Source, target, lengths of the sources, and what the outputs shall be."""
    with ratios.here():
        lengths = torch.randint(TIME // 2, TIME + 1, (BATCH,))
        source, target, towards = (torch.randn(BATCH, TIME, WIDTH) for _ in range(3))
    return source, target, lengths, towards


def losses(theirs: nn.Transformer) -> dict[str, Callable[[], torch.Tensor]]:
    """The same loss by both, and their parameters in the order of torch's."""
    encoder, decoder = stacks_from_torch(theirs)
    source, target, lengths, towards = batch()
    causal, seen = causal_mask(TIME, device=source.device), padding_mask(lengths, TIME)
    later, filler = ~causal, ~seen[:, 0]

    def ours() -> torch.Tensor:
        return (decoder(target, encoder(source, seen), causal, seen) - towards).square().mean()

    def torchs() -> torch.Tensor:
        written = theirs(
            source,
            target,
            tgt_mask=later,
            src_key_padding_mask=filler,
            memory_key_padding_mask=filler,
            tgt_is_causal=True,
        )
        return (written - towards).square().mean()

    ours.parameters = [*encoder.parameters(), *decoder.parameters()]
    torchs.parameters = list(theirs.parameters())
    return {"ours": ours, "torch": torchs}


def check_equal(both: dict[str, Any]) -> None:
    """The losses, and the lengths of the gradients: the parameters' own are cut in other ways."""
    values, norms = [], []
    for loss_of in both.values():
        loss = loss_of()
        gradients = torch.autograd.grad(loss, loss_of.parameters)
        values.append(loss)
        norms.append(sum(gradient.square().sum() for gradient in gradients).sqrt())
    ratios.check_equal(values[:1], values[1:])
    ratios.check_equal(norms[:1], norms[1:])


def training_step(norm_first: bool, rounds: int) -> dict[str, Any]:
    """Forward, backward and a step of AdamW."""
    torch.manual_seed(0)
    sizes = WIDTH, HEADS, LAYERS, LAYERS, D_FF
    with ratios.here():
        theirs = nn.Transformer(*sizes, dropout=0.0, batch_first=True, norm_first=norm_first).train()
    both = losses(theirs)
    check_equal(both)

    def step(loss_of: Any) -> Callable[[], None]:
        optimiser = torch.optim.AdamW(loss_of.parameters, 1e-5, fused=True)

        def once() -> None:
            optimiser.zero_grad()
            loss_of().backward()
            optimiser.step()

        return once

    steps = {name: step(loss_of) for name, loss_of in both.items()}
    seconds = ratios.interleaved(steps, rounds, warm_up=2)
    form = "pre-norm" if norm_first else "post-norm"
    made = ratios.row(f"training step, {form}", seconds["ours"], seconds["torch"], "× torch.nn.Transformer")
    return ratios.with_rate(made, steps["ours"], seconds["ours"])


def names_rows() -> list[dict[str, Any]]:
    """The names task: error rate of letters, exact matches, and seconds of training, as means over three seeds."""
    split, rows = name_pairs(), []
    for model in names.MODELS:
        runs = [names.train(model, split, **names.SETTINGS[model], seed=seed, beam=5) for seed in range(3)]
        error, exact, wall = (np.mean([run[key] for run in runs]) for key in ("error", "exact", "wall"))
        told = f"error rate {error:.3f}, exactly right {exact:.1%}, trained in {wall:.0f} s"
        rows.append({"what": f"names, {model}", "told": told, "error": error, "exact": exact, "seconds": wall})
    return rows


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(THREADS):
        rows = [training_step(form, 3 * ROUNDS if large else ROUNDS) for form in (False, True)]
        return rows + (names_rows() if large else [])
