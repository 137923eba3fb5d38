"""The exercise on shortening gradients when they explode."""

import math

import numpy as np

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import backprop


def clipped_by_the_library(gradients, limit):
    """The library's clipping, which works on whatever has a `grad`, for a list of arrays."""

    class Holder:
        def __init__(self, grad):
            self.grad = grad

    holders = [Holder(gradient.copy()) for gradient in gradients]
    norm = backprop.clip_by_norm(holders, limit)
    return [holder.grad for holder in holders], norm


clip_gradients = Exercise(
    "rnn.clip_gradients",
    difficulty=1,
    minutes=10,
    reference=clipped_by_the_library,
    facets={"values": 2, "short gradients": 1, SIDE_EFFECTS: 1},
    forbidden=("clip_grad_norm_", "clip_grads_with_norm_", "clip_by_norm"),
    results=("clipped", "norm"),
    equivalent_mutants={
        "factor = limit / max(norm, limit) → factor = limit / max(limit, norm)": (
            "the larger of two numbers, whichever is named first"
        ),
    },
)


@clip_gradients.cases
def clip_cases(rng):
    def arrays(*shapes, norm):
        made = [rng.normal(size=shape) for shape in shapes]
        return [norm / math.sqrt(sum((a**2).sum() for a in made)) * a for a in made]

    def named(gradients):
        return dict(zip(("first", "second", "third"), [*gradients, None, None], strict=False))

    rows, columns = rng.integers(2, 5, size=2)
    limit = float(rng.uniform(0.5, 3))
    shapes = (rows, columns), (rows,), (columns, columns)
    yield Case("three arrays", **named(arrays(*shapes, norm=4 * limit)), limit=limit)
    yield Case("one array", **named(arrays((rows, columns), norm=10 * limit)), limit=limit)
    uneven = arrays(*shapes, norm=0.4 * limit)
    uneven[1] = 20 * limit * uneven[1] / np.linalg.norm(uneven[1])
    yield Case("one of the arrays is long, the others short", **named(uneven), limit=limit)
    even = [array / np.linalg.norm(array) * 0.9 * limit for array in arrays(*shapes, norm=1.0)]
    yield Case("each is short, together they are long", **named(even), limit=limit)
    short = "short gradients"
    yield Case("together below the limit", short, **named(arrays(*shapes, norm=0.5 * limit)), limit=limit)
    yield Case("all zero", short, **named([np.zeros(shape) for shape in shapes]), limit=limit)


@clip_gradients.probe
def ask_clip(answer, first, second, third, limit):
    given = [gradient for gradient in (first, second, third) if gradient is not None]
    clipped, norm = answer(given, limit)
    if not isinstance(clipped, list | tuple):
        raise TypeError("expected a list of arrays first, and then their length before clipping")
    told = {name: array * 1 for name, array in zip(("first", "second", "third"), clipped, strict=False)}
    for array in clipped:
        array += 1  # what is new can be written into, and the arguments stay as they are
    return {"norm": float(norm), "arrays": len(clipped)} | told


def all_by_one_factor(gradients, limit):
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if norm <= limit:
        return [gradient.copy() for gradient in gradients], norm
    return [gradient * (limit / norm) for gradient in gradients], norm


@clip_gradients.alternative
def in_one_long_vector(gradients, limit):
    vector = np.concatenate([gradient.ravel() for gradient in gradients])
    norm = np.linalg.norm(vector)
    factor = 1.0 if norm == 0 else min(1.0, limit / norm)
    borders = np.cumsum([gradient.size for gradient in gradients])[:-1]
    pieces = np.split(vector * factor, borders)
    return [piece.reshape(gradient.shape) for piece, gradient in zip(pieces, gradients, strict=True)], norm


@clip_gradients.alternative
def number_by_number(gradients, limit):
    total = 0.0
    for gradient in gradients:
        for number in gradient.flat:
            total += number * number
    norm = total**0.5
    scale = max(norm / limit, 1.0)
    return [gradient / scale for gradient in gradients], norm


clip_gradients.slip(
    "always scaled to the limit",
    all_by_one_factor,
    "if norm <= limit:",
    "if norm == 0:",
    cause="Gradients that are short enough are made longer, up to the limit.",
    hint="Clipping is a speed limit, not a fixed speed. What should happen below it?",
)
clip_gradients.slip(
    "square root forgotten",
    all_by_one_factor,
    "math.sqrt(sum((gradient**2).sum() for gradient in gradients))",
    "sum((gradient**2).sum() for gradient in gradients)",
    cause="The sum of the squares is taken for the length: the root is missing.",
    hint="How long is the vector (3, 4)?",
)


@clip_gradients.mistake(
    hint="Take gradients (3) and (0.4) with limit 1: which way does the step point before and after?"
)
def each_array_alone(gradients, limit):
    """Each array is clipped by its own length, which turns the direction of the step."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    clipped = []
    for gradient in gradients:
        own = np.linalg.norm(gradient)
        clipped.append(gradient * (limit / own) if own > limit else gradient.copy())
    return clipped, norm


@clip_gradients.mistake(hint="Which direction has (10, 1) after your clipping with limit 1, and which should it have?")
def each_number_alone(gradients, limit):
    """Each number is cut off at ±limit, which turns the direction of the step."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [np.clip(gradient, -limit, limit) for gradient in gradients], norm


@clip_gradients.mistake(hint="The lengths of two gradients at right angles, 3 and 4: how long are they together?")
def lengths_added_up(gradients, limit):
    """The lengths of the arrays are added, but lengths add up by their squares."""
    norm = float(sum(np.linalg.norm(gradient) for gradient in gradients))
    factor = min(1.0, limit / norm) if norm else 1.0
    return [gradient * factor for gradient in gradients], norm


@clip_gradients.mistake(hint="The asked number tells how long the gradient was, so that you can watch it explode.")
def length_after_clipping(gradients, limit):
    """The length returned is that after clipping."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    factor = min(1.0, limit / norm) if norm else 1.0
    return [gradient * factor for gradient in gradients], norm * factor


@clip_gradients.mistake(hint="`*=` writes into the array you were given.")
def writes_into_the_gradients(gradients, limit):
    """The given arrays are overwritten."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if norm > limit:
        for gradient in gradients:
            gradient *= limit / norm
    return gradients, norm


@clip_gradients.mistake(hint="If somebody writes into your result, what becomes of the arrays that you were given?")
def given_arrays_handed_back(gradients, limit):
    """Where nothing is to be clipped, the very arrays that came in go out again; asked for are new ones."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    if norm <= limit:
        return gradients, norm
    return [gradient * (limit / norm) for gradient in gradients], norm


@clip_gradients.mistake(hint="Gradients that are all zero have the length 0. What does your line make of that?")
def divided_by_a_length_of_zero(gradients, limit):
    """The limit is divided by the length also where that is 0."""
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients))
    return [gradient * min(1.0, limit / norm) for gradient in gradients], norm


@clip_gradients.mistake(
    hint="Take gradients (3) and (0.4) with limit 1: which way does the step point before and after?"
)
def each_array_and_its_length_alone(gradients, limit):
    """Each array is clipped by its own length, which turns the step; the length returned is the last array's."""
    clipped = []
    for gradient in gradients:
        norm = float(np.linalg.norm(gradient))
        clipped.append(gradient * (limit / norm) if norm > limit else gradient.copy())
    return clipped, norm
