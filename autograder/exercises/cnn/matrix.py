"""The exercise that writes a convolution as a fully connected layer."""

import numpy as np
import torch

from autograder.exercise import Case, Exercise
from ml_course import cnn


def as_matrix(kernel, size, stride=1):
    """The reference under the homework's signature: one axis, NumPy."""
    weight = torch.from_numpy(np.ascontiguousarray(kernel))[None, None, None]
    return cnn.convolution_matrix(weight, (1, size), stride=(1, stride)).numpy()


convolution_matrix = Exercise(
    "cnn.convolution_matrix",
    reference=as_matrix,
    facets={"values": 2, "stride": 1},
    difficulty=2,
    minutes=15,
)


@convolution_matrix.cases
def convolution_matrix_cases(rng):
    def inputs(kernel, size, stride=1):
        return dict(kernel=rng.normal(size=kernel), size=size, stride=stride)

    yield Case("three weights", **inputs(3, 7))
    yield Case("random sizes", **inputs(int(rng.integers(2, 5)), int(rng.integers(6, 11))))
    yield Case("one weight: a multiple of the identity", **inputs(1, 4))
    yield Case("as long as the input: a single row", **inputs(5, 5))
    yield Case("stride 2", "stride", **inputs(3, 9, 2))
    yield Case("a stride that leaves something over", "stride", **inputs(3, 9, 4))
    yield Case("a stride larger than the kernel", "stride", **inputs(2, 8, 3))


@convolution_matrix.probe
def ask_convolution_matrix(answer, kernel, size, stride):
    return {"matrix": answer(kernel, size, stride)}


@convolution_matrix.alternative
def row_by_row(kernel, size, stride=1):
    width = len(kernel)
    rows = []
    for start in range(0, size - width + 1, stride):
        rows.append(np.concatenate([np.zeros(start), kernel, np.zeros(size - width - start)]))
    return np.array(rows)


@convolution_matrix.alternative
def sum_of_diagonals(kernel, size, stride=1):
    places = (size - len(kernel)) // stride + 1
    matrix = np.zeros((places, size))
    for a, weight in enumerate(kernel):
        matrix[np.arange(places), np.arange(places) * stride + a] = weight
    return matrix


@convolution_matrix.alternative
def by_the_distance(kernel, size, stride=1):
    places = (size - len(kernel)) // stride + 1
    offset = np.arange(size) - stride * np.arange(places)[:, None]
    inside = (offset >= 0) & (offset < len(kernel))
    return np.where(inside, kernel[np.clip(offset, 0, len(kernel) - 1)], 0.0)


def right_rows(kernel, size, stride=1):
    width = len(kernel)
    places = (size - width) // stride + 1
    matrix = np.zeros((places, size))
    for i in range(places):
        matrix[i, i * stride : i * stride + width] = kernel
    return matrix


convolution_matrix.slip(
    "kernel flipped",
    right_rows,
    "= kernel\n",
    "= kernel[::-1]\n",
    cause="The kernel stands backwards in the rows; nothing is flipped here.",
    hint="The first row's product with the input is the first window's: which weight meets the first input?",
)
convolution_matrix.slip(
    "transposed",
    right_rows,
    "return matrix",
    "return matrix.T",
    cause="Rows and columns are exchanged: a layer's matrix has one row per output.",
    hint="The product M · x should have as many entries as there are places.",
)
convolution_matrix.slip(
    "stride ignored",
    right_rows,
    "matrix[i, i * stride : i * stride + width] = kernel",
    "matrix[i, i : i + width] = kernel",
    cause="There are as many rows as places, but each row still moves by one input.",
    hint="With a stride of 2, where does the second row's kernel begin?",
)
convolution_matrix.slip(
    "the same place in every row",
    right_rows,
    "matrix[i, i * stride : i * stride + width] = kernel",
    "matrix[i, :width] = kernel",
    cause="All rows look at the first window.",
    hint="Two rows of your matrix are equal. What should distinguish them?",
)
convolution_matrix.slip(
    "wrapped around",
    right_rows,
    "return matrix",
    "matrix = np.zeros((size, size))\n"
    "    for i in range(size):\n"
    "        for a in range(width):\n"
    "            matrix[i, (i + a) % size] += kernel[a]\n"
    "    return matrix[::stride]",
    cause="The last rows wrap around to the first inputs; a window that does not fit has no row.",
    hint="How many places are there? Compare with the number of your rows.",
)
