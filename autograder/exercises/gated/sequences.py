"""The exercise on whole sequences: carrying a state through padding."""

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.exercises.gated.counting import READY_MADE
from autograder.probes import with_gradients
from ml_course import rnn

PACKING = (*READY_MADE, "pack_padded_sequence", "pad_packed_sequence", "pack_sequence")
SAY_THE_TYPE = "torch makes float32 unless you say otherwise: inputs.new_zeros(…), or dtype=inputs.dtype."


def carried_by_the_library(step, inputs, lengths, h, c):
    """The library's scan over the same step."""
    outputs, (h, c) = rnn.scan(step, inputs, (h, c), lengths)
    return outputs, h, c


carry_state = Exercise(
    "gated.carry_state",
    reference=carried_by_the_library,
    facets={"values": 2, "padding": 2, GRADIENTS: 1, DTYPE: 1},
    difficulty=2,
    minutes=25,
    forbidden=(*PACKING, "scan", "scan_layers"),
    results=("outputs", "h", "c"),
)


@carry_state.cases
def carry_cases(rng):
    def inputs(batch, time, hidden=3, lengths=None, dtype=np.float64):
        shapes = dict(inputs=(batch, time, hidden), h=(batch, hidden), c=(batch, hidden), step_weights=(hidden, hidden))
        made = {name: (0.7 * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}
        return made | {"lengths": np.full(batch, time) if lengths is None else np.array(lengths)}

    time = int(rng.integers(4, 7))
    yield Case("rows of one length", **inputs(3, time))
    yield Case("as many rows as steps", **inputs(time, time, hidden=time))
    yield Case("one step", **inputs(2, 1))
    yield Case("float32", **inputs(2, 3, dtype=np.float32))
    ragged = [time, 1, int(rng.integers(2, time)), time - 1]
    rng.shuffle(ragged)
    yield Case("rows of different length", "padding", **inputs(4, time, lengths=ragged))
    yield Case("every row is shorter than time", "padding", **inputs(2, time + 2, lengths=[time, 2]))
    yield Case("a row of length 0", "padding", **inputs(3, time, lengths=[2, 0, time]))
    loud = inputs(3, time, lengths=[1, time, 2])
    loud["inputs"][0, 1:] *= 50
    loud["inputs"][2, 2:] *= -50
    yield Case("large numbers behind the end", "padding", **loud)


@carry_state.probe
def ask_carry_state(answer, inputs, lengths, h, c, step_weights):
    import torch

    def call(inputs, h, c, step_weights):
        def step(x, state):
            h, c = state
            gate = torch.sigmoid(x + h @ step_weights)
            c = gate * c + (1 - gate) * torch.tanh(x - h)
            return gate.flip(1) * torch.tanh(c), c

        outputs, last_h, last_c = answer(step, inputs, torch.tensor(lengths), h, c)
        return {"outputs": outputs, "final h": last_h, "final c": last_c}

    return with_gradients(call, inputs=inputs, h=h, c=c, step_weights=step_weights)


def held_where_nothing_is_real(step, inputs, lengths, h, c):
    outputs = []
    for t in range(inputs.shape[1]):
        new_h, new_c = step(inputs[:, t], (h, c))
        real = (t < lengths)[:, None]
        h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)
        outputs.append(torch.where(real, h, 0))
    return torch.stack(outputs, dim=1), h, c


@carry_state.alternative
def by_numbers(step, inputs, lengths, h, c):
    outputs = []
    for t, x in enumerate(inputs.unbind(1)):
        real = (lengths > t).to(inputs.dtype).unsqueeze(1)
        new_h, new_c = step(x, (h, c))
        h, c = real * new_h + (1 - real) * h, real * new_c + (1 - real) * c
        outputs.append(real * h)
    return torch.stack(outputs, dim=1), h, c


@carry_state.alternative
def picked_afterwards(step, inputs, lengths, h, c):
    all_h, all_c = [h], [c]
    for x in inputs.unbind(1):
        h, c = step(x, (h, c))
        all_h.append(h)
        all_c.append(c)
    all_h, all_c = torch.stack(all_h, dim=1), torch.stack(all_c, dim=1)
    rows = torch.arange(len(inputs))
    real = torch.arange(inputs.shape[1]) < lengths[:, None]
    return all_h[:, 1:] * real[:, :, None], all_h[rows, lengths], all_c[rows, lengths]


@carry_state.alternative
def each_row_by_itself(step, inputs, lengths, h, c):
    outputs, last_h, last_c = [], [], []
    for row, length in enumerate(lengths.tolist()):
        state, said = (h[row : row + 1], c[row : row + 1]), []
        for t in range(inputs.shape[1]):
            if t < length:
                state = step(inputs[row : row + 1, t], state)
                said.append(state[0][0])
            else:
                said.append(torch.zeros_like(h[row]))
        outputs.append(torch.stack(said))
        last_h.append(state[0][0])
        last_c.append(state[1][0])
    return torch.stack(outputs), torch.stack(last_h), torch.stack(last_c)


carry_state.slip(
    "state advanced through padding",
    held_where_nothing_is_real,
    "h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)",
    "h, c = new_h, new_c",
    cause="The padding changes the state too: the final state of a short row tells of what nobody said.",
    hint="What should happen to a row's state at a step that is not real?",
)
carry_state.slip(
    "cell state advanced through padding",
    held_where_nothing_is_real,
    "torch.where(real, new_c, c)",
    "new_c",
    cause="h is held behind the end of a row, but c goes on.",
    hint="The state has two parts.",
)
carry_state.slip(
    "state erased by the padding",
    held_where_nothing_is_real,
    "h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)",
    "h, c = torch.where(real, new_h, 0), torch.where(real, new_c, 0)",
    cause="Behind a row's end its state becomes zero, so the final state is lost.",
    hint="The outputs behind the end are zeros. Are the final states?",
)
carry_state.slip(
    "outputs not zeroed",
    held_where_nothing_is_real,
    "outputs.append(torch.where(real, h, 0))",
    "outputs.append(h)",
    cause="Behind a row's end the outputs repeat the last state; there they should be zeros.",
    hint="Print the outputs of a row of length 1.",
)
carry_state.slip(
    "one step too many",
    held_where_nothing_is_real,
    "t < lengths",
    "t <= lengths",
    cause="Each row takes one step more than its length says.",
    hint="A row of length 1 has its only token at t = 0. Is t = 1 real?",
)
carry_state.slip(
    "one step too few",
    held_where_nothing_is_real,
    "t < lengths",
    "t < lengths - 1",
    cause="The last token of each row is not read.",
    hint="A row of length 1 has its only token at t = 0. Is t = 0 real?",
)
carry_state.slip(
    "starts from nothing",
    held_where_nothing_is_real,
    "    outputs = []\n",
    "    outputs, h, c = [], 0 * h, 0 * c\n",
    cause="The given state is thrown away: the first step starts from zeros.",
    hint="Two of the arguments have no effect.",
)
carry_state.slip(
    "cell state put out",
    held_where_nothing_is_real,
    "outputs.append(torch.where(real, h, 0))",
    "outputs.append(torch.where(real, c, 0))",
    cause="The outputs are the cell states; what an LSTM shows is h.",
    hint="Which part of the state has passed the output gate?",
)


@carry_state.mistake(hint="Which of the arguments is not used?")
def padding_read_like_everything_else(step, inputs, lengths, h, c):
    """Nothing looks at the lengths: the padding is read, put out, and ends up in the final state."""
    outputs = []
    for x in inputs.unbind(1):
        h, c = step(x, (h, c))
        outputs.append(h)
    return torch.stack(outputs, dim=1), h, c


@carry_state.mistake(hint=SAY_THE_TYPE)
def outputs_of_another_type(step, inputs, lengths, h, c):
    """The outputs are written into float32 zeros, so float64 numbers lose half of their digits."""
    outputs = torch.zeros(*inputs.shape[:2], h.shape[1])
    for t in range(inputs.shape[1]):
        new_h, new_c = step(inputs[:, t], (h, c))
        real = (t < lengths)[:, None]
        h, c = torch.where(real, new_h, h), torch.where(real, new_c, c)
        outputs[:, t] = torch.where(real, h, 0)
    return outputs, h, c
