"""The exercises on language models: which tokens stand to choice, and how unsure the model was of a text."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import rnn

# Nucleus sampling.


def nucleus_of_the_library(logits, p, temperature=1.0):
    """The library's filters, as probabilities."""
    return rnn.top_p(rnn.temperature(logits, temperature), p).softmax(-1)


nucleus = Exercise(
    "rnn.nucleus",
    reference=nucleus_of_the_library,
    facets={"values": 2, "batches": 1, "temperature": 1, SIDE_EFFECTS: 1},
    difficulty=2,
    minutes=20,
    forbidden=("top_p", "TopPLogitsWarper", "TopPLogitsProcessor"),
    equivalent_mutants={
        "probability = probability * (before < p) → probability = probability * (before <= p)": (
            "differs only where a sum of probabilities is p to the last bit, which rounding decides"
        ),
    },
)


@nucleus.cases
def nucleus_cases(rng):
    def between(logits, place):
        """A p that `place` + 1 tokens reach and no fewer, with room for rounding on both sides."""
        powers = np.exp(logits - logits.max())
        running = np.cumsum(np.sort(powers / powers.sum(axis=-1, keepdims=True), axis=-1)[..., ::-1], axis=-1)
        low, high = running[..., place - 1] if place else 0.0, running[..., place]
        return float(low + rng.uniform(0.3, 0.7) * (high - low))

    vocab = int(rng.integers(5, 9))
    logits = rng.normal(size=vocab)
    yield Case("some tokens", logits=logits, p=between(logits, 2), temperature=1.0)
    yield Case("only the likeliest", logits=logits, p=between(logits, 0), temperature=1.0)
    yield Case("all but one", logits=logits, p=between(logits, vocab - 2), temperature=1.0)
    yield Case("p = 1", logits=rng.normal(size=4), p=1.0, temperature=1.0)
    yield Case("one token", logits=rng.normal(size=1), p=0.5, temperature=1.0)
    half = np.log(np.array([0.5, 0.25, 0.25 - 2**-6, 2**-6]))[rng.permutation(4)]
    yield Case("a likeliest token that alone reaches p", logits=half, p=0.4, temperature=1.0)
    rows = rng.normal(size=(3, vocab)) * np.array([[0.3], [1.0], [3.0]])
    spots = np.cumsum(np.sort(np.exp(rows) / np.exp(rows).sum(-1, keepdims=True), -1)[:, ::-1], -1).ravel()
    tries = rng.uniform(0.5, 0.9, size=50)
    p = float(tries[np.abs(tries[:, None] - spots).min(axis=1).argmax()])
    yield Case("rows of a batch", "batches", logits=rows, p=p, temperature=1.0)
    yield Case("large logits", logits=logits + 1000, p=between(logits, 1), temperature=1.0)
    for label, degree in (("cold", float(rng.uniform(0.3, 0.5))), ("hot", float(rng.uniform(2, 3)))):
        steep = np.array([2.0, 1.0, 0.4, -0.4, -1.0]) + rng.uniform(-0.15, 0.15, size=5)
        place = 0 if degree < 1 else 3  # the model's own nucleus of this p has two or three tokens
        steep = steep[rng.permutation(5)]
        yield Case(label, "temperature", logits=steep, p=between(steep / degree, place), temperature=degree)


@nucleus.probe
def ask_nucleus(answer, logits, p, temperature):
    import torch

    return {"probabilities": answer(torch.from_numpy(logits), p, temperature)}


def sorted_and_put_back(logits, p, temperature=1.0):
    ordered, order = (logits / temperature).softmax(-1).sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    kept = torch.where(before < p, ordered, 0.0)
    kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(kept).scatter(-1, order, kept)


@nucleus.alternative
def all_likelier_ones_summed(logits, p, temperature=1.0):
    probability = torch.softmax(logits / temperature, dim=-1)
    likelier = probability.unsqueeze(-2) > probability.unsqueeze(-1)
    before = (probability.unsqueeze(-2) * likelier).sum(-1)
    kept = probability * (before < p)
    return kept / kept.sum(-1, keepdim=True)


@nucleus.alternative
def one_by_one(logits, p, temperature=1.0):
    rows = logits.reshape(-1, logits.shape[-1]) / temperature
    result = torch.zeros_like(rows)
    for row, out in zip(rows, result, strict=True):
        probability = torch.exp(row - row.max())
        probability = probability / probability.sum()
        total, chosen = 0.0, []
        for token in torch.argsort(probability, descending=True).tolist():
            chosen.append(token)
            total += probability[token].item()
            if total >= p:
                break
        out[chosen] = probability[chosen] / total
    return result.reshape(logits.shape)


@nucleus.alternative
def the_rest_is_minus_infinity(logits, p, temperature=1.0):
    scaled = logits / temperature
    order = scaled.argsort(-1, descending=True)
    running = scaled.softmax(-1).gather(-1, order).cumsum(-1)
    drop = torch.nn.functional.pad(running, (1, -1)) >= p
    return scaled.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), -math.inf).softmax(-1)


nucleus.slip(
    "the token that crosses p is dropped",
    sorted_and_put_back,
    "kept = torch.where(before < p, ordered, 0.0)",
    "kept = torch.where((before + ordered <= p) | (before == 0), ordered, 0.0)",
    cause="The token with which the sum reaches p is left out, so what is kept has less than p together.",
    hint="Probabilities 0.5, 0.3, 0.2 and p = 0.6: one token has 0.5, not yet enough. How many does it take?",
)
nucleus.slip(
    "nothing left where one token reaches p",
    sorted_and_put_back,
    "before < p",
    "before + ordered <= p",
    cause="The token with which the sum reaches p is left out; where the first one does, nothing is left: 0/0.",
    hint="One token has probability 0.9 and p is 0.5. How many tokens does your nucleus have?",
)
nucleus.slip(
    "not renormalised",
    sorted_and_put_back,
    "    kept = kept / kept.sum(-1, keepdim=True)\n",
    "",
    cause="What is kept keeps its old probabilities, which no longer sum to one.",
    hint="Sum your probabilities. From what should one be able to draw?",
)
nucleus.slip(
    "in the order of probability",
    sorted_and_put_back,
    "torch.zeros_like(kept).scatter(-1, order, kept)",
    "kept",
    cause="The probabilities come back sorted, so they stand at the wrong tokens.",
    hint="Entry i must be the probability of token i. Who remembers where the sorted ones came from?",
)
nucleus.slip(
    "the least likely first",
    sorted_and_put_back,
    "descending=True",
    "descending=False",
    cause="The tokens are added up from the least likely one.",
    hint="The nucleus holds as few tokens as possible. With which do you begin?",
)
nucleus.slip(
    "temperature multiplies",
    sorted_and_put_back,
    "logits / temperature",
    "logits * temperature",
    cause="The logits are multiplied by the temperature, so hot and cold are swapped.",
    hint="At a high temperature all tokens become alike. Should their logits move apart or together?",
)
nucleus.slip(
    "probabilities divided by the temperature",
    sorted_and_put_back,
    "(logits / temperature).softmax(-1)",
    "(logits.softmax(-1) / temperature)",
    cause="The temperature divides what comes out of the softmax; it belongs before it, to the logits.",
    hint="Sum a row after your division. A softmax that comes last makes every row sum to one: what goes into it?",
)
nucleus.slip(
    "softmax twice",
    sorted_and_put_back,
    "(logits / temperature).softmax(-1).sort",
    "(logits / temperature).softmax(-1).softmax(-1).sort",
    cause="The softmax is taken of probabilities: all lie between 0 and 1, and out come nearly equal ones.",
    hint="The softmax turns logits into probabilities. What has the second one to do?",
)
nucleus.slip(
    "softmax of what is kept",
    sorted_and_put_back,
    "kept = kept / kept.sum(-1, keepdim=True)",
    "kept = kept.masked_fill(kept == 0, -math.inf).softmax(-1)",
    cause="What is kept goes through a second softmax; asked is only that it be scaled to the sum one.",
    hint="Of 0.5 and 0.3, the first should be 0.625 in the end. What does a softmax make of them?",
)
nucleus.slip(
    "temperature ignored",
    sorted_and_put_back,
    "(logits / temperature)",
    "logits",
    cause="The temperature has no effect.",
    hint="Compare your probabilities at temperatures 0.5 and 2.",
)


@nucleus.mistake(hint="p is about a sum: with p = 0.9 and ten equally likely tokens, how many should stay?")
def p_as_a_threshold(logits, p, temperature=1.0):
    """A token stays when its own probability, compared with the likeliest one's, reaches p; no sum is formed."""
    probability = torch.softmax(logits / temperature, dim=-1)
    kept = torch.where(probability >= p * probability.amax(-1, keepdim=True), probability, 0.0)
    return kept / kept.sum(-1, keepdim=True)


@nucleus.mistake(hint="Which distribution does p cut: the model's, or the one you are going to draw from?")
def temperature_after_the_cut(logits, p, temperature=1.0):
    """The nucleus is taken from the model's own probabilities and the temperature comes after it."""
    ordered, order = logits.softmax(-1).sort(dim=-1, descending=True)
    dropped = ordered.cumsum(-1) - ordered >= p
    hidden = torch.zeros_like(dropped).scatter(-1, order, dropped)
    return (logits / temperature).masked_fill(hidden, -math.inf).softmax(-1)


# Perplexity.


def perplexity_of_the_library(logits, targets, mask):
    """Mean surprise at the real tokens, then the library's function."""
    surprise = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return rnn.perplexity(surprise[mask.flatten()].mean().item())


perplexity = Exercise(
    "rnn.perplexity",
    reference=perplexity_of_the_library,
    facets={"values": 2, "padding": 2},
    difficulty=1,
    minutes=15,
    forbidden=("perplexity", "Perplexity"),
)


@perplexity.cases
def perplexity_cases(rng):
    def inputs(batch, time, vocab, lengths=None, spread=1.5):
        lengths = np.full(batch, time) if lengths is None else np.array(lengths)
        return {
            "logits": rng.normal(size=(batch, time, vocab)) * spread,
            "targets": rng.integers(vocab, size=(batch, time)),
            "mask": np.arange(time) < lengths[:, None],
        }

    batch, time, vocab = (int(size) for size in rng.integers(3, 7, size=3))
    yield Case("texts of one length", **inputs(batch, time, vocab))
    yield Case("as many texts as tokens", **inputs(vocab, vocab, vocab))
    yield Case("one text of one token", **inputs(1, 1, vocab))
    yield Case("a model that knows nothing", **(inputs(2, time, vocab) | {"logits": np.zeros((2, time, vocab))}))
    large = inputs(2, time, vocab)
    large["logits"] += 800
    yield Case("logits that all are large", **large)
    yield Case("one long and two short texts", "padding", **inputs(3, time + 3, vocab, [time + 3, 1, 2], spread=2.5))
    yield Case("some of each text is padding", "padding", **inputs(2, time + 1, vocab, [time, 2]))


@perplexity.probe
def ask_perplexity(answer, logits, targets, mask):
    import torch

    return {"perplexity": float(answer(torch.from_numpy(logits), torch.from_numpy(targets), torch.from_numpy(mask)))}


def over_all_tokens(logits, targets, mask):
    surprise = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (surprise * mask).sum().div(mask.sum()).exp()


@perplexity.alternative
def by_cross_entropy(logits, targets, mask):
    return math.exp(torch.nn.functional.cross_entropy(logits[mask], targets[mask]))


@perplexity.alternative
def in_bits(logits, targets, mask):
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    bits = nats / math.log(2)
    return 2 ** bits[mask].mean()


@perplexity.alternative
def token_by_token(logits, targets, mask):
    total, count = 0.0, 0
    for text in range(len(logits)):
        for time in range(int(mask[text].sum())):
            row = logits[text, time]
            total += (torch.logsumexp(row, 0) - row[targets[text, time]]).item()
            count += 1
    return math.exp(total / count)


perplexity.slip(
    "two and e mixed",
    over_all_tokens,
    ".exp()",
    ".exp2()",
    cause="The surprise is in nats but the power is of two: the bases do not fit.",
    hint="A model that knows nothing of 6 tokens has perplexity 6. What is yours?",
)
perplexity.slip(
    "padding counts",
    over_all_tokens,
    "(surprise * mask).sum().div(mask.sum())",
    "surprise.mean()",
    cause="The filler behind the texts is counted like real tokens.",
    hint="Change the logits where the mask is False: does your number change?",
)
perplexity.slip(
    "divided by the padding too",
    over_all_tokens,
    "div(mask.sum())",
    "div(mask.numel())",
    cause="The surprise of the padding is left out, but its places are still counted in the mean.",
    hint="Of how many tokens is this the mean?",
)
perplexity.slip(
    "divided by the number of texts",
    over_all_tokens,
    "div(mask.sum())",
    "div(len(mask))",
    cause="The surprise of all tokens is divided by the number of texts, so long texts seem worse.",
    hint="The mean goes over tokens. How many real ones are there in all?",
)
perplexity.slip(
    "loss instead of perplexity",
    over_all_tokens,
    ".exp()",
    "",
    cause="This is the mean surprise itself, the exponential is missing.",
    hint="The mean surprise of a model that knows nothing of 6 tokens is ln 6. Its perplexity is 6.",
)
perplexity.slip(
    "sign of the logarithm",
    over_all_tokens,
    "-logits.log_softmax",
    "logits.log_softmax",
    cause="The logarithm of a probability is negative; surprise is minus that.",
    hint="Can a perplexity be below one?",
)


@perplexity.mistake(
    hint="A text of one hard token and one of a thousand easy ones: how much does the first count for you?"
)
def one_perplexity_for_each_text(logits, targets, mask):
    """Each text gets a perplexity of its own, and these are averaged: a short text counts as much as a long one."""
    surprise = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return ((surprise * mask).sum(1) / mask.sum(1)).exp().mean()


@perplexity.mistake(
    hint="A text of one hard token and one of a thousand easy ones: how much does the first count for you?"
)
def one_mean_for_each_text(logits, targets, mask):
    """The mean is taken within each text and then over texts: a token of a short text counts more."""
    surprise = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return ((surprise * mask).sum(1) / mask.sum(1)).mean().exp()


@perplexity.mistake(hint="Probabilities of a text multiply. Which mean turns products into sums?")
def mean_of_the_probabilities(logits, targets, mask):
    """The probabilities are averaged and inverted; the surprise has to be averaged, that is, the logarithms."""
    probability = logits.softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return 1 / ((probability * mask).sum() / mask.sum())
