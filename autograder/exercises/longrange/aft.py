"""The exercise on the attention-free Transformer: values weighed by keys and positions, gated by queries."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import longrange


def attention_free(queries, keys, values, bias):
    """The reference under the homework's signature."""
    return longrange.aft_full(queries, keys, values, bias=bias)


aft_full = Exercise(
    "longrange.aft_full",
    reference=attention_free,
    facets={"values": 2, "large keys": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
    equivalent_mutants={
        "places = torch.exp(bias - bias.amax(dim=-1, keepdim=True)) → "
        "places = torch.exp(bias - bias.amax(dim=1, keepdim=True))": "w has two axes: the last is number 1.",
    },
)


@aft_full.cases
def aft_cases(rng):
    def inputs(*batch, query=5, key=5, d_head=4, dtype=np.float64):
        made = {"queries": rng.normal(size=(*batch, query, d_head))}
        made |= {name: rng.normal(size=(*batch, key, d_head)) for name in ("keys", "values")}
        made["bias"] = rng.normal(size=(query, key))
        return {name: array.astype(dtype) for name, array in made.items()}

    query, key = int(rng.integers(2, 5)), int(rng.integers(5, 8))
    yield Case("as many queries as keys", **inputs())
    yield Case("different numbers", **inputs(query=query, key=key))
    yield Case("a batch with heads", **inputs(2, 3, query=query, key=key))
    yield Case("one token", **inputs(query=1, key=1))
    yield Case("float32", **inputs(2, dtype=np.float32))
    plain = inputs(query=query, key=key)
    plain["bias"][:] = 0
    yield Case("no positions: w is zero", **plain)
    loud = inputs(2)
    loud["keys"] += 1000
    yield Case("keys around a thousand", "large keys", **loud)
    uneven = inputs(2)
    uneven["keys"] += np.array([900.0, -900.0, 0.0, 100.0])
    yield Case("features of very different size", "large keys", **uneven)
    stairs = inputs(2)
    stairs["bias"] += np.array([[1000.0], [0.0], [-1000.0], [500.0], [-500.0]])
    yield Case("rows of w of very different size", "large keys", **stairs)
    steep = inputs(2)
    steep["bias"] += 1000
    yield Case("w around a thousand", "large keys", **steep)


@aft_full.probe
def ask_aft_full(answer, queries, keys, values, bias):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values, bias)]
    outputs = answer(*inputs)
    names = ("queries", "keys", "values", "bias")
    if isinstance(outputs, torch.Tensor) and outputs.requires_grad:
        towards = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
        slopes = torch.autograd.grad((outputs * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the outputs do not depend on it any more"] * 4
    return {"outputs": outputs} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@aft_full.alternative
def by_softmax_over_pairs(queries, keys, values, bias):
    exponents = keys.unsqueeze(-3) + bias.unsqueeze(-1)
    weights = torch.softmax(exponents, dim=-2)
    return torch.sigmoid(queries) * (weights * values.unsqueeze(-3)).sum(-2)


@aft_full.alternative
def by_two_products(queries, keys, values, bias):
    powers = torch.exp(keys - keys.amax(-2, keepdim=True))
    places = torch.exp(bias - bias.amax(-1, keepdim=True))
    return queries.sigmoid() * (places @ (powers * values)) / (places @ powers)


@aft_full.alternative
def query_by_query_free(queries, keys, values, bias):
    rows = []
    for i in range(queries.shape[-2]):
        weights = (keys + bias[i].reshape(-1, 1)).softmax(-2)
        rows.append((weights * values).sum(-2))
    gate = 1 / (1 + torch.exp(-queries))
    return gate * torch.stack(rows, -2)


aft_full.slip(
    "no gate",
    by_two_products,
    "queries.sigmoid() * ",
    "",
    cause="The gate σ(q) is missing, so the query plays no part at all.",
    hint="One of the arguments is not used.",
)
aft_full.slip(
    "gate without the sigmoid",
    by_two_products,
    "queries.sigmoid()",
    "queries",
    cause="The query multiplies as it is, without the sigmoid.",
    hint="A gate lies between 0 and 1.",
)
aft_full.slip(
    "positions forgotten",
    by_softmax_over_pairs,
    "bias.unsqueeze(-1)",
    "0 * bias.unsqueeze(-1)",
    cause="w plays no part: this is AFT-simple.",
    hint="One of the arguments is not used.",
)
aft_full.slip(
    "weights not divided by their sum",
    by_two_products,
    " / (places @ powers)",
    "",
    cause="The weights are not divided by their sum.",
    hint="The formula has a denominator: the same sum without v.",
)
aft_full.slip(
    "one weight for all features",
    by_two_products,
    "powers = torch.exp(keys - keys.amax(-2, keepdim=True))",
    "keys = keys.mean(-1, keepdim=True)\n    powers = torch.exp(keys - keys.amax(-2, keepdim=True))",
    cause="Each key is boiled down to one number; here every feature weighs for itself.",
    hint="The formula's products are ⊙, feature by feature: each feature is a head of its own.",
)
aft_full.slip(
    "shared out among the features",
    by_softmax_over_pairs,
    "dim=-2",
    "dim=-1",
    cause="The weights sum to one over the features instead of over the keys.",
    hint="Which axis does Σⱼ run over?",
)
aft_full.slip(
    "multiplied instead of added",
    by_softmax_over_pairs,
    "keys.unsqueeze(-3) + bias",
    "keys.unsqueeze(-3) * bias",
    cause="k and w are multiplied in the exponent; they are added there.",
    hint="exp(k + w).",
)


@aft_full.mistake(hint="What is exp(1000)? Which number may be subtracted from all keys without changing the quotient?")
def overflowing(queries, keys, values, bias):
    """The exponentials are taken of the bare numbers and overflow for large keys: infinity by infinity is no number."""
    powers, places = keys.exp(), bias.exp()
    return queries.sigmoid() * (places @ (powers * values)) / (places @ powers)
