r"""Optimisers: what to do with a gradient. They run on this course's tensors and on torch's alike.

All they ask of a parameter is `data`, `grad` (or None) and arithmetic; what they remember starts as the number 0 and
becomes an array, or a tensor on the parameter's device, with the first gradient. g is a parameter θ's gradient and
η the learning rate; every operation acts entry by entry.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

Array = Any  # NumPy's array or torch's tensor


class Optimiser(ABC):
    r"""What all optimisers share: a list of parameters, and a memory for each.

    Raises: ValueError when there is no parameter, or the learning rate is negative.
    """

    def __init__(self, parameters: Iterable[Any], learning_rate: float):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("parameters is empty, expected at least one tensor to learn")
        if not learning_rate >= 0:
            raise ValueError(f"learning_rate = {learning_rate}, expected 0 or more")
        self.learning_rate = learning_rate  # may be changed between steps
        self.steps = 0
        self.memories: list[dict[str, Array]] = [{} for _ in self.parameters]

    def step(self) -> None:
        r"""Moves every parameter that has a gradient, in place."""
        self.steps += 1
        for parameter, memory in zip(self.parameters, self.memories, strict=True):
            if parameter.grad is not None:
                self.update(parameter.data, parameter.grad, memory)

    def zero_grad(self) -> None:
        r"""Forgets the gradients, so that the next backward pass starts from nothing."""
        for parameter in self.parameters:
            parameter.grad = None

    @abstractmethod
    def update(self, values: Array, gradient: Array, memory: dict[str, Array]) -> None:
        """Changes a parameter's values in place."""


class SGD(Optimiser):
    r"""Gradient descent, with a memory of its direction if wanted.

    v ← μv + g;  θ ← θ − ηv, or with Nesterov's look ahead θ ← θ − η(g + μv);  μ = 0 is plain descent θ ← θ − ηg.

    momentum       μ, from 0 up to, not including, 1: a steady gradient is amplified 1/(1 − μ) times
    nesterov       step from where the momentum will have led
    weight_decay   λ: adds λθ to the gradient, the gradient of λ‖θ‖²/2
    Source: robbins1951stochastic, polyak1964methods, sutskever2013importance; in the form torch uses, with η outside v.

    >>> from ml_course.backprop import Tensor
    >>> x = Tensor([4.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> SGD([x], learning_rate=0.25).step()
    >>> x.data
    array([2.])
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        learning_rate: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, learning_rate)
        _check_share("momentum", momentum)
        if nesterov and not momentum:
            raise ValueError("nesterov = True looks ahead along the momentum, expected momentum > 0")
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def update(self, values: Array, gradient: Array, memory: dict[str, Array]) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * values
        direction = gradient
        if self.momentum:
            memory["velocity"] = direction = self.momentum * memory.get("velocity", 0.0) + gradient
            if self.nesterov:
                direction = gradient + self.momentum * direction
        values -= self.learning_rate * direction


class RMSProp(Optimiser):
    r"""Divides each entry's step by the usual size of its gradient, so that all entries move at one speed.

    s ← αs + (1 − α)g²;  θ ← θ − ηg/(√s + ε)

    decay   α, how long the mean square remembers: about 1/(1 − α) steps
    eps     ε, in the units of g; keeps the division finite
    Source: tieleman2012rmsprop.
    """

    def __init__(self, parameters: Iterable[Any], learning_rate: float = 0.01, decay: float = 0.99, eps: float = 1e-8):
        super().__init__(parameters, learning_rate)
        _check_share("decay", decay)
        self.decay, self.eps = decay, eps

    def update(self, values: Array, gradient: Array, memory: dict[str, Array]) -> None:
        memory["square"] = square = self.decay * memory.get("square", 0.0) + (1 - self.decay) * gradient * gradient
        values -= self.learning_rate * gradient / (square**0.5 + self.eps)


class Adam(Optimiser):
    r"""Momentum and RMSProp at once, each corrected for having started at zero.

    m ← β₁m + (1 − β₁)g;  s ← β₂s + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  ŝ = s/(1 − β₂ᵗ);  θ ← θ − ηm̂/(√ŝ + ε)

    t counts a parameter's own steps from 1. The first step has length η in every entry, whatever the gradient's size.

    betas          β₁ and β₂, each from 0 up to, not including, 1
    eps            ε, outside the root
    weight_decay   λ: adds λθ to the gradient. Adam rescales it like the gradient; see AdamW
    Source: kingma2015adam, algorithm 1.

    >>> from ml_course.backprop import Tensor
    >>> x = Tensor([4.0, 0.01], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> Adam([x], learning_rate=0.5).step()
    >>> x.data.round(4)
    array([ 3.5 , -0.49])
    """

    decoupled = False

    def __init__(
        self,
        parameters: Iterable[Any],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, learning_rate)
        for beta in betas:
            _check_share("betas", beta)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, values: Array, gradient: Array, memory: dict[str, Array]) -> None:
        if self.weight_decay and self.decoupled:
            values *= 1 - self.learning_rate * self.weight_decay
        elif self.weight_decay:
            gradient = gradient + self.weight_decay * values
        first, second = self.betas
        memory["steps"] = steps = memory.get("steps", 0) + 1
        mean = first * memory.get("mean", 0.0) + (1 - first) * gradient
        square = second * memory.get("square", 0.0) + (1 - second) * gradient * gradient
        memory.update(mean=mean, square=square)
        size = (square / (1 - second**steps)) ** 0.5 + self.eps
        values -= self.learning_rate / (1 - first**steps) * mean / size


class AdamW(Adam):
    r"""Adam with weight decay beside the gradient, not inside it: first θ ← θ − ηλθ, then Adam's step.

    Every weight shrinks by the same share, however large its gradients are.
    Source: loshchilov2019decoupled, algorithm 2, without its schedule; λ is multiplied by η as in torch.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Iterable[Any],
        learning_rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(parameters, learning_rate, betas, eps, weight_decay)


def clip_by_value(parameters: Sequence[Any], limit: float) -> None:
    r"""Cuts every entry of every gradient to [−limit, limit]; the direction may change.

    Raises: ValueError when the limit is not positive.

    >>> from ml_course.backprop import Tensor
    >>> x = Tensor([0.0, 0.0], requires_grad=True)
    >>> (x * [3.0, -0.5]).sum().backward()
    >>> clip_by_value([x], 1.0)
    >>> x.grad
    array([ 1. , -0.5])
    """
    _check_limit(limit)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clip(-limit, limit)


def clip_by_norm(parameters: Sequence[Any], limit: float) -> float:
    r"""Shortens all gradients by one factor where their common length is above `limit`.

    ‖g‖ = √(Σ g²) over *all* parameters;  g ← g · min(1, limit/‖g‖). The direction stays.
    Returns ‖g‖ as it was before.

    Raises: ValueError when the limit is not positive. Source: pascanu2013difficulty, algorithm 1.

    >>> from ml_course.backprop import Tensor
    >>> x = Tensor([0.0, 0.0], requires_grad=True)
    >>> (x * [3.0, 4.0]).sum().backward()
    >>> clip_by_norm([x], 1.0)
    5.0
    >>> x.grad
    array([0.6, 0.8])
    """
    _check_limit(limit)
    given = [parameter for parameter in parameters if parameter.grad is not None]
    norm = math.sqrt(sum(float((p.grad * p.grad).sum()) for p in given))
    if norm > limit:
        for parameter in given:
            parameter.grad = parameter.grad * (limit / norm)
    return norm


def _check_share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} = {value}, expected from 0 up to, not including, 1")


def _check_limit(limit: float) -> None:
    if not limit > 0:
        raise ValueError(f"limit = {limit}, expected a positive number")
