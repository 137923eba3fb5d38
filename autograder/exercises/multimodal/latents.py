"""The exercise on the Perceiver's attention: a few latent vectors read a long input."""

import math

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import multimodal

FUSED = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward")

latent_attention = Exercise(
    "multimodal.latent_attention",
    reference=multimodal.latent_attention,
    facets={"values": 2, "masking": 1, GRADIENTS: 1, DTYPE: 0.5},
    difficulty=2,
    minutes=20,
    forbidden=FUSED,
)


def move_scores(case, where, by):
    """Adds `by` / √d_head or more, for each latent as much, to the scores of those inputs where `where` is 1."""
    latents, inputs, query, key = (case.inputs[name] for name in ("latents", "inputs", "query", "key"))
    inputs[..., 0], latents[..., 0] = where, 1 + np.abs(latents[..., 0])
    key[0], query[0] = 0, 0
    key[0, 0], query[0, 0] = 1, by


@latent_attention.cases
def latent_attention_cases(rng):
    def case(label, facet=None, batch=2, latents=3, time=7, d_latent=4, d_input=5, d_head=6, real=None, dtype=None):
        shapes = dict(
            latents=(batch, latents, d_latent),
            inputs=(batch, time, d_input),
            query=(d_head, d_latent),
            key=(d_head, d_input),
            value=(d_latent, d_input),
        )
        made = {name: rng.normal(size=shape).astype(dtype or np.float64) for name, shape in shapes.items()}
        mask = None if real is None else np.arange(time) < np.array(real)[:, None]
        if mask is not None:
            mask = mask[:, rng.permutation(time)]  # filler need not be at the end
        return Case(label, facet, **made, mask=mask)

    d_head = int(rng.integers(6, 9))
    yield case("three latents, seven inputs", d_head=d_head)
    yield case("all sizes alike", latents=4, time=4, d_input=4, d_head=4)
    yield case("many inputs", batch=1, latents=2, time=40, d_head=d_head)
    yield case("more latents than inputs", latents=5, time=3, d_head=d_head)
    yield case("one latent, one input", latents=1, time=1)
    loud = case("scores in the thousands", d_head=d_head)
    loud.inputs["query"] *= 1000
    yield loud
    yield case("some inputs are filler", "masking", batch=3, real=[7, 4, 2], d_head=d_head)
    yield case("as many inputs as latents", "masking", latents=4, time=4, real=[3, 2], d_head=d_head)
    yield case("a text of filler alone", "masking", real=[5, 0], d_head=d_head)
    low = case("all scores below −1,000,000", "masking", real=[4, 5], d_head=d_head)
    move_scores(low, 1, -1e7)
    yield low
    loud_filler = case("scores of filler above 1,000", "masking", real=[4, 5], d_head=d_head)
    move_scores(loud_filler, ~loud_filler.inputs["mask"], 1e4)
    yield loud_filler
    yield case("float32", DTYPE, dtype=np.float32, d_head=d_head)
    yield case("float32 and filler", DTYPE, dtype=np.float32, real=[3, 6], d_head=d_head)


@latent_attention.probe
def ask_latent_attention(answer, latents, inputs, query, key, value, mask):
    import torch

    real = None if mask is None else torch.from_numpy(mask)

    def call(latents, inputs, query, key, value):
        return {"latents": answer(latents, inputs, query, key, value, real)}

    return with_gradients(call, latents=latents, inputs=inputs, query=query, key=key, value=value)


@latent_attention.alternative
def filled_and_mended(latents, inputs, query, key, value, mask=None):
    scores = (latents @ query.T) @ (inputs @ key.T).transpose(1, 2) / math.sqrt(len(key))
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :], -1e9)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights * mask[:, None, :]
    return latents + weights @ (inputs @ value.T)


@latent_attention.alternative
def in_one_einsum(latents, inputs, query, key, value, mask=None):
    scores = torch.einsum("bni,hi,btj,hj->bnt", latents, query, inputs, key) * len(query) ** -0.5
    if mask is not None:
        scores = scores.masked_fill(mask[:, None].logical_not(), -torch.inf)
    weights = torch.nan_to_num(scores.softmax(-1), 0.0)
    return torch.einsum("bnt,btj,ij->bni", weights, inputs, value) + latents


@latent_attention.alternative
def text_by_text(latents, inputs, query, key, value, mask=None):
    done = []
    for number in range(len(latents)):
        own = inputs[number] if mask is None else inputs[number][mask[number]]
        scores = latents[number] @ query.T @ key @ own.T / query.shape[0] ** 0.5
        done.append(latents[number] + scores.softmax(1) @ own @ value.T)
    return torch.stack(done)


def wrong(label, old, new, cause, hint):
    latent_attention.slip(label, filled_and_mended, old, new, cause=cause, hint=hint)


wrong(
    "not scaled",
    " / math.sqrt(len(key))",
    "",
    "The scores are not divided by √d_head.",
    "What happens to the scores before the softmax?",
)
wrong(
    "scaled by the latents' width",
    "math.sqrt(len(key))",
    "math.sqrt(latents.shape[-1])",
    "The scores are divided by the root of the latents' width; it is that of the queries and keys, d_head.",
    "How many products are summed to one score?",
)
wrong(
    "scaled by the inputs' width",
    "math.sqrt(len(key))",
    "math.sqrt(inputs.shape[-1])",
    "The scores are divided by the root of the inputs' width; it is that of the queries and keys, d_head.",
    "How many products are summed to one score?",
)
wrong(
    "no root",
    "math.sqrt(len(key))",
    "len(key)",
    "The scores are divided by d_head itself; it should be its square root.",
    "The variance of a sum of d_head products grows with d_head. How does the deviation grow?",
)
wrong(
    "latents not kept",
    "return latents + weights",
    "return weights",
    "What the latents held is thrown away: the answer is *added* to them.",
    "What should come out for a text without any input?",
)
wrong(
    "softmax over the latents",
    "torch.softmax(scores, dim=-1)",
    "torch.softmax(scores, dim=1)",
    "The weights of one input sum to one over the latents; those of one latent should, over the inputs.",
    "Who divides its attention here, and among whom?",
)
wrong(
    "filler read",
    "scores = scores.masked_fill(~mask[:, None, :], -1e9)",
    "pass",
    "Filler takes part in the softmax: the weights of the real inputs no longer sum to one.",
    "Filler must be gone before the softmax, not after it.",
)
wrong(
    "mask upside down",
    "~mask[:, None, :], -1e9)",
    "mask[:, None, :], -1e9)",
    "The real inputs are hidden, and the filler is read: True means that an input is there.",
    "masked_fill fills where it is True. Where should −∞ go?",
)
wrong(
    "mask ignored",
    "scores = scores.masked_fill(~mask[:, None, :], -1e9)\n    weights = torch.softmax(scores, dim=-1)\n"
    "    if mask is not None:\n        weights = weights * mask[:, None, :]",
    "pass\n    weights = torch.softmax(scores, dim=-1)",
    "Filler is read like everything else: the mask is not used.",
    "Which weight should a filler have, and what must its score be before the softmax?",
)
wrong(
    "scores of filler are 0",
    "~mask[:, None, :], -1e9)",
    "~mask[:, None, :], 0)",
    "The scores of filler are set to 0. exp(0) is 1, so filler still takes its share of the softmax.",
    "Which score becomes a weight of 0?",
)
wrong(
    "filler taken out too late",
    "scores = scores.masked_fill(~mask[:, None, :], -1e9)\n    weights = torch.softmax(scores, dim=-1)\n"
    "    if mask is not None:\n        weights = weights * mask[:, None, :]",
    "pass\n    weights = torch.softmax(scores, dim=-1)\n    if mask is not None:\n"
    "        weights = weights * mask[:, None, :]\n"
    "        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-9)",
    "Filler takes part in the softmax, and the rest is divided by its sum: where filler scores high, no rest is left.",
    "The softmax takes the largest score away first. Should a filler be the one that it looks at?",
)
wrong(
    "fill not low enough",
    "-1e9)",
    "-1e4)",
    "Filler gets a low score, but true scores can be lower still: then filler takes all the weight from them.",
    "Is there a number below all others? `torch.finfo(scores.dtype).min` is one.",
)
wrong(
    "NaN where all is filler",
    "-1e9)",
    "-torch.inf)",
    "Where all inputs are filler the softmax divides 0 by 0. NaN · 0 is NaN, so it stays.",
    "Fill with a finite number that is very low, or replace the weights of such a row by 0.",
)
wrong(
    "a text of filler is read",
    "weights = weights * mask[:, None, :]",
    "pass",
    "Where all inputs are filler the weights are spread over filler. There is nothing to read: all should be 0.",
    "Softmax of equal numbers is never 0. What is left to do after it, for a row that is masked altogether?",
)
wrong(
    "one key for all inputs",
    "(latents @ query.T) @ (inputs @ key.T).transpose(1, 2)",
    "(latents @ query.T) @ (inputs @ key.T).sum(1, keepdim=True).expand(-1, inputs.shape[1], -1).transpose(1, 2)",
    "All inputs have one key, their sum: no latent can tell one input from another.",
    "Each input has a key of its own.",
)
wrong(
    "no gradient to the inputs",
    "@ (inputs @ value.T)",
    "@ (inputs.detach() @ value.T)",
    "No gradient reaches the inputs through the values, so whatever made them cannot learn from the answer.",
    "`detach` cuts the way back, and so do `.data` and NumPy.",
)
wrong(
    "always float64",
    "return latents + weights",
    "latents = latents.double()\n    weights, inputs, value = weights.double(), inputs.double(), value.double()\n"
    "    return latents + weights",
    "The result is float64 whatever came in.",
    "Tensors that you make yourself should take their dtype from the arguments.",
)


@latent_attention.mistake(hint="exp(800) is infinite. torch.softmax takes the largest score away first.")
def exponentials_overflow(latents, inputs, query, key, value, mask=None):
    """The exponentials are taken of the scores as they are: large scores overflow, and the result is no number."""
    powers = torch.exp((latents @ query.T) @ (inputs @ key.T).transpose(1, 2) / math.sqrt(len(key)))
    if mask is not None:
        powers = powers * mask[:, None, :]
    weights = powers / powers.sum(-1, keepdim=True).clamp(min=1e-9)
    return latents + weights @ (inputs @ value.T)


@latent_attention.mistake(hint="Put the 0 into the weights, before they are multiplied by the values.")
def nan_in_the_gradients(latents, inputs, query, key, value, mask=None):
    """Where all inputs are filler the weights are NaN. Mended after the product, the result is right, but on the way
    back 0 · NaN is NaN: no gradient survives."""
    scores = (latents @ query.T) @ (inputs @ key.T).transpose(1, 2) / math.sqrt(len(key))
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, :], -torch.inf)
    return latents + torch.nan_to_num(torch.softmax(scores, dim=-1) @ (inputs @ value.T))


@latent_attention.mistake(hint="The scores are (batch, latents, time). Where does the mask need an axis of length 1?")
def mask_without_an_axis(latents, inputs, query, key, value, mask=None):
    """The mask has no axis for the latents: either it does not fit, or it hides by latent what it should by text."""
    scores = (latents @ query.T) @ (inputs @ key.T).transpose(1, 2) / math.sqrt(len(key))
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e9)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights * mask
    return latents + weights @ (inputs @ value.T)
