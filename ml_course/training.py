r"""What every training shares: seeds, the loop, its history, stopping early, and repeating it all over seeds.

The loop works for torch's models and for those of the course's own engine: of a loss it needs `backward` and `item`,
of an optimiser `zero_grad` and `step`; of a model `parameters` where it clips, and `state_dict` where it restores.
"""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from tqdm.auto import trange


def seed_everything(seed: int) -> np.random.Generator:
    r"""Sets the seeds of Python, NumPy and torch (every device), and returns a NumPy generator with this seed.

    >>> first, again = (seed_everything(3).random() + random.random() + torch.rand(1).item() for _ in range(2))
    >>> first == again
    True
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


@dataclass(frozen=True)
class History:
    r"""What happened in each epoch; `plots.learning_curve(None, history.curves())` draws it."""

    loss: Float[np.ndarray, " epochs"]  # mean over the epoch's batches, while it learned
    validation: Float[np.ndarray, " validated"]  # after the epoch; empty without `validate`
    seconds: Float[np.ndarray, " epochs"]  # wall time of the epoch, with its validation

    @property
    def best(self) -> int:
        r"""The epoch, from 0, with the lowest validation loss, or training loss where there is no other."""
        return int(np.nanargmin(self.validation if len(self.validation) else self.loss))

    def curves(self) -> dict[str, np.ndarray]:
        r"""Name → values, as `plots.learning_curve` takes them."""
        return {"training": self.loss} | ({"validation": self.validation} if len(self.validation) else {})


def fit(
    model: Any,
    batches: Iterable[Any],
    loss_of: Callable[[Any, Any], Any],
    optimiser: Any,
    *,
    epochs: int,
    clip: float | None = None,
    schedule: Callable[[int], float] | None = None,
    validate: Callable[[Any], float] | None = None,
    patience: int | None = None,
    progress: bool = False,
) -> History:
    r"""Trains the model in place: for every batch, zero the gradients, loss, backward, step; leaves it in eval mode.

    batches    gone through once an epoch, as a list, `Batches` of `ml_course.text` or torch's DataLoader
    loss_of    loss_of(model, batch) → a number with `backward`
    clip       shortens all gradients by one factor where their common length ‖g‖ is above this
    schedule   schedule(step) → the learning rate of that step; steps count from 1 through all epochs
    validate   validate(model) → a number, the lower the better; called after each epoch, in evaluation mode
    patience   stop after this many epochs in a row without a better validation, and restore the best epoch's weights
    progress   show a bar
    Raises: ValueError for contradictory arguments or when `batches` is empty; FloatingPointError when the loss is not
    finite, before that batch changes any weight.
    """
    if epochs < 1 or (patience is not None and patience < 1):
        raise ValueError(f"epochs = {epochs}, patience = {patience}: expected at least 1")
    if clip is not None and not clip > 0:
        raise ValueError(f"clip = {clip}, expected a positive number")
    if patience is not None and validate is None:
        raise ValueError(f"patience = {patience} needs validate, a function of the model")
    losses, validations, seconds, steps = [], [], [], 0
    best, best_epoch, kept = math.inf, 0, None
    bar = trange(epochs, disable=not progress, unit="epoch")
    for epoch in bar:
        start, seen = time.perf_counter(), []
        _set_mode(model, training=True)
        for batch in batches:
            steps += 1
            if schedule is not None:
                _set_learning_rate(optimiser, schedule(steps))
            optimiser.zero_grad()
            loss = loss_of(model, batch)
            seen.append(loss.item())
            if not math.isfinite(seen[-1]):
                raise FloatingPointError(
                    f"the loss is {seen[-1]} in epoch {epoch}, step {steps}: learn slower, or clip"
                )
            loss.backward()
            if clip is not None:
                _clip(model.parameters(), clip)
            optimiser.step()
        if not seen:
            raise ValueError(f"batches is empty in epoch {epoch}; a generator can be gone through once")
        losses.append(sum(seen) / len(seen))
        if validate is not None:
            _set_mode(model, training=False)
            with torch.no_grad():
                validations.append(float(validate(model)))
            if patience is not None and validations[-1] < best:
                best, best_epoch, kept = validations[-1], epoch, copy.deepcopy(model.state_dict())
        seconds.append(time.perf_counter() - start)
        bar.set_postfix(loss=losses[-1], **({"validation": validations[-1]} if validations else {}))
        if patience is not None and epoch - best_epoch >= patience:
            break
    if kept is not None:
        model.load_state_dict(kept)
    _set_mode(model, training=False)
    return History(np.array(losses), np.array(validations), np.array(seconds))


def over_seeds(run: Callable[[int], Any], seeds: int | Sequence[int]) -> Float[np.ndarray, "seeds ..."]:
    r"""Runs the same experiment with several seeds, each set by `seed_everything` first; one row of results a seed.

    run     run(seed) → a number, or an array of the same shape each time
    seeds   the seeds, or how many of them: 0, 1, 2 …
    Raises: ValueError when there is no seed.

    >>> over_seeds(lambda seed: seed * 0.5, 3)
    array([0. , 0.5, 1. ])
    """
    chosen = range(seeds) if isinstance(seeds, int) else seeds
    if not len(chosen):
        raise ValueError(f"seeds = {seeds}, expected at least one")
    results = []
    for seed in chosen:
        seed_everything(seed)
        results.append(np.asarray(run(seed), dtype=float))
    return np.stack(results)


def _set_mode(model: Any, *, training: bool) -> None:
    if hasattr(model, "train"):
        model.train(training)


def _set_learning_rate(optimiser: Any, rate: float) -> None:
    """On torch's optimisers, or on those of the course."""
    if hasattr(optimiser, "param_groups"):
        for group in optimiser.param_groups:
            group["lr"] = rate
    else:
        optimiser.learning_rate = rate


def _clip(parameters: Iterable[Any], limit: float) -> None:
    """The plainest form that arrays and tensors share; the chapter on optimisation derives it."""
    given = [parameter for parameter in parameters if parameter.grad is not None]
    norm = math.sqrt(sum(float((parameter.grad * parameter.grad).sum()) for parameter in given))
    if norm > limit:
        for parameter in given:
            parameter.grad = parameter.grad * (limit / norm)
