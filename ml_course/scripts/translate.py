r"""Trains a German → English encoder–decoder: `python -m ml_course.scripts.translate --data FOLDER`.

Descriptions of photographs (Multi30k), in small letters, cut into pieces by byte-pair encoding. The model is that of
Sutskever 2014 at a size for one processor core: an LSTM reads the source from its end, another begins with its state;
or with `--model transformer` that of Vaswani 2017, pre-norm, with label smoothing and warm-up.
BLEU on the 1,000 test sentences is reported as sacrebleu computes it, and by the course's own function on the same
tokens; then against the length of the source, where a vector of fixed size shows its limit.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ml_course.data import Pairs, multi30k
from ml_course.seq2seq import BPE, EncoderDecoder, Seq2SeqConfig, bleu, masked_cross_entropy, shift
from ml_course.text import Batches, Padded, Vocabulary, words
from ml_course.training import fit, seed_everything
from ml_course.transformer import Transformer, TransformerConfig, smoothed_cross_entropy

LONGEST = 60  # pieces of a translation
MODELS = ("lstm", "transformer")
RATES = {"lstm": 3e-3, "transformer": 2e-3}  # the highest learning rate
WIDTHS = {"lstm": 192, "transformer": 128}  # of a state, of a token


@dataclass(frozen=True)
class Side:
    r"""One language: how its words are cut into pieces, and which number each piece has."""

    bpe: BPE
    vocabulary: Vocabulary

    @classmethod
    def learned(cls, texts: tuple[str, ...], merges: int) -> Side:
        r"""Pieces and numbers from the texts of the training part."""
        split = [text.lower().split() for text in texts]
        bpe = BPE.train(Counter(word for text in split for word in text), merges)
        return cls(bpe, Vocabulary.from_texts(bpe.encode(text) for text in split))

    def encode(self, text: str, **options: bool) -> list[int]:
        r"""Numbers of a text's pieces; `options` as of `Vocabulary.encode`."""
        return self.vocabulary.encode(self.bpe.encode(text.lower().split()), **options)

    def decode(self, numbers: list[int]) -> str:
        r"""The text again."""
        return " ".join(self.bpe.decode(self.vocabulary.decode(numbers)))


def scores(outputs: list[str], references: list[str]) -> dict[str, Any]:
    r"""BLEU of sacrebleu and of our own function on the tokens that sacrebleu makes; the first is None without it."""
    references = [reference.lower() for reference in references]
    try:
        from sacrebleu import BLEU
        from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
    except ImportError:
        theirs, tokens = None, words
    else:
        theirs = BLEU(smooth_method="none").corpus_score(outputs, [references]).score
        split = Tokenizer13a()

        def tokens(text: str) -> list[str]:
            return split(text).split()

    ours = bleu([tokens(output) for output in outputs], [[tokens(reference)] for reference in references])
    return {"sacrebleu": theirs, "bleu": 100 * ours.score, "brevity_penalty": ours.brevity_penalty}


def build(model: str, source_vocab: int, target_vocab: int, hidden: int) -> torch.nn.Module:
    r"""The untrained model, at a size that one processor core can train."""
    if model == "transformer":
        config = TransformerConfig(
            source_vocab, target_vocab, d_model=hidden, heads=4, d_ff=4 * hidden, dropout=0.1, pre_norm=True
        )
        return Transformer(config)
    config = Seq2SeqConfig(
        source_vocab, target_vocab, d_model=hidden // 2, hidden=hidden, reverse=True, dropout=0.2
    )  # fmt: skip
    return EncoderDecoder(config)


def train(
    parts: dict[str, Pairs],
    *,
    model: str = "lstm",
    hidden: int | None = None,
    merges: int = 1500,
    epochs: int = 6,
    beam: int = 5,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, Any]:
    r"""Scores on the test part, greedy and by beam search, and what it took: seconds, epochs, parameters, examples.

    hidden   width of the LSTM's states or the Transformer's tokens; that of WIDTHS when None
    Raises: ValueError for a model that is none of MODELS.
    """
    if model not in MODELS:
        raise ValueError(f"model = {model!r}, expected one of {', '.join(MODELS)}")
    hidden = WIDTHS[model] if hidden is None else hidden
    sides = [Side.learned(texts, merges) for texts in (parts["train"].sources, parts["train"].targets)]

    def numbers(pairs: Pairs) -> tuple[list[list[int]], list[list[int]]]:
        sources = [sides[0].encode(text) for text in pairs.sources]
        return sources, [sides[1].encode(text, bos=True, eos=True) for text in pairs.targets]

    seed_everything(seed)
    network = build(model, len(sides[0].vocabulary), len(sides[1].vocabulary), hidden).to(device)
    batches = Batches(*numbers(parts["train"]), size=64, seed=seed, by_length=True)
    steps, rate = epochs * len(batches), RATES[model]
    warmup = steps // 10 if model == "transformer" else 0
    betas = (0.9, 0.98 if model == "transformer" else 0.999)
    optimiser = torch.optim.AdamW(network.parameters(), rate, betas=betas, weight_decay=0.01, fused=True)

    def loss_of(network: torch.nn.Module, batch: tuple[Padded, Padded]) -> torch.Tensor:
        source, target = (side.to(device) for side in batch)
        reads, says, real = shift(target.ids, target.mask)
        logits = network(source.ids, source.mask, reads)
        if model == "transformer" and network.training:
            return smoothed_cross_entropy(logits, says, real, 0.1)
        return masked_cross_entropy(logits, says, real)

    held_out = list(Batches(*numbers(parts["validation"]), size=100, seed=None))

    def validate(network: torch.nn.Module) -> float:
        return float(np.mean([loss_of(network, batch).item() for batch in held_out]))

    start = time.perf_counter()
    history = fit(
        network,
        batches,
        loss_of,
        optimiser,
        epochs=epochs,
        clip=1.0,
        schedule=lambda step: rate * min(1.0, step / (warmup or 1), 1.2 * (1 - step / (steps + 1))),
        validate=validate,
        progress=progress,
    )
    seconds = time.perf_counter() - start

    def translations(width: int) -> list[str]:
        found = []
        for sources, _ in Batches(*numbers(parts["test"]), size=100, seed=None):
            sources = sources.to(device)
            rows = network.translate(sources.ids, sources.mask, LONGEST, beam=width, alpha=1.0)
            found += [sides[1].decode(row) for row in rows]
        return found

    greedy, best = translations(1), translations(beam)
    lengths = np.array([len(text.split()) for text in parts["test"].sources])
    cuts = np.quantile(lengths, [0.25, 0.5, 0.75])
    quarters = np.searchsorted(cuts, lengths)
    by_length = {
        f"{lengths[quarters == part].min()} to {lengths[quarters == part].max()} words": scores(
            [best[i] for i in np.flatnonzero(quarters == part)],
            [parts["test"].targets[i] for i in np.flatnonzero(quarters == part)],
        )["bleu"]
        for part in np.unique(quarters)
    }
    return {
        "greedy": scores(greedy, list(parts["test"].targets)),
        "beam": scores(best, list(parts["test"].targets)),
        "by_length": by_length,
        "examples": list(zip(parts["test"].sources, best, parts["test"].targets, strict=True))[:3],
        "validation": history.validation.tolist(),
        "seconds": seconds,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a German → English encoder–decoder on Multi30k; print BLEU.")
    parser.add_argument("--data", help="folder with Multi30k's files; downloaded once when left out")
    parser.add_argument("--limit", type=int, help="how many pairs to learn from; all 29,000 when left out")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--model", choices=MODELS, default="lstm")
    parser.add_argument("--hidden", type=int, help="width of the LSTMs' states, or of the Transformer's tokens")
    parser.add_argument("--merges", type=int, default=1500, help="of the byte-pair encoding, for each language")
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    if asked.limit is not None and asked.limit < 1:
        parser.error(f"--limit {asked.limit}: expected at least 1")
    parts = multi30k(asked.data, "de", "en", asked.limit)
    options = {name: getattr(asked, name) for name in ("model", "epochs", "hidden", "merges", "beam", "seed", "device")}
    result = train(parts, **options, progress=True)
    print(
        f"{result['parameters']:,} parameters, {len(parts['train']):,} pairs, {asked.epochs} epochs in "
        f"{result['seconds']:.0f} s; validation loss {result['validation'][-1]:.2f}"
    )
    for name, found in (("greedy", result["greedy"]), (f"beam {asked.beam}", result["beam"])):
        theirs = "sacrebleu is not installed" if found["sacrebleu"] is None else f"sacrebleu {found['sacrebleu']:.2f}"
        print(f"{name}: {theirs}, ours {found['bleu']:.2f}, brevity penalty {found['brevity_penalty']:.2f}")
    for length, score in result["by_length"].items():
        print(f"sources of {length}: {score:.1f}")
    for source, output, reference in result["examples"]:
        print(f"  {source}\n    said      {output}\n    reference {reference}")


if __name__ == "__main__":
    main()
