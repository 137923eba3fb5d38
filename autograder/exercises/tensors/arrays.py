"""The exercises on arrays: a product for each pair of a stack, and all distances at once by broadcasting."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import tensors


def rows_with_rows(a, b):
    """The library's product with the second factor turned, as the homework asks."""
    return tensors.batched_matmul(a, b.swapaxes(-1, -2))


batched_matmul = Exercise(
    "tensors.batched_matmul",
    reference=rows_with_rows,
    facets={"values": 2, "dtype": 1, "vectorised": 1},
    difficulty=1,
    minutes=15,
    seconds=1.0,
    equivalent_mutants={
        "return a @ b.swapaxes(1, 2) → return a @ b.swapaxes(2, 1)": "exchanging two axes has no first and second",
    },
)


@batched_matmul.cases
def matmul_cases(rng):
    batch, rows, columns, inner = (int(size) for size in rng.permutation([2, 3, 4, 5]))
    yield Case("different sizes", a=rng.normal(size=(batch, rows, inner)), b=rng.normal(size=(batch, columns, inner)))
    yield Case("square matrices", a=rng.normal(size=(2, 3, 3)), b=rng.normal(size=(2, 3, 3)))
    yield Case("as many as they are large", a=rng.normal(size=(3, 3, 3)), b=rng.normal(size=(3, 3, 3)))
    yield Case("one pair", a=rng.normal(size=(1, rows, 4)), b=rng.normal(size=(1, columns, 4)))
    yield Case("vectors of one number", a=rng.normal(size=(2, rows, 1)), b=rng.normal(size=(2, columns, 1)))
    turned = rng.normal(size=(5, columns, 2)).swapaxes(0, 2)
    yield Case("not contiguous", a=rng.normal(size=(2, rows, 5)), b=turned)
    single = [rng.normal(size=(2, 3, 4)).astype(np.float32) for _ in range(2)]
    yield Case("float32", "dtype", a=single[0], b=single[1])
    # With @, einsum, or a dot product for each entry: hundredths of a second. With single numbers: seconds.
    large = rng.normal(size=(2, 2, 96, 512))
    yield Case("9 million multiplications: too many for Python's loops", "vectorised", a=large[0], b=large[1])


@batched_matmul.probe
def ask_matmul(answer, a, b):
    return {"product": answer(a, b)}


@batched_matmul.alternative
def by_names_of_axes(a, b):
    return np.einsum("nij,nkj->nik", a, b)


@batched_matmul.alternative
def pair_by_pair(a, b):
    return np.stack([one @ other.T for one, other in zip(a, b, strict=True)])


@batched_matmul.alternative
def column_by_column(a, b):
    product = np.empty((*a.shape[:2], b.shape[1]), dtype=a.dtype)
    for k in range(b.shape[1]):
        product[:, :, k] = (a * b[:, None, k]).sum(axis=-1)
    return product


def right_matmul(a, b):
    return np.einsum("nij,nkj->nik", a, b)


@batched_matmul.mistake(hint="The vectors stand in the rows of both. Which of the two has to be turned, and how?")
def not_transposed(a, b):
    """The plain product `a @ b` joins the rows of a with the *columns* of b."""
    return a @ b


@batched_matmul.mistake(hint="Print b.shape and b.T.shape. Which axes should change places, and which should stay?")
def all_axes_reversed(a, b):
    """`.T` reverses *all* axes of an array, the batch axis too."""
    return a @ b.T


@batched_matmul.mistake(
    hint="Fill b with 0, 1, 2, … and compare what reshape makes of one of its matrices with the transpose."
)
def reshaped_instead_of_turned(a, b):
    """`reshape` only cuts the same sequence of numbers anew; it exchanges no axes."""
    return a @ b.reshape(b.shape[0], b.shape[2], b.shape[1])


@batched_matmul.mistake(hint="How many numbers come out for two matrices each? Which pairs were asked for?")
def every_matrix_with_every_other(a, b):
    """Each matrix of a meets *all* matrices of b, not only its partner: the batch occurs twice in the result."""
    return np.tensordot(a, b, axes=(2, 2))


batched_matmul.slip(
    "summed over the batch",
    right_matmul,
    "->nik",
    "->ik",
    cause="The products of all pairs are added up into one matrix.",
    hint="Is the batch an index to sum over, or one to keep?",
)
batched_matmul.slip(
    "rows and columns exchanged",
    right_matmul,
    "->nik",
    "->nki",
    cause="The result stands on its side: the rows of b number its rows.",
    hint="Which index of C belongs to a row of a?",
)


@batched_matmul.mistake(hint="Which type has np.zeros(3)? Look for the argument that changes it.")
def always_float64(a, b):
    """The result is made by `np.zeros` without a dtype, so it is float64 even for float32 inputs."""
    product = np.zeros((a.shape[0], a.shape[1], b.shape[1]))
    for n in range(a.shape[0]):
        product[n] = a[n] @ b[n].T
    return product


squared_distances = Exercise(
    "tensors.squared_distances",
    reference=tensors.squared_distances,
    facets={"values": 2, "precision": 1},
    difficulty=1,
    minutes=10,
    forbidden=("cdist", "pdist", "euclidean_distances", "pairwise_distances", "distance_matrix"),
)


@squared_distances.cases
def distance_cases(rng):
    rows, others, features = (int(size) for size in rng.permutation([3, 4, 6]))
    yield Case("different sizes", a=rng.normal(size=(rows, features)), b=rng.normal(size=(others, features)))
    yield Case("all sizes equal", a=rng.normal(size=(3, 3)), b=rng.normal(size=(3, 3)))
    yield Case("as many points as features", a=rng.normal(size=(2, 4)), b=rng.normal(size=(4, 4)))
    points = rng.normal(size=(rows, 2))
    yield Case("points and themselves", a=points, b=points.copy())
    yield Case("one point", a=rng.normal(size=(1, features)), b=rng.normal(size=(others, features)))
    yield Case("one feature", a=rng.normal(size=(rows, 1)), b=rng.normal(size=(others, 1)))
    yield Case("float32", a=rng.normal(size=(3, 5)).astype(np.float32), b=rng.normal(size=(2, 5)).astype(np.float32))
    far = 1e6 * np.sign(rng.normal(size=4))
    yield Case(
        "near each other, far from zero", "precision", a=far + rng.normal(size=(3, 4)), b=far + rng.normal(size=(5, 4))
    )


@squared_distances.probe
def ask_distances(answer, a, b):
    return {"distances": answer(a, b)}


@squared_distances.alternative
def two_loops(a, b):
    distances = np.empty((len(a), len(b)), dtype=a.dtype)
    for i in range(len(a)):
        for j in range(len(b)):
            distances[i, j] = ((a[i] - b[j]) ** 2).sum()
    return distances


@squared_distances.alternative
def with_einsum(a, b):
    differences = a[:, np.newaxis] - b
    return np.einsum("ijf,ijf->ij", differences, differences)


@squared_distances.alternative
def feature_by_feature(a, b):
    return sum((a[:, f, None] - b[None, :, f]) ** 2 for f in range(a.shape[1]))


def right_distances(a, b):
    return ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)


squared_distances.slip(
    "matching rows only",
    right_distances,
    "a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)",
    "a - b) ** 2).sum(axis=1)",
    cause="Row i of a is compared with row i of b alone, or not at all when there are not equally many.",
    hint="Where must an axis of size 1 stand so that every row of a meets every row of b?",
)
squared_distances.slip(
    "summed over the wrong axis",
    right_distances,
    "axis=2",
    "axis=1",
    cause="The sum runs over the points of b; the features should be summed.",
    hint="Write down the shape of the differences. Which of its axes must vanish?",
)
squared_distances.slip(
    "a and b exchanged",
    right_distances,
    "a[:, None, :] - b[None, :, :]",
    "a[None, :, :] - b[:, None, :]",
    cause="The points of b number the rows of the result.",
    hint="Entry [i, j] belongs to a[i] and b[j]. What shape must the result have?",
)
squared_distances.slip(
    "not summed",
    right_distances,
    ".sum(axis=2)",
    "",
    cause="There is one number for each feature; the features have to be summed.",
    hint="How many axes should the result have?",
)
squared_distances.slip(
    "mean over the features",
    right_distances,
    ".sum(axis=2)",
    ".mean(axis=2)",
    cause="The squares are averaged over the features instead of being summed.",
    hint="How far is (0, 0) from (3, 4), squared?",
)
squared_distances.slip(
    "absolute differences",
    right_distances,
    "(a[:, None, :] - b[None, :, :]) ** 2",
    "np.abs(a[:, None, :] - b[None, :, :])",
    cause="The differences are summed without their square: another distance, that of a city's blocks.",
    hint="How far is (0, 0) from (3, 4), squared?",
)


@squared_distances.mistake(hint="Read the name of the task once more, its first half.")
def root_taken(a, b):
    """The root is taken: these are the distances, not their squares."""
    return np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2))


@squared_distances.mistake(
    hint="Squared, which number is larger: a coordinate, or the difference of two? Subtract first."
)
def multiplied_out(a, b):
    """‖a‖² + ‖b‖² − 2a·b subtracts huge numbers that are nearly equal, and what is left is mostly rounding."""
    return (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
