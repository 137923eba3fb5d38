r"""The encoder: a recurrent network that reads a sequence and hands over what it remembers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.gated import GRU, LSTM, reverse_time
from ml_course.rnn.scan import each

CELLS = {"lstm": LSTM, "gru": GRU}


class Source(NamedTuple):
    r"""What an encoder hands to a decoder."""

    memory: Float[Tensor, "batch key d_memory"]  # its output at each source token, zeros at the filler
    mask: Bool[Tensor, "batch key"]  # True = a source token, False = filler
    state: Any  # its final state, the decoder's first: `layers batch hidden`, of an LSTM a pair of these
    summary: Float[Tensor, "batch hidden"] | None = None  # one vector that the decoder reads at every step (cho2014)

    def repeated(self, times: int) -> Source:
        r"""Every row `times` times in succession, for a search that follows several ways for each."""
        if times == 1:
            return self
        memory, mask = (part.repeat_interleave(times, dim=0) for part in (self.memory, self.mask))
        state = each(lambda part: part.repeat_interleave(times, dim=1), self.state)
        summary = None if self.summary is None else self.summary.repeat_interleave(times, dim=0)
        return Source(memory, mask, state, summary)


class Encoder(nn.Module):
    r"""Reads a sequence of tokens: embeddings, then an LSTM or a GRU.

    memory_t, state_t = cell(E[x_t], state_{t−1})

    vocab           number of tokens
    d_model         width of an embedding
    hidden, layers  of the recurrent network
    cell            "lstm" or "gru"
    reverse         read from the last token to the first (sutskever2014sequence, section 3.3); the memory keeps the
                    order of the tokens
    bidirectional   read both ways; the memory is twice as wide, and the final states are made one by a tanh layer
    summary         make of the last output a vector for every step of the decoder, and of that the decoder's first
                    state, each by a tanh layer (cho2014learning, section A.1)
    dropout         of the embeddings and between layers, while it trains

    Raises: ValueError for another cell, or when two of reverse, bidirectional and summary contradict each other.
    Cost: as the recurrent network's.

    >>> encoder = Encoder(vocab=20, d_model=8, hidden=16, cell="gru")
    >>> source = encoder(torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]).bool())
    >>> source.memory.shape, source.state.shape
    (torch.Size([2, 3, 16]), torch.Size([1, 2, 16]))
    """

    def __init__(
        self,
        vocab: int,
        d_model: int,
        hidden: int,
        *,
        layers: int = 1,
        cell: str = "lstm",
        reverse: bool = False,
        bidirectional: bool = False,
        summary: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
    ):
        super().__init__()
        if reverse and bidirectional:
            raise ValueError("reverse = True and bidirectional = True: who reads both ways needs no reversing")
        if summary and (cell != "gru" or bidirectional or layers != 1):
            raise ValueError(f"summary = True needs one layer of 'gru' in one direction, got {layers} of {cell!r}")
        self.reverse, self.bidirectional = reverse, bidirectional
        self.embedding, self.dropout = nn.Embedding(vocab, d_model), nn.Dropout(dropout)
        self.layer = recurrent(
            cell, d_model, hidden, layers=layers, bidirectional=bidirectional, dropout=dropout, bias=bias
        )
        self.d_memory = hidden * (1 + bidirectional)
        self.bridge = nn.Linear(2 * hidden, hidden, bias) if bidirectional else None
        self.summary = nn.Linear(hidden, hidden, bias) if summary else None
        self.first_state = nn.Linear(hidden, hidden, bias) if summary else None

    def forward(self, tokens: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"]) -> Source:
        r"""Memory and final state; `mask` is True at the tokens, which come first in each row."""
        lengths = mask.sum(dim=1)
        embedded = self.dropout(self.embedding(tokens))
        if self.reverse:
            embedded = reverse_time(embedded, lengths)
        memory, state = self.layer(embedded, None, lengths)
        if self.reverse:
            memory = reverse_time(memory, lengths)
        if self.bridge is not None:
            state = each(lambda part: torch.tanh(self.bridge(torch.cat([part[0::2], part[1::2]], dim=-1))), state)
        if self.summary is None:
            return Source(memory, mask, state)
        summary = torch.tanh(self.summary(state[-1]))
        return Source(memory, mask, torch.tanh(self.first_state(summary))[None], summary)


def recurrent(cell: str, features: int, hidden: int, **options: Any) -> nn.Module:
    r"""An LSTM or a GRU of the chapter before, by its name.

    Raises: ValueError for another name.
    """
    if cell not in CELLS:
        raise ValueError(f"cell = {cell!r}, expected 'lstm' or 'gru'")
    return CELLS[cell](features, hidden, **options)
