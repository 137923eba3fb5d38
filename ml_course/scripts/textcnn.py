r"""Trains TextCNN on film reviews: `python -m ml_course.scripts.textcnn --data FOLDER`.

The sentences of rt-polarity, positive or negative, with random first embeddings (CNN-rand of Kim 2014, who reports
76.1 % as the mean over ten folds). `--folds` says how many of the ten are tested, each by a network that never saw it;
the next fold says when to stop, and the other eight are learned.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch.nn import functional as F

from ml_course.cnn import TextCNN
from ml_course.data import LabelledTexts, rt_polarity
from ml_course.text import Batches, Vocabulary
from ml_course.training import fit, seed_everything

FOLDS = 10


def folds_of(texts: LabelledTexts, seed: int) -> np.ndarray:
    r"""The fold, 0 to 9, of each text; equal texts share one, so that none is both learned and tested."""
    distinct, group = np.unique(texts.contents(), return_inverse=True)
    return (np.random.default_rng(seed).permutation(len(distinct)) % FOLDS)[group]


def train(
    texts: LabelledTexts,
    fold: int,
    *,
    epochs: int = 12,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, float]:
    r"""Share of right answers on one fold, and what it took: accuracy, seconds, epochs, parameters."""
    numbers = folds_of(texts, seed)
    parts = {
        "test": numbers == fold,
        "validation": numbers == (fold + 1) % FOLDS,
        "train": (numbers != fold) & (numbers != (fold + 1) % FOLDS),
    }
    words = [text.split() for text in texts.texts]  # the tokens of this data stand apart already
    vocabulary = Vocabulary.from_texts(words[i] for i in np.flatnonzero(parts["train"]))
    ids = [vocabulary.encode(sentence) or [vocabulary.unk] for sentence in words]

    def batches_of(part: str, learning: bool) -> Batches:
        rows = np.flatnonzero(parts[part])
        size, order = (50, seed) if learning else (500, None)
        return Batches([ids[i] for i in rows], texts.labels[rows], size=size, seed=order, by_length=learning)

    seed_everything(seed)
    model = TextCNN(len(vocabulary), len(texts.classes)).to(device)

    def loss_of(network, batch, reduction="mean"):
        tokens, labels = batch[0].to(device), torch.from_numpy(batch[1]).to(device)
        return F.cross_entropy(network(tokens.ids, tokens.mask), labels, reduction=reduction)

    held_out = list(batches_of("validation", learning=False))

    def validate(network) -> float:
        return sum(loss_of(network, batch, "sum").item() for batch in held_out) / parts["validation"].sum()

    start = time.perf_counter()
    history = fit(
        model,
        batches_of("train", learning=True),
        loss_of,
        torch.optim.AdamW(model.parameters(), 5e-4, weight_decay=0.01, fused=True),  # 10 × faster on 5 million numbers
        epochs=epochs,
        validate=validate,
        patience=3,
        progress=progress,
    )
    right = 0
    with torch.no_grad():
        for tokens, labels in batches_of("test", learning=False):
            tokens = tokens.to(device)
            right += int((model(tokens.ids, tokens.mask).argmax(1).cpu().numpy() == labels).sum())
    return {
        "accuracy": right / int(parts["test"].sum()),
        "seconds": time.perf_counter() - start,
        "epochs": len(history.loss),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train TextCNN on rt-polarity, with random first embeddings.")
    parser.add_argument("--data", help="folder with rt-polarity's files; downloaded once when left out")
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=FOLDS, help="how many of ten")
    parser.add_argument("--epochs", type=int, default=12, help="at most")
    parser.add_argument("--seed", type=int, default=0, help="of folds, weights, order and dropout")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    texts, accuracies = rt_polarity(asked.data), []
    for fold in range(asked.folds):
        result = train(texts, fold, epochs=asked.epochs, seed=asked.seed, device=asked.device, progress=True)
        accuracies.append(result["accuracy"])
        print(
            f"TextCNN ({result['parameters']:,} parameters), fold {fold}: {result['accuracy']:.1%} right after "
            f"{result['epochs']} epochs, {result['seconds']:.0f} s",
            flush=True,
        )
    if asked.folds > 1:
        spread = np.std(accuracies, ddof=1)
        print(f"mean of {asked.folds} folds {np.mean(accuracies):.1%}, deviation between folds {spread:.1%}")


if __name__ == "__main__":
    main()
