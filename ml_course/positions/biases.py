r"""Numbers for offsets, to be added to scores: fixed slopes (ALiBi), one for each bucket (T5), one for each offset."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def alibi_slopes(heads: int) -> Float[Tensor, " heads"]:
    r"""How strongly each head dislikes distance: a geometric sequence.

    2^(−8/heads), 2^(−16/heads), …, 2^(−8)

    For a number of heads that is no power of two: the slopes of the largest power below, then the first, third, fifth …
    of those for twice as many.

    Raises: ValueError when heads is below 1. Source: press2022train, section 3; other numbers as in its code.

    >>> alibi_slopes(4)
    tensor([0.2500, 0.0625, 0.0156, 0.0039])
    >>> alibi_slopes(3)
    tensor([0.0625, 0.0039, 0.2500])
    """
    if heads < 1:
        raise ValueError(f"heads = {heads}, expected at least 1")
    power = 2 ** int(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / power) for i in range(power)]
    between = [2 ** (-4 * (i + 1) / power) for i in range(0, 2 * power, 2)]
    return torch.tensor(slopes + between[: heads - power])


class Alibi(nn.Module):
    r"""Attention with linear biases: each step of distance costs a head the same, and there is nothing to learn.

    b(o) = −slope · |o|

    heads   number of heads, each with a slope of its own
    Under a causal mask |o| = −o. Without one, keys behind the query lose as those before it do. The slopes hold for
    scores divided by √d_head. Raises: ValueError when heads is below 1. Source: press2022train, section 3.

    >>> Alibi(heads=2)(torch.tensor([-2, -1, 0]))
    tensor([[-0.1250, -0.0625,  0.0000],
            [-0.0078, -0.0039,  0.0000]])
    """

    def __init__(self, heads: int):
        super().__init__()
        # No buffer: `.to(torch.bfloat16)` would round the slopes.
        self.slopes = tuple(alibi_slopes(heads).tolist())

    def forward(self, offsets: Int[Tensor, " offsets"]) -> Float[Tensor, "heads offsets"]:
        slopes = torch.tensor(self.slopes, device=offsets.device)
        return 0 - slopes[:, None] * offsets.abs()  # 0 − 0 is no −0


def relative_buckets(
    offsets: Int[Tensor, "*axes"], buckets: int = 32, max_distance: int = 128, *, causal: bool = False
) -> Int[Tensor, "*axes"]:
    r"""Puts offsets into buckets: near ones each into its own, far ones together, the farther the more of them.

    d                                                       for d < n/2
    n/2 + ⌊n/2 · ln(d/(n/2)) / ln(max_distance/(n/2))⌋      from there on, at most n − 1

    of the distance d = |o|, in n = buckets/2, and the upper half of the buckets is for keys behind the query, o > 0.

    buckets        how many there are
    max_distance   from where on all share the last one
    causal         n = buckets; keys behind the query, which a mask hides, count as distance 0
    Raises: ValueError when there are too few buckets, an odd number of them without `causal`, or max_distance is not
    above n/2. Source: raffel2020exploring, section 2.1; the formula from its code.

    >>> relative_buckets(torch.tensor([-20, -3, 0, 3, 200]), buckets=8, max_distance=16)
    tensor([3, 2, 0, 6, 7])
    """
    if buckets < (2 if causal else 4) or (not causal and buckets % 2):
        few = "at least 2" if causal else "an even number from 4 on"
        raise ValueError(f"buckets = {buckets} with causal = {causal}, expected {few}")
    count = buckets if causal else buckets // 2
    exact = count // 2
    if max_distance <= exact:
        raise ValueError(f"max_distance = {max_distance}, expected above {exact}, the distances with their own bucket")
    behind = 0 if causal else count * (offsets > 0)
    distance = -offsets.clamp(max=0) if causal else offsets.abs()
    # In float32, as T5's own code has it; at whole distances it rounds nothing to a wrong side (tested).
    far = (distance.clamp(min=exact) / exact).log() / math.log(max_distance / exact) * (count - exact)
    far = (exact + far.long()).clamp(max=count - 1)
    return behind + torch.where(distance < exact, distance, far)


class Buckets(nn.Module):
    r"""One learned number for each head and bucket of offsets: T5's relative bias.

    b(o) = weight[:, bucket(o)]

    heads                            number of heads
    buckets, max_distance, causal    as in `relative_buckets`
    The numbers start at 0, so at first no offset is preferred. T5 shares one such table among all layers: hand the same
    module to each. It does not divide scores by √d_head either; `BiasedAttention` does.
    Raises: ValueError as `relative_buckets`. Source: raffel2020exploring, section 2.1.

    >>> Buckets(heads=2, causal=True)(torch.tensor([-2, -1, 0])).shape
    torch.Size([2, 3])
    """

    def __init__(self, heads: int, *, buckets: int = 32, max_distance: int = 128, causal: bool = False):
        super().__init__()
        self.options = dict(buckets=buckets, max_distance=max_distance, causal=causal)
        relative_buckets(torch.zeros(0, dtype=torch.long), **self.options)  # complains now, not in the first call
        self.weight = nn.Parameter(torch.zeros(heads, buckets))

    def forward(self, offsets: Int[Tensor, " offsets"]) -> Float[Tensor, "heads offsets"]:
        return self.weight[:, relative_buckets(offsets, **self.options)]


class Clipped(nn.Module):
    r"""One learned number for each head and each offset up to `max_distance`, beyond which all count as that.

    b(o) = weight[:, clip(o, −max_distance, max_distance) + max_distance]

    Any bias by offset is of this form, for inputs up to that length: ALiBi and T5's are special tables. Starts at 0.
    Raises: ValueError when max_distance is negative. Source: shaw2018self's clipping, with numbers instead of vectors.

    >>> Clipped(heads=2, max_distance=4)(torch.tensor([-9, 0, 1])).shape
    torch.Size([2, 3])
    """

    def __init__(self, heads: int, max_distance: int):
        super().__init__()
        check_distance(max_distance)
        self.max_distance = max_distance
        self.weight = nn.Parameter(torch.zeros(heads, 2 * max_distance + 1))

    def forward(self, offsets: Int[Tensor, " offsets"]) -> Float[Tensor, "heads offsets"]:
        return self.weight[:, offsets.clamp(-self.max_distance, self.max_distance) + self.max_distance]


def check_distance(max_distance: int) -> None:
    if max_distance < 0:
        raise ValueError(f"max_distance = {max_distance}, expected at least 0")
