r"""Learns ListOps with several forms of attention: `python -m ml_course.scripts.listops`.

Expressions like `[MAX 2 9 [MIN 4 7 ] 0 ]` are made, never downloaded. Every form trains the same small encoder on the
same batches, and says how many of the expressions that it has not seen it solves, by the operator of the outermost
list. The control mixes nothing: each token alone, then their mean, a bag of tokens.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course import longrange
from ml_course.attention import MultiHeadAttention
from ml_course.data import LabelledTexts, listops
from ml_course.data.listops import OPERATORS
from ml_course.longrange import ClassifierConfig, SequenceClassifier
from ml_course.text import Padded, Vocabulary, pad
from ml_course.training import fit, seed_everything


class Nothing(nn.Module):
    r"""In place of attention: no token hears of another."""

    def __init__(self, d_model: int, heads: int):
        super().__init__()

    def forward(self, x: Tensor, memory: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


def forms(longest: int) -> dict[str, Callable[[int, int], nn.Module]]:
    r"""Name → what makes a layer's attention of d_model and heads; `longest` is the longest input."""

    def heads(attend: Callable[[int], Callable[..., Tensor]]) -> Callable[[int, int], nn.Module]:
        return lambda d_model, number: MultiHeadAttention(d_model, number, attend=attend(d_model // number))

    chart = partial(longrange.bigbird_chart, global_blocks=1, random_blocks=1)
    positive, cosines = longrange.performer_attention, longrange.random_feature_attention
    return {
        "softmax": MultiHeadAttention,
        "LSH": heads(lambda d_head: partial(longrange.lsh_attention, chunk=8)),
        "BigBird": heads(lambda d_head: partial(longrange.sparse_attention, chart=chart, block=4)),
        "linear": heads(lambda d_head: longrange.linear_attention),
        "Performer": heads(lambda d_head: longrange.RandomFeatures(positive, d_head)),
        "RFA": heads(lambda d_head: longrange.RandomFeatures(cosines, d_head)),
        "AFT-full": heads(lambda d_head: longrange.AFT(longest)),
        "no mixing": Nothing,
    }


class Examples:
    r"""Expressions as numbers, with their values and the operators of their outermost lists."""

    def __init__(self, texts: LabelledTexts, vocabulary: Vocabulary):
        tokens = [text.split() for text in texts.texts]
        self.inputs = pad([vocabulary.encode(row) for row in tokens])
        self.values = torch.as_tensor(texts.labels)
        self.operators = np.array([row[0] for row in tokens])

    def batches(self, size: int, steps: int, seed: int) -> list[tuple[Padded, Tensor]]:
        r"""As many batches as steps, drawn with replacement, each as short as its longest row."""
        draw = np.random.default_rng(seed)
        rows = [torch.from_numpy(draw.integers(len(self.values), size=size)) for _ in range(steps)]
        return [(self.rows(chosen), self.values[chosen]) for chosen in rows]

    def rows(self, chosen: Tensor) -> Padded:
        r"""Some of the inputs, without the filler that none of them needs."""
        time = int(self.inputs.lengths[chosen].max())
        return Padded(self.inputs.ids[chosen, :time], self.inputs.mask[chosen, :time])


def loss_of(model: nn.Module, batch: tuple[Padded, Tensor]) -> Tensor:
    r"""Mean surprise at the values, in nats."""
    inputs, values = batch
    return F.cross_entropy(model(inputs.ids, inputs.mask), values)


@torch.no_grad()
def accuracy(model: Callable[[Tensor, Tensor], Tensor], examples: Examples) -> dict[str, float]:
    r"""Share of right values, of all and for each outermost operator."""
    right = []
    for chosen in torch.arange(len(examples.values)).split(256):
        inputs = examples.rows(chosen)
        right.append(model(inputs.ids, inputs.mask).argmax(1) == examples.values[chosen])
    found = torch.cat(right).double().numpy()
    by_operator = {name[1:]: float(found[examples.operators == name].mean()) for name in OPERATORS}
    return {"all": float(found.mean())} | by_operator


def train(
    train: Examples,
    test: Examples,
    attention: Callable[[int, int], nn.Module],
    config: ClassifierConfig,
    *,
    steps: int,
    batch: int = 64,
    rate: float = 2e-3,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    r"""Accuracy on the test part after so many steps, with what it took: seconds of the processor, parameters."""
    seed_everything(seed)
    model = SequenceClassifier(config, attention)
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=True)
    start = time.process_time()
    history = fit(
        model,
        train.batches(batch, steps, seed),
        loss_of,
        optimiser,
        epochs=1,
        clip=1.0,
        schedule=lambda step: rate * min(1.0, step / 100) * (1 - step / (steps + 1)),
        progress=progress,
    )
    return {
        "accuracy": accuracy(model, test),
        "loss": float(history.loss[-1]),
        "seconds": time.process_time() - start,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def main() -> None:
    names = list(forms(1))
    parser = argparse.ArgumentParser(description="Learn ListOps with several forms of attention; print accuracies.")
    parser.add_argument("forms", nargs="*", metavar="FORM", help=f"of: {', '.join(names)} (default: all)")
    parser.add_argument("--samples", type=int, default=40_000, help="expressions to learn from")
    parser.add_argument("--shortest", type=int, default=10, help="tokens")
    parser.add_argument("--longest", type=int, default=40, help="tokens")
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--arguments", type=int, default=5, help="of a list, at most")
    parser.add_argument("--steps", type=int, default=1000, help="of 64 expressions")
    parser.add_argument("--width", type=int, default=64, help="d_model")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    unknown = set(asked.forms) - set(names)
    if unknown:
        parser.error(f"no form called {', '.join(sorted(unknown))}; there is: {', '.join(names)}")
    held_out = 2000
    texts = listops(
        asked.samples + held_out,
        shortest=asked.shortest,
        longest=asked.longest,
        depth=asked.depth,
        arguments=asked.arguments,
        seed=asked.seed,
    )
    vocabulary = Vocabulary.from_texts(text.split() for text in texts.texts)
    place = np.arange(len(texts))
    learn, test = (
        Examples(texts.rows(place >= held_out), vocabulary),
        Examples(texts.rows(place < held_out), vocabulary),
    )
    config = ClassifierConfig(
        vocab=len(vocabulary),
        d_model=asked.width,
        d_ff=2 * asked.width,
        layers=asked.layers,
        context=asked.longest,
    )
    most = np.bincount(test.values).max() / held_out
    print(f"{asked.samples:,} expressions of {asked.shortest} to {asked.longest} tokens; always the same: {most:.1%}")
    for name in asked.forms or names:
        found = train(learn, test, forms(asked.longest)[name], config, steps=asked.steps, seed=asked.seed)
        by_operator = ", ".join(f"{operator} {share:.1%}" for operator, share in found["accuracy"].items())
        print(f"{name}: {by_operator} ({found['parameters']:,} parameters, {found['seconds']:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
