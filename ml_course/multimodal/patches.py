r"""Pictures as sequences: cut into square patches, row by row, and put together again."""

from __future__ import annotations

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def patchify(
    pictures: Float[Tensor, "batch channels height width"], patch: int
) -> Float[Tensor, "batch patches features"]:
    r"""Cuts pictures into squares of patch × patch pixels and makes each a row of numbers.

    features = channels·patch²,  patches = (height/patch)·(width/patch)

    Patches come as one reads: from left to right, then the next row. Inside a patch come all pixels of the first
    channel, row by row, then those of the next: the order in which a convolution's filter holds its weights.
    Raises: ValueError when height or width is no multiple of patch. Cost: one copy. Source: dosovitskiy2021image,
    section 3.1.

    >>> import torch
    >>> patchify(torch.arange(16.0).reshape(1, 1, 4, 4), patch=2)
    tensor([[[ 0.,  1.,  4.,  5.],
             [ 2.,  3.,  6.,  7.],
             [ 8.,  9., 12., 13.],
             [10., 11., 14., 15.]]])
    """
    height, width = pictures.shape[-2:]
    _check_patch(height, width, patch)
    return rearrange(pictures, "b c (rows i) (columns j) -> b (rows columns) (c i j)", i=patch, j=patch)


def unpatchify(
    patches: Float[Tensor, "batch patches features"], height: int, width: int, patch: int
) -> Float[Tensor, "batch channels height width"]:
    r"""Puts patches together again: the inverse of `patchify`.

    height, width   of the pictures, in pixels; the number of channels follows from the length of a patch
    Raises: ValueError when these sizes and the patches do not fit. Cost: one copy.

    >>> import torch
    >>> pictures = torch.randn(2, 3, 4, 6)
    >>> torch.equal(unpatchify(patchify(pictures, 2), 4, 6, patch=2), pictures)
    True
    """
    _check_patch(height, width, patch)
    rows, columns = height // patch, width // patch
    count, features = patches.shape[-2:]
    if count != rows * columns or features % patch**2:
        raise ValueError(
            f"patches has {count} rows of {features} numbers, expected {rows * columns} rows, "
            f"each a multiple of {patch**2} numbers, for {height} × {width} pixels"
        )
    return rearrange(
        patches, "b (rows columns) (c i j) -> b c (rows i) (columns j)", rows=rows, columns=columns, i=patch, j=patch
    )


class PatchEmbedding(nn.Module):
    r"""Each patch through one and the same linear layer: what a table of word vectors is to words.

    x_n = patch_n Wᵀ + b,  W: (d_model, channels·patch²)

    The same numbers as a convolution with filters of patch × patch pixels and a stride of `patch`.
    Cost: height·width·channels·d_model multiplications a picture, whatever the size of a patch.
    Source: dosovitskiy2021image, eq. 1.

    >>> import torch
    >>> PatchEmbedding(channels=3, patch=4, d_model=8)(torch.randn(2, 3, 8, 12)).shape
    torch.Size([2, 6, 8])
    """

    def __init__(self, channels: int, patch: int, d_model: int):
        super().__init__()
        self.patch, self.linear = patch, nn.Linear(channels * patch**2, d_model)

    def forward(self, pictures: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches d_model"]:
        return self.linear(patchify(pictures, self.patch))


def _check_patch(height: int, width: int, patch: int) -> None:
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"patch = {patch}, expected a divisor of both sides of {height} × {width} pixels")
