r"""Attention whose heads share keys and values: less to remember, and less to read at every step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ml_course.attention import MultiHeadAttention, merge_heads, scaled_dot_product_attention, split_heads
from ml_course.decoding.cache import KVCache

Model = TypeVar("Model", bound=nn.Module)


class GroupedQueryAttention(nn.Module):
    r"""Attends with `heads` queries a token, but only `kv_heads` keys and values: each pair serves a group of heads.

    headᵢ = Attention(X W_qᵢᵀ, M W_kⱼᵀ, M W_vⱼᵀ),  j = ⌊i · kv_heads / heads⌋

    With kv_heads = heads it is `MultiHeadAttention`, whose parameters have the same names; with kv_heads = 1 it is
    multi-query attention. The group's queries are laid one below the other, so that a key is read once for all of them
    and never copied.

    d_model    width of a token
    heads      number of query heads; each works with d_head = d_model / heads features
    kv_heads   number of heads of keys and values; as many as `heads` when None
    d_memory   width of what cross-attention reads; d_model when None
    attend     as in `MultiHeadAttention`; other than the scaled dot product it gets a copy of keys and values for each
               head, since it may treat the heads differently

    Raises: ValueError when d_model is not divisible by heads, or heads by kv_heads. Cost: as `MultiHeadAttention`, with
    kv_heads/heads of its weights for keys and values. Source: ainslie2023gqa, section 2.2; kv_heads = 1:
    shazeer2019fast, section 3.

    >>> layer = GroupedQueryAttention(d_model=8, heads=4, kv_heads=2)
    >>> layer(torch.randn(3, 5, 8)).shape, layer.key.weight.shape
    (torch.Size([3, 5, 8]), torch.Size([4, 8]))
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        kv_heads: int | None = None,
        *,
        d_memory: int | None = None,
        bias: bool = True,
        attend: Callable[..., Tensor] = scaled_dot_product_attention,
    ):
        super().__init__()
        kv_heads = heads if kv_heads is None else kv_heads
        if heads < 1 or d_model % heads:
            raise ValueError(f"d_model = {d_model} is not divisible by heads = {heads}")
        _check_groups(heads, kv_heads)
        d_memory = d_model if d_memory is None else d_memory
        self.heads, self.kv_heads, self.attend = heads, kv_heads, attend
        narrow = d_model // heads * kv_heads
        self.query = nn.Linear(d_model, d_model, bias)
        self.key = nn.Linear(d_memory, narrow, bias)
        self.value = nn.Linear(d_memory, narrow, bias)
        self.output = nn.Linear(d_model, d_model, bias)
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(layer.weight)
            if bias:
                nn.init.zeros_(layer.bias)

    def keys_values(
        self, memory: Float[Tensor, "*batch key features"]
    ) -> tuple[Float[Tensor, "*batch kv_heads key d_head"], Float[Tensor, "*batch kv_heads key d_head"]]:
        r"""What is remembered of these tokens. Cross-attention asks for it once, `forward` takes the pair as memory."""
        return split_heads(self.key(memory), self.kv_heads), split_heads(self.value(memory), self.kv_heads)

    def forward(
        self,
        x: Float[Tensor, "*batch query d_model"],
        memory: Float[Tensor, "*batch key features"] | tuple[Tensor, Tensor] | None = None,
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
        *,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "*batch query d_model"]:
        r"""Attends from x to `memory`, or to x itself when that is None; `mask` holds for every head.

        memory   tokens, or what `keys_values` made of them
        cache    of the tokens before x: their keys and values join those of x, which are stored. The mask then counts
                 them among its keys
        """
        queries = split_heads(self.query(x), self.heads)
        keys, values = memory if isinstance(memory, tuple) else self.keys_values(x if memory is None else memory)
        if cache is not None:
            keys, values = cache.append(keys, values)
        if mask is not None and mask.ndim > 2:  # one of two axes holds for every head as it is
            mask = mask.unsqueeze(-3)
        return self.output(merge_heads(self._answer(queries, keys, values, mask)))

    def _answer(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        group = self.heads // self.kv_heads
        if self.attend is not scaled_dot_product_attention:
            keys, values = (x.repeat_interleave(group, dim=-3) for x in (keys, values))
            return self.attend(queries, keys, values, mask)
        folded = rearrange(queries, "... (kv group) query d_head -> ... kv (group query) d_head", group=group)
        if mask is not None and mask.shape[-2] > 1:
            mask = torch.cat([mask] * group, dim=-2)
        answers = self.attend(folded, keys, values, mask)
        return rearrange(answers, "... kv (group query) d_head -> ... (kv group) query d_head", group=group)

    @classmethod
    def from_multi_head(
        cls, layer: MultiHeadAttention | GroupedQueryAttention, kv_heads: int | None = None
    ) -> GroupedQueryAttention:
        r"""The same attention when kv_heads are as many as before, else one whose groups share the mean of their keys'
        and values' projections: where further training starts from. Source: ainslie2023gqa, section 2.1.

        Raises: ValueError when the heads that are there are not divisible by kv_heads.

        >>> full, x = MultiHeadAttention(8, 4), torch.randn(3, 5, 8)
        >>> torch.allclose(GroupedQueryAttention.from_multi_head(full)(x), full(x), atol=1e-6)
        True
        """
        before = getattr(layer, "kv_heads", layer.heads)
        kv_heads = before if kv_heads is None else kv_heads
        _check_groups(before, kv_heads)
        bias, width = layer.query.bias is not None, layer.query.in_features
        made = cls(width, layer.heads, kv_heads, d_memory=layer.key.in_features, bias=bias, attend=layer.attend)
        made.to(layer.output.weight)
        weights = layer.state_dict()
        for name in [name for name in weights if name.split(".")[0] in ("key", "value")]:
            weights[name] = pool_heads(weights[name], before, kv_heads)
        made.load_state_dict(weights)
        return made


def pool_heads(weight: Float[Tensor, "features ..."], heads: int, kv_heads: int) -> Float[Tensor, "pooled ..."]:
    r"""The rows of each group of heads replaced by their mean: one head for each group.

    weight   of the layer that makes keys or values, (heads·d_head, in), or its bias
    Raises: ValueError when heads is not divisible by kv_heads. Source: ainslie2023gqa, section 2.1.

    >>> pool_heads(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), heads=2, kv_heads=1)
    tensor([[2.],
            [3.]])
    """
    _check_groups(heads, kv_heads)
    return reduce(weight, "(kv group d_head) ... -> (kv d_head) ...", "mean", kv=kv_heads, group=heads // kv_heads)


def grouped(model: Model, kv_heads: int | None = None) -> Model:
    r"""A copy of a model in which each attention can use a cache and has `kv_heads` heads of keys and values.

    kv_heads   None: as many as it has, and the copy computes the same. Fewer: pooled, as `from_multi_head` does
    Raises: ValueError when the model has no attention of the two kinds, or its heads are not divisible by kv_heads.

    >>> from ml_course.transformer import LMConfig, TransformerLM
    >>> model, tokens = TransformerLM(LMConfig.TINY), torch.tensor([[1, 2, 3]])
    >>> torch.allclose(grouped(model)(tokens), model(tokens), atol=1e-6)
    True
    """
    made, found = copy.deepcopy(model), 0
    for parent in list(made.modules()):
        for name, child in parent.named_children():
            if isinstance(child, MultiHeadAttention | GroupedQueryAttention):
                setattr(parent, name, GroupedQueryAttention.from_multi_head(child, kv_heads).train(child.training))
                found += 1
    if not found:
        raise ValueError(
            f"model is a {type(model).__name__} without MultiHeadAttention or GroupedQueryAttention: nothing to replace"
        )
    return made


def can_cache(layers: Any) -> bool:
    r"""Whether every layer's self-attention takes a cache."""
    return all(isinstance(layer.attention.sublayer, GroupedQueryAttention) for layer in layers)


def _check_groups(heads: int, kv_heads: int) -> None:
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"heads = {heads} is not divisible by kv_heads = {kv_heads}")
