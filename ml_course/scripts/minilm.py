r"""Fine-tunes MiniLM on film reviews: `python -m ml_course.scripts.minilm --data FOLDER`.

The sentences of rt-polarity, positive or negative, in the same ten folds as `ml_course.scripts.textcnn`: `--folds` says
how many of them are tested, each by a network that never saw it. The next fold is for choosing (`--validation` tests
on it instead), the other eight are learned from. All weights are trained, as devlin2019bert does it: a few passes, a
small rate, warmed up and then falling.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch.nn import functional as F

from ml_course.bert import Bert, Classifier, WordPiece, pretrained_folder
from ml_course.data import LabelledTexts, rt_polarity
from ml_course.scripts.textcnn import FOLDS, folds_of
from ml_course.text import Batches
from ml_course.training import fit, seed_everything


def train(
    texts: LabelledTexts,
    fold: int,
    *,
    folder: str | None = None,
    validation: bool = False,
    epochs: int = 2,
    rate: float = 2e-4,
    size: int = 32,
    context: int = 128,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, float]:
    r"""Share of right answers on one fold, and what it took: accuracy, loss of each epoch, seconds, parameters."""
    numbers, folder = folds_of(texts, seed), pretrained_folder(folder)
    tested = (fold + 1) % FOLDS if validation else fold
    learned = (numbers != fold) & (numbers != (fold + 1) % FOLDS)
    tokenizer = WordPiece.from_file(folder)
    ids = [tokenizer.encode(text) for text in texts.texts]

    def batches_of(rows: np.ndarray, learning: bool) -> Batches:
        kept = [[tokenizer.cls, *ids[i][: context - 2], tokenizer.sep] for i in rows]
        return Batches(
            kept,
            texts.labels[rows],
            size=size if learning else 128,
            seed=seed if learning else None,
            by_length=learning,
        )

    seed_everything(seed)
    model = Classifier(Bert.from_pretrained(folder), len(texts.classes), pool="mean").to(device)
    batches = batches_of(np.flatnonzero(learned), learning=True)
    steps = epochs * len(batches)

    def loss_of(network, batch):
        tokens, labels = batch[0].to(device), torch.from_numpy(batch[1]).to(device)
        return F.cross_entropy(network(tokens.ids, None, tokens.mask), labels)

    def schedule(step: int) -> float:
        return rate * min(10 * step / steps, (steps - step + 1) / (0.9 * steps))

    start = time.perf_counter()
    optimiser = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=True)
    history = fit(model, batches, loss_of, optimiser, epochs=epochs, schedule=schedule, clip=1.0, progress=progress)
    right, rows = 0, np.flatnonzero(numbers == tested)
    with torch.no_grad():
        for tokens, labels in batches_of(rows, learning=False):
            tokens = tokens.to(device)
            right += int((model(tokens.ids, None, tokens.mask).argmax(1).cpu().numpy() == labels).sum())
    return {
        "accuracy": right / len(rows),
        "losses": history.loss.tolist(),
        "seconds": time.perf_counter() - start,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune MiniLM on rt-polarity.")
    parser.add_argument("--data", help="folder with rt-polarity's files; downloaded once when left out")
    parser.add_argument("--model", help="folder with MiniLM; found as ml_course.bert.pretrained_folder says")
    parser.add_argument("--folds", type=int, choices=range(1, FOLDS + 1), default=1, help="how many of ten")
    parser.add_argument("--validation", action="store_true", help="test on the fold for choosing, not on the last one")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-4, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0, help="of folds, head, order and dropout")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    texts, accuracies = rt_polarity(asked.data), []
    for fold in range(asked.folds):
        result = train(
            texts, fold, folder=asked.model, validation=asked.validation, epochs=asked.epochs, rate=asked.rate,
            seed=asked.seed, device=asked.device, progress=True,
        )  # fmt: skip
        accuracies.append(result["accuracy"])
        losses = ", ".join(f"{loss:.3f}" for loss in result["losses"])
        print(
            f"MiniLM ({result['parameters']:,} parameters), fold {fold}: {result['accuracy']:.1%} right, "
            f"{result['seconds']:.0f} s; losses {losses}",
            flush=True,
        )
    if asked.folds > 1:
        spread = np.std(accuracies, ddof=1)
        print(f"mean of {asked.folds} folds {np.mean(accuracies):.1%}, deviation between folds {spread:.1%}")


if __name__ == "__main__":
    main()
