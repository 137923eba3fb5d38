r"""A word as its letters: numbered bytes, and a convolutional network that makes one vector of them.

The numbering is that of the original: 0 stands where there is no word, 1 to 256 are the bytes of UTF-8, and five signs
follow that no text can contain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.elmo.highway import Highway

CHARACTERS = 262  # rows of the original's table
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, FILLER = range(257, 262)
BOS, EOS = "<bos>", "<eos>"


class Spelled(NamedTuple):
    r"""Sentences as words of letters, and which words are real."""

    letters: Int[Tensor, "batch time letters"]
    mask: Bool[Tensor, "batch time"]  # True = a word, or a sentence's begin or end

    def to(self, device: torch.device | str) -> Spelled:
        return Spelled(self.letters.to(device), self.mask.to(device))


def spell(word: str, length: int = 50) -> list[int]:
    r"""The numbers of a word's bytes between a sign for its begin and one for its end, filled up; a long one is cut.

    "<bos>" and "<eos>" are not spelled: each is a single sign of its own. Every other string is, so that there is no
    unknown word.

    length   numbers in the result
    Raises: ValueError when length is below 3. Source: peters2018deep, in the numbering of their program.

    >>> spell("cat", length=7)
    [259, 100, 98, 117, 260, 261, 261]
    >>> spell("<bos>", length=4)
    [259, 257, 260, 261]
    """
    if length < 3:
        raise ValueError(f"length = {length}, expected at least 3: one byte between begin and end")
    if word in (BOS, EOS):
        inside = [BEGIN_SENTENCE if word == BOS else END_SENTENCE]
    else:
        inside = [byte + 1 for byte in word.encode("utf-8")][: length - 2]
    spelled = [BEGIN_WORD, *inside, END_WORD]
    return spelled + [FILLER] * (length - len(spelled))


def spell_sentences(sentences: Sequence[Sequence[str]], length: int = 50, *, boundaries: bool = True) -> Spelled:
    r"""Sentences side by side, the shorter ones filled up with words of zeros.

    length       numbers a word
    boundaries   put a "<bos>" before and an "<eos>" behind each sentence
    Raises: ValueError when there is no sentence, or length is below 3.

    >>> letters, mask = spell_sentences([["a", "b"], ["c"]], length=3, boundaries=False)
    >>> letters.tolist(), mask.tolist()
    ([[[259, 98, 260], [259, 99, 260]], [[259, 100, 260], [0, 0, 0]]], [[True, True], [True, False]])
    """
    if not len(sentences):
        raise ValueError("sentences is empty, expected at least one")
    rows = [[BOS, *sentence, EOS] if boundaries else sentence for sentence in sentences]
    known: dict[str, list[int]] = {}
    for row in rows:
        for word in row:
            if word not in known:
                known[word] = spell(word, length)
    time = max(len(row) for row in rows)
    letters = [[known[word] for word in row] + [[0] * length] * (time - len(row)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    return Spelled(torch.tensor(letters).reshape(len(rows), time, length), torch.arange(time) < lengths[:, None])


class CharacterCNN(nn.Module):
    r"""A word's vector from its letters: filters for pieces of words, the best place of each, highways, a projection.

    y = [max over places of relu(conv(E[letters]))] for all filters;  word = W highway(highway(y)) + b

    filters       (width in letters, how many) for each width
    d_character   length of a letter's vector
    d_model       length of a word's vector
    highways      highway layers
    Each distinct word of a batch is computed once. Words of zeros get the same treatment as any other: mask them.

    Raises: ValueError when a filter is wider than the words are long. Cost: O(distinct words·letters·d_character·Σ
    widths·filters + distinct words·highways·(Σ filters)²). Source: kim2016character with the changes of
    jozefowicz2016exploring and peters2018deep, section 3.4.

    >>> layer = CharacterCNN(filters=((1, 4), (3, 8)), d_character=5, d_model=6)
    >>> layer(spell_sentences([["a", "cat"], ["sat"]], length=8).letters).shape
    torch.Size([2, 4, 6])
    """

    def __init__(
        self,
        filters: Sequence[tuple[int, int]],
        d_character: int,
        d_model: int,
        *,
        highways: int = 2,
        characters: int = CHARACTERS,
    ):
        super().__init__()
        self.embedding = nn.Embedding(characters, d_character)
        self.convolutions = nn.ModuleList(nn.Conv1d(d_character, count, width) for width, count in filters)
        features = sum(count for _, count in filters)
        self.highways = nn.Sequential(*(Highway(features) for _ in range(highways)))
        self.projection = nn.Linear(features, d_model)

    def forward(self, letters: Int[Tensor, "*batch letters"]) -> Float[Tensor, "*batch d_model"]:
        r"""A vector for each word."""
        widest = max(convolution.kernel_size[0] for convolution in self.convolutions)
        if letters.shape[-1] < widest:
            raise ValueError(
                f"letters has {letters.shape[-1]} numbers a word, expected {widest} or more for the filters"
            )
        words, where = letters.flatten(0, -2).unique(dim=0, return_inverse=True)
        pieces = self.embedding(words).mT
        best = [convolution(pieces).amax(-1).relu() for convolution in self.convolutions]
        vectors = self.projection(self.highways(torch.cat(best, dim=-1)))
        return vectors[where].reshape(*letters.shape[:-1], -1)
