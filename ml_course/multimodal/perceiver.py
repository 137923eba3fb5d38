r"""The Perceiver: a few learned vectors read an input of any length and kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention, attention_weights
from ml_course.bert.model import begin
from ml_course.transformer import EncoderLayer, FeedForward, LayerNorm, Residual


def latent_attention(
    latents: Float[Tensor, "batch latents d_latent"],
    inputs: Float[Tensor, "batch time d_input"],
    query: Float[Tensor, "d_head d_latent"],
    key: Float[Tensor, "d_head d_input"],
    value: Float[Tensor, "d_latent d_input"],
    mask: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, "batch latents d_latent"]:
    r"""A few latent vectors ask, all inputs answer: one head of cross-attention with its residual connection.

    Z + softmax(Z W_qᵀ (X W_kᵀ)ᵀ / √d_head) X W_vᵀ,  Z: latents, X: inputs

    mask   True at inputs that are real; a text without any leaves its latents as they are
    Cost: O(latents·time·(d_head + d_latent)), linear in the length of the input.
    Source: jaegle2021perceiver, section 3.1, there with norms before and a position-wise network after it.

    >>> latents, inputs = torch.randn(2, 3, 4), torch.randn(2, 500, 5)
    >>> latent_attention(latents, inputs, torch.randn(6, 4), torch.randn(6, 5), torch.randn(4, 5)).shape
    torch.Size([2, 3, 4])
    """
    weights = attention_weights(latents @ query.T, inputs @ key.T, None if mask is None else mask[:, None])
    return latents + weights @ (inputs @ value.T)


@dataclass(frozen=True)
class PerceiverConfig:
    r"""Sizes of a Perceiver.

    >>> PerceiverConfig.TINY.latents
    8
    """

    d_input: int = 1  # numbers that each input has, without its position
    places: int = 64  # rows of the table of positions, so the longest input
    d_memory: int = 32  # width of an input with its position
    latents: int = 8  # how many vectors read; the paper has 512
    d_latent: int = 32  # width of each; the paper has 1,024
    heads: int = 4
    d_ff: int = 64  # width inside the position-wise networks
    looks: int = 1  # how often the latents look at the input; the paper has 8
    layers: int = 1  # of self-attention among the latents after each look; the paper has 6
    classes: int = 10
    deviation: float = 0.3  # of the first weights

    TINY: ClassVar[PerceiverConfig]  # for digits, pixel by pixel


PerceiverConfig.TINY = PerceiverConfig()


class Perceiver(nn.Module):
    r"""Says what it perceives: latents look at the input, speak with one another, and look again.

    Z ← look(Z, X), Z ← layers(Z), repeated with the same weights;  logits = head(mean of LayerNorm(Z))

    The quadratic part, latents × latents, has nothing to do with how long the input is. An input is a *set* of
    vectors: each carries its own position, a learned row that is added to it, so their order means nothing.
    Raises: ValueError when an input is longer than the table of positions, has another width, or d_latent is not
    divisible by heads. Cost: O(looks·latents·(time + layers·latents)·d_latent), beside what grows with no length.
    Source: jaegle2021perceiver, section 3. Differs in that positions are learned and added, where the paper mostly puts
    sines beside the numbers, and that all looks share their weights, where the paper's first has its own.

    >>> Perceiver()(torch.randn(2, 64, 1)).shape
    torch.Size([2, 10])
    """

    def __init__(self, config: PerceiverConfig = PerceiverConfig.TINY):
        super().__init__()
        self.config, width = config, config.d_latent
        self.lift, self.norm = nn.Linear(config.d_input, config.d_memory), LayerNorm(config.d_memory)
        self.look = Residual(MultiHeadAttention(width, config.heads, d_memory=config.d_memory), width, pre_norm=True)
        self.digest = Residual(FeedForward(width, config.d_ff, activation=F.gelu), width, pre_norm=True)
        self.layers = nn.ModuleList(
            EncoderLayer(
                width,
                MultiHeadAttention(width, config.heads),
                FeedForward(width, config.d_ff, activation=F.gelu),
                pre_norm=True,
            )
            for _ in range(config.layers)
        )
        self.final_norm, self.head = LayerNorm(width), nn.Linear(width, config.classes)
        begin(self, 1e-5, config.deviation)
        nn.init.normal_(self.lift.weight)
        self.latents = nn.Parameter(torch.randn(config.latents, width))
        self.places = nn.Parameter(torch.randn(config.places, config.d_memory))

    def forward(
        self,
        inputs: Float[Tensor, "batch time d_input"],
        places: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        r"""Logits.

        places   which row of the table of positions belongs to each input; 0, 1, 2 … when None
        mask     True at inputs that are there: any others are as if they had never been
        """
        return self.head(self.read(inputs, places, mask).mean(1))

    def read(
        self,
        inputs: Float[Tensor, "batch time d_input"],
        places: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch latents d_latent"]:
        r"""The latents after the last look: as many as ever, however long the input was."""
        batch, time, width = inputs.shape
        if width != self.config.d_input or time > len(self.places):
            raise ValueError(
                f"inputs has {time} vectors of {width} numbers, "
                f"expected at most {len(self.places)} of {self.config.d_input}"
            )
        where = self.places[:time].expand(batch, -1, -1) if places is None else F.embedding(places, self.places)
        memory = self.norm(self.lift(inputs) + where)
        mask = None if mask is None else mask[:, None]
        x = self.latents.expand(batch, -1, -1)
        for _ in range(self.config.looks):
            x = self.digest(self.look(x, memory, mask))
            for layer in self.layers:
                x = layer(x)
        return self.final_norm(x)
