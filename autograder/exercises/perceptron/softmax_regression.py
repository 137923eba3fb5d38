"""The exercise on softmax regression: the gradient of its loss."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import perceptron

softmax_regression_gradient = Exercise(
    "perceptron.softmax_regression_gradient",
    difficulty=3,
    minutes=25,
    reference=perceptron.softmax_regression_gradient,
    facets={"values": 3, "stability": 1},
    forbidden=("softmax", "log_softmax", "cross_entropy", "CrossEntropyLoss", "backward", "grad"),
)


@softmax_regression_gradient.cases
def softmax_regression_gradient_cases(rng):
    def inputs(samples, features, classes, scale=1.0):
        return {
            "weights": scale * rng.normal(size=(classes, features)),
            "bias": scale * rng.normal(size=classes),
            "points": rng.normal(size=(samples, features)),
            "labels": rng.integers(0, classes, size=samples),
        }

    yield Case("three classes", **inputs(6, 2, 3))
    yield Case("as many samples as classes", **inputs(4, 3, 4))
    yield Case("random sizes", **inputs(*map(int, rng.integers(2, 9, size=3))))
    yield Case("one sample", **inputs(1, 3, 4))
    yield Case("a class that does not occur", **(inputs(5, 2, 4) | {"labels": np.array([0, 2, 2, 0, 2])}))
    yield Case("sums in the thousands", "stability", **inputs(8, 3, 4, scale=3000.0))


@softmax_regression_gradient.probe
def softmax_regression_gradient_probe(answer, weights, bias, points, labels):
    by_weights, by_bias = answer(weights, bias, points, labels)
    return {"by_weights": by_weights, "by_bias": by_bias}


def right_gradient(weights, bias, points, labels):
    sums = points @ weights.T + bias
    grown = np.exp(sums - sums.max(axis=1, keepdims=True))
    error = grown / grown.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    return error.T @ points / len(points), error.mean(axis=0)


@softmax_regression_gradient.alternative
def with_one_hot_rows(weights, bias, points, labels):
    sums = np.einsum("nf,cf->nc", points, weights) + bias
    sums = sums - sums.max(axis=-1)[:, None]
    probabilities = np.exp(sums) / np.exp(sums).sum(-1)[:, None]
    error = (probabilities - np.eye(len(bias))[labels]) / len(labels)
    return np.einsum("nc,nf->cf", error, points), error.sum(0)


@softmax_regression_gradient.alternative
def one_class_after_another(weights, bias, points, labels):
    sums = points @ weights.T + bias
    log_total = np.logaddexp.reduce(sums, axis=1)
    by_weights, by_bias = np.zeros_like(weights), np.zeros_like(bias)
    for k in range(len(bias)):
        error = np.exp(sums[:, k] - log_total) - (labels == k)
        by_weights[k] = (error[:, None] * points).mean(axis=0)
        by_bias[k] = error.mean()
    return by_weights, by_bias


softmax_regression_gradient.slip(
    "not averaged",
    right_gradient,
    "error.T @ points / len(points), error.mean(axis=0)",
    "error.T @ points, error.sum(axis=0)",
    cause="The gradients of the samples are added up; the loss is their mean.",
    hint="Repeat every sample twice: the mean loss stays the same. Does your gradient?",
)
softmax_regression_gradient.slip(
    "bias not averaged",
    right_gradient,
    "error.mean(axis=0)",
    "error.sum(axis=0)",
    cause="The gradient by the weights is averaged over the samples, the one by the bias is not.",
    hint="The bias is the weight of an input that is always 1: treat it like the other weights.",
)
softmax_regression_gradient.slip(
    "uphill",
    right_gradient,
    "return error.T @ points / len(points), error.mean(axis=0)",
    "return -error.T @ points / len(points), -error.mean(axis=0)",
    cause="This is Y − P, the way downhill; the gradient P − Y points uphill.",
    hint="Should the bias of a class with too much probability grow or shrink? Which sign must its gradient have?",
)
softmax_regression_gradient.slip(
    "one subtracted in every row",
    right_gradient,
    "error[np.arange(len(labels)), labels] -= 1",
    "error[:, labels] -= 1",
    cause="`error[:, labels]` picks those columns in *all* rows, not one entry in each row.",
    hint="Each sample has one true class. How many entries of each row does your line change?",
)
softmax_regression_gradient.slip(
    "labels left out",
    right_gradient,
    "error[np.arange(len(labels)), labels] -= 1",
    "error = error + 0",
    cause="The true classes are never subtracted, so the labels play no part.",
    hint="Which of your arguments is never used?",
)
softmax_regression_gradient.slip(
    "softmax over samples",
    right_gradient,
    "grown.sum(axis=1, keepdims=True)",
    "grown.sum(axis=0, keepdims=True)",
    cause="The probabilities add up to one over the samples, not over the classes.",
    hint="Sum your probabilities along each axis. Which sums should be 1?",
)
softmax_regression_gradient.slip(
    "overflow",
    right_gradient,
    "np.exp(sums - sums.max(axis=1, keepdims=True))",
    "np.exp(sums)",
    cause="The sums go into the exponential as they are, and e¹⁰⁰⁰ is infinite.",
    hint="What may be subtracted from all sums of a row without changing its probabilities?",
)
