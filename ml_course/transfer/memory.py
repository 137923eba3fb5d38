r"""What training takes of memory: weights, gradients, the optimiser's numbers, and what waits for the way back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.profiler import ProfilerActivity, profile

from ml_course.transformer import activation_bytes

ADAM_STEP = 4  # bytes of the count of steps that torch's Adam keeps for each tensor


@dataclass(frozen=True)
class TrainingMemory:
    r"""Bytes of each kind; `total` is what is held at once when the forward pass has ended."""

    parameters: int  # all of the model's, frozen ones too
    gradients: int  # one number for each that learns
    optimiser: int  # Adam's two averages for each that learns, and a count for each tensor
    activations: int  # kept for the way back

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser + self.activations


def training_memory(model: nn.Module, run: Callable[[], Any] | None = None, *, moments: int = 2) -> TrainingMemory:
    r"""What learning with this model takes, as it is frozen at present.

    parameters Σ n,  gradients Σ learning n,  optimiser moments·Σ learning n + 4 bytes a tensor, times bytes a number

    run       a forward pass whose activations are counted, as lambda: model(tokens); none when None
    moments   numbers an optimiser keeps for each that learns: 2 for Adam; 0 for plain SGD, which counts no steps
    On the meta device everything but `run` can be counted of models that fit nowhere.

    >>> layer = nn.Linear(9, 3)
    >>> _ = layer.weight.requires_grad_(False)
    >>> training_memory(layer)
    TrainingMemory(parameters=120, gradients=12, optimiser=28, activations=0)
    """
    sizes = [(p.numel() * p.element_size(), p.requires_grad) for p in model.parameters()]
    learning = [size for size, learns in sizes if learns]
    counts = ADAM_STEP * len(learning) if moments else 0
    return TrainingMemory(
        parameters=sum(size for size, _ in sizes),
        gradients=sum(learning),
        optimiser=moments * sum(learning) + counts,
        activations=0 if run is None else activation_bytes(run, model),
    )


def held_bytes(run: Callable[[], Any]) -> int:
    r"""Bytes of tensors that are held after `run()` and were not before, with what it returned: the processor's.

    Counted by torch's allocator, block for block, so an independent check of `training_memory`.

    >>> import torch
    >>> held_bytes(lambda: torch.ones(1000).exp())
    4000
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes to the terminal that it starts and stops
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        result = run()
    events = watched.profiler.kineto_results.events()
    total = sum(event.nbytes() for event in events if event.name() == "[memory]")
    del result
    return total
