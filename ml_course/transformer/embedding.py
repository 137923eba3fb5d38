r"""Tokens as vectors that also say where each token stands."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.transformer.positions import sinusoidal_positions


class Embedding(nn.Module):
    r"""Tokens as vectors, √d_model times those of the table, plus where they stand.

    x_t = √d_model · E[token_t] + P[t]

    vocab, d_model   size of the table, drawn from a normal distribution with variance 1/d_model
    dropout          of the sum
    Source: vaswani2017attention, sections 3.4 and 3.5; P: `sinusoidal_positions`.
    """

    def __init__(self, vocab: int, d_model: int, *, dropout: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab, d_model) / d_model**0.5)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("positions", sinusoidal_positions(0, d_model), persistent=False)

    def forward(self, tokens: Int[Tensor, "*batch time"], start: int = 0) -> Float[Tensor, "*batch time d_model"]:
        r"""`start` is the position of the first of these tokens."""
        stop, d_model = start + tokens.shape[-1], self.weight.shape[1]
        if stop > len(self.positions):  # kept for the next time, twice as many as needed now
            self.positions = sinusoidal_positions(2 * stop, d_model).to(self.weight)
        return self.dropout(F.embedding(tokens, self.weight) * d_model**0.5 + self.positions[start:stop])


class LearnedEmbedding(nn.Module):
    r"""Tokens as vectors, plus a vector that is learned for each position, or nothing more.

    x_t = E[token_t] + P[t]

    vocab, d_model   size of the table of tokens
    context          size of the table of positions, so the longest input; None: where a token stands is not told
    Both tables start normal with deviation 0.02. Source: radford2018improving.
    """

    def __init__(self, vocab: int, d_model: int, context: int | None, *, dropout: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(vocab, d_model))
        self.positions = None if context is None else nn.Parameter(0.02 * torch.randn(context, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "*batch time"], start: int = 0) -> Float[Tensor, "*batch time d_model"]:
        r"""`start` is the position of the first of these tokens. Raises: ValueError beyond the table of positions."""
        x, stop = F.embedding(tokens, self.weight), start + tokens.shape[-1]
        if self.positions is not None:
            if stop > len(self.positions):
                raise ValueError(f"tokens go to position {stop - 1}, expected below context = {len(self.positions)}")
            x = x + self.positions[start:stop]
        return self.dropout(x)
