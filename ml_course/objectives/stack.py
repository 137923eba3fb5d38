r"""One stack of layers that can be taught all four objectives, because they only differ in masks and questions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention
from ml_course.bert import IGNORED
from ml_course.objectives.permutation import permutation_masks
from ml_course.objectives.tasks import Task
from ml_course.positions import BiasedAttention, Clipped
from ml_course.transformer import LMConfig, TransformerLM


def near_attention(d_model: int, heads: int) -> MultiHeadAttention:
    r"""Attention whose heads begin by looking at one neighbour each: 1 back, 1 ahead, 2 back, 2 ahead, and again.

    A learned number for each head and each offset up to 8 is added to the scores (`ml_course.positions.Clipped`); it
    starts at 3 for the head's own offset and at 0 elsewhere. Who is asked for a hidden token has nothing but its
    neighbours, and random heads take long to find them: with this, a minute is enough to learn something.

    >>> near_attention(8, 2)(torch.randn(3, 5, 8)).shape
    torch.Size([3, 5, 8])
    """
    bias = Clipped(heads, 8)
    with torch.no_grad():
        for head in range(heads):
            bias.weight[head, 8 + (-1, 1, -2, 2)[head % 4]] = 3.0
    return MultiHeadAttention(d_model, heads, attend=BiasedAttention(bias))


class OneStack(nn.Module):
    r"""The parts of `TransformerLM`, under any mask, and with a second stream when one is asked for.

    hidden = layers(E[token_t] + P[t], sees),  logits = hidden Eᵀ

    config      sizes; `positions` has to be "learned": a question must know where it stands
    attention   attention(d_model, heads) makes each layer's
    Every objective trains the same parameters, but for d_model of them, the vector with which a query stream begins.
    Weights start as GPT-2's do, but for a factor √(768/d_model) that carries its deviation of 0.02 to another width.
    Raises: ValueError for other `positions`. Source: radford2019language for the layers.

    >>> model, tokens = OneStack(LMConfig.TINY), torch.tensor([[4, 5, 6]])
    >>> model(tokens, None).shape, model.two_streams(tokens, torch.tensor([[2, 0, 1]])).shape
    (torch.Size([1, 3, 8]), torch.Size([1, 3, 8]))
    """

    def __init__(
        self,
        config: LMConfig = LMConfig.TINY,
        attention: Callable[[int, int], nn.Module] = near_attention,
    ):
        super().__init__()
        if config.positions != "learned":
            raise ValueError(f"positions = {config.positions!r}, expected 'learned'")
        self.lm, self.config = TransformerLM(config, attention), config
        self.asking = nn.Parameter(0.02 * torch.randn(config.d_model))
        linears = [module.weight for module in self.lm.decoder.modules() if isinstance(module, nn.Linear)]
        with torch.no_grad():  # GPT-2 begins at a deviation of 0.02 and is 768 wide: kept, a narrow stack learns late
            for weight in (self.lm.embedding.weight, self.lm.embedding.positions, self.asking, *linears):
                weight *= (768 / config.d_model) ** 0.5

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        sees: Bool[Tensor, "*#batch time time"] | None,
        places: Int[Tensor, " time"] | None = None,
    ) -> Float[Tensor, "batch time d_model"]:
        r"""A vector for each token, made of those it may see. `places` None: they stand at 0, 1, 2 …

        Raises: ValueError for a place beyond the context.
        """
        table = self.lm.embedding
        if places is None:
            return self.lm.decoder(table(tokens), sees)
        if int(places.max()) >= len(table.positions):
            raise ValueError(f"places go to {int(places.max())}, expected below context = {len(table.positions)}")
        return self.lm.decoder(table.dropout(F.embedding(tokens, table.weight) + table.positions[places]), sees)

    def two_streams(
        self, tokens: Int[Tensor, "batch time"], ranks: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time d_model"]:
        r"""A vector for each place, made of the tokens that come earlier in the order, and not of its own."""
        masks, lm = permutation_masks(ranks), self.lm
        content = lm.embedding(tokens)
        # A query begins with where it stands and no more: the content's embedding, its token's vector exchanged.
        query = content - F.embedding(tokens, lm.embedding.weight) + self.asking
        for number, layer in enumerate(lm.decoder.layers, start=1):
            asks, norm = layer.attention.sublayer, layer.attention.norm
            query = layer.feed_forward(query + asks(norm(query), norm(content), masks.query))
            if number < len(lm.decoder.layers):  # nobody would look at the last layer's contents
                content = layer(content, masks.content)
        return lm.decoder.norm(query)

    def logits(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        r"""What each vector says stands there, or comes next."""
        return self.lm.output(hidden)

    def answers(self, task: Task) -> Float[Tensor, "asked vocab"]:
        r"""Logits at the places that are asked, row after row."""
        if task.ranks is None:
            hidden = self(task.tokens, task.sees, task.places)
        else:
            hidden = self.two_streams(task.tokens, task.ranks)
        return self.logits(hidden[task.labels != IGNORED])

    def continuing(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of what follows each token, for `ml_course.rnn.generate` and `ml_course.seq2seq.beam_search`."""
        return self.lm(tokens)


def surprise(model: OneStack, task: Task) -> Float[Tensor, " asked"]:
    r"""−log P of each token that is asked for, in nats."""
    return F.cross_entropy(model.answers(task).float(), task.labels[task.labels != IGNORED], reduction="none")


def objective_loss(model: OneStack, task: Task) -> Float[Tensor, ""]:
    r"""The mean of `surprise`, for `ml_course.training.fit`: one formula for all four objectives.

    −1/|A| Σ_{t ∈ A} log P(x_t | what t's question may see),  A the places that are asked

    >>> from ml_course.objectives.tasks import Layout, masked_task
    >>> layout = Layout(ordinary=10, sentinels=3)
    >>> task = masked_task(torch.arange(8)[None], layout, torch.Generator().manual_seed(0))
    >>> objective_loss(OneStack(LMConfig.TINY), task) < 4
    tensor(True)
    """
    return surprise(model, task).mean()
