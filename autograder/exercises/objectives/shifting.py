"""The exercise on what a causal language model reads and what it shall say."""

import numpy as np
import torch

from autograder.exercise import DTYPE, SIDE_EFFECTS, Case, Exercise
from ml_course import objectives


def shift_of_the_library(tokens, mask):
    """The reference under the homework's signature."""
    reads, says = objectives.causal_shift(tokens)
    return reads, says.masked_fill(~mask[:, 1:], -100)


causal_shift = Exercise(
    "objectives.causal_shift",
    reference=shift_of_the_library,
    facets={"shift": 1.5, "filler": 1.5, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=1,
    minutes=10,
    results=("reads", "labels"),
)


@causal_shift.cases
def shift_cases(rng):
    def inputs(lengths, time):
        tokens = rng.integers(4, 60, size=(len(lengths), time))
        mask = np.arange(time) < np.array(lengths)[:, None]
        return {"tokens": np.where(mask, tokens, 0), "mask": mask}

    time = int(rng.integers(5, 9))
    yield Case("one text", **inputs([time], time))
    yield Case("several of the same length", **inputs([time] * 3, time))
    yield Case("two tokens each", **inputs([2, 2], 2))
    yield Case("as many texts as tokens", **inputs([4] * 4, 4))
    yield Case("texts of different length", "filler", **inputs([time, time - 2, 3], time))
    yield Case("a single token", "filler", **inputs([1, 4], 4))
    yield Case("more filler than any text needs", "filler", **inputs([3, 2], 6))
    loud = inputs([2, 5, 4], 5)
    loud["tokens"] = np.where(loud["mask"], loud["tokens"], 9)
    yield Case("filler that is not 0", "filler", **loud)
    zeros = inputs([5, 3], 5)
    zeros["tokens"][:, 1:3] = 0
    yield Case("a token with the filler's number", "filler", **zeros)


@causal_shift.probe
def ask_causal_shift(answer, tokens, mask):
    import torch

    reads, labels = answer(torch.from_numpy(tokens), torch.from_numpy(mask))
    return {"reads": reads, "labels": labels}


@causal_shift.alternative
def by_slices(tokens, mask):
    return tokens[:, :-1], torch.where(mask[:, 1:], tokens[:, 1:], -100)


@causal_shift.alternative
def by_filling_in(tokens, mask):
    labels = tokens[:, 1:].clone()
    labels[~mask[:, 1:]] = -100
    return tokens[:, :-1].clone(), labels


@causal_shift.alternative
def row_by_row(tokens, mask):
    reads, labels = torch.zeros_like(tokens[:, 1:]), torch.full_like(tokens[:, 1:], -100)
    for row in range(tokens.shape[0]):
        for time in range(tokens.shape[1] - 1):
            reads[row, time] = tokens[row, time]
            if mask[row, time + 1]:
                labels[row, time] = tokens[row, time + 1]
    return reads, labels


causal_shift.slip(
    "not shifted",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "torch.where(mask[:, :-1], tokens[:, :-1], -100)",
    cause="The labels are the tokens that are read: the model would learn to repeat what it sees.",
    hint="Print reads and labels below each other. What should stand below the first token?",
)
causal_shift.slip(
    "shifted twice",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "torch.where(mask[:, 1:], tokens.roll(-2, 1)[:, :-1], -100)",
    cause="The labels are two tokens ahead: once cut off at the front, and once more moved.",
    hint="How far is a label from the token that is read? One place, no more.",
)
causal_shift.slip(
    "shifted the wrong way",
    by_slices,
    "return tokens[:, :-1], torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "return tokens[:, 1:], torch.where(mask[:, :-1], tokens[:, :-1], -100)",
    cause="The model reads a token and shall say the one before it, which it has read already.",
    hint="Which of the two lacks the text's first token, and which its last?",
)
causal_shift.slip(
    "filler is asked for",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "tokens[:, 1:]",
    cause="Filler has labels, too: the model would be taught to say filler.",
    hint="One of the arguments is not used.",
)
causal_shift.slip(
    "filler after the last token",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "torch.where(mask[:, :-1], tokens[:, 1:], -100)",
    cause="At the last token of a short text the filler behind it is asked for: the mask was not shifted.",
    hint="A label counts when the token that is *said* is real. Which columns of the mask speak of those?",
)
causal_shift.slip(
    "filler told by its number",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "torch.where(tokens[:, 1:] != 0, tokens[:, 1:], -100)",
    cause="Filler is told by the number 0; a real token may have it, and filler another one.",
    hint="Only the mask knows what is filler.",
)
causal_shift.slip(
    "nothing cut off",
    by_slices,
    "return tokens[:, :-1], torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "labels = torch.where(mask, tokens, -100).roll(-1, 1)\n    return tokens, labels",
    cause="Both are as long as the text; after the last token the first is asked for.",
    hint="A text of n tokens gives n − 1 questions.",
)
causal_shift.slip(
    "labels with a decimal point",
    by_slices,
    "torch.where(mask[:, 1:], tokens[:, 1:], -100)",
    "torch.where(mask[:, 1:], tokens[:, 1:], -100.0)",
    cause="The labels are right, but float: a loss takes whole numbers as classes.",
    hint="−100 is a whole number as well; leave out the point.",
)


@causal_shift.mistake(hint="A slice is no copy. Whose numbers does labels[...] = −100 change?")
def written_into_the_tokens(tokens, mask):
    """The −100 is written into the tokens that were handed in: a slice shares its memory with them."""
    labels = tokens[:, 1:]
    reads = tokens[:, :-1].clone()
    labels[~mask[:, 1:]] = -100
    return reads, labels
