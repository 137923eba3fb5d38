r"""A bias that depends on offsets alone is a Toeplitz matrix: one number for each diagonal, added to the scores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import softmax


def all_offsets(query: int, key: int, device: torch.device | None = None) -> Int[Tensor, " offsets"]:
    r"""Every offset, key's position − query's, that occurs when the queries are the last of the keys, in order.

    1 − key … query − 1: negative where the key comes before the query

    Raises: ValueError when there are more queries than keys.

    >>> all_offsets(2, 3)
    tensor([-2, -1,  0,  1])
    """
    check_sizes(query, key)
    return torch.arange(1 - key, query, device=device)


def toeplitz(diagonals: Shaped[Tensor, "*heads offsets"], query: int) -> Shaped[Tensor, "*heads query key"]:
    r"""Spreads one entry for each of `all_offsets(query, key)` over the matrix in which that offset has a diagonal.

    Bᵢⱼ = b[j − (i + key − query)],  with query + key − 1 entries in b

    Each row is the one below it, moved by one: a sliding window over b, read from its end.

    Raises: ValueError when there are too few entries for so many queries. Cost: O(query·key), one copy.

    >>> toeplitz(torch.tensor([-2, -1, 0, 1]), query=2)
    tensor([[-1,  0,  1],
            [-2, -1,  0]])
    """
    key = diagonals.shape[-1] - query + 1
    if not 1 <= query <= key:
        raise ValueError(
            f"diagonals has {diagonals.shape[-1]} entries for query = {query}, expected query + key − 1 of them, "
            "where 1 ≤ query ≤ key"
        )
    return diagonals.unfold(-1, key, 1).flip(-2)


def offset_matrix(query: int, key: int, device: torch.device | None = None) -> Int[Tensor, "query key"]:
    r"""How far each key stands behind (positive) or before (negative) each query; the queries are the last of the keys.

    j − (i + key − query)

    Raises: ValueError when there are more queries than keys.

    >>> offset_matrix(2, 3)
    tensor([[-1,  0,  1],
            [-2, -1,  0]])
    """
    return toeplitz(all_offsets(query, key, device), query)


class BiasedAttention(nn.Module):
    r"""Scaled dot product attention with a number added to each score that knows only how far the key is.

    softmax(QKᵀ/√d_head + B) V,  Bᵢⱼ = bias(j − i)

    bias    bias(offsets) → one number for each head and offset: `Alibi`, `Buckets`, `Clipped` or one's own
    fused   torch's kernel, with B as its mask; else the readable form
    Raises: ValueError when the bias is made for another number of heads, or there are more queries than keys. Cost:
    O(heads·query·key) more than attention, also in memory; but B asks `bias` for query + key − 1 offsets only.

    >>> from ml_course.positions import Alibi
    >>> attend = BiasedAttention(Alibi(heads=2))
    >>> q, k, v = torch.randn(3, 1, 2, 5, 8)
    >>> torch.allclose(attend(q, k, v)[..., -1:, :], attend(q[..., -1:, :], k, v), atol=1e-6)
    True
    """

    def __init__(
        self, bias: Callable[[Int[Tensor, " offsets"]], Float[Tensor, "heads offsets"]], *, fused: bool = True
    ):
        super().__init__()
        self.bias, self.fused = bias, fused

    def matrix(self, query: int, key: int, device: torch.device | None = None) -> Float[Tensor, "heads query key"]:
        r"""B, for every head."""
        return toeplitz(self.bias(all_offsets(query, key, device)), query)

    def forward(
        self,
        queries: Float[Tensor, "*batch query d_head"],
        keys: Float[Tensor, "*batch key d_head"],
        values: Float[Tensor, "*batch key features"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> Float[Tensor, "*batch query features"]:
        bias = self.matrix(queries.shape[-2], keys.shape[-2], queries.device).to(queries.dtype)
        heads = queries.shape[-3] if queries.dim() > 2 else 1
        if len(bias) != heads:
            raise ValueError(f"queries has {heads} heads, expected {len(bias)}, as the bias was made for")
        if self.fused:
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=hide(bias, mask))
        scores = queries @ keys.mT / queries.shape[-1] ** 0.5 + bias
        return softmax(scores, mask) @ values


def hide(bias: Tensor, mask: Tensor | None) -> Tensor:
    """The bias and the mask as one: −∞ where nobody may attend, as torch's kernel takes it."""
    return bias if mask is None else torch.where(mask, bias, -torch.inf)


def check_sizes(query: int, key: int) -> None:
    if query > key:
        raise ValueError(f"query = {query} is more than key = {key}; the queries are the last of the keys")
