"""The exercise on reading in both directions."""

import numpy as np
import torch

from autograder.exercise import DTYPE, Case, Exercise
from autograder.exercises.gated.sequences import PACKING, SAY_THE_TYPE
from ml_course import gated, rnn


def joined_by_the_library(read_ahead, read_back, inputs, lengths):
    """The library's reversal around the two readers."""
    ahead, back = read_ahead(inputs), read_back(gated.reverse_time(inputs, lengths))
    joined = torch.cat([ahead, gated.reverse_time(back, lengths)], dim=2)
    return joined.masked_fill(~rnn.real_steps(lengths, inputs.shape[1])[:, :, None], 0)


both_directions = Exercise(
    "gated.both_directions",
    reference=joined_by_the_library,
    facets={"values": 2, "padding": 2, DTYPE: 1},
    difficulty=2,
    minutes=25,
    forbidden=PACKING,
)


@both_directions.cases
def direction_cases(rng):
    def inputs(batch, time, features=3, lengths=None, dtype=np.float64):
        made = {"inputs": rng.normal(size=(batch, time, features)).astype(dtype)}
        return made | {"lengths": np.full(batch, time) if lengths is None else np.array(lengths)}

    time = int(rng.integers(4, 7))
    yield Case("rows of one length", **inputs(3, time))
    yield Case("as many rows as steps", **inputs(time, time, time))
    yield Case("as many features as steps", **inputs(2, 4, 4))
    yield Case("one row, two steps", **inputs(1, 2))
    yield Case("one step", **inputs(2, 1))
    yield Case("float32", **inputs(2, 3, dtype=np.float32))
    ragged = [time, 1, int(rng.integers(2, time)), time - 1]
    rng.shuffle(ragged)
    yield Case("rows of different length", "padding", **inputs(4, time, lengths=ragged))
    yield Case("every row is shorter than time", "padding", **inputs(2, time + 2, lengths=[time, 2]))
    loud = inputs(3, time, lengths=[2, time, 3])
    loud["inputs"][0, 2:] *= 1000
    loud["inputs"][2, 3:] *= -1000
    yield Case("large numbers behind the end", "padding", **loud)


@both_directions.probe
def ask_both_directions(answer, inputs, lengths):
    import torch

    def reader(keep, scale):
        def read(inputs):
            state, outputs = torch.zeros_like(inputs[:, 0]), []
            for x in inputs.unbind(1):
                state = torch.tanh(keep * state + scale * x.cumsum(1) + 0.3)  # zeros are no silence to it
                outputs.append(state)
            return torch.stack(outputs, dim=1)

        return read

    return {"outputs": answer(reader(0.8, 0.5), reader(-0.6, 0.9), torch.from_numpy(inputs), torch.from_numpy(lengths))}


def turned_row_by_row(read_ahead, read_back, inputs, lengths):
    turned = inputs.clone()
    for row, length in enumerate(lengths.tolist()):
        turned[row, :length] = inputs[row, :length].flip(0)
    ahead, back = read_ahead(inputs), read_back(turned)
    outputs = torch.zeros(*inputs.shape[:2], ahead.shape[2] + back.shape[2], dtype=ahead.dtype)
    for row, length in enumerate(lengths.tolist()):
        outputs[row, :length] = torch.cat([ahead[row, :length], back[row, :length].flip(0)], dim=1)
    return outputs


@both_directions.alternative
def by_gathering(read_ahead, read_back, inputs, lengths):
    place = torch.arange(inputs.shape[1])
    real = place < lengths[:, None]
    source = torch.where(real, lengths[:, None] - 1 - place, place)
    rows = torch.arange(len(inputs))[:, None]
    back = read_back(inputs[rows, source])[rows, source]
    return torch.cat([read_ahead(inputs), back], dim=2).masked_fill(~real[:, :, None], 0)


@both_directions.alternative
def every_row_alone(read_ahead, read_back, inputs, lengths):
    outputs = []
    for row, length in zip(inputs, lengths.tolist(), strict=True):
        text = row[None, :length]
        both = torch.cat([read_ahead(text), read_back(text.flip(1)).flip(1)], dim=2)[0]
        outputs.append(torch.nn.functional.pad(both, (0, 0, 0, len(row) - length)))
    return torch.stack(outputs)


@both_directions.alternative
def padding_rolled_to_the_front(read_ahead, read_back, inputs, lengths):
    time = inputs.shape[1]
    shifts = (time - lengths).tolist()
    # Flipped, the padding comes first; rolled on, the row begins with its last token.
    turned = torch.stack([row.flip(0).roll(-shift, 0) for row, shift in zip(inputs, shifts, strict=True)])
    back = torch.stack([row.roll(shift, 0).flip(0) for row, shift in zip(read_back(turned), shifts, strict=True)])
    real = (torch.arange(time) < lengths[:, None]).to(inputs.dtype)
    return torch.cat([read_ahead(inputs), back], dim=2) * real[:, :, None]


def by_masks(read_ahead, read_back, inputs, lengths):
    place = torch.arange(inputs.shape[1])
    real = place < lengths[:, None]
    source = torch.where(real, lengths[:, None] - 1 - place, place)
    rows = torch.arange(len(inputs))[:, None]
    turned = inputs[rows, source]
    ahead = read_ahead(inputs)
    back = read_back(turned)
    back = back[rows, source]
    outputs = torch.cat([ahead, back], dim=2)
    return outputs * real[:, :, None]


both_directions.slip(
    "padding turned with the row",
    by_masks,
    "torch.where(real, lengths[:, None] - 1 - place, place)",
    "inputs.shape[1] - 1 - place.expand(len(inputs), -1)",
    cause="The whole row is turned, padding and all: the second reader begins with padding.",
    hint="Write down a row of length 2 in a batch of 4, turned. Where does its last token stand?",
)
both_directions.slip(
    "not turned back",
    by_masks,
    "    back = back[rows, source]\n",
    "",
    cause="The second reader's outputs are left in its own order: beside the first token stands what it said about the "
    "last.",
    hint="At the first token, which tokens should the second half have read?",
)
both_directions.slip(
    "not turned at all",
    by_masks,
    "    turned = inputs[rows, source]\n",
    "    turned = inputs\n",
    cause="The second reader gets the row in its usual order; only its outputs are turned.",
    hint="Change the last token of a row: should the second half of the first output change?",
)
both_directions.slip(
    "both read in one direction",
    by_masks,
    "    back = read_back(turned)\n    back = back[rows, source]\n",
    "    back = read_back(inputs)\n",
    cause="Both readers go from the first token to the last.",
    hint="Change the last token of a row: should the first output change?",
)
both_directions.slip(
    "added instead of joined",
    by_masks,
    "torch.cat([ahead, back], dim=2)",
    "(ahead + back)",
    cause="The two readings are added; they should stand side by side, so that neither is lost.",
    hint="How many features should each token have in the end?",
)
both_directions.slip(
    "joined in time",
    by_masks,
    "    outputs = torch.cat([ahead, back], dim=2)\n    return outputs * real[:, :, None]",
    "    return torch.cat([ahead * real[:, :, None], back * real[:, :, None]], dim=1)",
    cause="The second reading is put behind the first, as if the text were twice as long.",
    hint="Compare the shape of your outputs with the one asked for.",
)
both_directions.slip(
    "outputs not zeroed",
    by_masks,
    "return outputs * real[:, :, None]",
    "return outputs",
    cause="Behind a row's end the outputs are not zeros.",
    hint="Print the outputs of a row of length 1.",
)
both_directions.slip(
    "second reader first",
    by_masks,
    "torch.cat([ahead, back], dim=2)",
    "torch.cat([back, ahead], dim=2)",
    cause="The halves stand in the wrong order: first what was read ahead, then what was read back.",
    hint="Change the first token of a row. Which half of the first output should change?",
)


@both_directions.mistake(hint="Which of the arguments is not used?")
def lengths_not_used(read_ahead, read_back, inputs, lengths):
    """Nothing looks at the lengths: whole rows are turned, and the second reader begins with the padding."""
    return torch.cat([read_ahead(inputs), read_back(inputs.flip(1)).flip(1)], dim=2)


@both_directions.mistake(hint="Does a reader of zeros stay as it was before it read them?")
def zeros_read_first(read_ahead, read_back, inputs, lengths):
    """The padding is set to zero and the whole row turned: the second reader begins with zeros, and they count too."""
    real = (torch.arange(inputs.shape[1]) < lengths[:, None])[:, :, None]
    back = read_back(torch.where(real, inputs, 0).flip(1)).flip(1)
    return torch.cat([read_ahead(inputs), back], dim=2) * real


@both_directions.mistake(hint=SAY_THE_TYPE)
def joined_in_another_type(read_ahead, read_back, inputs, lengths):
    """The outputs are written into float32 zeros, so float64 numbers lose half of their digits."""
    turned = inputs.clone()
    for row, length in enumerate(lengths.tolist()):
        turned[row, :length] = inputs[row, :length].flip(0)
    ahead, back = read_ahead(inputs), read_back(turned)
    outputs = torch.zeros(*inputs.shape[:2], ahead.shape[2] + back.shape[2])
    for row, length in enumerate(lengths.tolist()):
        outputs[row, :length] = torch.cat([ahead[row, :length], back[row, :length].flip(0)], dim=1)
    return outputs
