r"""Six ways to a classifier of texts, from nothing at all to all of a pretrained model, each in one call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from ml_course.bert import Bert, Classifier, mean_over_text
from ml_course.text import Batches
from ml_course.training import fit, seed_everything
from ml_course.transfer.adapters import add_adapters
from ml_course.transfer.freezing import GradualUnfreezing, blocks_of, remembered
from ml_course.transfer.lora import add_lora
from ml_course.transfer.pacing import Paced, parameter_groups, warm_then_linear
from ml_course.transformer import LayerNorm

Texts = tuple[Int[Tensor, "samples time"], Tensor, Tensor]  # tokens, segments, mask, as WordPiece.batch gives them


@dataclass(frozen=True)
class Recipe:
    r"""How one of the ways learns."""

    rate: float  # the highest, of all but the head
    head: float = 3e-2  # of the new last layer, which begins from nothing and has far to go
    factor: float = 1.0  # of each block's rate against that of the block above


RECIPES = {  # tried on 64 and on 256 training sentences, judged on 250 others of the training part
    "scratch": Recipe(3e-4, head=3e-3),
    "full": Recipe(1e-4),
    "gradual": Recipe(2e-4, factor=0.7),
    "lora": Recipe(1e-3),
    "adapters": Recipe(1e-3),
}


def features_of(bert: Bert, texts: Texts, size: int = 64) -> Float[Tensor, "samples d_model"]:
    r"""The mean vector of each text's tokens, by a frozen model: computed once, good for every task."""
    return remembered(
        lambda tokens, segments, mask: mean_over_text(bert(tokens, segments, mask), mask), *texts, size=size
    )


def frozen_head(
    features: Float[Tensor, "samples d_model"], labels: Int[Tensor, " samples"], penalty: float | int = 1.0
) -> Callable[[Tensor], Tensor]:
    r"""A linear classifier above frozen features: a function from features to class scores.

    penalty   of the squared weights (half of it), against the sum of surprises; the best head there is under it
    """
    model = LogisticRegression(C=1 / penalty, max_iter=1000).fit(features.numpy(), labels.numpy())
    weight, bias = (torch.from_numpy(array).to(features) for array in (model.coef_, model.intercept_))
    if len(model.classes_) == 2:  # scikit-learn keeps one row for two classes
        weight, bias = torch.cat([-weight / 2, weight / 2]), torch.cat([-bias / 2, bias / 2])
    return lambda x: F.linear(x, weight, bias)


def prepare(method: str, bert: Bert, classes: int, *, rank: int = 8, bottleneck: int = 16, seed: int = 0) -> Classifier:
    r"""A classifier on a copy of the model with what this way adds, and frozen as it wants.

    scratch    the same sizes, all weights new      full, gradual   the weights as they are, all learn
    lora       changes of this rank at every query and value      adapters   of this width, and the norms learn too
    Raises: ValueError for another method.
    """
    if method not in RECIPES:
        raise ValueError(f"method = {method!r}, expected one of {', '.join(RECIPES)}")
    seed_everything(seed)
    body = Bert(bert.config) if method == "scratch" else copy.deepcopy(bert)
    model = Classifier(body, classes, pool="mean").requires_grad_()
    body.pooler.requires_grad_(False)  # the mean does not go through it
    if method == "lora":
        add_lora(model, ["query", "value"], rank, but=["output"])
    if method == "adapters":
        norms = [name for name, part in model.named_modules() if isinstance(part, LayerNorm)]
        add_adapters(model, bottleneck, but=["output", *norms])
    return model


def teach(
    method: str,
    model: Classifier,
    texts: Texts,
    labels: Int[Tensor, " samples"],
    *,
    steps: int = 60,
    size: int = 16,
    seed: int = 0,
    recipe: Recipe | None = None,
) -> Classifier:
    r"""Trains what `prepare` made, in place; returns it in evaluation mode.

    steps   batches; the sentences come again as often as needed
    size    texts in a batch
    """
    recipe = RECIPES[method] if recipe is None else recipe
    *lower, top = blocks_of(model)
    groups = parameter_groups(lower, recipe.rate * recipe.factor, factor=recipe.factor)
    groups += parameter_groups([top], recipe.head)
    thaw = None
    if method == "gradual":
        model.bert.pooler.requires_grad_(False)
        thaw = GradualUnfreezing([*lower, model.output], every=max(1, steps // (2 * len(lower))))
    optimiser = Paced(torch.optim.AdamW(groups, fused=True), warm_then_linear(steps), thaw)
    batches = Batches(*texts, labels, size=min(size, len(labels)), seed=seed)

    def loss_of(network: Classifier, batch: tuple[Tensor, ...]) -> Tensor:
        tokens, segments, mask, wanted = batch
        longest = int(mask.sum(1).max())
        return F.cross_entropy(network(tokens[:, :longest], segments[:, :longest], mask[:, :longest]), wanted)

    seed_everything(seed)
    fit(model, _steps(batches, steps), loss_of, optimiser, epochs=1, clip=1.0)
    return model


def accuracy(scores: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"]) -> float:
    r"""The share of samples whose highest score is that of their class."""
    return float((scores.argmax(1) == labels).double().mean())


def _steps(batches: Batches, steps: int) -> Iterator[tuple[Tensor, ...]]:
    """As many batches as asked, pass after pass."""
    taken = 0
    while True:
        for batch in batches:
            if taken == steps:
                return
            taken += 1
            yield batch
