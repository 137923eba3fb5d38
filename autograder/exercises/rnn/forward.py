"""The exercises on going forward in time: one step of Elman's network, and a ragged batch of whole sequences."""

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import rnn

LAYERS = ("RNN", "RNNCell", "rnn_tanh", "rnn_tanh_cell", "pack_padded_sequence", "pad_packed_sequence")
SAY_THE_TYPE = "torch makes float32 unless you say otherwise: inputs.new_zeros(…), or dtype=inputs.dtype."


# One step.


def step_of_the_library(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """The library's cell with these weights."""
    cell = rnn.RNNCell(weight_ih.shape[1], weight_ih.shape[0]).to(weight_ih.dtype)
    named = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    return torch.func.functional_call(cell, named, (x, state))


step = Exercise(
    "rnn.step",
    reference=step_of_the_library,
    facets={"values": 2, GRADIENTS: 1},
    difficulty=1,
    minutes=10,
    forbidden=LAYERS,
)


@step.cases
def step_cases(rng):
    def inputs(batch, features, hidden, dtype=np.float64):
        shapes = dict(
            x=(batch, features),
            state=(batch, hidden),
            weight_ih=(hidden, features),
            weight_hh=(hidden, hidden),
            bias_ih=(hidden,),
            bias_hh=(hidden,),
        )
        return {name: (0.6 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}

    batch, features, hidden = rng.integers(2, 6, size=3)
    yield Case("a batch", **inputs(batch, features, hidden))
    yield Case("input as long as the state", **inputs(batch, hidden, hidden))
    yield Case("one row, one number each", **inputs(1, 1, 1))
    yield Case("a state of zeros", **(inputs(batch, features, hidden) | {"state": np.zeros((batch, hidden))}))
    yield Case("float32", **inputs(batch, features, hidden, np.float32))


@step.probe
def ask_step(answer, **inputs):
    def call(**tensors):
        return {"new state": answer(*tensors.values())}

    return with_gradients(call, **inputs)


def by_products(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    return torch.tanh(x @ weight_ih.T + bias_ih + state @ weight_hh.T + bias_hh)


@step.alternative
def one_product_of_what_is_put_side_by_side(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    both = torch.cat([x, state], dim=1)
    return (both @ torch.cat([weight_ih, weight_hh], dim=1).T + (bias_ih + bias_hh)).tanh()


@step.alternative
def neuron_by_neuron(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    columns = []
    for k in range(len(bias_ih)):
        total = bias_ih[k] + bias_hh[k]
        for i in range(x.shape[1]):
            total = total + x[:, i] * weight_ih[k, i]
        for i in range(state.shape[1]):
            total = total + state[:, i] * weight_hh[k, i]
        columns.append(torch.tanh(total))
    return torch.stack(columns, dim=1)


@step.alternative
def with_linear_layers(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    linear = torch.nn.functional.linear
    return torch.tanh(linear(x, weight_ih, bias_ih) + linear(state, weight_hh, bias_hh))


step.slip(
    "state not read",
    by_products,
    " + state @ weight_hh.T",
    "",
    cause="The old state has no say in the new one: this is an ordinary layer, without memory.",
    hint="Which term of the formula carries what was read before?",
)
step.slip(
    "one bias forgotten",
    by_products,
    " + bias_hh",
    "",
    cause="Only one of the two biases is added.",
    hint="Count the parameters you use: the formula has two matrices and two biases.",
)
step.slip(
    "no tanh",
    by_products,
    "return torch.tanh(",
    "return (",
    cause="The sum is returned as it is; without the tanh the state can grow without limit.",
    hint="Between which two numbers must every entry of a state lie?",
)
step.slip(
    "logistic instead of tanh",
    by_products,
    "torch.tanh(",
    "torch.sigmoid(",
    cause="The sum goes through the logistic function, as in Elman's own network, but here tanh is asked.",
    hint="Can your new state have negative numbers?",
)
step.slip(
    "recurrent weights not transposed",
    by_products,
    "weight_hh.T",
    "weight_hh",
    cause="The state is multiplied by W_hh where the formula, written for rows, has its transpose.",
    hint="Row k of weight_hh holds the weights of the k-th new number. The matrix is square, so torch cannot warn you.",
)
step.slip(
    "tanh of each part",
    by_products,
    "bias_ih + state",
    "bias_ih).tanh() + torch.tanh(state",
    cause="Input and state pass the tanh separately and are added afterwards.",
    hint="The neuron bends its whole sum, once. How large can your new state become?",
)
step.slip(
    "gradient cut off",
    by_products,
    "state @ weight_hh.T",
    "state.detach() @ weight_hh.T",
    cause="The old state is cut out of the graph, so nothing can be learned about earlier steps.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)


# A whole batch of sequences.


def sequence_of_the_library(inputs, lengths, weight_ih, weight_hh, bias):
    """The library's layer with these weights and one bias."""
    layer = rnn.RNN(weight_ih.shape[1], weight_ih.shape[0]).to(weight_ih.dtype)
    named = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh, "bias_ih_l0": bias}
    named["bias_hh_l0"] = torch.zeros_like(bias)
    outputs, state = torch.func.functional_call(layer, named, (inputs, None, lengths))
    return outputs, state[0]


sequence = Exercise(
    "rnn.sequence",
    reference=sequence_of_the_library,
    facets={"values": 2, "masking": 2, GRADIENTS: 1, DTYPE: 1},
    difficulty=2,
    minutes=25,
    forbidden=LAYERS,
    results=("outputs", "state"),
    seconds=10,
)


@sequence.cases
def sequence_cases(rng):
    def inputs(batch, time, features, hidden, lengths=None, dtype=np.float64):
        shapes = dict(
            inputs=(batch, time, features), weight_ih=(hidden, features), weight_hh=(hidden, hidden), bias=(hidden,)
        )
        made = {name: (0.7 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}
        return made | {"lengths": np.full(batch, time) if lengths is None else np.array(lengths)}

    time, features, hidden = int(rng.integers(3, 6)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    yield Case("rows of one length", **inputs(3, time, features, hidden))
    yield Case("as many rows as steps", **inputs(time, time, hidden, hidden))
    yield Case("one step", **inputs(2, 1, features, hidden))
    yield Case("float32", **inputs(2, 3, features, hidden, dtype=np.float32))
    ragged = [time, 1, int(rng.integers(2, time)), time - 1]
    rng.shuffle(ragged)
    yield Case("rows of different length", "masking", **inputs(4, time, features, hidden, ragged))
    yield Case("every row is shorter than time", "masking", **inputs(2, time + 2, features, hidden, [time, 2]))
    yield Case("a row of length 0", "masking", **inputs(3, time, features, hidden, [2, 0, time]))
    loud = inputs(3, time, features, hidden, [1, time, 2])
    loud["inputs"][0, 1:] *= 1000
    loud["inputs"][2, 2:] *= -1000
    yield Case("large numbers behind the end", "masking", **loud)


@sequence.probe
def ask_sequence(answer, inputs, lengths, weight_ih, weight_hh, bias):
    import torch

    def call(inputs, weight_ih, weight_hh, bias):
        outputs, state = answer(inputs, torch.from_numpy(lengths), weight_ih, weight_hh, bias)
        return {"outputs": outputs, "final state": state}

    return with_gradients(call, inputs=inputs, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)


def frozen_at_the_end(inputs, lengths, weight_ih, weight_hh, bias):
    batch, time, _ = inputs.shape
    state = inputs.new_zeros(batch, len(bias))
    outputs = []
    for t in range(time):
        new = torch.tanh(inputs[:, t] @ weight_ih.T + state @ weight_hh.T + bias)
        real = (t < lengths)[:, None]
        state = torch.where(real, new, state)
        outputs.append(torch.where(real, new, 0.0))
    return torch.stack(outputs, dim=1), state


@sequence.alternative
def picked_out_afterwards(inputs, lengths, weight_ih, weight_hh, bias):
    batch, time, _ = inputs.shape
    states = [torch.zeros(batch, weight_hh.shape[0], dtype=inputs.dtype)]
    projected = inputs @ weight_ih.T + bias
    for t in range(time):
        states.append(torch.tanh(projected[:, t] + states[-1] @ weight_hh.T))
    states = torch.stack(states, dim=1)
    mask = torch.arange(time) < lengths.unsqueeze(1)
    return states[:, 1:] * mask.unsqueeze(2), states[torch.arange(batch), lengths]


@sequence.alternative
def row_by_row(inputs, lengths, weight_ih, weight_hh, bias):
    outputs, finals = [], []
    for row, length in zip(inputs, lengths.tolist(), strict=True):
        state, said = torch.zeros_like(bias), []
        for x in row[:length]:
            state = torch.tanh(weight_ih @ x + weight_hh @ state + bias)
            said.append(state)
        said += [torch.zeros_like(bias)] * (len(row) - length)
        outputs.append(torch.stack(said))
        finals.append(state)
    return torch.stack(outputs), torch.stack(finals)


@sequence.alternative
def mixed_by_numbers(inputs, lengths, weight_ih, weight_hh, bias):
    state, outputs = torch.zeros(len(inputs), len(bias), dtype=inputs.dtype), []
    for t, x in enumerate(inputs.unbind(1)):
        real = (lengths > t).to(inputs.dtype).unsqueeze(1)
        state = real * torch.tanh(torch.addmm(bias, x, weight_ih.T) + state @ weight_hh.T) + (1 - real) * state
        outputs.append(real * state)
    return torch.stack(outputs, dim=1), state


sequence.slip(
    "state goes on through the padding",
    frozen_at_the_end,
    "torch.where(real, new, state)",
    "new",
    cause="The state is updated by the padding too, so a short row's final state tells of things nobody said.",
    hint="What should happen to the state of a row at a step that is not real?",
)
sequence.slip(
    "state erased by the padding",
    frozen_at_the_end,
    "torch.where(real, new, state)",
    "torch.where(real, new, 0.0)",
    cause="Behind a row's end the state becomes zero, so its final state is lost.",
    hint="Outputs behind the end are zeros, but the final state is the one after the last real token.",
)
sequence.slip(
    "outputs not zeroed",
    frozen_at_the_end,
    "outputs.append(torch.where(real, new, 0.0))",
    "outputs.append(state)",
    cause="Behind a row's end the outputs repeat the last state where they should be zeros.",
    hint="Look at the outputs of a row of length 1 at the second step.",
)
sequence.slip(
    "one step too many",
    frozen_at_the_end,
    "t < lengths",
    "t <= lengths",
    cause="Each row has one step more than its length says.",
    hint="A row of length 1 has its only token at t = 0. Is t = 1 real?",
)
sequence.slip(
    "one step too few",
    frozen_at_the_end,
    "t < lengths",
    "t < lengths - 1",
    cause="The last token of each row is not read.",
    hint="A row of length 1 has its only token at t = 0. Is t = 0 real?",
)
sequence.slip(
    "no memory",
    frozen_at_the_end,
    " + state @ weight_hh.T",
    "",
    cause="No step reads the state that the step before it left.",
    hint="Change the first input of a row: which outputs should change?",
)
sequence.slip(
    "gradient cut off between steps",
    frozen_at_the_end,
    "state @ weight_hh.T",
    "state.detach() @ weight_hh.T",
    cause="Each step is cut off from the one before, so nothing can be learned about earlier inputs.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)


@sequence.mistake(hint="With batch first, what is inputs[t]? Print its shape.")
def steps_through_the_batch(inputs, lengths, weight_ih, weight_hh, bias):
    """The loop goes through the rows instead of the steps: axis 0 is the batch."""
    state, outputs = inputs.new_zeros(inputs.shape[1], len(bias)), []
    for t in range(inputs.shape[0]):
        state = torch.tanh(inputs[t] @ weight_ih.T + state @ weight_hh.T + bias)
        outputs.append(state)
    return torch.stack(outputs), state


@sequence.mistake(hint=SAY_THE_TYPE)
def zeros_of_another_type(inputs, lengths, weight_ih, weight_hh, bias):
    """The state begins as float32 zeros, which cannot be multiplied by the weights where these are float64."""
    state = torch.zeros(len(inputs), len(bias))
    outputs = []
    for t in range(inputs.shape[1]):
        new = torch.tanh(inputs[:, t] @ weight_ih.T + state @ weight_hh.T + bias)
        real = (t < lengths)[:, None]
        state = torch.where(real, new, state)
        outputs.append(new * real)
    return torch.stack(outputs, dim=1), state


@sequence.mistake(hint=SAY_THE_TYPE)
def outputs_of_another_type(inputs, lengths, weight_ih, weight_hh, bias):
    """The outputs are written into float32 zeros, so float64 numbers lose half of their digits."""
    state = torch.zeros_like(inputs[:, 0, :1]).expand(-1, len(bias))
    outputs = torch.zeros(len(inputs), inputs.shape[1], len(bias))
    for t in range(inputs.shape[1]):
        new = torch.tanh(inputs[:, t] @ weight_ih.T + state @ weight_hh.T + bias)
        real = (t < lengths)[:, None]
        state = torch.where(real, new, state)
        outputs[:, t] = new * real
    return outputs, state
