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
THREADS, ROUNDS = 2, 9


def step(outputs_of: Callable[[], Tensor], given: list[Tensor], towards: Tensor) -> tuple[Tensor, ...]:
    """Forward and back: the outputs and every gradient."""
    outputs = outputs_of()
    return outputs, *torch.autograd.grad((outputs * towards).sum(), given)


def compared(what: str, ours: Callable, theirs: Callable, unit: str, rounds: int) -> dict[str, Any]:
    for one, other in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    seconds = ratios.interleaved({"ours": ours, "torch": theirs}, rounds, warm_up=2)
    return ratios.row(what, seconds["ours"], seconds["torch"], unit)


def dot_product(time: int, mask: Tensor | None, rounds: int) -> dict[str, Any]:
    shape = TOKENS // time, HEADS, time, WIDTH // HEADS
    given, towards = [torch.randn(shape, requires_grad=True) for _ in range(3)], torch.randn(shape)
    ours = partial(step, lambda: scaled_dot_product_attention(*given, mask), given, towards)
    theirs = partial(step, lambda: F.scaled_dot_product_attention(*given, attn_mask=mask), given, towards)
    what = f"scaled dot product, {time:,} tokens, {'no mask' if mask is None else 'causal mask'}"
    return compared(what, ours, theirs, "× F.scaled_dot_product_attention", rounds)


def many_heads(time: int, mask: Tensor | None, rounds: int) -> dict[str, Any]:
    theirs = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    layer = MultiHeadAttention.from_torch(theirs)
    x, towards = torch.randn(2, TOKENS // time, time, WIDTH)
    x.requires_grad_()
    hidden = None if mask is None else ~mask
    torchs = partial(theirs, x, x, x, attn_mask=hidden, need_weights=False)
    ours = partial(step, lambda: layer(x, None, mask), [x, layer.output.weight], towards)
    others = partial(step, lambda: torchs()[0], [x, theirs.out_proj.weight], towards)
    what = f"eight heads, {time:,} tokens, {'no mask' if mask is None else 'causal mask'}"
    return compared(what, ours, others, "× nn.MultiheadAttention", rounds)


def measure(large: bool) -> list[dict[str, Any]]:
    before, rounds = torch.get_num_threads(), 3 * ROUNDS if large else ROUNDS
    torch.manual_seed(0)
    try:
        torch.set_num_threads(THREADS)
        cases = [(time, mask) for time in LENGTHS for mask in (None, causal_mask(time))]
        return [kind(time, mask, rounds) for kind in (dot_product, many_heads) for time, mask in cases]
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"])
