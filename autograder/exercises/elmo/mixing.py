"""The exercise on ELMo's mixture: one vector a word from all layers, with shares that a task learns."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import elmo


def mix(layers, weights, scale):
    """The reference under the homework's signature."""
    return elmo.scalar_mix(torch.stack(list(layers)), weights, scale)


SUM = "return scale * sum((share * layer for share, layer in zip(shares, layers, strict=True)))"

scalar_mix = Exercise(
    "elmo.scalar_mix",
    reference=mix,
    facets={"values": 3, GRADIENTS: 1},
    difficulty=1,
    minutes=10,
    equivalent_mutants={
        f"{SUM} → {SUM.replace('shares, layers', 'layers, shares')}": "a product is symmetric",
        f"{SUM} → {SUM.replace(', strict=True', '')}": "there are as many weights as layers",
        f"{SUM} → {SUM.replace('True', 'False')}": "there are as many weights as layers",
    },
)


@scalar_mix.cases
def mix_cases(rng):
    def inputs(depth, *shape, dtype=np.float64):
        made = dict(layers=rng.normal(size=(depth, *shape)), weights=rng.normal(size=depth), scale=rng.normal(size=()))
        return {name: np.asarray(value, dtype=dtype) for name, value in made.items()}

    time, features = (int(size) for size in rng.integers(3, 7, size=2))
    yield Case("three layers", **inputs(3, 2, time, features))
    yield Case("one sentence", **inputs(3, time, features))
    yield Case("two layers", **inputs(2, 2, time, features))
    yield Case("one layer", **inputs(1, 2, 3, features))
    yield Case("as many layers as words and features", **inputs(4, 4, 4, 4))
    equal = inputs(5, 2, 3, 4)
    equal["weights"] = np.full(5, rng.normal())
    yield Case("equal weights", **equal)
    yield Case("float32", **inputs(3, 2, time, features, dtype=np.float32))


@scalar_mix.probe
def ask_mix(answer, layers, weights, scale):
    def call(layers, weights, scale):
        return {"mixture": answer(list(layers.unbind()), weights, scale)}

    return with_gradients(call, layers=layers, weights=weights, scale=scale)


@scalar_mix.alternative
def layer_by_layer(layers, weights, scale):
    shares = torch.softmax(weights, dim=0)
    total = torch.zeros_like(layers[0])
    for share, layer in zip(shares, layers, strict=True):
        total = total + share * layer
    return scale * total


@scalar_mix.alternative
def by_einsum(layers, weights, scale):
    powers = torch.exp(weights - weights.max())
    return scale * torch.einsum("l,l...->...", powers / powers.sum(), torch.stack(layers))


@scalar_mix.alternative
def by_broadcasting(layers, weights, scale):
    stacked = torch.stack(layers, dim=-1)
    return (stacked * weights.softmax(-1)).sum(-1) * scale


scalar_mix.slip(
    "no softmax",
    layer_by_layer,
    "shares = torch.softmax(weights, dim=0)",
    "shares = weights",
    cause="The weights are used as they are: they may be negative and need not sum to one.",
    hint="What makes shares of any numbers?",
)
scalar_mix.slip(
    "scale forgotten",
    layer_by_layer,
    "return scale * total",
    "return total",
    cause="The factor γ is missing.",
    hint="The formula has two kinds of learned numbers, s and γ.",
)
scalar_mix.slip(
    "scale inside the softmax",
    by_broadcasting,
    "weights.softmax(-1)).sum(-1) * scale",
    "(weights * scale).softmax(-1)).sum(-1)",
    cause="γ multiplies the weights before the softmax, which only sharpens the shares.",
    hint="γ is to change the size of the mixture. Where must it stand?",
)
scalar_mix.slip(
    "divided by the sum without exponentials",
    by_einsum,
    "powers = torch.exp(weights - weights.max())",
    "powers = weights",
    cause="The weights are divided by their sum; without exponentials a share may be negative, or the sum zero.",
    hint="The shares are a softmax of the weights.",
)
scalar_mix.slip(
    "divided by the number of layers, too",
    by_broadcasting,
    ".sum(-1) * scale",
    ".mean(-1) * scale",
    cause="The weighted layers are averaged; the shares already sum to one, so the result is too small.",
    hint="With one layer and γ = 1 nothing changes. And with two equal layers?",
)
scalar_mix.slip(
    "only the top layer",
    layer_by_layer,
    "total = total + share * layer",
    "total = layer",
    cause="Only the last layer is left: every step of the loop replaces the one before.",
    hint="The mixture is a sum over all layers.",
)
scalar_mix.slip(
    "shares that cannot learn",
    layer_by_layer,
    "torch.softmax(weights, dim=0)",
    "torch.softmax(weights, dim=0).detach()",
    cause="The shares are cut out of the graph, so the task cannot learn them.",
    hint="detach, .data, .item() and torch.tensor(…) all forget where numbers came from.",
)


@scalar_mix.mistake(hint="layer *= share writes into the caller's layer. share * layer makes a new tensor.")
def layers_changed_in_place(layers, weights, scale):
    """The numbers are right, but they are written over the caller's layers, and so no gradient flows any more."""
    total = 0
    for share, layer in zip(torch.softmax(weights, dim=0), layers, strict=True):
        layer *= share
        total = total + layer
    return scale * total


@scalar_mix.mistake(hint="The layers come as a list: `len(layers)` says how many there are.")
def three_layers_always(layers, weights, scale):
    """Only the first three layers are mixed, as ELMo has three; there may be more or fewer."""
    shares = torch.softmax(weights, dim=0)
    return scale * sum(share * layer for share, layer in zip(shares[:3], layers[:3], strict=True))
