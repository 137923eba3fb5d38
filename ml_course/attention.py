"""Attention: weighted averages whose weights are computed from the data, from a kernel smoother to many heads.

Masks are bool and True means *may attend*. A query whose every key is masked gets zeros.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

# The weights.


def softmax(
    scores: Float[Tensor, "*axes"], mask: Bool[Tensor, "*#axes"] | None = None, dim: int = -1
) -> Float[Tensor, "*axes"]:
    r"""Turns scores into weights that are positive and sum to one along `dim`.

    softmax(s)ᵢ = exp(sᵢ − m) / Σⱼ exp(sⱼ − m),  m = max s

    Where `mask` is False the weight is zero; where it is False all along `dim`, so is every weight.

    Cost: O(numel). Source: bridle1990softmax; subtracting m changes nothing but keeps exp from overflowing.

    >>> softmax(torch.tensor([0.0, 1000.0, 1000.0]))
    tensor([0.0000, 0.5000, 0.5000])
    >>> softmax(torch.zeros(3), mask=torch.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    highest = scores.detach().amax(dim, keepdim=True)
    highest = highest.masked_fill(highest == -torch.inf, 0)  # all masked: −∞ − (−∞) would be NaN
    weights = (scores - highest).exp()
    total = weights.sum(dim, keepdim=True)
    return weights / total.masked_fill(total == 0, 1)


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


# Scaled dot products.


def attention_weights(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
) -> Float[Tensor, "*batch query key"]:
    r"""How much each query attends to each key: every row is non-negative and sums to one.

    softmax(QKᵀ / √d_head)

    Cost: O(query·key·d_head) time, O(query·key) memory. Source: vaswani2017attention, eq. 1.

    >>> attention_weights(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 5.0], [-99.0, 0.0]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    scores = queries @ keys.mT / queries.shape[-1] ** 0.5
    return softmax(scores, mask)


def scaled_dot_product_attention(
    queries: Float[Tensor, "*batch query d_head"],
    keys: Float[Tensor, "*batch key d_head"],
    values: Float[Tensor, "*batch key features"],
    mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    *,
    fused: bool = True,
) -> Float[Tensor, "*batch query features"]:
    r"""Answers each query with the average of the values, weighted by how well the query fits their keys.

    softmax(QKᵀ / √d_head) V

    `fused` takes torch's kernel, which computes the same without ever storing the query × key matrix where it can.

    Cost: O(query·key·(d_head + features)). Source: vaswani2017attention, eq. 1; the kernel: dao2022flashattention.

    >>> keys = torch.eye(2) * 100
    >>> scaled_dot_product_attention(keys[:1], keys, values=torch.tensor([[7.0], [9.0]]))
    tensor([[7.]])
    """
    if fused:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    return attention_weights(queries, keys, mask) @ values


# Other ways to score: a kernel of the distance, a small network.


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


# The ladder's first rungs, each one call of what stands above.


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


# Many heads.


def split_heads(x: Float[Tensor, "*batch time d_model"], heads: int) -> Float[Tensor, "*batch heads time d_head"]:
    r"""Cuts every token's vector into `heads` equal pieces and gives each head its own sequence of pieces.

    Raises: ValueError when d_model is not divisible by heads. Cost: none, a view.

    >>> split_heads(torch.arange(8.0).reshape(2, 4), heads=2)
    tensor([[[0., 1.],
             [4., 5.]],
    <BLANKLINE>
            [[2., 3.],
             [6., 7.]]])
    """
    _check_heads(x.shape[-1], heads)
    return rearrange(x, "... time (heads d_head) -> ... heads time d_head", heads=heads)


def merge_heads(x: Float[Tensor, "*batch heads time d_head"]) -> Float[Tensor, "*batch time d_model"]:
    r"""Puts the heads' pieces of every token side by side again: the inverse of `split_heads`.

    Cost: one copy.

    >>> x = torch.randn(3, 5, 8)
    >>> torch.equal(merge_heads(split_heads(x, heads=4)), x)
    True
    """
    return rearrange(x, "... heads time d_head -> ... time (heads d_head)")


class MultiHeadAttention(nn.Module):
    r"""Attends with several heads at once, each to its own projection of the tokens.

    MultiHead(X, M) = [head₁, …, headₕ] W_oᵀ,  headᵢ = Attention(X W_qᵢᵀ, M W_kᵢᵀ, M W_vᵢᵀ)

    With 4·d_model² weights, whatever the number of heads: more heads are narrower, not more.

    d_model   width of a token
    heads     number of heads; each works with d_head = d_model / heads features
    d_memory  width of what cross-attention reads; d_model when None

    Raises: ValueError when d_model is not divisible by heads. Cost: O(query·key·d_model + (query + key)·d_model²).
    Source: vaswani2017attention, section 3.2.2, with biases as torch.nn.MultiheadAttention has them.

    >>> layer = MultiHeadAttention(d_model=8, heads=2)
    >>> layer(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, heads: int, *, d_memory: int | None = None, bias: bool = True):
        super().__init__()
        _check_heads(d_model, heads)
        d_memory = d_model if d_memory is None else d_memory
        self.heads = heads
        self.query = nn.Linear(d_model, d_model, bias)
        self.key = nn.Linear(d_memory, d_model, bias)
        self.value = nn.Linear(d_memory, d_model, bias)
        self.output = nn.Linear(d_model, d_model, bias)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Float[Tensor, "*batch query d_model"],
        memory: Float[Tensor, "*batch key features"] | None = None,
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
        *,
        return_weights: bool = False,
    ) -> Float[Tensor, "*batch query d_model"] | tuple[Tensor, Float[Tensor, "*batch heads query key"]]:
        r"""Attends from x to `memory`, or to x itself when that is None; `mask` holds for every head.

        With `return_weights` also the weights, (*batch, heads, query, key), at the price of storing them.
        """
        memory = x if memory is None else memory
        queries = split_heads(self.query(x), self.heads)
        keys = split_heads(self.key(memory), self.heads)
        values = split_heads(self.value(memory), self.heads)
        mask = None if mask is None else mask.unsqueeze(-3)
        if not return_weights:
            return self.output(merge_heads(scaled_dot_product_attention(queries, keys, values, mask)))
        weights = attention_weights(queries, keys, mask)
        return self.output(merge_heads(weights @ values)), weights

    @classmethod
    def from_torch(cls, layer: nn.MultiheadAttention) -> MultiHeadAttention:
        r"""The same attention with the weights of torch's layer (batch first, no dropout, one width of memory).

        >>> theirs, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(3, 5, 8)
        >>> torch.allclose(MultiHeadAttention.from_torch(theirs)(x), theirs(x, x, x)[0], atol=1e-5)
        True
        """
        ours = cls(layer.embed_dim, layer.num_heads, d_memory=layer.kdim, bias=layer.in_proj_bias is not None)
        ours.to(layer.out_proj.weight)
        ours.load_state_dict(_torch_names_to_ours(layer))
        return ours

    def to_torch(self) -> nn.MultiheadAttention:
        r"""torch's layer with the weights of this one.

        >>> ours, x = MultiHeadAttention(8, 2), torch.randn(3, 5, 8)
        >>> torch.allclose(ours(x), ours.to_torch()(x, x, x)[0], atol=1e-5)
        True
        """
        width, d_memory, bias = self.query.in_features, self.key.in_features, self.query.bias is not None
        theirs = nn.MultiheadAttention(width, self.heads, bias=bias, kdim=d_memory, vdim=d_memory, batch_first=True)
        theirs.to(self.output.weight)
        with torch.no_grad():
            for name, parameter in _torch_names_to_ours(theirs).items():
                parameter.copy_(self.get_parameter(name))  # parameters of `theirs`, or views of its packed ones
        return theirs


def _torch_names_to_ours(layer: nn.MultiheadAttention) -> dict[str, Tensor]:
    """The parameters of torch's layer under our names, as views."""
    if layer.in_proj_weight is not None:
        weights = layer.in_proj_weight.chunk(3)
    else:
        weights = layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight
    named = dict(zip(("query.weight", "key.weight", "value.weight"), weights, strict=True))
    named["output.weight"] = layer.out_proj.weight
    if layer.in_proj_bias is not None:
        named |= zip(("query.bias", "key.bias", "value.bias"), layer.in_proj_bias.chunk(3), strict=True)
        named["output.bias"] = layer.out_proj.bias
    return named


def _check_heads(d_model: int, heads: int) -> None:
    if heads < 1 or d_model % heads:
        raise ValueError(f"d_model = {d_model} is not divisible by heads = {heads}")
