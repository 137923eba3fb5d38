r"""The Transformer: an encoder reads the source, a decoder writes the target, and both look with attention alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.attention import MultiHeadAttention, causal_mask
from ml_course.seq2seq import beam_search
from ml_course.text import Vocabulary
from ml_course.transformer.embedding import Embedding
from ml_course.transformer.layers import DecoderLayer, EncoderLayer, FeedForward, Stack


@dataclass(frozen=True)
class TransformerConfig:
    r"""Sizes of an encoder–decoder. Build the published ones with `torch.device("meta")` when only shapes matter.

    >>> TransformerConfig.BASE.d_model, TransformerConfig.BIG.heads
    (512, 16)
    """

    source_vocab: int = 100  # tokens the encoder knows
    target_vocab: int = 100  # tokens the decoder knows
    d_model: int = 64  # width of a token
    heads: int = 4  # of each attention
    d_ff: int = 256  # width inside the position-wise networks
    encoder_layers: int = 2
    decoder_layers: int = 2
    dropout: float = 0.0  # of what each branch adds, and of embeddings with their positions
    pre_norm: bool = False  # norms inside the branches, and one more after the last layer
    tie: str = "output"  # "none"; "output": target embedding and last layer are one matrix; "all": and the source's too

    BASE: ClassVar[TransformerConfig]  # 63,082,496 parameters
    BIG: ClassVar[TransformerConfig]  # 214,245,376 parameters
    TINY: ClassVar[TransformerConfig]


_SIX = dict(encoder_layers=6, decoder_layers=6, dropout=0.1, tie="all")
TransformerConfig.BASE = TransformerConfig(37_000, 37_000, d_model=512, heads=8, d_ff=2048, **_SIX)
TransformerConfig.BIG = TransformerConfig(
    37_000, 37_000, d_model=1024, heads=16, d_ff=4096, **(_SIX | {"dropout": 0.3})
)
TransformerConfig.TINY = TransformerConfig(20, 20, d_model=8, heads=2, d_ff=16, encoder_layers=1, decoder_layers=1)


class Transformer(nn.Module):
    r"""Maps a sequence to another: P(y | x) = Π_t P(y_t | y_1 … y_{t−1}, x), all t of a known target at once.

    config      sizes
    attention   attention(d_model, heads) makes each attention; `MultiHeadAttention`, or one that is called like it
    Raises: ValueError for a `tie` that is none of the three, or "all" with two sizes of vocabulary. Cost: a layer
    takes O(time²·d_model + time·d_model·(d_model + d_ff)). Source: vaswani2017attention. It differs in two points:
    dropout is not applied inside the attention, and `pre_norm` is later.

    >>> model = Transformer(TransformerConfig.TINY)
    >>> source, prefix = torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([[2, 9], [2, 4]])
    >>> model(source, source > 0, prefix).shape
    torch.Size([2, 2, 20])
    """

    def __init__(
        self,
        config: TransformerConfig = TransformerConfig.TINY,
        attention: Callable[[int, int], nn.Module] = MultiHeadAttention,
    ):
        super().__init__()
        if config.tie not in ("none", "output", "all"):
            raise ValueError(f"tie = {config.tie!r}, expected 'none', 'output' or 'all'")
        if config.tie == "all" and config.source_vocab != config.target_vocab:
            raise ValueError(
                f"tie = 'all' with source_vocab = {config.source_vocab} and target_vocab = {config.target_vocab}: "
                "expected one vocabulary"
            )
        self.config, width = config, config.d_model

        def attend() -> nn.Module:
            return attention(width, config.heads)

        def feed_forward() -> nn.Module:
            return FeedForward(width, config.d_ff)

        norms = dict(pre_norm=config.pre_norm, dropout=config.dropout)
        self.source_embedding = Embedding(config.source_vocab, width, dropout=config.dropout)
        self.target_embedding = Embedding(config.target_vocab, width, dropout=config.dropout)
        self.encoder = Stack(
            (EncoderLayer(width, attend(), feed_forward(), **norms) for _ in range(config.encoder_layers)),
            width,
            final_norm=config.pre_norm,
        )
        self.decoder = Stack(
            (DecoderLayer(width, attend(), attend(), feed_forward(), **norms) for _ in range(config.decoder_layers)),
            width,
            final_norm=config.pre_norm,
        )
        self.output = nn.Linear(width, config.target_vocab, bias=False)
        if config.tie != "none":
            self.output.weight = self.target_embedding.weight
        if config.tie == "all":
            self.source_embedding.weight = self.target_embedding.weight

    def encode(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"]
    ) -> Float[Tensor, "batch key d_model"]:
        r"""What the decoder will look at: one vector for each source token. `mask` is True at real tokens."""
        return self.encoder(self.source_embedding(source), mask[:, None])

    def decode(
        self,
        tokens: Int[Tensor, "batch time"],
        memory: Float[Tensor, "batch key d_model"],
        mask: Bool[Tensor, "batch key"],
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`; each sees those before it and all of the source."""
        causal = causal_mask(tokens.shape[1], device=tokens.device)
        return self.output(self.decoder(self.target_embedding(tokens), memory, causal, mask[:, None]))

    def forward(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`, the target's prefix from <bos> on, as seq2seq has them."""
        return self.decode(tokens, self.encode(source, mask), mask)

    def continuing(
        self, source: Int[Tensor, "batch key"], mask: Bool[Tensor, "batch key"]
    ) -> Callable[[Tensor], Tensor]:
        r"""The language model of the target given these sources, for `generate` and `beam_search`: tokens → logits.

        The rows of tokens are those of the sources, each as many times in succession as the search asks. It reads all
        tokens so far at every step; the chapter on decoding remembers instead.
        """
        memory = self.encode(source, mask)

        def model(tokens: Tensor) -> Tensor:
            times, rest = divmod(len(tokens), len(source))
            if rest or not times:
                raise ValueError(f"tokens has {len(tokens)} rows, expected a multiple of the {len(source)} sources")
            return self.decode(tokens, memory.repeat_interleave(times, 0), mask.repeat_interleave(times, 0))

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
        prompt = torch.full((len(source), 1), Vocabulary.bos, device=source.device)
        found = beam_search(self.continuing(source, mask), prompt, steps, eos=Vocabulary.eos, beam=beam, alpha=alpha)
        return [[token for token in row if token != Vocabulary.eos] for row in found.best()]
