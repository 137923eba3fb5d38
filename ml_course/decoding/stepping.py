r"""Writing with caches: step functions for `rnn.generate` and `seq2seq.beam_search` with `stateful=True`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ml_course.attention import causal_mask
from ml_course.decoding.cache import KVCache
from ml_course.decoding.grouped import can_cache, grouped
from ml_course.seq2seq import times_over
from ml_course.transformer import Transformer, TransformerLM

State = tuple[KVCache, ...]
Step = Callable[..., tuple[Tensor, State]]


def cached(model: TransformerLM, capacity: int | None = None) -> Step:
    r"""The language model as a step function that reads each token once.

    step(tokens, state=None) → logits of these tokens, and the caches to go on from, which are those it was given. What
    it writes is what the model writes without caches; no gradient goes through it. Models with `MultiHeadAttention` are
    copied, see `grouped`.

    capacity   positions each cache makes room for at once
    Cost of a step with n tokens remembered: O(n·d_model + d_model·(d_model + d_ff)) a layer, where without caches all
    n tokens go through every layer again.

    >>> from ml_course.rnn import generate
    >>> from ml_course.transformer import LMConfig
    >>> model, prompt = TransformerLM(LMConfig.TINY), torch.tensor([[1, 2], [3, 4]])
    >>> slow, fast = generate(model, prompt, 9), generate(cached(model), prompt, 9, stateful=True)
    >>> torch.equal(slow, fast)
    True
    """
    reader = model if can_cache(model.decoder.layers) else grouped(model)

    @torch.inference_mode()  # torch then keeps no account for gradients: a tenth of a small step's time
    def step(tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        state = tuple(KVCache(capacity) for _ in reader.decoder.layers) if state is None else state
        return reader(tokens, state), state

    return step


@torch.no_grad()
def cached_translation(
    model: Transformer, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"], capacity: int | None = None
) -> Step:
    r"""What `Transformer.continuing` gives, with memory: the step function of the target given these sources.

    The keys and values that cross-attention makes of the sources are computed here, once, and those of the target are
    cached as in `cached`. The rows of tokens are those of the sources, each as many times in succession as the search
    asks. Raises: ValueError, when it is called, for rows that are no multiple of the sources.

    >>> from ml_course.seq2seq import beam_search
    >>> model, source = Transformer(), torch.tensor([[4, 5, 6], [7, 8, 0]])
    >>> step = cached_translation(model, source, source > 0)
    >>> beam_search(step, torch.tensor([[2], [2]]), 4, eos=3, beam=2, stateful=True).tokens.shape
    torch.Size([2, 2, 4])
    """
    reader = model if can_cache(model.decoder.layers) else grouped(model)
    layers, memory = reader.decoder.layers, reader.encode(source, mask)
    read = [layer.cross_attention.sublayer.keys_values(memory) for layer in layers]

    @torch.inference_mode()
    def step(tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        times = times_over(tokens, source)
        state = tuple(KVCache(capacity) for _ in layers) if state is None else state
        start = len(state[0])
        causal = causal_mask(tokens.shape[1], start + tokens.shape[1], device=tokens.device)
        visible = mask.repeat_interleave(times, 0)[:, None]
        x = reader.target_embedding(tokens, start)
        for layer, cache, pair in zip(layers, state, read, strict=True):
            # A search moves rows about only among those of one source, so what was read of it fits all of them.
            x = layer.attention(x, None, causal, cache=cache)
            x = layer.cross_attention(x, tuple(part.repeat_interleave(times, 0) for part in pair), visible)
            x = layer.feed_forward(x)
        return reader.output(reader.decoder.norm(x)), state

    return step
