"""The exercise on scaled dot product attention: output and weights, with and without a mask."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import attention

FUSED = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward")


def output_and_weights(queries, keys, values, mask=None):
    """The reference under the homework's signature."""
    weights = attention.attention_weights(queries, keys, mask)
    return weights @ values, weights


scaled_dot_product = Exercise(
    "attention.scaled_dot_product",
    reference=output_and_weights,
    facets={"values": 2, "masking": 2, "gradients": 1},
    difficulty=2,
    minutes=20,
    forbidden=FUSED,
)


@scaled_dot_product.cases
def scaled_dot_product_cases(rng):
    def inputs(*batch, query=4, key=5, d_head=3, features=6, dtype=np.float64):
        shapes = dict(queries=(query, d_head), keys=(key, d_head), values=(key, features))
        return {name: rng.normal(size=(*batch, *shape)).astype(dtype) for name, shape in shapes.items()}

    query, key = int(rng.integers(2, 5)), int(rng.integers(5, 8))
    yield Case("a single sequence", **inputs(query=query, key=key), mask=None)
    yield Case("as many queries as keys", **inputs(query=4, key=4), mask=None)
    yield Case("a batch with heads", **inputs(2, 3, query=query, key=key), mask=None)
    yield Case("wide keys", **inputs(2, d_head=int(rng.integers(30, 70))), mask=None)
    yield Case("one query, one key", **inputs(1, query=1, key=1), mask=None)
    yield Case("float32", **inputs(2, dtype=np.float32), mask=None)

    mask = rng.random((2, query, key)) < 0.6
    mask[:, :, 0], mask[:, 0, 1] = True, False
    yield Case("some keys masked", "masking", **inputs(2, query=query, key=key), mask=mask)
    yield Case("one mask for all", "masking", **inputs(2, 3, query=query, key=key), mask=mask[:1])
    yield Case("one mask for all queries", "masking", **inputs(2, query=query, key=key), mask=mask[:, 1:2])
    loud = inputs(2, query=query, key=key)
    loud["keys"] *= 50
    yield Case("large scores, some masked", "masking", **loud, mask=mask)
    nothing = mask.copy()
    nothing[0, 1] = False
    yield Case("a row with every key masked", "masking", **inputs(2, query=query, key=key), mask=nothing)
    yield Case("float32 and a masked row", "masking", **inputs(2, query=query, key=key, dtype=np.float32), mask=nothing)


@scaled_dot_product.probe
def ask_scaled_dot_product(answer, queries, keys, values, mask):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values)]
    output, weights = answer(*inputs, None if mask is None else torch.from_numpy(mask))
    replies = {"output": output, "weights": weights}
    names = ("queries", "keys", "values")
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 3
    return replies | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@scaled_dot_product.alternative
def filled_before_and_after(queries, keys, values, mask=None):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    weights = F.softmax(scores.masked_fill(~mask, -1e9), dim=-1).masked_fill(~mask, 0)
    return weights @ values, weights


@scaled_dot_product.alternative
def exponentials_by_hand(queries, keys, values, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) * keys.size(-1) ** -0.5
    powers = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-math.inf, dtype=scores.dtype))
        highest = scores.amax(-1, keepdim=True).detach()
        powers = torch.exp(scores - torch.where(highest > -math.inf, highest, 0.0))
    weights = powers / powers.sum(-1, keepdim=True).clamp(min=1)
    return torch.einsum("...qk,...kv->...qv", weights, values), weights


@scaled_dot_product.alternative
def query_by_query(queries, keys, values, mask=None):
    rows = []
    for i in range(queries.shape[-2]):
        scores = (keys @ queries[..., i, :, None]).squeeze(-1) / math.sqrt(queries.shape[-1])
        if mask is None:
            rows.append(torch.softmax(scores, dim=-1))
        else:
            allowed = mask.expand(*mask.shape[:-2], queries.shape[-2], mask.shape[-1])[..., i, :]
            rows.append(torch.softmax(scores.masked_fill(~allowed, -1e9), dim=-1) * allowed)
    weights = torch.stack(rows, dim=-2)
    return weights @ values, weights


@scaled_dot_product.alternative
def not_a_number_replaced(queries, keys, values, mask=None):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return weights @ values, weights


scaled_dot_product.slip(
    "not scaled",
    filled_before_and_after,
    " / math.sqrt(keys.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Read the formula from the inside out: what happens to QKᵀ before the softmax?",
)
scaled_dot_product.slip(
    "divided by the width instead of its root",
    filled_before_and_after,
    "math.sqrt(keys.shape[-1])",
    "keys.shape[-1]",
    cause="The scores are divided by d_head instead of √d_head.",
    hint="A sum of d_head random products has variance d_head. What is its standard deviation?",
)
scaled_dot_product.slip(
    "scaled by the number of keys",
    filled_before_and_after,
    "math.sqrt(keys.shape[-1])",
    "math.sqrt(keys.shape[-2])",
    cause="The scores are divided by the root of the number of keys, not of their width.",
    hint="Which axis of the keys does the dot product sum over?",
)
scaled_dot_product.slip(
    "softmax over the queries",
    filled_before_and_after,
    "dim=-1",
    "dim=-2",
    cause="The softmax runs over the queries: the columns sum to one, not the rows.",
    hint="Each query shares out one unit of attention among the keys. Which axis has to sum to one?",
)
scaled_dot_product.slip(
    "mask inverted",
    filled_before_and_after,
    "if mask is None:",
    "mask = None if mask is None else ~mask\n    if mask is None:",
    cause="The mask is read the wrong way round: here True means may attend.",
    hint="Print the weights beside the mask: where are they zero?",
)


@scaled_dot_product.mistake(hint="Do the rows of your weights still sum to one when a key is masked?")
def mask_after_the_softmax(queries, keys, values, mask=None):
    """The mask comes after the softmax, so masked keys still take their share and the rest no longer sums to one."""
    weights = torch.softmax(queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1]), dim=-1)
    if mask is not None:
        weights = weights * mask
    return weights @ values, weights


@scaled_dot_product.mistake(hint="Set one score to 0 and look at exp(0). Which score has the exponential 0?")
def masked_scores_are_zero(queries, keys, values, mask=None):
    """Masked scores are set to 0, but a score of 0 has weight exp(0) = 1 before it is normalised."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = scores * mask
    weights = torch.softmax(scores, dim=-1)
    return weights @ values, weights


@scaled_dot_product.mistake(hint="Mask a whole row and look at what softmax makes of nothing but −∞.")
def not_a_number_in_a_masked_row(queries, keys, values, mask=None):
    """A query whose every key is masked gets NaN: the softmax of nothing but −∞ is 0/0."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ values, weights


scaled_dot_product.slip(
    "gradient cut off",
    filled_before_and_after,
    "return weights @ values, weights",
    "return weights.detach() @ values, weights",
    cause="The weights are cut out of the graph, so queries and keys can never learn.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)
