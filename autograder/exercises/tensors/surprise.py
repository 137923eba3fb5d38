"""The exercises on sums of exponentials and on surprise, both in a form that large numbers do not break."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import tensors


def log_sum_exp_along(x, axis=-1):
    """The reference under the homework's signature."""
    return tensors.log_sum_exp(x, axis)


log_sum_exp = Exercise(
    "tensors.log_sum_exp",
    reference=log_sum_exp_along,
    facets={"values": 2, "stability": 1, "minus infinity": 1},
    difficulty=2,
    minutes=15,
    forbidden=("logsumexp", "logaddexp", "log_softmax", "softmax"),
    equivalent_mutants={
        "largest[largest == -np.inf] = 0 → largest[largest == -np.inf] = 1": "−∞ stays −∞, whatever is taken out",
    },
)


@log_sum_exp.cases
def log_sum_exp_cases(rng):
    rows, columns = (int(size) for size in rng.integers(2, 6, size=2))
    yield Case("a few numbers", x=rng.normal(size=columns), axis=-1)
    yield Case("rows of a matrix", x=rng.normal(size=(rows, columns)), axis=-1)
    yield Case("columns of a square matrix", x=rng.normal(size=(rows, rows)), axis=0)
    yield Case("the middle of three axes", x=rng.normal(size=(2, rows, columns)), axis=1)
    yield Case("one number", x=rng.normal(size=(3, 1)), axis=-1)
    yield Case("float32", x=rng.normal(size=(rows, columns)).astype(np.float32), axis=-1)
    ordinary = rng.normal(size=(rows, columns))
    yield Case("numbers above 1000", "stability", x=ordinary + 1000, axis=-1)
    yield Case("numbers below −1000", "stability", x=ordinary - 1000, axis=-1)
    yield Case("rows far apart", "stability", x=ordinary + np.linspace(-1500, 1500, rows)[:, None], axis=-1)
    some = np.where(rng.random((rows, columns)) < 0.4, -np.inf, ordinary)
    some[:, 0] = ordinary[:, 0]
    some[0, -1] = -np.inf
    yield Case("some are −∞", "minus infinity", x=some, axis=-1)
    nothing = some.copy()
    nothing[1] = -np.inf
    yield Case("all of a row are −∞", "minus infinity", x=nothing, axis=-1)


@log_sum_exp.probe
def ask_log_sum_exp(answer, x, axis):
    import numpy as np

    return {"total": np.asarray(answer(x, axis))}


@log_sum_exp.alternative
def largest_set_to_zero(x, axis=-1):
    largest = x.max(axis=axis, keepdims=True)
    largest[largest == -np.inf] = 0
    return np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)


@log_sum_exp.alternative
def two_at_a_time(x, axis=-1):
    total, *rest = np.moveaxis(x, axis, 0)
    for term in rest:
        larger, smaller = np.maximum(total, term), np.minimum(total, term)
        gap = np.where(smaller == -np.inf, -np.inf, smaller - np.where(larger == -np.inf, 0, larger))
        total = larger + np.log1p(np.exp(gap)).astype(x.dtype)
    return total


@log_sum_exp.alternative
def slice_by_slice(x, axis=-1):
    def one(numbers):
        top = numbers.max()
        return top if top == -np.inf else top + np.log(np.exp(numbers - top).sum())

    return np.apply_along_axis(one, axis, x)


def right_log_sum_exp(x, axis=-1):
    largest = x.max(axis=axis, keepdims=True)
    largest = np.where(largest == -np.inf, 0, largest).astype(x.dtype)
    return np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)


@log_sum_exp.mistake(hint="What is exp(1000) for a computer? Which number could be taken out of every term first?")
def no_shift(x, axis=-1):
    """The exponentials overflow above 709 and vanish far below zero: nothing is taken out first."""
    return np.log(np.exp(x).sum(axis=axis))


log_sum_exp.slip(
    "largest not added back",
    right_log_sum_exp,
    " + largest.squeeze(axis)",
    "",
    cause="The largest number is taken out of the sum and never put back.",
    hint="log Σ e^(x − m) is not yet log Σ e^x. By how much do they differ?",
)
log_sum_exp.slip(
    "one largest for everything",
    right_log_sum_exp,
    "    largest = x.max(axis=axis, keepdims=True)\n",
    "    largest = np.full_like(x.max(axis=axis, keepdims=True), x.max())\n",
    cause="The largest number of the *whole* array is taken out, so that slices far below it vanish.",
    hint="Each sum has a largest term of its own.",
)
log_sum_exp.slip(
    "not a number where all are minus infinity",
    right_log_sum_exp,
    "    largest = np.where(largest == -np.inf, 0, largest).astype(x.dtype)\n",
    "",
    cause="Where all numbers are −∞ the shift computes −∞ − (−∞), which is NaN.",
    hint="Try one row of nothing but −∞. What should the logarithm of an empty sum be?",
)
log_sum_exp.slip(
    "axis is ignored",
    right_log_sum_exp,
    "    largest = x.max(axis=axis, keepdims=True)\n",
    "    axis = -1\n    largest = x.max(axis=axis, keepdims=True)\n",
    cause="The sum always runs along the last axis, whatever `axis` says.",
    hint="Try a matrix of 2 rows and 3 columns with axis=0: how many numbers should come out?",
)
log_sum_exp.slip(
    "mean instead of sum",
    right_log_sum_exp,
    "np.exp(x - largest).sum(axis=axis)",
    "np.exp(x - largest).mean(axis=axis)",
    cause="The exponentials are averaged, so the result is too small by the logarithm of their number.",
    hint="What is log(e⁰ + e⁰)?",
)
log_sum_exp.slip(
    "axis is kept",
    right_log_sum_exp,
    "np.log(np.exp(x - largest).sum(axis=axis)) + largest.squeeze(axis)",
    "np.log(np.exp(x - largest).sum(axis=axis, keepdims=True)) + largest",
    cause="The summed axis is still there, with size 1.",
    hint="Which shape has x.sum(axis)?",
)


cross_entropy = Exercise(
    "tensors.cross_entropy",
    reference=tensors.cross_entropy,
    facets={"values": 2, "stability": 1},
    difficulty=2,
    minutes=15,
    forbidden=(
        "cross_entropy",
        "CrossEntropyLoss",
        "nll_loss",
        "NLLLoss",
        "log_loss",
        "log_softmax",
        "softmax",
        "logsumexp",
    ),
)


@cross_entropy.cases
def cross_entropy_cases(rng):
    def inputs(samples, classes, scale=1.0):
        return {"logits": scale * rng.normal(size=(samples, classes)), "labels": rng.integers(0, classes, size=samples)}

    yield Case("three classes", **inputs(7, 3))
    yield Case("as many samples as classes", **inputs(4, 4))
    yield Case("random sizes", **inputs(*map(int, rng.integers(5, 10, size=2))))
    yield Case("one sample", **inputs(1, 5))
    yield Case("a class that does not occur", **(inputs(5, 3) | {"labels": np.array([0, 2, 2, 0, 2])}))
    yield Case("no idea: all logits equal", logits=np.zeros((3, 6)), labels=rng.integers(0, 6, size=3))
    yield Case("logits in the thousands", "stability", **inputs(6, 4, scale=3000.0))
    logits = rng.normal(size=(2, 3))
    logits[:, 1] += 2000
    yield Case("sure and wrong", "stability", logits=logits, labels=np.array([0, 2]))


@cross_entropy.probe
def ask_cross_entropy(answer, logits, labels):
    import numpy as np

    return {"loss": np.asarray(answer(logits, labels), dtype=float)}


@cross_entropy.alternative
def with_one_hot_rows(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(np.eye(logits.shape[1])[labels] * log_p).sum() / len(labels)


@cross_entropy.alternative
def sample_by_sample(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        largest = row.max()
        total += largest + np.log(np.exp(row - largest).sum()) - row[label]
    return total / len(labels)


@cross_entropy.alternative
def by_differences_to_the_truth(logits, labels):
    ahead = logits - np.take_along_axis(logits, labels[:, None], axis=1)
    most = ahead.max(axis=1)
    return float((most + np.log(np.exp(ahead.T - most).sum(axis=0))).mean())


def right_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels].mean()


cross_entropy.slip(
    "sign forgotten",
    right_cross_entropy,
    "return -log_p",
    "return log_p",
    cause="This is the mean log-probability, which is negative; surprise is its opposite.",
    hint="Can one be surprised less than not at all?",
)
cross_entropy.slip(
    "not averaged",
    right_cross_entropy,
    ".mean()",
    ".sum()",
    cause="The surprises are added up; the mean is asked.",
    hint="Repeat every sample twice. Should the loss change?",
)
cross_entropy.slip(
    "one for each sample",
    right_cross_entropy,
    ".mean()",
    "",
    cause="There is a surprise for each sample; their mean is asked.",
    hint="How many numbers should come out?",
)
cross_entropy.slip(
    "columns instead of entries",
    right_cross_entropy,
    "log_p[np.arange(len(labels)), labels]",
    "log_p[:, labels]",
    cause="`log_p[:, labels]` takes these columns of *all* rows, not one entry of each row.",
    hint="How many numbers do you average? There should be one for each sample.",
)
cross_entropy.slip(
    "averaged over the classes too",
    right_cross_entropy,
    "-log_p[np.arange(len(labels)), labels].mean()",
    "-(np.eye(logits.shape[1])[labels] * log_p).mean()",
    cause="The zeros of the one-hot rows are counted in the mean, so the loss is too small by the number of classes.",
    hint="By how many is the sum divided, and by how many should it be?",
)
cross_entropy.slip(
    "normalised over the samples",
    right_cross_entropy,
    "np.exp(shifted).sum(axis=1, keepdims=True)",
    "np.exp(shifted).sum(axis=0, keepdims=True)",
    cause="The probabilities of a *class* sum to one over the samples; those of a sample should, over the classes.",
    hint="Print the sum of exp(log_p) along each axis. Which should be 1?",
)
cross_entropy.slip(
    "summed axis not kept",
    right_cross_entropy,
    "np.exp(shifted).sum(axis=1, keepdims=True)",
    "np.exp(shifted).sum(axis=1)",
    cause="The sums have the shape (samples,), which broadcasting aligns with the *classes*.",
    hint="Which shape must the sums have to be paired with the rows? `keepdims=True`, or `[:, None]`, gives it.",
)
cross_entropy.slip(
    "one largest for all samples",
    right_cross_entropy,
    "logits.max(axis=1, keepdims=True)",
    "logits.max()",
    cause="The largest logit of *all* samples is taken out, so that samples with much smaller ones vanish.",
    hint="Each row is a distribution of its own. Which largest logit does it need?",
)
cross_entropy.slip(
    "in bits",
    right_cross_entropy,
    "-log_p[np.arange(len(labels)), labels].mean()",
    "-log_p[np.arange(len(labels)), labels].mean() / np.log(2)",
    cause="The logarithm is to base 2, which measures in bits; nats are asked, so the natural one.",
    hint="Two classes and no idea: should the loss be 1 or 0.693?",
)


@cross_entropy.mistake(hint="What is exp(1000) for a computer? Take the largest logit of each row out first.")
def overflow(logits, labels):
    """The logits go into the exponential as they are, and e¹⁰⁰⁰ is infinite."""
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


@cross_entropy.mistake(hint="A model that is sure and wrong by 2000 should be punished by 2000. Stay in logarithms.")
def probabilities_kept_away_from_zero(logits, labels):
    """A small number is added inside the logarithm, so that no surprise is ever larger than about 21."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = powers / powers.sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels] + 1e-9).mean()
