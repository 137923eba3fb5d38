"""The bank of the perceptron's exercises: what each asks, accepts, refuses and diagnoses."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import perceptron

CORNERS = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


# One neuron.

neuron_output = Exercise(
    "perceptron.neuron_output",
    difficulty=1,
    minutes=10,
    reference=perceptron.neuron_output,
    facets={"values": 1, "boundary": 1, "dtype": 1},
)


@neuron_output.cases
def neuron_output_cases(rng):
    for label, samples, features in (
        ("a few points", 6, int(rng.integers(2, 5))),
        ("many points", 40, int(rng.integers(5, 9))),
        ("one point, one feature", 1, 1),
    ):
        points = rng.normal(size=(samples, features))
        # A bias as large as a typical sum, so that forgetting it shows.
        yield Case(label, points=points, weights=rng.normal(size=features), bias=float(rng.choice([-2, 2])))
    points = rng.integers(-3, 4, size=(5, 3)).astype(float)
    points[0, 0] = 2.0
    weights = np.array([2.0, -1.0, 3.0])
    yield Case(
        "the first sum is exactly zero", "boundary", points=points, weights=weights, bias=-float(points[0] @ weights)
    )
    yield Case("all weights zero", "boundary", points=points, weights=np.zeros(3), bias=0.0)


@neuron_output.probe
def neuron_output_probe(answer, points, weights, bias):
    return {"answers": answer(points, weights, bias)}


@neuron_output.alternative
def one_matrix_product(points, weights, bias):
    return np.where(points @ weights + bias >= 0, 1, -1)


@neuron_output.alternative
def from_truth_to_signs(points, weights, bias):
    fires = np.einsum("nf,f->n", points, weights) >= -bias
    return 2 * fires.astype(int) - 1


@neuron_output.mistake(
    hint="What does your neuron answer to the point (0, 0)? Which of its numbers should decide that?"
)
def bias_forgotten(points, weights, bias):
    """The bias is not added to the weighted sum."""
    return np.where(points @ weights >= 0, 1, -1)


@neuron_output.mistake(hint="A large positive bias should make the neuron more eager to answer +1, not less.")
def bias_taken_for_the_threshold(points, weights, bias):
    """The sum is compared with b, as if b were the threshold; the threshold is −b."""
    return np.where(points @ weights >= bias, 1, -1)


@neuron_output.mistake(hint="Look at the two values the contract allows as an answer.")
def zeros_for_minus_ones(points, weights, bias):
    """The answers are 0 and 1 where −1 and +1 are asked."""
    return (points @ weights + bias >= 0).astype(int)


@neuron_output.mistake(hint="Read the sign between the sum and zero in the formula once more.")
def strictly_above_zero(points, weights, bias):
    """A sum of exactly zero is answered with −1; it already reaches the threshold."""
    return np.where(points @ weights + bias > 0, 1, -1)


@neuron_output.mistake(hint="Try np.sign(0.0), and look at the type of what it returns.")
def sign_of_zero(points, weights, bias):
    """`np.sign` makes a third answer, 0, of a sum that is exactly zero, and returns floating-point numbers."""
    return np.sign(points @ weights + bias)


@neuron_output.mistake(hint="The neuron says yes or no. What turns the sum into that?")
def sum_without_threshold(points, weights, bias):
    """The weighted sum itself is returned; no threshold is applied."""
    return points @ weights + bias


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


# An activation.


def leaky_relu_pair(z, slope=0.01):
    """The library's leaky ReLU and its derivative, with the answer's signature."""
    return perceptron.leaky_relu(z, slope), perceptron.leaky_relu_derivative(z, slope)


leaky_relu = Exercise(
    "perceptron.leaky_relu",
    difficulty=1,
    minutes=10,
    reference=leaky_relu_pair,
    facets={"values": 1, "gradients": 1, "dtype": 1, "no side effects": 1},
    forbidden=("leaky_relu", "LeakyReLU", "prelu", "rrelu"),
)


@leaky_relu.cases
def leaky_relu_cases(rng):
    yield Case("a row of numbers", z=rng.normal(size=int(rng.integers(5, 12))), slope=float(rng.uniform(0.05, 0.5)))
    yield Case("a matrix, slope not given", z=rng.normal(size=(3, 4)), slope=None)
    yield Case("corner at zero", z=np.array([-1.0, 0.0, 1.0]), slope=0.2)
    yield Case("large numbers", z=np.array([-1e300, 1e300]), slope=0.5)
    yield Case("slope 0 is ReLU", z=rng.normal(size=6), slope=0.0)
    yield Case("nothing at all", z=np.zeros((0, 2)), slope=0.1)
    yield Case("float32", "dtype", z=rng.normal(size=(2, 5)).astype(np.float32), slope=0.1)


@leaky_relu.probe
def leaky_relu_probe(answer, z, slope):
    value, derivative = answer(z) if slope is None else answer(z, slope)
    return {"value": value, "gradient": derivative}


@leaky_relu.alternative
def maximum_as_on_the_slides(z, slope=0.01):
    return np.maximum(slope * z, z), np.where(z > 0, 1, slope).astype(z.dtype)


@leaky_relu.alternative
def by_filling_in(z, slope=0.01):
    value, derivative = z.copy(), np.ones_like(z)
    value[z <= 0] *= slope
    derivative[z <= 0] = slope
    return value, derivative


def right_leaky_relu(z, slope=0.01):
    value = np.where(z > 0, z, slope * z)
    derivative = np.where(z > 0, 1, slope).astype(z.dtype)
    return value, derivative


leaky_relu.slip(
    "wrong side leaks",
    right_leaky_relu,
    "np.where(z > 0, z, slope * z)",
    "np.where(z > 0, slope * z, z)",
    cause="The positive side is scaled and the negative one let through.",
    hint="Evaluate your function at z = 10: should it be 10 or nearly nothing?",
)
leaky_relu.slip(
    "nothing leaks",
    right_leaky_relu,
    "np.where(z > 0, z, slope * z)",
    "np.where(z > 0, z, 0)",
    cause="This is plain ReLU: negative numbers become zero instead of slope·z.",
    hint="What is the name of the second argument for?",
)
leaky_relu.slip(
    "derivative of plain ReLU",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z > 0, 1, 0)",
    cause="The derivative is zero on the negative side, as for plain ReLU.",
    hint="How steep is the line slope·z?",
)
leaky_relu.slip(
    "derivative still has z in it",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z > 0, 1, slope * z)",
    cause="The derivative of slope·z is given as slope·z.",
    hint="Differentiate slope·z by z.",
)
leaky_relu.slip(
    "corner belongs to the right",
    right_leaky_relu,
    "np.where(z > 0, 1, slope)",
    "np.where(z >= 0, 1, slope)",
    cause="At z = 0 the derivative is 1; the contract takes the left-hand one, slope, as torch does.",
    hint="Look at what the task says of the corner.",
)
leaky_relu.slip(
    "derivative always float64",
    right_leaky_relu,
    ".astype(z.dtype)",
    ".astype(float)",
    cause="The derivative comes as float64 even when z is float32.",
    hint="Print the dtype of both results for a float32 input.",
)
leaky_relu.slip(
    "slope ignored",
    right_leaky_relu,
    "value = np.where(z > 0, z, slope * z)",
    "slope = 0.01\n    value = np.where(z > 0, z, slope * z)",
    cause="The slope is 0.01 whatever was asked for.",
    hint="Call your function with slope = 0.5.",
)


@leaky_relu.mistake(hint="Is your result a new array, or the one you were given?")
def overwrites_its_input(z, slope=0.01):
    """The input itself is changed: the negative numbers are scaled in place."""
    derivative = np.where(z > 0, 1, slope).astype(z.dtype)
    z[z < 0] *= slope
    return z, derivative


# Two layers.


def forward_of_the_library(points, hidden_weights, hidden_bias, output_weights, output_bias):
    """The library's network, with the answer's signature."""
    network = perceptron.MLP((hidden_weights.shape[1], len(hidden_bias), len(output_bias)), "tanh")
    network.weights, network.biases = [hidden_weights, output_weights], [hidden_bias, output_bias]
    return network.forward(points)[1][1], network.predict_proba(points)


two_layer_forward = Exercise(
    "perceptron.two_layer_forward",
    difficulty=2,
    minutes=15,
    reference=forward_of_the_library,
    facets={"values": 3, "stability": 2},
    forbidden=("softmax", "log_softmax", "Linear", "linear"),
)


@two_layer_forward.cases
def two_layer_forward_cases(rng):
    def inputs(samples, features, hidden, classes, scale=1.0):
        return {
            "points": rng.normal(size=(samples, features)),
            "hidden_weights": rng.normal(size=(hidden, features)),
            "hidden_bias": rng.normal(size=hidden),
            "output_weights": scale * rng.normal(size=(classes, hidden)),
            "output_bias": scale * rng.normal(size=classes),
        }

    yield Case("a small batch", **inputs(4, 3, 5, 2))
    yield Case("all sizes equal", **inputs(3, 3, 3, 3))
    yield Case("random sizes", **inputs(*map(int, rng.integers(2, 9, size=4))))
    yield Case("one sample, one hidden neuron, one class", **inputs(1, 2, 1, 1))
    yield Case("sums in the thousands", "stability", **inputs(5, 3, 4, 3, scale=3000.0))
    far = inputs(2, 1, 1, 2)
    far |= {"points": np.array([[-9.0], [9.0]]), "hidden_weights": np.array([[1.0]]), "hidden_bias": np.zeros(1)}
    far |= {"output_weights": np.array([[800.0], [801.0]])}  # one row's sums lie far below the other's
    yield Case("rows far apart", "stability", **far)


@two_layer_forward.probe
def two_layer_forward_probe(answer, points, hidden_weights, hidden_bias, output_weights, output_bias):
    hidden, probabilities = answer(points, hidden_weights, hidden_bias, output_weights, output_bias)
    return {"hidden": hidden, "probabilities": probabilities}


@two_layer_forward.alternative
def sample_by_sample(points, hidden_weights, hidden_bias, output_weights, output_bias):
    all_hidden, all_probabilities = [], []
    for x in points:
        hidden = np.tanh(hidden_weights @ x + hidden_bias)
        sums = output_weights @ hidden + output_bias
        grown = np.exp(sums - sums.max())
        all_hidden.append(hidden)
        all_probabilities.append(grown / grown.sum())
    return np.array(all_hidden), np.array(all_probabilities)


@two_layer_forward.alternative
def through_the_log_of_the_sum(points, hidden_weights, hidden_bias, output_weights, output_bias):
    hidden = np.tanh(np.einsum("nf,hf->nh", points, hidden_weights) + hidden_bias)
    sums = np.einsum("nh,ch->nc", hidden, output_weights) + output_bias
    return hidden, np.exp(sums - np.logaddexp.reduce(sums, axis=1, keepdims=True))


def right_forward(points, hidden_weights, hidden_bias, output_weights, output_bias):
    hidden = np.tanh(points @ hidden_weights.T + hidden_bias)
    sums = hidden @ output_weights.T + output_bias
    grown = np.exp(sums - sums.max(axis=1, keepdims=True))
    return hidden, grown / grown.sum(axis=1, keepdims=True)


two_layer_forward.slip(
    "no activation between the layers",
    right_forward,
    "np.tanh(points @ hidden_weights.T + hidden_bias)",
    "points @ hidden_weights.T + hidden_bias",
    cause="The hidden layer has no activation, so the two layers are worth no more than one.",
    hint="What is H in the formula, apart from a weighted sum?",
)
two_layer_forward.slip(
    "activation on the output too",
    right_forward,
    "sums = hidden @ output_weights.T + output_bias",
    "sums = np.tanh(hidden @ output_weights.T + output_bias)",
    cause="tanh is applied to the last layer as well, before softmax.",
    hint="Which values can reach your softmax? Should they be confined to (−1, 1)?",
)
two_layer_forward.slip(
    "hidden bias forgotten",
    right_forward,
    "points @ hidden_weights.T + hidden_bias",
    "points @ hidden_weights.T",
    cause="The bias of the hidden layer is not added.",
    hint="Which of your arguments is never used?",
)
two_layer_forward.slip(
    "weights not transposed",
    right_forward,
    "points @ hidden_weights.T",
    "points @ hidden_weights",
    cause="A batch of rows needs X Wᵀ, since each *row* of W is a neuron; here it is X W.",
    hint="Write down both shapes: which axis should be summed over?",
)
two_layer_forward.slip(
    "softmax over the samples",
    right_forward,
    "grown.sum(axis=1, keepdims=True)",
    "grown.sum(axis=0, keepdims=True)",
    cause="The probabilities add up to one over the samples, not over the classes of each sample.",
    hint="Sum your probabilities along each axis. Which sums should be 1?",
)
two_layer_forward.slip(
    "exponentials overflow",
    right_forward,
    "np.exp(sums - sums.max(axis=1, keepdims=True))",
    "np.exp(sums)",
    cause="The sums go into the exponential as they are, and e¹⁰⁰⁰ is infinite.",
    hint="What may be subtracted from all sums of a row without changing its probabilities?",
)
two_layer_forward.slip(
    "one maximum for all rows",
    right_forward,
    "sums.max(axis=1, keepdims=True)",
    "sums.max()",
    cause="The largest sum of the whole batch is subtracted, so a row far below it becomes 0/0.",
    hint="Each row has its own softmax. Should one row's size matter to another's?",
)


# A network by hand.


def xor_learned_piecewise():
    """One of many right networks. The library's neurons learn its parts from examples: OR, NAND, and AND of the two."""
    x, y = CORNERS.T > 0
    either, not_both, both = (
        perceptron.LogisticNeuron().fit(CORNERS, np.where(wanted, 1, -1)) for wanted in (x | y, ~(x & y), x & y)
    )
    return np.stack([either.weights, not_both.weights]), np.array([either.bias, not_both.bias]), both.weights, both.bias


xor_network = Exercise(
    "perceptron.xor_network",
    difficulty=2,
    minutes=15,
    reference=xor_learned_piecewise,
    facets={"values": 3, "robust": 1},
    equivalent_mutants={
        "return (hidden_weights, hidden_bias, output_weights, -2.0) → "
        "return (hidden_weights, hidden_bias, output_weights, -4.0)": "another right network: 2 + 2 − 4 is zero too"
    },
)


@xor_network.cases
def xor_network_cases(rng):
    yield Case("the four corners", points=CORNERS)
    shaken = CORNERS.repeat(50, axis=0)
    yield Case("inputs off by up to 0.2", "robust", points=shaken + rng.uniform(-0.2, 0.2, size=shaken.shape))


@xor_network.probe
def xor_network_probe(answer, points):
    import numpy as np

    hidden_weights, hidden_bias, output_weights, output_bias = answer()
    return {
        "hidden_weights": np.asarray(hidden_weights, dtype=float),
        "hidden_bias": np.asarray(hidden_bias, dtype=float),
        "output_weights": np.asarray(output_weights, dtype=float),
        "output_bias": np.asarray(output_bias, dtype=float),
    }


@xor_network.judge
def xor_network_judge(inputs, got, want):
    """Any weights will do: the network is run here and its answers compared with XOR."""
    for key, wanted in want.items():
        weights = got.get(key)
        if not isinstance(weights, np.ndarray) or weights.shape != wanted.shape:
            shape = weights.shape if isinstance(weights, np.ndarray) else "nothing"
            yield key, f"{key}: expected shape {wanted.shape}, got {shape}"
            return
        if not np.isfinite(weights).all():
            yield key, f"{key}: expected finite numbers, got {weights.tolist()}"
            return
    points = inputs["points"]
    hidden = np.where(points @ got["hidden_weights"].T + got["hidden_bias"] >= 0, 1, -1)
    answers = np.where(hidden @ got["output_weights"] + got["output_bias"] >= 0, 1, -1)
    wrong = np.flatnonzero(answers != np.where(np.prod(points, axis=1) < 0, 1, -1))
    if len(wrong):
        first = wrong[0]
        point, layer = ", ".join(f"{x:+.3g}" for x in points[first]), ", ".join(f"{h:+d}" for h in hidden[first])
        yield (
            "output_bias",
            f"{len(wrong)} of {len(points)} answers are wrong: to ({point}) the hidden neurons say ({layer}) "
            f"and the network {answers[first]:+d}",
        )


@xor_network.alternative
def one_but_not_the_other():
    return np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([-1.0, -1.0]), np.array([1.0, 1.0]), 1.0


@xor_network.alternative
def either_but_not_both():
    return [[2, 2], [3, 3]], [2, -3], [1, -1], -1


@xor_network.mistake(hint="Make a table of the two hidden answers for all four inputs. Which rows differ?")
def both_hidden_neurons_alike():
    """Both hidden neurons compute OR, so the second adds nothing to the first."""
    return np.array([[1.0, 1.0], [1.0, 1.0]]), np.array([1.0, 1.0]), np.array([1.0, 1.0]), -1.0


@xor_network.mistake(hint="When should the output neuron fire: if one of its inputs does, or only if both do?")
def output_is_or():
    """The output neuron computes OR of the hidden answers where AND is needed, so it always fires."""
    return np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([1.0, 1.0]), np.array([1.0, 1.0]), 1.0


@xor_network.mistake(hint="What does your network answer to two equal inputs? What should it?")
def the_opposite():
    """The network answers +1 where the inputs are equal: that is XNOR, the opposite."""
    return np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([1.0, 1.0]), np.array([-1.0, -1.0]), 1.0


@xor_network.mistake(hint="Which two values do the inputs and the hidden answers take here?")
def made_for_zeros_and_ones():
    """These weights solve XOR for signals 0 and 1; here the signals are −1 and +1."""
    return np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([-0.5, 1.5]), np.array([1.0, 1.0]), -1.5


@xor_network.mistake(hint="How far can an input move before a sum changes its sign? Leave room on both sides.")
def balanced_on_the_edge():
    """Some sums are exactly zero at the corners, so the smallest disturbance of an input changes the answer."""
    return np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([0.0, 0.0]), np.array([1.0, 1.0]), -1.0


# Softmax regression.

softmax_regression_gradient = Exercise(
    "perceptron.softmax_regression_gradient",
    difficulty=3,
    minutes=25,
    reference=perceptron.softmax_regression_gradient,
    facets={"values": 3, "stability": 1},
    forbidden=("softmax", "log_softmax", "cross_entropy", "CrossEntropyLoss", "backward", "grad"),
)


@softmax_regression_gradient.cases
def softmax_regression_gradient_cases(rng):
    def inputs(samples, features, classes, scale=1.0):
        return {
            "weights": scale * rng.normal(size=(classes, features)),
            "bias": scale * rng.normal(size=classes),
            "points": rng.normal(size=(samples, features)),
            "labels": rng.integers(0, classes, size=samples),
        }

    yield Case("three classes", **inputs(6, 2, 3))
    yield Case("as many samples as classes", **inputs(4, 3, 4))
    yield Case("random sizes", **inputs(*map(int, rng.integers(2, 9, size=3))))
    yield Case("one sample", **inputs(1, 3, 4))
    yield Case("a class that does not occur", **(inputs(5, 2, 4) | {"labels": np.array([0, 2, 2, 0, 2])}))
    yield Case("sums in the thousands", "stability", **inputs(8, 3, 4, scale=3000.0))


@softmax_regression_gradient.probe
def softmax_regression_gradient_probe(answer, weights, bias, points, labels):
    by_weights, by_bias = answer(weights, bias, points, labels)
    return {"by_weights": by_weights, "by_bias": by_bias}


def right_gradient(weights, bias, points, labels):
    sums = points @ weights.T + bias
    grown = np.exp(sums - sums.max(axis=1, keepdims=True))
    error = grown / grown.sum(axis=1, keepdims=True)
    error[np.arange(len(labels)), labels] -= 1
    return error.T @ points / len(points), error.mean(axis=0)


@softmax_regression_gradient.alternative
def with_one_hot_rows(weights, bias, points, labels):
    sums = np.einsum("nf,cf->nc", points, weights) + bias
    sums = sums - sums.max(axis=-1)[:, None]
    probabilities = np.exp(sums) / np.exp(sums).sum(-1)[:, None]
    error = (probabilities - np.eye(len(bias))[labels]) / len(labels)
    return np.einsum("nc,nf->cf", error, points), error.sum(0)


@softmax_regression_gradient.alternative
def one_class_after_another(weights, bias, points, labels):
    sums = points @ weights.T + bias
    log_total = np.logaddexp.reduce(sums, axis=1)
    by_weights, by_bias = np.zeros_like(weights), np.zeros_like(bias)
    for k in range(len(bias)):
        error = np.exp(sums[:, k] - log_total) - (labels == k)
        by_weights[k] = (error[:, None] * points).mean(axis=0)
        by_bias[k] = error.mean()
    return by_weights, by_bias


softmax_regression_gradient.slip(
    "not averaged",
    right_gradient,
    "error.T @ points / len(points), error.mean(axis=0)",
    "error.T @ points, error.sum(axis=0)",
    cause="The gradients of the samples are added up; the loss is their mean.",
    hint="Repeat every sample twice: the mean loss stays the same. Does your gradient?",
)
softmax_regression_gradient.slip(
    "bias not averaged",
    right_gradient,
    "error.mean(axis=0)",
    "error.sum(axis=0)",
    cause="The gradient by the weights is averaged over the samples, the one by the bias is not.",
    hint="The bias is the weight of an input that is always 1: treat it like the other weights.",
)
softmax_regression_gradient.slip(
    "uphill",
    right_gradient,
    "return error.T @ points / len(points), error.mean(axis=0)",
    "return -error.T @ points / len(points), -error.mean(axis=0)",
    cause="This is Y − P, the way downhill; the gradient P − Y points uphill.",
    hint="Should the bias of a class with too much probability grow or shrink? Which sign must its gradient have?",
)
softmax_regression_gradient.slip(
    "one subtracted in every row",
    right_gradient,
    "error[np.arange(len(labels)), labels] -= 1",
    "error[:, labels] -= 1",
    cause="`error[:, labels]` picks those columns in *all* rows, not one entry in each row.",
    hint="Each sample has one true class. How many entries of each row does your line change?",
)
softmax_regression_gradient.slip(
    "labels left out",
    right_gradient,
    "error[np.arange(len(labels)), labels] -= 1",
    "error = error + 0",
    cause="The true classes are never subtracted, so the labels play no part.",
    hint="Which of your arguments is never used?",
)
softmax_regression_gradient.slip(
    "softmax over samples",
    right_gradient,
    "grown.sum(axis=1, keepdims=True)",
    "grown.sum(axis=0, keepdims=True)",
    cause="The probabilities add up to one over the samples, not over the classes.",
    hint="Sum your probabilities along each axis. Which sums should be 1?",
)
softmax_regression_gradient.slip(
    "overflow",
    right_gradient,
    "np.exp(sums - sums.max(axis=1, keepdims=True))",
    "np.exp(sums)",
    cause="The sums go into the exponential as they are, and e¹⁰⁰⁰ is infinite.",
    hint="What may be subtracted from all sums of a row without changing its probabilities?",
)
