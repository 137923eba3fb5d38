r"""Vectors from counts: how often two words meet, what that says about them, and GloVe."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml_course.elmo.contexts import at_offsets
from ml_course.text import Batches
from ml_course.training import fit


def cooccurrences(
    sentences: Sequence[Sequence[int]], vocab: int, window: int, *, by_distance: bool = True
) -> Float[Tensor, "vocab vocab"]:
    r"""How often each word stands near each other one in the same sentence: a symmetric matrix.

    X_ij = Σ 1/distance over all places of i and j at most `window` apart

    by_distance   False counts every such pair as 1
    Raises: ValueError when window is below 1 or there is no word. Cost: O(words·window) time, O(vocab²) memory.
    Source: pennington2014glove, section 4.2.

    >>> cooccurrences([[0, 1, 2]], vocab=3, window=2)
    tensor([[0.0000, 1.0000, 0.5000],
            [1.0000, 0.0000, 1.0000],
            [0.5000, 1.0000, 0.0000]])
    """
    met = torch.zeros(vocab * vocab)
    for offset, words, others, near in at_offsets(sentences, window):
        cell = words[near] * vocab + others[near]
        met += cell.bincount(minlength=vocab * vocab) / (abs(offset) if by_distance else 1)
    return met.reshape(vocab, vocab)


def pointwise_mutual_information(met: Float[Tensor, "vocab vocab"]) -> Float[Tensor, "vocab vocab"]:
    r"""How much more often two words meet than they would by chance, in nats; −∞ where they never do.

    PMI_ij = log(X_ij·ΣX / (Σⱼ X_ij · Σᵢ X_ij))

    The scalar products of skip-gram with k negatives (power 1) have their best value at PMI − log k.
    Source: levy2014embedding, section 3.1.

    >>> pointwise_mutual_information(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
    tensor([[0.6931,   -inf],
            [  -inf, 0.6931]])
    """
    return (met * met.sum()).log() - met.sum(1, keepdim=True).log() - met.sum(0, keepdim=True).log()


def glove_weight(
    met: Float[Tensor, "*axes"], most: float | int = 100.0, power: float | int = 0.75
) -> Float[Tensor, "*axes"]:
    r"""How much a pair counts: the rare little, the frequent no more than `most` occurrences.

    f(x) = min(1, (x / x_max)^power)

    Source: pennington2014glove, eq. 9.

    >>> glove_weight(torch.tensor([0.0, 100 / 16, 100, 1000]))
    tensor([0.0000, 0.1250, 1.0000, 1.0000])
    """
    return (met / most).clamp(max=1) ** power


class GloVe(nn.Module):
    r"""*Global vectors*: scalar products that are the logarithms of how often two words meet.

    Σ f(X_ij)·(w_i·w̃_j + b_i + b̃_j − log X_ij)² over all pairs that meet, here as a mean

    A word's vector is the sum of its two. vocab: number of words; d_model: length of a vector; most: x_max.
    Source: pennington2014glove, eq. 8.

    >>> model = GloVe(vocab=3, d_model=2)
    >>> pair = torch.tensor([0]), torch.tensor([1])
    >>> model(*pair, torch.tensor([5.0])).shape
    torch.Size([])
    """

    def __init__(self, vocab: int, d_model: int, most: float | int = 100.0):
        super().__init__()
        self.most = most
        self.given, self.asked = nn.Embedding(vocab, d_model), nn.Embedding(vocab, d_model)
        self.given_bias, self.asked_bias = nn.Parameter(torch.zeros(vocab)), nn.Parameter(torch.zeros(vocab))
        for table in (self.given, self.asked):
            nn.init.uniform_(table.weight, -0.5 / d_model, 0.5 / d_model)

    @property
    def vectors(self) -> Float[Tensor, "vocab d_model"]:
        r"""What is kept when the training is over."""
        return (self.given.weight + self.asked.weight).detach()

    def forward(
        self, rows: Int[Tensor, " samples"], columns: Int[Tensor, " samples"], met: Float[Tensor, " samples"]
    ) -> Float[Tensor, ""]:
        r"""The loss of these pairs, of which each met so often (more than 0)."""
        products = (self.given(rows) * self.asked(columns)).sum(-1)
        errors = products + self.given_bias[rows] + self.asked_bias[columns] - met.log()
        return (glove_weight(met, self.most) * errors**2).mean()


def learn_glove(
    model: GloVe,
    met: Float[Tensor, "vocab vocab"],
    *,
    epochs: int = 20,
    size: int = 4096,
    rate: float | int = 0.02,
    seed: int = 0,
) -> list[float]:
    r"""Trains GloVe in place on all pairs that meet, with Adam (the original: AdaGrad); returns each epoch's mean loss.

    met   how often, as from `cooccurrences`
    """
    rows, columns = met.nonzero(as_tuple=True)
    batches = Batches(rows, columns, met[rows, columns], size=size, seed=seed)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    return fit(model, batches, lambda model, batch: model(*batch), optimiser, epochs=epochs).loss.tolist()
