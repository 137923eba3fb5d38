"""The exercises on what stands above BERT: the pooled classifier, and the best span of a text as an answer."""

import numpy as np
import torch
from torch import nn

from autograder.exercise import GRADIENTS, SIDE_EFFECTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import bert

# classify


class Pooled(nn.Module):
    """The library's pooler with the linear layer above it."""

    def __init__(self, width):
        super().__init__()
        self.bert = bert.Bert(bert.BertConfig(1, d_model=width, heads=1, d_ff=1, layers=0, context=1))

    def forward(self, hidden, class_weight, class_bias):
        return nn.functional.linear(self.bert.pooled(hidden), class_weight, class_bias)


def classified_by_the_library(hidden, pool_weight, pool_bias, class_weight, class_bias):
    """The reference under the homework's signature."""
    weights = {"bert.pooler.weight": pool_weight, "bert.pooler.bias": pool_bias}
    return torch.func.functional_call(Pooled(hidden.shape[-1]), weights, (hidden, class_weight, class_bias))


classify = Exercise(
    "bert.classify",
    reference=classified_by_the_library,
    facets={"values": 2, GRADIENTS: 0.5},
    difficulty=1,
    minutes=10,
)


@classify.cases
def classify_cases(rng):
    def case(label, batch, time, width, classes, dtype=np.float64):
        shapes = dict(
            hidden=(batch, time, width), pool_weight=(width, width), pool_bias=(width,), class_weight=(classes, width),
            class_bias=(classes,),
        )  # fmt: skip
        return Case(label, **{name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()})

    batch, time, width = (int(x) for x in rng.integers(2, 6, size=3))
    yield case("a few texts", batch, time, width + 1, 3)
    yield case("one text of one token", 1, 1, width + 1, 2)
    yield case("as many texts, tokens, features and classes", 4, 4, 4, 4)
    yield case("one class", batch, time, width, 1)
    yield case("float32", batch, time, width + 1, 3, np.float32)


@classify.probe
def ask_classify(answer, hidden, pool_weight, pool_bias, class_weight, class_bias):
    def call(hidden, pool_weight, pool_bias, class_weight, class_bias):
        return {"logits": answer(hidden, pool_weight, pool_bias, class_weight, class_bias)}

    weights = dict(pool_weight=pool_weight, pool_bias=pool_bias, class_weight=class_weight, class_bias=class_bias)
    return with_gradients(call, hidden=hidden, **weights)


@classify.alternative
def with_transposes(hidden, pool_weight, pool_bias, class_weight, class_bias):
    pooled = torch.tanh(hidden[:, 0] @ pool_weight.T + pool_bias)
    return pooled @ class_weight.T + class_bias


@classify.alternative
def with_einsum(hidden, pool_weight, pool_bias, class_weight, class_bias):
    pooled = (torch.einsum("bd,ed->be", hidden.select(1, 0), pool_weight) + pool_bias).tanh()
    return torch.einsum("be,ce->bc", pooled, class_weight) + class_bias


@classify.alternative
def text_by_text(hidden, pool_weight, pool_bias, class_weight, class_bias):
    rows = []
    for text in hidden:
        z = pool_weight @ text[0] + pool_bias
        pooled = 2 * torch.sigmoid(2 * z) - 1
        rows.append(class_weight @ pooled + class_bias)
    return torch.stack(rows)


classify.slip(
    "no tanh",
    with_transposes,
    "torch.tanh(hidden[:, 0] @ pool_weight.T + pool_bias)",
    "hidden[:, 0] @ pool_weight.T + pool_bias",
    cause="The tanh of the pooler is missing: two linear layers in a row are one.",
    hint="What stands between the two linear layers?",
)
classify.slip(
    "the last token",
    with_transposes,
    "hidden[:, 0]",
    "hidden[:, -1]",
    cause="The vector of the last token is pooled; [CLS] is the first.",
    hint="Where does [CLS] stand?",
)
classify.slip(
    "mean over the tokens",
    with_transposes,
    "hidden[:, 0]",
    "hidden.mean(1)",
    cause="The mean of all tokens is pooled; here it is the vector of [CLS] alone.",
    hint="One of the tokens was put there to stand for the whole text.",
)
classify.slip(
    "weights not transposed",
    with_transposes,
    "hidden[:, 0] @ pool_weight.T",
    "hidden[:, 0] @ pool_weight",
    cause="The pooler's matrix is used the wrong way round: its rows are outputs, as in `nn.Linear`.",
    hint="x Wᵀ + b.",
)
classify.slip(
    "probabilities instead of logits",
    with_transposes,
    "pooled @ class_weight.T + class_bias",
    "torch.softmax(pooled @ class_weight.T + class_bias, 1)",
    cause="The result went through a softmax; logits are asked for, the loss takes the softmax itself.",
    hint="Do your numbers sum to 1 in every row?",
)
classify.slip(
    "first text instead of first token",
    with_transposes,
    "hidden[:, 0]",
    "hidden[0]",
    cause="The first text of the batch is taken, with all its tokens, instead of the first token of each text.",
    hint="hidden has the axes batch, time, d_model.",
)

# best_span


def span_of_the_library(start, end, inside, longest):
    """The reference under the homework's signature."""
    logits = bert.SpanLogits(*(x.masked_fill(~inside, -torch.inf) for x in (start, end)))
    first, last = bert.best_spans(logits, longest)
    return torch.stack([first, last], dim=1)


best_span = Exercise(
    "bert.best_span",
    reference=span_of_the_library,
    facets={"values": 2, "order": 1, "length": 1, "only in the text": 1, SIDE_EFFECTS: 0.5},
    difficulty=3,
    minutes=30,
)


@best_span.cases
def span_cases(rng):
    def case(label, facet=None, batch=3, time=8, longest=30, inside=None, start=None, end=None):
        given = dict(
            start=rng.normal(size=(batch, time)) if start is None else start,
            end=rng.normal(size=(batch, time)) if end is None else end,
            inside=np.ones((batch, time), dtype=bool) if inside is None else inside,
        )
        return Case(label, facet, **given, longest=longest)

    batch, time = int(rng.integers(2, 5)), int(rng.integers(6, 11))
    rising = np.sort(rng.normal(size=(2, batch, time)), axis=2)
    yield case("where start comes before end", None, batch, time, start=rising[0, :, ::-1].copy(), end=rising[1])
    peaks = np.zeros((2, 1, time))
    peaks[0, 0, 1], peaks[1, 0, time - 2] = 5, 5
    yield case("two peaks", None, 1, time, start=peaks[0], end=peaks[1])
    both = np.zeros((1, time))
    both[0, int(rng.integers(0, time))] = 5
    yield case("an answer of one token", None, 1, time, start=both, end=both)
    yield case("one token in all", None, batch, 1)
    yield case(
        "the peaks are the wrong way round", "order", batch, time, start=rising[0], end=rising[1, :, ::-1].copy()
    )
    yield case("random scores", "order", 5, time)
    yield case("random scores of many tokens", "order", 2, 40)
    apart = np.zeros((2, 1, 9)) + rng.normal(scale=0.1, size=(2, 1, 9))
    apart[0, 0, 1] += 5
    apart[1, 0, 7] += 5
    yield case("the peaks are too far apart", "length", 1, 9, longest=4, start=apart[0], end=apart[1])
    yield case("just near enough", "length", 1, 9, longest=7, start=apart[0], end=apart[1])
    yield case("one token too far", "length", 1, 9, longest=6, start=apart[0], end=apart[1])
    yield case("at most three tokens", "length", 5, time, longest=3)
    yield case("at most one token", "length", 5, time, longest=1)
    inside = np.zeros((batch, time), dtype=bool)
    inside[:, 3:-1] = True
    yield case("the text begins behind the question", "only in the text", batch, time, inside=inside)
    loud = rng.normal(size=(2, batch, time)) + 10 * ~inside
    yield case("the question scores higher", "only in the text", batch, time, inside=inside, start=loud[0], end=loud[1])
    low = rng.normal(size=(2, batch, time)) - 50
    yield case("all scores are negative", "only in the text", batch, time, inside=inside, start=low[0], end=low[1])


@best_span.probe
def ask_best_span(answer, start, end, inside, longest):
    import torch

    return {"span": answer(torch.from_numpy(start), torch.from_numpy(end), torch.from_numpy(inside), longest)}


@best_span.alternative
def all_pairs_in_loops(start, end, inside, longest):
    spans = []
    for s, e, allowed in zip(start.tolist(), end.tolist(), inside.tolist(), strict=True):
        best, found = -float("inf"), None
        for i in range(len(s)):
            for j in range(i, min(i + longest, len(s))):
                if allowed[i] and allowed[j] and s[i] + e[j] > best:
                    best, found = s[i] + e[j], (i, j)
        spans.append(found)
    return torch.tensor(spans)


@best_span.alternative
def a_matrix_of_scores(start, end, inside, longest):
    time = start.shape[1]
    i, j = torch.arange(time)[:, None], torch.arange(time)
    possible = (i <= j) & (j - i < longest) & inside[:, :, None] & inside[:, None, :]
    scores = torch.where(possible, start[:, :, None] + end[:, None, :], -torch.inf)
    best = scores.reshape(len(start), -1).argmax(1)
    return torch.stack([torch.div(best, time, rounding_mode="floor"), best.remainder(time)], 1)


@best_span.alternative
def one_length_after_another(start, end, inside, longest):
    start, end = start.masked_fill(~inside, -1e9), end.masked_fill(~inside, -1e9)
    best, spans = torch.full((len(start),), -torch.inf, dtype=start.dtype), torch.zeros(len(start), 2, dtype=torch.long)
    for more in range(min(longest, start.shape[1])):
        score, first = (start[:, : start.shape[1] - more] + end[:, more:]).max(1)
        better = score > best
        best = torch.where(better, score, best)
        spans[better] = torch.stack([first, first + more], 1)[better]
    return spans


best_span.slip(
    "the end may come first",
    a_matrix_of_scores,
    "(i <= j) & (j - i < longest)",
    "((j - i).abs() < longest)",
    cause="The answer may end before it begins.",
    hint="Which pairs (i, j) are spans?",
)
best_span.slip(
    "one token more than allowed",
    a_matrix_of_scores,
    "j - i < longest",
    "j - i <= longest",
    cause="Answers of `longest` + 1 tokens are allowed: a span from i to j has j − i + 1 tokens.",
    hint="How many tokens has a span with i = j?",
)
best_span.slip(
    "no limit of length",
    a_matrix_of_scores,
    " & (j - i < longest)",
    "",
    cause="The argument `longest` is not used.",
    hint="Call it with longest=1: begin and end must be equal.",
)
best_span.slip(
    "the question may be the answer",
    a_matrix_of_scores,
    " & inside[:, :, None] & inside[:, None, :]",
    "",
    cause="`inside` is not used: the answer may lie in the question, or in the filler.",
    hint="Where may an answer begin and end?",
)
best_span.slip(
    "only the beginning must be inside",
    a_matrix_of_scores,
    " & inside[:, :, None] & inside[:, None, :]",
    " & inside[:, :, None]",
    cause="Only the beginning is kept inside the text; the end may leave it.",
    hint="Both ends of the answer lie in the text.",
)
best_span.slip(
    "one token is not enough",
    a_matrix_of_scores,
    "(i <= j)",
    "((i < j) | (time == 1) | (longest == 1) & (i == j))",
    cause="An answer of one token is never given: begin and end may be the same token.",
    hint="What is the answer to “How many?”",
)
best_span.slip(
    "impossible pairs score 0",
    a_matrix_of_scores,
    "start[:, :, None] + end[:, None, :], -torch.inf)",
    "start[:, :, None] + end[:, None, :], 0.0)",
    cause="Pairs that are no span score 0, which beats every negative score.",
    hint="What score can never win?",
)


@best_span.mistake(hint="The best beginning and the best end need not be a pair. Score the pairs.")
def each_end_by_itself(start, end, inside, longest):
    """The best beginning and the best end are chosen each by itself; together they may be no span, or not the best."""
    first = start.masked_fill(~inside, -torch.inf).argmax(1)
    last = end.masked_fill(~inside, -torch.inf).argmax(1)
    return torch.stack([first, last], 1)


@best_span.mistake(hint="Begin with the beginning, and you may be stuck with a poor end. Score the pairs.")
def first_the_beginning(start, end, inside, longest):
    """The best beginning is fixed first, then the best end behind it; the best pair may begin elsewhere."""
    place = torch.arange(start.shape[1])
    first = start.masked_fill(~inside, -torch.inf).argmax(1)
    allowed = inside & (place >= first[:, None]) & (place < first[:, None] + longest)
    return torch.stack([first, end.masked_fill(~allowed, -torch.inf).argmax(1)], 1)


@best_span.mistake(hint="`start[…] = …` writes into what you were given; `masked_fill` makes a new tensor.")
def scores_overwritten(start, end, inside, longest):
    """Scores outside the text are overwritten in the tensors that were given; the caller still needs them."""
    start[~inside] = -torch.inf
    end[~inside] = -torch.inf
    time = start.shape[1]
    possible = torch.ones(time, time, dtype=torch.bool).triu().tril(longest - 1)
    best = (start[:, :, None] + end[:, None, :]).masked_fill(~possible, -torch.inf).flatten(1).argmax(1)
    return torch.stack([best // time, best % time], 1)
