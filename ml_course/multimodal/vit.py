r"""The Vision Transformer: a Transformer's encoder that reads the patches of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml_course.bert.model import begin
from ml_course.multimodal.patches import PatchEmbedding
from ml_course.transformer import pre_norm_stack


@dataclass(frozen=True)
class ViTConfig:
    r"""Sizes of a Vision Transformer. Build the published ones with `torch.device("meta")` when only shapes matter.

    >>> ViTConfig.TINY.patches, ViTConfig.BASE_16.patches
    (16, 196)
    """

    height: int = 224  # of a picture, in pixels
    width: int = 224
    channels: int = 3
    patch: int = 16  # side of a patch, in pixels
    d_model: int = 768  # width of a token
    heads: int = 12
    d_ff: int = 3072  # width inside the position-wise networks
    layers: int = 12
    classes: int = 1000
    dropout: float = 0.0  # of what each branch adds, and of embeddings
    epsilon: float = 1e-6  # of every norm
    deviation: float = 0.02  # of the first weights; narrow models learn sooner with more

    TINY: ClassVar[ViTConfig]  # for 8 × 8 digits: what a page has time to train; 18,218 parameters
    BASE_16: ClassVar[ViTConfig]  # 86,567,656 parameters
    LARGE_16: ClassVar[ViTConfig]  # 304,326,632

    @property
    def patches(self) -> int:
        r"""How many patches a picture has."""
        return (self.height // self.patch) * (self.width // self.patch)


ViTConfig.TINY = ViTConfig(8, 8, 1, 2, d_model=32, heads=4, d_ff=64, layers=2, classes=10, deviation=0.15)
ViTConfig.BASE_16 = ViTConfig()
ViTConfig.LARGE_16 = ViTConfig(d_model=1024, heads=16, d_ff=4096, layers=24)


class ViT(nn.Module):
    r"""Says what a picture shows: patches as tokens, one token more to collect the answer, and an encoder.

    x = [class; patch₁ Wᵀ + b; …; patch_N Wᵀ + b] + P,  logits = head(LayerNorm(layers(x))₀)

    Pre-norm layers with GELU. The positions P are a learned table: a row for each place of the grid and one for the
    class token. Nothing else tells the model which patches are neighbours.
    Raises: ValueError when the patches do not tile the picture, when a picture has other sizes than the config's, or
    d_model is not divisible by heads. Cost: O(layers·N·(N·d_model + d_model² + d_model·d_ff)), N = patches + 1.
    Source: dosovitskiy2021image, eqs. 1–4; the head is one linear layer, as in its fine-tuning.

    >>> ViT(ViTConfig.TINY)(torch.randn(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    >>> with torch.device("meta"):
    ...     model = ViT(ViTConfig.BASE_16)
    >>> sum(parameter.numel() for parameter in model.parameters())
    86567656
    """

    def __init__(self, config: ViTConfig = ViTConfig.TINY):
        super().__init__()
        self.config, width = config, config.d_model
        if config.height % config.patch or config.width % config.patch:
            raise ValueError(f"patch = {config.patch} does not divide {config.height} × {config.width} pixels")
        self.embedding = PatchEmbedding(config.channels, config.patch, width)
        self.encoder = pre_norm_stack(width, config.heads, config.d_ff, config.layers, dropout=config.dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, config.classes)
        begin(self, config.epsilon, config.deviation)
        self.token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(config.deviation * torch.randn(config.patches + 1, width))

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        return self.head(self.read(pictures)[:, 0])

    def read(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch time d_model"]:
        r"""A vector for the class token, in the first place, and one for each patch."""
        expected = (self.config.channels, self.config.height, self.config.width)
        if pictures.shape[1:] != expected:
            raise ValueError(f"pictures are {tuple(pictures.shape[1:])}, expected {expected}")
        patches = self.embedding(pictures)
        token = self.token.expand(len(patches), 1, -1)
        return self.encoder(self.dropout(torch.cat([token, patches], dim=1) + self.positions))
