r"""Layers with weights of their own: the convolutional layer, and the block that adds what it finds to what it got."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml_course.cnn.convolution import Pair, _check, _pair, conv2d


class Conv2d(nn.Module):
    r"""A convolutional layer: `filters` kernels, each over all channels of its group, and a bias for each.

    y = conv2d(x, weight, bias): filters · (channels / groups) · kernel² weights and `filters` biases, for pictures of
    any size.

    kernel, stride, padding, dilation   in pixels: one number for both axes, or (down, across)
    Weights begin as He's normal numbers of variance 2 / inputs of one output, biases as zeros (he2015delving, eq. 10).
    The parameters are called as in torch.nn.Conv2d and can be exchanged with it by `load_state_dict`.

    Raises: ValueError when channels or filters are not divisible by groups. Cost: as `conv2d`.

    >>> layer = Conv2d(3, 8, kernel=5, padding=2)
    >>> layer(torch.randn(2, 3, 32, 20)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([2, 8, 32, 20]), 608)
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        kernel: Pair,
        *,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        shape = torch.Size((filters, channels // max(groups, 1), *_pair(kernel)))
        _check(channels, shape, groups)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        self.bias = nn.Parameter(torch.zeros(filters)) if bias else None

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch filters out_height out_width"]:
        return conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def extra_repr(self) -> str:
        filters, channels, *kernel = self.weight.shape
        told = f"{channels * self.groups}, {filters}, kernel={tuple(kernel)}"
        usual = dict(stride=1, padding=0, dilation=1, groups=1)
        return told + "".join(f", {name}={getattr(self, name)}" for name in usual if getattr(self, name) != usual[name])


class ResidualBlock(nn.Module):
    r"""Two convolutions whose result is *added* to their input, so that the way back has a road without weights.

    y = relu(x + BN(conv(relu(BN(conv(x))))))

    Where the number of channels or the size changes, x goes through a convolution of 1 × 1 first (and its batch norm).
    With `residual=False` nothing is added: the plain network to compare with.

    stride   of the first convolution, in pixels; 2 halves height and width
    Cost: O(height·width·9·filters·(channels + filters)). Source: he2016deep, eq. 1 and 2, figure 2, option B.

    >>> ResidualBlock(16, 32, stride=2)(torch.randn(2, 16, 8, 8)).shape
    torch.Size([2, 32, 4, 4])
    """

    def __init__(self, channels: int, filters: int, *, stride: int = 1, residual: bool = True):
        super().__init__()
        self.first = Conv2d(channels, filters, kernel=3, stride=stride, padding=1, bias=False)
        self.second = Conv2d(filters, filters, kernel=3, padding=1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(filters), nn.BatchNorm2d(filters)  # their shift is the bias
        self.shortcut: nn.Module | None = None
        if residual:
            same = stride == 1 and channels == filters
            self.shortcut = (
                nn.Identity()
                if same
                else nn.Sequential(
                    Conv2d(channels, filters, kernel=1, stride=stride, bias=False), nn.BatchNorm2d(filters)
                )
            )

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch filters out_height out_width"]:
        change = self.second_norm(self.second(self.first_norm(self.first(x)).relu()))
        return (change if self.shortcut is None else change + self.shortcut(x)).relu()
