r"""Exact attention in blocks: the softmax is finished while it is being read; no query × key matrix is stored.

FlashAttention's idea. Three numbers a query are enough to go on from where one was: the highest score so far, the sum
of exponentials, and the weighted sum of values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class Partial(NamedTuple):
    r"""What a query knows after it has seen some of the keys.

    highest    m = max sⱼ, −∞ before anything is seen
    total      l = Σⱼ exp(sⱼ − m)
    weighted   o = Σⱼ exp(sⱼ − m) vⱼ; the answer is o / l
    """

    highest: Float[Tensor, "*batch query"]
    total: Float[Tensor, "*batch query"]
    weighted: Float[Tensor, "*batch query features"]

    def finish(self) -> Float[Tensor, "*batch query features"]:
        r"""The answer to each query: o / l, and zeros where nothing could be seen."""
        return self.weighted / self.total.masked_fill(self.total == 0, 1)[..., None]


def attend_part(scores: Float[Tensor, "*batch query key"], values: Float[Tensor, "*batch key features"]) -> Partial:
    r"""What queries learn from one block of keys, whose scores are given; −∞ where a query may not look.

    >>> attend_part(torch.tensor([[1.0, 1.0]]), torch.tensor([[4.0], [6.0]])).finish()
    tensor([[5.]])
    """
    highest = scores.amax(-1)
    weights = (scores - _finite(highest)[..., None]).exp()
    return Partial(highest, weights.sum(-1), weights @ values)


def merge(first: Partial, second: Partial) -> Partial:
    r"""What queries know who have seen the keys of both: the two sums, brought to the common highest score.

    m = max(m₁, m₂),  l = e^{m₁−m} l₁ + e^{m₂−m} l₂,  o = e^{m₁−m} o₁ + e^{m₂−m} o₂

    Associative, and in either order the same, so blocks may be seen in any order, or by several processors at once.

    Source: milakov2018online, section 3.1; with the values: dao2022flashattention, section 3.1.

    >>> scores, values = torch.tensor([[1.0, 5.0, 900.0]]), torch.tensor([[1.0], [2.0], [3.0]])
    >>> merge(attend_part(scores[:, :2], values[:2]), attend_part(scores[:, 2:], values[2:])).finish()
    tensor([[3.]])
    """
    highest = torch.maximum(first.highest, second.highest)
    shared = _finite(highest)  # −∞ − (−∞) is no number: where neither has seen anything both sums are zero anyway
    one, other = (first.highest - shared).exp(), (second.highest - shared).exp()
    return Partial(
        highest,
        one * first.total + other * second.total,
        one[..., None] * first.weighted + other[..., None] * second.weighted,
    )


def _finite(highest: Tensor) -> Tensor:
    return highest.masked_fill(highest == -torch.inf, 0)


def flash_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    block: int = 256,
) -> Float[Tensor, "*batch query features"]:
    r"""Scaled dot product attention, block by block, forward and backward; equal to the ordinary one up to rounding.

    softmax(QKᵀ / √d_head) V

    For the way back only inputs, outputs and one number a query are kept, log Σⱼ exp(sⱼ); the weights of a block are
    computed again when they are needed.

    causal   the queries are the last of the keys' positions and see none behind them. No mask is built for it: blocks
             in the future are left out, and only those on the diagonal are cut
    block    tokens in a block; memory grows with its square, overhead with the number of blocks

    Raises: ValueError when block < 1, or for causal with more queries than keys. Cost: the same multiplications forward
    and one product more backward; O(query + key + block²) memory for each head. Source: dao2022flashattention,
    algorithms 1 and 4, with the order of loops of dao2024flashattention2.

    >>> q, k, v = (torch.randn(2, 700, 8) for _ in range(3))
    >>> ordinary = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    >>> torch.allclose(flash_attention(q, k, v, causal=True), ordinary, atol=1e-5)
    True
    """
    if block < 1:
        raise ValueError(f"block = {block}, expected at least 1")
    if causal and queries.shape[-2] > keys.shape[-2]:
        raise ValueError(
            f"causal with query = {queries.shape[-2]} and key = {keys.shape[-2]}; the queries are the last of the keys"
        )
    return _Flash.apply(queries, keys, values, mask, causal, block)


class _Flash(torch.autograd.Function):
    """Both ways by hand: autograd would keep every block's weights, the whole matrix after all."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, causal: bool, block: int
    ) -> Tensor:
        tiles = _Tiles(queries, keys, mask, causal, block)
        output = queries.new_empty(*queries.shape[:-1], values.shape[-1])
        log_total = queries.new_empty(queries.shape[:-1], dtype=tiles.exact)
        for rows in tiles.rows:
            shape = (*queries.shape[:-2], rows.stop - rows.start)
            known = Partial(
                queries.new_full(shape, -torch.inf, dtype=tiles.exact),
                queries.new_zeros(shape, dtype=tiles.exact),
                queries.new_zeros(*shape, values.shape[-1], dtype=tiles.exact),
            )
            for columns in tiles.columns_seen_by(rows):
                known = merge(known, attend_part(tiles.scores(rows, columns), values[..., columns, :].to(tiles.exact)))
            output[..., rows, :] = known.finish()
            nothing = known.total == 0  # exp(−∞ − 0) is 0: such a row has no weights on the way back either
            log_total[..., rows] = (_finite(known.highest) + known.total.log()).masked_fill(nothing, 0)
        ctx.save_for_backward(queries, keys, values, mask, output, log_total)
        ctx.causal, ctx.block = causal, block
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, mask, output, log_total = ctx.saved_tensors
        tiles = _Tiles(queries, keys, mask, ctx.causal, ctx.block)
        exact = tiles.exact
        # Σⱼ pᵢⱼ (∂L/∂oᵢ · vⱼ) = ∂L/∂oᵢ · oᵢ: what the softmax subtracts in each row, without the row.
        mean = (slope.to(exact) * output.to(exact)).sum(-1)
        to_queries, to_keys, to_values = (torch.zeros_like(x, dtype=exact) for x in (queries, keys, values))
        for rows in tiles.rows:
            above = slope[..., rows, :].to(exact)
            for columns in tiles.columns_seen_by(rows):
                weights = (tiles.scores(rows, columns) - log_total[..., rows, None]).exp()
                to_values[..., columns, :] += weights.mT @ above
                to_weights = above @ values[..., columns, :].to(exact).mT
                to_scores = weights * (to_weights - mean[..., rows, None]) * tiles.scale
                to_queries[..., rows, :] += to_scores @ keys[..., columns, :].to(exact)
                to_keys[..., columns, :] += to_scores.mT @ queries[..., rows, :].to(exact)
        return to_queries.to(queries), to_keys.to(keys), to_values.to(values), None, None, None


class _Tiles:
    """The query × key matrix cut into blocks, of which one at a time is computed."""

    def __init__(self, queries: Tensor, keys: Tensor, mask: Tensor | None, causal: bool, block: int):
        self.queries, self.keys, self.mask, self.causal = queries, keys, mask, causal
        self.scale = queries.shape[-1] ** -0.5
        self.exact = torch.promote_types(queries.dtype, torch.float32)  # sums of many blocks in bfloat16 go astray
        self.ahead = keys.shape[-2] - queries.shape[-2]  # query i stands at position i + ahead of the keys
        self.rows, self.columns = (
            [slice(start, min(start + block, size)) for start in range(0, size, block)]
            for size in (queries.shape[-2], keys.shape[-2])
        )

    def columns_seen_by(self, rows: slice) -> list[slice]:
        """All blocks of keys, or those that are not wholly in the future of these queries."""
        if not self.causal:
            return self.columns
        return [columns for columns in self.columns if columns.start < rows.stop + self.ahead]

    def scores(self, rows: slice, columns: slice) -> Tensor:
        """One block of QKᵀ/√d_head, with −∞ where a query may not look."""
        queries, keys = self.queries[..., rows, :].to(self.exact), self.keys[..., columns, :].to(self.exact)
        scores = queries @ keys.mT * self.scale
        if self.mask is not None:
            # An axis of size one stands for all queries, or all keys: it is not cut.
            mask = self.mask if self.mask.shape[-2] == 1 else self.mask[..., rows, :]
            mask = mask if mask.shape[-1] == 1 else mask[..., columns]
            scores = scores.masked_fill(~mask, -torch.inf)
        if self.causal and columns.stop > rows.start + self.ahead + 1:  # the diagonal goes through this block
            place = torch.arange(rows.start + self.ahead, rows.stop + self.ahead, device=scores.device)
            future = torch.arange(columns.start, columns.stop, device=scores.device) > place[:, None]
            scores = scores.masked_fill(future, -torch.inf)
        return scores


def memory_accesses(time: int, d_head: int, fast: int) -> dict[str, int]:
    r"""Numbers moved between the large slow memory and the small fast one by one head's forward pass.

    standard   4·time² + 4·time·d_head: QKᵀ, softmax and PV each read and write whole matrices
    flash      version 1: for every block of keys all queries, outputs and sums pass by:
               2·time·d_head + blocks·time·(3·d_head + 4),  blocks = ⌈time / ⌈fast / 4·d_head⌉⌉
    flash 2    for every block of queries all keys and values pass by, outputs are written once, with one sum each:
               2·time·d_head + time + blocks·2·time·d_head, with blocks of the same length

    time     tokens, as many queries as keys
    fast     size of the fast memory in numbers, 4 blocks of whose length fit into it
    Raises: ValueError when not even one token's four vectors fit.
    Source: dao2022flashattention, algorithms 0 and 1, theorem 2 (Θ(time·d + time²) and Θ(time²·d²/fast)), counted out;
    the order of loops of version 2: dao2024flashattention2, algorithm 1.

    >>> counts = memory_accesses(time=4096, d_head=64, fast=100 * 1024 // 4)
    >>> counts["standard"] // counts["flash"], counts["flash"] > counts["flash 2"]
    (2, True)
    """
    if fast < 4 * d_head:
        raise ValueError(f"fast = {fast} numbers, expected at least 4·d_head = {4 * d_head}")
    length = -(-fast // (4 * d_head))
    blocks = -(-time // length)
    return {
        "standard": 4 * time**2 + 4 * time * d_head,
        "flash": 2 * time * d_head + blocks * time * (3 * d_head + 4),
        "flash 2": 2 * time * d_head + time + blocks * 2 * time * d_head,
    }
