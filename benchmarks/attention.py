"""Attention against torch's: the scaled dot product alone and with eight heads, by length, without a mask and with.

One pass forward and one back, width 512, 8 heads, 4,096 tokens in all (a batch of shorter texts), two threads. The same
weights on both sides; outputs and gradients are checked to be equal first. torch's layer is asked for no weights, which
is its fast way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import ratios
from ml_course.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention

WIDTH, HEADS, TOKENS, LENGTHS = 512, 8, 4096, (128, 512, 1024, 4096)
THREADS, ROUNDS = 2, 31


def step(outputs_of: Callable[[], Tensor], given: list[Tensor], towards: Tensor) -> tuple[Tensor, ...]:
    """Forward and back: the outputs and the gradients of what is given."""
    for tensor in given:
        tensor.grad = None
    outputs = outputs_of()
    (outputs * towards).sum().backward()
    return outputs.detach(), *(tensor.grad for tensor in given)


def dot_product(time: int, mask: Tensor | None, rounds: int) -> dict[str, Any]:
    shape = TOKENS // time, HEADS, time, WIDTH // HEADS
    with ratios.here():
        given, towards = [torch.randn(shape, requires_grad=True) for _ in range(3)], torch.randn(shape)
    ours = partial(step, lambda: scaled_dot_product_attention(*given, mask), given, towards)
    theirs = partial(step, lambda: F.scaled_dot_product_attention(*given, attn_mask=mask), given, towards)
    what = f"scaled dot product, {time:,} tokens, {'no mask' if mask is None else 'causal mask'}"
    return ratios.compared(what, ours, theirs, "× F.scaled_dot_product_attention", rounds)


def many_heads(time: int, mask: Tensor | None, rounds: int) -> dict[str, Any]:
    with ratios.here():
        theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        x, towards = torch.randn(2, TOKENS // time, time, WIDTH)
    layer = MultiHeadAttention.from_torch(theirs)
    x.requires_grad_()
    hidden = None if mask is None else ~mask
    torchs = partial(theirs, x, x, x, attn_mask=hidden, need_weights=False)
    ours = partial(step, lambda: layer(x, None, mask), [x, layer.output.weight], towards)
    others = partial(step, lambda: torchs()[0], [x, theirs.out_proj.weight], towards)
    what = f"eight heads, {time:,} tokens, {'no mask' if mask is None else 'causal mask'}"
    return ratios.compared(what, ours, others, "× nn.MultiheadAttention", rounds)


def rows(rounds: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    cases = [(time, mask) for time in LENGTHS for mask in (None, causal_mask(time, device=ratios.here()))]
    return [kind(time, mask, rounds) for kind in (dot_product, many_heads) for time, mask in cases]


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(THREADS):
        return rows(3 * ROUNDS if large else ROUNDS)
