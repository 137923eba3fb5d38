r"""Encoder and decoder together: a language model of the target, conditioned on the source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.seq2seq.beam import times_over, translations
from ml_course.seq2seq.decoder import Decoder
from ml_course.seq2seq.encoder import Encoder


@dataclass(frozen=True)
class Seq2SeqConfig:
    r"""Sizes of an encoder–decoder. Build the published ones with `torch.device("meta")` when only shapes matter.

    >>> Seq2SeqConfig.SUTSKEVER_2014.layers
    4
    """

    source_vocab: int = 100  # tokens the encoder knows
    target_vocab: int = 100  # tokens the decoder knows
    d_model: int = 64  # width of an embedding, on both sides
    hidden: int = 128  # width of the recurrent networks' states
    layers: int = 1  # of each recurrent network
    cell: str = "lstm"  # or "gru"
    reverse: bool = False  # read the source from its last token to its first
    bidirectional: bool = False  # read the source both ways
    summary: bool = False  # tell every step of the decoder one vector made of the source
    attend: str = "before"  # where an attention joins: "before" or "after" the decoder's cell
    readout: str = "linear"  # from output to logits: "linear", "tanh" or "maxout"
    d_readout: int | None = None  # width between output and logits, unless linear; hidden when None
    dropout: float = 0.0  # share of numbers set to zero while training
    bias: bool = True  # whether linear maps and cells have biases

    SUTSKEVER_2014: ClassVar[Seq2SeqConfig]  # 384,000,000 parameters without biases
    CHO_2014: ClassVar[Seq2SeqConfig]  # 24,200,000 parameters without biases
    TINY: ClassVar[Seq2SeqConfig]


Seq2SeqConfig.SUTSKEVER_2014 = Seq2SeqConfig(160_000, 80_000, d_model=1000, hidden=1000, layers=4, reverse=True)
# Embeddings of width 100 are the paper's "rank-100" input matrices.
Seq2SeqConfig.CHO_2014 = Seq2SeqConfig(
    15_000, 15_000, d_model=100, hidden=1000, cell="gru", summary=True, readout="maxout", d_readout=500
)
Seq2SeqConfig.TINY = Seq2SeqConfig(20, 20, d_model=8, hidden=16)


class EncoderDecoder(nn.Module):
    r"""Maps a sequence to another of any length: the encoder's last state is the decoder's first.

    P(y | x) = Π_t P(y_t | y_1 … y_{t−1}, x)

    With `SUTSKEVER_2014` all that the decoder knows of the source is in that state; with `CHO_2014` it also reads one
    vector of it at every step. In CHO_2014 the candidate's part from that vector is outside the reset gate, where the
    paper has it inside, and the reset gate acts as in torch.nn.GRU. An `attention` lets the decoder look at all of the
    encoder's outputs instead: see `Decoder` for how it is called.

    config      sizes
    attention   a module, or None
    d_context   width of what the attention returns; the encoder's output width when None
    Raises: ValueError as `Encoder` and `Decoder`, and when the config asks for a summary and there is an attention.
    Source: sutskever2014sequence; cho2014learning, sections 2 and A.1.

    >>> model = EncoderDecoder(Seq2SeqConfig.TINY)
    >>> source, prefix = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([[2, 9], [2, 4]])
    >>> model(source, source > 0, prefix).shape
    torch.Size([2, 2, 20])
    """

    def __init__(
        self,
        config: Seq2SeqConfig = Seq2SeqConfig.TINY,
        attention: nn.Module | None = None,
        *,
        d_context: int | None = None,
    ):
        super().__init__()
        if config.summary and attention is not None:
            raise ValueError("summary = True and an attention: the decoder reads one context, expected one of the two")
        self.config = config
        shared = dict(layers=config.layers, cell=config.cell, dropout=config.dropout, bias=config.bias)
        self.encoder = Encoder(
            config.source_vocab, config.d_model, config.hidden,
            reverse=config.reverse, bidirectional=config.bidirectional, summary=config.summary, **shared,
        )  # fmt: skip
        if attention is None:
            d_context = config.hidden if config.summary else 0
        elif d_context is None:
            d_context = self.encoder.d_memory
        self.decoder = Decoder(
            config.target_vocab, config.d_model, config.hidden, d_context=d_context, attention=attention,
            attend=config.attend, readout=config.readout, d_readout=config.d_readout, **shared,
        )  # fmt: skip

    def forward(
        self,
        source: Int[Tensor, "batch key"],
        mask: Bool[Tensor, "batch key"],
        tokens: Int[Tensor, "batch time"],
        *,
        truth: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`: the target's prefix, from <bos> on.

        mask    True at the source's tokens
        truth   how often the decoder reads the true token: 1 is teacher forcing; below 1 (scheduled sampling,
                bengio2015scheduled) it reads, token by token, what it has just drawn itself instead. No gradient goes
                through the drawing
        Raises: ValueError when truth is not in 0 … 1.
        """
        if not 0 <= truth <= 1:
            raise ValueError(f"truth = {truth}, expected a share from 0 to 1")
        encoded = self.encoder(source, mask)
        if truth == 1:
            return self.decoder(tokens, encoded)[0]
        state, now, said = None, tokens[:, :1], []
        for t in range(tokens.shape[1]):
            logits, state, _ = self.decoder(now, encoded, state)
            said.append(logits)
            if t + 1 < tokens.shape[1]:
                drawn = torch.multinomial(logits.detach()[:, 0].float().softmax(-1), 1, generator=generator)
                coins = torch.rand(drawn.shape, generator=generator, device=drawn.device)
                now = torch.where(coins < truth, tokens[:, t + 1 : t + 2], drawn)
        return torch.cat(said, dim=1)

    def attend(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time key"]:
        r"""The attention's weights while the decoder reads `tokens`: where it looks before it says the next one.

        Raises: ValueError for a model without attention.
        """
        weights = self.decoder(tokens, self.encoder(source, mask))[2]
        if weights is None:
            raise ValueError("this model has no attention: its decoder looks nowhere")
        return weights

    def continuing(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"]
    ) -> Callable[..., tuple[Tensor, Any]]:
        r"""The language model of the target given these sources, for `generate` and `beam_search` with `stateful=True`.

        model(tokens, state=None) → logits, state. The rows of tokens are those of the sources, each as many times in
        succession as the search asks. Raises: ValueError, when it is called, for rows that are no multiple of these.

        >>> from ml_course.rnn.generation import generate
        >>> model, source = EncoderDecoder(Seq2SeqConfig.TINY), torch.tensor([[4, 5, 6], [7, 8, 0]])
        >>> generate(model.continuing(source, source > 0), torch.tensor([[2], [2]]), 3, stateful=True).shape
        torch.Size([2, 4])
        """
        encoded, ready = self.encoder(source, mask), {}

        def model(tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
            times = times_over(tokens, source)
            if times not in ready:
                ready[times] = encoded.repeated(times)
            return self.decoder(tokens, ready[times], state)[:2]

        return model

    @torch.no_grad()
    def translate(
        self,
        source: Int[Tensor, "batch key"],
        mask: Bool[Tensor, "batch key"],
        steps: int,
        *,
        beam: int = 1,
        alpha: float = 0.0,
    ) -> list[list[int]]:
        r"""The target tokens of each source as `beam_search` finds them, without <bos> and <eos>; 1 is greedy.

        steps   how many tokens at most
        """
        return translations(self.continuing(source, mask), source, steps, beam=beam, alpha=alpha, stateful=True)
