r"""What ELMo learns from: two language models, one that guesses the next word and one that guesses the word before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.elmo.characters import Spelled, spell_sentences
from ml_course.elmo.model import Elmo
from ml_course.text import Padded, Vocabulary, pad


class Targets(NamedTuple):
    r"""What each place shall guess, and where there is something to guess."""

    ahead: Int[Tensor, "batch time"]
    ahead_mask: Bool[Tensor, "batch time"]
    back: Int[Tensor, "batch time"]
    back_mask: Bool[Tensor, "batch time"]


def language_model_targets(
    tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], filler: int = Vocabulary.pad
) -> Targets:
    r"""For each word the one after it, for the forward model, and the one before it, for the backward model.

    aheadₜ = xₜ₊₁, nothing at a row's last word;  backₜ = xₜ₋₁, nothing at its first

    mask     True at words; each row's words come first, then its filler
    filler   stands where there is nothing to guess
    Source: peters2018deep, section 3.1.

    >>> tokens = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    >>> targets = language_model_targets(tokens, mask=tokens > 0)
    >>> targets.ahead.tolist(), targets.back.tolist()
    ([[7, 8, 3, 0], [9, 3, 0, 0]], [[0, 2, 7, 8], [0, 2, 9, 0]])
    """
    ahead, ahead_mask = F.pad(tokens[:, 1:], (0, 1)), F.pad(mask[:, 1:], (0, 1))
    back, back_mask = F.pad(tokens[:, :-1], (1, 0)), mask & F.pad(mask[:, :-1], (1, 0))
    return Targets(ahead.masked_fill(~ahead_mask, filler), ahead_mask, back.masked_fill(~back_mask, filler), back_mask)


class Sentences(NamedTuple):
    r"""A batch to learn from: the letters that are read, and the words that are guessed."""

    letters: Int[Tensor, "batch time letters"]
    tokens: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]


def language_model_batch(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary, letters: int) -> Sentences:
    r"""Sentences with their boundaries as letters and as numbers of the vocabulary.

    Words the vocabulary lacks are read by their letters like any other, and guessed as <unk>.
    letters   numbers a word

    >>> batch = language_model_batch([["a", "b"]], Vocabulary("a"), letters=3)
    >>> batch.tokens.tolist(), batch.letters.shape
    ([[2, 4, 1, 3]], torch.Size([1, 4, 3]))
    """
    spelled: Spelled = spell_sentences(sentences, letters)
    padded: Padded = pad([vocabulary.encode(sentence, bos=True, eos=True) for sentence in sentences])
    return Sentences(spelled.letters, padded.ids, spelled.mask)


class BidirectionalLM(nn.Module):
    r"""Two language models that share the vectors of words and the softmax, and nothing else.

    Σₜ log P(xₜ | x₁ … xₜ₋₁) + log P(xₜ | xₜ₊₁ … x_time)

    elmo    the network whose last layers' outputs guess
    vocab   words that can be guessed
    Cost: beside that of ELMo O(words·d_model·vocab) for the softmax. The original, with 800,000 words, sums over 8,192
    words drawn at random instead. Source: peters2018deep, section 3.1.

    >>> from ml_course.elmo.model import ElmoConfig
    >>> model = BidirectionalLM(Elmo(ElmoConfig.TINY), vocab=6)
    >>> batch = language_model_batch([["a", "b"], ["b"]], Vocabulary("ab"), letters=8)
    >>> model(batch).shape
    torch.Size([])
    """

    def __init__(self, elmo: Elmo, vocab: int):
        super().__init__()
        self.elmo = elmo
        self.output = nn.Linear(elmo.config.d_model, vocab)
        self.dropout = nn.Dropout(elmo.config.dropout)

    def surprises(self, batch: Sentences) -> tuple[Float[Tensor, " ahead"], Float[Tensor, " back"]]:
        r"""−log P of every word that is guessed, in nats: by the forward model, and by the backward model."""
        targets = language_model_targets(batch.tokens, batch.mask)
        ahead, back = self.dropout(self.elmo(batch.letters, batch.mask)[-1]).chunk(2, dim=-1)
        sides = (ahead, targets.ahead, targets.ahead_mask), (back, targets.back, targets.back_mask)
        return tuple(
            F.cross_entropy(self.output(states[real]), words[real], reduction="none") for states, words, real in sides
        )

    def forward(self, batch: Sentences) -> Float[Tensor, ""]:
        r"""The mean surprise of both models, in nats a word."""
        ahead, back = self.surprises(batch)
        return (ahead.mean() + back.mean()) / 2


@torch.no_grad()
def nats_per_word(model: BidirectionalLM, batches: Sequence[Sentences]) -> tuple[float, float]:
    r"""Mean surprise at a word over all sentences, of the forward and of the backward model; in evaluation mode.

    `ml_course.rnn.perplexity` takes the results. Raises: ValueError when there is no batch.
    """
    if not len(batches):
        raise ValueError("batches is empty, expected at least one")
    was_training = model.training
    model.eval()
    found = [model.surprises(batch) for batch in batches]
    model.train(was_training)
    ahead, back = (torch.cat([pair[side] for pair in found]).mean().item() for side in (0, 1))
    return ahead, back
