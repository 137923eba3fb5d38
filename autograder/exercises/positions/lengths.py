"""The exercise on extrapolation: a model's loss on one text, read in windows of one length after another."""

import math

import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import positions


def losses(model, tokens, lengths):
    """The reference under the homework's signature."""
    return positions.nats_by_length(model, tokens, lengths).tolist()


loss_by_length = Exercise(
    "positions.loss_by_length",
    reference=losses,
    facets={"values": 3, "a rest": 1},
    difficulty=2,
    minutes=30,
    rtol=1e-5,
)


@loss_by_length.cases
def length_cases(rng):
    def tokens(count):
        return rng.integers(0, 7, size=count)

    length = int(rng.integers(3, 6))
    yield Case("one window", tokens=tokens(length + 1), lengths=[length])
    yield Case("two windows", tokens=tokens(2 * length + 1), lengths=[length])
    yield Case("three lengths", tokens=tokens(25), lengths=[2, 4, 8])
    yield Case("longest first", tokens=tokens(25), lengths=[24, 12, 3])
    yield Case("single tokens", tokens=tokens(8), lengths=[1])
    yield Case("a longer text", tokens=tokens(121), lengths=[5, 10, 40])
    rest = "a rest"
    yield Case("a rest that fills no window", rest, tokens=tokens(3 * length + 3), lengths=[length])
    yield Case("a full window, but nothing to guess at its end", rest, tokens=tokens(3 * length), lengths=[length])
    yield Case("a rest of one length and none of another", rest, tokens=tokens(22), lengths=[3, 7, 8, 15])


@loss_by_length.probe
def ask_loss_by_length(answer, tokens, lengths):
    import torch

    table = torch.sin(torch.arange(49.0, dtype=torch.float64) ** 2).reshape(7, 7)

    def model(tokens):
        if tokens.dim() != 2:
            raise ValueError(f"the model got tokens of shape {tuple(tokens.shape)}, expected (batch, time)")
        place = torch.arange(1, 1 + tokens.shape[1], dtype=torch.float64)[:, None]
        return table[tokens].cumsum(1) / place.sqrt() + table[tokens] * (1 + place).log()

    losses = answer(model, torch.from_numpy(tokens), lengths)
    return {"losses": losses if losses is None else [float(loss) for loss in losses]}


@loss_by_length.alternative
def window_by_window(model, tokens, lengths):
    losses = []
    for length in lengths:
        total, count = 0.0, 0
        for start in range(0, len(tokens) - length, length):
            logits = model(tokens[start : start + length].unsqueeze(0))[0]
            target = tokens[start + 1 : start + length + 1]
            total += F.cross_entropy(logits, target, reduction="sum").item()
            count += length
        losses.append(total / count)
    return losses


@loss_by_length.alternative
def all_windows_at_once(model, tokens, lengths):
    losses = []
    for length in lengths:
        windows = tokens.unfold(0, length + 1, length)
        surprise = -torch.log_softmax(model(windows[:, :-1]), dim=-1)
        losses.append(surprise.gather(2, windows[:, 1:, None]).mean().item())
    return losses


@loss_by_length.alternative
def token_by_token(model, tokens, lengths):
    def loss(length):
        windows = (len(tokens) - 1) // length
        surprises = []
        for w in range(windows):
            share = torch.softmax(model(tokens[None, w * length : (w + 1) * length])[0], dim=-1)
            for t in range(length):
                surprises.append(-math.log(share[t, tokens[w * length + t + 1]]))
        return sum(surprises) / len(surprises)

    return [loss(length) for length in lengths]


loss_by_length.slip(
    "not shifted",
    window_by_window,
    "tokens[start + 1 : start + length + 1]",
    "tokens[start : start + length]",
    cause="The model is asked for the token it has just read, not for the next one.",
    hint="Which token should logits[0] guess, the first or the second of the window?",
)
loss_by_length.slip(
    "the last token of a window is not guessed",
    window_by_window,
    """            logits = model(tokens[start : start + length].unsqueeze(0))[0]
            target = tokens[start + 1 : start + length + 1]
            total += F.cross_entropy(logits, target, reduction="sum").item()
            count += length""",
    """            logits = model(tokens[start : start + length].unsqueeze(0))[0]
            target = tokens[start + 1 : start + length]
            total += F.cross_entropy(logits[:-1], target, reduction="sum").item()
            count += length - 1 or 1""",
    cause="A window of n tokens gives n guesses; the last one's answer is the first token of the next window.",
    hint="After reading all n tokens of a window the model has a guess, too. Do you use it?",
)
loss_by_length.slip(
    "the whole text at once",
    window_by_window,
    """            logits = model(tokens[start : start + length].unsqueeze(0))[0]
""",
    """            logits = model(tokens[: start + length].unsqueeze(0))[0][-length:]
""",
    cause="A window sees everything before it, so all lengths measure the same: the longest.",
    hint="What may the model know at the first token of the second window?",
)
loss_by_length.slip(
    "windows overlap",
    window_by_window,
    "len(tokens) - length, length)",
    "len(tokens) - length)",
    cause="A new window begins at every token; they should stand side by side.",
    hint="How many windows of length 4 do 9 tokens give?",
)
loss_by_length.slip(
    "bits instead of nats",
    window_by_window,
    "total / count",
    "total / count / math.log(2)",
    cause="The loss is in bits; asked for are nats.",
    hint="nats: the natural logarithm, which cross_entropy uses.",
)
loss_by_length.slip(
    "perplexity instead of the loss",
    window_by_window,
    "total / count",
    "math.exp(total / count)",
    cause="The result is the perplexity, exp of the loss.",
    hint="Read again what is asked for.",
)
loss_by_length.slip(
    "sum instead of the mean",
    window_by_window,
    "total / count",
    "total",
    cause="The surprises are added up over the text, so the result grows with it.",
    hint="By what do you divide?",
)


@loss_by_length.mistake(hint="Print the length of every window.")
def the_rest_counts_as_a_window(model, tokens, lengths):
    """The rest of the text is read as one more, shorter window."""
    losses = []
    for length in lengths:
        total, count = 0.0, 0
        for start in range(0, len(tokens) - 1, length):
            target = tokens[start + 1 : start + length + 1]
            logits = model(tokens[None, start : start + len(target)])[0]
            total += F.cross_entropy(logits, target, reduction="sum").item()
            count += len(target)
        losses.append(total / count)
    return losses
