"""The exercise on an activation and its derivative."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import perceptron


def leaky_relu_pair(z, slope=0.01):
    """The library's leaky ReLU and its derivative, with the answer's signature."""
    return perceptron.leaky_relu(z, slope), perceptron.leaky_relu_derivative(z, slope)


leaky_relu = Exercise(
    "perceptron.leaky_relu",
    difficulty=1,
    minutes=10,
    reference=leaky_relu_pair,
    facets={"values": 1, "gradients": 1, "dtype": 1, "no side effects": 1},
    forbidden=("leaky_relu", "LeakyReLU", "prelu", "rrelu"),
)


@leaky_relu.cases
def leaky_relu_cases(rng):
    yield Case("a row of numbers", z=rng.normal(size=int(rng.integers(5, 12))), slope=float(rng.uniform(0.05, 0.5)))
    yield Case("a matrix, slope not given", z=rng.normal(size=(3, 4)), slope=None)
    yield Case("corner at zero", z=np.array([-1.0, 0.0, 1.0]), slope=0.2)
    yield Case("large numbers", z=np.array([-1e300, 1e300]), slope=0.5)
    yield Case("slope 0 is ReLU", z=rng.normal(size=6), slope=0.0)
    yield Case("nothing at all", z=np.zeros((0, 2)), slope=0.1)
    yield Case("float32", "dtype", z=rng.normal(size=(2, 5)).astype(np.float32), slope=0.1)


@leaky_relu.probe
def leaky_relu_probe(answer, z, slope):
    value, derivative = answer(z) if slope is None else answer(z, slope)
    return {"value": value, "gradient": derivative}


@leaky_relu.alternative
def maximum_as_on_the_slides(z, slope=0.01):
    return np.maximum(slope * z, z), np.where(z > 0, 1, slope).astype(z.dtype)


@leaky_relu.alternative
def by_filling_in(z, slope=0.01):
    value, derivative = z.copy(), np.ones_like(z)
    value[z <= 0] *= slope
    derivative[z <= 0] = slope
    return value, derivative


def right_leaky_relu(z, slope=0.01):
    value = np.where(z > 0, z, slope * z)
    derivative = np.where(z > 0, 1, slope).astype(z.dtype)
    return value, derivative


leaky_relu.slip(
    "wrong side leaks",
    right_leaky_relu,
    "np.where(z > 0, z, slope * z)",
    "np.where(z > 0, slope * z, z)",
    cause="The positive side is scaled and the negative one let through.",
    hint="Evaluate your function at z = 10: should it be 10 or nearly nothing?",
)
leaky_relu.slip(
    "nothing leaks",
    right_leaky_relu,
    "np.where(z > 0, z, slope * z)",
    "np.where(z > 0, z, 0)",
    cause="This is plain ReLU: negative numbers become zero instead of slope·z.",
    hint="What is the name of the second argument for?",
)
leaky_relu.slip(
    "derivative of plain ReLU",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z > 0, 1, 0)",
    cause="The derivative is zero on the negative side, as for plain ReLU.",
    hint="How steep is the line slope·z?",
)
leaky_relu.slip(
    "derivative still has z in it",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z > 0, 1, slope * z)",
    cause="The derivative of slope·z is given as slope·z.",
    hint="Differentiate slope·z by z.",
)
leaky_relu.slip(
    "corner belongs to the right",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z >= 0, 1, slope)",
    cause="At z = 0 the derivative is 1; the contract takes the left-hand one, slope, as torch does.",
    hint="Look at what the task says of the corner.",
)
leaky_relu.slip(
    "derivative always float64",
    right_leaky_relu,
    ".astype(z.dtype)",
    ".astype(float)",
    cause="The derivative comes as float64 even when z is float32.",
    hint="Print the dtype of both results for a float32 input.",
)
leaky_relu.slip(
    "slope ignored",
    right_leaky_relu,
    "value = np.where(z > 0, z, slope * z)",
    "slope = 0.01\n    value = np.where(z > 0, z, slope * z)",
    cause="The slope is 0.01 whatever was asked for.",
    hint="Call your function with slope = 0.5.",
)


@leaky_relu.mistake(hint="Is your result a new array, or the one you were given?")
def overwrites_its_input(z, slope=0.01):
    """The input itself is changed: the negative numbers are scaled in place."""
    derivative = np.where(z > 0, 1, slope).astype(z.dtype)
    z[z < 0] *= slope
    return z, derivative
