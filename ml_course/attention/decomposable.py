r"""Decomposable attention: does one sentence follow from another? Align their words, compare the pairs, add up."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ml_course.attention.dot_product import softmax


class DecomposableAttention(nn.Module):
    r"""Judges a premise and a hypothesis by comparing each word with what it is aligned to in the other.

    attend      eᵢⱼ = F(aᵢ)ᵀ F(bⱼ),  βᵢ = Σⱼ softmaxⱼ(eᵢⱼ) bⱼ,  αⱼ = Σᵢ softmaxᵢ(eᵢⱼ) aᵢ
    compare     v₁ᵢ = G([aᵢ; βᵢ]),  v₂ⱼ = G([bⱼ; αⱼ])
    aggregate   logits = H([Σᵢ v₁ᵢ; Σⱼ v₂ⱼ])

    F, G and H are networks with ReLU and two, two and one hidden layers. The order of the words plays no part.

    vocab     number of tokens; d_model   width of an embedding, learned here (the paper projects fixed ones)
    hidden    width of F, G and H
    classes   as entails, contradicts, neutral
    dropout   of what each layer reads, while it trains
    Cost: O(premise·hypothesis·hidden + (premise + hypothesis)·hidden·(d_model + hidden)).
    Source: parikh2016decomposable, equations 1 to 5.

    >>> model = DecomposableAttention(vocab=20, d_model=8, hidden=16)
    >>> premise, hypothesis = torch.tensor([[4, 5, 6]]), torch.tensor([[4, 7, 0]])
    >>> model(premise, premise > 0, hypothesis, hypothesis > 0).shape
    torch.Size([1, 3])
    """

    def __init__(self, vocab: int, d_model: int, hidden: int, classes: int = 3, *, dropout: float = 0.0):
        super().__init__()
        self.embedding = nn.Embedding(vocab, d_model)
        self.attend = _network(d_model, hidden, dropout)
        self.compare = _network(2 * d_model, hidden, dropout)
        self.aggregate = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    def align(
        self,
        premise: Int[Tensor, "batch time"],
        premise_mask: Bool[Tensor, "batch time"],
        hypothesis: Int[Tensor, "batch key"],
        hypothesis_mask: Bool[Tensor, "batch key"],
    ) -> tuple[Float[Tensor, "batch time key"], Float[Tensor, "batch key time"]]:
        r"""Where each word of the premise looks in the hypothesis, and each of the hypothesis in the premise."""
        scores = self.attend(self.embedding(premise)) @ self.attend(self.embedding(hypothesis)).mT
        return softmax(scores, hypothesis_mask[:, None]), softmax(scores.mT, premise_mask[:, None])

    def forward(
        self,
        premise: Int[Tensor, "batch time"],
        premise_mask: Bool[Tensor, "batch time"],
        hypothesis: Int[Tensor, "batch key"],
        hypothesis_mask: Bool[Tensor, "batch key"],
    ) -> Float[Tensor, "batch classes"]:
        r"""Logits of the classes; the masks are True at real tokens."""
        to_hypothesis, to_premise = self.align(premise, premise_mask, hypothesis, hypothesis_mask)
        a, b = self.embedding(premise), self.embedding(hypothesis)
        of_premise = self.compare(torch.cat([a, to_hypothesis @ b], dim=-1))
        of_hypothesis = self.compare(torch.cat([b, to_premise @ a], dim=-1))
        # Filler is compared with something too: only real words are added up.
        added = [
            vectors.masked_fill(~mask[..., None], 0).sum(dim=1)
            for vectors, mask in ((of_premise, premise_mask), (of_hypothesis, hypothesis_mask))
        ]
        return self.aggregate(torch.cat(added, dim=-1))


def _network(features: int, hidden: int, dropout: float) -> nn.Sequential:
    """Two layers with ReLU, as the paper's F and G."""
    return nn.Sequential(
        nn.Dropout(dropout), nn.Linear(features, hidden), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU(),
    )  # fmt: skip
