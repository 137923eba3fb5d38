r"""Relative positions as vectors: every offset has one of its own, added to keys and to values."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import softmax
from ml_course.positions.biases import check_distance
from ml_course.positions.toeplitz import hide, offset_matrix


class ShawAttention(nn.Module):
    r"""Attention in which each query sees a key, and its value, together with a learned vector for how far it is.

    αᵢⱼ = softmaxⱼ(qᵢ · (kⱼ + a[j − i]) / √d_head),  outputᵢ = Σⱼ αᵢⱼ (vⱼ + c[j − i])

    Offsets beyond `max_distance` count as that; all heads share the two tables of 2·max_distance + 1 rows.

    d_head         width of queries, keys and values
    max_distance   from where on offsets are no longer told apart
    on_values      whether values get c as well; without it, attention can be fused
    fused          without a tensor of query·key·d_head numbers: qᵢ · a[o] for every offset o, then each where it
                   belongs; the weights of every offset added up, then times c. Where there is no c, torch's kernel.
                   Else as the formula says
    Raises: ValueError when max_distance is negative or there are more queries than keys. Cost: O(query·max_distance·
    d_head) more than attention when fused, else O(query·key·d_head), also in memory.
    Source: shaw2018self, eq. 3 and 4; eq. 5 for the way to avoid the large tensor, ours goes further.

    >>> attend = ShawAttention(d_head=8, max_distance=3)
    >>> q, k, v = torch.randn(3, 2, 5, 8)
    >>> torch.allclose(attend(q, k, v)[:, -1:], attend(q[:, -1:], k, v), atol=1e-6)
    True
    """

    def __init__(self, d_head: int, max_distance: int, *, on_values: bool = True, fused: bool = True):
        super().__init__()
        check_distance(max_distance)
        self.max_distance, self.fused = max_distance, fused
        self.keys = nn.Parameter(torch.empty(2 * max_distance + 1, d_head))
        self.values = nn.Parameter(torch.empty(2 * max_distance + 1, d_head)) if on_values else None
        for table in self.parameters():
            nn.init.xavier_uniform_(table)

    def forward(
        self,
        queries: Float[Tensor, "*batch query d_head"],
        keys: Float[Tensor, "*batch key d_head"],
        values: Float[Tensor, "*batch key d_head"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> Float[Tensor, "*batch query d_head"]:
        offsets = offset_matrix(queries.shape[-2], keys.shape[-2], queries.device)
        row = offsets.clamp(-self.max_distance, self.max_distance) + self.max_distance  # of the tables
        root = queries.shape[-1] ** 0.5
        if not self.fused:
            seen = keys[..., None, :, :] + self.keys[row]
            weights = softmax((queries[..., None, :] * seen).sum(-1) / root, mask)
            heard = values[..., None, :, :] if self.values is None else values[..., None, :, :] + self.values[row]
            return (weights[..., None] * heard).sum(-2)

        row = row.expand(*queries.shape[:-1], -1)
        bias = (queries @ self.keys.T / root).gather(-1, row)
        if self.values is None:
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=hide(bias, mask))
        weights = softmax(queries @ keys.mT / root + bias, mask)
        by_offset = weights.new_zeros(*weights.shape[:-1], len(self.values)).scatter_add(-1, row, weights)
        return weights @ values + by_offset @ self.values
