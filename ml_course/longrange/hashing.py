r"""Attention by hashing, Reformer's: vectors that point the same way fall into the same bucket and attend there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ml_course.longrange.flash import Partial, attend_part, merge
from ml_course.longrange.padding import padding_of


def hash_buckets(
    vectors: Float[Tensor, "*batch time d_head"], rotations: Float[Tensor, "rounds d_head half"]
) -> Int[Tensor, "*batch rounds time"]:
    r"""The bucket of each vector in each round, from 0 to 2·half − 1: which of some random directions it is nearest to.

    h(x) = argmax [xR; −xR]

    Vectors at a small angle mostly share a bucket, whatever their lengths. Cost: O(rounds·time·d_head·half).
    Source: kitaev2020reformer, section 2, after andoni2015practical.

    >>> vectors = torch.tensor([[1.0, 0.1], [9.0, 1.0], [-1.0, 0.0]])
    >>> hash_buckets(vectors, torch.eye(2)[None])
    tensor([[0, 0, 2]])
    """
    turned = vectors[..., None, :, :] @ rotations
    return torch.cat([turned, -turned], -1).argmax(-1)


def lsh_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    rounds: int = 2,
    buckets: int | None = None,
    chunk: int = 32,
    shared: bool = True,
    rotations: Float[Tensor, "rounds d_head half"] | None = None,
) -> Float[Tensor, "*batch query features"]:
    r"""Scaled dot product attention of each query to the keys of its own bucket alone, over several rounds of hashing.

    In each round tokens are sorted by bucket, cut into chunks, and each chunk attends to itself and the one before.
    What is found in several rounds counts once: a pair seen in N of them has exp(s − log N) in each, and the rounds are
    merged like the blocks of `flash_attention`.

    shared      keys are the queries at length one (what is given as `keys` is not read), and a token attends to itself
                only where it finds nothing else; else keys are hashed for themselves
    rounds      of hashing: more of them miss less
    buckets     even; 2·⌈time/chunk⌉ when None, so that a chunk holds two buckets on average
    chunk       tokens in a chunk
    rotations   R of each round, in place of new random ones at each call; gives rounds and buckets
    mask        a padding mask
    Raises: ValueError for another mask, unequal numbers of queries and keys, or an odd number of buckets.
    Cost: O(rounds·time·(chunk·(d_head + rounds) + d_head·buckets + log time)).
    Source: kitaev2020reformer, section 2 and appendix A.

    >>> q, v = torch.randn(2, 100, 8), torch.randn(2, 100, 8)
    >>> lsh_attention(q, q, v, causal=True).shape
    torch.Size([2, 100, 8])
    """
    if queries.shape[-2] != keys.shape[-2]:
        raise ValueError(
            f"query = {queries.shape[-2]} and key = {keys.shape[-2]}: expected as many, one sequence is sorted"
        )
    time, batch = queries.shape[-2], queries.shape[:-2]
    chunks = -(-time // chunk)
    if rotations is None:
        buckets = 2 * chunks if buckets is None else buckets
        if buckets < 2 or buckets % 2:
            raise ValueError(f"buckets = {buckets}, expected an even number: each direction has its opposite")
        rotations = torch.randn(rounds, queries.shape[-1], buckets // 2, device=queries.device)
    rounds = len(rotations)
    real = padding_of(mask, "lsh_attention")
    real = torch.ones_like(queries[..., 0], dtype=torch.bool) if real is None else real.expand(*batch, time)
    if shared:
        keys = F.normalize(queries, dim=-1)
    rotations = rotations.to(queries)
    # The flat batch keeps the gathering below readable. Hashing is a choice, not a function with slopes.
    queries, keys, values, real = (x.reshape(-1, *x.shape[len(batch) :]) for x in (queries, keys, values, real))
    places = [Sorted.of(hash_buckets(x.detach(), rotations), chunks * chunk, chunk) for x in (queries, keys)]
    exact = torch.promote_types(values.dtype, torch.float32)
    queries, keys, values, kind = queries.to(exact), keys.to(exact), values.to(exact), values.dtype
    found = None
    for number in range(rounds):
        part = _round(number, queries, keys, values, real, *places, chunk=chunk, causal=causal, alone=shared)
        found = part if found is None else merge(found, part)
    return found.finish().reshape(*batch, time, -1).to(kind)


class Sorted:
    r"""Where each token stands after sorting by bucket, in each round."""

    def __init__(self, bucket: Tensor, chunk_of: Tensor, order: Tensor):
        self.bucket = bucket  # (batch, rounds, time)
        self.chunk_of = chunk_of  # (batch, rounds, time): which chunk a token falls into
        self.order = order  # (batch, rounds, chunks · chunk): which token stands where; the filler is number `time`

    @classmethod
    def of(cls, bucket: Int[Tensor, "batch rounds time"], length: int, chunk: int) -> Sorted:
        r"""Sorted so that equal buckets stay in the order of time, and filled up behind."""
        order = bucket.argsort(stable=True, dim=-1)
        chunk_of = order.argsort(-1) // chunk
        return cls(bucket, chunk_of, F.pad(order, (0, length - order.shape[-1]), value=order.shape[-1]))


def _round(
    number: int,
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    real: Tensor,
    asking: Sorted,
    asked: Sorted,
    *,
    chunk: int,
    causal: bool,
    alone: bool,
) -> Partial:
    """What one round finds for each query, in the order of time."""
    time = queries.shape[1]
    of_queries = asking.order[:, number].unflatten(1, (-1, chunk))  # (batch, chunks, chunk) numbers of tokens
    of_keys = _with_chunk_before(asked.order[:, number].unflatten(1, (-1, chunk)))
    safe_queries, safe_keys = of_queries.clamp(max=time - 1), of_keys.clamp(max=time - 1)
    scores = _take(queries, safe_queries) @ _take(keys, safe_keys).mT / queries.shape[-1] ** 0.5
    # In how many rounds does the pair meet? Meeting: the same bucket, in the same chunk or the one before.
    meetings = torch.zeros_like(scores, dtype=torch.int32)
    for other in range(asking.bucket.shape[1]):
        same = _pick(asking.bucket[:, other], safe_queries, -1) == _pick(asked.bucket[:, other], safe_keys, -2)
        apart = _pick(asking.chunk_of[:, other], safe_queries, -1) - _pick(asked.chunk_of[:, other], safe_keys, -2)
        meets = same & ((apart == 0) | (apart == 1))
        if other == number:
            allowed = meets
        meetings += meets
    allowed = allowed & (of_queries < time)[..., None] & (of_keys < time)[..., None, :]
    allowed = allowed & _pick(real, safe_keys, -2)
    if causal:
        allowed = allowed & (of_keys[..., None, :] <= of_queries[..., None])
    scores = scores - meetings.clamp(min=1).to(scores.dtype).log()
    if alone:  # far below all others, but there where nothing else is
        scores = scores - 1e5 * (of_keys[..., None, :] == of_queries[..., None]).to(scores.dtype)
    part = attend_part(scores.masked_fill(~allowed, -torch.inf), _take(values, safe_keys))
    back = asking.order[:, number].argsort(-1)[:, :time]  # from sorted places to the order of time
    highest, total, weighted = (x.flatten(1, 2) for x in part)
    return Partial(highest.gather(1, back), total.gather(1, back), _take(weighted, back))


def _with_chunk_before(order: Tensor) -> Tensor:
    """Each chunk behind the one before it; before the first there is filler."""
    filler = order[0].numel()  # a number that no token has
    return torch.cat([F.pad(order, (0, 0, 1, 0), value=filler)[:, :-1], order], -1)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of (batch, time, features) by number: (batch, …, features)."""
    return x[torch.arange(len(x), device=x.device).view(-1, *[1] * (index.ndim - 1)), index]


def _pick(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Entries of (batch, time) by number, with a new axis for the partners."""
    return x.gather(1, index.flatten(1)).view(index.shape).unsqueeze(axis)
