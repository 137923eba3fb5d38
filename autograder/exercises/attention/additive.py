"""The exercise on additive attention: scores from a small network."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import attention

additive_score = Exercise(
    "attention.additive_score",
    reference=attention.additive_scores,
    facets={"values": 3, "gradients": 1},
    difficulty=2,
    minutes=15,
)


@additive_score.cases
def additive_cases(rng):
    def inputs(batch=2, query=3, key=4, d_model=5, features=6, hidden=7, dtype=np.float64):
        shapes = dict(
            queries=(batch, query, d_model),
            keys=(batch, key, features),
            query_weight=(hidden, d_model),
            key_weight=(hidden, features),
            vector=(hidden,),
        )
        return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}

    sizes = rng.integers(2, 7, size=6)
    yield Case("one query, one key", **inputs(batch=1, query=1, key=1))
    yield Case("different sizes", **inputs(*map(int, sizes)))
    yield Case("as many queries as keys", **inputs(query=4, key=4, hidden=int(sizes[0])))
    yield Case("one query for many keys", **inputs(query=1, key=int(sizes[1]) + 3))
    yield Case("all widths equal", **inputs(d_model=5, features=5, hidden=5))
    yield Case("float32", **inputs(dtype=np.float32))


@additive_score.probe
def ask_additive_score(answer, queries, keys, query_weight, key_weight, vector):
    import torch

    names = ("queries", "keys", "query_weight", "key_weight", "vector")
    inputs = [torch.from_numpy(x).requires_grad_() for x in (queries, keys, query_weight, key_weight, vector)]
    scores = answer(*inputs)
    if isinstance(scores, torch.Tensor) and scores.requires_grad:
        towards = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).reshape(scores.shape)
        slopes = torch.autograd.grad((scores * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the scores do not depend on it any more"] * 5
    return {"scores": scores} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@additive_score.alternative
def additive_by_broadcasting(queries, keys, query_weight, key_weight, vector):
    projected = F.linear(queries, query_weight).unsqueeze(2) + F.linear(keys, key_weight).unsqueeze(1)
    return (torch.tanh(projected) * vector).sum(-1)


@additive_score.alternative
def additive_query_by_query(queries, keys, query_weight, key_weight, vector):
    columns = []
    for i in range(queries.shape[1]):
        query = queries[:, i : i + 1] @ query_weight.T
        columns.append(torch.tanh(query + keys @ key_weight.T) @ vector)
    return torch.stack(columns, dim=1)


@additive_score.alternative
def additive_by_einsum(queries, keys, query_weight, key_weight, vector):
    left = torch.einsum("nqd,hd->nqh", queries, query_weight)
    right = torch.einsum("nkd,hd->nkh", keys, key_weight)
    return torch.einsum("nqkh,h->nqk", torch.tanh(left[:, :, None] + right[:, None]), vector)


additive_score.slip(
    "no tanh",
    additive_by_broadcasting,
    "torch.tanh(projected)",
    "projected",
    cause="The tanh is missing: without it the query adds the same to every key's score and the softmax cancels it.",
    hint="Read the formula from the inside out: sum, then … , then v.",
)
additive_score.slip(
    "tanh of each side alone",
    additive_by_einsum,
    "torch.tanh(left[:, :, None] + right[:, None])",
    "torch.tanh(left[:, :, None]) + torch.tanh(right[:, None])",
    cause="The tanh is taken of query and key separately, so they never meet inside it.",
    hint="How many tanh does the formula have?",
)
additive_score.slip(
    "multiplied instead of added",
    additive_by_broadcasting,
    ".unsqueeze(2) +",
    ".unsqueeze(2) *",
    cause="The projections are multiplied; the additive score adds them.",
    hint="The name says it.",
)
additive_score.slip(
    "tanh of the finished score",
    additive_by_broadcasting,
    "return (torch.tanh(projected) * vector).sum(-1)",
    "return torch.tanh((projected * vector).sum(-1))",
    cause="The tanh comes after v instead of before it, so all scores lie between −1 and 1.",
    hint="v weighs the hidden units *after* their tanh.",
)
additive_score.slip(
    "queries and keys swapped",
    additive_by_einsum,
    "->nqk",
    "->nkq",
    cause="The scores are (batch, key, query); rows have to belong to queries.",
    hint="Compare the shape of your result with the one asked for.",
)
additive_score.slip(
    "already weights",
    additive_by_broadcasting,
    "return (torch.tanh(projected) * vector).sum(-1)",
    "return torch.softmax((torch.tanh(projected) * vector).sum(-1), -1)",
    cause="These are weights: the softmax is not part of the score.",
    hint="Scores may be negative and need not sum to one.",
)
