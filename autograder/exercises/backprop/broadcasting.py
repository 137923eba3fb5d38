"""The exercise on summing a gradient back to the shape that was broadcast."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import backprop

unbroadcast = Exercise(
    "backprop.unbroadcast",
    difficulty=2,
    minutes=15,
    reference=backprop.unbroadcast,
    facets={"new axes": 1, "axes of size one": 1},
)


@unbroadcast.cases
def unbroadcast_cases(rng):
    n, m, k = map(int, rng.integers(2, 6, size=3))

    def case(label, facet, full, small):
        return Case(label, facet, gradient=rng.normal(size=full), shape=list(small))

    yield case("a bias added to every row", "new axes", (n, m), (m,))
    yield case("two new axes", "new axes", (n, m, k), (k,))
    yield case("one number used everywhere", "new axes", (n, m), ())
    yield case("nothing was broadcast", "new axes", (n, m), (n, m))
    yield case("a square", "new axes", (3, 3), (3,))
    yield case("a column", "axes of size one", (n, m), (n, 1))
    yield case("a row", "axes of size one", (n, m), (1, m))
    yield case("in the middle", "axes of size one", (n, m, k), (n, 1, k))
    yield case("a new axis and one of size one", "axes of size one", (n, m, k), (m, 1))
    yield case("ones on either side", "axes of size one", (1, m), (1, m))
    yield case("all at once", "axes of size one", (2, n, m, k), (1, m, 1))
    yield case("no rows at all", "axes of size one", (0, m), (1, m))


@unbroadcast.probe
def unbroadcast_probe(answer, gradient, shape):
    import numpy as np

    return {"result": np.asarray(answer(gradient, tuple(shape)))}


@unbroadcast.alternative
def axis_after_axis(gradient, shape):
    while gradient.ndim > len(shape):
        gradient = gradient.sum(axis=0)
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


@unbroadcast.alternative
def number_by_number(gradient, shape):
    result = np.zeros(shape)
    for place in np.ndindex(gradient.shape):
        own = place[len(place) - len(shape) :]
        result[tuple(0 if size == 1 else i for i, size in zip(own, shape, strict=True))] += gradient[place]
    return result


@unbroadcast.alternative
def with_padded_shape(gradient, shape):
    padded = (1,) * (gradient.ndim - len(shape)) + tuple(shape)
    axes = tuple(axis for axis, size in enumerate(padded) if size == 1)
    return gradient.sum(axis=axes).reshape(shape) if axes else gradient


def right_unbroadcast(gradient, shape):
    new = gradient.ndim - len(shape)
    gradient = gradient.sum(axis=tuple(range(new)))
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.sum(axis=axis, keepdims=True)
    return gradient


unbroadcast.slip(
    "only new axes",
    right_unbroadcast,
    "        if size == 1:\n            gradient = gradient.sum(axis=axis, keepdims=True)\n",
    "        pass\n",
    cause="New axes at the front are summed, but axes of size one that were stretched are not.",
    hint="Which shape has your result when a column (n, 1) was broadcast to (n, m)?",
)
unbroadcast.slip(
    "axes of size one disappear",
    right_unbroadcast,
    "gradient.sum(axis=axis, keepdims=True)",
    "gradient.sum(axis=axis)",
    cause="The sum over an axis of size one takes the axis away instead of leaving it with one entry.",
    hint="Compare the shape of your result with `shape`. sum has an argument for this.",
)
unbroadcast.slip(
    "mean instead of sum",
    right_unbroadcast,
    "gradient.sum(axis=axis, keepdims=True)",
    "gradient.mean(axis=axis, keepdims=True)",
    cause="The gradients of the copies are averaged; a number used n times gets n gradients, and they add up.",
    hint="y = x + x is x used twice. Is the slope of y by x one or two?",
)
unbroadcast.slip(
    "mean over the new axes",
    right_unbroadcast,
    "gradient.sum(axis=tuple(range(new)))",
    "gradient.mean(axis=tuple(range(new))) if new else gradient",
    cause="Over the new axes the gradients of the copies are averaged; they add up.",
    hint="A bias is added to every row of a batch. Nudge it: how many rows move?",
)
unbroadcast.slip(
    "sums from the right",
    right_unbroadcast,
    "gradient.sum(axis=tuple(range(new)))",
    "gradient.sum(axis=tuple(range(gradient.ndim - new, gradient.ndim)))",
    cause="The last axes are summed away; broadcasting puts new axes in *front*.",
    hint="Shapes are lined up from the right. Where do the missing axes of the shorter one go?",
)


@unbroadcast.mistake(hint="Every copy sent a gradient back. What happens to those you do not look at?")
def only_the_first_copy(gradient, shape):
    """Only the gradient of the first copy is kept; those of all other copies are lost."""
    gradient = gradient[(0,) * (gradient.ndim - len(shape))]
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = np.take(gradient, range(min(1, gradient.shape[axis])), axis=axis)
    return gradient
