r"""Pictures as words: every patch is called by the nearest of a few typical patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from torch import Tensor

from ml_course.multimodal.patches import patchify, unpatchify


@dataclass(frozen=True, eq=False)
class Codebook:
    r"""The typical patches, found by k-means; a patch's token is the number of the one nearest to it.

    token = argmin_k ‖patch − word_k‖²

    What MaskGIT and Muse do with a network that learns words and pictures together, at the size of digits.
    Source: the idea gray1984vector; vandenoord2017neural learns the patches' features as well.
    """

    words: Float[Tensor, "vocab features"]
    patch: int

    @classmethod
    def learn(
        cls, pictures: Float[Tensor, "batch channels height width"], vocab: int, patch: int, seed: int = 0
    ) -> Codebook:
        r"""The `vocab` means of k-means over all patches. Raises: ValueError as `patchify`.

        >>> pictures = torch.tensor([0.0, 1.0]).repeat_interleave(16).reshape(2, 1, 4, 4)
        >>> Codebook.learn(pictures, vocab=2, patch=2).words.sort(0).values
        tensor([[0., 0., 0., 0.],
                [1., 1., 1., 1.]])
        """
        patches = patchify(pictures, patch).flatten(0, 1)
        means = KMeans(vocab, n_init=1, random_state=seed, max_iter=50).fit(patches.cpu().numpy())
        return cls(torch.from_numpy(means.cluster_centers_).to(pictures), patch)

    def encode(self, pictures: Float[Tensor, "batch channels height width"]) -> Int[Tensor, "batch patches"]:
        r"""The token of each patch. Cost: patches·vocab·features."""
        patches = patchify(pictures, self.patch)
        return torch.cdist(patches, self.words.expand(len(patches), -1, -1)).argmin(-1)

    def decode(
        self, tokens: Int[Tensor, "batch patches"], height: int, width: int
    ) -> Float[Tensor, "batch channels height width"]:
        r"""The picture that the words make: what is left of one that was encoded."""
        return unpatchify(self.words[tokens], height, width, self.patch)
