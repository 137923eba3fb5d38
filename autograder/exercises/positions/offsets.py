"""The exercise on Shaw's relative positions: a vector for every offset, on keys and on values."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course.positions import offset_matrix


def with_vectors(queries, keys, values, key_table, value_table):
    """The reference under the homework's signature."""
    most = len(key_table) // 2
    row = offset_matrix(queries.shape[-2], keys.shape[-2]).clamp(-most, most) + most
    scores = (queries[..., None, :] * (keys[..., None, :, :] + key_table[row])).sum(-1)
    weights = F.softmax(scores / queries.shape[-1] ** 0.5, dim=-1)
    return (weights[..., None] * (values[..., None, :, :] + value_table[row])).sum(-2)


shaw_attention = Exercise(
    "positions.shaw_attention",
    reference=with_vectors,
    facets={"values": 2, "more keys than queries": 1, "gradients": 1},
    difficulty=3,
    minutes=35,
)


@shaw_attention.cases
def shaw_cases(rng):
    def inputs(*batch, query=4, key=4, d_head=3, most=2, dtype=np.float64):
        shapes = dict(queries=(*batch, query, d_head), keys=(*batch, key, d_head), values=(*batch, key, d_head))
        shapes |= dict(key_table=(2 * most + 1, d_head), value_table=(2 * most + 1, d_head))
        return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}

    time, more, d_head = int(rng.integers(4, 8)), int(rng.integers(2, 5)), int(rng.integers(2, 6))
    yield Case("a sequence", **inputs(query=time, key=time, d_head=d_head))
    yield Case("a batch with heads", **inputs(2, 3, query=time, key=time, d_head=d_head))
    yield Case("offsets to one side and the other", **inputs(query=5, key=5, most=1))
    yield Case("all offsets in the table", **inputs(query=3, key=3, most=4))
    yield Case("one row in the table", **inputs(query=4, key=4, most=0))
    yield Case("as wide as long", **inputs(3, query=3, key=3, d_head=3))
    yield Case("one token", **inputs(1, query=1, key=1))
    yield Case("float32", **inputs(2, query=time, key=time, dtype=np.float32))
    cached = "more keys than queries"
    yield Case("one query, the last", cached, **inputs(2, query=1, key=time + more))
    yield Case("the last few queries", cached, **inputs(query=time, key=time + more, most=3))


@shaw_attention.probe
def ask_shaw_attention(answer, queries, keys, values, key_table, value_table):
    import torch

    names = ("queries", "keys", "values", "key_table", "value_table")
    inputs = [torch.from_numpy(x).requires_grad_() for x in (queries, keys, values, key_table, value_table)]
    output = answer(*inputs)
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 5
    return {"output": output} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@shaw_attention.alternative
def by_two_sums(queries, keys, values, key_table, value_table):
    query, key, most = queries.shape[-2], keys.shape[-2], len(key_table) // 2
    offset = torch.arange(key)[None, :] - torch.arange(key - query, key)[:, None]
    row = offset.clamp(-most, most) + most
    content = queries @ keys.transpose(-2, -1)
    place = torch.einsum("...qd,qkd->...qk", queries, key_table[row])
    weights = torch.softmax((content + place) / math.sqrt(queries.shape[-1]), dim=-1)
    return weights @ values + torch.einsum("...qk,qkd->...qd", weights, value_table[row])


@shaw_attention.alternative
def pair_by_pair(queries, keys, values, key_table, value_table):
    query, key, most = queries.shape[-2], keys.shape[-2], len(key_table) // 2
    outputs = []
    for i in range(query):
        rows = [max(-most, min(most, j - (i + key - query))) + most for j in range(key)]
        seen, heard = keys + key_table[rows], values + value_table[rows]
        scores = (seen @ queries[..., i, :, None]).squeeze(-1) / math.sqrt(queries.shape[-1])
        outputs.append((torch.softmax(scores, dim=-1).unsqueeze(-2) @ heard).squeeze(-2))
    return torch.stack(outputs, dim=-2)


@shaw_attention.alternative
def offset_by_offset(queries, keys, values, key_table, value_table):
    query, key, most = queries.shape[-2], keys.shape[-2], len(key_table) // 2
    row = (torch.arange(key) - torch.arange(key)[key - query :, None]).clamp(-most, most) + most
    row = row.expand(*queries.shape[:-1], key)
    scores = queries @ keys.mT + (queries @ key_table.mT).gather(-1, row)
    weights = torch.softmax(scores * queries.shape[-1] ** -0.5, dim=-1)
    shares = torch.stack([(weights * (row == r)).sum(-1) for r in range(len(value_table))], dim=-1)
    return weights @ values + shares @ value_table


shaw_attention.slip(
    "nothing on the values",
    by_two_sums,
    'weights @ values + torch.einsum("...qk,qkd->...qd", weights, value_table[row])',
    "weights @ values",
    cause="The values are averaged without the vectors of their offsets.",
    hint="One of the arguments is not used.",
)
shaw_attention.slip(
    "nothing on the keys",
    by_two_sums,
    "(content + place)",
    "content",
    cause="The scores do not contain the vectors of the offsets.",
    hint="One of the arguments has no effect on the weights.",
)
shaw_attention.slip(
    "only the content is scaled",
    by_two_sums,
    "(content + place) / math.sqrt(queries.shape[-1])",
    "content / math.sqrt(queries.shape[-1]) + place",
    cause="The part of the score that comes from the offset is not divided by √d_head.",
    hint="The query is multiplied with the sum kⱼ + a. What is divided by the root, then?",
)
shaw_attention.slip(
    "query minus key",
    by_two_sums,
    "torch.arange(key)[None, :] - torch.arange(key - query, key)[:, None]",
    "torch.arange(key - query, key)[:, None] - torch.arange(key)[None, :]",
    cause="The offset is the query's position minus the key's; asked for is the key's minus the query's.",
    hint="For a key before the query the offset is negative, and its row is in the first half of the table.",
)
shaw_attention.slip(
    "sign lost",
    by_two_sums,
    "row = offset.clamp(-most, most) + most",
    "row = offset.abs().clamp(max=most) + most",
    cause="Only the distance is looked up: keys behind and before the query get the same vector.",
    hint="How many rows of the table does your code ever use?",
)
shaw_attention.slip(
    "rows counted from the wrong place",
    by_two_sums,
    "row = offset.clamp(-most, most) + most",
    "row = offset.clamp(-most, most)",
    cause="Offset 0 is looked up in row 0, and negative offsets count from the table's end, without a complaint.",
    hint="Row 0 belongs to the offset −max_distance. Which row belongs to 0?",
)
shaw_attention.slip(
    "one offset too few",
    by_two_sums,
    "most = queries.shape[-2], keys.shape[-2], len(key_table) // 2",
    "most = queries.shape[-2], keys.shape[-2], max(0, len(key_table) // 2 - 1)",
    cause="The offsets are clipped one too early: the table has 2·max_distance + 1 rows.",
    hint="Five rows belong to the offsets −2, −1, 0, 1, 2.",
)
shaw_attention.slip(
    "restarts at zero with a cache",
    by_two_sums,
    "torch.arange(key - query, key)[:, None]",
    "torch.arange(query)[:, None]",
    cause="The queries are counted from 0, but they are the last of the keys' positions.",
    hint="One query and ten keys: which key has the offset 0?",
)
shaw_attention.slip(
    "gradient cut off",
    by_two_sums,
    "weights, value_table[row])",
    "weights.detach(), value_table[row])",
    cause="A part of the weights is cut out of the graph.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)
