"""Masks that say who may attend to whom: True means may."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def padding_mask(lengths: Int[Tensor, " batch"], time: int) -> Bool[Tensor, "batch 1 time"]:
    r"""Lets every query see the real tokens of its sequence and none of the padding behind them.

    maskₙ,₁,ⱼ = (j < lengthₙ); the axis of size one stands for all queries.

    Raises: ValueError when a length is negative or above `time`. Cost: O(batch·time).

    >>> padding_mask(torch.tensor([1, 3]), time=3).int()
    tensor([[[1, 0, 0]],
    <BLANKLINE>
            [[1, 1, 1]]], dtype=torch.int32)
    """
    wrong = lengths[(lengths < 0) | (lengths > time)]
    if len(wrong):
        raise ValueError(f"lengths holds {int(wrong[0])}, expected numbers from 0 to time = {time}")
    return torch.arange(time, device=lengths.device) < lengths[:, None, None]


def causal_mask(query: int, key: int | None = None, device: torch.device | None = None) -> Bool[Tensor, "query key"]:
    r"""Lets each query see its own position and those before it.

    maskᵢⱼ = (j ≤ i + key − query): the queries are the *last* `query` of the `key` positions.

    Raises: ValueError when there are more queries than keys. Cost: O(query·key). Source: vaswani2017attention, section
    3.2.3.

    >>> causal_mask(3).int()
    tensor([[1, 0, 0],
            [1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    >>> causal_mask(1, 3)
    tensor([[True, True, True]])
    """
    key = query if key is None else key
    if query > key:
        raise ValueError(f"query = {query} is more than key = {key}; the queries are the last of the keys")
    position = torch.arange(key, device=device)
    return position <= position[key - query :, None]
