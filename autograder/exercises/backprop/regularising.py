"""The exercises on dropout and on batch norm's way back."""

import numpy as np

from autograder.exercise import AUTOGRAD, Case, Exercise
from ml_course import backprop

# Dropout.


def dropout_of_the_library(x, share, training, rng):
    """The library's layer in one of its two lives, with the answer's signature."""
    layer = backprop.Dropout(share, rng).train(training)
    return layer(backprop.Tensor(x)).data.copy()


dropout = Exercise(
    "backprop.dropout",
    difficulty=1,
    minutes=15,
    reference=dropout_of_the_library,
    facets={"training": 1, "evaluation": 1, "no side effects": 1},
    forbidden=("dropout", "Dropout", "alpha_dropout"),
    equivalent_mutants={
        "kept = rng.random(x.shape) >= share → kept = rng.random(x.shape) > share": (
            "a random number hits the share itself once in 2⁵³ draws"
        )
    },
)


@dropout.cases
def dropout_cases(rng):
    def case(label, facet, shape, share, training):
        x = rng.uniform(0.5, 2, size=shape) * rng.choice([-1, 1], size=shape)
        return Case(label, facet, x=x, share=share, training=training, seed=int(rng.integers(10_000)))

    yield case("a fifth dropped", "training", (40, 100), 0.2, True)
    yield case("most dropped", "training", (50, 80), float(rng.uniform(0.6, 0.8)), True)
    yield case("a vector", "training", (3000,), float(rng.uniform(0.25, 0.4)), True)
    yield case("nothing dropped", "training", (3, 4), 0.0, True)
    yield case("when predicting", "evaluation", (6, 5), 0.5, False)
    yield case("when predicting, another share", "evaluation", (4,), 0.3, False)


@dropout.probe
def dropout_probe(answer, x, share, training, seed):
    import numpy as np

    return {"result": answer(x, share, training, np.random.default_rng(seed))}


@dropout.judge
def dropout_judge(inputs, got, want):
    """The choice is random: judged are the values of what is kept and the share of what is dropped."""
    x, share, result = inputs["x"], inputs["share"], got.get("result")
    if not isinstance(result, np.ndarray) or result.shape != x.shape:
        came = result.shape if isinstance(result, np.ndarray) else "no array"
        yield "result", f"result: expected shape {x.shape}, got {came}"
        return
    if not inputs["training"] or share == 0:
        if not np.allclose(result, x, rtol=1e-9, atol=0):
            yield (
                "result",
                "result: expected x unchanged, since " + ("share is 0" if share == 0 else "it is no training"),
            )
        return
    dropped = result == 0
    wrong = ~dropped & ~np.isclose(result, x / (1 - share), rtol=1e-6)
    if wrong.any():
        place = tuple(map(int, np.argwhere(wrong)[0]))
        wanted = x[place] / (1 - share)
        yield "result", f"result{list(place)} from {x[place]:.5g}: expected 0 or {wanted:.5g}, got {result[place]:.5g}"
        return
    chance = 6 * np.sqrt(share * (1 - share) / x.size)
    if abs(dropped.mean() - share) > chance:
        yield "result", f"expected about {share:.0%} dropped, got {dropped.mean():.1%}"
    elif any(dropped.all(axis=axis).any() for axis in range(x.ndim)):
        yield "result", "a whole row or column is dropped: each number should be drawn on its own"


@dropout.alternative
def by_filling_in(x, share, training, rng):
    if not training:
        return x
    result = x / (1 - share)
    result[rng.random(x.shape) < share] = 0
    return result


@dropout.alternative
def by_binomial(x, share, training, rng):
    return np.where(rng.binomial(1, 1 - share, x.shape) == 1, x / (1 - share), 0.0) if training else x.copy()


def right_dropout(x, share, training, rng):
    if not training:
        return x
    kept = rng.random(x.shape) >= share
    return x * kept / (1 - share)


dropout.slip(
    "not rescaled",
    right_dropout,
    "x * kept / (1 - share)",
    "x * kept",
    cause="What is kept is not made larger, so the sums are smaller in training than when predicting.",
    hint="With half of the numbers gone, what is the expected value of what is left?",
)
dropout.slip(
    "also when predicting",
    right_dropout,
    "    if not training:\n        return x\n",
    "",
    cause="Numbers are dropped when predicting too, so the same input gets another answer each time.",
    hint="Which of your arguments is never used?",
)
dropout.slip(
    "keeps its share",
    right_dropout,
    "rng.random(x.shape) >= share",
    "rng.random(x.shape) < share",
    cause="`share` of the numbers is kept instead of dropped.",
    hint="Count the zeros in your result for share = 0.2.",
)
dropout.slip(
    "rescaled by what is dropped",
    right_dropout,
    "kept / (1 - share)",
    "kept / max(share, 1e-9)",
    cause="The rest is divided by the share that is dropped; it should be divided by the share that is kept.",
    hint="If a tenth is dropped, by how much should the rest grow: ten times, or by a ninth?",
)
dropout.slip(
    "one draw for a whole column",
    right_dropout,
    "rng.random(x.shape)",
    "rng.random(x.shape[-1])",
    cause="The choice is made once for each column and used in all rows.",
    hint="How many random numbers does a matrix of 40 × 100 need?",
)
dropout.slip(
    "rescaled when predicting instead",
    right_dropout,
    "        return x\n    kept = rng.random(x.shape) >= share\n    return x * kept / (1 - share)",
    "        return x * (1 - share)\n    kept = rng.random(x.shape) >= share\n    return x * kept",
    cause="This is dropout as first published: nothing in training, × (1 − share) when predicting. "
    "The task asks for the form in use today.",
    hint="Which of the two, training or predicting, should leave x as it is?",
)
dropout.slip(
    "x is overwritten",
    right_dropout,
    "    kept = rng.random(x.shape) >= share\n    return x * kept / (1 - share)",
    "    x *= rng.random(x.shape) >= share\n    return x / (1 - share)",
    cause="`*=` writes the zeros into the array that was passed in.",
    hint="The caller may need x again, for example in the backward pass.",
)

# Batch norm's way back.


def batch_norm_of_the_engine(x, scale, gradient, epsilon=1e-5):
    """What the engine sends back through the library's layer, with the answer's signature."""
    layer, points = backprop.BatchNorm(x.shape[1], eps=epsilon), backprop.Tensor(x, requires_grad=True)
    layer.scale.data[...] = scale
    layer(points).backward(gradient)
    return points.grad, layer.scale.grad, layer.shift.grad


batch_norm_backward = Exercise(
    "backprop.batch_norm_backward",
    difficulty=3,
    minutes=30,
    reference=batch_norm_of_the_engine,
    facets={"by scale and shift": 1, "by x": 3},
    forbidden=(*AUTOGRAD, "batch_norm", "BatchNorm1d", "native_batch_norm", "layer_norm"),
)


@batch_norm_backward.cases
def batch_norm_backward_cases(rng):
    def case(label, facet, rows, features, spread=1.0, epsilon=1e-5):
        return Case(
            label,
            facet,
            x=rng.normal(size=features) + spread * rng.normal(size=(rows, features)),
            scale=rng.uniform(0.5, 2, size=features),
            gradient=rng.normal(size=(rows, features)),
            epsilon=epsilon,
            asked=facet,
        )

    rows, features = map(int, rng.integers(3, 8, size=2))
    for facet in ("by scale and shift", "by x"):
        yield case("random sizes", facet, rows, features)
        yield case("as many rows as features", facet, 4, 4)
        yield case("two rows", facet, 2, 3)
        yield case("one feature, far from zero", facet, 6, 1, spread=7.0)
        yield case("a large epsilon", facet, 5, 3, epsilon=0.7)


@batch_norm_backward.probe
def batch_norm_backward_probe(answer, x, scale, gradient, epsilon, asked):
    by_x, by_scale, by_shift = answer(x, scale, gradient, epsilon)
    return {"by_x": by_x} if asked == "by x" else {"by_scale": by_scale, "by_shift": by_shift}


@batch_norm_backward.alternative
def step_by_step(x, scale, gradient, epsilon=1e-5):
    rows = len(x)
    centred = x - x.sum(0) / rows
    variance = (centred**2).sum(0) / rows
    root = (variance + epsilon) ** 0.5
    by_normal = gradient * scale
    by_variance = (by_normal * centred).sum(0) * -0.5 * root**-3
    by_centred = by_normal / root + by_variance * 2 * centred / rows
    by_x = by_centred - by_centred.sum(0) / rows
    return by_x, (gradient * centred / root).sum(0), gradient.sum(0)


@batch_norm_backward.alternative
def feature_by_feature(x, scale, gradient, epsilon=1e-5):
    by_x, by_scale, by_shift = np.zeros_like(x), np.zeros_like(scale), np.zeros_like(scale)
    rows = len(x)
    for feature in range(x.shape[1]):
        values, arrived = x[:, feature], gradient[:, feature]
        deviation = np.sqrt(values.var() + epsilon)
        normal = (values - values.mean()) / deviation
        # The Jacobian of the normalisation, written out as a matrix.
        jacobian = (np.eye(rows) - np.full((rows, rows), 1 / rows) - np.outer(normal, normal) / rows) / deviation
        by_x[:, feature] = scale[feature] * jacobian @ arrived
        by_scale[feature], by_shift[feature] = arrived @ normal, arrived.sum()
    return by_x, by_scale, by_shift


def right_way_back(x, scale, gradient, epsilon=1e-5):
    deviation = np.sqrt(x.var(axis=0) + epsilon)
    normal = (x - x.mean(axis=0)) / deviation
    by_normal = gradient * scale
    inner = by_normal - by_normal.mean(axis=0) - normal * (by_normal * normal).mean(axis=0)
    by_x = inner / deviation
    return by_x, (gradient * normal).sum(axis=0), gradient.sum(axis=0)


batch_norm_backward.slip(
    "mean and variance taken for constants",
    right_way_back,
    "inner = by_normal - by_normal.mean(axis=0) - normal * (by_normal * normal).mean(axis=0)",
    "inner = by_normal",
    cause="μ and σ are treated as constants, but each x moves them, and through them all other rows.",
    hint="Add the same number to every x of a feature: the output stays. What must the gradients by x add up to?",
)
batch_norm_backward.slip(
    "variance taken for a constant",
    right_way_back,
    " - normal * (by_normal * normal).mean(axis=0)",
    "",
    cause="The way through the mean is there, the one through the variance is missing.",
    hint="Double every x − μ: the output stays the same (but for ε). What does that say about the gradient?",
)
batch_norm_backward.slip(
    "mean taken for a constant",
    right_way_back,
    "by_normal - by_normal.mean(axis=0) - normal",
    "by_normal - normal",
    cause="The way through the variance is there, the one through the mean is missing.",
    hint="Add the same number to every x of a feature: the output stays. What must the gradients by x add up to?",
)
batch_norm_backward.slip(
    "scale forgotten on the way back",
    right_way_back,
    "by_normal = gradient * scale",
    "by_normal = gradient",
    cause="The gradient passes the scale γ without being multiplied by it.",
    hint="y = γ·x̂ + β: what is the slope of y by x̂?",
)
batch_norm_backward.slip(
    "not divided by the deviation",
    right_way_back,
    "by_x = inner / deviation",
    "by_x = inner",
    cause="The last step back, through the division by σ, is missing.",
    hint="Make x ten times as large: the output stays the same. What happens to the gradient by x?",
)
batch_norm_backward.slip(
    "scale's gradient from x itself",
    right_way_back,
    "(gradient * normal).sum(axis=0)",
    "(gradient * x).sum(axis=0)",
    cause="The gradient by the scale uses x; what is scaled is the *normalised* x.",
    hint="y = γ·x̂ + β: what is the slope of y by γ?",
)
batch_norm_backward.slip(
    "averaged for scale and shift",
    right_way_back,
    "(gradient * normal).sum(axis=0), gradient.sum(axis=0)",
    "(gradient * normal).mean(axis=0), gradient.mean(axis=0)",
    cause="The gradients of the rows are averaged; γ and β are used in every row, so they add up.",
    hint="Nudge β: in how many rows does the output move?",
)
batch_norm_backward.slip(
    "unbiased variance",
    right_way_back,
    "x.var(axis=0)",
    "x.var(axis=0, ddof=1)",
    cause="The variance is divided by n − 1; batch norm divides by n.",
    hint="Print your normalised x for two rows: they should be ±1, nearly.",
)
batch_norm_backward.slip(
    "epsilon outside the root",
    right_way_back,
    "np.sqrt(x.var(axis=0) + epsilon)",
    "np.sqrt(x.var(axis=0)) + epsilon",
    cause="ε is added to the root; batch norm adds it to the variance.",
    hint="Read the formula again: what stands under the root?",
)
