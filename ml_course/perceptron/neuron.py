r"""One neuron, twice: with a threshold and Rosenblatt's rule, and with a sigmoid and gradient descent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from ml_course.perceptron.activations import sigmoid


def neuron_output(
    points: Float[np.ndarray, "samples features"], weights: Float[np.ndarray, " features"], bias: float
) -> Int[np.ndarray, " samples"]:
    r"""Answers +1 where the weighted sum reaches zero, else −1: ŷ = +1 if w·x + b ≥ 0, else −1.

    The bias is the threshold with its sign turned: w·x + b ≥ 0 says w·x ≥ −b.
    Source: mcculloch1943logical, with real weights as in rosenblatt1958perceptron.

    >>> neuron_output(np.array([[2.0, 0.0], [0.0, 2.0]]), weights=np.array([1.0, -1.0]), bias=0.5)
    array([ 1, -1])
    """
    return np.where(points @ weights + bias >= 0, 1, -1)


def learning_step(
    weights: Float[np.ndarray, " features"], bias: float, point: Float[np.ndarray, " features"], label: int
) -> tuple[Float[np.ndarray, " features"], float]:
    r"""Rosenblatt's rule for one point: where the answer differs from the label y, w ← w + y·x and b ← b + y.

    A right answer changes nothing. The old weights are never written into.
    Source: rosenblatt1958perceptron.

    >>> learning_step(np.zeros(2), 0.0, point=np.array([3.0, 1.0]), label=-1)
    (array([-3., -1.]), -1.0)
    """
    if neuron_output(point[None], weights, bias)[0] == label:
        return weights, bias
    return weights + label * point, bias + label


class Perceptron:
    r"""A threshold neuron that learns from its mistakes, pass after pass, until a pass without any.

    max_passes   how often it goes through the data at most
    After `fit`: weights, bias, and history, the number of mistakes in each pass.
    Source: rosenblatt1958perceptron.

    >>> corners = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> both = Perceptron().fit(corners, np.array([-1, -1, -1, 1]))
    >>> both.predict(corners), both.history, both.mistakes
    (array([-1, -1, -1,  1]), [1, 0], 1)
    """

    def __init__(self, max_passes: int = 1000):
        if max_passes < 1:
            raise ValueError(f"max_passes = {max_passes} is not at least 1")
        self.max_passes = max_passes
        self.weights, self.bias, self.history = np.zeros(0), 0.0, []

    def fit(self, points: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"]) -> Perceptron:
        r"""Starts from zero and takes the points in their order; stops after a pass without a mistake.

        Raises: ValueError when a label is neither −1 nor +1.
        Cost: O((passes + mistakes) · samples · features): one matrix product finds the next mistake.
        """
        _check_signs(labels)
        self.weights, self.bias, self.history = np.zeros_like(points[0]), 0.0, []
        while len(self.history) < self.max_passes and (not self.history or self.history[-1] > 0):
            self.history.append(self._one_pass(points, labels))
        return self

    def _one_pass(self, points: np.ndarray, labels: np.ndarray) -> int:
        mistakes, start = 0, 0
        while start < len(points):
            # The weights stand still until the next mistake, so all answers up to there come from one product.
            wrong = np.flatnonzero(self.predict(points[start:]) != labels[start:])
            if len(wrong) == 0:
                break
            at = start + int(wrong[0])
            self.weights, self.bias = learning_step(self.weights, self.bias, points[at], int(labels[at]))
            mistakes, start = mistakes + 1, at + 1
        return mistakes

    def decision_function(self, points: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, " samples"]:
        r"""The weighted sum w·x + b of each point: its sign is the answer, zero is the boundary."""
        return points @ self.weights + self.bias

    def predict(self, points: Float[np.ndarray, "samples features"]) -> Int[np.ndarray, " samples"]:
        r"""The answer −1 or +1 to each point."""
        return neuron_output(points, self.weights, self.bias)

    @property
    def mistakes(self) -> int:
        r"""How many mistakes `fit` made in all, each of them one learning step."""
        return sum(self.history)


def margin(
    points: Float[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
    weights: Float[np.ndarray, " features"],
    bias: float,
) -> float:
    r"""How far the nearest point is on its right side: γ = min y·(w·x + b)/‖(w, b)‖, negative where one is wrong.

    The bias counts as the weight of a feature that is always 1, so γ is a distance among the points (x, 1).

    >>> margin(np.array([[3.0], [-3.0]]), np.array([1, -1]), weights=np.array([2.0]), bias=0.0)
    3.0
    """
    signed = labels * (points @ weights + bias)
    return float(signed.min() / np.sqrt(weights @ weights + bias**2))


def mistake_bound(
    points: Float[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
    weights: Float[np.ndarray, " features"],
    bias: float,
) -> float:
    r"""The most mistakes Rosenblatt's rule can make, whatever the order of the points: (R/γ)², with R = max‖(x, 1)‖.

    Any separating (w, b) proves a bound; the one of widest margin proves the best.
    Raises: ValueError when (w, b) does not separate the points.
    Source: novikoff1962convergence.

    >>> round(mistake_bound(np.array([[3.0], [-3.0]]), np.array([1, -1]), np.array([1.0]), 0.0), 3)
    1.111
    """
    gap = margin(points, labels, weights, bias)
    if not gap > 0:
        raise ValueError(f"weights and bias have margin {gap:.3g}, expected a separating pair with margin above 0")
    return float(((points**2).sum(axis=1).max() + 1) / gap**2)


def logistic_loss(
    points: Float[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
    weights: Float[np.ndarray, " features"],
    bias: float,
) -> float:
    r"""Mean surprise of a logistic neuron at labels y of −1 or +1, in nats: mean of log(1 + e^(−y·z)), z = w·x + b.

    >>> round(logistic_loss(np.zeros((4, 2)), np.array([1, 1, -1, 1]), np.zeros(2), 0.0), 4)  # log 2
    0.6931
    """
    return float(np.logaddexp(0, -labels * (points @ weights + bias)).mean())


def logistic_gradient(
    points: Float[np.ndarray, "samples features"],
    labels: Int[np.ndarray, " samples"],
    weights: Float[np.ndarray, " features"],
    bias: float,
) -> tuple[Float[np.ndarray, " features"], float]:
    r"""Gradient of `logistic_loss`: ∂/∂w = mean of −y·σ(−y·z)·x, and ∂/∂b the same without x.

    Downhill it is Rosenblatt's step y·x, weighted by σ(−y·z): how much the neuron believes in the wrong answer.

    >>> logistic_gradient(np.array([[2.0]]), np.array([1]), np.zeros(1), 0.0)
    (array([-1.]), -0.5)
    """
    pull = -labels * sigmoid(-labels * (points @ weights + bias))
    return pull @ points / len(points), float(pull.mean())


class LogisticNeuron:
    r"""A neuron whose answer is a probability: P(y = +1 | x) = σ(w·x + b), learned by gradient descent.

    learning_rate   step along the negative gradient
    steps           how many steps, each over all points
    After `fit`: weights, bias, and history, the loss before each step (nats).

    >>> neuron = LogisticNeuron().fit(np.array([[-1.0], [1.0]]), np.array([-1, 1]))
    >>> neuron.predict(np.array([[-3.0], [0.1]]))
    array([-1,  1])
    """

    def __init__(self, learning_rate: float = 0.5, steps: int = 300):
        self.learning_rate, self.steps = learning_rate, steps
        self.weights, self.bias, self.history = np.zeros(0), 0.0, []

    def fit(self, points: Float[np.ndarray, "samples features"], labels: Int[np.ndarray, " samples"]) -> LogisticNeuron:
        r"""Gradient descent from zero.

        Raises: ValueError when a label is neither −1 nor +1.
        Cost: O(steps · samples · features).
        """
        _check_signs(labels)
        self.weights, self.bias, self.history = np.zeros_like(points[0]), 0.0, []
        for _ in range(self.steps):
            self.history.append(logistic_loss(points, labels, self.weights, self.bias))
            by_weights, by_bias = logistic_gradient(points, labels, self.weights, self.bias)
            self.weights = self.weights - self.learning_rate * by_weights
            self.bias = self.bias - self.learning_rate * by_bias
        return self

    def predict_proba(self, points: Float[np.ndarray, "samples features"]) -> Float[np.ndarray, " samples"]:
        r"""The probability of +1 for each point: σ(w·x + b)."""
        return sigmoid(points @ self.weights + self.bias)

    def predict(self, points: Float[np.ndarray, "samples features"]) -> Int[np.ndarray, " samples"]:
        r"""The likelier label, −1 or +1, of each point."""
        return neuron_output(points, self.weights, self.bias)


def _check_signs(labels: np.ndarray) -> None:
    found = np.unique(labels)
    if not np.isin(found, (-1, 1)).all():
        raise ValueError(f"labels has the values {found.tolist()}, expected only -1 and 1")
