"""The exercise on adaptive norms: a branch that is steered by a condition, and shut at the start."""

import numpy as np
import torch
from torch.nn import functional as F

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import multimodal


def branch_of_the_library(x, condition, weight, bias, sublayer):
    """The reference under the homework's signature: its own formula, with the weights that are given."""
    shift, scale, gate = F.linear(F.silu(condition), weight, bias).unsqueeze(1).chunk(3, dim=-1)
    return x + gate * sublayer(multimodal.modulate(x, shift, scale))


adaln_zero = Exercise(
    "multimodal.adaln_zero",
    reference=branch_of_the_library,
    facets={"values": 2, "at the start": 1, GRADIENTS: 1, DTYPE: 0.5},
    difficulty=2,
    minutes=25,
)


@adaln_zero.cases
def adaln_cases(rng):
    def case(label, facet=None, batch=2, time=5, d_model=6, d_condition=4, size=1.0, start=False, dtype=np.float64):
        shapes = dict(
            x=(batch, time, d_model),
            condition=(batch, d_condition),
            weight=(3 * d_model, d_condition),
            bias=(3 * d_model,),
            sublayer_weight=(d_model, d_model),
        )
        made = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        made["x"] = size * made["x"] + rng.normal(size=d_model)[:, None].mean() * size
        made["bias"] += np.sign(made["bias"])  # none so small that leaving it out would not show
        if start:
            made["weight"], made["bias"] = 0 * made["weight"], 0 * made["bias"]
        return Case(label, facet, **{name: array.astype(dtype) for name, array in made.items()})

    batch, time = int(rng.integers(2, 4)), int(rng.integers(5, 8))
    d_model, d_condition = int(rng.integers(5, 9)), int(rng.integers(3, 5))
    yield case("a few samples", None, batch, time, d_model, d_condition)
    yield case("as many samples as tokens", None, 4, 4, d_model, d_condition)
    yield case("all sizes alike", None, 5, 5, 5, 5)
    yield case("one sample, one token", None, 1, 1, d_model, d_condition)
    yield case("tokens as small as the root of ε", None, batch, time, d_model, d_condition, size=1e-3)
    yield case("tokens in the hundreds", None, batch, time, d_model, d_condition, size=300.0)
    yield case("weights and biases are zero", "at the start", batch, time, d_model, d_condition, start=True)
    yield case("zero, one sample", "at the start", 1, time, d_model, d_condition, start=True)
    yield case("float32", DTYPE, batch, time, d_model, d_condition, dtype=np.float32)


@adaln_zero.probe
def ask_adaln(answer, x, condition, weight, bias, sublayer_weight):
    import torch

    mixing = torch.from_numpy(sublayer_weight)

    def sublayer(h):  # tokens and features are mixed, as attention and a network would
        return torch.tanh(h @ mixing / 2 + h.mean(dim=-2, keepdim=True).detach() / 3) + h[..., :1] / 4

    def call(x, condition, weight, bias):
        return {"result": answer(x, condition, weight, bias, sublayer)}

    return with_gradients(call, x=x, condition=condition, weight=weight, bias=bias)


@adaln_zero.alternative
def the_formula(x, condition, weight, bias, sublayer):
    steering = F.silu(condition) @ weight.T + bias
    shift, scale, gate = steering[:, None, :].chunk(3, dim=-1)
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, unbiased=False, keepdim=True)
    norm = (x - mean) / torch.sqrt(variance + 1e-6)
    h = norm * (1 + scale) + shift
    return x + gate * sublayer(h)


@adaln_zero.alternative
def with_torchs_norm(x, condition, weight, bias, sublayer):
    width = x.shape[-1]
    steering = F.linear(condition * torch.sigmoid(condition), weight, bias)
    shift, scale, gate = steering[:, :width], steering[:, width : 2 * width], steering[:, 2 * width :]
    h = F.layer_norm(x, (width,), eps=1e-6)
    h = torch.einsum("btd,bd->btd", h, scale + 1) + shift.unsqueeze(1)
    return x + torch.einsum("btd,bd->btd", sublayer(h), gate)


@adaln_zero.alternative
def sample_by_sample(x, condition, weight, bias, sublayer):
    def norm(tokens):
        return F.layer_norm(tokens, x.shape[-1:], eps=1e-6)

    made = []
    for one, c in zip(x, condition, strict=True):
        shift, scale, gate = (weight @ (c / (1 + torch.exp(-c))) + bias).reshape(3, -1)
        made.append(one + gate * sublayer((norm(one) + norm(one) * scale + shift)[None])[0])
    return torch.stack(made)


def wrong(label, old, new, cause, hint):
    """A slip in the formula."""
    adaln_zero.slip(label, the_formula, old, new, cause=cause, hint=hint)


wrong(
    "the 1 of 1 + scale forgotten",
    "(1 + scale)",
    "scale",
    "The norm is multiplied by the scale alone: a scale of zero would wipe the tokens out.",
    "With nothing said, the plain norm should reach the sublayer. What does a scale of 0 do in yours?",
)
wrong(
    "the gate counted from 1",
    "gate * sublayer(h)",
    "(1 + gate) * sublayer(h)",
    "The gate is counted from 1, so the branch is wide open at the start. Only the scale has its 1.",
    "What should come out while all weights and biases are zero?",
)
wrong(
    "gate forgotten",
    "gate * sublayer(h)",
    "sublayer(h)",
    "The gate is not used: the branch is open from the start.",
    "Three things are cut out of W·silu(c) + b. Where is the third?",
)
wrong(
    "residual forgotten",
    "return x + gate",
    "return gate",
    "Only the branch is returned; it is added to x.",
    "At the start the branch gives 0. What must come out then?",
)
wrong(
    "the branch is added to the norm",
    "return x + gate",
    "return h + gate",
    "The branch is added to the modulated norm; it is added to x itself.",
    "What goes around the branch is x as it came.",
)
wrong(
    "activation forgotten",
    "F.silu(condition)",
    "condition",
    "The condition goes into the matrix as it is; silu(c) does.",
    "Read the formula from the inside: what happens to c first?",
)
for another in ("torch.relu", "torch.sigmoid", "torch.tanh", "F.gelu"):
    wrong(
        f"{another} for silu",
        "F.silu(condition)",
        f"{another}(condition)",
        f"The condition goes through {another}; it is silu(c) = c·σ(c).",
        "F.silu, or c times its sigmoid.",
    )
wrong(
    "activation after the matrix",
    "F.silu(condition) @ weight.T + bias",
    "F.silu(condition @ weight.T + bias)",
    "silu is applied to what W makes of the condition; it is applied to the condition itself.",
    "Read the formula from the inside: what happens to c first?",
)
wrong(
    "the matrix on the left",
    "F.silu(condition) @ weight.T + bias",
    "weight @ F.silu(condition) + bias",
    "W stands on the left of silu(c) as in the formula, where c is a column. Here each condition is a row.",
    "silu(condition) @ weight.T, or F.linear.",
)
wrong(
    "bias forgotten",
    "@ weight.T + bias",
    "@ weight.T",
    "The bias of the steering is left out.",
    "W·silu(c) + b.",
)
for order in ("scale, shift, gate", "gate, shift, scale", "shift, gate, scale", "gate, scale, shift"):
    wrong(
        f"the thirds as {order}",
        "shift, scale, gate = steering",
        f"{order} = steering",
        f"The thirds are taken for {order}; they are shift, scale, gate.",
        "In which order do the three stand in the formula?",
    )
wrong(
    "one steering for each token",
    "steering[:, None, :]",
    "steering[None]",
    "The steering's samples stand where the tokens are: that fails or, when batch = time, tokens get another sample's.",
    "shift, scale and gate must be of shape (batch, 1, d_model) to meet (batch, time, d_model).",
)
wrong(
    "thirds by turns",
    "steering[:, None, :].chunk(3, dim=-1)",
    "steering[:, None, :].unflatten(-1, (-1, 3)).unbind(-1)",
    "Shift, scale and gate are taken by turns, feature by feature; each is a third of its own.",
    "First come all d_model numbers of the shift.",
)
wrong(
    "unbiased variance",
    "unbiased=False",
    "unbiased=True",
    "The variance is divided by d_model − 1; a norm divides by d_model.",
    "torch's var takes the other divisor when it is not told.",
)
wrong(
    "torch's own epsilon",
    "1e-6",
    "1e-5",
    "ε is 10⁻⁵, torch's default; here it is 10⁻⁶.",
    "Look at tokens that hardly differ: there ε decides.",
)
wrong(
    "epsilon outside the root",
    "torch.sqrt(variance + 1e-6)",
    "(torch.sqrt(variance) + 1e-6)",
    "ε is added to the deviation; it is added to the variance, under the root.",
    "√(σ² + ε).",
)
wrong(
    "no norm at all",
    "h = norm * ",
    "h = x * ",
    "The tokens are modulated without being normalised first.",
    "LN(x) comes first.",
)
wrong(
    "mean over all tokens",
    "x.mean(-1, keepdim=True)",
    "x.mean((-2, -1), keepdim=True)",
    "The mean is taken over all tokens of a sample; each token has its own.",
    "Over which axis does a LayerNorm average?",
)
wrong(
    "norm over all tokens",
    "(x - mean) / torch.sqrt(variance + 1e-6)",
    "F.layer_norm(x, x.shape[1:], eps=1e-6)",
    "Mean and variance are taken over all tokens of a sample; each token has its own.",
    "Over which axis does a LayerNorm average?",
)
wrong(
    "shift before scale",
    "norm * (1 + scale) + shift",
    "(norm + shift) * (1 + scale)",
    "The shift is added first and stretched with the rest; it is added last.",
    "LN(x) ⊙ (1 + scale) comes first, then + shift.",
)
wrong(
    "the branch is added to the plain norm",
    "return x + gate",
    "return norm + gate",
    "The branch is added to LN(x); it is added to x itself.",
    "What goes around the branch is x as it came.",
)
wrong(
    "sigmoid gate",
    "gate * sublayer(h)",
    "torch.sigmoid(gate) * sublayer(h)",
    "The gate goes through a sigmoid, so at the start it is half open. It is used as it is.",
    "What should come out while all weights and biases are zero?",
)
wrong(
    "gate inside",
    "return x + gate * sublayer(h)",
    "return x + sublayer(gate * h)",
    "The gate is applied to what goes into the sublayer; it closes what comes out.",
    "A sublayer with a bias would say something even to a zero.",
)


@adaln_zero.mistake(hint="Where is the norm in the formula, before the sublayer or after the sum?")
def norm_after_the_sum(x, condition, weight, bias, sublayer):
    """The norm comes after the residual sum, as in the first Transformer; here it is inside the branch."""
    shift, scale, gate = (F.silu(condition) @ weight.T + bias)[:, None].chunk(3, dim=-1)
    y = F.layer_norm(x + gate * sublayer(x), x.shape[-1:], eps=1e-6)
    return y * (1 + scale) + shift


@adaln_zero.mistake(hint="`.float()` and float32 constants change the type of everything behind them.")
def always_double(x, condition, weight, bias, sublayer):
    """The steering is computed in float64 whatever came in, and the result is of that type."""
    steering = F.silu(condition.double()) @ weight.double().T + bias.double()
    shift, scale, gate = steering[:, None].chunk(3, dim=-1)
    h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
    return x + gate * sublayer(h.to(x.dtype))
