"""The exercise on layer normalisation."""

import numpy as np
import torch

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import transformer

READY_MADE = ("layer_norm", "native_layer_norm", "LayerNorm", "batch_norm", "group_norm", "instance_norm", "rms_norm")

layer_norm = Exercise(
    "transformer.layer_norm",
    reference=transformer.layer_norm,
    facets={"values": 2, "nearly constant tokens": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=15,
    forbidden=READY_MADE,
)


@layer_norm.cases
def norm_cases(rng):
    def inputs(*shape, spread=2.0, dtype=np.float64, epsilon=1e-5):
        arrays = dict(
            x=rng.normal(3.0, spread, size=shape), scale=rng.normal(1, 0.5, shape[-1]), shift=rng.normal(size=shape[-1])
        )
        return {name: array.astype(dtype) for name, array in arrays.items()} | {"epsilon": epsilon}

    batch, time, width = (int(size) for size in rng.integers(3, 7, size=3))
    yield Case("a batch of texts", **inputs(batch, time, width))
    yield Case("as many tokens as features", **inputs(width, width, width))
    yield Case("two axes", **inputs(time, width))
    yield Case("two features", **inputs(batch, time, 2))
    yield Case("float32", **inputs(batch, time, width, dtype=np.float32))
    yield Case("one feature", "nearly constant tokens", **inputs(batch, time, 1))
    yield Case("tokens that hardly vary", "nearly constant tokens", **inputs(batch, time, width, spread=1e-3))
    yield Case("a large epsilon", "nearly constant tokens", **inputs(batch, time, width, epsilon=0.5))
    constant = inputs(batch, time, width)
    constant["x"][0, 0] = 7.0
    yield Case("a constant token", "nearly constant tokens", **constant)


@layer_norm.probe
def ask_layer_norm(answer, x, scale, shift, epsilon):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, scale, shift)]
    result = answer(*inputs, epsilon)
    slopes = ["none: the result does not depend on it any more"] * 3
    if isinstance(result, torch.Tensor) and result.requires_grad:
        towards = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).reshape(result.shape).square()
        slopes = torch.autograd.grad((result * towards).sum(), inputs, allow_unused=True)
    named = zip(("x", "scale", "shift"), slopes, strict=True)
    return {"result": result} | {f"gradient of {name}": slope for name, slope in named}


@layer_norm.alternative
def by_the_formula(x, scale, shift, epsilon=1e-5):
    mean = x.mean(dim=-1, keepdim=True)
    variance = x.var(dim=-1, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift


@layer_norm.alternative
def by_sums(x, scale, shift, epsilon=1e-5):
    centred = x - x.sum(-1, keepdim=True) / x.shape[-1]
    variance = (centred * centred).sum(-1, keepdim=True) / x.shape[-1]
    return scale * centred * torch.rsqrt(variance + epsilon) + shift


@layer_norm.alternative
def by_the_mean_of_squares(x, scale, shift, epsilon=1e-5):
    mean = torch.mean(x, -1)[..., None]
    centred = x - mean
    length = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    return torch.addcmul(shift, centred / (length**2 / x.shape[-1] + epsilon) ** 0.5, scale)


layer_norm.slip(
    "unbiased variance",
    by_the_formula,
    "correction=0, ",
    "",
    cause="The variance divides by d_model − 1, torch's default; here it divides by d_model.",
    hint="The numbers of a token are all there are, not a sample. What does `correction` of torch.var do?",
)
layer_norm.slip(
    "epsilon outside the root",
    by_the_formula,
    "torch.sqrt(variance + epsilon)",
    "(torch.sqrt(variance) + epsilon)",
    cause="ε is added to the standard deviation; it belongs under the root.",
    hint="Try a constant token and ε = 0.25: what should it be divided by?",
)
layer_norm.slip(
    "torch's standard deviation plus epsilon",
    by_the_formula,
    "    variance = x.var(dim=-1, correction=0, keepdim=True)\n"
    "    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift",
    "    return (x - mean) / (x.std(dim=-1, keepdim=True) + epsilon) * scale + shift",
    cause="torch.std divides by d_model − 1, and ε is added outside the root: two slips in one line.",
    hint="Write the variance first, with divisor d_model; then ε, then the root.",
)
layer_norm.slip(
    "epsilon forgotten",
    by_the_formula,
    "torch.sqrt(variance + epsilon)",
    "torch.sqrt(variance)",
    cause="ε is missing, so a constant token is divided by 0.",
    hint="Try a token of equal numbers.",
)
layer_norm.slip(
    "not divided by the root",
    by_the_formula,
    "torch.sqrt(variance + epsilon)",
    "(variance + epsilon)",
    cause="The numbers are divided by the variance, not by its root.",
    hint="What is the variance of the result? Before scale and shift it should be nearly 1.",
)
layer_norm.slip(
    "scale and shift forgotten",
    by_the_formula,
    " * scale + shift",
    "",
    cause="The learned scale and shift are not applied.",
    hint="Two of the arguments are not used.",
)
layer_norm.slip(
    "shifted before it is scaled",
    by_the_formula,
    "/ torch.sqrt(variance + epsilon) * scale + shift",
    "/ torch.sqrt(variance + epsilon) * scale + shift * scale",
    cause="The shift is scaled too: it is added before the product.",
    hint="(…) · scale + shift: the product first.",
)


@layer_norm.mistake(hint="Which axis is the last one? Each token has its own mean.")
def over_the_batch(x, scale, shift, epsilon=1e-5):
    """Mean and variance run over the first axis, the batch: that is batch normalisation."""
    mean = x.mean(dim=0, keepdim=True)
    variance = x.var(dim=0, correction=0, keepdim=True)
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift


@layer_norm.mistake(hint="How many means does a batch of 2 texts with 3 tokens have? Six.")
def over_everything(x, scale, shift, epsilon=1e-5):
    """One mean and one variance for the whole tensor, instead of one for each token."""
    mean, variance = x.mean(), x.var(correction=0)
    return (x - mean) / torch.sqrt(variance + epsilon) * scale + shift
