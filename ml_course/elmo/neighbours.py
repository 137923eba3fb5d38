r"""Reading vectors: which words are near, and what a difference of two vectors means."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def unit(vectors: Float[Tensor, "*axes features"]) -> Float[Tensor, "*axes features"]:
    r"""The same directions with length 1; a vector of zeros stays as it is.

    >>> unit(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    length = vectors.norm(dim=-1, keepdim=True)
    return vectors / length.masked_fill(length == 0, 1)


def cosine(
    queries: Float[Tensor, "*axes query features"], keys: Float[Tensor, "*axes key features"]
) -> Float[Tensor, "*axes query key"]:
    r"""How much directions agree: 1 for the same, 0 for perpendicular ones, −1 for opposite; 0 beside a zero vector.

    cos(q, k) = q·k / (|q|·|k|)

    Cost: O(query·key·features).

    >>> cosine(torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    tensor([[ 1.,  0., -1.]])
    """
    return unit(queries) @ unit(keys).mT


def nearest(
    vectors: Float[Tensor, "vocab features"],
    queries: Float[Tensor, "query features"],
    count: int,
    *,
    without: Int[Tensor, "query excluded"] | None = None,
) -> tuple[Int[Tensor, "query count"], Float[Tensor, "query count"]]:
    r"""The words whose vectors agree most with each query, the best first, and how much they do.

    without   numbers of words that shall not be found, a row for each query: usually the query's own word
    Raises: ValueError when fewer than `count` words are left. Cost: O(query·vocab·features), and a partial sort.

    >>> words = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> numbers, agreement = nearest(words, words[:1], count=1, without=torch.tensor([[0]]))
    >>> numbers.tolist(), agreement
    ([[1]], tensor([[0.8000]]))
    """
    excluded = 0 if without is None else without.shape[1]
    if not 1 <= count <= len(vectors) - excluded:
        raise ValueError(
            f"count = {count}, expected 1 to {len(vectors) - excluded}, the number of words to choose from"
        )
    agreement = cosine(queries, vectors)
    if without is not None:
        agreement = agreement.scatter(1, without, -torch.inf)
    best = agreement.topk(count)
    return best.indices, best.values


def analogy(
    vectors: Float[Tensor, "vocab features"],
    a: Int[Tensor, " query"],
    b: Int[Tensor, " query"],
    c: Int[Tensor, " query"],
    *,
    exclude: bool = True,
) -> Int[Tensor, " query"]:
    r"""a is to b as c is to …? The word whose direction agrees most with b − a + c, all three of length 1 first.

    argmax_d cos(d, b̂ − â + ĉ)

    exclude   a, b and c themselves are no answers. Without this the answer is often c, see linzen2016issues
    Cost: O(query·vocab·features). Source: mikolov2013linguistic.

    >>> words = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.1], [-1.0, 1.0]])
    >>> analogy(words, torch.tensor([0]), torch.tensor([1]), torch.tensor([2]))
    tensor([3])
    """
    directions = unit(vectors)
    wanted = directions[b] - directions[a] + directions[c]
    without = torch.stack([a, b, c], dim=1) if exclude else None
    return nearest(directions, wanted, 1, without=without)[0][:, 0]
