r"""Pictures: the IDX format of MNIST and its kin, and two photographs."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from sklearn import datasets

from ml_course.data.published import FASHION_MNIST, MNIST
from ml_course.data.sources import Source, found, is_here, locate
from ml_course.data.splitting import Split

# What the third byte of an IDX file calls the type of its numbers; longer ones have their highest byte first.
IDX_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


@dataclass(frozen=True)
class Images:
    r"""Labelled pictures, in the order of axes that torch's convolutions expect."""

    pixels: Float[np.ndarray, "samples channels height width"]  # float32, from 0 to 1
    labels: Int[np.ndarray, " samples"]  # 0 … classes − 1
    classes: tuple[str, ...] = ()  # name of each label

    def rows(self, chosen: np.ndarray) -> Images:
        r"""The samples at these numbers, or where these bools are True."""
        return replace(self, pixels=self.pixels[chosen], labels=self.labels[chosen])

    def contents(self) -> np.ndarray:
        r"""What makes two pictures the same, for `split`."""
        return self.pixels.reshape(len(self.pixels), -1)


def mnist(folder: str | os.PathLike | None = None) -> Split[Images]:
    r"""MNIST: handwritten digits of 28 × 28 grey values, from 0 (paper) to 1 (ink); 60,000 to learn, 10,000 to test.

    Where only the 10,000 test pictures are at hand, every fifth of them, counted from the first, is for testing and
    the other 8,000 for learning: a rule without chance. (Their second half is harder than the first, so a plain cut
    would not be fair. One writer's digits may stand in both parts, which the full set avoids.)

    folder   as `ml_course.data.sources` says; downloads 12 MB when None and nothing is here
    Raises: FileNotFoundError, ValueError as `locate`. Source: lecun1998gradient.
    """
    return _idx_pair(MNIST, tuple("0123456789"), folder)


def fashion_mnist(folder: str | os.PathLike | None = None) -> Split[Images]:
    r"""Fashion-MNIST: ten kinds of clothes, in the form of MNIST but harder; the same rules as `mnist`, 31 MB.

    Source: xiao2017fashion.
    """
    kinds = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    return _idx_pair(FASHION_MNIST, kinds, folder)


def _idx_pair(source: Source, classes: tuple[str, ...], folder: str | os.PathLike | None) -> Split[Images]:
    def load(part: str) -> Images:
        pixels, labels = (read_idx(_idx_file(source, part, kind, folder)) for kind in ("images-idx3", "labels-idx1"))
        return Images(np.float32(pixels[:, None]) / np.float32(255), labels.astype(np.int64), classes)

    def here(part: str) -> bool:
        return any(is_here(source, f"{part}-images-idx3-ubyte{end}", folder) for end in ("", ".gz"))

    if here("train") or not here("t10k"):
        return Split(load("train"), load("t10k"))
    images = load("t10k")
    test = np.arange(len(images.labels)) % 5 == 0
    return Split(images.rows(~test), images.rows(test))


def _idx_file(source: Source, part: str, kind: str, folder: str | os.PathLike | None) -> Path:
    """The published file, or the same unpacked where only that is there; its header tells whether it is whole."""
    name = f"{part}-{kind}-ubyte"
    unpacked = found(source, name, folder)
    return unpacked if unpacked and not is_here(source, f"{name}.gz", folder) else locate(source, f"{name}.gz", folder)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    r"""An array from an IDX file, plain or packed by gzip.

    Two zero bytes, one for the type of number, one for how many axes; the length of each axis as a 32-bit number,
    highest byte first; then all numbers, the last axis running fastest.

    Raises: ValueError when the file is no IDX file, or has fewer or more numbers than it announces.
    """
    path = Path(path)
    packed = path.read_bytes()
    try:
        content = gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or altered: gzip cannot unpack it ({error}); fetch it anew") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00")
    kind, axes = np.dtype(IDX_TYPES[content[2]]), content[3]
    header = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:header].ljust(4 * axes, b"\0"), ">u4").tolist())
    expected = header + kind.itemsize * math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{path} is truncated or altered: {len(content):,} bytes unpacked, "
            f"expected {expected:,} for shape {shape}; fetch it anew"
        )
    return np.frombuffer(content, kind, offset=header).reshape(shape).astype(kind.newbyteorder("="))


def sample_photographs() -> dict[str, Float[np.ndarray, "channels height width"]]:
    r"""Two colour photographs that come with scikit-learn, a temple and a flower: red, green, blue from 0 to 1.

    >>> {name: picture.shape for name, picture in sample_photographs().items()}
    {'temple': (3, 427, 640), 'flower': (3, 427, 640)}
    """
    pictures = datasets.load_sample_images().images
    return {
        name: np.float32(picture.transpose(2, 0, 1)) / np.float32(255)
        for name, picture in zip(("temple", "flower"), pictures, strict=True)
    }
