r"""Pretraining in small: one corpus, one size, one budget, one of four objectives; and how well a cloze is filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml_course.data import reference_topics
from ml_course.data.splitting import position
from ml_course.objectives.byte_bpe import ByteBPE
from ml_course.objectives.stack import OneStack, objective_loss, surprise
from ml_course.objectives.tasks import OBJECTIVES, Layout, Task, cloze_task
from ml_course.training import History, fit, seed_everything
from ml_course.transformer import LMConfig

PAGE = LMConfig(vocab=0, d_model=64, heads=4, d_ff=256, layers=2, context=64)  # what a page has time to train
PARTS = 10  # of the training, each with a value in the history


class Corpus(NamedTuple):
    r"""A text as numbers, cut into what is learned and what is held out, and how it was made into numbers."""

    tokenizer: ByteBPE
    layout: Layout
    learned: Int[Tensor, " time"]
    held_out: Int[Tensor, " time"]

    @classmethod
    def of(cls, learned: str, held_out: str, merges: int) -> Corpus:
        r"""Both texts in pieces that are learned from the first."""
        tokenizer, layout = Layout.learned([learned], merges)
        return cls(tokenizer, layout, *(torch.tensor(tokenizer.encode(text)) for text in (learned, held_out)))


def reference_corpus(merges: int = 744) -> Corpus:
    r"""Python's reference in pieces; a tenth of the topics, told by a hash of their names, is held out.

    merges   of the byte-level encoding, which is learned from the training part
    """
    topics = reference_topics()
    learned = "\n\n".join(text for name, text in topics.items() if position(name) >= 0.1)
    held_out = "\n\n".join(text for name, text in topics.items() if position(name) < 0.1)
    return Corpus.of(learned, held_out, merges)


@dataclass(frozen=True)
class Rows:
    r"""Batches that depend on their number alone: whoever asks for batch 700 gets it without the 699 before it.

    tokens   the text
    batch    rows in a batch
    length   tokens in a row, from a random place of the text
    seed     of the places, and of what an objective draws
    Raises: ValueError when the text is shorter than a row.
    """

    tokens: Int[Tensor, " time"]
    batch: int
    length: int
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.tokens) < self.length:
            raise ValueError(f"tokens has {len(self.tokens)}, expected at least length = {self.length}")

    def at(self, step: int) -> Int[Tensor, "batch time"]:
        r"""The rows of a step, as they stand in the text."""
        starts = np.random.default_rng((self.seed, step)).integers(len(self.tokens) - self.length + 1, size=self.batch)
        return self.tokens[torch.from_numpy(starts)[:, None] + torch.arange(self.length)]

    def task(self, objective: str, layout: Layout, step: int) -> Task:
        r"""The same rows as a task of an objective. Raises: ValueError for one that is none of OBJECTIVES."""
        if objective not in OBJECTIVES:
            raise ValueError(f"objective = {objective!r}, expected one of {', '.join(OBJECTIVES)}")
        drawn = int(np.random.default_rng((self.seed, step, 1)).integers(2**62))
        return OBJECTIVES[objective](self.at(step), layout, torch.Generator().manual_seed(drawn))


class Pretrained(NamedTuple):
    r"""What `pretrain` returns; take it apart as `model, history = …`."""

    model: OneStack  # trained, in evaluation mode
    history: History  # history.loss: mean nats of the objective, for each tenth of the training


def pretrain(
    objective: str,
    corpus: Corpus,
    config: LMConfig = PAGE,
    *,
    steps: int = 300,
    batch: int = 32,
    length: int = 32,
    rate: float = 4e-3,
    seed: int = 0,
) -> Pretrained:
    r"""Trains a model of this size by this objective. Models of all objectives read the same rows in the same order.

    config   sizes; its `vocab` is replaced by what the corpus needs
    steps    batches to learn from, rounded down to tens
    rate     highest learning rate (AdamW): warmed up over the first tenth, then falling to zero
    seed     of weights, rows and corruption; torch's seed is set to it
    Raises: ValueError when steps is below 10, or for an objective that is none of OBJECTIVES.
    """
    if steps < PARTS:
        raise ValueError(f"steps = {steps}: expected at least {PARTS}")
    seed_everything(seed)
    model = OneStack(replace(config, vocab=corpus.layout.vocab))
    rows = Rows(corpus.learned, batch, length, seed)
    optimiser = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    in_all = steps // PARTS * PARTS
    schedule = warmup_and_decay(rate, in_all)
    tasks = _Tasks(rows, objective, corpus.layout, in_all // PARTS)
    return Pretrained(model, fit(model, tasks, objective_loss, optimiser, epochs=PARTS, schedule=schedule, clip=1.0))


def warmup_and_decay(rate: float, steps: int, warmup: float = 0.1):
    r"""A schedule: straight up to `rate` over the first `warmup` of the steps, then straight down to nearly zero.

    >>> schedule = warmup_and_decay(1.0, steps=100)
    >>> [round(schedule(step), 2) for step in (1, 10, 55, 100)]
    [0.1, 1.0, 0.51, 0.01]
    """
    up = max(1, round(warmup * steps))
    return lambda step: rate * min(step / up, (steps - step + 1) / (steps - up + 1))


@torch.no_grad()
def cloze_nats(
    model: OneStack,
    objective: str,
    tokens: Int[Tensor, " time"],
    layout: Layout,
    *,
    length: int = 32,
    place: int | None = None,
    batch: int = 128,
) -> Float[np.ndarray, " samples"]:
    r"""Surprise at one token of each row of a text, in nats, each objective asked in its own way (`cloze_task`).

    tokens   the text, cut into rows of `length` tokens that do not overlap
    place    of the token; the middle when None
    Put the model into evaluation mode first.
    """
    rows = tokens[: len(tokens) // length * length].reshape(-1, length)
    place = length // 2 if place is None else place
    found = [surprise(model, cloze_task(objective, some, place, layout)) for some in rows.split(batch)]
    return torch.cat(found).double().cpu().numpy()


class _Tasks:
    """So many tasks at each pass, going on where the last pass stopped."""

    def __init__(self, rows: Rows, objective: str, layout: Layout, each: int):
        self.rows, self.objective, self.layout, self.each, self.step = rows, objective, layout, each, 0

    def __iter__(self) -> Iterator[Task]:
        for _ in range(self.each):
            yield self.rows.task(self.objective, self.layout, self.step)
            self.step += 1
