r"""Attention whose weights are products of features, φ(q)·φ(k): the keys are summed up before anybody asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ml_course.longrange.padding import padding_of


def elu_features(x: Float[Tensor, "*batch d_head"]) -> Float[Tensor, "*batch d_head"]:
    r"""Positive features of the same width: φ(x) = elu(x) + 1, that is x + 1 above zero and eˣ below.

    Source: katharopoulos2020transformers, eq. 7.

    >>> elu_features(torch.tensor([-1.0, 0.0, 2.0]))
    tensor([0.3679, 1.0000, 3.0000])
    """
    return F.elu(x) + 1


def feature_attention(
    queries: Float[Tensor, "*batch query features"],
    keys: Float[Tensor, "*batch key features"],
    values: Float[Tensor, "*batch key width"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    block: int = 64,
) -> Float[Tensor, "*batch query width"]:
    r"""Attention with the dot products themselves as weights, divided by their sum: what `queries` and `keys` are
    features of stays the caller's affair.

    oᵢ = φ(qᵢ)ᵀ S / φ(qᵢ)ᵀ z,  S = Σⱼ φ(kⱼ) vⱼᵀ,  z = Σⱼ φ(kⱼ); causal: the sums go to j ≤ i

    Causal sums are made block by block: all blocks before by one matrix, the own block by its small matrix of weights.
    A query that sees nothing gets zeros.

    Raises: ValueError when the mask is no padding mask, or for causal with more queries than keys.
    Cost: O((query + key)·features·width) time, O(key·width·(1 + features/block)) memory.
    Source: katharopoulos2020transformers, eq. 5 and section 3.3.

    >>> one = torch.ones(3, 1)
    >>> feature_attention(one, one, torch.tensor([[1.0], [2.0], [6.0]]), causal=True).T
    tensor([[1.0000, 1.5000, 3.0000]])
    """
    if (real := padding_of(mask, "attention by features")) is not None:
        keys = keys * real[..., None]
    if not causal:
        matrix, sums = keys.mT @ values, keys.sum(-2)
        return _divide(queries @ matrix, (queries * sums[..., None, :]).sum(-1))
    query, key = queries.shape[-2], keys.shape[-2]
    if query > key:
        raise ValueError(f"causal with query = {query} and key = {key}; the queries are the last of the keys")
    early = key - query  # what stands before the first query is seen by all of them
    matrix = keys[..., :early, :].mT @ values[..., :early, :]
    sums = keys[..., :early, :].sum(-2)
    short = -query % block
    queries, keys, values = (
        F.pad(x, (0, 0, 0, short)).unflatten(-2, (-1, block))
        for x in (queries, keys[..., early:, :], values[..., early:, :])
    )
    written, counted = keys.mT @ values, keys.sum(-2)
    # What all blocks before have written: a running sum, without the block itself.
    matrix = matrix[..., None, :, :] + written.cumsum(-3) - written
    sums = sums[..., None, :] + counted.cumsum(-2) - counted
    inside = (queries @ keys.mT).tril()
    above = queries @ matrix + inside @ values
    below = (queries * sums[..., None, :]).sum(-1) + inside.sum(-1)
    return _divide(above, below).flatten(-3, -2)[..., :query, :]


def _divide(above: Tensor, below: Tensor) -> Tensor:
    return above / below.masked_fill(below == 0, 1)[..., None]


def linear_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    causal: bool = False,
    features: Callable[[Tensor], Tensor] = elu_features,
) -> Float[Tensor, "*batch query features"]:
    r"""Attention in linear time: the similarity is φ(q)·φ(k) instead of exp(q·k/√d_head).

    oᵢ = Σⱼ φ(qᵢ)·φ(kⱼ) vⱼ / Σⱼ φ(qᵢ)·φ(kⱼ)

    It does not approximate the softmax: it is another attention, to be trained as it is.

    features   φ, with values that are not negative
    Raises, cost: as `feature_attention`. Source: katharopoulos2020transformers, eq. 4 and 7.

    >>> q, k, v = (torch.randn(2, 5, 4) for _ in range(3))
    >>> torch.allclose(linear_attention(q, k, v, causal=True)[:, -1], linear_attention(q, k, v)[:, -1], atol=1e-6)
    True
    """
    return feature_attention(features(queries), features(keys), values, mask, causal=causal)


class LinearState(NamedTuple):
    r"""All that causal linear attention remembers: its size does not depend on how much was read."""

    matrix: Float[Tensor, "*batch features width"]  # Σ φ(k) vᵀ
    sums: Float[Tensor, "*batch features"]  # Σ φ(k)


def linear_recurrence(
    queries: Float[Tensor, "*batch time d_head"],
    keys: Float[Tensor, "*batch time d_head"],
    values: Float[Tensor, "*batch time features"],
    state: LinearState | None = None,
    *,
    features: Callable[[Tensor], Tensor] = elu_features,
) -> tuple[Float[Tensor, "*batch time features"], LinearState]:
    r"""Causal linear attention one token after another, as a recurrent network: the same numbers.

    S_t = S_{t−1} + φ(k_t) v_tᵀ,  z_t = z_{t−1} + φ(k_t),  o_t = φ(q_t)ᵀ S_t / φ(q_t)ᵀ z_t

    Returns the outputs and the last state; `state` is that of a call before, to go on from there.
    Cost: O(features·width) a token, in time and memory. Source: katharopoulos2020transformers, eq. 16 to 20.

    >>> q, k, v = (torch.randn(5, 4) for _ in range(3))
    >>> outputs, state = linear_recurrence(q, k, v)
    >>> torch.allclose(outputs, linear_attention(q, k, v, causal=True), atol=1e-6), state.matrix.shape
    (True, torch.Size([4, 4]))
    """
    queries, keys = features(queries), features(keys)
    if state is None:
        batch = keys.shape[:-2]
        state = LinearState(
            keys.new_zeros(*batch, keys.shape[-1], values.shape[-1]), keys.new_zeros(*batch, keys.shape[-1])
        )
    outputs = []
    for query, key, value in zip(queries.unbind(-2), keys.unbind(-2), values.unbind(-2), strict=True):
        state = LinearState(state.matrix + key[..., :, None] * value[..., None, :], state.sums + key)
        above = (query[..., None, :] @ state.matrix)[..., 0, :]
        outputs.append(_divide(above, (query * state.sums).sum(-1)))
    return torch.stack(outputs, -2), state
