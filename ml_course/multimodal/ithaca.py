r"""One reader, three questions: a model that fills gaps and says where a text is from, in the manner of Ithaca."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.bert.model import begin, mean_over_text
from ml_course.multimodal.text import Gapped
from ml_course.transformer import LayerNorm, pre_norm_stack


@dataclass(frozen=True)
class IthacaConfig:
    r"""Sizes of a small Ithaca.

    >>> IthacaConfig.TINY.layers
    1
    """

    letters: int = 64  # of the alphabet, with special ones
    words: int = 1000  # known words, with special ones
    languages: int = 6
    kinds: int = 4
    d_model: int = 64  # width of a place
    heads: int = 4
    d_ff: int = 128  # width inside the position-wise networks
    layers: int = 2
    context: int = 32  # rows of the table of positions
    radius: int = 2  # how far a letter looks to either side, in all layers but the last, which looks everywhere
    reads_words: bool = True  # else letters alone
    deviation: float = 0.1  # of the first weights

    TINY: ClassVar[IthacaConfig]


IthacaConfig.TINY = IthacaConfig(12, 10, 2, 2, d_model=8, heads=2, d_ff=16, layers=1)


class Readings(NamedTuple):
    r"""What the three heads say, as logits."""

    letters: Float[Tensor, "gaps letters"]  # one row for each gap, in the order of rows of the batch
    languages: Float[Tensor, "batch languages"]
    kinds: Float[Tensor, "batch kinds"]


class Ithaca(nn.Module):
    r"""Reads a gapped text by letters and by words, and answers three questions about it at once.

    x_t = LayerNorm(A[letter_t] + B[word_t] + P[t]),  h = layers(x)
    letters = h_t W₁ᵀ + b₁ at each gap t,  languages, kinds = h̄ W₂ᵀ + b₂, h̄ W₃ᵀ + b₃,  h̄ the mean over the text

    One encoder for all three: what helps to say the language helps to fill the gap. Layers are pre-norm with GELU.
    gap   number of the letter that cannot be read
    Raises: ValueError when a text is longer than the table of positions or d_model is not divisible by heads.
    Source: assael2022restoring, which asks for place and date of Greek inscriptions, is larger, and looks sparsely as
    zaheer2020bigbird does, near, at some global places and at random ones; here near, and in the last layer everywhere.

    >>> letters = torch.tensor([[5, 6, 4, 7], [8, 4, 4, 0]])
    >>> said = Ithaca(gap=4)(Gapped(letters, torch.ones_like(letters), letters > 0))
    >>> [tuple(logits.shape) for logits in said]
    [(3, 12), (2, 2), (2, 2)]
    """

    def __init__(self, config: IthacaConfig = IthacaConfig.TINY, *, gap: int):
        super().__init__()
        self.config, self.gap, width = config, gap, config.d_model
        self.letter = nn.Embedding(config.letters, width)
        self.word = nn.Embedding(config.words, width) if config.reads_words else None
        self.norm = LayerNorm(width)
        self.encoder = pre_norm_stack(width, config.heads, config.d_ff, config.layers)
        self.letter_head = nn.Linear(width, config.letters)
        self.language_head, self.kind_head = nn.Linear(width, config.languages), nn.Linear(width, config.kinds)
        begin(self, 1e-5, config.deviation)
        self.positions = nn.Parameter(config.deviation * torch.randn(config.context, width))

    def forward(self, gapped: Gapped) -> Readings:
        hidden = self.read(gapped)
        whole = mean_over_text(hidden, gapped.mask)
        at_gaps = hidden[gapped.letters == self.gap]
        return Readings(self.letter_head(at_gaps), self.language_head(whole), self.kind_head(whole))

    def read(self, gapped: Gapped) -> Float[Tensor, "batch time d_model"]:
        r"""A vector for each place."""
        x = self.embed(gapped)
        for layer, mask in zip(self.encoder.layers, self.masks(gapped), strict=True):
            x = layer(x, mask)
        return self.encoder.norm(x)

    def embed(self, gapped: Gapped) -> Float[Tensor, "batch time d_model"]:
        r"""What each letter is, which word it is in, and where it stands."""
        time = gapped.letters.shape[1]
        if time > len(self.positions):
            raise ValueError(f"texts have {time} places, expected at most context = {len(self.positions)}")
        x = self.letter(gapped.letters) + self.positions[:time]
        return self.norm(x if self.word is None else x + self.word(gapped.words))

    def masks(self, gapped: Gapped) -> list[Bool[Tensor, "batch time key"]]:
        r"""Who sees whom in each layer: real letters at most `radius` away; in the last one all real letters."""
        place = torch.arange(gapped.letters.shape[1], device=gapped.letters.device)
        near = (place[:, None] - place).abs() <= self.config.radius
        everywhere = gapped.mask[:, None].expand(-1, len(place), -1)
        return [everywhere & near] * (self.config.layers - 1) + [everywhere]


def ithaca_loss(
    said: Readings,
    letters: Int[Tensor, " gaps"],
    languages: Int[Tensor, " batch"],
    kinds: Int[Tensor, " batch"],
    weights: tuple[float, float, float] = (1.0, 0.5, 0.5),
) -> Float[Tensor, ""]:
    r"""A weighted sum of three cross-entropies, in nats.

    Σ wᵢ·CEᵢ over gaps, languages and kinds

    Source: assael2022restoring, methods; there the date has a loss of its own kind.
    """
    asked = zip(weights, said, (letters, languages, kinds), strict=True)
    return sum(weight * F.cross_entropy(logits, target) for weight, logits, target in asked)
