"""The exercises on networks of two layers: one that is given its weights, and one whose weights are found by hand."""

import numpy as np

from autograder.exercise import Case, Exercise
from autograder.exercises.perceptron.learning import CORNERS
from ml_course import perceptron

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
