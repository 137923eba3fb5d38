r"""XLNet: two streams through one set of layers, the one knows what stands at a place, the other asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import merge_heads, softmax, split_heads
from ml_course.bert.model import begin
from ml_course.objectives.permutation import permutation_masks
from ml_course.positions import all_offsets, offset_matrix
from ml_course.transformer import FeedForward, Residual


@dataclass(frozen=True)
class XLNetConfig:
    r"""Sizes of an XLNet. Build the published one with `torch.device("meta")` when only shapes matter."""

    vocab: int = 20  # tokens
    d_model: int = 8  # width of a token
    heads: int = 2
    d_ff: int = 16  # width inside the position-wise networks
    layers: int = 2
    dropout: float = 0.0  # of what each branch adds

    BASE: ClassVar[XLNetConfig]  # 116,718,336 parameters
    TINY: ClassVar[XLNetConfig]


XLNetConfig.BASE = XLNetConfig(32_000, d_model=768, heads=12, d_ff=3072, layers=12, dropout=0.1)
XLNetConfig.TINY = XLNetConfig()


def sinusoids(distances: Int[Tensor, " offsets"], d_model: int) -> Float[Tensor, "offsets d_model"]:
    r"""Sines of a distance in the first half of the features, cosines in the second, at falling frequencies.

    sin(o · ω_k), cos(o · ω_k),  ω_k = 10000^(−2k/d_model)

    Source: dai2019transformerxl's published code; the frequencies are those of `ml_course.transformer.frequencies`.

    >>> sinusoids(torch.tensor([0]), 4)
    tensor([[0., 0., 1., 1.]])
    """
    rates = 10_000 ** (-torch.arange(0, d_model, 2, device=distances.device) / d_model)
    angles = distances[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class RelativeAttention(nn.Module):
    r"""Many heads whose scores know what the key says, how far it is, and whether it belongs to the same text.

    score_ij = ((q_i + u) · k_j + (q_i + v) · W_r r_{i−j} + (q_i + w) · s_[same text or not]) / √d_head

    with r_{i−j} the `sinusoids` of the distance; u, v, w and the two s are learned, for each head.

    d_model, heads   as of `MultiHeadAttention`; there are no biases
    Raises: ValueError when d_model is not divisible by heads, or from the forward pass when memory is not as long as x.
    Cost: O(time²·d_model) thrice. Source: dai2019transformerxl, section 3.3; yang2019xlnet, section 2.5 for s.

    >>> RelativeAttention(8, 2)(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """

    def __init__(self, d_model: int, heads: int):
        super().__init__()
        if heads < 1 or d_model % heads:
            raise ValueError(f"d_model = {d_model} is not divisible by heads = {heads}")
        self.heads, d_head = heads, d_model // heads
        self.query, self.key, self.value, self.distance, self.output = (
            nn.Linear(d_model, d_model, bias=False) for _ in range(5)
        )
        # u, v and w of the formula: what a head looks for, whatever the query says.
        self.of_content, self.of_distance, self.of_segment = (
            nn.Parameter(torch.zeros(heads, 1, d_head)) for _ in range(3)
        )
        self.segment = nn.Parameter(torch.zeros(heads, 2, d_head))  # same text, another text

    def forward(
        self,
        x: Float[Tensor, "batch time d_model"],
        memory: Float[Tensor, "batch time d_model"] | None = None,
        mask: Bool[Tensor, "*#batch time time"] | None = None,
        segments: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        r"""Asks from x at `memory`, of the same places; x itself when None. `segments` number the texts."""
        memory, time = x if memory is None else memory, x.shape[1]
        queries, keys, values = (
            split_heads(linear(of), self.heads)
            for linear, of in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        far = sinusoids(-all_offsets(time, time, x.device), x.shape[2]).to(x.dtype)
        distances = split_heads(self.distance(far), self.heads)  # heads offsets d_head
        scores = (queries + self.of_content) @ keys.mT
        by_distance = (queries + self.of_distance) @ distances.mT  # batch heads time offsets
        row = offset_matrix(time, time, x.device) + time - 1
        scores = scores + by_distance.gather(-1, row.expand(*by_distance.shape[:-1], -1))
        if segments is not None:
            other = (segments[:, None, :, None] != segments[:, None, None, :]).long()
            by_segment = (queries + self.of_segment) @ self.segment.mT  # batch heads time 2
            scores = scores + by_segment.gather(-1, other.expand(-1, self.heads, -1, -1))
        weights = softmax(scores / queries.shape[-1] ** 0.5, None if mask is None else mask.unsqueeze(-3))
        return self.output(merge_heads(weights @ values))


class TwoStreamLayer(nn.Module):
    r"""One layer, used twice: contents look at contents, and so do those who ask; both with the same weights.

    d_model, heads, d_ff, dropout   as of a layer of the Transformer; norms come after the sums

    >>> layer, x = TwoStreamLayer(8, 2, 16), torch.randn(3, 5, 8)
    >>> content, query = layer(x, x, *permutation_masks(torch.arange(5)[None]))
    >>> content.shape == query.shape == x.shape
    True
    """

    def __init__(self, d_model: int, heads: int, d_ff: int, dropout: float = 0.0):
        super().__init__()
        self.attention = Residual(RelativeAttention(d_model, heads), d_model, dropout=dropout)
        self.feed_forward = Residual(FeedForward(d_model, d_ff, activation=F.gelu), d_model, dropout=dropout)

    def forward(
        self,
        content: Float[Tensor, "batch time d_model"],
        query: Float[Tensor, "batch time d_model"] | None,
        content_mask: Bool[Tensor, "*#batch time time"] | None,
        query_mask: Bool[Tensor, "*#batch time time"] | None,
        segments: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time d_model"], Float[Tensor, "batch time d_model"] | None]:
        r"""Both streams a layer higher; without a query only the contents."""
        if query is not None:
            query = self.feed_forward(self.attention(query, content, query_mask, segments))
        return self.feed_forward(self.attention(content, None, content_mask, segments)), query


class XLNet(nn.Module):
    r"""P(x_t | what comes earlier in an order of one's choice), for all t at once.

    h_t⁰ = E[x_t],  g_t⁰ = w the same vector for every t;  layers of two streams;  logits_t = g_t Eᵀ

    g_t never saw x_t, and knows by relative positions where it stands; so it can be asked for x_t.

    config   sizes
    Source: yang2019xlnet, sections 2.3 and 2.4, without the memory of earlier segments.

    >>> model, tokens = XLNet(XLNetConfig.TINY), torch.tensor([[4, 5, 6]])
    >>> model(tokens, ranks=torch.tensor([[2, 0, 1]])).shape, model.read(tokens).shape
    (torch.Size([1, 3, 20]), torch.Size([1, 3, 8]))
    """

    def __init__(self, config: XLNetConfig = XLNetConfig.TINY):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.d_model)
        self.asking = nn.Parameter(torch.empty(config.d_model))  # w
        self.layers = nn.ModuleList(
            TwoStreamLayer(config.d_model, config.heads, config.d_ff, config.dropout) for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        begin(self, epsilon=1e-12)
        for name, parameter in self.named_parameters():
            if name == "asking" or ".of_" in name or name.endswith("segment"):
                nn.init.normal_(parameter, std=0.02)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        ranks: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of each token, from what `permutation_masks(ranks)` lets its query see."""
        content = self.dropout(self.embedding(tokens))
        query = self.dropout(self.asking.expand_as(content))
        masks = permutation_masks(ranks)
        for layer in self.layers:
            content, query = layer(content, query, masks.content, masks.query, segments)
        return F.linear(self.dropout(query), self.embedding.weight)

    def read(
        self,
        tokens: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"] | None = None,
        segments: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        r"""Vectors that know both sides, for what comes after pretraining: one stream, no order.

        mask   True at real tokens; all are when None
        """
        content = self.dropout(self.embedding(tokens))
        seen = None if mask is None else mask[:, None].expand(-1, tokens.shape[1], -1)
        for layer in self.layers:
            content, _ = layer(content, None, seen, None, segments)
        return self.dropout(content)
