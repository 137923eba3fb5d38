r"""One label for a whole sequence: the encoder that every form of attention is tried in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention
from ml_course.longrange.reversible import reversible_encoder
from ml_course.transformer import EncoderLayer, FeedForward, LearnedEmbedding, Stack


@dataclass(frozen=True)
class ClassifierConfig:
    r"""Sizes of the classifier.

    >>> ClassifierConfig.LISTOPS.d_model, ClassifierConfig.LISTOPS.layers
    (512, 4)
    """

    vocab: int = 20  # tokens
    classes: int = 10
    d_model: int = 64  # width of a token
    heads: int = 4
    d_ff: int = 128  # width inside the position-wise networks
    layers: int = 2
    context: int = 256  # how many positions are learned, so the longest input
    reversible: bool = False  # reversible layers: memory of one layer, whatever their number

    TINY: ClassVar[ClassifierConfig]
    LISTOPS: ClassVar[ClassifierConfig]  # Long Range Arena's for ListOps


ClassifierConfig.TINY = ClassifierConfig(d_model=16, heads=2, d_ff=32, context=32)
ClassifierConfig.LISTOPS = ClassifierConfig(d_model=512, heads=8, d_ff=2048, layers=4, context=2000)


class SequenceClassifier(nn.Module):
    r"""Embedding with learned positions, pre-norm encoder layers, the mean of the real tokens, one linear layer.

    config      sizes
    attention   attention(d_model, heads) makes each layer's attention, as `MultiHeadAttention` does

    >>> import torch
    >>> from functools import partial
    >>> from ml_course.longrange import linear_attention
    >>> model = SequenceClassifier(ClassifierConfig.TINY, partial(MultiHeadAttention, attend=linear_attention))
    >>> model(torch.randint(20, (3, 7))).shape
    torch.Size([3, 10])
    """

    def __init__(self, config: ClassifierConfig, attention: Callable[[int, int], nn.Module] = MultiHeadAttention):
        super().__init__()
        width = config.d_model
        self.embedding = LearnedEmbedding(config.vocab, width, config.context)

        def feed_forward() -> FeedForward:
            return FeedForward(width, config.d_ff, activation=F.gelu)

        if config.reversible:
            self.encoder = reversible_encoder(
                config.layers, width, lambda: attention(width, config.heads), feed_forward
            )
        else:
            layers = (
                EncoderLayer(width, attention(width, config.heads), feed_forward(), pre_norm=True)
                for _ in range(config.layers)
            )
            self.encoder = Stack(layers, width, final_norm=True)
        self.reversible = config.reversible
        self.output = nn.Linear(width, config.classes)

    def forward(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        r"""Logits of the classes; `mask` is True at real tokens."""
        keys = None if mask is None else mask[:, None]
        x = self.embedding(tokens)
        x = self.encoder(x, None, keys) if self.reversible else self.encoder(x, keys)
        if mask is None:
            return self.output(x.mean(1))
        real = mask[..., None].to(x.dtype)
        return self.output((x * real).sum(1) / real.sum(1).clamp(min=1))
