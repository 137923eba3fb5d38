r"""The decoder: a language model of the target whose state begins with what the encoder remembers of the source."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml_course.seq2seq.encoder import Source, recurrent


class Readout(nn.Module):
    r"""Makes logits of what the decoder knows at a step: its output, and what else is given.

    linear   W [parts]
    tanh     W tanh(U [parts])                 (luong2015effective, equations 5 and 6)
    maxout   W max of pairs of (U [parts])     (cho2014learning, section A.1; goodfellow2013maxout)

    features   width of all parts together; d_readout   width of what stands between, unless it is linear
    Raises: ValueError for another kind.
    """

    def __init__(self, kind: str, features: int, vocab: int, d_readout: int, bias: bool = True):
        super().__init__()
        if kind not in ("linear", "tanh", "maxout"):
            raise ValueError(f"readout = {kind!r}, expected 'linear', 'tanh' or 'maxout'")
        self.kind = kind
        if kind != "linear":
            self.inner = nn.Linear(features, d_readout * (1 + (kind == "maxout")), bias)
        self.output = nn.Linear(features if kind == "linear" else d_readout, vocab, bias)

    def forward(self, parts: Float[Tensor, "batch time features"]) -> Float[Tensor, "batch time vocab"]:
        if self.kind == "tanh":
            parts = torch.tanh(self.inner(parts))
        elif self.kind == "maxout":
            parts = self.inner(parts).unflatten(-1, (-1, 2)).amax(-1)
        return self.output(parts)


class Decoder(nn.Module):
    r"""Says the target token by token: each step reads the token before and what it is told of the source.

    state_t = cell([E[y_{t−1}]; context_t], state_{t−1}),  logits_t = readout(output_t, context_t)

    The context is nothing (sutskever2014sequence: the source is in the first state alone), the source's summary
    (cho2014learning: one vector, the same at every step), or what an attention finds for this step.

    vocab           number of target tokens; d_model   width of an embedding
    hidden, layers  of the recurrent network, as the encoder's, whose final state it begins with
    cell            "lstm" or "gru"
    d_context       width of the context, 0 without
    attention       called as `context, weights = attention(query, memory, mask)` with query `batch query hidden`,
                    memory `batch key d_memory` and mask `batch 1 key`, True = may attend; it gives the context
                    `batch query d_context` and the weights `batch query key`
    attend          "before": the query is the last layer's state of the step before, and the context is an input of
                    the cell and of the readout (bahdanau2015alignment); "after": the query is the cell's own new
                    output, and the context goes to the readout alone (luong2015effective)
    readout, d_readout   as `Readout`; a maxout reads the embedding of the token before as well
    dropout         of embeddings and outputs, while it trains

    Raises: ValueError for another cell, readout or `attend`. Cost: as the recurrent network's, and
    O(batch·time·vocab·hidden) for the logits.
    """

    def __init__(
        self,
        vocab: int,
        d_model: int,
        hidden: int,
        *,
        layers: int = 1,
        cell: str = "lstm",
        d_context: int = 0,
        attention: nn.Module | None = None,
        attend: str = "before",
        readout: str = "linear",
        d_readout: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ):
        super().__init__()
        if attend not in ("before", "after"):
            raise ValueError(f"attend = {attend!r}, expected 'before' or 'after'")
        self.attention, self.attend, self.d_context = attention, attend, d_context
        self.embedding, self.dropout = nn.Embedding(vocab, d_model), nn.Dropout(dropout)
        from_context = 0 if attention is not None and attend == "after" else d_context
        self.layer = recurrent(cell, d_model + from_context, hidden, layers=layers, dropout=dropout, bias=bias)
        features = hidden + d_context + (d_model if readout == "maxout" else 0)
        self.readout = Readout(readout, features, vocab, hidden if d_readout is None else d_readout, bias)

    def forward(
        self, tokens: Int[Tensor, "batch time"], source: Source, state: Any = None
    ) -> tuple[Float[Tensor, "batch time vocab"], Any, Float[Tensor, "batch time key"] | None]:
        r"""Logits of the token after each of `tokens`, the state after the last, and where it looked if it attends.

        state   the state of a call before, to go on from there; None begins with the source's
        """
        state = source.state if state is None else state
        embedded = self.dropout(self.embedding(tokens))
        if self.attention is None:
            context = self._fixed_context(source, tokens.shape[1])
            inputs = embedded if context is None else torch.cat([embedded, context], dim=-1)
            outputs, state = self.layer(inputs, state)
            weights = None
        elif self.attend == "after":
            outputs, state = self.layer(embedded, state)
            context, weights = self.attention(outputs, source.memory, source.mask[:, None])
        else:
            steps = []
            for now in embedded.split(1, dim=1):
                query = (state if isinstance(state, Tensor) else state[0])[-1][:, None]
                looked, where = self.attention(query, source.memory, source.mask[:, None])
                output, state = self.layer(torch.cat([now, looked], dim=-1), state)
                steps.append((output, looked, where))
            outputs, context, weights = (torch.cat(parts, dim=1) for parts in zip(*steps, strict=True))
        parts = [outputs] + ([] if context is None else [context])
        parts += [embedded] if self.readout.kind == "maxout" else []
        return self.readout(self.dropout(torch.cat(parts, dim=-1))), state, weights

    def _fixed_context(self, source: Source, time: int) -> Tensor | None:
        """The source's summary, the same at every step; None where the decoder is told nothing but its first state."""
        if not self.d_context:
            return None
        return source.summary[:, None].expand(-1, time, -1)
