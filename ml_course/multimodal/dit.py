r"""DiT: a Transformer over the patches of a noisy picture; what is asked, and the time, steer every norm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention
from ml_course.multimodal.patches import PatchEmbedding, unpatchify
from ml_course.transformer import FeedForward, frequencies, sinusoidal_positions

EPSILON = 1e-6  # of every norm here


@dataclass(frozen=True)
class DiTConfig:
    r"""Sizes of a DiT. Build the published ones with `torch.device("meta")` when only shapes matter.

    >>> DiTConfig.XL_2.layers, DiTConfig.XL_2.d_model, DiTConfig.XL_2.patches
    (28, 1152, 256)
    """

    channels: int = 1
    side: int = 8  # height and width of a picture
    patch: int = 2  # height and width of a patch
    classes: int = 10  # what can be asked for; `no_label`, the next number, asks for nothing
    d_model: int = 64
    heads: int = 4
    d_ff: int = 256
    layers: int = 3
    clock: int = 256  # features of the sinusoids that tell the time
    learned_variance: bool = False  # twice the channels come out, as of the published ones; their use is not ours

    TINY: ClassVar[DiTConfig]
    S_2: ClassVar[DiTConfig]  # 32,659,232 parameters
    B_2: ClassVar[DiTConfig]
    L_2: ClassVar[DiTConfig]
    XL_2: ClassVar[DiTConfig]  # 674,834,720 parameters

    @property
    def no_label(self) -> int:
        r"""The label that says nothing."""
        return self.classes

    @property
    def patches(self) -> int:
        r"""Tokens of one picture."""
        return (self.side // self.patch) ** 2


def _published(d_model: int, heads: int, layers: int) -> DiTConfig:
    """For 4 × 32 × 32 codes of photographs of 1,000 kinds, in patches of 2 × 2: peebles2023scalable, table 1."""
    return DiTConfig(4, 32, 2, 1000, d_model, heads, 4 * d_model, layers, learned_variance=True)


DiTConfig.TINY = DiTConfig(side=4, d_model=8, heads=2, d_ff=16, layers=2, clock=8)
DiTConfig.S_2, DiTConfig.B_2 = _published(384, 6, 12), _published(768, 12, 12)
DiTConfig.L_2, DiTConfig.XL_2 = _published(1024, 16, 24), _published(1152, 16, 28)


def modulate(
    x: Float[Tensor, "batch time d_model"],
    shift: Float[Tensor, "#batch #time d_model"],
    scale: Float[Tensor, "#batch #time d_model"],
) -> Float[Tensor, "batch time d_model"]:
    r"""LN(x) ⊙ (1 + scale) + shift: a norm without weights of its own, whose stretch and shift come from outside.

    Counting the scale from 1, nothing said means nothing done: the plain norm. Source: perez2018film, section 2.1;
    peebles2023scalable, section 3.2.

    >>> x, nothing = torch.tensor([[[1.0, 3.0]]]), torch.zeros(1, 1, 2)
    >>> modulate(x, nothing, nothing), modulate(x, nothing, nothing + 1)
    (tensor([[[-1.0000,  1.0000]]]), tensor([[[-2.0000,  2.0000]]]))
    """
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON) * (1 + scale) + shift


class AdaLNZero(nn.Module):
    r"""A residual branch that is steered by a condition, and shut at the start.

    x + gate ⊙ f(LN(x) ⊙ (1 + scale) + shift),  [shift, scale, gate] = W silu(c) + b,  W = 0, b = 0 at the start

    sublayer      f: attention, or the position-wise network
    d_condition   width of c, of which there is one for each sample, shared by its tokens; d_model when None
    With gate = 0 the branch is the identity, whatever f does: a stack of them begins as nothing at all, and each opens
    as far as it is of use. The first gradient goes to W and b alone, and there to the gate's third.
    Source: peebles2023scalable, section 3.2, "adaLN-Zero block".

    >>> branch, x = AdaLNZero(nn.Linear(8, 8), 8), torch.randn(2, 5, 8)
    >>> torch.equal(branch(x, torch.randn(2, 8)), x)
    True
    """

    def __init__(self, sublayer: nn.Module, d_model: int, d_condition: int | None = None):
        super().__init__()
        self.sublayer = sublayer
        self.modulation = nn.Linear(d_model if d_condition is None else d_condition, 3 * d_model)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], condition: Float[Tensor, "batch d_condition"]
    ) -> Float[Tensor, "batch time d_model"]:
        shift, scale, gate = self.modulation(F.silu(condition)).unsqueeze(1).chunk(3, dim=-1)
        return x + gate * self.sublayer(modulate(x, shift, scale))


class DiTBlock(nn.Module):
    r"""The encoder's layer with both branches as `AdaLNZero`: attention, then the position-wise network.

    Source: peebles2023scalable, figure 3.
    """

    def __init__(self, d_model: int, heads: int, d_ff: int):
        super().__init__()
        gelu = partial(F.gelu, approximate="tanh")
        self.attention = AdaLNZero(MultiHeadAttention(d_model, heads), d_model)
        self.feed_forward = AdaLNZero(FeedForward(d_model, d_ff, activation=gelu), d_model)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], condition: Float[Tensor, "batch d_model"]
    ) -> Float[Tensor, "batch time d_model"]:
        return self.feed_forward(self.attention(x, condition), condition)


class Clock(nn.Module):
    r"""A vector for each time: sines and cosines as of positions, then two layers.

    Source: peebles2023scalable, section 3.2; the sinusoids are vaswani2017attention's, of times instead of places.
    """

    def __init__(self, d_model: int, features: int = 256):
        super().__init__()
        self.register_buffer("speed", frequencies(features).float(), persistent=False)
        self.wider, self.output = nn.Linear(features, d_model), nn.Linear(d_model, d_model)

    def forward(self, times: Int[Tensor, " batch"]) -> Float[Tensor, "batch d_model"]:
        angle = times[:, None] * self.speed
        waves = torch.cat([angle.cos(), angle.sin()], dim=-1).to(self.output.weight.dtype)
        return self.output(F.silu(self.wider(waves)))


def grid_positions(rows: int, columns: int, d_model: int) -> Float[Tensor, "patches d_model"]:
    r"""A vector for each place of a grid, row after row: half of it tells the row, half the column, by sinusoids.

    Raises: ValueError when d_model is not divisible by 4.

    >>> grid_positions(2, 3, 4).shape
    torch.Size([6, 4])
    """
    if d_model % 4:
        raise ValueError(f"d_model = {d_model} is not divisible by 4: a sine and a cosine for rows and for columns")
    down, across = (sinusoidal_positions(count, d_model // 2) for count in (rows, columns))
    return torch.cat([down.repeat_interleave(columns, 0), across.repeat(rows, 1)], dim=-1)


class DiT(nn.Module):
    r"""What noise is in a picture, at a time, of something: a Transformer over its patches.

    config   sizes
    Raises: ValueError when the side is no multiple of the patch, or d_model not of heads and of 4.
    Cost: O(patches²·d_model + patches·d_model·(d_model + d_ff)) a layer.
    Source: peebles2023scalable. Ours starts the linear layers as torch does, and says each time's sinusoids in float32.

    >>> model = DiT(DiTConfig.TINY)
    >>> x, times, labels = torch.randn(3, 1, 4, 4), torch.tensor([1, 500, 1000]), torch.tensor([0, 9, 10])
    >>> model(x, times, labels).abs().max()  # nothing at the start
    tensor(0., grad_fn=<MaxBackward1>)
    """

    def __init__(self, config: DiTConfig = DiTConfig.TINY):
        super().__init__()
        if config.side % config.patch:
            raise ValueError(f"side = {config.side} is not divisible by patch = {config.patch}")
        self.config, width, in_patch = config, config.d_model, config.patch**2 * config.channels
        self.embedding = PatchEmbedding(config.channels, config.patch, width)
        count = config.side // config.patch
        self.register_buffer("positions", grid_positions(count, count, width), persistent=False)
        self.clock = Clock(width, config.clock)
        self.labels = nn.Embedding(config.classes + 1, width)  # the last is no label
        self.blocks = nn.ModuleList(DiTBlock(width, config.heads, config.d_ff) for _ in range(config.layers))
        self.modulation = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, in_patch * (1 + config.learned_variance))
        for layer in (self.modulation, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        times: Int[Tensor, " batch"],
        labels: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch outputs height width"]:
        r"""ε̂ of each picture. Raises: ValueError when the pictures have another size than the model."""
        size = (self.config.channels, self.config.side, self.config.side)
        if x.shape[1:] != size:
            raise ValueError(f"x has pictures of shape {tuple(x.shape[1:])}, expected {size}")
        condition = self.clock(times) + self.labels(labels)
        tokens = self.embedding(x) + self.positions
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(F.silu(condition)).unsqueeze(1).chunk(2, dim=-1)
        patches = self.output(modulate(tokens, shift, scale))
        return unpatchify(patches, self.config.side, self.config.side, self.config.patch)
