r"""A small language model, trained the same way each time: for the chapters that need one and have seconds to spare."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from ml_course.data import reference_text
from ml_course.rnn import Window
from ml_course.text import Vocabulary
from ml_course.training import History, fit, seed_everything
from ml_course.transformer.language import LMConfig, TransformerLM, next_token_loss

PARTS = 10  # of the training, each with a value in the history
SHORT = 7  # of them read short windows


class SmallLanguageModel(NamedTuple):
    r"""What `small_language_model` returns; take it apart as `model, vocabulary, held_out, history = …`."""

    model: TransformerLM  # trained, in evaluation mode
    vocabulary: Vocabulary  # of characters: vocabulary.encode("if") and "".join(vocabulary.decode(tokens))
    held_out: Int[Tensor, " time"]  # the last twentieth of the text, which the model has not learned from
    history: History  # history.loss: mean nats a character, for each tenth of the training


def small_language_model(
    config: LMConfig | None = None,
    *,
    steps: int = 600,
    rate: float = 5e-3,
    batch: int = 4,
    length: int = 128,
    seed: int = 0,
) -> SmallLanguageModel:
    r"""Trains a decoder-only Transformer on the characters of Python's reference: model, vocabulary, held-out tokens.

    config   sizes; its `vocab` is replaced by what the text has. `LMConfig.PAGE` when None
    steps    batches to learn from, rounded down to tens
    rate     highest learning rate (AdamW): warmed up over the first tenth, then falling to zero
    batch    windows of `length` characters, from random places of the text. The first seven tenths of the training
             read four times as many windows of a quarter of the length: what is near is learned from these as well,
             and more of it in the same time (press2021shortformer)
    seed     of the weights and of the windows; torch's seed is set to it. Same processor, same model
    Returns a `SmallLanguageModel`. Raises: ValueError when steps is below 10, length below 4 or beyond the context of
    learned positions. Cost: with the defaults about ten seconds of one processor core.

    >>> model, vocabulary, held_out, history = small_language_model(LMConfig.TINY, steps=10, length=8)
    >>> model.config.vocab == len(vocabulary), vocabulary.decode(held_out[-2:]), len(history.loss)
    (True, ['.', '\n'], 10)
    """
    config = LMConfig.PAGE if config is None else config
    if steps < PARTS or length < 4:
        raise ValueError(f"steps = {steps}, length = {length}: expected at least {PARTS} and 4")
    text = reference_text()
    vocabulary = Vocabulary.from_texts([text])
    tokens = torch.tensor(vocabulary.encode(text))
    learned, held_out = tokens.split([len(tokens) - len(tokens) // 20, len(tokens) // 20])

    seed_everything(seed)
    model = TransformerLM(replace(config, vocab=len(vocabulary)))
    optimiser = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    in_all = steps // PARTS * PARTS

    def schedule(step: int) -> float:
        return rate * min(1.0, PARTS * step / in_all, 1.6 * (1 - (step - 1) / in_all))

    windows = RandomWindows(learned, steps // PARTS, batch, length, torch.Generator().manual_seed(seed))
    history = fit(model, windows, next_token_loss, optimiser, epochs=PARTS, schedule=schedule, clip=1.0)
    return SmallLanguageModel(model, vocabulary, held_out, history)


@dataclass
class RandomWindows:
    r"""Windows from random places of a text, other ones on each pass; the first SHORT passes read shorter ones."""

    tokens: Int[Tensor, " time"]
    batches: int  # in a pass
    batch: int
    length: int
    generator: torch.Generator
    passes: int = 0

    def __iter__(self) -> Iterator[Window]:
        several = 4 if self.passes < SHORT else 1
        self.passes += 1
        ramp = torch.arange(self.length // several + 1)
        for _ in range(self.batches):
            first = torch.randint(len(self.tokens) - len(ramp) + 1, (several * self.batch, 1), generator=self.generator)
            window = self.tokens[first + ramp]
            yield Window(window[:, :-1], window[:, 1:], first=True)
