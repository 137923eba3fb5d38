r"""What a mask may say where there are no weights to forbid one by one."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor


def padding_of(mask: Bool[Tensor, "*batch query key"] | None, form: str) -> Bool[Tensor, "*batch key"] | None:
    r"""The keys that all queries may see, from a mask with one row for all of them; None stays None.

    form   what asks, for the message
    Raises: ValueError when the mask tells one query something else than another: its axis of queries is not 1.

    >>> import torch
    >>> padding_of(torch.tensor([[True, False]]), "linear attention")
    tensor([ True, False])
    """
    if mask is None:
        return None
    if mask.shape[-2] != 1:
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: {form} has no weight for each pair that a mask could forbid; "
            "expected a padding mask (*batch, 1, key), and causal=True to hide the future"
        )
    return mask[..., 0, :]
