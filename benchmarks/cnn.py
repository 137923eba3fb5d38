"""The readable convolution and the engine's against torch's, one thread each; LeNet-5 and TextCNN on their real data.

Where MNIST and rt-polarity are is said by ML_COURSE_DATA, or they are downloaded; without them their rows say so.
`--large` trains: TextCNN on all ten folds, and LeNet-5 with five seeds, also in its form of 1998.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks import ratios
from ml_course import backprop, cnn
from ml_course.backprop import Adam, Tensor
from ml_course.cnn import engine_conv
from ml_course.data import digits, rt_polarity, split
from ml_course.scripts import lenet, textcnn

ROUNDS, BATCH = 31, 32
SHAPES = (  # name, inputs, weight, options
    ("64 maps of 28 × 28, 3 × 3", (16, 64, 28, 28), (64, 64, 3, 3), dict(padding=1)),
    ("LeNet's C3", (64, 6, 14, 14), (16, 6, 5, 5), {}),
)
BESIDE = Path(__file__).parents[2] / "shared" / "data"


def folder() -> str | None:
    """Where the public files are, if somebody put them beside the course; else the loaders look for themselves."""
    return str(BESIDE) if BESIDE.is_dir() and "ML_COURSE_DATA" not in os.environ else None


def convolutions(rounds: int = ROUNDS) -> Iterator[dict[str, Any]]:
    """The readable form, and what the library takes by default, each forward and back."""
    torch.manual_seed(0)
    for name, shape, weight, options in SHAPES:
        with ratios.here():
            inputs = [torch.randn(shape, requires_grad=True), torch.randn(weight, requires_grad=True)]
        theirs = partial(both_ways, partial(F.conv2d, **options), inputs)
        for form, conv2d in (
            ("readable conv2d", partial(cnn.conv2d, **options, fused=False)),
            ("conv2d by default", partial(cnn.conv2d, **options)),
        ):
            ours = partial(both_ways, conv2d, inputs)
            yield ratios.compared(f"{form}, {name}", ours, theirs, "× F.conv2d", rounds)


def both_ways(conv2d: Callable[..., torch.Tensor], inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    outputs = conv2d(*inputs)
    return outputs, *torch.autograd.grad(outputs.sum(), inputs)


def engine() -> dict[str, Any]:
    """An epoch of the engine's small network on the digits and of the same in torch, from the same weights."""
    train = split(digits()).train
    points, labels = train.points.reshape(-1, 1, 8, 8).astype(np.float32), train.labels
    starts = range(0, len(labels) - BATCH + 1, BATCH)
    there, known = torch.from_numpy(points), torch.from_numpy(labels)
    own = engine_conv.ConvNet(dtype=np.float32)
    twin = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    with torch.no_grad():
        for mine, other in zip(own.parameters(), twin.parameters(), strict=True):
            other.copy_(torch.from_numpy(mine.data))
    optimiser, other_optimiser = Adam(own.parameters(), 1e-3), torch.optim.Adam(twin.parameters(), 1e-3)

    def epoch() -> float:
        for i in starts:
            optimiser.zero_grad()
            loss = backprop.cross_entropy(own(Tensor(points[i : i + BATCH])), labels[i : i + BATCH])
            loss.backward()
            optimiser.step()
        return loss.item()

    def torch_epoch() -> float:
        for i in starts:
            other_optimiser.zero_grad()
            loss = F.cross_entropy(twin(there[i : i + BATCH]), known[i : i + BATCH])
            loss.backward()
            other_optimiser.step()
        return loss.item()

    np.testing.assert_allclose(epoch(), torch_epoch(), rtol=1e-2)
    seconds = ratios.interleaved({"ours": epoch, "torch": torch_epoch}, ROUNDS)
    what = "an epoch of a small convolutional network on the digits, our engine"
    return ratios.row(what, seconds["ours"], seconds["torch"], "× torch")


def lenet_on_mnist(form: str, seeds: int) -> dict[str, Any]:
    runs = [lenet.train(folder(), form=form, seed=seed) for seed in range(seeds)]
    share, seconds = (np.median([run[name] for run in runs]) for name in ("accuracy", "seconds"))
    first = runs[0]
    told = f"{share:.2%} of {first['tested']:,} after {first['learned']:,} learned, {seconds:.0f} s, median of {seeds}"
    return {"what": f"LeNet-5 ({form}) on MNIST", "accuracy": float(share), "seconds": float(seconds), "told": told}


def textcnn_on_reviews(folds: int) -> dict[str, Any]:
    texts = rt_polarity(folder())
    runs = [textcnn.train(texts, fold) for fold in range(folds)]
    share, seconds = (np.mean([run[name] for run in runs]) for name in ("accuracy", "seconds"))
    told = f"{share:.1%} right, mean of {folds} of 10 folds, {seconds:.0f} s a fold (Kim 2014: 76.1 %)"
    what = "TextCNN on rt-polarity, random embeddings"
    return {"what": what, "accuracy": float(share), "seconds": float(seconds), "told": told}


def trainings() -> Iterator[dict[str, Any]]:
    """Five seeds, ten folds: half an hour."""
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "LeNet-5 on MNIST": lambda: lenet_on_mnist("modern", 5),
        "LeNet-5 of 1998": lambda: lenet_on_mnist("1998", 5),
        "TextCNN on rt-polarity": lambda: textcnn_on_reviews(10),
    }
    for name, train in kinds.items():
        try:
            yield train()
        except FileNotFoundError as error:
            yield {"what": name, "told": f"not measured: {error}"}


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        rows = [*convolutions(3 * ROUNDS if large else ROUNDS), engine()]
    if large:
        with ratios.threads(min(2, os.cpu_count() or 1)):  # the trainings' figures are for two cores
            rows += trainings()
    return rows
