"""The exercise on shared keys and values: grouped-query attention."""

import math

import numpy as np
import torch
from einops import rearrange, repeat

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course.attention import scaled_dot_product_attention


def shared_in_the_library(queries, keys, values, mask=None):
    """The library's attention, each key and value stated once for every head of its group."""
    group = queries.shape[1] // keys.shape[1]
    keys, values = (repeat(x, "batch kv key d -> batch (kv group) key d", group=group) for x in (keys, values))
    return scaled_dot_product_attention(queries, keys, values, mask, fused=False)


grouped_attention = Exercise(
    "decoding.grouped_attention",
    reference=shared_in_the_library,
    facets={"values": 3, "mask": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
    forbidden=("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention", "repeat_kv"),
)


@grouped_attention.cases
def grouped_cases(rng):
    def inputs(heads, kv_heads, batch=2, query=3, key=5, d_head=4, masked=False, dtype=np.float64):
        def numbers(*shape):
            return (1.2 * rng.normal(size=shape)).astype(dtype)

        mask = rng.random((query, key)) > 0.4
        mask[:, 0] = True
        return dict(
            queries=numbers(batch, heads, query, d_head),
            keys=numbers(batch, kv_heads, key, d_head),
            values=numbers(batch, kv_heads, key, d_head),
            mask=mask if masked else None,
        )

    group = int(rng.integers(2, 4))
    yield Case("two groups", **inputs(2 * group, 2))
    yield Case("three groups of two", **inputs(6, 3, d_head=int(rng.integers(2, 6))))
    yield Case("one group: multi-query attention", **inputs(4, 1))
    yield Case("as many groups as heads", **inputs(3, 3))
    yield Case("as many heads as tokens", **inputs(4, 2, query=4, key=4))
    yield Case("one newest token", **inputs(4, 2, query=1, key=6))
    yield Case("float32", **inputs(4, 2, dtype=np.float32))
    yield Case("some keys hidden", "mask", **inputs(4, 2, masked=True))
    yield Case("one group, some keys hidden", "mask", **inputs(3, 1, query=4, key=4, masked=True))


@grouped_attention.probe
def ask_grouped_attention(answer, queries, keys, values, mask):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values)]
    output = answer(*inputs, None if mask is None else torch.from_numpy(mask))
    slopes = ["none: the output does not depend on it any more"] * 3
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    names = ("queries", "keys", "values")
    return {"output": output} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


def each_key_repeated(queries, keys, values, mask=None):
    group = queries.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(group, dim=1)
    values = values.repeat_interleave(group, dim=1)
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1) @ values


@grouped_attention.alternative
def head_by_head(queries, keys, values, mask=None):
    heads, kv_heads = queries.shape[1], keys.shape[1]
    answers = []
    for head in range(heads):
        shared = head * kv_heads // heads
        scores = queries[:, head] @ keys[:, shared].mT / queries.shape[-1] ** 0.5
        if mask is not None:
            scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
        answers.append(torch.softmax(scores, dim=-1) @ values[:, shared])
    return torch.stack(answers, dim=1)


@grouped_attention.alternative
def an_axis_of_groups(queries, keys, values, mask=None):
    queries = rearrange(queries, "batch (kv group) query d -> batch kv group query d", kv=keys.shape[1])
    scores = torch.einsum("bkgqd,bkmd->bkgqm", queries, keys) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf)
    answers = torch.einsum("bkgqm,bkmd->bkgqd", torch.softmax(scores, dim=-1), values)
    return answers.flatten(1, 2)


@grouped_attention.alternative
def groups_below_each_other(queries, keys, values, mask=None):
    kv_heads, query = keys.shape[1], queries.shape[2]
    group = queries.shape[1] // kv_heads
    folded = rearrange(queries, "batch (kv group) query d -> batch kv (group query) d", kv=kv_heads)
    scores = folded @ keys.mT * folded.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask.repeat(group, 1), -math.inf)
    return rearrange(scores.softmax(-1) @ values, "b kv (group query) d -> b (kv group) query d", query=query)


grouped_attention.slip(
    "heads repeated in the wrong order",
    each_key_repeated,
    "keys = keys.repeat_interleave(group, dim=1)\n    values = values.repeat_interleave(group, dim=1)",
    "keys = keys.repeat(1, group, 1, 1)\n    values = values.repeat(1, group, 1, 1)",
    cause="The heads of keys and values take turns (0, 1, 0, 1); neighbouring query heads share one (0, 0, 1, 1).",
    hint="With four query heads and two of keys: which of them does query head 1 ask? `repeat` lays copies end to end.",
)
grouped_attention.slip(
    "values in another order than keys",
    each_key_repeated,
    "values = values.repeat_interleave(group, dim=1)",
    "values = values.repeat(1, group, 1, 1)",
    cause="Keys and values of a head belong together, but the values are repeated in another order.",
    hint="Do keys and values go through the same steps?",
)
grouped_attention.slip(
    "all heads share the first",
    each_key_repeated,
    "keys = keys.repeat_interleave(group, dim=1)\n    values = values.repeat_interleave(group, dim=1)",
    "keys, values = keys[:, :1], values[:, :1]",
    cause="Every query head asks the first head of keys and values; the others are never used.",
    hint="With how many groups does your version agree?",
)
grouped_attention.slip(
    "keys and values averaged over the heads",
    each_key_repeated,
    "keys = keys.repeat_interleave(group, dim=1)\n    values = values.repeat_interleave(group, dim=1)",
    "keys, values = keys.mean(1, keepdim=True), values.mean(1, keepdim=True)",
    cause="The heads of keys and values are averaged into one; each group has its own.",
    hint="With how many groups does your version agree?",
)
grouped_attention.slip(
    "mask inverted",
    each_key_repeated,
    "masked_fill(~mask,",
    "masked_fill(mask,",
    cause="The mask is read the wrong way round: here True means may attend.",
    hint="Which keys get a weight of zero?",
)
grouped_attention.slip(
    "mask ignored",
    each_key_repeated,
    "scores = scores.masked_fill(~mask, -math.inf)",
    "pass",
    cause="The mask has no effect.",
    hint="Change a value that is hidden. Does your output change?",
)
grouped_attention.slip(
    "scaled by the number of heads",
    each_key_repeated,
    "math.sqrt(queries.shape[-1])",
    "math.sqrt(queries.shape[1])",
    cause="The scores are divided by the root of the number of heads, not of their width.",
    hint="Over which axis does the dot product of query and key sum?",
)
grouped_attention.slip(
    "scale forgotten",
    each_key_repeated,
    " / math.sqrt(queries.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Sharing keys changes nothing in the formula of a head. Compare it with yours.",
)
