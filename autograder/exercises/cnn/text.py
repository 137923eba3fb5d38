"""The exercise on a sentence's features: what each filter finds, at its best place."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import cnn


def best_places(embedded, lengths, weight, bias):
    """The reference under the homework's signature: only phrases that lie wholly in the sentence count."""
    found = cnn.conv1d(embedded.mT, weight, bias).relu()
    inside = torch.arange(found.shape[2]) < lengths[:, None, None] - weight.shape[2] + 1
    return cnn.max_over_time(found, inside)


phrase_features = Exercise(
    "cnn.phrase_features",
    reference=best_places,
    facets={"values": 2, "padding": 2, GRADIENTS: 1},
    difficulty=3,
    minutes=25,
)


@phrase_features.cases
def phrase_features_cases(rng):
    def inputs(batch=3, time=7, d_model=4, filters=5, width=3, lengths=None, bias=0.0, dtype=np.float64):
        return dict(
            embedded=rng.normal(size=(batch, time, d_model)).astype(dtype),
            lengths=np.array([time] * batch if lengths is None else lengths),
            weight=rng.normal(size=(filters, d_model, width)).astype(dtype),
            bias=(bias + rng.normal(size=filters)).astype(dtype),
        )

    batch, time, width = int(rng.integers(2, 5)), int(rng.integers(7, 10)), int(rng.integers(2, 5))
    yield Case("all sentences of one length", **inputs(batch, time, width=width))
    yield Case("as many filters as places", **inputs(time=7, filters=5, width=3))
    yield Case("all sizes equal", **inputs(5, 5, 5, 5, 1))
    yield Case("single words", **inputs(width=1))
    yield Case("one sentence, one filter, one place", **inputs(1, 3, filters=1, width=3))
    yield Case("large negative biases: nothing found", **inputs(bias=-50.0))
    yield Case("float32", **inputs(dtype=np.float32))
    yield Case("not contiguous", **(inputs() | {"embedded": rng.normal(size=(4, 7, 3)).T}))
    loud = inputs(4, 8, lengths=[8, 5, 4, 3])
    loud["embedded"][:, 5:] *= 30  # what lies in the padding would win
    loud["embedded"][2:, 4] *= 30
    loud["embedded"][3, 3] *= 30
    yield Case("different lengths, padding is not zero", "padding", **loud)
    yield Case(
        "a phrase must not hang over the end",
        "padding",
        **(
            inputs(3, 6, lengths=[4, 3, 5])
            | {
                "bias": rng.normal(size=5) + 3.0,
            }
        ),
    )
    yield Case("a sentence shorter than the filter", "padding", **inputs(3, 6, lengths=[6, 2, 1], bias=2.0))
    yield Case("lengths, large negative biases", "padding", **inputs(3, 6, lengths=[6, 4, 3], bias=-50.0))


@phrase_features.probe
def ask_phrase_features(answer, embedded, lengths, weight, bias):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (embedded, weight, bias)]
    features = answer(inputs[0], torch.from_numpy(lengths), *inputs[1:])
    if isinstance(features, torch.Tensor) and features.requires_grad:
        towards = torch.linspace(-1, 2, features.numel(), dtype=features.dtype).reshape(features.shape)
        slopes = torch.autograd.grad((features * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 3
    names = ("embedded", "weight", "bias")
    return {"features": features} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@phrase_features.alternative
def sentence_by_sentence(embedded, lengths, weight, bias):
    rows = []
    for sentence, length in zip(embedded, lengths.tolist(), strict=True):
        if length < weight.shape[2]:
            rows.append(torch.zeros_like(bias) * bias)
        else:
            found = F.conv1d(sentence[:length].T[None], weight, bias)[0]
            rows.append(F.relu(found).max(dim=1).values)
    return torch.stack(rows)


@phrase_features.alternative
def by_unfolding(embedded, lengths, weight, bias):
    width = weight.shape[2]
    phrases = embedded.unfold(1, width, 1)
    found = torch.relu(torch.einsum("ntdw,fdw->ntf", phrases, weight) + bias)
    end = torch.arange(phrases.shape[1]) + width
    inside = end[None, :] <= lengths[:, None]
    return (found * inside[:, :, None]).max(dim=1).values


def right_features(embedded, lengths, weight, bias):
    found = torch.relu(F.conv1d(embedded.transpose(1, 2), weight, bias))
    places = torch.arange(found.shape[2])
    inside = places[None, :] + weight.shape[2] <= lengths[:, None]
    found = found * inside[:, None, :]
    return found.max(dim=2).values


phrase_features.slip(
    "padding read",
    right_features,
    "found = found * inside[:, None, :]",
    "found = found * 1",
    cause="The maximum runs over the padding too, so a sentence's features depend on what fills it up.",
    hint="Which of your arguments is never used?",
)
phrase_features.slip(
    "phrases over the end",
    right_features,
    "places[None, :] + weight.shape[2] <= lengths[:, None]",
    "places[None, :] < lengths[:, None]",
    cause="Every phrase that *begins* in the sentence is counted, also those that hang over its end.",
    hint="A sentence of 5 words has how many phrases of 3?",
)
phrase_features.slip(
    "one phrase too few",
    right_features,
    "places[None, :] + weight.shape[2] <= lengths[:, None]",
    "places[None, :] + weight.shape[2] < lengths[:, None]",
    cause="The last phrase of every sentence is left out.",
    hint="A sentence of 3 words has how many phrases of 3? What does your comparison say?",
)
phrase_features.slip(
    "mean instead of maximum",
    right_features,
    "found.max(dim=2).values",
    "found.mean(dim=2)",
    cause="The mean over the places is taken instead of the maximum.",
    hint="A phrase that occurs once in a long sentence should count as much as in a short one.",
)
phrase_features.slip(
    "maximum over the filters",
    right_features,
    "found.max(dim=2).values",
    "found.max(dim=1).values",
    cause="The maximum runs over the filters, so each place keeps a number instead of each filter.",
    hint="Asked for is (batch, filters): which axis has to go?",
)
phrase_features.slip(
    "no ReLU",
    right_features,
    "torch.relu(F.conv1d(embedded.transpose(1, 2), weight, bias))",
    "F.conv1d(embedded.transpose(1, 2), weight, bias)",
    cause="The ReLU is missing, so a filter that finds nothing may give a negative number.",
    hint="Read the formula from the inside out: what comes between the sum and the maximum?",
)
phrase_features.slip(
    "bias forgotten",
    right_features,
    "weight, bias))",
    "weight))",
    cause="The bias is not added.",
    hint="Which of your arguments is never used?",
)
phrase_features.slip(
    "gradient cut off",
    right_features,
    "embedded.transpose(1, 2)",
    "embedded.detach().transpose(1, 2)",
    cause="The embeddings are cut out of the graph, so the words' vectors can never learn.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)
phrase_features.slip(
    "padding zeroed, but read",
    right_features,
    "found = torch.relu(F.conv1d(embedded.transpose(1, 2), weight, bias))",
    "real = torch.arange(embedded.shape[1]) < lengths[:, None]\n"
    "    found = torch.relu(F.conv1d((embedded * real[:, :, None]).transpose(1, 2), weight, bias))\n"
    "    lengths = lengths * 0 + embedded.shape[1]",
    cause="The padded words are set to zero, but phrases that hold them still count: with a bias they find something.",
    hint="What does a filter with bias 1 find in a phrase of zeros?",
)
