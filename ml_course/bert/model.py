r"""BERT: an encoder that reads both ways, above the sum of what each token is, where it stands and whose text it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention
from ml_course.transformer import EncoderLayer, FeedForward, LayerNorm, Stack


@dataclass(frozen=True)
class BertConfig:
    r"""Sizes of a BERT. Build the published ones with `torch.device("meta")` when only shapes matter.

    >>> BertConfig.BASE.layers, BertConfig.MINILM.d_model
    (12, 384)
    """

    vocab: int = 30_522  # pieces
    d_model: int = 768  # width of a token
    heads: int = 12
    d_ff: int = 3072  # width inside the position-wise networks
    layers: int = 12
    context: int = 512  # rows of the table of positions
    segments: int = 2  # texts that are told apart
    dropout: float = 0.1  # of what each branch adds, and of embeddings
    epsilon: float = 1e-12  # of every norm
    pad: int = 0  # number of the filler
    first_position: int = 0  # row of the table that the first token gets; RoBERTa leaves two rows out
    deviation: float = 0.02  # of the first weights; narrow models learn sooner with more

    BASE: ClassVar[BertConfig]  # 109,482,240 parameters with the pooler; 110,106,428 with both heads of pretraining
    LARGE: ClassVar[BertConfig]  # 335,141,888; 336,226,108
    MINILM: ClassVar[BertConfig]  # 22,713,216
    ROBERTA_BASE: ClassVar[BertConfig]  # 124,645,632
    PAGE: ClassVar[BertConfig]  # what a page has time to train
    TINY: ClassVar[BertConfig]

    @property
    def longest(self) -> int:
        r"""How many tokens an input may have."""
        return self.context - self.first_position


BertConfig.BASE = BertConfig()
BertConfig.LARGE = BertConfig(d_model=1024, heads=16, d_ff=4096, layers=24)
BertConfig.MINILM = BertConfig(d_model=384, d_ff=1536, layers=6)
BertConfig.ROBERTA_BASE = BertConfig(50_265, context=514, segments=1, epsilon=1e-5, pad=1, first_position=2)
BertConfig.PAGE = BertConfig(1500, d_model=64, heads=4, d_ff=256, layers=2, context=64, dropout=0.0, deviation=0.1)
BertConfig.TINY = BertConfig(20, d_model=8, heads=2, d_ff=16, layers=1, context=16, dropout=0.0)


class BertEmbedding(nn.Module):
    r"""Tokens as vectors: what each is, where it stands, and which text it is of, summed and normalised.

    x_t = LayerNorm(E[token_t] + P[t] + S[segment_t]); all three tables are learned

    config   sizes
    Source: devlin2019bert, section 3 and figure 2.

    >>> BertEmbedding(BertConfig.TINY)(torch.tensor([[2, 7, 3]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.first_position = config.first_position
        self.token = nn.Embedding(config.vocab, config.d_model)
        self.position = nn.Embedding(config.context, config.d_model)
        self.segment = nn.Embedding(config.segments, config.d_model)
        self.norm, self.dropout = LayerNorm(config.d_model), nn.Dropout(config.dropout)

    def forward(
        self, tokens: Int[Tensor, "batch time"], segments: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        r"""`segments` None: one text, all of segment 0. Raises: ValueError beyond the table of positions."""
        start, stop = self.first_position, self.first_position + tokens.shape[1]
        if stop > len(self.position.weight):
            longest = len(self.position.weight) - start
            raise ValueError(f"tokens has {tokens.shape[1]} of them in a row, expected at most {longest}")
        of_segment = self.segment.weight[0] if segments is None else self.segment(segments)
        return self.dropout(self.norm(self.token(tokens) + of_segment + self.position.weight[start:stop]))


class Bert(nn.Module):
    r"""Reads a text, or two, and gives each token a vector that knows what stands on both sides of it.

    hidden = layers(BertEmbedding(tokens, segments)), post-norm with GELU;  pooled = tanh(hidden_[CLS] Wᵀ + b)

    config   sizes
    Matrices start normal with the config's deviation, biases at 0. In `ml_course.bert.heads` are the heads that make
    something of it. Raises: ValueError as `BertEmbedding`, or when d_model is not divisible by heads.
    Cost: O(layers·time·(time·d_model + d_model² + d_model·d_ff)).
    Source: devlin2019bert, section 3, and vaswani2017attention; differs in that dropout is not applied inside the
    attention.

    >>> bert, tokens = Bert(BertConfig.TINY).eval(), torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    >>> hidden = bert(tokens, mask=tokens > 0)
    >>> hidden.shape, bert.pooled(hidden).shape
    (torch.Size([2, 4, 8]), torch.Size([2, 8]))
    """

    def __init__(self, config: BertConfig = BertConfig.TINY):
        super().__init__()
        self.config, width = config, config.d_model
        self.embedding = BertEmbedding(config)
        layers = (
            EncoderLayer(
                width,
                MultiHeadAttention(width, config.heads),
                FeedForward(width, config.d_ff, activation=F.gelu),
                dropout=config.dropout,
            )
            for _ in range(config.layers)
        )
        self.encoder = Stack(layers, width)
        self.pooler = nn.Linear(width, width)
        begin(self, config.epsilon, config.deviation)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        r"""A vector for each token.

        segments   0 for tokens of the first text, 1 for those of the second; all 0 when None
        mask       True at real tokens; filler is seen by nobody. All are real when None
        """
        return self.encoder(self.embedding(tokens, segments), None if mask is None else mask[:, None])

    def pooled(self, hidden: Float[Tensor, "batch time d_model"]) -> Float[Tensor, "batch d_model"]:
        r"""One vector for the text: what became of its first token, [CLS], through one more layer."""
        return torch.tanh(self.pooler(hidden[:, 0]))

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> Bert:
        r"""The model of a published folder with `config.json` and `model.safetensors`, in evaluation mode.

        See `ml_course.bert.pretrained.load`, whose errors it raises.
        """
        from ml_course.bert.pretrained import load  # which needs this module

        return load(folder)

    def save_pretrained(self, folder: str | os.PathLike) -> None:
        r"""Writes `config.json` and `model.safetensors`, under the names that published folders use."""
        from ml_course.bert.pretrained import save

        save(self, folder)


def begin(module: nn.Module, epsilon: float, deviation: float = 0.02) -> None:
    r"""Draws the first weights of all linear layers and tables as BERT's, and gives all norms this ε."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=deviation)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
        if isinstance(part, LayerNorm):
            part.epsilon = epsilon


def sentence_embeddings(bert: Bert, batch: tuple[Tensor, Tensor, Tensor]) -> Float[Tensor, "batch d_model"]:
    r"""A vector of length 1 for each text: the mean over its real tokens.

    m = Σ_t mask_t h_t / Σ_t mask_t,  m / ‖m‖

    batch   tokens, segments and mask, as `WordPiece.batch` gives them
    The dot product of two is the cosine between the texts, what all-MiniLM-L6-v2 was taught to make large for texts
    that say the same. Source: reimers2019sentence, section 3; wang2020minilm.

    >>> tokens = torch.tensor([[2, 7, 3, 0]])
    >>> batch = tokens, torch.zeros_like(tokens), tokens > 0
    >>> vectors = sentence_embeddings(Bert(BertConfig.TINY).eval(), batch)
    >>> vectors.shape, torch.allclose(vectors.norm(dim=1), torch.ones(1))
    (torch.Size([1, 8]), True)
    """
    return F.normalize(mean_over_text(read_by_length(bert, batch), batch[2]), dim=1)


def read_by_length(
    bert: Bert, batch: tuple[Tensor, Tensor, Tensor], size: int = 8
) -> Float[Tensor, "batch time d_model"]:
    r"""What `bert(*batch)` gives at real tokens, without much work for filler, where it gives zeros.

    batch   tokens, segments and mask; filler stands at the end of each row
    size    rows are sorted by length and read in groups of this many, each group as long as its longest row
    Cost: as `Bert`, with the sum over groups of size·longest in place of batch·time.

    >>> tokens = torch.tensor([[2, 7, 8, 9, 3], [2, 3, 0, 0, 0]])
    >>> batch, bert = (tokens, torch.zeros_like(tokens), tokens > 0), Bert(BertConfig.TINY).eval()
    >>> torch.allclose(read_by_length(bert, batch, size=1)[1, :2], bert(*batch)[1, :2], atol=1e-6)
    True
    """
    tokens, segments, mask = batch
    lengths = mask.sum(1)
    groups = lengths.argsort().split(size)
    if int(lengths.min()) == tokens.shape[1]:
        return bert(tokens, segments)
    places, hidden = [], []
    for rows in groups:
        longest = max(int(lengths[rows[-1]]), 1)
        full = int(lengths[rows[0]]) == longest
        read = bert(tokens[rows, :longest], segments[rows, :longest], None if full else mask[rows, :longest])
        real = mask[rows, :longest]
        places.append((rows[:, None] * tokens.shape[1] + torch.arange(longest, device=rows.device))[real])
        hidden.append(read[real])
    flat = hidden[0].new_zeros(tokens.numel(), hidden[0].shape[-1])
    return flat.index_copy(0, torch.cat(places), torch.cat(hidden)).unflatten(0, tokens.shape)


def mean_over_text(
    hidden: Float[Tensor, "batch time d_model"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch d_model"]:
    r"""The mean of the real tokens' vectors; zero for a row that has none."""
    weights = mask.to(hidden.dtype)
    return torch.einsum("btd,bt->bd", hidden, weights) / weights.sum(1, keepdim=True).clamp(min=1)
