r"""AlexNet, the network that made vision change sides: in two halves as of 2012, and in one tower as of 2014."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.cnn.convolution import output_size
from ml_course.cnn.layers import Conv2d
from ml_course.cnn.pooling import max_pool2d


@dataclass(frozen=True)
class AlexNetConfig:
    r"""Sizes of an AlexNet. Build the published ones with `torch.device("meta")` when only the shapes are of interest.

    >>> AlexNetConfig.TWO_GROUPS_2012.filters
    (96, 256, 384, 384, 256)
    """

    filters: tuple[int, int, int, int, int] = (64, 192, 384, 256, 256)  # of the five convolutions
    groups: tuple[int, int, int, int, int] = (1, 1, 1, 1, 1)  # 2 where the halves, one per card, did not speak
    padding: int = 2  # of the first convolution, in pixels
    size: int = 224  # height and width of the pictures, in pixels
    hidden: int = 4096  # width of the two fully connected layers
    classes: int = 1000
    normalise: bool = False  # local response normalisation after the first two convolutions
    dropout: float = 0.5  # probability that an output of a hidden layer is left out while training

    ONE_TOWER_2014: ClassVar[AlexNetConfig]  # 61,100,840 parameters
    TWO_GROUPS_2012: ClassVar[AlexNetConfig]  # 60,965,224 parameters
    TINY: ClassVar[AlexNetConfig]


AlexNetConfig.ONE_TOWER_2014 = AlexNetConfig()
# The paper says 224, but its first map is 55 wide: that takes 227, or some padding it does not mention.
AlexNetConfig.TWO_GROUPS_2012 = AlexNetConfig((96, 256, 384, 384, 256), (1, 2, 1, 2, 2), 0, 227, normalise=True)
AlexNetConfig.TINY = AlexNetConfig((4, 6, 8, 8, 6), size=67, hidden=16, classes=5)


class AlexNet(nn.Module):
    r"""Names what a photograph shows: five convolutions with three poolings, then three fully connected layers.

    conv 11×11 stride 4 → pool → conv 5×5 → pool → conv 3×3 → conv 3×3 → conv 3×3 → pool → hidden → hidden → classes

    ReLU after each layer but the last; pools are 3 × 3 with stride 2, so that they overlap. The result holds logits.
    Raises: ValueError when pictures are not (batch, 3, size, size).
    Source: krizhevsky2012imagenet, section 3, the order of layers and `normalise` as in its section 3.5,
    dropout as in 4.2; the single tower: krizhevsky2014weird, as torchvision builds it, but for its dropout, which
    stands before each hidden layer instead of behind.

    >>> sum(p.numel() for p in AlexNet(AlexNetConfig.TINY).parameters())
    3993
    """

    def __init__(self, config: AlexNetConfig = AlexNetConfig.ONE_TOWER_2014):
        super().__init__()
        self.config = config
        shapes = ((11, 4, config.padding), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))  # kernel, stride, padding
        self.convolutions, size, channels = nn.ModuleList(), config.size, 3
        for place, (kernel, stride, padding) in enumerate(shapes):
            layer = Conv2d(
                channels, config.filters[place], kernel, stride=stride, padding=padding, groups=config.groups[place]
            )
            self.convolutions.append(layer)
            size, channels = output_size(size, kernel, stride, padding), config.filters[place]
            if place in (0, 1, 4):
                size = output_size(size, 3, 2)
        widths = (channels * size**2, config.hidden, config.hidden, config.classes)
        self.connected = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, pictures: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        size = self.config.size
        if pictures.shape[2:] != (size, size):
            height, width = pictures.shape[2:]
            raise ValueError(f"pictures are {height} × {width}, expected {size} × {size}")
        x = pictures
        for place, layer in enumerate(self.convolutions):
            x = layer(x).relu()
            if place < 2 and self.config.normalise:
                x = F.local_response_norm(x, size=5, alpha=5e-4, beta=0.75, k=2.0)  # torch divides alpha by size
            if place in (0, 1, 4):
                x = max_pool2d(x, 3, stride=2)
        x = x.flatten(1)
        for layer in self.connected[:-1]:
            x = F.dropout(layer(x).relu(), self.config.dropout, self.training)
        return self.connected[-1](x)
