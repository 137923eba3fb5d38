"""The exercise on multi-head attention, from the projections to the output."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from autograder.exercise import Case, Exercise
from autograder.exercises.attention.dot_product import FUSED
from ml_course import attention


def heads_and_weights(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    """The reference under the homework's signature."""
    queries = attention.split_heads(x @ query_weight.T, heads)
    keys = attention.split_heads(memory @ key_weight.T, heads)
    values = attention.split_heads(memory @ value_weight.T, heads)
    weights = attention.attention_weights(queries, keys, None if mask is None else mask[:, None])
    return attention.merge_heads(weights @ values) @ output_weight.T, weights


multi_head_attention = Exercise(
    "attention.multi_head_attention",
    reference=heads_and_weights,
    facets={"values": 3, "masking": 2, "gradients": 1},
    difficulty=3,
    minutes=30,
    forbidden=FUSED,
    seconds=20,
)


@multi_head_attention.cases
def multi_head_cases(rng):
    def inputs(batch=2, query=4, key=5, heads=2, d_head=3, d_memory=None, dtype=np.float64):
        d_model = heads * d_head
        d_memory = d_memory or d_model
        shapes = dict(
            x=(batch, query, d_model),
            memory=(batch, key, d_memory),
            query_weight=(d_model, d_model),
            key_weight=(d_model, d_memory),
            value_weight=(d_model, d_memory),
            output_weight=(d_model, d_model),
        )
        return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()} | {"heads": heads}

    query, key, heads = int(rng.integers(2, 5)), int(rng.integers(5, 8)), int(rng.integers(2, 5))
    yield Case("cross-attention", **inputs(query=query, key=key, heads=heads), mask=None)
    itself = inputs(query=5, key=5, heads=heads)
    itself["memory"] = itself["x"].copy()
    yield Case("self-attention", **itself, mask=None)
    yield Case("as many tokens as heads", **inputs(query=4, key=4, heads=4), mask=None)
    yield Case("one head", **inputs(query=query, key=key, heads=1, d_head=5), mask=None)
    yield Case("one number per head", **inputs(heads=3, d_head=1), mask=None)
    yield Case("a memory of another width", **inputs(d_memory=7), mask=None)
    yield Case("one query, one key", **inputs(batch=1, query=1, key=1), mask=None)
    yield Case("float32", **inputs(heads=heads, dtype=np.float32), mask=None)

    mask = rng.random((2, query, key)) < 0.6
    mask[:, :, 0], mask[:, 0, 1] = True, False
    sizes = dict(query=query, key=key, heads=2)  # as many heads as sequences: a mask on the wrong axis still fits
    yield Case("some keys masked", "masking", **inputs(**sizes), mask=mask)
    yield Case("one mask for the batch", "masking", **inputs(**sizes), mask=mask[:1])
    yield Case("one mask for all queries", "masking", **inputs(**sizes), mask=mask[:, 1:2])
    nothing = mask.copy()
    nothing[0, 1] = False
    yield Case("a row with every key masked", "masking", **inputs(**sizes), mask=nothing)


@multi_head_attention.probe
def ask_multi_head(answer, x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask):
    import torch

    names = ("x", "memory", "query_weight", "key_weight", "value_weight", "output_weight")
    arrays = (x, memory, query_weight, key_weight, value_weight, output_weight)
    inputs = [torch.from_numpy(array).requires_grad_() for array in arrays]
    output, weights = answer(*inputs, heads, None if mask is None else torch.from_numpy(mask))
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 6
    gradients = {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}
    return {"output": output, "weights": weights} | gradients


@multi_head_attention.alternative
def heads_by_name(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    pieces = "batch time (heads d_head) -> batch heads time d_head"
    queries = rearrange(x @ query_weight.T, pieces, heads=heads)
    keys = rearrange(memory @ key_weight.T, pieces, heads=heads)
    values = rearrange(memory @ value_weight.T, pieces, heads=heads)
    scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
    if mask is not None:
        hidden = ~mask.unsqueeze(1)
        scores = scores.masked_fill(hidden, -1e9)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(hidden, 0)
    merged = rearrange(weights @ values, "batch heads time d_head -> batch time (heads d_head)")
    return merged @ output_weight.T, weights


@multi_head_attention.alternative
def heads_by_view(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    batch, query, d_model = x.shape
    key, d_head = memory.shape[1], d_model // heads
    queries = F.linear(x, query_weight).reshape(batch, query, heads, d_head).transpose(1, 2)
    keys = F.linear(memory, key_weight).reshape(batch, key, heads, d_head).transpose(1, 2)
    values = F.linear(memory, value_weight).reshape(batch, key, heads, d_head).transpose(1, 2)
    allowed = torch.ones(1, 1, 1, 1, dtype=torch.bool) if mask is None else mask[:, None]
    scores = torch.einsum("nhqd,nhkd->nhqk", queries, keys) * d_head**-0.5
    weights = torch.softmax(torch.where(allowed, scores, -1e9), dim=-1) * allowed
    merged = (weights @ values).transpose(1, 2).reshape(batch, query, d_model)
    return F.linear(merged, output_weight), weights


@multi_head_attention.alternative
def head_by_head(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    outputs, weights = [], []
    projections = (query_weight.chunk(heads), key_weight.chunk(heads), value_weight.chunk(heads))
    for to_query, to_key, to_value in zip(*projections, strict=True):
        scores = (x @ to_query.T) @ (memory @ to_key.T).mT / math.sqrt(len(to_query))
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -1e9).to(scores.dtype)
        share = torch.softmax(scores, dim=-1)
        if mask is not None:
            share = share * mask
        weights.append(share)
        outputs.append(share @ memory @ to_value.T)
    return torch.cat(outputs, dim=-1) @ output_weight.T, torch.stack(weights, dim=1)


multi_head_attention.slip(
    "scaled by the whole width",
    heads_by_name,
    "math.sqrt(queries.shape[-1])",
    "math.sqrt(x.shape[-1])",
    cause="The scores are divided by √d_model; a head's dot product sums over d_head features only.",
    hint="How many products does one score sum up, once the heads are split?",
)
multi_head_attention.slip(
    "not scaled",
    heads_by_name,
    " / math.sqrt(queries.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Each head is scaled dot product attention of its own.",
)
multi_head_attention.slip(
    "heads split without transpose",
    heads_by_view,
    "F.linear(x, query_weight).reshape(batch, query, heads, d_head).transpose(1, 2)",
    "F.linear(x, query_weight).reshape(batch, heads, query, d_head)",
    cause="The queries' heads are cut by reshape alone, so each head sees a mixture of tokens.",
    hint="reshape moves no axis. Cut the features in two first, then exchange heads and time.",
)
multi_head_attention.slip(
    "heads merged without transpose",
    heads_by_view,
    "(weights @ values).transpose(1, 2).reshape",
    "(weights @ values).reshape",
    cause="The heads are joined without bringing time to the front first, so tokens are mixed.",
    hint="Which two axes do you want to join? Do they stand side by side?",
)
multi_head_attention.slip(
    "no output projection",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged, weights",
    cause="The output projection is missing: the heads' results are put side by side but never mixed.",
    hint="One of the arguments is not used.",
)
multi_head_attention.slip(
    "weights not transposed",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged @ output_weight, weights",
    cause="The output weight is used without its transpose; like torch.nn.Linear it is (out, in).",
    hint="Which axis of the weight belongs to the input? Square matrices do not complain.",
)
multi_head_attention.slip(
    "weights averaged over the heads",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged @ output_weight.T, weights.mean(1)",
    cause="The weights are averaged over the heads; asked for are those of each head.",
    hint="Compare the shape of your weights with the one asked for.",
)
multi_head_attention.slip(
    "softmax over the queries",
    heads_by_name,
    "dim=-1",
    "dim=-2",
    cause="The softmax runs over the queries instead of the keys.",
    hint="Which axis of the weights has to sum to one?",
)
multi_head_attention.slip(
    "mask on the axis of the heads",
    heads_by_name,
    "hidden = ~mask.unsqueeze(1)",
    "hidden = ~mask",
    cause="The mask (batch, query, key) meets scores (batch, heads, query, key): its batch is taken for the heads.",
    hint="Broadcasting lines shapes up from the right. What stands before `query` in each?",
)


@multi_head_attention.mistake(hint="Mask a whole row and look at its weights.")
def not_a_number_in_a_masked_row_of_heads(
    x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None
):
    """A query whose every key is masked gets NaN: the softmax of nothing but −∞ is 0/0."""
    pieces = "batch time (heads d_head) -> batch heads time d_head"
    queries = rearrange(x @ query_weight.T, pieces, heads=heads)
    keys = rearrange(memory @ key_weight.T, pieces, heads=heads)
    values = rearrange(memory @ value_weight.T, pieces, heads=heads)
    scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(1), -math.inf)
    weights = torch.softmax(scores, dim=-1)
    merged = rearrange(weights @ values, "batch heads time d_head -> batch time (heads d_head)")
    return merged @ output_weight.T, weights
