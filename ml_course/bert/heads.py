r"""What is put on top of BERT: guessing hidden words, judging pairs, classes of texts and of words, spans."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.bert.model import Bert, begin, mean_over_text
from ml_course.transformer import LayerNorm


class VocabularyHead(nn.Module):
    r"""Which piece stood here? One layer, and the table of pieces once more, now read the other way.

    LayerNorm(gelu(h Wᵀ + b)) Eᵀ + c,  E the embedding's own table

    Source: devlin2019bert's published code.
    """

    def __init__(self, bert: Bert):
        super().__init__()
        width = bert.config.d_model
        self.transform, self.norm = nn.Linear(width, width), LayerNorm(width)
        begin(self, bert.config.epsilon, bert.config.deviation)
        self.table, self.bias = bert.embedding.token.weight, nn.Parameter(torch.zeros(bert.config.vocab))

    def forward(self, hidden: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch vocab"]:
        return F.linear(self.norm(F.gelu(self.transform(hidden))), self.table, self.bias)


class MaskedLM(nn.Module):
    r"""P(token | the text around it) for every token, or for those that were chosen.

    bert   the model below; its embedding's table is the last layer's as well
    Source: devlin2019bert, section 3.1.

    >>> model, tokens = MaskedLM(Bert()), torch.tensor([[2, 7, 4, 3]])
    >>> model(tokens).shape, model(tokens, chosen=tokens == 4).shape
    (torch.Size([1, 4, 20]), torch.Size([1, 20]))
    """

    def __init__(self, bert: Bert):
        super().__init__()
        self.bert, self.head = bert, VocabularyHead(bert)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        chosen: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time vocab"] | Float[Tensor, "chosen vocab"]:
        r"""Logits; with `chosen` only at these tokens, in the order of rows, which saves most of the last layer."""
        hidden = self.bert(tokens, segments, mask)
        return self.head(hidden if chosen is None else hidden[chosen])

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike) -> MaskedLM:
        r"""The model of a published folder that has this head, in evaluation mode.

        Raises: as `ml_course.bert.pretrained.load`, and ValueError when the folder's model lacks the head.
        """
        from ml_course.bert.pretrained import fill, load, read

        model, (_, stored) = cls(load(folder)), read(folder)
        places = {
            "transform": ("cls.predictions.transform.dense", "lm_head.dense"),
            "norm": ("cls.predictions.transform.LayerNorm", "lm_head.layer_norm"),
        }
        found = {"bias": stored.get("cls.predictions.bias", stored.get("lm_head.bias")), "table": model.head.table}
        for part, (of_bert, of_roberta) in places.items():
            for kind in ("weight", "bias"):
                there = stored.get(f"{of_bert}.{kind}", stored.get(f"{of_roberta}.{kind}"))
                found[f"{part}.{kind}"] = there
        fill(model.head, found, folder)
        model.head.table = model.bert.embedding.token.weight
        return model.eval()


def _output(bert: Bert, classes: int) -> nn.Linear:
    """A task's own last layer; its weights start as BERT's do."""
    output = nn.Linear(bert.config.d_model, classes)
    begin(output, bert.config.epsilon, bert.config.deviation)
    return output


class NextSentence(nn.Module):
    r"""Whether the second text follows the first: two logits of the pooled vector, 0 = it does, 1 = it does not.

    Source: devlin2019bert, section 3.1, task 2; the numbers as in the published weights.
    """

    def __init__(self, bert: Bert):
        super().__init__()
        self.bert, self.output = bert, _output(bert, 2)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        return self.output(self.bert.pooled(self.bert(tokens, segments, mask)))


class Pretraining(nn.Module):
    r"""Both tasks of BERT's pretraining on one reading of the pair.

    >>> from ml_course.bert import BertConfig
    >>> with torch.device("meta"):
    ...     model = Pretraining(Bert(BertConfig.BASE))
    >>> sum(parameter.numel() for parameter in model.parameters())
    110106428
    """

    def __init__(self, bert: Bert):
        super().__init__()
        self.bert, self.words, self.following = bert, VocabularyHead(bert), NextSentence(bert).output

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
        chosen: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "... vocab"], Float[Tensor, "batch classes"]]:
        r"""Logits of the tokens (with `chosen` of these), and those of `NextSentence`."""
        hidden = self.bert(tokens, segments, mask)
        return self.words(hidden if chosen is None else hidden[chosen]), self.following(self.bert.pooled(hidden))


class Classifier(nn.Module):
    r"""The class of a text, from one vector for all of it.

    classes   how many
    pool      "first": BERT's pooled vector of [CLS]; "mean": the mean of all real tokens, for models that were
              taught with it, as all-MiniLM-L6-v2
    dropout   of that vector; the model's own when None
    Raises: ValueError for another `pool`. Source: devlin2019bert, section 4.1 and figure 4.

    >>> Classifier(Bert(), classes=3)(torch.tensor([[2, 7, 3]])).shape
    torch.Size([1, 3])
    """

    def __init__(self, bert: Bert, classes: int, *, pool: str = "first", dropout: float | None = None):
        super().__init__()
        if pool not in ("first", "mean"):
            raise ValueError(f"pool = {pool!r}, expected 'first' or 'mean'")
        self.bert, self.pool = bert, pool
        self.dropout = nn.Dropout(bert.config.dropout if dropout is None else dropout)
        self.output = _output(bert, classes)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        hidden = self.bert(tokens, segments, mask)
        if self.pool == "first":
            return self.output(self.dropout(self.bert.pooled(hidden)))
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        return self.output(self.dropout(mean_over_text(hidden, real)))


class Tagger(nn.Module):
    r"""The class of every token: what kind of word it is, or whether it belongs to a name.

    classes   how many
    A word's class is asked for at its first piece; `first_pieces` says where these are.
    Source: devlin2019bert, section 5.3.

    >>> Tagger(Bert(), classes=3)(torch.tensor([[2, 7, 3]])).shape
    torch.Size([1, 3, 3])
    """

    def __init__(self, bert: Bert, classes: int, *, dropout: float | None = None):
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(bert.config.dropout if dropout is None else dropout)
        self.output = _output(bert, classes)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"] | None = None,
        mask: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time classes"]:
        return self.output(self.dropout(self.bert(tokens, segments, mask)))


def first_pieces(words: list[int]) -> list[int]:
    r"""Where each word's first piece stands, from the word of each piece (`WordPiece.encode_words`); [CLS] is 0.

    >>> first_pieces([0, 1, 1, 2])
    [1, 2, 4]
    """
    return [1 + i for i, word in enumerate(words) if i == 0 or words[i - 1] != word]


class SpanLogits(NamedTuple):
    r"""How well an answer would begin, and end, at each token."""

    start: Float[Tensor, "batch time"]
    end: Float[Tensor, "batch time"]


class SpanFinder(nn.Module):
    r"""The answer to a question, as a stretch of the text: where it begins and where it ends.

    P(start = t) = softmax over the text of S·h_t,  P(end = t) = softmax over the text of E·h_t
    Read as [CLS] question [SEP] text [SEP]; only tokens of the text (segment 1, without its [SEP]) can be answers.
    Source: devlin2019bert, section 4.2.

    >>> tokens, segments = torch.tensor([[2, 7, 3, 8, 9, 3]]), torch.tensor([[0, 0, 0, 1, 1, 1]])
    >>> SpanFinder(Bert())(tokens, segments, tokens > 0).start.isfinite()
    tensor([[False, False, False,  True,  True, False]])
    """

    def __init__(self, bert: Bert):
        super().__init__()
        self.bert, self.output = bert, _output(bert, 2)

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        segments: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
    ) -> SpanLogits:
        logits = self.output(self.bert(tokens, segments, mask))
        inside = (segments == 1) & mask
        inside &= F.pad(inside, (0, 1))[:, 1:]  # the last of them is [SEP]
        return SpanLogits(*logits.masked_fill(~inside[..., None], -torch.inf).unbind(-1))


def span_loss(logits: SpanLogits, start: Int[Tensor, " batch"], end: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    r"""−(log P(start) + log P(end)) / 2, the mean over the batch, in nats; `end` is the answer's last token."""
    return (F.cross_entropy(logits.start, start) + F.cross_entropy(logits.end, end)) / 2


def best_spans(logits: SpanLogits, longest: int = 30) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
    r"""The most likely answer of each row: argmax of start_i + end_j over i ≤ j < i + longest.

    longest   tokens of an answer, at most
    Raises: ValueError when it is below 1. Cost: O(time²) a row. Source: devlin2019bert, section 4.2.

    >>> best_spans(SpanLogits(torch.tensor([[0.0, 3.0, 0.0]]), torch.tensor([[5.0, 0.0, 1.0]])))
    (tensor([0]), tensor([0]))
    """
    if longest < 1:
        raise ValueError(f"longest = {longest}, expected at least 1")
    time = logits.start.shape[1]
    allowed = torch.ones(time, time, dtype=torch.bool, device=logits.start.device).triu().tril(longest - 1)
    scores = (logits.start[:, :, None] + logits.end[:, None, :]).masked_fill(~allowed, -torch.inf)
    best = scores.flatten(1).argmax(1)
    return best // time, best % time
