"""The exercises on attention by features: as a recurrence, and with random features."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import longrange
from ml_course.longrange import LinearState


def recurrent(queries, keys, values, state=None):
    """The reference under the homework's signature."""
    outputs, last = longrange.linear_recurrence(queries, keys, values, None if state is None else LinearState(*state))
    return outputs, tuple(last)


linear_recurrence = Exercise(
    "longrange.linear_recurrence",
    reference=recurrent,
    facets={"values": 2, "state": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=25,
)


@linear_recurrence.cases
def recurrence_cases(rng):
    def inputs(*batch, time=5, d_head=3, features=4, dtype=np.float64, begun=False):
        made = {name: rng.normal(size=(*batch, time, d_head)) for name in ("queries", "keys")}
        made["values"] = rng.normal(size=(*batch, time, features))
        made["matrix"] = rng.random((*batch, d_head, features)) if begun else None
        made["sums"] = 1 + rng.random((*batch, d_head)) if begun else None
        return {name: None if array is None else array.astype(dtype) for name, array in made.items()}

    time, d_head = int(rng.integers(3, 7)), int(rng.integers(2, 6))
    yield Case("a few tokens", **inputs(time=time, d_head=d_head))
    yield Case("as many features as values", **inputs(d_head=4, features=4))
    yield Case("a batch with heads", **inputs(2, 3, time=time))
    yield Case("one token", **inputs(time=1))
    yield Case("float32", **inputs(2, dtype=np.float32))
    yield Case("going on from a state", "state", **inputs(time=time, begun=True))
    yield Case("going on, a batch", "state", **inputs(2, time=2, d_head=d_head, begun=True))


@linear_recurrence.probe
def ask_linear_recurrence(answer, queries, keys, values, matrix, sums):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values)]
    state = None if matrix is None else (torch.from_numpy(matrix), torch.from_numpy(sums))
    outputs, (last_matrix, last_sums) = answer(*inputs, state)
    names = ("queries", "keys", "values")
    if isinstance(outputs, torch.Tensor) and outputs.requires_grad:
        towards = torch.linspace(-1, 2, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
        slopes = torch.autograd.grad((outputs * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the outputs do not depend on it any more"] * 3
    replies = {"outputs": outputs, "matrix": last_matrix, "sums": last_sums}
    return replies | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@linear_recurrence.alternative
def step_by_step(queries, keys, values, state=None):
    queries, keys = F.elu(queries) + 1, F.elu(keys) + 1
    if state is None:
        matrix = torch.zeros(*keys.shape[:-2], keys.shape[-1], values.shape[-1], dtype=keys.dtype)
        sums = torch.zeros(*keys.shape[:-2], keys.shape[-1], dtype=keys.dtype)
    else:
        matrix, sums = state
    outputs = []
    for t in range(keys.shape[-2]):
        key, value, query = keys[..., t, :], values[..., t, :], queries[..., t, :]
        matrix = matrix + key.unsqueeze(-1) * value.unsqueeze(-2)
        sums = sums + key
        above = (query.unsqueeze(-1) * matrix).sum(-2)
        below = (query * sums).sum(-1, keepdim=True)
        outputs.append(above / below)
    return torch.stack(outputs, -2), (matrix, sums)


@linear_recurrence.alternative
def by_running_sums(queries, keys, values, state=None):
    queries, keys = (torch.where(x > 0, x + 1, torch.exp(x.clamp(max=0))) for x in (queries, keys))
    matrices = torch.cumsum(torch.einsum("...tf,...tv->...tfv", keys, values), -3)
    sums = torch.cumsum(keys, -2)
    if state is not None:
        matrices, sums = matrices + state[0].unsqueeze(-3), sums + state[1].unsqueeze(-2)
    above = torch.einsum("...tf,...tfv->...tv", queries, matrices)
    below = torch.einsum("...tf,...tf->...t", queries, sums)
    return above / below.unsqueeze(-1), (matrices[..., -1, :, :], sums[..., -1, :])


linear_recurrence.slip(
    "not divided by the sum",
    step_by_step,
    "outputs.append(above / below)",
    "outputs.append(above)",
    cause="The weights are not divided by their sum, so the outputs grow with the length.",
    hint="An average needs a denominator: φ(q)·z.",
)
linear_recurrence.slip(
    "read before writing",
    step_by_step,
    "outputs.append(above / below)",
    "above = (query.unsqueeze(-1) * (matrix - key.unsqueeze(-1) * value.unsqueeze(-2))).sum(-2)\n"
    "        below = (query * (sums - key)).sum(-1, keepdim=True)\n"
    "        outputs.append(above / below)",
    cause="A token is answered before it is written, so it does not see itself; the first one divides by zero.",
    hint="S_t, not S_{t−1}, stands in the formula of o_t.",
)
linear_recurrence.slip(
    "features without the one",
    step_by_step,
    "F.elu(queries) + 1, F.elu(keys) + 1",
    "F.elu(queries), F.elu(keys)",
    cause="φ is elu alone, whose values may be negative: weights then cancel, and the sum may come near zero.",
    hint="elu lies above −1. What makes it positive?",
)
linear_recurrence.slip(
    "features of the keys only",
    step_by_step,
    "F.elu(queries) + 1, F.elu(keys) + 1",
    "queries, F.elu(keys) + 1",
    cause="φ is applied to the keys but not to the queries.",
    hint="The similarity is φ(q)·φ(k): both pass through φ.",
)
linear_recurrence.slip(
    "sums start again at every token",
    step_by_step,
    "sums = sums + key\n",
    "sums = key\n",
    cause="z holds the newest key alone instead of the sum of all so far.",
    hint="Both S and z are running sums.",
)
linear_recurrence.slip(
    "state ignored",
    step_by_step,
    "matrix, sums = state",
    "matrix, sums = torch.zeros_like(state[0]), torch.zeros_like(state[1])",
    cause="Every call begins with an empty memory: what was read before is forgotten.",
    hint="Cut a sequence in two, hand the state over, and compare with reading it at once.",
)
linear_recurrence.slip(
    "gradient cut off",
    step_by_step,
    "return torch.stack(outputs, -2), (matrix, sums)",
    "return torch.stack(outputs, -2).detach(), (matrix, sums)",
    cause="The outputs are cut out of the graph, so nothing can be learned.",
    hint="detach, .data and torch.tensor(…) all forget where numbers came from.",
)


@linear_recurrence.mistake(hint="Change the last token. Does your first output change? It must not.")
def sees_the_future(queries, keys, values, state=None):
    """The sums are taken over the whole sequence, so every token sees those that follow it."""
    queries, keys = F.elu(queries) + 1, F.elu(keys) + 1
    matrix, sums = keys.mT @ values, keys.sum(-2)
    if state is not None:
        matrix, sums = matrix + state[0], sums + state[1]
    return queries @ matrix / (queries * sums[..., None, :]).sum(-1, keepdim=True), (matrix, sums)


def positive(x, directions):
    """The reference under the homework's signature."""
    return longrange.random_features(x, directions, "positive")


positive_features = Exercise(
    "longrange.positive_features",
    reference=positive,
    facets={"values": 2, GRADIENTS: 1},
    difficulty=1,
    minutes=15,
)


@positive_features.cases
def positive_cases(rng):
    def inputs(*batch, d_head=4, directions=6, dtype=np.float64, size=0.7):
        x, w = size * rng.normal(size=(*batch, d_head)), rng.normal(size=(directions, d_head))
        return dict(x=x.astype(dtype), directions=w.astype(dtype))

    d_head, directions = int(rng.integers(2, 6)), int(rng.integers(6, 12))
    yield Case("several vectors", **inputs(5, d_head=d_head, directions=directions))
    yield Case("as many directions as features", **inputs(5, d_head=4, directions=4))
    yield Case("a batch with heads", **inputs(2, 3, 5, directions=directions))
    yield Case("one vector", **inputs(directions=directions))
    yield Case("one direction", **inputs(3, directions=1))
    yield Case("vectors of zeros", **inputs(3, size=0.0))
    yield Case("long vectors", **inputs(4, size=3.0))
    yield Case("float32", **inputs(4, dtype=np.float32))


@positive_features.probe
def ask_positive_features(answer, x, directions):
    import torch

    x = torch.from_numpy(x).requires_grad_()
    features = answer(x, torch.from_numpy(directions))
    if isinstance(features, torch.Tensor) and features.requires_grad:
        towards = torch.linspace(-1, 2, features.numel(), dtype=features.dtype).reshape(features.shape)
        slope = torch.autograd.grad((features * towards).sum(), x)[0]
    else:
        slope = "none: the features do not depend on it any more"
    return {"features": features, "gradient of x": slope}


@positive_features.alternative
def in_one_exponent(x, directions):
    exponent = x @ directions.T - (x**2).sum(-1, keepdim=True) / 2
    return torch.exp(exponent) / len(directions) ** 0.5


@positive_features.alternative
def factor_by_factor(x, directions):
    powers = torch.exp(torch.einsum("...d,md->...m", x, directions))
    size = torch.exp(torch.linalg.vecdot(x, x) / -2)
    return size.unsqueeze(-1) * powers * directions.shape[0] ** -0.5


positive_features.slip(
    "not divided by the root",
    in_one_exponent,
    " / len(directions) ** 0.5",
    "",
    cause="The features are not divided by √m, so φ(x)·φ(y) grows with the number of directions.",
    hint="φ(x)·φ(y) should be an average over the m directions.",
)
positive_features.slip(
    "divided by the number instead of its root",
    in_one_exponent,
    "len(directions) ** 0.5",
    "len(directions)",
    cause="Each feature is divided by m, and a product of two by m².",
    hint="The factor enters twice, in φ(x) and in φ(y). What is left for each?",
)
positive_features.slip(
    "norm with the wrong sign",
    in_one_exponent,
    "x @ directions.T - (x**2)",
    "x @ directions.T + (x**2)",
    cause="‖x‖²/2 is added instead of subtracted: that factor belongs to the trigonometric features.",
    hint="The mean of exp(w·z) over normal w is exp(+‖z‖²/2). With z = x + y, what has to be taken away?",
)
positive_features.slip(
    "norm forgotten",
    in_one_exponent,
    " - (x**2).sum(-1, keepdim=True) / 2",
    "",
    cause="The factor exp(−‖x‖²/2) is missing.",
    hint="The mean of exp(w·z) over normal w is exp(‖z‖²/2). With z = x + y that is more than exp(x·y).",
)
positive_features.slip(
    "norm not halved",
    in_one_exponent,
    "keepdim=True) / 2",
    "keepdim=True)",
    cause="The whole ‖x‖² is subtracted instead of its half.",
    hint="‖x + y‖² = ‖x‖² + 2x·y + ‖y‖², and half of it.",
)
positive_features.slip(
    "norm not squared",
    in_one_exponent,
    "(x**2).sum(-1, keepdim=True)",
    "x.norm(dim=-1, keepdim=True)",
    cause="The norm is subtracted without its square.",
    hint="‖x‖² is the sum of the squares, without a root.",
)


@positive_features.mistake(hint="Can a cosine be negative? Then a weight of attention can be.")
def trigonometric_instead(x, directions):
    """These are the trigonometric features, cosines and sines, which estimate the same but may be negative."""
    projected = x @ directions.T
    size = torch.exp((x**2).sum(-1, keepdim=True) / 2)
    return size * torch.cat([torch.cos(projected), torch.sin(projected)], -1) / len(directions) ** 0.5
