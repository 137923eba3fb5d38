"""The exercises on one step: of an LSTM, and of a GRU as the lecture writes it."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.exercises.gated.counting import READY_MADE
from autograder.probes import with_gradients
from ml_course import gated

# lstm_step


def lstm_of_the_library(x, h, c, weight_ih, weight_hh, bias):
    """The reference under the homework's signature."""
    return gated.lstm_step(F.linear(x, weight_ih, bias) + F.linear(h, weight_hh), c)


lstm_step = Exercise(
    "gated.lstm_step",
    reference=lstm_of_the_library,
    facets={"values": 3, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
    forbidden=READY_MADE,
    results=("new_h", "new_c"),
)


@lstm_step.cases
def lstm_cases(rng):
    def inputs(batch, features, hidden, dtype=np.float64):
        shapes = dict(
            x=(batch, features),
            h=(batch, hidden),
            c=(batch, hidden),
            weight_ih=(4 * hidden, features),
            weight_hh=(4 * hidden, hidden),
            bias=(4 * hidden,),
        )
        return {name: (0.8 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}

    batch, features, hidden = (int(size) for size in rng.integers(2, 6, size=3))
    yield Case("a batch", **inputs(batch, features, hidden))
    yield Case("input as long as the state", **inputs(3, hidden, hidden))
    yield Case("as many rows as gates", **inputs(4, features, 4))
    yield Case("one row, one number each", **inputs(1, 1, 1))
    large = inputs(2, features, hidden)
    yield Case("a large cell state", **(large | {"c": 3 * large["c"] + 2}))
    yield Case("float32", **inputs(batch, features, hidden, np.float32))


@lstm_step.probe
def ask_lstm_step(answer, **inputs):
    def call(**tensors):
        new_h, new_c = answer(*tensors.values())
        return {"new h": new_h, "new c": new_c}

    return with_gradients(call, **inputs)


def four_pieces(x, h, c, weight_ih, weight_hh, bias):
    i, f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, dim=1)
    new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    new_h = torch.sigmoid(o) * torch.tanh(new_c)
    return new_h, new_c


@lstm_step.alternative
def gate_by_gate(x, h, c, weight_ih, weight_hh, bias):
    n = c.shape[1]
    sums = []
    for gate in range(4):
        rows = slice(gate * n, (gate + 1) * n)
        sums.append(F.linear(x, weight_ih[rows], bias[rows]) + F.linear(h, weight_hh[rows]))
    write, keep, show = sums[0].sigmoid(), sums[1].sigmoid(), sums[3].sigmoid()
    memory = keep * c + write * sums[2].tanh()
    return show * memory.tanh(), memory


@lstm_step.alternative
def one_matrix(x, h, c, weight_ih, weight_hh, bias):
    both = torch.cat([x, h], dim=1) @ torch.cat([weight_ih, weight_hh], dim=1).T + bias
    i, f, g, o = both.unflatten(1, (4, -1)).unbind(1)
    memory = c / (1 + torch.exp(-f)) + torch.tanh(g) / (1 + torch.exp(-i))
    return torch.tanh(memory) / (1 + torch.exp(-o)), memory


@lstm_step.alternative
def row_by_row_and_number_by_number(x, h, c, weight_ih, weight_hh, bias):
    hidden = c.shape[1]
    new_h, new_c = [], []
    for row in range(len(x)):
        sums = weight_ih @ x[row] + weight_hh @ h[row] + bias
        memory = [
            torch.sigmoid(sums[hidden + k]) * c[row, k] + torch.sigmoid(sums[k]) * torch.tanh(sums[2 * hidden + k])
            for k in range(hidden)
        ]
        new_c.append(torch.stack(memory))
        new_h.append(torch.sigmoid(sums[3 * hidden :]) * torch.tanh(new_c[-1]))
    return torch.stack(new_h), torch.stack(new_c)


lstm_step.slip(
    "input and forget gate swapped",
    four_pieces,
    "i, f, g, o =",
    "f, i, g, o =",
    cause="The first quarter is taken for the forget gate; here the input gate comes first.",
    hint="Read the order of the four pieces again. Which one multiplies the old cell state?",
)
lstm_step.slip(
    "candidate and output gate swapped",
    four_pieces,
    "i, f, g, o =",
    "i, f, o, g =",
    cause="The third quarter is taken for the output gate; here it is the candidate.",
    hint="Other libraries have other orders; here the candidate comes before the output gate.",
)
lstm_step.slip(
    "tanh of the cell state forgotten",
    four_pieces,
    "torch.sigmoid(o) * torch.tanh(new_c)",
    "torch.sigmoid(o) * new_c",
    cause="The cell state is shown as it is; it passes a tanh before the output gate.",
    hint="The cell state may grow beyond 1. May the output?",
)
lstm_step.slip(
    "shows the old cell state",
    four_pieces,
    "torch.tanh(new_c)",
    "torch.tanh(c)",
    cause="The output shows the old cell state, so this step's input is heard one step late.",
    hint="In which order are c′ and h′ computed, and which of them is in the other's formula?",
)
lstm_step.slip(
    "tanh inside the memory",
    four_pieces,
    "new_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)\n",
    "new_c = torch.tanh(torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g))\n",
    cause="The new cell state is bent by a tanh, in every step again: the very thing an LSTM avoids.",
    hint="Between c and c′ there is a product and a sum, and nothing else.",
)
lstm_step.slip(
    "candidate through a sigmoid",
    four_pieces,
    "torch.tanh(g)",
    "torch.sigmoid(g)",
    cause="The candidate passes a sigmoid, so the memory can only grow, never fall.",
    hint="Gates lie between 0 and 1. What is written may be negative: which function allows that?",
)
lstm_step.slip(
    "nothing forgotten",
    four_pieces,
    "torch.sigmoid(f) * c",
    "c",
    cause="The forget gate is not used: everything is kept (as in the first LSTM, of 1997).",
    hint="One of the four pieces has no part in your result.",
)
lstm_step.slip(
    "nothing remembered",
    four_pieces,
    "torch.sigmoid(f) * c + ",
    "",
    cause="The old cell state has no part in the new one.",
    hint="Which of the arguments is not used?",
)
lstm_step.slip(
    "gates left open",
    four_pieces,
    "i, f, g, o = (x @ weight_ih.T + h @ weight_hh.T + bias).chunk(4, dim=1)",
    "i, f, g, o = (x @ weight_ih.T + bias).chunk(4, dim=1)",
    cause="The gates see the input only; they read the old output h too.",
    hint="How many products with a matrix are in the formula?",
)
lstm_step.slip(
    "bias forgotten",
    four_pieces,
    " + bias)",
    ")",
    cause="The bias is not added to the weighted sums.",
    hint="Which of the arguments is not used?",
)
lstm_step.slip(
    "gates without sigmoid",
    four_pieces,
    "torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)",
    "f * c + i * torch.tanh(g)",
    cause="Input and forget gate are used as weighted sums: without the sigmoid they are not between 0 and 1.",
    hint="A gate says which share of something passes. May it be 3, or −2?",
)
lstm_step.slip(
    "order of another library",
    four_pieces,
    "i, f, g, o =",
    "f, i, o, g =",
    cause="The four pieces are taken in the order forget, input, output, candidate; here it is another.",
    hint="Read the order of the rows in the text again; libraries differ in it.",
)
lstm_step.slip(
    "c before h",
    four_pieces,
    "return new_h, new_c",
    "return new_c, new_h",
    cause="The two results stand in the wrong order: h′ first, then c′.",
    hint="Which of your two results can be larger than 1?",
)

# gru_step


def gru_of_the_library(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    """The library's step after a translation: torch's layout, and 1 − σ(a) = σ(−a) for the update gate."""
    hidden = h.shape[1]
    weights = torch.cat([reset_weight, -update_weight, candidate_weight])
    bias = torch.cat([reset_bias, -update_bias, torch.zeros_like(reset_bias)])
    from_input = F.linear(x, weights[:, hidden:], bias)
    return gated.gru_step(from_input, h, weights[:, :hidden], reset_after=False)


gru_step = Exercise(
    "gated.gru_step",
    reference=gru_of_the_library,
    facets={"values": 3, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
    forbidden=READY_MADE,
)


@gru_step.cases
def gru_cases(rng):
    def inputs(batch, features, hidden, dtype=np.float64):
        shapes = dict(
            x=(batch, features),
            h=(batch, hidden),
            reset_weight=(hidden, hidden + features),
            update_weight=(hidden, hidden + features),
            candidate_weight=(hidden, hidden + features),
            reset_bias=(hidden,),
            update_bias=(hidden,),
        )
        return {name: (0.8 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}

    batch, features, hidden = (int(size) for size in rng.integers(2, 6, size=3))
    yield Case("a batch", **inputs(batch, features, hidden))
    yield Case("input as long as the state", **inputs(3, hidden, hidden))
    yield Case("as many rows as numbers in the state", **inputs(4, features, 4))
    yield Case("one row, one number each", **inputs(1, 1, 1))
    yield Case("float32", **inputs(batch, features, hidden, np.float32))


@gru_step.probe
def ask_gru_step(answer, **inputs):
    def call(**tensors):
        return {"new state": answer(*tensors.values())}

    return with_gradients(call, **inputs)


def side_by_side(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    both = torch.cat([h, x], dim=1)
    r = torch.sigmoid(both @ reset_weight.T + reset_bias)
    z = torch.sigmoid(both @ update_weight.T + update_bias)
    new = torch.tanh(torch.cat([r * h, x], dim=1) @ candidate_weight.T)
    return (1 - z) * h + z * new


@gru_step.alternative
def two_products_each(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    hidden = h.shape[1]

    def weighted(weight, state):
        return F.linear(state, weight[:, :hidden]) + F.linear(x, weight[:, hidden:])

    reset = (weighted(reset_weight, h) + reset_bias).sigmoid()
    update = (weighted(update_weight, h) + update_bias).sigmoid()
    return torch.lerp(h, weighted(candidate_weight, reset * h).tanh(), update)


@gru_step.alternative
def both_gates_at_once(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    gates = F.linear(
        torch.cat([h, x], 1), torch.cat([reset_weight, update_weight]), torch.cat([reset_bias, update_bias])
    )
    r, z = torch.sigmoid(gates).chunk(2, dim=1)
    candidate = torch.tanh(F.linear(torch.cat([r * h, x], 1), candidate_weight))
    return h + z * (candidate - h)


@gru_step.alternative
def each_row_alone(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    rows = []
    for state, now in zip(h, x, strict=True):
        both = torch.cat([state, now])
        r = 1 / (1 + torch.exp(-(reset_weight @ both + reset_bias)))
        z = 1 / (1 + torch.exp(-(update_weight @ both + update_bias)))
        rows.append(state - z * state + z * torch.tanh(candidate_weight @ torch.cat([r * state, now])))
    return torch.stack(rows)


def both_sides(x, h, reset_weight, update_weight, candidate_weight, reset_bias, update_bias):
    def read(weight, state):
        return torch.cat([state, x], dim=1) @ weight.T

    r = torch.sigmoid(read(reset_weight, h) + reset_bias)
    z = torch.sigmoid(read(update_weight, h) + update_bias)
    return (1 - z) * h + z * torch.tanh(read(candidate_weight, r * h))


gru_step.slip(
    "update gate the other way round",
    side_by_side,
    "(1 - z) * h + z * new",
    "z * h + (1 - z) * new",
    cause="Here z is the share that changes, as in the lecture; you let it be the share that stays, as torch does.",
    hint="Imagine z = 0. What should the new state be, and what is yours?",
)
gru_step.slip(
    "reset after the product",
    side_by_side,
    "torch.tanh(torch.cat([r * h, x], dim=1) @ candidate_weight.T)",
    "torch.tanh(r * (h @ candidate_weight[:, : h.shape[1]].T) + x @ candidate_weight[:, h.shape[1] :].T)",
    cause="The reset gate is applied after the product with the weights, as torch does; here it comes before.",
    hint="What does the candidate's matrix multiply: h, or r⊙h?",
)
gru_step.slip(
    "reset gate not used",
    side_by_side,
    "torch.cat([r * h, x], dim=1)",
    "torch.cat([h, x], dim=1)",
    cause="The candidate reads the whole old state: the reset gate has no effect.",
    hint="One of the arguments has no gradient.",
)
gru_step.slip(
    "input reset too",
    side_by_side,
    "torch.cat([r * h, x], dim=1) @ candidate_weight.T",
    "(torch.cat([r * h, x], dim=1) @ candidate_weight.T) * r",
    cause="The reset gate shortens the contribution of the input too; it is for the old state alone.",
    hint="Imagine r = 0: the candidate should be what the input alone says.",
)
gru_step.slip(
    "gates swapped",
    side_by_side,
    "return (1 - z) * h + z * new",
    "return (1 - r) * h + r * torch.tanh(torch.cat([z * h, x], dim=1) @ candidate_weight.T)",
    cause="Reset and update gate have changed places.",
    hint="Which gate stands inside the candidate, and which one mixes old and new?",
)
gru_step.slip(
    "input before the state",
    both_sides,
    "torch.cat([state, x], dim=1)",
    "torch.cat([x, state], dim=1)",
    cause="The input is put before the state; the weights' first columns belong to the state.",
    hint="The order in [h, x] is the order of the columns. Torch cannot warn you: the lengths fit both ways.",
)
gru_step.slip(
    "candidate through a sigmoid",
    side_by_side,
    "torch.tanh",
    "torch.sigmoid",
    cause="The candidate passes a sigmoid, so the state can never become negative.",
    hint="Gates lie between 0 and 1; what is written may be negative.",
)
gru_step.slip(
    "candidate without tanh",
    side_by_side,
    "torch.tanh(torch.cat([r * h, x], dim=1) @ candidate_weight.T)",
    "torch.cat([r * h, x], dim=1) @ candidate_weight.T",
    cause="The candidate is the weighted sum itself; without the tanh the state can grow without limit.",
    hint="Between which two numbers must every entry of a candidate lie?",
)
gru_step.slip(
    "candidate with a bias",
    side_by_side,
    "@ candidate_weight.T)",
    "@ candidate_weight.T + update_bias)",
    cause="A bias of the gates is added to the candidate; in this formula the candidate has none.",
    hint="Count the biases among the arguments. Which two sums do they belong to?",
)
gru_step.slip(
    "what stays is reset",
    side_by_side,
    "(1 - z) * h + z * new",
    "(1 - z) * (r * h) + z * new",
    cause="The reset gate shortens also the part of the old state that stays; it is for the candidate alone.",
    hint="With z = 0 nothing shall change. What is left of h in your result where r = 0?",
)
gru_step.slip(
    "old state not kept",
    side_by_side,
    "(1 - z) * h + z * new",
    "z * new",
    cause="What z leaves of the old state is missing.",
    hint="The new state is a mixture of two things, with shares that sum to one.",
)
