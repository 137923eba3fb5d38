r"""The fully connected network in NumPy, its backward pass written by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import DTypeLike

from ml_course.perceptron.activations import ACTIVATIONS
from ml_course.perceptron.softmax_regression import softmax
from ml_course.tensors import cross_entropy


class MLP:
    r"""A fully connected network for classification: each layer feeds the next, H ← g(H Wᵀ + b), the last without g.

    sizes        inputs, hidden layers, classes: (64, 32, 10) has one hidden layer of 32; (64, 10) is softmax regression
    activation   "sigmoid", "tanh", "relu" or "leaky_relu"
    seed         of the first weights, drawn with deviation √(2/inputs); biases begin at zero
    Raises: ValueError when there are fewer than two sizes, or the activation is unknown.
    Source: rumelhart1986learning.

    >>> network = MLP((64, 32, 10))
    >>> network.parameter_count, network.logits(np.zeros((5, 64))).shape
    (2410, (5, 10))
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu", seed: int = 0, dtype: DTypeLike = np.float64):
        if len(sizes) < 2:
            raise ValueError(f"sizes = {tuple(sizes)} has {len(sizes)} entries, expected at least inputs and classes")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation = {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        rng = np.random.default_rng(seed)
        self.activation = activation
        self.weights = [
            rng.normal(scale=np.sqrt(2 / inputs), size=(outputs, inputs)).astype(dtype)
            for inputs, outputs in pairwise(sizes)
        ]
        self.biases = [np.zeros(outputs, dtype=dtype) for outputs in sizes[1:]]
        self.history: list[float] = []

    def forward(self, points: Float[np.ndarray, "samples features"]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        r"""Every layer's weighted sums Z = H Wᵀ + b, and what each layer was given: X, then H = g(Z) of the one before.

        Cost: O(samples · parameters).
        """
        activate, _ = ACTIVATIONS[self.activation]
        sums, given = [], [points]
        for weights, bias in zip(self.weights, self.biases, strict=True):
            sums.append(given[-1] @ weights.T + bias)
            given.append(activate(sums[-1]))
        return sums, given[:-1]  # nothing is activated after the last layer

    def logits(self, points: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples classes"]:
        r"""The last layer's sums, one per class; softmax makes probabilities of them."""
        return self.forward(points)[0][-1]

    def gradients(
        self, points: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        r"""Gradients of the mean cross-entropy by each layer's weights and bias, from the last layer to the first.

        Δ = (P − Y)/n at the top; in each layer ∂/∂W = ΔᵀH and ∂/∂b = Σ rows of Δ; one layer down Δ ← (ΔW) ⊙ g′(Z).
        Cost: O(samples · parameters), about twice the forward pass.
        """
        _, derivative = ACTIVATIONS[self.activation]
        sums, given = self.forward(points)
        error = softmax(sums[-1])
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        by_weights, by_biases = [], []
        for layer in reversed(range(len(self.weights))):
            by_weights.insert(0, error.T @ given[layer])
            by_biases.insert(0, error.sum(axis=0))
            if layer > 0:
                error = (error @ self.weights[layer]) * derivative(sums[layer - 1])
        return by_weights, by_biases

    def fit(
        self,
        points: Float[np.ndarray, "samples features"],
        labels: Int[np.ndarray, " samples"],
        learning_rate: float = 0.1,
        epochs: int = 50,
        batch_size: int = 32,
        seed: int = 0,
    ) -> MLP:
        r"""Gradient descent on shuffled batches; `history` holds the mean loss, in nats, before and after each epoch.

        Starts from the weights it has, so a second call goes on learning.
        Raises: ValueError when a label is not one of the classes.
        """
        self.history = [cross_entropy(self.logits(points), labels)]
        rng = np.random.default_rng(seed)
        for _ in range(epochs):
            for batch in batches(len(points), batch_size, rng):
                by_weights, by_biases = self.gradients(points[batch], labels[batch])
                for layer in range(len(self.weights)):
                    self.weights[layer] -= learning_rate * by_weights[layer]
                    self.biases[layer] -= learning_rate * by_biases[layer]
            self.history.append(cross_entropy(self.logits(points), labels))
        return self

    def predict_proba(self, points: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, "samples classes"]:
        r"""The probability of each class."""
        return softmax(self.logits(points))

    def predict(self, points: Float[np.ndarray, "samples features"]) -> Int[np.ndarray, " samples"]:
        r"""The likeliest class."""
        return self.logits(points).argmax(axis=1)

    @property
    def sizes(self) -> tuple[int, ...]:
        r"""Inputs, hidden layers, classes."""
        return (self.weights[0].shape[1], *map(len, self.biases))

    @property
    def parameter_count(self) -> int:
        r"""How many numbers are learned: (inputs + 1)·outputs per layer, the 1 for the bias."""
        return sum(array.size for array in (*self.weights, *self.biases))


def batches(samples: int, batch_size: int, rng: np.random.Generator) -> Iterator[Int[np.ndarray, " batch"]]:
    r"""Row numbers of one epoch: every sample once, shuffled, `batch_size` at a time; the last batch may be smaller.

    >>> [len(rows) for rows in batches(10, 4, np.random.default_rng(0))]
    [4, 4, 2]
    """
    shuffled = rng.permutation(samples)
    for start in range(0, samples, batch_size):
        yield shuffled[start : start + batch_size]
