"""The exercise on checking a gradient by nudging."""

import numpy as np

from autograder.exercise import AUTOGRAD, Case, Exercise
from ml_course import backprop


def check_of_the_library(function, gradient, x, step):
    """The library's measured slopes and the distance asked for, with the answer's signature."""
    measured = backprop.numerical_gradient(function, x, step)
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    return measured, float(np.linalg.norm(gradient - measured) / sizes) if sizes else 0.0


gradient_check = Exercise(
    "backprop.gradient_check",
    difficulty=2,
    minutes=20,
    reference=check_of_the_library,
    facets={"slopes": 2, "distance": 1, "no side effects": 1},
    forbidden=(*AUTOGRAD, "gradient", "approx_fprime", "gradcheck"),
)


@gradient_check.cases
def gradient_check_cases(rng):
    def case(label, facet, shape, off=0.0, step=1e-3, flat=False):
        x = rng.uniform(0.5, 1.5, size=shape) * rng.choice([-1, 1], size=shape)
        weights = np.zeros(shape) if flat else rng.normal(size=shape) + 2
        gradient = weights * (np.cos(x) + 3 * x**2) + weights * (weights * x).sum()
        gradient.flat[-1] += off
        return Case(label, facet, weights=weights, gradient=gradient, x=x, step=step, asked=facet)

    size = int(rng.integers(3, 7))
    yield case("a vector", "slopes", (size,))
    yield case("a matrix", "slopes", (2, 3))
    yield case("a long step", "slopes", (4,), step=0.1)
    yield case("one number", "slopes", (1,))
    yield case("three axes", "slopes", (2, 1, 2), step=0.03)
    yield case("a wrong gradient", "distance", (size,), off=5.0)
    yield case("a wrong gradient of a matrix", "distance", (3, 2), off=-2.0)
    yield case("a flat function, and the gradient says so", "distance", (3,), flat=True)
    yield case("a flat function, and the gradient does not", "distance", (3,), flat=True, off=1.0)


@gradient_check.probe
def gradient_check_probe(answer, weights, gradient, x, step, asked):
    import numpy as np

    def function(at):
        return float((weights * (np.sin(at) + at**3)).sum() + (weights * at).sum() ** 2 / 2)

    measured, distance = answer(function, gradient, x, step)
    return {"measured": measured} if asked == "slopes" else {"distance": np.asarray(distance, dtype=float)}


@gradient_check.alternative
def by_unit_vectors(function, gradient, x, step):
    slopes = []
    for unit in np.eye(x.size):
        nudge = step * unit.reshape(x.shape)
        slopes.append((function(x + nudge) - function(x - nudge)) / (2 * step))
    measured = np.array(slopes).reshape(x.shape)
    apart = np.sqrt(((gradient - measured) ** 2).sum())
    return measured, apart / max(np.sqrt((gradient**2).sum()) + np.sqrt((measured**2).sum()), 1e-300)


@gradient_check.alternative
def with_copies(function, gradient, x, step):
    measured = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        more, less = x.copy(), x.copy()
        more[place] += step
        less[place] -= step
        measured[place] = (function(more) - function(less)) / step / 2
    sizes = np.linalg.norm(gradient.ravel()) + np.linalg.norm(measured.ravel())
    if sizes == 0:
        return measured, 0
    return measured, np.linalg.norm((measured - gradient).ravel()) / sizes


def right_check(function, gradient, x, step):
    at, measured = x.copy(), np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        at[place] = x[place] + step
        above = function(at)
        at[place] = x[place] - step
        below = function(at)
        at[place] = x[place]
        measured[place] = (above - below) / (2 * step)
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    return measured, np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0


gradient_check.slip(
    "only one side",
    right_check,
    "at[place] = x[place] - step",
    "at[place] = x[place]",
    cause="The function is compared with its value at x itself, and divided by two steps.",
    hint="How far apart are the two points where you call the function?",
)
gradient_check.slip(
    "divided by one step",
    right_check,
    "(2 * step)",
    "step",
    cause="The two points lie two steps apart, but the difference is divided by one.",
    hint="Measure the slope of f(x) = x with your function. What should come out?",
)
gradient_check.slip(
    "nudges are not taken back",
    right_check,
    "        at[place] = x[place]\n",
    "",
    cause="An entry stays nudged while the next one is measured.",
    hint="When the second entry is measured, is the first where it was?",
)
gradient_check.slip(
    "0 divided by 0",
    right_check,
    " if sizes > 0 else 0.0",
    "",
    cause="Where both gradients are zero the distance is 0/0, which is NaN.",
    hint="What is the distance of two gradients that are both zero?",
)
gradient_check.slip(
    "not relative",
    right_check,
    "np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0",
    "np.linalg.norm(gradient - measured)",
    cause="The distance is not divided by the size of the gradients, so it depends on the units of the loss.",
    hint="Multiply the function by a thousand. Should your distance change?",
)
gradient_check.slip(
    "lengths without roots",
    right_check,
    "np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0",
    "((gradient - measured) ** 2).sum() / ((gradient**2).sum() + (measured**2).sum() or 1)",
    cause="Squares of lengths are compared instead of lengths.",
    hint="‖g‖ is the length of g: the root of the sum of its squares.",
)


@gradient_check.mistake(hint="Central differences call the function on both sides of x. Try f(x) = x² and a long step.")
def forward_difference(function, gradient, x, step):
    """The slope is measured on one side only, (f(x + h) − f(x))/h, whose error is of the size of h instead of h²."""
    measured = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        at = x.copy()
        at[place] += step
        measured[place] = (function(at) - function(x)) / step
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    return measured, np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0


@gradient_check.mistake(hint="A gradient has one slope for each entry. How many times do you call the function?")
def everything_nudged_at_once(function, gradient, x, step):
    """All entries are nudged together, which gives the sum of all slopes for each of them."""
    slope = (function(x + step) - function(x - step)) / (2 * step)
    measured = np.full_like(x, slope)
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    return measured, np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0


@gradient_check.mistake(hint="Is (x + h) − h exactly x, for a computer? Keep the old number, or work on a copy.")
def x_comes_back_rounded(function, gradient, x, step):
    """The nudges are added to and subtracted from the given array, which comes back with rounding errors."""
    measured = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        x[place] += step
        above = function(x)
        x[place] -= 2 * step
        below = function(x)
        x[place] += step
        measured[place] = (above - below) / (2 * step)
    sizes = np.linalg.norm(gradient) + np.linalg.norm(measured)
    return measured, np.linalg.norm(gradient - measured) / sizes if sizes > 0 else 0.0
