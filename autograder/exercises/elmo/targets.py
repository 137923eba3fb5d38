"""The exercise on the targets of two language models, one that reads forwards and one that reads backwards."""

import numpy as np
import torch

from autograder.exercise import DTYPE, SIDE_EFFECTS, Case, Exercise
from ml_course import elmo


def targets(tokens, mask):
    """The reference under the homework's signature."""
    return tuple(elmo.language_model_targets(tokens, mask))


language_model_targets = Exercise(
    "elmo.language_model_targets",
    reference=targets,
    facets={"full rows": 2, "padding": 2, DTYPE: 1, SIDE_EFFECTS: 1},
    difficulty=2,
    minutes=20,
    results=("ahead", "ahead_mask", "back", "back_mask"),
)


@language_model_targets.cases
def target_cases(rng):
    def inputs(lengths, time):
        tokens = rng.integers(4, 60, size=(len(lengths), time))
        mask = np.arange(time) < np.array(lengths)[:, None]
        return {"tokens": np.where(mask, tokens, 0), "mask": mask}

    time = int(rng.integers(5, 9))
    yield Case("one sentence", **inputs([time], time))
    yield Case("several of the same length", **inputs([time] * 3, time))
    yield Case("two words each", **inputs([2, 2], 2))
    yield Case("as many sentences as words", **inputs([4] * 4, 4))
    yield Case("sentences of different length", "padding", **inputs([time, time - 2, 3], time))
    yield Case("one word", "padding", **inputs([1, 4], 4))
    yield Case("more filler than any sentence needs", "padding", **inputs([3, 2], 6))
    loud = inputs([2, 5, 4], 5)
    loud["tokens"] = np.where(loud["mask"], loud["tokens"], 9)
    yield Case("filler that is not 0", "padding", **loud)


@language_model_targets.probe
def ask_targets(answer, tokens, mask):
    import torch

    ahead, ahead_mask, back, back_mask = answer(torch.from_numpy(tokens), torch.from_numpy(mask))
    return {"ahead": ahead, "ahead_mask": ahead_mask, "back": back, "back_mask": back_mask}


@language_model_targets.alternative
def by_copying(tokens, mask):
    ahead, back = torch.zeros_like(tokens), torch.zeros_like(tokens)
    ahead_mask, back_mask = torch.zeros_like(mask), torch.zeros_like(mask)
    both = mask[:, 1:] & mask[:, :-1]
    ahead_mask[:, :-1] = both
    back_mask[:, 1:] = both
    ahead[:, :-1] = tokens[:, 1:] * both
    back[:, 1:] = tokens[:, :-1] * both
    return ahead, ahead_mask, back, back_mask


@language_model_targets.alternative
def by_rolling(tokens, mask):
    place = torch.arange(tokens.shape[1])
    length = mask.sum(1, keepdim=True)
    ahead_mask = place < length - 1
    back_mask = (place > 0) & (place < length)
    ahead = torch.where(ahead_mask, tokens.roll(-1, 1), 0)
    back = torch.where(back_mask, tokens.roll(1, 1), 0)
    return ahead, ahead_mask, back, back_mask


@language_model_targets.alternative
def row_by_row(tokens, mask):
    results = [torch.zeros_like(tokens), torch.zeros_like(mask), torch.zeros_like(tokens), torch.zeros_like(mask)]
    for n, length in enumerate(mask.sum(1).tolist()):
        for t in range(length):
            if t + 1 < length:
                results[0][n, t], results[1][n, t] = tokens[n, t + 1], True
            if t > 0:
                results[2][n, t], results[3][n, t] = tokens[n, t - 1], True
    return tuple(results)


language_model_targets.slip(
    "backward model shifted the wrong way",
    by_rolling,
    "tokens.roll(1, 1)",
    "tokens.roll(-1, 1)",
    cause="The backward model is asked for the word after, which it has already read; it should guess the word before.",
    hint="The backward model reads from the end. Which word comes next for it?",
)
language_model_targets.slip(
    "forward model shifted the wrong way",
    by_rolling,
    "tokens.roll(-1, 1)",
    "tokens.roll(1, 1)",
    cause="The forward model is asked for the word before, which it has already read; it should guess the word after.",
    hint="Print tokens and ahead below each other: what should stand below the first word?",
)
language_model_targets.slip(
    "not shifted",
    by_rolling,
    "tokens.roll(-1, 1)",
    "tokens",
    cause="The forward model is asked for the very word it has just read.",
    hint="The target at place t is the word at place t + 1.",
)
language_model_targets.slip(
    "the first word comes after the last",
    by_rolling,
    "place < length - 1",
    "place < length",
    cause="There is nothing to guess after a sentence's last word, but the mask there is True.",
    hint="How many words of a sentence of n have a word after them?",
)
language_model_targets.slip(
    "something before the first word",
    by_rolling,
    "(place > 0) & (place < length)",
    "place < length",
    cause="There is nothing to guess before a sentence's first word, but the mask there is True.",
    hint="How many words of a sentence of n have a word before them?",
)
language_model_targets.slip(
    "both with the forward mask",
    by_rolling,
    "return ahead, ahead_mask, back, back_mask",
    "return ahead, ahead_mask, back, ahead_mask",
    cause="The backward model got the forward model's mask; it guesses nothing at the first word, not at the last.",
    hint="Where does each of the two have nothing to guess?",
)
language_model_targets.slip(
    "filler guessed",
    by_copying,
    "both = mask[:, 1:] & mask[:, :-1]",
    "both = torch.ones_like(mask[:, 1:])",
    cause="Filler is guessed: the masks know nothing of where the sentences end.",
    hint="Take a short sentence in a wide batch: where is its last word?",
)
language_model_targets.slip(
    "last word before filler",
    by_copying,
    "both = mask[:, 1:] & mask[:, :-1]",
    "both = mask[:, :-1]",
    cause="At a sentence's last word the filler behind it is to be guessed.",
    hint="A target counts when *both* words, the one that is read and the one that is guessed, are real.",
)
language_model_targets.slip(
    "filler left in the targets",
    by_copying,
    "ahead[:, :-1] = tokens[:, 1:] * both",
    "ahead[:, :-1] = tokens[:, 1:]",
    cause="Where there is nothing to guess the targets should be 0, whatever the filler is.",
    hint="Let the filler be 9: does a 9 appear in your targets?",
)

language_model_targets.slip(
    "words with a decimal point",
    by_copying,
    "ahead, back = torch.zeros_like(tokens), torch.zeros_like(tokens)",
    "ahead, back = torch.zeros(tokens.shape), torch.zeros(tokens.shape)",
    cause="The targets are right, but float32: torch.zeros makes such numbers when it is not told otherwise.",
    hint="A loss takes whole numbers as classes. Which function makes zeros *like* those of another tensor?",
)


@language_model_targets.mistake(hint="Which tensor does tokens[~mask] = 0 change, and whose is it?")
def filler_erased_in_the_tokens(tokens, mask):
    """The targets are right, but the filler was set to 0 in the tokens that were handed in: they are the caller's."""
    tokens[~mask] = 0
    both = mask[:, 1:] & mask[:, :-1]
    no, nothing = torch.zeros_like(mask[:, :1]), torch.zeros_like(tokens[:, :1])
    ahead_mask, back_mask = torch.cat([both, no], 1), torch.cat([no, both], 1)
    ahead, back = torch.cat([tokens[:, 1:], nothing], 1), torch.cat([nothing, tokens[:, :-1]], 1)
    return ahead * ahead_mask, ahead_mask, back * back_mask, back_mask
