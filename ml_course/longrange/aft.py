r"""Attention-free Transformer: no query meets a key; keys and positions weigh the values, feature by feature."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.longrange.padding import padding_of


def aft_full(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key d_head"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    bias: Float[Tensor, "query key"],
) -> Float[Tensor, "*batch query d_head"]:
    r"""Values weighed by keys and by a learned number for each pair of positions; the query is a gate.

    oᵢ = σ(qᵢ) ⊙ Σⱼ exp(kⱼ + wᵢⱼ) ⊙ vⱼ / Σⱼ exp(kⱼ + wᵢⱼ)

    Every feature is a head of its own: exp(k + w) = eʷ eᵏ, so all sums are two products of the matrix eʷ. The matrix
    takes any mask. A query that may attend to nothing gets zeros.

    bias     w, one number for each pair; `AFT` learns it
    causal   the queries are the last of the keys' positions
    Cost: O(query·key·d_head) time, O(query·key) memory once for all of the batch, O(key·d_head) for each sequence.
    Exponentials are taken from each feature's largest key, and each row's largest w: what is e⁻⁸⁰ of it counts nothing.
    Source: zhai2021aft, eq. 2.

    >>> q, k, v = torch.full((2, 1), 100.0), torch.zeros(2, 1), torch.tensor([[2.0], [4.0]])
    >>> aft_full(q, k, v, bias=torch.zeros(2, 2)).T
    tensor([[3., 3.]])
    """
    query, key = queries.shape[-2], keys.shape[-2]
    if causal:
        if query > key:
            raise ValueError(f"causal with query = {query} and key = {key}; the queries are the last of the keys")
        past = torch.ones(query, key, dtype=torch.bool, device=keys.device).tril(key - query)
        mask = past if mask is None else mask & past
    weights = (bias - bias.detach().amax(-1, keepdim=True)).exp()
    if mask is not None:
        weights = weights * mask
    powers = _powers(keys)
    return queries.sigmoid() * _divide(weights @ (powers * values), weights @ powers)


def aft_simple(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key d_head"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
) -> Float[Tensor, "*batch query d_head"]:
    r"""`aft_full` without positions: one average of the values for all queries, or a running one.

    oᵢ = σ(qᵢ) ⊙ Σⱼ exp(kⱼ) ⊙ vⱼ / Σⱼ exp(kⱼ)

    Raises: ValueError when the mask is no padding mask. Cost: O((query + key)·d_head).
    Source: zhai2021aft, section 3.2.

    >>> q, k, v = torch.full((2, 1), 100.0), torch.zeros(2, 1), torch.tensor([[2.0], [4.0]])
    >>> aft_simple(q, k, v, causal=True).T
    tensor([[2., 3.]])
    """
    powers = _powers(_without_filler(keys, mask, "aft_simple"))
    above, below = _sums(powers * values, queries, causal), _sums(powers, queries, causal)
    return queries.sigmoid() * _divide(above, below)


def aft_local(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key d_head"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    bias: Float[Tensor, "time window"],
) -> Float[Tensor, "*batch query d_head"]:
    r"""`aft_full` with w = 0 beyond a window: still every value is seen, but only near ones with learned weights.

    wᵢⱼ = bias[i, j − i + s − 1] for |i − j| < s, else 0

    The sums of `aft_simple`, and what the window adds: Σ (e^{wᵢⱼ} − 1) e^{kⱼ}.

    bias   (time, 2s − 1), the middle column for the token itself
    Raises: ValueError for an even window, a mask that is no padding mask, or unequal numbers of queries and keys.
    Cost: O(time·s·d_head) time and memory. Source: zhai2021aft, eq. 3.

    >>> q, k, v = torch.full((3, 1), 100.0), torch.zeros(3, 1), torch.tensor([[2.0], [4.0], [9.0]])
    >>> aft_local(q, k, v, bias=torch.zeros(3, 1)).T
    tensor([[5., 5., 5.]])
    """
    time, window = bias.shape
    if window % 2 == 0:
        raise ValueError(f"bias has {window} columns, expected an odd number 2s − 1: the own place in the middle")
    if queries.shape[-2] != time or keys.shape[-2] != time:
        raise ValueError(f"bias has {time} rows, expected as many as queries, {queries.shape[-2]}, and keys")
    powers, side = _powers(_without_filler(keys, mask, "aft_local")), window // 2
    more = bias.exp() - 1
    if causal:
        more = torch.cat([more[:, : side + 1], torch.zeros_like(more[:, side + 1 :])], 1)

    def summed(x: Tensor) -> Tensor:
        near = F.pad(x, (0, 0, side, side)).unfold(-2, window, 1)  # (…, time, d_head, window)
        return _sums(x, queries, causal) + torch.einsum("...tdw,tw->...td", near, more)

    return queries.sigmoid() * _divide(summed(powers * values), summed(powers))


def _powers(keys: Tensor) -> Tensor:
    return (keys - keys.detach().amax(-2, keepdim=True).clamp(min=torch.finfo(keys.dtype).min)).exp()


def _without_filler(keys: Tensor, mask: Tensor | None, form: str) -> Tensor:
    real = padding_of(mask, form)
    return keys if real is None else keys.masked_fill(~real[..., None], -torch.inf)


def _sums(x: Tensor, queries: Tensor, causal: bool) -> Tensor:
    """Over all keys, or up to each of the last positions."""
    if not causal:
        return x.sum(-2, keepdim=True)
    if queries.shape[-2] > x.shape[-2]:
        raise ValueError(
            f"causal with query = {queries.shape[-2]} and key = {x.shape[-2]}; the queries are the last of the keys"
        )
    return x.cumsum(-2)[..., x.shape[-2] - queries.shape[-2] :, :]


def _divide(above: Tensor, below: Tensor) -> Tensor:
    return above / below.masked_fill(below == 0, 1)


class AFT(nn.Module):
    r"""`aft_full` or `aft_local` with position weights of its own, learned as products: wᵢⱼ = uᵢ·rⱼ.

    context   the longest input: as many u and r are learned
    rank      width of u and r, so 2·context·rank numbers instead of context²
    window    s of `aft_local`; None: `aft_full`
    causal    as there
    Raises: ValueError when called with more than `context` keys, or local with another number of queries.
    Source: zhai2021aft, section 3.2 (its rank is 128).

    >>> AFT(context=10, window=3)(*(torch.randn(2, 7, 4) for _ in range(3))).shape
    torch.Size([2, 7, 4])
    """

    def __init__(self, context: int, *, rank: int = 16, window: int | None = None, causal: bool = False):
        super().__init__()
        if window is not None and window < 1:
            raise ValueError(f"window = {window}, expected at least 1")
        # Products of two small numbers: w begins near 0, where all positions are alike.
        self.asking, self.asked = (nn.Parameter(0.1 * torch.randn(context, rank)) for _ in range(2))
        self.window, self.causal = window, causal

    def bias(self, query: int, key: int) -> Float[Tensor, "{query} columns"]:
        r"""w for the last `query` of `key` positions: (query, key), or (query, 2s − 1) with a window."""
        if key > len(self.asked):
            raise ValueError(f"key = {key}, expected at most context = {len(self.asked)}")
        asking, asked = self.asking[key - query : key], self.asked[:key]
        if self.window is None:
            return asking @ asked.T
        side = self.window - 1
        near = F.pad(asked, (0, 0, side, side)).unfold(0, 2 * side + 1, 1)  # (key, rank, 2s − 1)
        return torch.einsum("tr,trw->tw", asking, near[key - query :])

    def forward(
        self,
        queries: Float[Tensor, "*batch query d_head"],
        keys: Float[Tensor, "*batch key d_head"],
        values: Float[Tensor, "*batch key d_head"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> Float[Tensor, "*batch query d_head"]:
        attend = aft_full if self.window is None else aft_local
        bias = self.bias(queries.shape[-2], keys.shape[-2])
        return attend(queries, keys, values, mask, causal=self.causal, bias=bias)
