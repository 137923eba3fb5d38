r"""word2vec: vectors that can tell a word's real neighbours from words drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.elmo.contexts import (
    Pairs,
    cbow_contexts,
    keep_probability,
    noise_distribution,
    skipgram_pairs,
    subsample,
)
from ml_course.text import Batches, Vocabulary
from ml_course.training import fit


def negative_sampling_loss(
    given: Float[Tensor, "samples d_model"],
    asked: Float[Tensor, "samples d_model"],
    negatives: Float[Tensor, "samples negatives d_model"],
) -> Float[Tensor, ""]:
    r"""How badly scalar products tell each sample's real neighbour from words drawn at random; in nats a sample.

    −log σ(v·u) − Σᵢ log σ(−v·uᵢ), mean over the samples

    given       v, of the word (skip-gram) or the mean of the words (CBOW) that is given
    asked       u, of the word that really stood there
    negatives   uᵢ, of words that were drawn
    Cost: O(samples·negatives·d_model), whatever the size of the vocabulary. Source: mikolov2013distributed, eq. 4.

    >>> v = torch.tensor([[2.0, 0.0]])
    >>> negative_sampling_loss(v, asked=v, negatives=torch.zeros(1, 3, 2))  # log(1 + e⁻⁴) + 3·log 2
    tensor(2.0976)
    """
    real = F.logsigmoid((given * asked).sum(-1))
    drawn = F.logsigmoid(-torch.einsum("sd,snd->sn", given, negatives)).sum(-1)
    return -(real + drawn).mean()


class SkipGram(nn.Module):
    r"""Two vectors for each word: one as the word that is given, one as a word that is asked for.

    P(v stands near w | pair) = σ(given_w · asked_v)

    Asking for the words around the one in the middle. The first vectors are small and random, the second ones zeros,
    so that at the start the loss is (1 + negatives)·log 2, as word2vec begins.

    vocab     number of words
    d_model   length of a vector
    Source: mikolov2013efficient, mikolov2013distributed.

    >>> model = SkipGram(vocab=10, d_model=4)
    >>> words = torch.tensor([3, 5])
    >>> round(model(words, words, negatives=torch.tensor([[1, 2, 3], [7, 8, 9]])).item() / 0.6931, 2)
    4.0
    """

    def __init__(self, vocab: int, d_model: int):
        super().__init__()
        self.given = nn.Embedding(vocab, d_model)
        self.asked = nn.Embedding(vocab, d_model)
        nn.init.uniform_(self.given.weight, -0.5 / d_model, 0.5 / d_model)
        nn.init.zeros_(self.asked.weight)

    @property
    def vectors(self) -> Float[Tensor, "vocab d_model"]:
        r"""What is kept when the training is over."""
        return self.given.weight.detach()

    @staticmethod
    def pairs(sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator | None = None) -> Pairs:
        r"""Its samples of these sentences."""
        return skipgram_pairs(sentences, window, generator)

    def forward(
        self,
        given: Int[Tensor, " samples"],
        asked: Int[Tensor, " samples"],
        negatives: Int[Tensor, "samples negatives"],
    ) -> Float[Tensor, ""]:
        r"""The loss of these samples."""
        return negative_sampling_loss(self.given(given), self.asked(asked), self.asked(negatives))


class CBOW(SkipGram):
    r"""*Continuous bag of words*: the mean of the words around is given, the word in the middle is asked for.

    v = mean of given_w over the words around;  P = σ(v · asked)

    Number 0 of the vocabulary is filler and has no part in a mean. Source: mikolov2013efficient, section 3.1.

    >>> model = CBOW(vocab=10, d_model=4)
    >>> around = torch.tensor([[3, 4, 0, 0], [5, 6, 7, 8]])
    >>> model(around, torch.tensor([1, 2]), negatives=torch.tensor([[4], [5]])).shape
    torch.Size([])
    """

    @staticmethod
    def pairs(sentences: Sequence[Sequence[int]], window: int, generator: torch.Generator | None = None) -> Pairs:
        r"""Its samples of these sentences."""
        return cbow_contexts(sentences, window, generator, filler=Vocabulary.pad)

    def forward(
        self,
        given: Int[Tensor, "samples around"],
        asked: Int[Tensor, " samples"],
        negatives: Int[Tensor, "samples negatives"],
    ) -> Float[Tensor, ""]:
        r"""The loss of these samples."""
        mean = F.embedding_bag(given, self.given.weight, mode="mean", padding_idx=Vocabulary.pad)
        return negative_sampling_loss(mean, self.asked(asked), self.asked(negatives))


def learn_vectors(
    model: SkipGram,
    sentences: Sequence[Sequence[int]],
    counts: Int[Tensor, " vocab"],
    *,
    epochs: int = 5,
    window: int = 5,
    negatives: int = 5,
    threshold: float | int = 1e-3,
    power: float | int = 0.75,
    size: int = 1024,
    rate: float | int = 0.01,
    seed: int = 0,
) -> list[float]:
    r"""Trains word vectors in place and returns each epoch's mean loss: subsample, pair, draw negatives, step.

    model       `SkipGram`, `CBOW`, or another with their `pairs` and `forward`
    counts      of each word, for the noise and for leaving out frequent words
    window, negatives   words on either side at most; words drawn for each sample. A drawn word may by chance be the
                        real one; word2vec draws anew then, we do not
    threshold, power    of `keep_probability` and `noise_distribution`
    size, rate  samples in a batch, learning rate of Adam (word2vec itself takes plain SGD, a sample at a time)
    seed        of what is left out, the windows, the order and the draws
    Cost: an epoch takes O(words·window·negatives·d_model), and as the vectors learn densely O(vocab·d_model) a batch.
    """
    generator = torch.Generator().manual_seed(seed)
    keep, noise = keep_probability(counts, threshold), noise_distribution(counts, power)
    optimiser = torch.optim.Adam(model.parameters(), rate)

    def loss_of(model: SkipGram, batch: tuple[Tensor, Tensor]) -> Tensor:
        given, asked = batch
        drawn = torch.multinomial(noise, len(asked) * negatives, replacement=True, generator=generator)
        return model(given, asked, drawn.reshape(-1, negatives))

    losses = []
    for epoch in range(epochs):  # each pass leaves out other words
        pairs = model.pairs(subsample(sentences, keep, generator), window, generator)
        batches = Batches(*pairs, size=size, seed=seed * 1000 + epoch)
        losses += fit(model, batches, loss_of, optimiser, epochs=1).loss.tolist()
    return losses
