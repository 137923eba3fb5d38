r"""Trains LeNet-5 on MNIST, or on Fashion-MNIST's clothes, and prints how often it is right.

    python -m ml_course.scripts.lenet --data FOLDER
    python -m ml_course.scripts.lenet --set fashion

Where the folder holds only MNIST's 10,000 test pictures, 8,000 of them are learned and 2,000 tested. The pictures are
moved by up to two pixels at random while learning: a digit stays the same digit wherever it stands.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from ml_course.cnn import LeNet5, LeNet5Config
from ml_course.data import fashion_mnist, mnist
from ml_course.text import Batches
from ml_course.training import fit, seed_everything

FORMS = {"modern": LeNet5Config.MODERN, "1998": LeNet5Config.ORIGINAL}
SETS = {"mnist": mnist, "fashion": fashion_mnist}
FURTHEST = 2  # pixels


def moved(pictures: Float[torch.Tensor, "batch 1 28 28"]) -> Float[torch.Tensor, "batch 1 32 32"]:
    r"""Each picture at a random place of a sheet of 32 × 32, at most two pixels from its middle."""
    sheets = F.pad(pictures, (2 * FURTHEST,) * 4)
    corner = torch.randint(0, 2 * FURTHEST + 1, (2, len(pictures), 1), device=pictures.device)
    rows, columns = corner + torch.arange(32, device=pictures.device)
    each = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return sheets[each, 0, rows[:, :, None], columns[:, None, :]][:, None]


def train(
    folder: str | None = None,
    *,
    pictures: str = "mnist",
    form: str = "modern",
    epochs: int = 12,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, float]:
    r"""Share of right answers on the test part, and what it took: accuracy, seconds, parameters, learned, tested.

    pictures   "mnist" or "fashion";   form   "modern" or "1998"
    """
    parts = SETS[pictures](folder)
    seed_everything(seed)
    network = LeNet5(FORMS[form]).to(device)
    pixels, labels = (torch.from_numpy(array).to(device) for array in (parts.train.pixels, parts.train.labels))
    batches = Batches(pixels, labels, size=64, seed=seed)
    steps, highest = epochs * len(batches), 0.003

    def loss_of(model, batch):
        seen, classes = batch
        return F.cross_entropy(model(moved(seen)), classes)

    start = time.perf_counter()
    fit(
        network,
        batches,
        loss_of,
        torch.optim.AdamW(network.parameters(), highest, weight_decay=0.01, fused=True),
        epochs=epochs,
        schedule=lambda step: highest * (1 + math.cos(math.pi * (step - 1) / steps)) / 2,
        progress=progress,
    )
    with torch.no_grad():
        test = torch.from_numpy(parts.test.pixels).to(device)
        answers = network(F.pad(test, (2,) * 4)).argmax(1).cpu().numpy()
    return {
        "accuracy": float(np.mean(answers == parts.test.labels)),
        "seconds": time.perf_counter() - start,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "learned": len(parts.train.labels),
        "tested": len(parts.test.labels),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train LeNet-5 on pictures of 28 × 28.")
    parser.add_argument("--data", help="folder with the set's files; downloaded once when left out")
    parser.add_argument("--set", choices=SETS, default="mnist", help="digits or clothes")
    parser.add_argument("--form", choices=FORMS, default="modern", help="as it is built today, or as of 1998")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1, help="how many trainings, with seeds 0, 1, 2 …")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    accuracies = []
    for seed in range(asked.seeds):
        chosen = {"pictures": asked.set, "form": asked.form, "epochs": asked.epochs, "device": asked.device}
        result = train(asked.data, **chosen, seed=seed, progress=True)
        accuracies.append(result["accuracy"])
        print(
            f"LeNet-5 ({asked.form}, {result['parameters']:,} parameters), seed {seed}: "
            f"{result['accuracy']:.2%} of {result['tested']:,} right after {asked.epochs} epochs of "
            f"{result['learned']:,}, {result['seconds']:.0f} s"
        )
    if asked.seeds > 1:
        print(f"median {np.median(accuracies):.2%}, from {min(accuracies):.2%} to {max(accuracies):.2%}")


if __name__ == "__main__":
    main()
