"""Rungs of the ladder from a kernel smoother to self-attention: each asks or scores in another way."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ml_course.attention.dot_product import scaled_dot_product_attention, softmax


def nadaraya_watson(
    queries: Float[Tensor, "query features"],
    keys: Float[Tensor, "key features"],
    values: Float[Tensor, "key classes"],
    bandwidth: float,
) -> Float[Tensor, "query classes"]:
    r"""Predicts at each query the average of the values whose keys lie near it.

    ŷ(q) = Σⱼ αⱼ vⱼ,  α = softmaxⱼ(−‖q − kⱼ‖² / 2h²)

    The bandwidth h says how far is near, in the units of the keys.

    Raises: ValueError when the bandwidth is not positive. Cost: O(query·key·features). Source: nadaraya1964regression,
    watson1964regression, with a Gaussian kernel.

    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> nadaraya_watson(torch.tensor([[1.0]]), x, values=x**2, bandwidth=0.1)
    tensor([[1.]])
    """
    if not bandwidth > 0:
        raise ValueError(f"bandwidth = {bandwidth}, expected a positive number")
    squared = (queries[:, None] - keys).square().sum(-1)
    return softmax(-squared / (2 * bandwidth**2)) @ values


def learned_pooling(
    tokens: Float[Tensor, "*batch time d_model"],
    scorer: Float[Tensor, " d_model"],
    values: Float[Tensor, "*batch time features"] | None = None,
) -> Float[Tensor, "*batch features"]:
    r"""Pools a sequence into one vector with weights that a learned `scorer` reads off each token.

    Σⱼ αⱼ vⱼ,  α = softmax(X w); the tokens are their own values when `values` is None.

    Cost: O(time·(d_model + features)). Source: lin2017structured.

    >>> learned_pooling(torch.tensor([[1.0], [3.0]]), scorer=torch.zeros(1))
    tensor([2.])
    """
    values = tokens if values is None else values
    weights = softmax(tokens @ scorer)
    return (weights[..., None, :] @ values).squeeze(-2)


def additive_scores(
    queries: Float[Tensor, "*batch query d_model"],
    keys: Float[Tensor, "*batch key features"],
    query_weight: Float[Tensor, "hidden d_model"],
    key_weight: Float[Tensor, "hidden features"],
    vector: Float[Tensor, " hidden"],
) -> Float[Tensor, "*batch query key"]:
    r"""Scores each pair with a small network, so that queries and keys may differ in size.

    sᵢⱼ = vᵀ tanh(W qᵢ + U kⱼ),  W = query_weight, U = key_weight

    Cost: O(query·key·hidden) time *and memory*. Source: bahdanau2015alignment, section A.1.2.

    >>> one = torch.ones(1, 1)
    >>> additive_scores(one, -one, one, one, vector=torch.ones(1))
    tensor([[0.]])
    """
    queries = queries @ query_weight.mT  # projected once each, not once per pair
    keys = keys @ key_weight.mT
    hidden = torch.tanh(queries[..., :, None, :] + keys[..., None, :, :])
    return hidden @ vector


def pooled_query_attention(tokens: Float[Tensor, "*batch time d_model"]) -> Float[Tensor, "*batch d_model"]:
    r"""Pools a sequence by its fit to a question taken from the sequence itself: its maximum in every feature.

    Attention(max X, X, X)

    Cost: O(time·d_model).

    >>> pooled_query_attention(torch.tensor([[0.0, 9.0], [9.0, 9.0]]))
    tensor([9., 9.])
    """
    query = tokens.amax(-2, keepdim=True)
    return scaled_dot_product_attention(query, tokens, tokens, fused=False).squeeze(-2)


def self_attention(
    tokens: Float[Tensor, "*batch time d_model"],
    query_weight: Float[Tensor, "d_head d_model"] | None = None,
    key_weight: Float[Tensor, "d_head d_model"] | None = None,
    value_weight: Float[Tensor, "features d_model"] | None = None,
    mask: Bool[Tensor, "*#batch #time #time"] | None = None,
) -> Float[Tensor, "*batch time features"]:
    r"""Lets every token ask all tokens; a projection that is None leaves the tokens as they are.

    Attention(X W_qᵀ, X W_kᵀ, X W_vᵀ)

    Cost: O(time²·d_head). Source: vaswani2017attention, section 3.2; one head, no output projection.

    >>> self_attention(torch.tensor([[1.0], [1.0]]), value_weight=torch.tensor([[5.0]]))
    tensor([[5.],
            [5.]])
    """
    queries, keys, values = (
        tokens if weight is None else tokens @ weight.mT for weight in (query_weight, key_weight, value_weight)
    )
    return scaled_dot_product_attention(queries, keys, values, mask)
