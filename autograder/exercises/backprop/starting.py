"""The exercise on first weights."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import backprop

he_normal = Exercise(
    "backprop.he_normal",
    difficulty=1,
    minutes=10,
    reference=backprop.he_normal,
    facets={"spread": 1, "reproducible": 1},
    forbidden=("kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"),
)


@he_normal.cases
def he_normal_cases(rng):
    def case(label, facet, outputs, inputs):
        return Case(label, facet, outputs=outputs, inputs=inputs, seed=int(rng.integers(10_000)), asked=facet)

    yield case("many inputs, few outputs", "spread", int(rng.integers(30, 60)), int(rng.integers(600, 900)))
    yield case("few inputs, many outputs", "spread", int(rng.integers(600, 900)), int(rng.integers(30, 60)))
    yield case("one input", "spread", 20_000, 1)
    yield case("drawn twice", "reproducible", 5, 4)


@he_normal.probe
def he_normal_probe(answer, outputs, inputs, seed, asked):
    import numpy as np

    rng = np.random.default_rng(seed)
    weights = answer(outputs, inputs, rng)
    if asked == "spread":
        return {"weights": weights}
    return {
        "weights": weights,
        "next": answer(outputs, inputs, rng),
        "again": answer(outputs, inputs, np.random.default_rng(seed)),
    }


@he_normal.judge
def he_normal_judge(inputs, got, want):
    """The numbers are random: judged are shape, mean, deviation and tails, far beyond what chance does."""
    for key in want:
        weights, shape = got.get(key), (inputs["outputs"], inputs["inputs"])
        if not isinstance(weights, np.ndarray) or weights.shape != shape:
            came = weights.shape if isinstance(weights, np.ndarray) else "no array"
            yield key, f"weights: expected shape {shape}, got {came}"
            return
        if weights.dtype.kind != "f" or not np.isfinite(weights).all():
            yield key, "weights: expected finite floating-point numbers"
            return
    weights, deviation = got["weights"], np.sqrt(2 / inputs["inputs"])
    if inputs["asked"] == "reproducible":
        if not np.array_equal(weights, got["again"]):
            yield "again", "two generators with the same seed gave different weights"
        elif np.array_equal(weights, got["next"]):
            yield "next", "two draws from one generator gave the same weights"
        return
    if abs(weights.std() / deviation - 1) > 0.04:
        yield "weights", f"deviation of the weights: expected about {deviation:.4g}, got {weights.std():.4g}"
    elif abs(weights.mean()) > 6 * deviation / np.sqrt(weights.size):
        yield "weights", f"mean of the weights: expected about 0, got {weights.mean():.4g}"
    elif not 0.035 < (np.abs(weights) > 2 * deviation).mean() < 0.056:
        share = 100 * (np.abs(weights) > 2 * deviation).mean()
        yield "weights", f"{share:.1f} % lie beyond two deviations; of normal numbers 4.6 % do"


@he_normal.alternative
def scaled_afterwards(outputs, inputs, rng):
    return rng.standard_normal((outputs, inputs)) * (2.0 / inputs) ** 0.5


@he_normal.alternative
def drawn_in_columns(outputs, inputs, rng):
    return np.stack([rng.normal(0, np.sqrt(2 / inputs), outputs) for _ in range(inputs)], axis=1)


def right_start(outputs, inputs, rng):
    return rng.normal(scale=np.sqrt(2 / inputs), size=(outputs, inputs))


he_normal.slip(
    "variance taken for deviation",
    right_start,
    "np.sqrt(2 / inputs)",
    "2 / inputs",
    cause="2/inputs is the variance; the generator wants the deviation, its root.",
    hint="What does `scale` of rng.normal mean: σ or σ²?",
)
he_normal.slip(
    "the two is missing",
    right_start,
    "np.sqrt(2 / inputs)",
    "np.sqrt(1 / inputs)",
    cause="The variance is 1/inputs, which keeps the signal without ReLU; ReLU takes half of it away.",
    hint="ReLU sets half of the numbers to zero. What makes up for it?",
)
he_normal.slip(
    "counts the outputs",
    right_start,
    "np.sqrt(2 / inputs)",
    "np.sqrt(2 / outputs)",
    cause="The variance is taken from the number of outputs; a neuron's sum has as many terms as it has inputs.",
    hint="How many products does one neuron add up?",
)
he_normal.slip(
    "Xavier's rule",
    right_start,
    "np.sqrt(2 / inputs)",
    "np.sqrt(2 / (inputs + outputs))",
    cause="2/(inputs + outputs) is Xavier's rule, made for tanh.",
    hint="Which of the two rules does the task ask for, and what do they divide by?",
)
he_normal.slip(
    "transposed",
    right_start,
    "size=(outputs, inputs)",
    "size=(inputs, outputs)",
    cause="The matrix is (inputs, outputs); each *row* should be one neuron.",
    hint="Compare the shape of your matrix with the one asked for.",
)
he_normal.slip(
    "uniform numbers",
    right_start,
    "rng.normal(scale=np.sqrt(2 / inputs), size=(outputs, inputs))",
    "rng.uniform(-np.sqrt(6 / inputs), np.sqrt(6 / inputs), size=(outputs, inputs))",
    cause="The deviation is right, but the numbers are uniform instead of normal.",
    hint="Draw a histogram of your weights. Is it a bell?",
)


he_normal.slip(
    "a seed of its own",
    right_start,
    "return rng.normal",
    "return np.random.default_rng(0).normal",
    cause="The given generator is ignored, and every layer gets the same weights.",
    hint="Which of your arguments is never used? Call your function twice and compare.",
)
