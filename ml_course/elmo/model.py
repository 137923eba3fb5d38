r"""ELMo: from letters to words, from words to a tower that reads forwards and one that reads backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.elmo.characters import CHARACTERS, CharacterCNN, spell_sentences
from ml_course.elmo.tower import Tower


@dataclass(frozen=True)
class ElmoConfig:
    r"""Sizes of the network. Build the published ones with `torch.device("meta")` when only their size matters.

    >>> with torch.device("meta"):
    ...     original = Elmo(ElmoConfig.ORIGINAL)
    >>> f"{sum(p.numel() for p in original.parameters()):,}"
    '93,600,864'
    """

    filters: tuple[tuple[int, int], ...] = ((1, 16), (2, 32), (3, 64), (4, 64))  # width in letters, how many
    letters: int = 20  # numbers a word, with its begin and end
    d_character: int = 16
    highways: int = 1
    d_model: int = 64  # of a word, and of each direction of each layer
    cells: int = 128  # of each LSTM
    layers: int = 2
    clip: float | int | None = None  # of cells and outputs
    dropout: float | int = 0.1  # of what each LSTM reads

    ORIGINAL: ClassVar[ElmoConfig]  # 93,600,864 parameters, without the softmax
    MEDIUM: ClassVar[ElmoConfig]  # 28,027,744
    SMALL: ClassVar[ElmoConfig]  # 13,593,312
    PAGE: ClassVar[ElmoConfig]  # what a page has time to train
    TINY: ClassVar[ElmoConfig]


_FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))
ElmoConfig.ORIGINAL = ElmoConfig(_FILTERS, letters=50, highways=2, d_model=512, cells=4096, clip=3.0)
ElmoConfig.MEDIUM = replace(ElmoConfig.ORIGINAL, highways=1, d_model=256, cells=2048)
ElmoConfig.SMALL = replace(ElmoConfig.ORIGINAL, highways=1, d_model=128, cells=1024)
ElmoConfig.PAGE = ElmoConfig(dropout=0.0)
ElmoConfig.TINY = ElmoConfig(((1, 4), (3, 4)), letters=8, d_character=4, d_model=6, cells=8, dropout=0.0)


class Elmo(nn.Module):
    r"""*Embeddings from language models*: layers + 1 vectors for each word, all but the lowest computed in context.

    layer 0: [x, x], x = CharacterCNN(letters);  layer j: [forward tower's j-th layer, backward tower's j-th layer]

    config   sizes
    The towers never see each other's outputs: each is to guess words that the other has read.

    Cost: that of the `CharacterCNN` and, for each word, direction and layer, O(cells·d_model). Source: peters2018deep,
    section 3.

    >>> model = Elmo(ElmoConfig.TINY)
    >>> letters, mask = spell_sentences([["to", "be"], ["or", "not", "to"]], length=8)
    >>> model(letters, mask).shape  # layer, sentence, word with both boundaries, both directions
    torch.Size([3, 2, 5, 12])
    """

    def __init__(self, config: ElmoConfig = ElmoConfig.TINY):
        super().__init__()
        self.config = config
        self.characters = CharacterCNN(
            config.filters, config.d_character, config.d_model, highways=config.highways, characters=CHARACTERS
        )
        sizes = {"clip": config.clip, "dropout": config.dropout}
        self.ahead, self.back = (
            Tower(config.d_model, config.cells, config.layers, backward=backward, **sizes) for backward in (False, True)
        )

    def forward(
        self, letters: Int[Tensor, "batch time letters"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "depth batch time both"]:
        r"""All layers' vectors of each word; filler gets zeros.

        mask   True at words, as `spell_sentences` gives it; words first, then filler. All are words when None
        """
        words = self.characters(letters)
        lengths = None if mask is None else mask.sum(1)
        if mask is not None:
            words = words * mask[..., None]
        contexts = torch.cat([self.ahead(words, lengths), self.back(words, lengths)], dim=-1)
        return torch.cat([words.repeat(1, 1, 2)[None], contexts])

    @torch.no_grad()
    def embed(self, sentences: Sequence[Sequence[str]], size: int = 64) -> list[Float[Tensor, "depth _ both"]]:
        r"""Each sentence's words in all layers, without gradient and without the boundaries that are put around it.

        size   sentences at a time
        In evaluation mode, whatever the mode before. Raises: ValueError when there is no sentence.
        """
        if not len(sentences):
            raise ValueError("sentences is empty, expected at least one")
        was_training = self.training
        self.eval()
        device = next(self.parameters()).device
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))  # alike lengths side by side
        found: dict[int, Tensor] = {}
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            spelled = spell_sentences([sentences[i] for i in rows], self.config.letters).to(device)
            layers = self(*spelled)
            for row, i in enumerate(rows):
                found[i] = layers[:, row, 1 : len(sentences[i]) + 1].clone()
        self.train(was_training)
        return [found[i] for i in range(len(sentences))]
