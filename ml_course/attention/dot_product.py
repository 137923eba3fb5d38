"""The heart of it: the softmax that makes weights of scores, and attention by scaled dot products."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def softmax(
    scores: Float[Tensor, "*axes"], mask: Bool[Tensor, "*#axes"] | None = None, dim: int = -1
) -> Float[Tensor, "*axes"]:
    r"""Turns scores into weights that are positive and sum to one along `dim`.

    softmax(s)ᵢ = exp(sᵢ − m) / Σⱼ exp(sⱼ − m),  m = max s

    Where `mask` is False the weight is zero; where it is False all along `dim`, so is every weight.

    Cost: O(numel). Source: bridle1990softmax; subtracting m changes nothing but keeps exp from overflowing.

    >>> softmax(torch.tensor([0.0, 1000.0, 1000.0]))
    tensor([0.0000, 0.5000, 0.5000])
    >>> softmax(torch.zeros(3), mask=torch.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    highest = scores.detach().amax(dim, keepdim=True)
    highest = highest.masked_fill(highest == -torch.inf, 0)  # all masked: −∞ − (−∞) would be NaN
    weights = (scores - highest).exp()
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)


def attention_weights(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""How much each query attends to each key: every row is non-negative and sums to one.

    softmax(QKᵀ / √d_head)

    Cost: O(query·key·d_head) time, O(query·key) memory. Source: vaswani2017attention, eq. 1.

    >>> attention_weights(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 5.0], [-99.0, 0.0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return softmax(scores, mask)


def scaled_dot_product_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    fused: bool = True,
) -> Float[Tensor, "*batch query features"]:
    r"""Answers each query with the average of the values, weighted by how well the query fits their keys.

    softmax(QKᵀ / √d_head) V

    `fused` takes torch's kernel, which computes the same without ever storing the query × key matrix where it can.

    Cost: O(query·key·(d_head + features)). Source: vaswani2017attention, eq. 1; the kernel: dao2022flashattention.

    >>> keys = torch.eye(2) * 100
    >>> scaled_dot_product_attention(keys[:1], keys, values=torch.tensor([[7.0], [9.0]]))
    tensor([[7.]])
    """
    if fused:
        if mask is not None:  # a mask with an axis fewer than the queries would get the slow kernel
            mask = mask[(None,) * (queries.ndim - mask.ndim)]
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return attention_weights(queries, keys, mask) @ values
