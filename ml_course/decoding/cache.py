r"""What a layer remembers of the tokens so far: their keys and values, so that nothing is computed twice."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor


class KVCache:
    r"""Keys and values of all positions so far, of one attention layer.

    Under a causal mask a token's key and value depend on no later token: once computed they stay right. So each step
    brings those of the newest tokens, and the queries of these look at everything that is stored.

    capacity   positions to make room for at once; when they are used up, room for twice as many is made and what is
               stored is copied, so that n tokens one by one cost O(n) copies in all. None: as many as come first
    `len` says how many positions are stored. No gradient goes through a cache: it is for writing, not for learning.
    Raises: ValueError for a capacity below 1. Memory: 2·batch·kv_heads·d_head numbers a position.

    >>> import torch
    >>> cache = KVCache()
    >>> for step in range(3):
    ...     keys, values = cache.append(torch.full((1, 1, 1, 2), float(step)), torch.zeros(1, 1, 1, 2))
    >>> len(cache), keys[0, 0]
    (3, tensor([[0., 0.],
            [1., 1.],
            [2., 2.]]))
    """

    def __init__(self, capacity: int | None = None):
        if capacity is not None and capacity < 1:
            raise ValueError(f"capacity = {capacity}, expected at least 1")
        self._wanted, self._length = capacity, 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def __len__(self) -> int:
        return self._length

    @property
    def capacity(self) -> int:
        r"""Positions there is room for."""
        return (self._wanted or 0) if self._keys is None else self._keys.shape[-2]

    @property
    def nbytes(self) -> int:
        r"""Bytes that the stored positions take; the room for later ones is not counted."""
        if self._keys is None:
            return 0
        keys, values = self.contents()
        return keys.numel() * keys.element_size() + values.numel() * values.element_size()

    def contents(
        self,
    ) -> tuple[Float[Tensor, "*batch kv_heads key d_head"], Float[Tensor, "*batch kv_heads key features"]]:
        r"""All keys and all values, as views. Raises: ValueError before the first `append`."""
        if self._keys is None:
            raise ValueError("the cache has no contents before the first append(keys, values)")
        return self._keys.narrow(-2, 0, self._length), self._values.narrow(-2, 0, self._length)

    def append(
        self, keys: Float[Tensor, "*batch kv_heads time d_head"], values: Float[Tensor, "*batch kv_heads time features"]
    ) -> tuple[Float[Tensor, "*batch kv_heads key d_head"], Float[Tensor, "*batch kv_heads key features"]]:
        r"""Stores the newest positions behind the others; returns the keys and values of all, as views.

        Raises: ValueError when batch, heads, width, dtype or device are not those of what is stored.
        Cost: a copy of the new positions, and now and then of all.
        """
        stop = self._length + keys.shape[-2]
        if self._keys is None:
            room = max(stop, self._wanted or 0)
            self._keys, self._values = (x.new_empty(*x.shape[:-2], room, x.shape[-1]) for x in (keys, values))
        self._check("keys", keys, self._keys)
        self._check("values", values, self._values)
        if stop > self.capacity:
            room = max(stop, 2 * self.capacity)
            old = self.contents()
            self._keys, self._values = (x.new_empty(*x.shape[:-2], room, x.shape[-1]) for x in (keys, values))
            self._keys[..., : self._length, :], self._values[..., : self._length, :] = old
        for stored, new in ((self._keys, keys), (self._values, values)):
            stored.narrow(-2, self._length, stop - self._length).copy_(new.detach())
        self._length = stop
        return self.contents()

    def rewind(self, length: int) -> None:
        r"""Forgets every position from `length` on, as after guesses that turned out wrong. Cost: none.

        Raises: ValueError when there are fewer positions, or length is negative.
        """
        if not 0 <= length <= self._length:
            raise ValueError(f"length = {length}, expected 0 to {self._length}, the positions that are stored")
        self._length = length

    def rows(self, chosen: Int[Tensor, " rows"]) -> KVCache:
        r"""A cache of its own for the chosen rows of the batch, in their order; a row may be chosen several times.

        Beam search asks for it: where two ways share their beginning, they share its row. Cost: one copy.
        """
        picked = KVCache(self._wanted)
        if self._keys is not None:
            picked._keys, picked._values = (x.index_select(0, chosen) for x in (self._keys, self._values))
            picked._length = self._length
        return picked

    def _check(self, name: str, new: Tensor, stored: Tensor) -> None:
        fits = new.shape[:-2] == stored.shape[:-2] and new.shape[-1] == stored.shape[-1]
        if not fits or new.dtype != stored.dtype or new.device != stored.device:
            raise ValueError(
                f"{name} have shape {tuple(new.shape)}, {new.dtype} on {new.device}, expected "
                f"{(*stored.shape[:-2], 'time', stored.shape[-1])}, {stored.dtype} on {stored.device}, as those before"
            )
