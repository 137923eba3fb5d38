r"""English → Russian names, by Transformers and by a network with attention: `python -m ml_course.scripts.names`.

All learn letter by letter from the same names, with the same batches: the network that is recurrent, the Transformer,
and the Transformer whose self-attention knows how far apart two letters are. Settings are of a handful tried by hand:
of `relative` on a part of the names to learn from, of the other two on the very names that are reported, which flatters
these a little.
What counts is the error rate of letters on names neither has learned from, the share of names exactly right, and how
long the training took.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ml_course.attention import LuongAttention
from ml_course.data import Pairs, name_pairs
from ml_course.positions import ShawAttention
from ml_course.seq2seq import EncoderDecoder, Seq2SeqConfig, error_rate, exact_match, masked_cross_entropy, shift
from ml_course.text import Batches, Padded, Vocabulary, pad
from ml_course.training import fit, seed_everything
from ml_course.transformer import Transformer, TransformerConfig, smoothed_cross_entropy

MODELS = ("transformer", "relative", "rnn")
HEADS, FAR = 4, 6  # of the Transformers; from so many letters on, "relative" no longer tells distances apart
LONGEST = 60  # letters of a Russian name


@dataclass(frozen=True)
class Letters:
    r"""The letters of both sides, numbered from the names that are learned."""

    source: Vocabulary
    target: Vocabulary

    @classmethod
    def of(cls, pairs: Pairs) -> Letters:
        r"""Small letters only."""
        return cls(*(Vocabulary.from_texts(name.lower() for name in side) for side in (pairs.sources, pairs.targets)))

    def encode(self, pairs: Pairs) -> tuple[list[list[int]], list[list[int]]]:
        r"""The numbers of each name's letters, on the target side between <bos> and <eos>."""
        sources = [self.source.encode(name.lower()) for name in pairs.sources]
        return sources, [self.target.encode(name.lower(), bos=True, eos=True) for name in pairs.targets]


def build(model: str, letters: Letters, width: int, dropout: float) -> nn.Module:
    r"""The model of that name; `width` is a token's in the Transformers, a state's in the recurrent network.

    Raises: ValueError for another name.
    """
    sizes = dict(source_vocab=len(letters.source), target_vocab=len(letters.target), d_model=width, dropout=dropout)
    if model in ("transformer", "relative"):
        network = Transformer(TransformerConfig(**sizes, heads=HEADS, d_ff=4 * width, pre_norm=True))
        if model == "relative":
            for layer in (*network.encoder.layers, *network.decoder.layers):
                layer.attention.sublayer.attend = ShawAttention(width // HEADS, FAR)
        return network
    if model == "rnn":
        config = Seq2SeqConfig(
            **sizes, hidden=width, cell="gru", bidirectional=True, attend="after", readout="tanh"
        )  # fmt: skip
        return EncoderDecoder(config, LuongAttention(width, 2 * width))
    raise ValueError(f"model = {model!r}, expected one of {', '.join(MODELS)}")


def train(
    model: str,
    names: Any,
    *,
    width: int,
    epochs: int,
    rate: float,
    size: int = 32,
    smoothing: float = 0.0,
    dropout: float = 0.1,
    seed: int = 0,
    beam: int = 1,
    longest: int = LONGEST,
) -> dict[str, Any]:
    r"""Scores on the unseen names, and what it took: processor seconds of the training, parameters.

    names       a split of pairs, as `name_pairs` gives it
    size        names in a batch
    smoothing   ε of the loss, see `smoothed_cross_entropy`
    dropout     share of numbers set to zero while training
    longest     letters of a name at most
    """
    letters = Letters.of(names.train)
    seed_everything(seed)
    network = build(model, letters, width, dropout)
    batches = Batches(*letters.encode(names.train), size=size, seed=seed, by_length=True)
    steps = epochs * len(batches)

    def loss_of(network: nn.Module, batch: tuple[Padded, Padded]) -> torch.Tensor:
        source, target = batch
        reads, says, real = shift(target.ids, target.mask)
        logits = network(source.ids, source.mask, reads)
        if smoothing:
            return smoothed_cross_entropy(logits, says, real, smoothing)
        return masked_cross_entropy(logits, says, real)

    optimiser = torch.optim.AdamW(network.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    start, clock = time.process_time(), time.perf_counter()
    history = fit(
        network,
        batches,
        loss_of,
        optimiser,
        epochs=epochs,
        clip=1.0,
        schedule=lambda step: rate * min(1.0, 10 * step / steps, 1.5 * (1 - (step - 1) / steps)),
    )
    seconds, wall = time.process_time() - start, time.perf_counter() - clock
    said: list[str] = []
    sources = letters.encode(names.test)[0]
    for first in range(0, len(sources), 100):
        found = network.translate(*pad(sources[first : first + 100]), longest, beam=beam, alpha=1.0)
        said += ["".join(letters.target.decode(row)) for row in found]
    right = [name.lower() for name in names.test.targets]
    return {
        "error": error_rate(said, right),
        "exact": exact_match(said, right),
        "loss": float(history.loss[-1]),
        "seconds": seconds,
        "wall": wall,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "examples": list(zip(names.test.sources, said, right, strict=True)),
    }


# Of a handful of settings tried for each model; nobody searched for the best.
SETTINGS = {
    "transformer": dict(width=64, epochs=60, rate=3e-3, smoothing=0.1),
    "relative": dict(width=64, epochs=60, rate=3e-3, smoothing=0.1, dropout=0.15),
    "rnn": dict(width=64, epochs=30, rate=5e-3, smoothing=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn English → Russian names with each model; print their errors.")
    parser.add_argument("--model", choices=(*MODELS, "all"), default="all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="other than the model's own")
    parser.add_argument("--beam", type=int, default=1)
    asked = parser.parse_args()
    if asked.seeds < 1:
        parser.error(f"--seeds {asked.seeds}: expected at least 1")
    names = name_pairs()
    for model in MODELS if asked.model == "all" else (asked.model,):
        options = SETTINGS[model] | ({} if asked.epochs is None else {"epochs": asked.epochs})
        runs = [train(model, names, **options, seed=seed, beam=asked.beam) for seed in range(asked.seeds)]
        errors, exact, wall = (np.array([run[what] for run in runs]) for what in ("error", "exact", "wall"))
        print(
            f"{model}: {runs[0]['parameters']:,} parameters, {options['epochs']} epochs, {wall.mean():.0f} s a seed; "
            f"error rate {errors.mean():.3f} ({errors.min():.3f} to {errors.max():.3f}), "
            f"exactly right {exact.mean():.1%} ({exact.min():.1%} to {exact.max():.1%})"
        )
        for source, said, right in runs[0]["examples"][20:26]:
            print(f"  {source}: {said} (right: {right})")


if __name__ == "__main__":
    main()
