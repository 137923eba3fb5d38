"""The exercise on the encoder layer, of parts that are given."""

import numpy as np
import torch
from torch import nn

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import transformer

READY_MADE = ("TransformerEncoderLayer", "TransformerDecoderLayer", "Transformer", "EncoderLayer", "DecoderLayer")


class Call(nn.Module):
    """A function as a module, so that the library's layers take it."""

    def __init__(self, function, memory_is_x=False):
        super().__init__()
        self.function, self.memory_is_x = function, memory_is_x

    def forward(self, x, *arguments):
        if self.memory_is_x:  # the library says self-attention by memory = None
            return self.function(x, x, *arguments[1:])
        return self.function(x, *arguments)


def encoder_of_the_library(x, mask, attention, network, norms, pre_norm):
    """The reference under the homework's signature."""
    layer = transformer.EncoderLayer(x.shape[-1], Call(attention, memory_is_x=True), Call(network), pre_norm=pre_norm)
    layer.attention.norm, layer.feed_forward.norm = map(Call, norms)
    return layer(x, mask)


encoder_layer = Exercise(
    "transformer.encoder_layer",
    reference=encoder_of_the_library,
    facets={"post-norm": 2, "pre-norm": 2, "masking": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=25,
    forbidden=READY_MADE,
)


@encoder_layer.cases
def encoder_cases(rng):
    def inputs(batch=2, time=4, width=6, dtype=np.float64, pre_norm=False, mask=None):
        shapes = dict(
            x=(batch, time, width), attention_weights=(4, width, width), network_weights=(2, width, width),
            scales=(2, width),
        )  # fmt: skip
        made = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        return made | {"pre_norm": pre_norm, "mask": mask}

    batch, time, width = (int(size) for size in rng.integers(2, 6, size=3))
    yield Case("post-norm", **inputs(batch, time, width + 1))
    yield Case("post-norm, as many tokens as features", **inputs(4, 4, 4))
    yield Case("post-norm, one token", **inputs(1, 1, width + 1))
    yield Case("post-norm, float32", **inputs(batch, time, width + 1, np.float32))
    yield Case("pre-norm", "pre-norm", **inputs(batch, time, width + 1, pre_norm=True))
    yield Case("pre-norm, one token", "pre-norm", **inputs(1, 1, width + 1, pre_norm=True))
    lengths = np.array([5, *rng.integers(1, 5, size=2)])
    filler = (np.arange(5) < lengths[:, None])[:, None]
    for pre_norm in (False, True):
        form = "pre-norm" if pre_norm else "post-norm"
        yield Case(f"{form}, filler hidden", "masking", **inputs(3, 5, pre_norm=pre_norm, mask=filler))
        causal = np.tri(5, dtype=bool)[None]
        yield Case(f"{form}, nothing later seen", "masking", **inputs(3, 5, pre_norm=pre_norm, mask=causal))


@encoder_layer.probe
def ask_encoder_layer(answer, x, attention_weights, network_weights, scales, pre_norm, mask):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, attention_weights, network_weights, scales)]
    given, of_attention, of_network, of_norms = inputs

    def attention(queries_from, memory, mask=None):
        scores = (queries_from @ of_attention[0]) @ (memory @ of_attention[1]).mT / 3
        if mask is not None:
            scores = scores.masked_fill(~mask, -1e9)
        return torch.softmax(scores, -1) @ (memory @ of_attention[2]) @ of_attention[3]

    def network(tokens):
        return torch.tanh(tokens @ of_network[0]) @ of_network[1]

    def norm_with(scale):
        def norm(tokens):
            centred = tokens - tokens.mean(-1, keepdim=True)
            return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale

        return norm

    norms = (norm_with(of_norms[0]), norm_with(of_norms[1]))
    result = answer(given, None if mask is None else torch.from_numpy(mask), attention, network, norms, pre_norm)
    slopes = ["none: the result does not depend on it any more"] * 4
    if isinstance(result, torch.Tensor) and result.requires_grad:
        towards = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
        slopes = torch.autograd.grad((result * towards).sum(), inputs, allow_unused=True)
    names = ("x", "the attention's weights", "the network's weights", "the norms' scales")
    return {"result": result} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@encoder_layer.alternative
def both_written_out(x, mask, attention, network, norms, pre_norm):
    if pre_norm:
        seen = norms[0](x)
        x = x + attention(seen, seen, mask)
        return x + network(norms[1](x))
    x = norms[0](x + attention(x, x, mask))
    return norms[1](x + network(x))


@encoder_layer.alternative
def a_residual_helper(x, mask, attention, network, norms, pre_norm):
    def residual(x, norm, branch):
        return x + branch(norm(x)) if pre_norm else norm(x + branch(x))

    x = residual(x, norms[0], lambda tokens: attention(tokens, tokens, mask))
    return residual(x, norms[1], network)


@encoder_layer.alternative
def a_loop_over_the_branches(x, mask, attention, network, norms, pre_norm):
    branches = (lambda tokens: attention(tokens, tokens, mask), network)
    for branch, norm in zip(branches, norms, strict=True):
        x = torch.add(x, branch(norm(x) if pre_norm else x))
        if not pre_norm:
            x = norm(x)
    return x


encoder_layer.slip(
    "residual around the norm",
    both_written_out,
    "        x = x + attention(seen, seen, mask)\n        return x + network(norms[1](x))",
    "        x = seen + attention(seen, seen, mask)\n        x = norms[1](x)\n        return x + network(x)",
    cause="Pre-norm: the branch is added to the normalised tokens. The straight way must carry the tokens themselves.",
    hint="With branches that give 0, what should a pre-norm layer return? Its input, unchanged.",
)
encoder_layer.slip(
    "pre-norm whatever is asked",
    both_written_out,
    "    if pre_norm:",
    "    if True:",
    cause="The layer is pre-norm, also when post-norm is asked for.",
    hint="One of the arguments is not used.",
)
encoder_layer.slip(
    "post-norm whatever is asked",
    both_written_out,
    "    if pre_norm:",
    "    if False:",
    cause="The layer is post-norm, also when pre-norm is asked for.",
    hint="One of the arguments is not used.",
)
encoder_layer.slip(
    "norms swapped",
    both_written_out,
    "    if pre_norm:",
    "    norms = norms[::-1]\n    if pre_norm:",
    cause="The two norms are swapped; the first belongs to the attention.",
    hint="Each norm has a scale of its own, so it matters which is which.",
)
encoder_layer.slip(
    "one norm for both",
    a_residual_helper,
    "residual(x, norms[1], network)",
    "residual(x, norms[0], network)",
    cause="The first norm serves both branches; each has its own.",
    hint="Which norm is never called?",
)
encoder_layer.slip(
    "mask forgotten",
    a_residual_helper,
    "attention(tokens, tokens, mask)",
    "attention(tokens, tokens)",
    cause="The mask is not handed to the attention.",
    hint="One of the arguments is not used.",
)
encoder_layer.slip(
    "no residual around the network",
    both_written_out,
    "        return x + network(norms[1](x))\n"
    "    x = norms[0](x + attention(x, x, mask))\n    return norms[1](x + network(x))",
    "        return network(norms[1](x))\n    x = norms[0](x + attention(x, x, mask))\n    return norms[1](network(x))",
    cause="The network's result replaces the tokens instead of being added to them.",
    hint="Both branches have a way around them.",
)
encoder_layer.slip(
    "keys and values not normalised",
    both_written_out,
    "attention(seen, seen, mask)",
    "attention(seen, x, mask)",
    cause="Pre-norm: only the queries come from the normalised tokens, keys and values from the tokens as they are.",
    hint="In self-attention queries, keys and values all come from the same tokens.",
)
encoder_layer.slip(
    "the network reads the input",
    both_written_out,
    "    x = norms[0](x + attention(x, x, mask))\n    return norms[1](x + network(x))",
    "    attended = norms[0](x + attention(x, x, mask))\n    return norms[1](attended + network(x))",
    cause="The network reads the layer's input instead of what the attention made of it.",
    hint="The second branch begins where the first ended.",
)
