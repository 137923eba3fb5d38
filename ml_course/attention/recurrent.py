r"""Attention for a recurrent decoder: additive as Bahdanau's, and Luong's three scores, global and local.

Each is called as `context, weights = attention(query, memory, mask)`, as the decoder of an encoder–decoder does.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ml_course.attention.dot_product import softmax
from ml_course.attention.ladder import additive_scores

SCORES = ("dot", "general", "concat")


class AdditiveAttention(nn.Module):
    r"""Attends with scores from a small network, so that what asks and what is asked may differ in width.

    sᵢⱼ = vᵀ tanh(W qᵢ + U mⱼ),  contextᵢ = Σⱼ softmaxⱼ(sᵢⱼ) mⱼ

    d_query    width of a query, as the decoder's state
    d_memory   width of what is attended to, as the encoder's output; it is key and value in one
    hidden     width of the small network
    Cost: O(query·key·hidden) time and memory, and O((query + key)·d·hidden) for the projections at each call.
    Source: bahdanau2015alignment, section A.1.2; no biases, as there.

    >>> attention = AdditiveAttention(d_query=4, d_memory=6, hidden=8)
    >>> context, weights = attention(torch.randn(2, 3, 4), torch.randn(2, 5, 6))
    >>> context.shape, weights.shape
    (torch.Size([2, 3, 6]), torch.Size([2, 3, 5]))
    """

    def __init__(self, d_query: int, d_memory: int, hidden: int):
        super().__init__()
        self.query = nn.Linear(d_query, hidden, bias=False)
        self.memory = nn.Linear(d_memory, hidden, bias=False)
        self.vector = _row(hidden)

    def scores(
        self, query: Float[Tensor, "*batch query d_model"], memory: Float[Tensor, "*batch key features"]
    ) -> Float[Tensor, "*batch query key"]:
        r"""How well each query fits each place of the memory, before the softmax."""
        return additive_scores(query, memory, self.query.weight, self.memory.weight, self.vector)

    def forward(
        self,
        query: Float[Tensor, "*batch query d_model"],
        memory: Float[Tensor, "*batch key features"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> tuple[Float[Tensor, "*batch query features"], Float[Tensor, "*batch query key"]]:
        r"""Contexts and weights; `mask` is True where a query may attend."""
        weights = softmax(self.scores(query, memory), mask)
        return weights @ memory, weights


class LuongAttention(nn.Module):
    r"""Attends with one of three scores, to the whole memory or to a window around a place that it predicts.

    dot      sᵢⱼ = qᵢᵀ mⱼ
    general  sᵢⱼ = qᵢᵀ W mⱼ
    concat   sᵢⱼ = vᵀ tanh(W [qᵢ; mⱼ])
    global   aᵢⱼ = softmaxⱼ(sᵢⱼ)
    local    aᵢⱼ = softmaxⱼ(sᵢⱼ) · exp(−(j − pᵢ)² / 2σ²),  σ = D/2,  the softmax over |j − pᵢ| ≤ D alone
             pᵢ = S · sigmoid(v_pᵀ tanh(W_p qᵢ)): the centre, places counted from 1 to S, the last that is not masked

    d_query, d_memory   widths of a query and of the memory, equal for "dot"
    score               "dot", "general" or "concat"
    hidden              width of concat's and the centre's small networks; d_query when None
    window              D, in tokens; None attends globally. Local weights sum to less than one, as in the paper
    Raises: ValueError for another score, "dot" with unequal widths, or a window below 1. Cost: O(query·key·d_memory),
    of concat O(query·key·hidden) in memory too; a window hides places, it does not save their scores.
    Source: luong2015effective, equations 7 to 10 (its local-p; local-m, with pᵢ = i and no bell, is not here).

    >>> attention = LuongAttention(d_query=4, d_memory=6, window=2)
    >>> context, weights = attention(torch.randn(3, 4), torch.randn(9, 6))
    >>> context.shape, (weights > 0).sum(-1).max() <= 5
    (torch.Size([3, 6]), tensor(True))
    """

    def __init__(
        self,
        d_query: int,
        d_memory: int,
        score: str = "general",
        *,
        hidden: int | None = None,
        window: int | None = None,
    ):
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"score = {score!r}, expected 'dot', 'general' or 'concat'")
        if score == "dot" and d_query != d_memory:
            raise ValueError(f"score = 'dot' needs equal widths, got d_query = {d_query} and d_memory = {d_memory}")
        if window is not None and window < 1:
            raise ValueError(f"window = {window}, expected at least 1")
        self.score, self.window = score, window
        hidden = d_query if hidden is None else hidden
        if score == "general":
            self.memory = nn.Linear(d_memory, d_query, bias=False)
        elif score == "concat":
            self.pair = nn.Linear(d_query + d_memory, hidden, bias=False)
            self.vector = _row(hidden)
        if window is not None:
            self.place = nn.Linear(d_query, hidden, bias=False)
            self.place_vector = _row(hidden)

    def scores(
        self, query: Float[Tensor, "*batch query d_model"], memory: Float[Tensor, "*batch key features"]
    ) -> Float[Tensor, "*batch query key"]:
        r"""How well each query fits each place of the memory, before the softmax (equation 8)."""
        if self.score == "concat":
            # W [q; m] = W₁ q + W₂ m: each half once for each token, not once for each pair.
            left, right = self.pair.weight.split([query.shape[-1], memory.shape[-1]], dim=1)
            return additive_scores(query, memory, left, right, self.vector)
        keys = memory if self.score == "dot" else self.memory(memory)
        return query @ keys.mT

    def centres(
        self, query: Float[Tensor, "*batch query d_model"], lengths: Float[Tensor, "*#batch #query"]
    ) -> Float[Tensor, "*batch query"]:
        r"""The place p in 0 … S around which each query looks, S = lengths (equation 9).

        Raises: ValueError for an attention without window.
        """
        if self.window is None:
            raise ValueError("window = None: global attention has no centres")
        return lengths * torch.sigmoid(torch.tanh(self.place(query)) @ self.place_vector)

    def forward(
        self,
        query: Float[Tensor, "*batch query d_model"],
        memory: Float[Tensor, "*batch key features"],
        mask: Bool[Tensor, "*#batch #query #key"] | None = None,
    ) -> tuple[Float[Tensor, "*batch query features"], Float[Tensor, "*batch query key"]]:
        r"""Contexts and weights; `mask` is True where a query may attend."""
        scores = self.scores(query, memory)
        if self.window is None:
            weights = softmax(scores, mask)
        else:
            place = torch.arange(1, memory.shape[-2] + 1, device=query.device)
            visible = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand_as(scores)
            exact = torch.promote_types(scores.dtype, torch.float32)  # bfloat16 cannot count above 256
            lengths = (place * visible).amax(-1).to(exact)
            away = place - self.centres(query, lengths)[..., None]
            near = softmax(scores, visible & (away.abs() <= self.window))
            weights = near * torch.exp(-away.square() / (2 * (self.window / 2) ** 2)).to(scores.dtype)
        return weights @ memory, weights


def _row(hidden: int) -> nn.Parameter:
    """A vector drawn as torch draws a linear layer's only row."""
    return nn.Parameter(nn.Linear(hidden, 1, bias=False).weight.detach()[0])
