r"""What learns and what stays as it is: freezing, features computed once, and thawing from the top down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml_course.bert import Bert


def trainable(module: nn.Module) -> int:
    r"""How many numbers of the module learn; a weight that stands in two places counts once.

    >>> layer = nn.Linear(3, 2)
    >>> trainable(layer), trainable(layer.requires_grad_(False))
    (8, 0)
    """
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def freeze(module: nn.Module, but: Sequence[str] = ()) -> int:
    r"""Freezes the whole module, except for parameters below the names in `but`, which learn; returns how many do.

    but   names as `module.named_modules()` or `named_parameters()` has them: "output" is output.weight and output.bias
    Only gradients stop: batch norm goes on counting and dropout goes on dropping while the module is in training mode
    (`Frozen` stops these too). Raises: ValueError when a name fits nothing.

    >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> freeze(network, but=["2"])
    10
    """
    parameters = dict(module.named_parameters())
    for name in but:
        if not any(_below(parameter, name) for parameter in parameters):
            told = ", ".join([*parameters][:3])
            raise ValueError(f"but has {name!r}, which fits no parameter; there are {len(parameters)}: {told} …")
    for name, parameter in parameters.items():
        parameter.requires_grad_(any(_below(name, kept) for kept in but))
    return trainable(module)


def _below(parameter: str, name: str) -> bool:
    return parameter == name or parameter.startswith(f"{name}.")


class Frozen(nn.Module):
    r"""A module that is only read: no gradient, and evaluation mode whatever the model around it is in.

    body   any module; it is frozen in place
    A batch norm that is merely told to take no gradients still moves its running mean and variance at every batch.

    >>> features = Frozen(nn.BatchNorm1d(2)).train()
    >>> features(5 + torch.randn(8, 2)).requires_grad, features.body.running_mean
    (False, tensor([0., 0.]))
    """

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.body.eval()
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.body(*inputs, **options)


@torch.no_grad()
def remembered(read: Callable[..., Tensor], *inputs: Tensor, size: int = 64) -> Float[Tensor, "samples ..."]:
    r"""What read(*inputs) gives, computed once in pieces of `size` samples and without a graph: cached features.

    read     a module, which is in evaluation mode meanwhile, or a function; it must treat each sample by itself
    inputs   tensors whose first axis counts the samples
    Cost: one forward pass. After it, each pass over the data costs only what stands on top.
    Raises: ValueError when the inputs do not have as many samples, or none.

    >>> remembered(nn.Linear(3, 2), torch.randn(10, 3), size=4).shape
    torch.Size([10, 2])
    """
    samples = {len(tensor) for tensor in inputs}
    if len(samples) != 1 or 0 in samples:
        raise ValueError(f"inputs have {sorted(samples)} samples, expected one number of them, at least 1")
    training = isinstance(read, nn.Module) and read.training
    if training:
        read.eval()
    try:
        return torch.cat([read(*(tensor[i : i + size] for tensor in inputs)) for i in range(0, samples.pop(), size)])
    finally:
        if training:
            read.train()


def blocks_of(model: nn.Module, body: Bert | None = None) -> list[nn.Module]:
    r"""The parts of a model with a BERT in it, from the bottom up: embedding, each layer, and what stands above.

    model   one of the heads of `ml_course.bert`, as `Classifier`
    body    its BERT; `model.bert` when None
    The pooler belongs to what stands above. Together the blocks hold each parameter once.

    >>> from ml_course.bert import BertConfig, Classifier
    >>> [sum(p.numel() for p in block.parameters()) for block in blocks_of(Classifier(Bert(BertConfig.TINY), 3))]
    [320, 600, 99]
    """
    body = model.bert if body is None else body
    above = [part for part in model.children() if part is not body and any(True for _ in part.parameters())]
    return [body.embedding, *body.encoder.layers, nn.ModuleList([body.pooler, *above])]


class GradualUnfreezing:
    r"""Thaws one block after another, from the top down: the newest part learns first, the most general last.

    open blocks in a step = 1 + ⌊(step − 1) / every⌋, at most all

    blocks   from the bottom up; all of them are frozen at once
    every    steps between two thawings
    Called with the number of a step, from 1, before that step's forward pass; returns how many blocks are open.
    Hand the optimiser all parameters from the start: those without a gradient are not moved, nor have moments.
    Raises: ValueError for `every` below 1 or no blocks. Source: howard2018universal, section 3.3.

    >>> thaw = GradualUnfreezing([nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1)], every=2)
    >>> [thaw(step) for step in range(1, 8)]
    [1, 1, 2, 2, 3, 3, 3]
    """

    def __init__(self, blocks: Sequence[nn.Module], every: int):
        if every < 1 or not blocks:
            raise ValueError(f"every = {every}, blocks has {len(blocks)}: expected at least 1 of each")
        self.blocks, self.every = blocks, every
        for block in blocks:
            block.requires_grad_(False)

    def __call__(self, step: int) -> int:
        opened = min(1 + (step - 1) // self.every, len(self.blocks))
        for block in self.blocks[-opened:]:
            block.requires_grad_(True)
        return opened
