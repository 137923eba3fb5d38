r"""A convolutional network for sentences: filters that look for short phrases, wherever they stand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.cnn.convolution import conv1d
from ml_course.cnn.pooling import max_over_time


class TextCNN(nn.Module):
    r"""Classifies a sentence by the phrases in it: embed, slide filters of several widths, keep each one's maximum.

    logits = W·dropout([max over time of relu(conv1d(E[tokens]))] for each width) + b

    Padding is not read: the result for a sentence does not depend on its batch. Phrases may hang over either end of
    the sentence, where zeros stand for the missing words, so that also a single word is seen by every filter.

    vocab     number of tokens; classes   number of classes
    d_model   width of an embedding
    filters   number of filters of each width; widths   in tokens
    dropout   probability that a maximum is left out while training

    Cost: O(time·d_model·filters·Σ widths) a sentence. Source: kim2014convolutional, section 2, where batches are padded
    and padding can win a maximum; zhang2017sensitivity tried its choices one by one.

    >>> network = TextCNN(vocab=20, classes=2, d_model=8, filters=4).eval()
    >>> tokens = torch.tensor([[3, 5, 7, 0], [4, 6, 8, 9]])
    >>> network(tokens, mask=tokens > 0).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        vocab: int,
        classes: int,
        *,
        d_model: int = 300,
        filters: int = 100,
        widths: Sequence[int] = (3, 4, 5),
        dropout: float = 0.5,
    ):
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths = {tuple(widths)}, expected one or more widths of 1 or more tokens")
        self.embedding = nn.Embedding(vocab, d_model)
        nn.init.uniform_(self.embedding.weight, -0.25, 0.25)
        self.filters = nn.ParameterList(torch.empty(filters, d_model, width) for width in widths)
        self.biases = nn.ParameterList(torch.zeros(filters) for _ in widths)
        for weight in self.filters:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(widths), classes)

    def forward(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        r"""Logits of each sentence; `mask` is True at its tokens, everywhere when None."""
        maxima = [max_over_time(found, seen) for found, seen in self.feature_maps(tokens, mask)]
        return self.output(self.dropout(torch.cat(maxima, dim=1)))

    def feature_maps(
        self, tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"] | None = None
    ) -> list[tuple[Float[Tensor, "batch filters places"], Bool[Tensor, "batch 1 places"]]]:
        r"""For each width what its filters find at each place, and where a place holds at least one token.

        Place i is the phrase that ends with token i; there are time + width − 1 places. The maximum over the places
        that count is what the network keeps of a sentence.
        """
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        embedded = (self.embedding(tokens) * mask[:, :, None]).mT
        found = []
        for weight, bias in zip(self.filters, self.biases, strict=True):
            over = weight.shape[2] - 1
            seen = F.pad(mask, (over, over)).unfold(1, over + 1, 1).any(2)
            found.append((conv1d(embedded, weight, bias, padding=over).relu(), seen[:, None]))
        return found
