"""The exercise on one threshold neuron."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import perceptron

neuron_output = Exercise(
    "perceptron.neuron_output",
    difficulty=1,
    minutes=10,
    reference=perceptron.neuron_output,
    facets={"values": 1, "boundary": 1, "dtype": 1},
)


@neuron_output.cases
def neuron_output_cases(rng):
    for label, samples, features in (
        ("a few points", 6, int(rng.integers(2, 5))),
        ("many points", 40, int(rng.integers(5, 9))),
        ("one point, one feature", 1, 1),
    ):
        points = rng.normal(size=(samples, features))
        # A bias as large as a typical sum, so that forgetting it shows.
        yield Case(label, points=points, weights=rng.normal(size=features), bias=float(rng.choice([-2, 2])))
    points = rng.integers(-3, 4, size=(5, 3)).astype(float)
    points[0, 0] = 2.0
    weights = np.array([2.0, -1.0, 3.0])
    yield Case(
        "the first sum is exactly zero", "boundary", points=points, weights=weights, bias=-float(points[0] @ weights)
    )
    yield Case("all weights zero", "boundary", points=points, weights=np.zeros(3), bias=0.0)


@neuron_output.probe
def neuron_output_probe(answer, points, weights, bias):
    return {"answers": answer(points, weights, bias)}


@neuron_output.alternative
def one_matrix_product(points, weights, bias):
    return np.where(points @ weights + bias >= 0, 1, -1)


@neuron_output.alternative
def from_truth_to_signs(points, weights, bias):
    fires = np.einsum("nf,f->n", points, weights) >= -bias
    return 2 * fires.astype(int) - 1


@neuron_output.mistake(
    hint="What does your neuron answer to the point (0, 0)? Which of its numbers should decide that?"
)
def bias_forgotten(points, weights, bias):
    """The bias is not added to the weighted sum."""
    return np.where(points @ weights >= 0, 1, -1)


@neuron_output.mistake(hint="A large positive bias should make the neuron more eager to answer +1, not less.")
def bias_taken_for_the_threshold(points, weights, bias):
    """The sum is compared with b, as if b were the threshold; the threshold is −b."""
    return np.where(points @ weights >= bias, 1, -1)


@neuron_output.mistake(hint="Look at the two values the contract allows as an answer.")
def zeros_for_minus_ones(points, weights, bias):
    """The answers are 0 and 1 where −1 and +1 are asked."""
    return (points @ weights + bias >= 0).astype(int)


@neuron_output.mistake(hint="Read the sign between the sum and zero in the formula once more.")
def strictly_above_zero(points, weights, bias):
    """A sum of exactly zero is answered with −1; it already reaches the threshold."""
    return np.where(points @ weights + bias > 0, 1, -1)


@neuron_output.mistake(hint="Try np.sign(0.0), and look at the type of what it returns.")
def sign_of_zero(points, weights, bias):
    """`np.sign` makes a third answer, 0, of a sum that is exactly zero, and returns floating-point numbers."""
    return np.sign(points @ weights + bias)


@neuron_output.mistake(hint="The neuron says yes or no. What turns the sum into that?")
def sum_without_threshold(points, weights, bias):
    """The weighted sum itself is returned; no threshold is applied."""
    return points @ weights + bias
