"""The exercise on the bootstrap: how sure are we of a mean, asked of nothing but the sample itself."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import tensors


def bootstrap_of_the_mean(values, level, resamples, seed):
    """The library's interval under the homework's signature."""
    return tensors.bootstrap_interval(values, np.mean, level, resamples, seed)


bootstrap_interval = Exercise(
    "tensors.bootstrap_interval",
    reference=bootstrap_of_the_mean,
    facets={"values": 2, "level": 1},
    difficulty=2,
    minutes=15,
    forbidden=("bootstrap",),
)


@bootstrap_interval.cases
def bootstrap_cases(rng):
    seed = int(rng.integers(1000))
    size = int(rng.integers(15, 30))
    yield Case("a few numbers", values=rng.normal(size=size), level=0.95, resamples=100, seed=seed)
    yield Case("skewed", values=rng.exponential(size=12), level=0.95, resamples=120, seed=seed + 1)
    right = np.repeat([1.0, 0.0], [14, 6])
    yield Case("14 right answers of 20", values=rng.permutation(right), level=0.95, resamples=110, seed=seed + 2)
    yield Case("one number", values=rng.normal(size=1), level=0.95, resamples=20, seed=seed)
    yield Case("all the same", values=np.full(5, 3.0), level=0.95, resamples=20, seed=seed)
    yield Case("level 0.5", "level", values=rng.exponential(size=size), level=0.5, resamples=100, seed=seed)
    yield Case("level 0.8", "level", values=rng.normal(5, 2, size=10), level=0.8, resamples=80, seed=seed + 3)


@bootstrap_interval.probe
def ask_bootstrap(answer, values, level, resamples, seed):
    import numpy as np

    low, high = answer(values, level, resamples, seed)
    return {"low": np.asarray(low, dtype=float), "high": np.asarray(high, dtype=float)}


@bootstrap_interval.alternative
def all_at_once(values, level, resamples, seed):
    rows = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    return tuple(np.quantile(values[rows].mean(axis=1), [(1 - level) / 2, (1 + level) / 2]))


@bootstrap_interval.alternative
def by_choice_and_percentiles(values, level, resamples, seed):
    rng = np.random.default_rng(seed)
    means = np.array([rng.choice(values, size=len(values)).mean() for _ in range(resamples)])
    outside = 100 * (1 - level) / 2
    return np.percentile(means, outside), np.percentile(means, 100 - outside)


def right_bootstrap(values, level, resamples, seed):
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]
    return np.quantile(means, (1 - level) / 2), np.quantile(means, (1 + level) / 2)


bootstrap_interval.slip(
    "drawn without replacement",
    right_bootstrap,
    "rng.integers(len(values), size=len(values))",
    "rng.permutation(len(values))",
    cause="Every value is drawn exactly once, so every resample has the same mean and there seems to be no doubt.",
    hint="In a resample some values come twice and others not at all.",
)
bootstrap_interval.slip(
    "level not halved",
    right_bootstrap,
    "np.quantile(means, (1 - level) / 2), np.quantile(means, (1 + level) / 2)",
    "np.quantile(means, 1 - level), np.quantile(means, level)",
    cause="What lies outside is cut off in full on *both* sides, so the interval is too narrow.",
    hint="5 % shall lie outside. How much of it on each side?",
)
bootstrap_interval.slip(
    "quantiles of the values",
    right_bootstrap,
    "means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]",
    "means = values[rng.integers(len(values), size=resamples)]",
    cause="Single values are drawn, not means of whole resamples: the result says where values lie, not their mean.",
    hint="With a hundred times as many values, should your interval get narrower?",
)
bootstrap_interval.slip(
    "resamples of another size",
    right_bootstrap,
    "size=len(values)",
    "size=resamples",
    cause="A resample has as many values as there are resamples; it should be as large as the sample.",
    hint="The doubt about a mean depends on how many values it is the mean of. How many are these here?",
)
bootstrap_interval.slip(
    "median instead of mean",
    right_bootstrap,
    "means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(resamples)]",
    "means = [np.median(values[rng.integers(len(values), size=len(values))]) for _ in range(resamples)]",
    cause="The median of each resample is taken; the mean is asked.",
    hint="Of which number do we want to know how sure we are?",
)
bootstrap_interval.slip(
    "level ignored",
    right_bootstrap,
    "np.quantile(means, (1 - level) / 2), np.quantile(means, (1 + level) / 2)",
    "np.quantile(means, 0.025), np.quantile(means, 0.975)",
    cause="The interval is always that of 95 %.",
    hint="Which of your arguments is never used?",
)
bootstrap_interval.slip(
    "percentiles of shares",
    right_bootstrap,
    "np.quantile(means, (1 - level) / 2), np.quantile(means, (1 + level) / 2)",
    "np.percentile(means, (1 - level) / 2), np.percentile(means, (1 + level) / 2)",
    cause="`np.percentile` counts from 0 to 100 but is given shares from 0 to 1, so both ends are near the least mean.",
    hint="Which percentiles leave 2.5 % outside on each side?",
)
bootstrap_interval.slip(
    "seed ignored",
    right_bootstrap,
    "rng = np.random.default_rng(seed)",
    "rng = np.random.default_rng(0)",
    cause="The draws are the same for every seed.",
    hint="Which of your arguments is never used?",
)


@bootstrap_interval.mistake(hint="Nothing is resampled here. The task describes another way to the interval.")
def bell_curve_assumed(values, level, resamples, seed):
    """This is the interval of the bell curve, mean ± 1.96 standard errors, symmetric whatever the data look like."""
    error = values.std() / np.sqrt(len(values))
    return values.mean() - 1.96 * error, values.mean() + 1.96 * error
