r"""Sparse attention: a chart of blocks says who sees whom, and only what it allows is computed.

Sliding window, global and random blocks together are BigBird's; a window and global tokens of their own are ETC's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ml_course.attention import scaled_dot_product_attention
from ml_course.longrange.padding import padding_of


def window_chart(blocks: int, window: int = 3) -> Bool[Tensor, "blocks blocks"]:
    r"""Each block sees itself and its neighbours: |i − j| ≤ (window − 1) / 2.

    window   blocks seen, its own in the middle: odd
    Raises: ValueError for an even window, or one below 1. Source: beltagy2020longformer, section 3.1.

    >>> window_chart(4).int()
    tensor([[1, 1, 0, 0],
            [1, 1, 1, 0],
            [0, 1, 1, 1],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window = {window}, expected an odd number of blocks, the own one in the middle")
    place = torch.arange(blocks)
    return (place - place[:, None]).abs() <= window // 2


def bigbird_chart(
    blocks: int, *, window: int = 3, global_blocks: int = 2, random_blocks: int = 3, seed: int = 0
) -> Bool[Tensor, "blocks blocks"]:
    r"""Window, global and random blocks: the first `global_blocks` see all and are seen by all; every other row sees
    `random_blocks` more, drawn among those that it does not see yet (fewer, where fewer are left).

    At most window + global + random blocks in a row that is not global: the cost grows with the length, not its square.
    Raises: ValueError as `window_chart`. Source: zaheer2020bigbird, section 2 and appendix D, where the
    last block may be global too.

    >>> chart = bigbird_chart(16, global_blocks=1, random_blocks=2)
    >>> chart[0].all(), chart[:, 0].all(), chart[8].sum()
    (tensor(True), tensor(True), tensor(6))
    """
    chart = window_chart(blocks, window)
    chart[:global_blocks] = chart[:, :global_blocks] = True
    draw = np.random.default_rng(seed)
    for row in range(global_blocks, blocks):
        left = (~chart[row]).nonzero()[:, 0].numpy()
        chart[row, draw.choice(left, size=min(random_blocks, len(left)), replace=False)] = True
    return chart


def etc_mask(global_tokens: int, time: int, radius: int) -> Bool[Tensor, "tokens tokens"]:
    r"""ETC's mask over [global tokens, long input]: global tokens see all and are seen by all, tokens of the long input
    besides them only what is at most `radius` away.

    The global tokens are new ones put in front, one for a sentence, say; in BigBird they may be tokens of the text.
    Source: ainslie2020etc, section 3.2, without its relative positions.

    >>> etc_mask(1, 4, radius=1).int()
    tensor([[1, 1, 1, 1, 1],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0],
            [1, 0, 1, 1, 1],
            [1, 0, 0, 1, 1]], dtype=torch.int32)
    """
    mask = torch.ones(global_tokens + time, global_tokens + time, dtype=torch.bool)
    place = torch.arange(time)
    mask[global_tokens:, global_tokens:] = (place - place[:, None]).abs() <= radius
    return mask


def expand_chart(
    chart: Bool[Tensor, "rows columns"], block: int, query: int, key: int
) -> Bool[Tensor, "{query} {key}"]:
    r"""The chart as a mask of tokens, `block` by `block`, cut to the lengths: what `sparse_attention` must equal.

    >>> expand_chart(torch.tensor([[True, False], [True, True]]), 2, 3, 3).int()
    tensor([[1, 1, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return chart.repeat_interleave(block, 0).repeat_interleave(block, 1)[:query, :key]


def sparse_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    chart: Bool[Tensor, "rows columns"] | Callable[[int], Bool[Tensor, "rows columns"]] = bigbird_chart,
    block: int = 64,
) -> Float[Tensor, "*batch query features"]:
    r"""Scaled dot product attention between the blocks that a chart pairs; others are never computed.

    The same as ordinary attention under the mask `expand_chart(chart, block, …)`. Rows with equally many blocks are
    done together: the blocks of keys they see are laid side by side, and become one short sequence for each row.

    chart    (⌈query/block⌉, ⌈key/block⌉), True: may attend; or a function of the number of blocks that makes it
    mask     a padding mask, besides the chart
    causal   the queries are the last of the keys' positions and see none behind them
    Raises: ValueError for another mask, a chart of another size, or for causal with more queries than keys.
    Cost: O(block²·d_head) for each True in the chart, in time and memory.
    Source: zaheer2020bigbird, appendix D.

    >>> q, k, v = (torch.randn(2, 100, 8) for _ in range(3))
    >>> sparse = sparse_attention(q, k, v, chart=window_chart, block=10)
    >>> mask = expand_chart(window_chart(10), 10, 100, 100)
    >>> torch.allclose(sparse, scaled_dot_product_attention(q, k, v, mask), atol=1e-6)
    True
    """
    query, key = queries.shape[-2], keys.shape[-2]
    if causal and query > key:
        raise ValueError(f"causal with query = {query} and key = {key}; the queries are the last of the keys")
    real = padding_of(mask, "sparse_attention")
    rows, columns = -(-query // block), -(-key // block)
    if callable(chart):
        chart = chart(columns)
    if chart.shape != (rows, columns):
        raise ValueError(
            f"chart has shape {tuple(chart.shape)}, expected ({rows}, {columns}): query = {query} and key = {key} in "
            f"blocks of {block}"
        )
    place = torch.arange(columns * block, device=keys.device)
    visible = (place < key) if real is None else _cut(real[..., None], columns, block)[..., 0].flatten(-2)
    visible = visible.unflatten(-1, (columns, block)).expand(*keys.shape[:-2], columns, block)
    place, asks = place.unflatten(0, (columns, block)), torch.arange(rows * block, device=keys.device) + key - query
    queries, keys, values = _cut(queries, rows, block), _cut(keys, columns, block), _cut(values, columns, block)
    output = values.new_zeros(*queries.shape[:-1], values.shape[-1])
    chart = chart.to(keys.device)
    if causal:  # blocks that lie wholly in the future need not be fetched
        chart = chart & (place[:, 0] <= asks.unflatten(0, (rows, block))[:, -1:])
    for many in chart.sum(1).unique().tolist():
        if many == 0:
            continue
        chosen = (chart.sum(1) == many).nonzero()[:, 0]
        seen = chart[chosen].nonzero()[:, 1].unflatten(0, (-1, many))  # the blocks that each of these rows sees
        allowed = visible[..., seen, :].flatten(-2)[..., None, :]
        if causal:
            past = place[seen].flatten(-2)[:, None, :] <= asks.unflatten(0, (rows, block))[chosen][..., None]
            allowed = allowed & past
        answers = scaled_dot_product_attention(
            queries[..., chosen, :, :],
            keys[..., seen, :, :].flatten(-3, -2),
            values[..., seen, :, :].flatten(-3, -2),
            allowed,
        )
        output = output.index_copy(-3, chosen, answers)
    return output.flatten(-3, -2)[..., :query, :]


def _cut(x: Tensor, blocks: int, block: int) -> Tensor:
    """(…, time, features) → (…, blocks, block, features), filled up with zeros."""
    filler = x.new_zeros(*x.shape[:-2], blocks * block - x.shape[-2], x.shape[-1])
    return torch.cat([x, filler], -2).unflatten(-2, (blocks, block))
