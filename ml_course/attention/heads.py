"""Many heads: the features cut into pieces, attention on each, and the pieces put side by side again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ml_course.attention.dot_product import attention_weights, scaled_dot_product_attention


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
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)  # half the time of einops, which counts one token at a time


def merge_heads(x: Float[Tensor, "*batch heads time d_head"]) -> Float[Tensor, "*batch time d_model"]:
    r"""Puts the heads' pieces of every token side by side again: the inverse of `split_heads`.

    Cost: one copy.

    >>> x = torch.randn(3, 5, 8)
    >>> torch.equal(merge_heads(split_heads(x, heads=4)), x)
    True
    """
    return x.transpose(-2, -3).flatten(-2)


class MultiHeadAttention(nn.Module):
    r"""Attends with several heads at once, each to its own projection of the tokens.

    MultiHead(X, M) = [head₁, …, headₕ] W_oᵀ,  headᵢ = Attention(X W_qᵢᵀ, M W_kᵢᵀ, M W_vᵢᵀ)

    With 4·d_model² weights, whatever the number of heads: more heads are narrower, not more.

    d_model   width of a token
    heads     number of heads; each works with d_head = d_model / heads features
    d_memory  width of what cross-attention reads; d_model when None
    attend    attend(queries, keys, values, mask) answers each head's queries; a module or a function, for later
              chapters that score in other ways

    Raises: ValueError when d_model is not divisible by heads. Cost: O(query·key·d_model + (query + key)·d_model²).
    Source: vaswani2017attention, section 3.2.2, with biases as torch.nn.MultiheadAttention has them.

    >>> layer = MultiHeadAttention(d_model=8, heads=2)
    >>> layer(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        *,
        d_memory: int | None = None,
        bias: bool = True,
        attend: Callable[..., Tensor] = scaled_dot_product_attention,
    ):
        super().__init__()
        _check_heads(d_model, heads)
        d_memory = d_model if d_memory is None else d_memory
        self.heads, self.attend = heads, attend
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

        With `return_weights` also the weights, (*batch, heads, query, key), at the price of storing them. Raises:
        ValueError when they are asked for and `attend` is not the scaled dot product.
        """
        memory = x if memory is None else memory
        queries = split_heads(self.query(x), self.heads)
        keys = split_heads(self.key(memory), self.heads)
        values = split_heads(self.value(memory), self.heads)
        mask = None if mask is None else mask.unsqueeze(-3)
        if not return_weights:
            return self.output(merge_heads(self.attend(queries, keys, values, mask)))
        if self.attend is not scaled_dot_product_attention:
            raise ValueError(
                "return_weights = True: only the scaled dot product stores its weights, expected no `attend`"
            )
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
