r"""T5: an encoder–decoder for which every task is a text to read and a text to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from ml_course.positions import BiasedAttention, Buckets
from ml_course.transformer import DecoderLayer, EncoderLayer, FeedForward, Residual, Stack


@dataclass(frozen=True)
class T5Config:
    r"""Sizes of a T5. Build the published one with `torch.device("meta")` when only shapes matter."""

    vocab: int = 20  # tokens; the sentinels are the last of them, counted from the end
    d_model: int = 8  # width of a token
    heads: int = 2
    d_ff: int = 16  # width inside the position-wise networks
    layers: int = 1  # of the encoder, and as many of the decoder
    buckets: int = 32  # of relative positions
    max_distance: int = 128  # from where on they share one
    dropout: float = 0.0  # of what each branch adds, and of embeddings

    SMALL: ClassVar[T5Config]  # 60,506,624 parameters
    TINY: ClassVar[T5Config]


T5Config.SMALL = T5Config(32_128, d_model=512, heads=8, d_ff=2048, layers=6, dropout=0.1)
T5Config.TINY = T5Config()


class RMSNorm(nn.Module):
    r"""Brings each token's numbers to a root mean square of 1, then stretches them as learned; their mean stays.

    x / √(mean(x²) + ε) · scale

    Source: zhang2019root, eq. 4.

    >>> RMSNorm(2)(torch.tensor([[3.0, 4.0], [30.0, 40.0]]))
    tensor([[0.8485, 1.1314],
            [0.8485, 1.1314]], grad_fn=<MulBackward0>)
    """

    def __init__(self, d_model: int, *, epsilon: float = 1e-6):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(d_model)), epsilon

    def forward(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        return x * (x.square().mean(-1, keepdim=True) + self.epsilon).rsqrt() * self.weight


class Unscaled(nn.Module):
    r"""Attention whose scores are not divided by √d_head: T5's first weights are drawn smaller instead.

    attend   as of `MultiHeadAttention`
    """

    def __init__(self, attend: nn.Module):
        super().__init__()
        self.attend = attend

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attend(queries * queries.shape[-1] ** 0.5, keys, values, mask)


class T5(nn.Module):
    r"""P(y | x) as `ml_course.transformer.Transformer` has it, with five things done otherwise.

    No biases; `RMSNorm` in place of LayerNorm, inside the branches; no positions but a learned number for each head and
    bucket of offsets, shared by all layers of a stack; scores not divided by √d_head; one table of tokens for both
    sides and for the output, which is divided by √d_model.

    config   sizes
    Source: raffel2020exploring, section 2.1, and its published code.

    >>> model, source = T5(T5Config.TINY), torch.tensor([[4, 5, 6], [7, 8, 0]])
    >>> model(source, source > 0, torch.tensor([[0, 9], [0, 4]])).shape
    torch.Size([2, 2, 20])
    """

    def __init__(self, config: T5Config = T5Config.TINY):
        super().__init__()
        self.config, width = config, config.d_model
        self.embedding, self.dropout = nn.Embedding(config.vocab, width), nn.Dropout(config.dropout)

        def attention(attend: nn.Module) -> MultiHeadAttention:
            return MultiHeadAttention(width, config.heads, bias=False, attend=Unscaled(attend))

        def biased(causal: bool) -> BiasedAttention:
            sizes = dict(buckets=config.buckets, max_distance=config.max_distance)
            return BiasedAttention(Buckets(config.heads, **sizes, causal=causal))

        def network() -> FeedForward:
            return FeedForward(width, config.d_ff, bias=False, dropout=config.dropout)

        options = dict(pre_norm=True, dropout=config.dropout)
        near, before = biased(causal=False), biased(causal=True)  # one for all layers of a stack
        self.encoder = Stack(
            (EncoderLayer(width, attention(near), network(), **options) for _ in range(config.layers)), width
        )
        self.decoder = Stack(
            (
                DecoderLayer(width, attention(before), attention(_Plain()), network(), **options)
                for _ in range(config.layers)
            ),
            width,
        )
        self.encoder.norm, self.decoder.norm = RMSNorm(width), RMSNorm(width)
        for module in self.modules():
            if isinstance(module, Residual):
                module.norm = RMSNorm(width)
        self._begin()

    def _begin(self) -> None:
        d_model, d_head = self.config.d_model, self.config.d_model // self.config.heads
        nn.init.normal_(self.embedding.weight, std=1.0)
        for module in self.modules():
            if isinstance(module, MultiHeadAttention):
                nn.init.normal_(module.query.weight, std=(d_model * d_head) ** -0.5)
                for linear in (module.key, module.value, module.output):
                    nn.init.normal_(linear.weight, std=d_model**-0.5)
            if isinstance(module, FeedForward):
                nn.init.normal_(module.wider.weight, std=d_model**-0.5)
                nn.init.normal_(module.narrower.weight, std=self.config.d_ff**-0.5)

    def encode(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"]
    ) -> Float[Tensor, "batch key d_model"]:
        r"""What the decoder will look at. `mask` is True at real tokens."""
        return self.dropout(self.encoder(self.dropout(self.embedding(source)), mask[:, None]))

    def decode(
        self,
        tokens: Int[Tensor, "batch time"],
        memory: Float[Tensor, "batch key d_model"],
        mask: Bool[Tensor, "batch key"],
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`; each sees those before it and all of the source."""
        causal = causal_mask(tokens.shape[1], device=tokens.device)
        hidden = self.decoder(self.dropout(self.embedding(tokens)), memory, causal, mask[:, None])
        return self.dropout(hidden) * self.config.d_model**-0.5 @ self.embedding.weight.T

    def forward(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`, the target's prefix from a beginning (T5 takes filler, 0) on."""
        return self.decode(tokens, self.encode(source, mask), mask)


class _Plain(nn.Module):
    """Cross-attention knows no distances."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return scaled_dot_product_attention(queries, keys, values, mask)
