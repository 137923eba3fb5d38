"""The exercise on the decoder layer, of parts that are given."""

import numpy as np

from autograder.exercise import GRADIENTS, Case, Exercise
from autograder.exercises.transformer.encoder import READY_MADE, Call
from ml_course import transformer


def decoder_of_the_library(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm):
    """The reference under the homework's signature."""
    parts = Call(attention, memory_is_x=True), Call(cross_attention), Call(network)
    layer = transformer.DecoderLayer(y.shape[-1], *parts, pre_norm=pre_norm)
    layer.attention.norm, layer.cross_attention.norm, layer.feed_forward.norm = map(Call, norms)
    return layer(y, memory, mask, memory_mask)


decoder_layer = Exercise(
    "transformer.decoder_layer",
    reference=decoder_of_the_library,
    facets={"values": 3, "masking": 2, GRADIENTS: 1},
    difficulty=3,
    minutes=25,
    forbidden=READY_MADE,
)


@decoder_layer.cases
def decoder_cases(rng):
    def inputs(batch=2, time=4, source=4, width=5, dtype=np.float64, pre_norm=False, mask=None, memory_mask=None):
        shapes = dict(
            y=(batch, time, width), memory=(batch, source, width), attention_weights=(4, width, width),
            cross_weights=(4, width, width), network_weights=(2, width, width), scales=(3, width),
        )  # fmt: skip
        made = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        return made | {"pre_norm": pre_norm, "mask": mask, "memory_mask": memory_mask}

    batch, time, source = (int(size) for size in rng.integers(2, 6, size=3))
    yield Case("post-norm", **inputs(batch, time, source))
    yield Case("pre-norm", **inputs(batch, time, source, pre_norm=True))
    yield Case("post-norm, as long as the source", **inputs(3, 4, 4))
    yield Case("pre-norm, as long as the source", **inputs(3, 4, 4, pre_norm=True))
    yield Case("one token, one of the source", **inputs(1, 1, 1))
    yield Case("float32", **inputs(batch, time, source, dtype=np.float32))
    for pre_norm in (False, True):
        form = "pre-norm" if pre_norm else "post-norm"
        size = int(rng.integers(3, 6))
        causal = np.tri(size, dtype=bool)[None]
        filler = (np.arange(size) < rng.integers(1, size, size=3)[:, None])[:, None]
        shared = dict(batch=3, time=size, source=size, pre_norm=pre_norm)
        yield Case(f"{form}, both masks", "masking", **inputs(**shared, mask=causal, memory_mask=filler))
        yield Case(f"{form}, the future hidden", "masking", **inputs(**shared, mask=causal))
        yield Case(f"{form}, filler of the source hidden", "masking", **inputs(**shared, memory_mask=filler))


@decoder_layer.probe
def ask_decoder_layer(
    answer, y, memory, attention_weights, cross_weights, network_weights, scales, pre_norm, mask, memory_mask
):

    import torch

    arrays = (y, memory, attention_weights, cross_weights, network_weights, scales)
    inputs = [torch.from_numpy(array).requires_grad_() for array in arrays]
    given, source, of_attention, of_cross, of_network, of_norms = inputs
    masks = [None if array is None else torch.from_numpy(array) for array in (mask, memory_mask)]

    def attention_with(weights):
        def attention(queries_from, memory, mask=None):
            scores = (queries_from @ weights[0]) @ (memory @ weights[1]).mT / 3
            if mask is not None:
                scores = scores.masked_fill(~mask, -1e9)
            return torch.softmax(scores, -1) @ (memory @ weights[2]) @ weights[3]

        return attention

    def network(tokens):
        return torch.tanh(tokens @ of_network[0]) @ of_network[1]

    def norm_with(scale):
        def norm(tokens):
            centred = tokens - tokens.mean(-1, keepdim=True)
            return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * scale

        return norm

    norms = tuple(norm_with(scale) for scale in of_norms)
    attentions = attention_with(of_attention), attention_with(of_cross)
    result = answer(given, source, *masks, *attentions, network, norms, pre_norm)
    slopes = ["none: the result does not depend on it any more"] * 6
    if isinstance(result, torch.Tensor) and result.requires_grad:
        towards = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).reshape(result.shape)
        slopes = torch.autograd.grad((result * towards).sum(), inputs, allow_unused=True)
    names = ("y", "memory", "the attention's weights", "the cross-attention's weights", "the network's weights",
             "the norms' scales")  # fmt: skip
    return {"result": result} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@decoder_layer.alternative
def three_steps_written_out(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm):
    first, second, third = norms
    if pre_norm:
        seen = first(y)
        y = y + attention(seen, seen, mask)
        y = y + cross_attention(second(y), memory, memory_mask)
        return y + network(third(y))
    y = first(y + attention(y, y, mask))
    y = second(y + cross_attention(y, memory, memory_mask))
    return third(y + network(y))


@decoder_layer.alternative
def around_each_branch(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm):
    def residual(y, norm, branch):
        return y + branch(norm(y)) if pre_norm else norm(y + branch(y))

    y = residual(y, norms[0], lambda tokens: attention(tokens, tokens, mask))
    y = residual(y, norms[1], lambda tokens: cross_attention(tokens, memory, memory_mask))
    return residual(y, norms[2], network)


@decoder_layer.alternative
def branches_in_a_loop(y, memory, mask, memory_mask, attention, cross_attention, network, norms, pre_norm):
    branches = [
        lambda tokens: attention(tokens, tokens, mask),
        lambda tokens: cross_attention(tokens, memory, memory_mask),
        network,
    ]
    for i in range(3):
        changed = branches[i](norms[i](y) if pre_norm else y)
        y = y + changed if pre_norm else norms[i](changed + y)
    return y


decoder_layer.slip(
    "masks swapped",
    around_each_branch,
    "attention(tokens, tokens, mask))\n"
    "    y = residual(y, norms[1], lambda tokens: cross_attention(tokens, memory, memory_mask))",
    "attention(tokens, tokens, memory_mask))\n"
    "    y = residual(y, norms[1], lambda tokens: cross_attention(tokens, memory, mask))",
    cause="The masks are swapped: the self-attention got that of the source, the cross-attention that of the target.",
    hint="Whose keys does each mask speak of? Its last axis is as long as they are many.",
)
decoder_layer.slip(
    "the source's mask forgotten",
    around_each_branch,
    "cross_attention(tokens, memory, memory_mask)",
    "cross_attention(tokens, memory)",
    cause="The cross-attention gets no mask, so it looks at the source's filler.",
    hint="One of the arguments is not used.",
)
decoder_layer.slip(
    "the future is seen",
    around_each_branch,
    "attention(tokens, tokens, mask)",
    "attention(tokens, tokens)",
    cause="The self-attention gets no mask, so each token sees those it is to guess.",
    hint="One of the arguments is not used.",
)
decoder_layer.slip(
    "the memory asks",
    branches_in_a_loop,
    "lambda tokens: cross_attention(tokens, memory, memory_mask)",
    "lambda tokens: cross_attention(memory, tokens, memory_mask)[:, : tokens.shape[1]]",
    cause="Queries and memory are swapped: the source asks the target. What is written asks what was read.",
    hint="How many vectors should come out of the cross-attention, one for each token of which side?",
)
decoder_layer.slip(
    "no cross-attention",
    around_each_branch,
    "    y = residual(y, norms[1], lambda tokens: cross_attention(tokens, memory, memory_mask))\n",
    "",
    cause="The cross-attention is missing: nothing is known of the source.",
    hint="Which arguments are not used?",
)
decoder_layer.slip(
    "cross-attention first",
    branches_in_a_loop,
    "        lambda tokens: attention(tokens, tokens, mask),\n"
    "        lambda tokens: cross_attention(tokens, memory, memory_mask),\n",
    "        lambda tokens: cross_attention(tokens, memory, memory_mask),\n"
    "        lambda tokens: attention(tokens, tokens, mask),\n",
    cause="The cross-attention comes before the self-attention; first the target's tokens look at each other.",
    hint="Three branches: itself, the source, the network, in this order.",
)
decoder_layer.slip(
    "the memory is normalised",
    three_steps_written_out,
    "cross_attention(second(y), memory, memory_mask)",
    "cross_attention(second(y), second(memory), memory_mask)",
    cause="Pre-norm: the memory is normalised again; the encoder's last norm has done that already.",
    hint="The norm belongs to the tokens that are written. The memory is taken as it comes.",
)
decoder_layer.slip(
    "no residual around the cross-attention",
    three_steps_written_out,
    "        y = y + cross_attention(second(y), memory, memory_mask)\n        return y + network(third(y))\n"
    "    y = first(y + attention(y, y, mask))\n    y = second(y + cross_attention(y, memory, memory_mask))\n",
    "        y = cross_attention(second(y), memory, memory_mask)\n        return y + network(third(y))\n"
    "    y = first(y + attention(y, y, mask))\n    y = second(cross_attention(y, memory, memory_mask))\n",
    cause="What the cross-attention finds replaces the tokens instead of being added to them.",
    hint="All three branches have a way around them.",
)
decoder_layer.slip(
    "attends to itself twice",
    around_each_branch,
    "cross_attention(tokens, memory, memory_mask)",
    "cross_attention(tokens, tokens, memory_mask)",
    cause="The cross-attention is asked about the target's own tokens; its memory is the source.",
    hint="One of the arguments is not used.",
)
