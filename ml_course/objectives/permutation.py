r"""Permutation language modelling: tokens are guessed in a random order, each from those before it in that order."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class StreamMasks(NamedTuple):
    r"""Who may see whom in XLNet's two streams; both look at contents."""

    content: Bool[Tensor, "batch time time"]  # a token's content sees itself and what comes earlier in the order
    query: Bool[Tensor, "batch time time"]  # who asks for a token sees what comes earlier, and not the token


def permutation_masks(ranks: Int[Tensor, "batch time"]) -> StreamMasks:
    r"""Masks of a factorisation order: content i sees j where rank_j ≤ rank_i, query i where rank_j < rank_i.

    ranks   when each token comes in the order. The text itself stays as it is, and so do the positions. Tokens of
            equal rank see each other's content
    With ranks 0, 1, 2 … they are those of a causal language model. Source: yang2019xlnet, section 2.3 and figure 1.

    >>> masks = permutation_masks(torch.tensor([[2, 0, 1]]))  # the order is: second token, third, first
    >>> masks.query.int()
    tensor([[[0, 1, 1],
             [0, 0, 0],
             [0, 1, 0]]], dtype=torch.int32)
    """
    seen, sees = ranks[:, None, :], ranks[:, :, None]
    return StreamMasks(seen <= sees, seen < sees)


def random_ranks(
    batch: int,
    time: int,
    *,
    predicted: float | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Int[Tensor, "batch time"]:
    r"""Ranks of random orders, each as likely as any other; with `predicted`, only the last of the order are asked for.

    predicted   share of the tokens that are asked for, at least one: they get the ranks 1, 2, …, all others the rank 0,
                a context that sees itself in both directions. XLNet asks for 1/6. None: ranks 0 … time − 1
    generator   of randomness, on `device`
    Raises: ValueError when `predicted` is not in (0, 1]. Source: yang2019xlnet, section 2.3, "partial prediction"; that
    the context sees all of itself is how the published code has it.

    >>> ranks = random_ranks(2, 12, predicted=1 / 6)
    >>> ranks.sort(1).values[0]
    tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2])
    """
    if predicted is not None and not 0 < predicted <= 1:
        raise ValueError(f"predicted = {predicted}, expected a share above 0, up to 1")
    ranks = torch.rand(batch, time, device=device, generator=generator).argsort(1).argsort(1)
    if predicted is None:
        return ranks
    asked = max(1, round(predicted * time))
    return (ranks - (time - asked - 1)).clamp(min=0)
