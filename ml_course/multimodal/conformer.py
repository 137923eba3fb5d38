r"""The Conformer: attention for what is far apart, a convolution for what is near, between two half steps."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.cnn import conv1d
from ml_course.transformer import FeedForward, LayerNorm


class ConvolutionModule(nn.Module):
    r"""Looks at a few neighbouring frames, each feature with a filter of its own.

    u, g = two linear maps of LayerNorm(x);  v = u ⊙ σ(g);  y = swish(BatchNorm(v ∗ filters)) W₂ᵀ

    The gate σ(g) says what may pass. The filters are *depthwise*: feature d of y sees feature d of v alone, so they
    have kernel·d_model weights; a full convolution would have kernel·d_model². The linear maps before and behind
    ("pointwise convolutions") mix the features.

    d_model   width of a frame
    kernel    frames that a filter sees, an odd number; 32 in the paper, of 40 ms each, and 31 in most implementations
    `mask` is True at real frames: filler is made zero before the filters slide over it. The batch norm counts it as
    frames, though, while it learns: batches should be of similar length.
    Raises: ValueError when kernel is even or not positive. Cost: O(time·d_model·(kernel + 3·d_model)).
    Source: gulati2020conformer, section 2.2 and figure 2, without biases, as published implementations have it.

    >>> ConvolutionModule(8, kernel=3)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, d_model: int, kernel: int = 31, *, dropout: float | int = 0.0):
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel = {kernel}, expected an odd number: as many frames before as after")
        self.norm = LayerNorm(d_model)
        self.gated = nn.Linear(d_model, 2 * d_model, bias=False)
        self.filters = nn.Parameter(torch.empty(d_model, 1, kernel))
        self.batch_norm = nn.BatchNorm1d(d_model)
        self.output = nn.Linear(d_model, d_model, bias=False)
        self.dropout = nn.Dropout(float(dropout))
        nn.init.normal_(self.filters, std=kernel**-0.5)  # sums of `kernel` numbers of variance 1 have it, too

    def forward(
        self, x: Float[Tensor, "batch time d_model"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        v = F.glu(self.gated(self.norm(x)), dim=-1)
        if mask is not None:
            v = v * mask[..., None]
        d_model, _, kernel = self.filters.shape
        v = conv1d(v.mT, self.filters, padding=kernel // 2, groups=d_model)
        return self.dropout(self.output(F.silu(self.batch_norm(v)).mT))


class ConformerBlock(nn.Module):
    r"""Half a step of the position-wise network, attention, convolution, the other half step, and a norm.

    x ← x + ½ FF₁(x);  x ← x + attention(x);  x ← x + convolution(x);  y = LayerNorm(x + ½ FF₂(x))

    Each branch begins with a LayerNorm of its own (pre-norm); the activation of both networks is swish, z·σ(z).

    d_model     width of a frame
    attention   a module called as attention(x, None, mask); relative positions in the paper, as
                `ml_course.objectives.RelativeAttention` has them; `MultiHeadAttention` without any: the convolution
                can tell order by itself
    d_ff        width inside the position-wise networks; 4·d_model when None
    kernel      of the `ConvolutionModule`
    dropout     of what each branch adds
    Cost: O(time²·d_model + time·d_model·(7·d_model + 4·d_ff + kernel)). Source: gulati2020conformer, eq. 1.

    >>> from ml_course.attention import MultiHeadAttention
    >>> ConformerBlock(8, MultiHeadAttention(8, 2), kernel=3)(torch.randn(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        d_model: int,
        attention: nn.Module,
        *,
        d_ff: int | None = None,
        kernel: int = 31,
        dropout: float | int = 0.0,
    ):
        super().__init__()
        d_ff = 4 * d_model if d_ff is None else d_ff
        self.first_norm, self.attention_norm, self.second_norm, self.norm = (LayerNorm(d_model) for _ in range(4))
        self.first, self.second = (FeedForward(d_model, d_ff, activation=F.silu) for _ in range(2))
        self.attention, self.dropout = attention, nn.Dropout(float(dropout))
        self.convolution = ConvolutionModule(d_model, kernel, dropout=dropout)

    def forward(
        self, x: Float[Tensor, "batch time d_model"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        r"""`mask` is True at real frames; nobody looks at the others. All are real when None."""
        seen = None if mask is None else mask[:, None].expand(-1, x.shape[1], -1)
        x = x + self.dropout(self.first(self.first_norm(x))) / 2
        x = x + self.dropout(self.attention(self.attention_norm(x), None, seen))
        x = x + self.convolution(x, mask)
        return self.norm(x + self.dropout(self.second(self.second_norm(x))) / 2)
