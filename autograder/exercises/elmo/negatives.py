"""The exercise on negative sampling: the loss that tells a word's real neighbour from words drawn at random."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import elmo


def loss(given, asked, negatives):
    """The reference under the homework's signature."""
    return elmo.negative_sampling_loss(given, asked, negatives)


negative_sampling_loss = Exercise(
    "elmo.negative_sampling_loss",
    reference=loss,
    facets={"values": 3, "large products": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
)


@negative_sampling_loss.cases
def loss_cases(rng):
    def inputs(samples=4, count=3, d_model=5, size=1.0, dtype=np.float64):
        shapes = dict(given=(samples, d_model), asked=(samples, d_model), negatives=(samples, count, d_model))
        return {name: (size * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}

    sizes = [int(size) for size in rng.integers(2, 7, size=3)]
    yield Case("one sample, one negative", **inputs(samples=1, count=1))
    yield Case("several of each", **inputs(*sizes))
    yield Case("as many negatives as samples", **inputs(samples=3, count=3, d_model=3))
    yield Case("one number in each vector", **inputs(d_model=1))
    yield Case("all vectors zero", given=np.zeros((2, 3)), asked=np.zeros((2, 3)), negatives=np.zeros((2, 4, 3)))
    yield Case("float32", **inputs(dtype=np.float32))
    yield Case("float32, many samples", **inputs(samples=12, count=5, dtype=np.float32))
    yield Case("products of some hundreds", "large products", **inputs(size=12.0))
    yield Case("products of some thousands, float32", "large products", **inputs(size=40.0, dtype=np.float32))


@negative_sampling_loss.probe
def ask_loss(answer, given, asked, negatives):
    def call(given, asked, negatives):
        return {"loss": answer(given, asked, negatives)}

    return with_gradients(call, given=given, asked=asked, negatives=negatives)


@negative_sampling_loss.alternative
def by_softplus(given, asked, negatives):
    real = F.softplus(-(given * asked).sum(-1))
    drawn = F.softplus((negatives @ given.unsqueeze(-1)).squeeze(-1)).sum(-1)
    return (real + drawn).mean()


@negative_sampling_loss.alternative
def as_classification(given, asked, negatives):
    words = torch.cat([asked.unsqueeze(1), negatives], dim=1)
    logits = torch.einsum("sd,snd->sn", given, words)
    labels = torch.zeros_like(logits)
    labels[:, 0] = 1
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(given)


@negative_sampling_loss.alternative
def sample_by_sample(given, asked, negatives):
    total = 0
    for v, u, drawn in zip(given, asked, negatives, strict=True):
        total = total - F.logsigmoid(v @ u)
        for other in drawn:
            total = total - F.logsigmoid(-(v @ other))
    return total / given.shape[0]


negative_sampling_loss.slip(
    "negatives with the wrong sign",
    by_softplus,
    "F.softplus((negatives @",
    "F.softplus(-(negatives @",
    cause="The negatives are treated like real neighbours: their products are pushed up, too.",
    hint="For a word drawn at random, should v·u be large or small? Read the signs inside both σ.",
)
negative_sampling_loss.slip(
    "the real word with the wrong sign",
    by_softplus,
    "F.softplus(-(given * asked)",
    "F.softplus((given * asked)",
    cause="The real neighbour's product is pushed down like that of a negative.",
    hint="For the word that really stood there, should v·u be large or small?",
)
negative_sampling_loss.slip(
    "a reward instead of a loss",
    by_softplus,
    "return (real + drawn).mean()",
    "return -(real + drawn).mean()",
    cause="The sign of the whole is turned round: this grows when the vectors get better.",
    hint="A logarithm of a probability is negative. Which sign has a loss?",
)
negative_sampling_loss.slip(
    "mean over the negatives",
    by_softplus,
    ".squeeze(-1)).sum(-1)",
    ".squeeze(-1)).mean(-1)",
    cause="The negatives' terms are averaged; the formula adds them up.",
    hint="With all products zero the loss is (1 + k)·log 2.",
)
negative_sampling_loss.slip(
    "sum over the samples",
    by_softplus,
    "(real + drawn).mean()",
    "(real + drawn).sum()",
    cause="The samples' losses are added up; asked for is their mean.",
    hint="Should the loss double when the batch does?",
)
negative_sampling_loss.slip(
    "negatives compared with the real word",
    by_softplus,
    "negatives @ given.unsqueeze(-1)",
    "negatives @ asked.unsqueeze(-1)",
    cause="The negatives are multiplied with the real neighbour's vector instead of the given word's.",
    hint="Whose neighbour might each of the drawn words be?",
)


@negative_sampling_loss.mistake(hint="How many words compete in the formula? Each σ decides about one word alone.")
def softmax_instead_of_sigmoids(given, asked, negatives):
    """This is a softmax among the real word and the negatives; here every word gets a yes or no of its own."""
    words = torch.cat([asked.unsqueeze(1), negatives], dim=1)
    logits = torch.einsum("sd,snd->sn", given, words)
    return -logits.log_softmax(-1)[:, 0].mean()


@negative_sampling_loss.mistake(hint="Compute σ(−200), then its logarithm. Is there a function that does both at once?")
def logarithm_of_zero(given, asked, negatives):
    """σ of a very negative product is rounded to 0, and its logarithm is −∞: take both in one step."""
    real = torch.log(torch.sigmoid((given * asked).sum(-1)))
    drawn = torch.log(1 - torch.sigmoid(torch.einsum("sd,snd->sn", given, negatives))).sum(-1)
    return -(real + drawn).mean()


@negative_sampling_loss.mistake(hint="log 0 is not −46. What is it that log σ(x) approaches when x is very negative?")
def small_number_added(given, asked, negatives):
    """A tiny number inside the logarithm avoids −∞, but cuts off every loss above some value, and its gradient."""
    real = torch.log(torch.sigmoid((given * asked).sum(-1)) + 1e-10)
    drawn = torch.log(torch.sigmoid(-torch.einsum("sd,snd->sn", given, negatives)) + 1e-10).sum(-1)
    return -(real + drawn).mean()
