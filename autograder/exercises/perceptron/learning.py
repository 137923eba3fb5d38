"""The exercises on Rosenblatt's rule: one step of it, and pass after pass until no mistake is left."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import perceptron

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])

# One step of Rosenblatt's rule.

learning_step = Exercise(
    "perceptron.learning_step",
    difficulty=1,
    minutes=10,
    reference=perceptron.learning_step,
    facets={"values": 2, "right answers": 1, "no side effects": 1},
)


@learning_step.cases
def learning_step_cases(rng):
    for right, facet in ((False, "values"), (True, "right answers")):
        for label in (1, -1):
            features = int(rng.integers(2, 6))
            weights, point, bias = rng.normal(size=features), rng.normal(size=features), float(rng.normal())
            sign = label if right else -label
            if (weights @ point + bias) * sign < 0:
                weights, bias = -weights, -bias
            name = f"label {label:+d}, answered {'right' if right else 'wrong'}"
            yield Case(name, facet, weights=weights, bias=bias, point=point, label=label)
    point = rng.normal(size=3)
    yield Case("the very first step, label -1", weights=np.zeros(3), bias=0.0, point=point, label=-1)
    yield Case(
        "sum exactly zero, label +1",
        "right answers",
        weights=np.array([2.0, 1.0]),
        bias=-4.0,
        point=np.array([1.0, 2.0]),
        label=1,
    )


@learning_step.probe
def learning_step_probe(answer, weights, bias, point, label):
    import numpy as np

    new_weights, new_bias = answer(weights, bias, point, label)
    return {"weights": new_weights, "bias": np.asarray(new_bias, dtype=float)}


@learning_step.alternative
def half_the_error(weights, bias, point, label):
    output = 1 if np.dot(weights, point) + bias >= 0 else -1
    step = (label - output) / 2
    return weights + step * point, bias + step


@learning_step.alternative
def bias_as_one_more_weight(weights, bias, point, label):
    extended, one_more = np.append(weights, bias), np.append(point, 1.0)
    answer = 1 if extended @ one_more >= 0 else -1
    if answer != label:
        extended = extended + label * one_more
    return extended[:-1], extended[-1]


@learning_step.mistake(hint="What should happen when the neuron already gives the right answer?")
def updates_when_right(weights, bias, point, label):
    """The weights move although the answer was right."""
    return weights + label * point, bias + label


@learning_step.mistake(hint="Compute the sum of the same point after your step: did it move towards the label?")
def sign_flipped(weights, bias, point, label):
    """The step goes away from the label: it is subtracted where it should be added."""
    if (1 if weights @ point + bias >= 0 else -1) != label:
        return weights - label * point, bias - label
    return weights, bias


@learning_step.mistake(
    hint="The rule changes two things. Think of the bias as the weight of an input that is always 1."
)
def bias_stands_still(weights, bias, point, label):
    """The weights learn, the bias does not."""
    if (1 if weights @ point + bias >= 0 else -1) != label:
        return weights + label * point, bias
    return weights, bias


@learning_step.mistake(hint="Print your neuron's answer next to the label: which values can each of them take?")
def answers_of_zero_and_one(weights, bias, point, label):
    """The neuron's answer is coded 0 and 1 while the labels are −1 and +1, so their difference is wrong."""
    error = label - (1 if weights @ point + bias >= 0 else 0)
    return weights + error * point, bias + error


@learning_step.mistake(hint="How large is the difference of −1 and +1?")
def step_twice_as_long(weights, bias, point, label):
    """The step is (y − ŷ)·x, twice as long as y·x, since y − ŷ is −2 or +2 at a mistake."""
    error = label - (1 if weights @ point + bias >= 0 else -1)
    return weights + error * point, bias + error


@learning_step.mistake(
    hint="Which answer does the neuron give when its sum is exactly zero? Compare answers, not sums."
)
def zero_counts_as_a_mistake(weights, bias, point, label):
    """A sum of exactly zero counts as a mistake even where the label is +1, which is what the neuron answers then."""
    if label * (weights @ point + bias) <= 0:
        return weights + label * point, bias + label
    return weights, bias


@learning_step.mistake(hint="`+=` on an array writes into the array you were given.")
def writes_into_the_weights(weights, bias, point, label):
    """The old weights are overwritten, so whoever passed them in loses them."""
    if (1 if weights @ point + bias >= 0 else -1) != label:
        weights += label * point
        bias += label
    return weights, bias


# Pass after pass.


def perceptron_fit(points, labels, max_passes):
    """The library's perceptron, with the answer's signature."""
    neuron = perceptron.Perceptron(max_passes).fit(points, labels)
    return neuron.weights, neuron.bias, neuron.history


fit = Exercise(
    "perceptron.fit",
    difficulty=2,
    minutes=20,
    reference=perceptron_fit,
    facets={"values": 3, "stopping": 2},
    forbidden=("SGDClassifier", "Perceptron"),
)


@fit.cases
def fit_cases(rng):
    for label, samples, features in (("points in the plane", 20, 2), ("five features", 40, 5)):
        points = rng.normal(size=(6 * samples, features))
        plane = rng.normal(size=features)
        sums = points @ plane / np.linalg.norm(plane) + 0.3
        clear = np.flatnonzero(np.abs(sums) > 0.1)[:samples]
        yield Case(label, points=points[clear], labels=np.where(sums[clear] > 0, 1, -1), max_passes=200)
    points = rng.normal(size=(5, 2))
    yield Case("right from the start", "stopping", points=points, labels=np.ones(5, dtype=int), max_passes=10)
    yield Case("one point", "stopping", points=points[:1], labels=np.array([-1]), max_passes=10)
    order = rng.permutation(4)
    labels = np.array([-1, 1, 1, -1])
    yield Case(
        "XOR, no neuron can",
        "stopping",
        points=CORNERS[order],
        labels=labels[order],
        max_passes=int(rng.integers(4, 9)),
    )
    yield Case("one pass allowed", "stopping", points=CORNERS[order], labels=labels[order], max_passes=1)


@fit.probe
def fit_probe(answer, points, labels, max_passes):
    import numpy as np

    weights, bias, history = answer(points, labels, max_passes)
    return {
        "weights": np.asarray(weights, dtype=float),
        "bias": np.asarray(bias, dtype=float),
        "history": [int(mistakes) for mistakes in history],
    }


@fit.alternative
def bias_inside_the_weights(points, labels, max_passes):
    extended = np.column_stack([points, np.ones(len(points))])
    weights = np.zeros(extended.shape[1])
    history = []
    while len(history) < max_passes:
        mistakes = 0
        for i in range(len(points)):
            if (extended[i] @ weights >= 0) != (labels[i] == 1):
                weights += labels[i] * extended[i]
                mistakes += 1
        history.append(mistakes)
        if not mistakes:
            break
    return weights[:-1], weights[-1], history


@fit.alternative
def jump_to_the_next_mistake(points, labels, max_passes):
    weights, bias, history = np.zeros(points.shape[1]), 0, []
    while len(history) < max_passes and 0 not in history:
        at, mistakes = 0, 0
        while True:
            wrong = np.flatnonzero(np.where(points[at:] @ weights + bias >= 0, 1, -1) != labels[at:])
            if wrong.size == 0:
                break
            at += wrong[0]
            weights, bias = weights + labels[at] * points[at], bias + labels[at]
            mistakes, at = mistakes + 1, at + 1
        history.append(mistakes)
    return weights, bias, history


def by_the_rule(points, labels, max_passes):
    weights, bias, history = np.zeros(points.shape[1]), 0.0, []
    for _ in range(max_passes):
        mistakes = 0
        for x, y in zip(points, labels, strict=True):
            if (1 if weights @ x + bias >= 0 else -1) != y:
                weights, bias = weights + y * x, bias + y
                mistakes += 1
        history.append(mistakes)
        if mistakes == 0:
            break
    return weights, bias, history


fit.slip(
    "one pass only",
    by_the_rule,
    "range(max_passes)",
    "range(1)",
    cause="The data are gone through once, whether or not mistakes are left.",
    hint="A later mistake can spoil an earlier right answer. When can you be sure that none is left?",
)
fit.slip(
    "never stops early",
    by_the_rule,
    "if mistakes == 0:",
    "if mistakes < 0:",
    cause="All passes are made although one without a mistake has come.",
    hint="After a pass without a mistake nothing can change any more: what should your loop do then?",
)
fit.slip(
    "clean pass not recorded",
    by_the_rule,
    """        history.append(mistakes)
        if mistakes == 0:
            break
""",
    """        if mistakes == 0:
            break
        history.append(mistakes)
""",
    cause="The last pass, the one without a mistake, is missing from the history.",
    hint="Count the passes made on a single point that is right from the start. Is looking at it not a pass?",
)
fit.slip(
    "bias never learned",
    by_the_rule,
    "weights, bias = weights + y * x, bias + y",
    "weights = weights + y * x",
    cause="The bias stays at zero, so the boundary can only turn around the origin.",
    hint="Learning changes the weights and one more number.",
)


@fit.mistake(hint="The second point of a pass should already meet the weights that the first point has changed.")
def decides_the_whole_pass_at_once(points, labels, max_passes):
    """All points of a pass are answered with the weights from its beginning, and the steps are added up."""
    weights, bias, history = np.zeros(points.shape[1]), 0.0, []
    for _ in range(max_passes):
        wrong = np.where(points @ weights + bias >= 0, 1, -1) != labels
        weights, bias = weights + labels[wrong] @ points[wrong], bias + labels[wrong].sum()
        history.append(wrong.sum())
        if not wrong.any():
            break
    return weights, bias, history


@fit.mistake(hint="How long should the history be after three passes?")
def one_total(points, labels, max_passes):
    """The history is one number for all passes together, not one number for each."""
    weights, bias, total = np.zeros(points.shape[1]), 0.0, 0
    for _ in range(max_passes):
        clean = True
        for x, y in zip(points, labels, strict=True):
            if (1 if weights @ x + bias >= 0 else -1) != y:
                weights, bias, total, clean = weights + y * x, bias + y, total + 1, False
        if clean:
            break
    return weights, bias, [total]
