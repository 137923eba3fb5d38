r"""LeNet-5, the network that read cheques: as it is built today, and as it was published in 1998."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ml_course.cnn.convolution import conv2d
from ml_course.cnn.layers import Conv2d
from ml_course.cnn.pooling import avg_pool2d, max_pool2d

# Which of the six maps of S2 each of the sixteen maps of C3 reads: lecun1998gradient, table I.
C3_TABLE = (
    *[tuple(sorted((first + i) % 6 for i in range(3))) for first in range(6)],
    *[tuple(sorted((first + i) % 6 for i in range(4))) for first in range(6)],
    *[(0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)],
    (0, 1, 2, 3, 4, 5),
)

# Ten digits of 12 × 7 pixels, drawn for this course in the manner of the paper's figure 3.
DRAWN_DIGITS = """
..###.. ...#... ..###.. .#####. ....##. ####### ..###.. ####### ..###.. ..###..
.#...#. ..##... .#...#. #.....# ...#.#. #...... .#...#. ......# .#...#. .#...#.
#.....# .#.#... #.....# ......# ...#.#. #...... #...... ......# #.....# #.....#
#.....# ...#... ......# ......# ..#..#. #...... #...... .....#. #.....# #.....#
#.....# ...#... ......# .....#. ..#..#. #.###.. #...... .....#. .#...#. #.....#
#.....# ...#... .....#. ..###.. .#...#. ##...#. #.###.. ....#.. ..###.. .#...##
#.....# ...#... ....#.. .....#. .#...#. ......# ##...#. ....#.. .#...#. ..###.#
#.....# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
#.....# ...#... .#..... ......# .....#. #.....# #.....# ..#.... #.....# ......#
.#...#. ...#... #...... #.....# .....#. .#...#. .#...#. ..#.... .#...#. .#...#.
..###.. .#####. ####### .#####. .....#. ..###.. ..###.. ..#.... ..###.. ..###..
"""


def drawn_digits() -> Float[Tensor, "classes features"]:
    r"""The ten fixed targets of 84 pixels, +1 for ink and −1 for paper, that the output of 1998 compares with.

    >>> drawn_digits().shape, sorted(set(drawn_digits().flatten().tolist()))
    (torch.Size([10, 84]), [-1.0, 1.0])
    """
    rows = [line.split() for line in DRAWN_DIGITS.strip().splitlines()]
    return torch.tensor(
        [[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]] for digit in range(10)]
    )


@dataclass(frozen=True)
class LeNet5Config:
    r"""What distinguishes the LeNet-5 of 1998 from the one that is built today.

    >>> LeNet5Config.ORIGINAL.sparse_c3, LeNet5Config.MODERN.pooling
    (True, 'max')
    """

    sparse_c3: bool = False  # a map of C3 reads 3, 4 or 6 of the maps of S2 (table I); else all six
    pooling: str = "max"  # of S2 and S4: "max", "average", or "trained": the mean times a weight, plus a bias
    fixed_code: bool = False  # the output is minus the squared distance to ten drawn digits; else a linear layer
    activation: str = "relu"  # or "tanh": 1.7159·tanh(2a/3), the paper's

    MODERN: ClassVar[LeNet5Config]  # 61,706 parameters
    ORIGINAL: ClassVar[LeNet5Config]  # 60,000 parameters, and 840 fixed numbers

    def __post_init__(self):
        for name, choices in (("pooling", ("max", "average", "trained")), ("activation", ("relu", "tanh"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} = {getattr(self, name)!r}, expected one of {', '.join(choices)}")


LeNet5Config.MODERN = LeNet5Config()
LeNet5Config.ORIGINAL = LeNet5Config(sparse_c3=True, pooling="trained", fixed_code=True, activation="tanh")


class LeNet5(nn.Module):
    r"""Reads a handwritten digit: two rounds of convolution and pooling, then three layers that look at everything.

    32×32 → C1: 6 maps of 28×28 → S2: 14×14 → C3: 16 maps of 10×10 → S4: 5×5 → C5: 120 → F6: 84 → 10 scores

    Pictures have one channel and 32 × 32 pixels (pad 28 × 28 by two on each side). The result holds one score per
    digit, larger is more likely: logits for a cross-entropy. The paper trains its distances with a loss of its own
    (eq. 9); here they are negated and used as logits.

    Cost: 416,520 multiplications a picture for the modern form. Source: lecun1998gradient, section II-B.

    >>> network = LeNet5()
    >>> network(torch.zeros(3, 1, 32, 32)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([3, 10]), 61706)
    >>> sum(p.numel() for p in LeNet5(LeNet5Config.ORIGINAL).parameters())
    60000
    """

    def __init__(self, config: LeNet5Config = LeNet5Config.MODERN):
        super().__init__()
        self.config = config
        self.c1 = Conv2d(1, 6, kernel=5)
        self.s2 = _Subsampling(6, config.pooling)
        self.c3 = _SparseConv2d(C3_TABLE, kernel=5) if config.sparse_c3 else Conv2d(6, 16, kernel=5)
        self.s4 = _Subsampling(16, config.pooling)
        self.c5 = Conv2d(16, 120, kernel=5)  # its maps are 1 × 1: on this size of picture, a fully connected layer
        self.f6 = nn.Linear(120, 84)
        self.output = _DistanceToDrawing() if config.fixed_code else nn.Linear(84, 10)

    def forward(self, pictures: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch classes"]:
        if pictures.shape[2:] != (32, 32):
            height, width = pictures.shape[2:]
            raise ValueError(f"pictures are {height} × {width}, expected 32 × 32: pad digits of 28 × 28 by 2")
        x = self.s2(self._squash(self.c1(pictures)))
        if self.config.pooling == "trained":
            x = self._squash(x)  # with a weight and a bias, S2 is a layer of neurons of its own
        x = self.s4(self._squash(self.c3(x)))
        if self.config.pooling == "trained":
            x = self._squash(x)
        x = self._squash(self.c5(x)).flatten(1)
        return self.output(self._squash(self.f6(x)))

    def _squash(self, sums: Tensor) -> Tensor:
        return sums.relu() if self.config.activation == "relu" else 1.7159 * torch.tanh(2 / 3 * sums)


class _Subsampling(nn.Module):
    """Pooling of 2 × 2; "trained" has a weight and a bias per map, 2·channels parameters."""

    def __init__(self, channels: int, pooling: str):
        super().__init__()
        self.pooling = pooling
        if pooling == "trained":
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.pooling == "max":
            return max_pool2d(x, 2)
        mean = avg_pool2d(x, 2)
        # The paper sums the four instead of averaging them: the weight is four times ours.
        return mean * self.weight[:, None, None] + self.bias[:, None, None] if self.pooling == "trained" else mean


class _SparseConv2d(nn.Module):
    """A convolution whose filters read some channels only; kernels that are not in the table do not exist."""

    def __init__(self, table: tuple[tuple[int, ...], ...], kernel: int):
        super().__init__()
        filters = torch.tensor([filter for filter, channels in enumerate(table) for _ in channels])
        channels = torch.tensor([channel for channels in table for channel in channels])
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("channels", channels, persistent=False)
        self.weight = nn.Parameter(torch.empty(len(filters), kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(len(table)))
        inputs = torch.tensor([len(row) * kernel**2 for row in table])[filters]
        with torch.no_grad():
            self.weight.normal_().mul_((1 / inputs).sqrt()[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        full = self.weight.new_zeros(len(self.bias), x.shape[1], *self.weight.shape[1:])
        return conv2d(x, full.index_put((self.filters, self.channels), self.weight), self.bias)


class _DistanceToDrawing(nn.Module):
    """Minus the squared distance to each drawn digit; the 840 numbers of the drawings are not learned."""

    def __init__(self):
        super().__init__()
        self.register_buffer("drawings", drawn_digits())

    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, None, :] - self.drawings).square().sum(-1)
