r"""Layers that hold what is learned, in the order a network calls them.

A module finds its parameters by itself: every tensor with requires_grad=True among its attributes, its modules' and
its lists'. `train()` and `eval()` say which of its two lives a network leads; only Dropout and BatchNorm care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike

from ml_course.backprop.engine import Tensor
from ml_course.backprop.initialise import he_normal

ACTIVATIONS = {"relu": Tensor.relu, "tanh": Tensor.tanh, "sigmoid": Tensor.sigmoid}


class Module:
    r"""Something with parameters that turns a tensor into a tensor."""

    training = True

    def __call__(self, x: Tensor) -> Tensor:
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def parameters(self) -> list[Tensor]:
        r"""All tensors that are learned, each once, in the order in which they were set."""
        found = {id(thing): thing for _, thing in self._parts() if isinstance(thing, Tensor) and thing.requires_grad}
        return list(found.values())

    def train(self, mode: bool = True) -> Module:
        r"""Before training: dropout drops, batch norm looks at the batch."""
        for _, thing in self._parts():
            if isinstance(thing, Module):
                thing.training = mode
        return self

    def eval(self) -> Module:
        r"""Before predicting: dropout lets everything through, batch norm uses what it has collected."""
        return self.train(False)

    def state_dict(self) -> dict[str, np.ndarray]:
        r"""The arrays a trained network consists of, running averages too, by names such as "layers.0.weight".

        They are the network's own, not copies.
        """
        parts = ((name, thing.data if isinstance(thing, Tensor) else thing) for name, thing in self._parts())
        return {name: array for name, array in parts if isinstance(array, np.ndarray)}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        r"""Copies the arrays of such a dictionary into this network.

        Raises: ValueError when a name is missing or too many, or a shape differs.
        """
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError(f"state differs in the names {sorted(own.keys() ^ state.keys())}")
        for name, array in own.items():
            if array.shape != np.shape(state[name]):
                raise ValueError(f"{name} has shape {np.shape(state[name])}, expected {array.shape}")
            array[...] = state[name]

    def _parts(self, name: str = "") -> Iterator[tuple[str, Any]]:
        """This module and everything in it, with its name."""
        yield name, self
        for key, value in vars(self).items():
            listed = isinstance(value, list | tuple)
            for number, thing in enumerate(value if listed else [value]):
                path = ".".join(filter(None, (name, key, str(number) if listed else "")))
                if isinstance(thing, Module):
                    yield from thing._parts(path)
                else:
                    yield path, thing


class Linear(Module):
    r"""Every output a weighted sum of all inputs: X Wᵀ + b.

    inputs, outputs   widths
    rng               draws the weights
    initialise        makes W of (outputs, inputs, rng), as those in `initialise`; b starts at zero
    Cost: O(batch · inputs · outputs).

    >>> Linear(3, 2, np.random.default_rng(0))(Tensor(np.zeros((5, 3)))).shape
    (5, 2)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        rng: np.random.Generator,
        initialise: Callable[[int, int, np.random.Generator], np.ndarray] = he_normal,
        dtype: DTypeLike = np.float64,
    ):
        self.weight = Tensor(initialise(outputs, inputs, rng).astype(dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(outputs, dtype), requires_grad=True)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return x @ self.weight.T + self.bias


class Dropout(Module):
    r"""In training sets each number to zero with probability `share` and multiplies the rest by 1/(1 − share).

    The expected value stays, so nothing needs to be done when predicting.

    Raises: ValueError when share is not from 0 up to, not including, 1. Source: srivastava2014dropout, in the
    rescaled form ("inverted") that torch uses.

    >>> layer, x = Dropout(0.5, np.random.default_rng(0)), Tensor(np.ones(6))
    >>> layer(x), layer.eval()(x) is x
    (Tensor([2., 0., 0., 0., 2., 2.]), True)
    """

    def __init__(self, share: float, rng: np.random.Generator):
        if not 0 <= share < 1:
            raise ValueError(f"share = {share}, expected from 0 up to, not including, 1")
        self.share, self.rng = share, rng

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        if not self.training or not self.share:
            return x
        kept = self.rng.random(x.shape) >= self.share
        return x * (kept / (1 - self.share)).astype(x.dtype)


class BatchNorm(Module):
    r"""Shifts and scales every feature to mean 0 and variance 1 over the batch, then by learned γ and β.

    γ (x − μ)/√(σ² + ε) + β, with μ and the biased σ² of the batch in training, of the running averages otherwise.
    Each training batch moves the averages: r ← (1 − momentum) r + momentum · batch's, σ² there divided by n − 1.

    features   width; the last axis of x, all other axes are averaged over
    Raises: ValueError in training when there is only one row: its variance says nothing.
    Source: ioffe2015batch, algorithm 1; the running variance as torch keeps it.

    >>> layer = BatchNorm(1)
    >>> layer(Tensor([[1.0], [3.0]])).data.round(3).tolist(), layer.mean, layer.variance
    ([[-1.0], [1.0]], array([0.2]), array([1.1]))
    """

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5, dtype: DTypeLike = np.float64):
        self.scale = Tensor(np.ones(features, dtype), requires_grad=True)
        self.shift = Tensor(np.zeros(features, dtype), requires_grad=True)
        self.mean, self.variance = np.zeros(features, dtype), np.ones(features, dtype)
        self.momentum, self.eps = momentum, eps

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        if not self.training:
            normal = (x - self.mean) * (self.variance + self.eps) ** -0.5
            return normal * self.scale + self.shift
        axes, rows = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
        if rows < 2:
            raise ValueError(f"x has shape {x.shape}, expected at least two rows in training")
        centred = x - x.mean(axes, keepdims=True)
        variance = (centred * centred).mean(axes, keepdims=True)
        self.mean += self.momentum * (x.data.mean(axes) - self.mean)
        unbiased = variance.data.reshape(-1) * (rows / (rows - 1))
        self.variance += self.momentum * (unbiased - self.variance)
        return centred * (variance + self.eps) ** -0.5 * self.scale + self.shift


class LayerNorm(Module):
    r"""Shifts and scales every row to mean 0 and variance 1 over its own features, then by learned γ and β.

    γ (x − μ)/√(σ² + ε) + β; knows no batch, so training and predicting are the same.

    Source: ba2016layer, section 3, with torch's ε.

    >>> LayerNorm(2)(Tensor([[1.0, 3.0]])).data.round(3)
    array([[-1.,  1.]])
    """

    def __init__(self, features: int, eps: float = 1e-5, dtype: DTypeLike = np.float64):
        self.scale = Tensor(np.ones(features, dtype), requires_grad=True)
        self.shift = Tensor(np.zeros(features, dtype), requires_grad=True)
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch features"]:
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred * (variance + self.eps) ** -0.5 * self.scale + self.shift


class MLP(Module):
    r"""The fully connected network of the chapter before, with what training deep ones takes.

    sizes        inputs, hidden layers, classes
    activation   "relu", "tanh" or "sigmoid"; after every hidden layer
    initialise   makes each layer's weights
    normalise    BatchNorm or LayerNorm, before each activation; None for neither
    dropout      share of hidden numbers dropped in training, after each activation
    seed         of weights and dropout
    Raises: ValueError when there are fewer than two sizes, or the activation is unknown.

    >>> network = MLP((64, 32, 10))
    >>> network(Tensor(np.zeros((5, 64)))).shape, sum(p.size for p in network.parameters())
    ((5, 10), 2410)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        *,
        initialise: Callable[[int, int, np.random.Generator], np.ndarray] = he_normal,
        normalise: type[BatchNorm] | type[LayerNorm] | None = None,
        dropout: float = 0.0,
        seed: int = 0,
        dtype: DTypeLike = np.float64,
    ):
        if len(sizes) < 2:
            raise ValueError(f"sizes = {tuple(sizes)} has {len(sizes)} entries, expected at least inputs and classes")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation = {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        rng = np.random.default_rng(seed)
        self.activation = activation
        self.layers = [Linear(*pair, rng, initialise, dtype) for pair in pairwise(sizes)]
        self.norms = [normalise(width, dtype=dtype) for width in sizes[1:-1]] if normalise else []
        self.dropout = Dropout(dropout, rng)

    def forward(self, x: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch classes"]:
        r"""The logits."""
        activate = ACTIVATIONS[self.activation]
        for number, layer in enumerate(self.layers[:-1]):
            x = layer(x)
            if self.norms:
                x = self.norms[number](x)
            x = self.dropout(activate(x))
        return self.layers[-1](x)
