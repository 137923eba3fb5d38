r"""Setting samples aside so that what was learned from and what is tested on have nothing in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped


def grouped_split(
    groups: Shaped[np.ndarray, " samples"], shares: Sequence[float] = (0.6, 0.2, 0.2), seed: int = 0
) -> tuple[Int[np.ndarray, " rows"], ...]:
    r"""Deals whole groups out to parts, such as train, validation and test; returns each part's row numbers, growing.

    Rows of one group (one patient, one writer, copies of one image) always land in one part.

    groups   for each sample the name of its group: numbers or text
    shares   how much of the *groups* each part gets; they sum to 1
    seed     of the shuffle
    Raises: ValueError when shares are not positive or do not sum to 1, or when there are too few groups for the parts.
    Cost: O(samples · log samples).

    >>> train, test = grouped_split(np.array(["ann", "ann", "bob", "eve", "eve"]), shares=(2 / 3, 1 / 3))
    >>> train, test
    (array([0, 1, 3, 4]), array([2]))
    """
    if min(shares, default=0) <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"shares = {tuple(shares)}: expected positive numbers that sum to 1")
    distinct, member = np.unique(groups, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(distinct))
    ends = np.round(np.cumsum(shares) * len(distinct)).astype(int)
    parts = np.split(order, ends[:-1])
    if any(len(part) == 0 for part in parts):
        raise ValueError(f"shares = {tuple(shares)} leave a part of {len(distinct)} groups empty")
    return tuple(np.flatnonzero(np.isin(member, part)) for part in parts)
