"""The exercise on max pooling: the largest number of each window, and the way its gradient goes back."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import cnn


def pooled_and_gradient(x, gradient, kernel, stride):
    """The reference under the homework's signature."""
    there = torch.from_numpy(np.ascontiguousarray(x))[None].requires_grad_()
    pooled = cnn.max_pool2d(there, kernel, stride=stride)
    pooled.backward(torch.from_numpy(np.ascontiguousarray(gradient))[None])
    return pooled.detach()[0].numpy(), there.grad[0].numpy()


max_pool = Exercise(
    "cnn.max_pool",
    reference=pooled_and_gradient,
    facets={"values": 1, GRADIENTS: 1, "overlap": 1, "ties": 1},
    difficulty=2,
    minutes=25,
    forbidden=("max_pool1d", "max_pool2d", "max_pool3d", "max_pool2d_with_indices", "MaxPool2d", "backward", "grad"),
)


@max_pool.cases
def max_pool_cases(rng):
    def inputs(channels, height, width, kernel, stride, whole=False):
        x = rng.integers(0, 2, size=(channels, height, width)).astype(float) if whole else None
        places = [(size - kernel) // stride + 1 for size in (height, width)]
        return dict(
            x=rng.normal(size=(channels, height, width)) if x is None else x,
            gradient=rng.normal(size=(channels, *places)),
            kernel=kernel,
            stride=stride,
        )

    yield Case("windows of 2 × 2", **inputs(2, 4, 6, 2, 2))
    yield Case("windows of 3 × 3", **inputs(int(rng.integers(1, 4)), 6, 9, 3, 3))
    yield Case("all numbers negative", **(inputs(2, 4, 4, 2, 2) | {"x": -1 - rng.random((2, 4, 4))}))
    yield Case("a rest that is not read", **inputs(1, 5, 7, 2, 2))
    yield Case("gaps between the windows", **inputs(2, 8, 7, 2, 3))
    yield Case("one window", **inputs(2, 3, 3, 3, 1))
    yield Case("windows that overlap", "overlap", **inputs(2, 7, 5, 3, 2))
    yield Case("windows that move by one", "overlap", **inputs(1, 6, 6, 3, 1))
    summit = inputs(1, 5, 5, 3, 1)
    summit["x"][0, 2, 2] = 9.0
    yield Case("one number wins every window", "overlap", **summit)
    yield Case("only zeros", "ties", **(inputs(1, 4, 4, 2, 2) | {"x": np.zeros((1, 4, 4))}))
    yield Case("zeros and ones", "ties", **inputs(2, 6, 6, 2, 2, whole=True))
    yield Case("zeros and ones, wide windows", "ties", **inputs(1, 6, 6, 3, 3, whole=True))


@max_pool.probe
def ask_max_pool(answer, x, gradient, kernel, stride):
    import numpy as np

    # Overlaps and ties have facets of their own, so there the slopes belong to the case, not to the facet of gradients.
    special = stride < kernel or len(np.unique(x)) < x.size
    pooled, by_x = answer(x, gradient, kernel, stride)
    return {"pooled": pooled, "slope by x" if special else "gradient of x": by_x}


def right_pool(x, gradient, kernel, stride):
    channels, height, width = gradient.shape
    pooled, by_x = np.zeros_like(gradient), np.zeros_like(x)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                top, left = i * stride, j * stride
                window = x[c, top : top + kernel, left : left + kernel]
                a, b = np.unravel_index(window.argmax(), window.shape)
                pooled[c, i, j] = window[a, b]
                by_x[c, top + a, left + b] += gradient[c, i, j]
    return pooled, by_x


@max_pool.alternative
def by_sliding_windows(x, gradient, kernel, stride):
    seen = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    flat = seen.reshape(*seen.shape[:3], -1)
    winner = flat.argmax(-1)
    c, i, j = np.indices(winner.shape)
    by_x = np.zeros(x.shape)
    np.add.at(by_x, (c, i * stride + winner // kernel, j * stride + winner % kernel), gradient)
    return flat.max(-1), by_x


@max_pool.alternative
def pixel_by_pixel_of_the_window(x, gradient, kernel, stride):
    height, width = gradient.shape[1:]
    best, where = np.full(gradient.shape, -np.inf), np.zeros(gradient.shape, dtype=int)
    rows, columns = np.arange(height) * stride, np.arange(width) * stride
    for number in range(kernel * kernel):
        seen = x[:, rows[:, None] + number // kernel, columns + number % kernel]
        where = np.where(seen > best, number, where)
        best = np.maximum(best, seen)
    by_x = np.zeros_like(x)
    for c, i, j in np.ndindex(*gradient.shape):
        by_x[c, rows[i] + where[c, i, j] // kernel, columns[j] + where[c, i, j] % kernel] += gradient[c, i, j]
    return best, by_x


max_pool.slip(
    "the gradient to every pixel of the window",
    right_pool,
    "by_x[c, top + a, left + b] += gradient[c, i, j]",
    "by_x[c, top : top + kernel, left : left + kernel] += gradient[c, i, j]",
    cause="All pixels of a window get the gradient; only the largest one had any influence.",
    hint="Raise a pixel that is not the largest of its window a little. What happens to the maximum?",
)
max_pool.slip(
    "the gradient shared like a mean's",
    right_pool,
    "by_x[c, top + a, left + b] += gradient[c, i, j]",
    "by_x[c, top : top + kernel, left : left + kernel] += gradient[c, i, j] / kernel**2",
    cause="Each pixel of a window gets an equal share: that is the gradient of average pooling.",
    hint="Raise a pixel that is not the largest of its window a little. What happens to the maximum?",
)
max_pool.slip(
    "the gradient to every tie",
    right_pool,
    "by_x[c, top + a, left + b] += gradient[c, i, j]",
    "by_x[c, top : top + kernel, left : left + kernel] += gradient[c, i, j] * (window == window.max())",
    cause="Where several pixels are equally large, each gets the whole gradient; asked is the first in reading order.",
    hint="Sum up your gradient for a picture of zeros. Should it be more than what came in?",
)
max_pool.slip(
    "ties go to the last",
    right_pool,
    "np.unravel_index(window.argmax(), window.shape)",
    "np.unravel_index(window.size - 1 - window.ravel()[::-1].argmax(), window.shape)",
    cause="Where several pixels are equally large, the last gets the gradient; asked is the first in reading order.",
    hint="Does your comparison say ≥ where it should say >?",
)
max_pool.slip(
    "overwritten where windows overlap",
    right_pool,
    "+= gradient[c, i, j]",
    "= gradient[c, i, j]",
    cause="A pixel that wins in several windows keeps the gradient of the last one only; they have to be added up.",
    hint="A number used twice gets two gradients. Look at your `=`.",
)
max_pool.slip(
    "stride ignored",
    right_pool,
    "top, left = i * stride, j * stride",
    "top, left = min(i * kernel, x.shape[1] - kernel), min(j * kernel, x.shape[2] - kernel)",
    cause="The windows move by the kernel's size, whatever the stride.",
    hint="With kernel 3 and stride 2, where does the second window begin?",
)
max_pool.slip(
    "starts from zero",
    right_pool,
    "pooled[c, i, j] = window[a, b]",
    "pooled[c, i, j] = max(0.0, window[a, b])",
    cause="The search for the maximum begins with 0, so a window of negative numbers gives 0.",
    hint="What is the largest of −3, −1 and −2? What does your code say?",
)
max_pool.slip(
    "the maximum of all channels",
    right_pool,
    "pooled[c, i, j] = window[a, b]",
    "pooled[c, i, j] = x[:, top : top + kernel, left : left + kernel].max()",
    cause="The maximum runs over the channels too; each channel is pooled by itself.",
    hint="How many channels should come out?",
)
