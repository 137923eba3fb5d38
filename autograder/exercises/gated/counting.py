"""Two exercises with numbers alone: how many parameters a gated network has, and which bias keeps for how long."""

import math

import torch

from autograder.exercise import Case, Exercise
from ml_course import gated

READY_MADE = ("LSTM", "LSTMCell", "lstm", "lstm_cell", "GRU", "GRUCell", "gru", "gru_cell")

# count_parameters


def counted_in_the_library(gates, features, hidden, layers, bidirectional):
    """A layer that is built without its numbers, and asked."""
    with torch.device("meta"):
        layer = {3: gated.GRU, 4: gated.LSTM}[gates](features, hidden, layers=layers, bidirectional=bidirectional)
    return sum(parameter.numel() for parameter in layer.parameters())


count_parameters = Exercise(
    "gated.count_parameters",
    reference=counted_in_the_library,
    facets={"one layer": 1, "stacked and bidirectional": 1},
    difficulty=1,
    minutes=10,
    forbidden=READY_MADE,
)


@count_parameters.cases
def count_cases(rng):
    def inputs(gates, layers=1, bidirectional=False):
        features, hidden = (int(number) for number in rng.permutation(range(2, 40))[:2])
        return dict(gates=gates, features=features, hidden=hidden, layers=layers, bidirectional=bidirectional)

    more = "stacked and bidirectional"
    yield Case("an LSTM", **inputs(4))
    yield Case("a GRU", **inputs(3))
    yield Case("one input, one number of state", gates=4, features=1, hidden=1, layers=1, bidirectional=False)
    yield Case("two layers", more, **inputs(4, 2))
    yield Case("a tall stack", more, **inputs(3, int(rng.integers(4, 9))))
    yield Case("both directions", more, **inputs(4, 1, True))
    yield Case("two layers in both directions", more, **inputs(3, 2, True))
    yield Case("a tall stack in both directions", more, **inputs(4, int(rng.integers(3, 7)), True))


@count_parameters.probe
def ask_count(answer, gates, features, hidden, layers, bidirectional):
    return {"parameters": float(answer(gates, features, hidden, layers, bidirectional))}


@count_parameters.alternative
def layer_by_layer(gates, features, hidden, layers, bidirectional):
    total, width = 0, features
    for _ in range(layers):
        for _ in range(2 if bidirectional else 1):
            total += gates * hidden * width + gates * hidden * hidden + 2 * gates * hidden
        width = 2 * hidden if bidirectional else hidden
    return total


@count_parameters.alternative
def in_one_formula(gates, features, hidden, layers, bidirectional):
    d = 2 if bidirectional else 1
    return gates * hidden * d * (features + (layers - 1) * d * hidden + layers * (hidden + 2))


@count_parameters.alternative
def shape_by_shape(gates, features, hidden, layers, bidirectional):
    shapes = []
    for layer in range(layers):
        below = features if layer == 0 else hidden * (1 + int(bidirectional))
        shapes += (1 + int(bidirectional)) * [
            (gates * hidden, below),
            (gates * hidden, hidden),
            (gates * hidden, 1),
            (gates * hidden, 1),
        ]
    return sum(rows * columns for rows, columns in shapes)


count_parameters.slip(
    "one bias only",
    layer_by_layer,
    "2 * gates * hidden\n",
    "gates * hidden\n",
    cause="One bias is counted; torch keeps two, one beside each matrix.",
    hint="List the four parameters of one layer by name.",
)
count_parameters.slip(
    "no recurrent weights",
    layer_by_layer,
    " + gates * hidden * hidden",
    "",
    cause="The matrix that reads the old state is not counted.",
    hint="Each weighted sum reads two vectors: the input, and …?",
)
count_parameters.slip(
    "one weighted sum",
    layer_by_layer,
    "gates * hidden * width + gates * hidden * hidden + 2 * gates * hidden",
    "hidden * width + hidden * hidden + 2 * hidden",
    cause="This counts Elman's network: the gates have weights of their own.",
    hint="Which of the arguments is not used?",
)
count_parameters.slip(
    "every layer reads the input",
    layer_by_layer,
    "width = 2 * hidden if bidirectional else hidden",
    "width = features",
    cause="Every layer is counted as if it read the input; the second reads the outputs of the first.",
    hint="How long is a vector that comes out of the first layer?",
)
count_parameters.slip(
    "second layer reads one direction",
    layer_by_layer,
    "width = 2 * hidden if bidirectional else hidden",
    "width = hidden",
    cause="The second layer reads both directions of the first, side by side, in each of its own directions.",
    hint="How long is an output of a bidirectional layer?",
)
count_parameters.slip(
    "both directions share their weights",
    layer_by_layer,
    "range(2 if bidirectional else 1)",
    "range(1)",
    cause="The two directions are counted once, but each has weights of its own.",
    hint="The parameters whose names end with _reverse are parameters too.",
)

# memory_bias


memory_bias = Exercise(
    "gated.memory_bias",
    reference=gated.memory_bias,
    facets={"values": 2, "very long": 1},
    difficulty=2,
    minutes=15,
)


@memory_bias.cases
def bias_cases(rng):
    yield Case("half is left after some steps", steps=int(rng.integers(5, 50)), share=0.5)
    yield Case("any share", steps=int(rng.integers(5, 50)), share=float(rng.uniform(0.1, 0.9)))
    yield Case("a hundredth after a hundred steps", steps=100, share=0.01)
    yield Case("one step", steps=1, share=float(rng.uniform(0.55, 0.9)))
    yield Case("soon forgotten: a negative bias", steps=2, share=float(rng.uniform(0.01, 0.1)))
    long = "very long"
    yield Case("a million steps", long, steps=1_000_000, share=0.5)
    yield Case("so long that the gate rounds to 1", long, steps=10**18, share=float(rng.uniform(0.2, 0.8)))


@memory_bias.probe
def ask_bias(answer, steps, share):
    return {"bias": float(answer(steps, share))}


def by_the_inverse_of_the_sigmoid(steps, share):
    gate = share ** (1 / steps)
    return math.log(gate) - math.log(-math.expm1(math.log(share) / steps))


@memory_bias.alternative
def gate_and_its_rest(steps, share):
    exponent = math.log(share) / steps
    rest = -math.expm1(exponent)  # 1 − gate, without rounding the gate first
    return exponent - math.log(rest)


@memory_bias.alternative
def with_torch(steps, share):
    exponent = torch.log(torch.tensor(share, dtype=torch.float64)) / steps
    return (exponent - torch.log(-torch.expm1(exponent))).item()


memory_bias.slip(
    "the gate itself",
    by_the_inverse_of_the_sigmoid,
    "return math.log(gate) - math.log(-math.expm1(math.log(share) / steps))",
    "return gate",
    cause="This is the gate, between 0 and 1, not the bias that a sigmoid turns into it.",
    hint="If σ(b) = f, what is b? Solve f = 1/(1 + e^(−b)).",
)
memory_bias.slip(
    "one step only",
    by_the_inverse_of_the_sigmoid,
    "return math.log(gate) - math.log(-math.expm1(math.log(share) / steps))",
    "return math.log(share) - math.log(1 - share)",
    cause="This gate leaves the share after one step; it is multiplied in `steps` times.",
    hint="If half is left after two steps, how much is left after one?",
)
memory_bias.slip(
    "sign of the bias",
    by_the_inverse_of_the_sigmoid,
    "return math.log(gate) - math.log(-math.expm1(math.log(share) / steps))",
    "return math.log(-math.expm1(math.log(share) / steps)) - math.log(gate)",
    cause="The sign is wrong: this bias leaves the gate nearly closed.",
    hint="Is a gate of 0.9 behind a positive or a negative bias?",
)


@memory_bias.mistake(hint="After two steps with gate f there is f·f left. What has to be multiplied, not added?")
def share_divided_by_the_steps(steps, share):
    """The loss is shared out equally over the steps; but what is lost is always a share of what is still there."""
    gate = 1 - (1 - share) / steps
    return math.log(gate) - math.log((1 - share) / steps)


@memory_bias.mistake(hint="The gate to the power of `steps` is the share. Solve for the gate.")
def steps_as_the_exponent(steps, share):
    """The share is raised to the power of the steps; asked for is the root: which number, so often multiplied?"""
    gate = share**steps
    return math.log(gate / (1 - gate))


def gate_first(steps, share):
    gate = share ** (1 / steps)
    return math.log(gate / (1 - gate))


for label, formula in {
    "rounded before it is subtracted": "math.log(gate / (1 - gate))",
    "rounded, and 0 has no logarithm": "math.log(gate) - math.log(1 - gate)",
    "rounded, and so infinite": "torch.tensor(gate, dtype=torch.float64).logit().item()",
}.items():
    memory_bias.slip(
        label,
        gate_first,
        "math.log(gate / (1 - gate))",
        formula,
        cause="The gate comes first and is subtracted from 1 afterwards; near 1 nothing but rounding is left of that.",
        hint="What does Python say to 0.5 ** (1 / 10**18), and to 1 minus it?",
    )
