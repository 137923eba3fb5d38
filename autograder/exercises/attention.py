"""The exercises on attention: what each asks, accepts, refuses and diagnoses."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

from autograder.exercise import Case, Exercise
from ml_course import attention

FUSED = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward")

# stable_softmax


def softmax_along(scores, dim=-1):
    """The reference under the homework's signature."""
    return attention.softmax(scores, dim=dim)


stable_softmax = Exercise(
    "attention.stable_softmax",
    reference=softmax_along,
    facets={"values": 1, "stability": 1, "masked rows": 1, "no side effects": 1},
    difficulty=1,
    minutes=10,
    forbidden=("softmax", "log_softmax", "softmin", "_safe_softmax", *FUSED),
)


@stable_softmax.cases
def softmax_cases(rng):
    rows, columns = rng.integers(2, 6, size=2)
    yield Case("a few scores", scores=rng.normal(size=columns), dim=-1)
    yield Case("rows of a matrix", scores=rng.normal(size=(rows, columns)), dim=-1)
    yield Case("columns of a square matrix", scores=rng.normal(size=(rows, rows)), dim=0)
    yield Case("the middle of three axes", scores=rng.normal(size=(2, rows, columns)), dim=1)
    yield Case("one score", scores=rng.normal(size=(3, 1)), dim=-1)
    yield Case("float32", scores=rng.normal(size=(rows, columns)).astype(np.float32), dim=-1)
    yield Case("not contiguous", scores=rng.normal(size=(columns, rows)).T, dim=-1)
    large = rng.normal(size=(rows, columns))
    yield Case("scores above 1000", "stability", scores=large + 1000, dim=-1)
    yield Case("scores below −1000", "stability", scores=large - 1000, dim=-1)
    apart = large + np.linspace(-1500, 1500, rows)[:, None]
    yield Case("rows far apart", "stability", scores=apart, dim=-1)
    some = np.where(rng.random((rows, columns)) < 0.4, -np.inf, large)
    some[:, 0] = large[:, 0]
    some[0, -1] = -np.inf
    yield Case("some scores are −∞", "masked rows", scores=some, dim=-1)
    none = some.copy()
    none[1] = -np.inf
    yield Case("all scores of a row are −∞", "masked rows", scores=none, dim=-1)


@stable_softmax.probe
def ask_softmax(answer, scores, dim):
    import torch

    return {"weights": answer(torch.from_numpy(scores), dim)}


@stable_softmax.alternative
def by_the_logarithm_of_the_sum(scores, dim=-1):
    total = torch.logsumexp(scores, dim, keepdim=True)
    return torch.exp(scores - total.clamp(min=torch.finfo(scores.dtype).min))


@stable_softmax.alternative
def row_by_row(scores, dim=-1):
    moved = scores.movedim(dim, -1)
    rows = []
    for row in moved.reshape(-1, moved.shape[-1]):
        powers = torch.exp(row - row.max()) if row.max() > -math.inf else torch.zeros_like(row)
        rows.append(powers / max(powers.sum(), 1))
    return torch.stack(rows).reshape(moved.shape).movedim(-1, dim)


@stable_softmax.alternative
def with_where(scores, dim=-1):
    highest = scores.max(dim, keepdim=True).values
    highest = torch.where(highest == -torch.inf, 0.0, highest)
    powers = torch.exp(scores - highest)
    total = powers.sum(dim, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


@stable_softmax.mistake(
    hint="What is exp(1000) in floating point? A softmax does not change when all scores are shifted."
)
def no_shift(scores, dim=-1):
    """The exponentials overflow: no maximum is subtracted first."""
    powers = torch.exp(scores)
    total = powers.sum(dim, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


stable_softmax.slip(
    "one maximum for everything",
    with_where,
    "scores.max(dim, keepdim=True).values",
    "scores.max()",
    cause="The largest score of the whole tensor is subtracted, so rows far below it underflow to nothing.",
    hint="Each row is a distribution of its own. Which maximum does it need?",
)
stable_softmax.slip(
    "sum over everything",
    with_where,
    "powers.sum(dim, keepdim=True)",
    "powers.sum()",
    cause="The weights sum to one over the whole tensor instead of along `dim`.",
    hint="What should weights.sum(dim) be?",
)
stable_softmax.slip(
    "not a number when all is masked",
    with_where,
    "    highest = torch.where(highest == -torch.inf, 0.0, highest)\n",
    "",
    cause="Where all scores are −∞ the shift computes −∞ − (−∞), which is NaN.",
    hint="Try one row of nothing but −∞, and print the maximum and the difference.",
)


@stable_softmax.mistake(hint="Try a matrix and dim=0, and sum the result along both axes.")
def dim_is_ignored(scores, dim=-1):
    """The softmax always runs along the last axis, whatever `dim` says."""
    highest = scores.max(-1, keepdim=True).values
    highest = torch.where(highest == -torch.inf, 0.0, highest)
    powers = torch.exp(scores - highest)
    total = powers.sum(-1, keepdim=True)
    return powers / torch.where(total == 0, 1.0, total)


@stable_softmax.mistake(
    hint="Which of your lines writes into a tensor that the caller still holds? Look for `-=` and names ending in _."
)
def shifted_in_place(scores, dim=-1):
    """The caller's scores are changed: the maximum is subtracted in place."""
    scores -= scores.max(dim, keepdim=True).values.clamp(min=torch.finfo(scores.dtype).min)
    powers = torch.exp(scores)
    return powers / powers.sum(dim, keepdim=True).clamp(min=1)


# scaled_dot_product


def output_and_weights(queries, keys, values, mask=None):
    """The reference under the homework's signature."""
    weights = attention.attention_weights(queries, keys, mask)
    return weights @ values, weights


scaled_dot_product = Exercise(
    "attention.scaled_dot_product",
    reference=output_and_weights,
    facets={"values": 2, "masking": 2, "gradients": 1},
    difficulty=2,
    minutes=20,
    forbidden=FUSED,
)


@scaled_dot_product.cases
def scaled_dot_product_cases(rng):
    def inputs(*batch, query=4, key=5, d_head=3, features=6, dtype=np.float64):
        shapes = dict(queries=(query, d_head), keys=(key, d_head), values=(key, features))
        return {name: rng.normal(size=(*batch, *shape)).astype(dtype) for name, shape in shapes.items()}

    query, key = int(rng.integers(2, 5)), int(rng.integers(5, 8))
    yield Case("a single sequence", **inputs(query=query, key=key), mask=None)
    yield Case("as many queries as keys", **inputs(query=4, key=4), mask=None)
    yield Case("a batch with heads", **inputs(2, 3, query=query, key=key), mask=None)
    yield Case("wide keys", **inputs(2, d_head=int(rng.integers(30, 70))), mask=None)
    yield Case("one query, one key", **inputs(1, query=1, key=1), mask=None)
    yield Case("float32", **inputs(2, dtype=np.float32), mask=None)

    mask = rng.random((2, query, key)) < 0.6
    mask[:, :, 0], mask[:, 0, 1] = True, False
    yield Case("some keys masked", "masking", **inputs(2, query=query, key=key), mask=mask)
    yield Case("one mask for all", "masking", **inputs(2, 3, query=query, key=key), mask=mask[:1])
    yield Case("one mask for all queries", "masking", **inputs(2, query=query, key=key), mask=mask[:, 1:2])
    loud = inputs(2, query=query, key=key)
    loud["keys"] *= 50
    yield Case("large scores, some masked", "masking", **loud, mask=mask)
    nothing = mask.copy()
    nothing[0, 1] = False
    yield Case("a row with every key masked", "masking", **inputs(2, query=query, key=key), mask=nothing)
    yield Case("float32 and a masked row", "masking", **inputs(2, query=query, key=key, dtype=np.float32), mask=nothing)


@scaled_dot_product.probe
def ask_scaled_dot_product(answer, queries, keys, values, mask):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values)]
    output, weights = answer(*inputs, None if mask is None else torch.from_numpy(mask))
    replies = {"output": output, "weights": weights}
    names = ("queries", "keys", "values")
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 3
    return replies | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@scaled_dot_product.alternative
def filled_before_and_after(queries, keys, values, mask=None):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    weights = F.softmax(scores.masked_fill(~mask, -1e9), dim=-1).masked_fill(~mask, 0)
    return weights @ values, weights


@scaled_dot_product.alternative
def exponentials_by_hand(queries, keys, values, mask=None):
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) * keys.size(-1) ** -0.5
    powers = torch.exp(scores - scores.amax(-1, keepdim=True).detach())
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-math.inf, dtype=scores.dtype))
        highest = scores.amax(-1, keepdim=True).detach()
        powers = torch.exp(scores - torch.where(highest > -math.inf, highest, 0.0))
    weights = powers / powers.sum(-1, keepdim=True).clamp(min=1)
    return torch.einsum("...qk,...kv->...qv", weights, values), weights


@scaled_dot_product.alternative
def query_by_query(queries, keys, values, mask=None):
    rows = []
    for i in range(queries.shape[-2]):
        scores = (keys @ queries[..., i, :, None]).squeeze(-1) / math.sqrt(queries.shape[-1])
        if mask is None:
            rows.append(torch.softmax(scores, dim=-1))
        else:
            allowed = mask.expand(*mask.shape[:-2], queries.shape[-2], mask.shape[-1])[..., i, :]
            rows.append(torch.softmax(scores.masked_fill(~allowed, -1e9), dim=-1) * allowed)
    weights = torch.stack(rows, dim=-2)
    return weights @ values, weights


@scaled_dot_product.alternative
def not_a_number_replaced(queries, keys, values, mask=None):
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask.logical_not(), -math.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return weights @ values, weights


scaled_dot_product.slip(
    "not scaled",
    filled_before_and_after,
    " / math.sqrt(keys.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Read the formula from the inside out: what happens to QKᵀ before the softmax?",
)
scaled_dot_product.slip(
    "divided by the width instead of its root",
    filled_before_and_after,
    "math.sqrt(keys.shape[-1])",
    "keys.shape[-1]",
    cause="The scores are divided by d_head instead of √d_head.",
    hint="A sum of d_head random products has variance d_head. What is its standard deviation?",
)
scaled_dot_product.slip(
    "scaled by the number of keys",
    filled_before_and_after,
    "math.sqrt(keys.shape[-1])",
    "math.sqrt(keys.shape[-2])",
    cause="The scores are divided by the root of the number of keys, not of their width.",
    hint="Which axis of the keys does the dot product sum over?",
)
scaled_dot_product.slip(
    "softmax over the queries",
    filled_before_and_after,
    "dim=-1",
    "dim=-2",
    cause="The softmax runs over the queries: the columns sum to one, not the rows.",
    hint="Each query shares out one unit of attention among the keys. Which axis has to sum to one?",
)
scaled_dot_product.slip(
    "mask inverted",
    filled_before_and_after,
    "if mask is None:",
    "mask = None if mask is None else ~mask\n    if mask is None:",
    cause="The mask is read the wrong way round: here True means may attend.",
    hint="Print the weights beside the mask: where are they zero?",
)


@scaled_dot_product.mistake(hint="Do the rows of your weights still sum to one when a key is masked?")
def mask_after_the_softmax(queries, keys, values, mask=None):
    """The mask comes after the softmax, so masked keys still take their share and the rest no longer sums to one."""
    weights = torch.softmax(queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1]), dim=-1)
    if mask is not None:
        weights = weights * mask
    return weights @ values, weights


@scaled_dot_product.mistake(hint="Set one score to 0 and look at exp(0). Which score has the exponential 0?")
def masked_scores_are_zero(queries, keys, values, mask=None):
    """Masked scores are set to 0, but a score of 0 has weight exp(0) = 1 before it is normalised."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = scores * mask
    weights = torch.softmax(scores, dim=-1)
    return weights @ values, weights


@scaled_dot_product.mistake(hint="Mask a whole row and look at what softmax makes of nothing but −∞.")
def not_a_number_in_a_masked_row(queries, keys, values, mask=None):
    """A query whose every key is masked gets NaN: the softmax of nothing but −∞ is 0/0."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ values, weights


scaled_dot_product.slip(
    "gradient cut off",
    filled_before_and_after,
    "return weights @ values, weights",
    "return weights.detach() @ values, weights",
    cause="The weights are cut out of the graph, so queries and keys can never learn.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)

# padding_mask

padding_mask = Exercise(
    "attention.padding_mask",
    reference=attention.padding_mask,
    facets={"values": 1, "dtype": 1},
    difficulty=1,
    minutes=5,
)


@padding_mask.cases
def padding_cases(rng):
    time = int(rng.integers(4, 9))
    yield Case("three sequences", lengths=rng.integers(1, time, size=3), time=time)
    yield Case("a full one and an empty one", lengths=np.array([time, 0, time - 1]), time=time)
    yield Case("more padding than the longest needs", lengths=rng.integers(1, 4, size=4), time=time + 3)
    yield Case("one sequence", lengths=np.array([2]), time=time)
    yield Case("as many sequences as positions", lengths=rng.permutation(time), time=time)
    yield Case("lengths as int32", lengths=rng.integers(1, time, size=3).astype(np.int32), time=time)
    yield Case("one position", lengths=np.array([0, 1]), time=1)


@padding_mask.probe
def ask_padding_mask(answer, lengths, time):
    import torch

    return {"mask": answer(torch.from_numpy(lengths), time)}


@padding_mask.alternative
def padding_by_loops(lengths, time):
    mask = torch.zeros(len(lengths), 1, time, dtype=torch.bool)
    for n, length in enumerate(lengths.tolist()):
        mask[n, 0, :length] = True
    return mask


@padding_mask.alternative
def padding_by_counting(lengths, time):
    place = torch.ones(len(lengths), time).cumsum(1)
    return (place <= lengths.view(-1, 1)).unsqueeze(1)


@padding_mask.alternative
def padding_by_broadcasting(lengths, time):
    return torch.arange(time)[None, None] < rearrange(lengths, "batch -> batch 1 1")


padding_mask.slip(
    "mask inverted",
    padding_by_broadcasting,
    "<",
    ">=",
    cause="The padding is True and the tokens are False; here True means may attend.",
    hint="How many True should a sequence of length 2 have?",
)
padding_mask.slip(
    "one position too many",
    padding_by_broadcasting,
    "<",
    "<=",
    cause="One position of padding is let through: positions count from 0, so the last token is at length − 1.",
    hint="How many True should a sequence of length 2 have, and how many has yours?",
)
padding_mask.slip(
    "axis of the queries missing",
    padding_by_counting,
    ".unsqueeze(1)",
    "",
    cause="The mask is (batch, time): beside scores (batch, query, key) its first axis would be taken for the queries.",
    hint="Put a 1 where all queries share the mask: (batch, 1, time).",
)
padding_mask.slip(
    "only as long as the longest",
    padding_by_broadcasting,
    "torch.arange(time)",
    "torch.arange(int(lengths.max()))",
    cause="The mask is as long as the longest sequence, not `time`.",
    hint="A batch may carry more padding than its longest sequence needs. Where does `time` come in?",
)
padding_mask.slip(
    "padding in front",
    padding_by_broadcasting,
    "torch.arange(time)[None, None] <",
    "time - 1 - torch.arange(time)[None, None] <",
    cause="The tokens are taken to stand at the end; here they come first and the padding follows.",
    hint="Print the mask of a sequence of length 1.",
)
padding_mask.slip(
    "numbers instead of truth",
    padding_by_counting,
    ".unsqueeze(1)",
    ".unsqueeze(1).float()",
    cause="The mask holds 0 and 1; as numbers they would be added to scores instead of hiding them.",
    hint="A comparison of tensors already has the right type.",
)

# causal_mask

causal_mask = Exercise(
    "attention.causal_mask",
    reference=attention.causal_mask,
    facets={"values": 1, "more keys than queries": 1, "dtype": 1},
    difficulty=1,
    minutes=10,
)


@causal_mask.cases
def causal_cases(rng):
    time = int(rng.integers(4, 8))
    yield Case("four tokens", query=4, key=4)
    yield Case("as many queries as keys", query=time, key=time)
    yield Case("two tokens", query=2, key=2)
    yield Case("one token", query=1, key=1)
    more = "more keys than queries"
    yield Case("the last query alone", more, query=1, key=time)
    yield Case("the last few queries", more, query=3, key=3 + time)
    yield Case("all but the first", more, query=time - 1, key=time)


@causal_mask.probe
def ask_causal_mask(answer, query, key):
    return {"mask": answer(query, key)}


@causal_mask.alternative
def causal_by_loops(query, key):
    past = key - query
    return torch.tensor([[j <= i + past for j in range(key)] for i in range(query)])


@causal_mask.alternative
def causal_by_triangle(query, key):
    return torch.ones(query, key, dtype=torch.bool).tril(key - query)


@causal_mask.alternative
def causal_by_comparison(query, key):
    return torch.arange(key) <= torch.arange(key)[key - query :, None]


causal_mask.slip(
    "blind to itself",
    causal_by_triangle,
    "key - query",
    "key - query - 1",
    cause="A token may not see itself: the diagonal is False.",
    hint="What would the very first token attend to?",
)
causal_mask.slip(
    "sees the future",
    causal_by_triangle,
    "tril",
    "triu",
    cause="The triangle is the wrong one: each token sees itself and what comes after it.",
    hint="Row i is the query. Which columns come before it?",
)
causal_mask.slip(
    "mask inverted",
    causal_by_triangle,
    "return torch.ones(query, key, dtype=torch.bool).tril(key - query)",
    "return ~torch.ones(query, key, dtype=torch.bool).tril(key - query)",
    cause="The mask marks what is forbidden; here True means may attend.",
    hint="May the first token attend to itself? What does your mask say?",
)
causal_mask.slip(
    "aligned at the first key",
    causal_by_triangle,
    ".tril(key - query)",
    ".tril()",
    cause="The first query is put at the first key; but the queries are the last ones of the sequence.",
    hint="With one query and five keys, the query is the fifth token. How many keys may it see?",
)
causal_mask.slip(
    "one token of the future",
    causal_by_triangle,
    "tril(key - query)",
    "tril(key - query + 1)",
    cause="Each token sees one token too many: the next one, the very one a language model has to guess.",
    hint="Print the mask for four tokens. How many True does its first row have?",
)
causal_mask.slip(
    "numbers instead of truth",
    causal_by_triangle,
    ", dtype=torch.bool",
    "",
    cause="The mask holds 0 and 1 instead of False and True.",
    hint="Ask torch for a tensor of bool.",
)

# additive_score

additive_score = Exercise(
    "attention.additive_score",
    reference=attention.additive_scores,
    facets={"values": 3, "gradients": 1},
    difficulty=2,
    minutes=15,
)


@additive_score.cases
def additive_cases(rng):
    def inputs(batch=2, query=3, key=4, d_model=5, features=6, hidden=7, dtype=np.float64):
        shapes = dict(
            queries=(batch, query, d_model),
            keys=(batch, key, features),
            query_weight=(hidden, d_model),
            key_weight=(hidden, features),
            vector=(hidden,),
        )
        return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}

    sizes = rng.integers(2, 7, size=6)
    yield Case("one query, one key", **inputs(batch=1, query=1, key=1))
    yield Case("different sizes", **inputs(*map(int, sizes)))
    yield Case("as many queries as keys", **inputs(query=4, key=4, hidden=int(sizes[0])))
    yield Case("one query for many keys", **inputs(query=1, key=int(sizes[1]) + 3))
    yield Case("all widths equal", **inputs(d_model=5, features=5, hidden=5))
    yield Case("float32", **inputs(dtype=np.float32))


@additive_score.probe
def ask_additive_score(answer, queries, keys, query_weight, key_weight, vector):
    import torch

    names = ("queries", "keys", "query_weight", "key_weight", "vector")
    inputs = [torch.from_numpy(x).requires_grad_() for x in (queries, keys, query_weight, key_weight, vector)]
    scores = answer(*inputs)
    if isinstance(scores, torch.Tensor) and scores.requires_grad:
        towards = torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).reshape(scores.shape)
        slopes = torch.autograd.grad((scores * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the scores do not depend on it any more"] * 5
    return {"scores": scores} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


@additive_score.alternative
def additive_by_broadcasting(queries, keys, query_weight, key_weight, vector):
    projected = F.linear(queries, query_weight).unsqueeze(2) + F.linear(keys, key_weight).unsqueeze(1)
    return (torch.tanh(projected) * vector).sum(-1)


@additive_score.alternative
def additive_query_by_query(queries, keys, query_weight, key_weight, vector):
    columns = []
    for i in range(queries.shape[1]):
        query = queries[:, i : i + 1] @ query_weight.T
        columns.append(torch.tanh(query + keys @ key_weight.T) @ vector)
    return torch.stack(columns, dim=1)


@additive_score.alternative
def additive_by_einsum(queries, keys, query_weight, key_weight, vector):
    left = torch.einsum("nqd,hd->nqh", queries, query_weight)
    right = torch.einsum("nkd,hd->nkh", keys, key_weight)
    return torch.einsum("nqkh,h->nqk", torch.tanh(left[:, :, None] + right[:, None]), vector)


additive_score.slip(
    "no tanh",
    additive_by_broadcasting,
    "torch.tanh(projected)",
    "projected",
    cause="The tanh is missing: without it the query adds the same to every key's score and the softmax cancels it.",
    hint="Read the formula from the inside out: sum, then … , then v.",
)
additive_score.slip(
    "tanh of each side alone",
    additive_by_einsum,
    "torch.tanh(left[:, :, None] + right[:, None])",
    "torch.tanh(left[:, :, None]) + torch.tanh(right[:, None])",
    cause="The tanh is taken of query and key separately, so they never meet inside it.",
    hint="How many tanh does the formula have?",
)
additive_score.slip(
    "multiplied instead of added",
    additive_by_broadcasting,
    ".unsqueeze(2) +",
    ".unsqueeze(2) *",
    cause="The projections are multiplied; the additive score adds them.",
    hint="The name says it.",
)
additive_score.slip(
    "tanh of the finished score",
    additive_by_broadcasting,
    "return (torch.tanh(projected) * vector).sum(-1)",
    "return torch.tanh((projected * vector).sum(-1))",
    cause="The tanh comes after v instead of before it, so all scores lie between −1 and 1.",
    hint="v weighs the hidden units *after* their tanh.",
)
additive_score.slip(
    "queries and keys swapped",
    additive_by_einsum,
    "->nqk",
    "->nkq",
    cause="The scores are (batch, key, query); rows have to belong to queries.",
    hint="Compare the shape of your result with the one asked for.",
)
additive_score.slip(
    "already weights",
    additive_by_broadcasting,
    "return (torch.tanh(projected) * vector).sum(-1)",
    "return torch.softmax((torch.tanh(projected) * vector).sum(-1), -1)",
    cause="These are weights: the softmax is not part of the score.",
    hint="Scores may be negative and need not sum to one.",
)

# split_heads and merge_heads

split_heads = Exercise(
    "attention.split_heads",
    reference=attention.split_heads,
    facets={"values": 2},
    difficulty=1,
    minutes=10,
)


@split_heads.cases
def split_cases(rng):
    batch, time, heads, d_head = (int(size) for size in rng.integers(2, 6, size=4))
    yield Case("different sizes", x=rng.normal(size=(batch, time, heads * d_head)), heads=heads)
    yield Case("as many tokens as heads", x=rng.normal(size=(2, 4, 12)), heads=4)
    yield Case("as wide as many", x=rng.normal(size=(2, 3, 9)), heads=3)
    yield Case("one head", x=rng.normal(size=(2, time, 6)), heads=1)
    yield Case("one number per head", x=rng.normal(size=(2, time, 6)), heads=6)
    yield Case("one token", x=rng.normal(size=(batch, 1, 8)), heads=2)
    yield Case("not contiguous", x=rng.normal(size=(8, time, batch)).T, heads=2)
    yield Case("float32", x=rng.normal(size=(2, 5, 8)).astype(np.float32), heads=4)


@split_heads.probe
def ask_split_heads(answer, x, heads):
    import torch

    return {"pieces": answer(torch.from_numpy(x), heads)}


@split_heads.alternative
def split_by_name(x, heads):
    return rearrange(x, "batch time (heads d_head) -> batch heads time d_head", heads=heads)


@split_heads.alternative
def split_by_transpose(x, heads):
    batch, time, d_model = x.shape
    return x.reshape(batch, time, heads, d_model // heads).transpose(1, 2)


@split_heads.alternative
def split_by_chunks(x, heads):
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


split_heads.slip(
    "reshaped without transpose",
    split_by_transpose,
    "x.reshape(batch, time, heads, d_model // heads).transpose(1, 2)",
    "x.reshape(batch, heads, time, d_model // heads)",
    cause="The shape is right but tokens and heads are mixed: reshape only cuts memory anew, it moves no axis.",
    hint="Cut the last axis in two first; then exchange two axes.",
)
split_heads.slip(
    "every other feature",
    split_by_name,
    "(heads d_head)",
    "(d_head heads)",
    cause="A head gets every heads-th feature instead of a consecutive piece.",
    hint="The first head's features are the first d_model / heads ones.",
)
split_heads.slip(
    "heads after time",
    split_by_transpose,
    ".transpose(1, 2)",
    "",
    cause="The heads stand behind the time axis, so attention would compare heads instead of tokens.",
    hint="Asked for is (batch, heads, time, d_head).",
)
split_heads.slip(
    "heads and width exchanged",
    split_by_transpose,
    "heads, d_model // heads",
    "d_model // heads, heads",
    cause="Each of d_model / heads pieces has `heads` features: the two sizes are exchanged.",
    hint="With d_model = 12 and heads = 4, how many features has a head?",
)
split_heads.slip(
    "heads in the batch",
    split_by_name,
    "batch heads time d_head",
    "(batch heads) time d_head",
    cause="Heads and batch share one axis; they have to stay apart.",
    hint="The result has four axes.",
)

merge_heads = Exercise(
    "attention.merge_heads",
    reference=attention.merge_heads,
    facets={"values": 2},
    difficulty=1,
    minutes=5,
)


@merge_heads.cases
def merge_cases(rng):
    batch, time, heads, d_head = (int(size) for size in rng.integers(2, 6, size=4))
    yield Case("different sizes", x=rng.normal(size=(batch, heads, time, d_head)))
    yield Case("as many tokens as heads", x=rng.normal(size=(2, 4, 4, 3)))
    yield Case("all sizes equal", x=rng.normal(size=(3, 3, 3, 3)))
    yield Case("one head", x=rng.normal(size=(2, 1, time, d_head)))
    yield Case("one number per head", x=rng.normal(size=(2, heads, time, 1)))
    yield Case("one token", x=rng.normal(size=(batch, heads, 1, d_head)))
    yield Case("not contiguous", x=rng.normal(size=(2, time, heads, d_head)).swapaxes(1, 2))
    yield Case("float32", x=rng.normal(size=(2, 2, 5, 3)).astype(np.float32))


@merge_heads.probe
def ask_merge_heads(answer, x):
    import torch

    return {"merged": answer(torch.from_numpy(x))}


@merge_heads.alternative
def merge_by_name(x):
    return rearrange(x, "batch heads time d_head -> batch time (heads d_head)")


@merge_heads.alternative
def merge_by_transpose(x):
    batch, heads, time, d_head = x.shape
    return x.transpose(1, 2).reshape(batch, time, heads * d_head)


@merge_heads.alternative
def merge_by_concatenation(x):
    return torch.cat([x[:, head] for head in range(x.shape[1])], dim=-1)


merge_heads.slip(
    "reshaped without transpose",
    merge_by_transpose,
    "x.transpose(1, 2).reshape",
    "x.reshape",
    cause="The shape is right but tokens are mixed: the axes have to be exchanged before they are joined.",
    hint="Axes can be joined only when they stand side by side. Do heads and d_head?",
)
merge_heads.slip(
    "features interleaved",
    merge_by_name,
    "(heads d_head)",
    "(d_head heads)",
    cause="The heads' features are interleaved instead of standing piece after piece.",
    hint="Undo `split_heads` exactly: the first d_head features are the first head's.",
)


@merge_heads.mistake(hint="Nothing may be lost: how many numbers go in for each token, how many come out?")
def heads_summed(x):
    """The heads are added up instead of being put side by side."""
    return x.sum(1)


@merge_heads.mistake(hint="Nothing may be lost: how many numbers go in for each token, how many come out?")
def heads_averaged(x):
    """The heads are averaged instead of being put side by side."""
    return x.mean(1)


merge_heads.slip(
    "heads put end to end",
    merge_by_concatenation,
    "dim=-1",
    "dim=1",
    cause="The heads are joined along time, one after the other, instead of along the features.",
    hint="The sequence does not get longer; each token's vector gets wider.",
)

# multi_head_attention


def heads_and_weights(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    """The reference under the homework's signature."""
    queries = attention.split_heads(x @ query_weight.T, heads)
    keys = attention.split_heads(memory @ key_weight.T, heads)
    values = attention.split_heads(memory @ value_weight.T, heads)
    weights = attention.attention_weights(queries, keys, None if mask is None else mask[:, None])
    return attention.merge_heads(weights @ values) @ output_weight.T, weights


multi_head_attention = Exercise(
    "attention.multi_head_attention",
    reference=heads_and_weights,
    facets={"values": 3, "masking": 2, "gradients": 1},
    difficulty=3,
    minutes=30,
    forbidden=FUSED,
    seconds=20,
)


@multi_head_attention.cases
def multi_head_cases(rng):
    def inputs(batch=2, query=4, key=5, heads=2, d_head=3, d_memory=None, dtype=np.float64):
        d_model = heads * d_head
        d_memory = d_memory or d_model
        shapes = dict(
            x=(batch, query, d_model),
            memory=(batch, key, d_memory),
            query_weight=(d_model, d_model),
            key_weight=(d_model, d_memory),
            value_weight=(d_model, d_memory),
            output_weight=(d_model, d_model),
        )
        return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()} | {"heads": heads}

    query, key, heads = int(rng.integers(2, 5)), int(rng.integers(5, 8)), int(rng.integers(2, 5))
    yield Case("cross-attention", **inputs(query=query, key=key, heads=heads), mask=None)
    itself = inputs(query=5, key=5, heads=heads)
    itself["memory"] = itself["x"].copy()
    yield Case("self-attention", **itself, mask=None)
    yield Case("as many tokens as heads", **inputs(query=4, key=4, heads=4), mask=None)
    yield Case("one head", **inputs(query=query, key=key, heads=1, d_head=5), mask=None)
    yield Case("one number per head", **inputs(heads=3, d_head=1), mask=None)
    yield Case("a memory of another width", **inputs(d_memory=7), mask=None)
    yield Case("one query, one key", **inputs(batch=1, query=1, key=1), mask=None)
    yield Case("float32", **inputs(heads=heads, dtype=np.float32), mask=None)

    mask = rng.random((2, query, key)) < 0.6
    mask[:, :, 0], mask[:, 0, 1] = True, False
    sizes = dict(query=query, key=key, heads=2)  # as many heads as sequences: a mask on the wrong axis still fits
    yield Case("some keys masked", "masking", **inputs(**sizes), mask=mask)
    yield Case("one mask for the batch", "masking", **inputs(**sizes), mask=mask[:1])
    yield Case("one mask for all queries", "masking", **inputs(**sizes), mask=mask[:, 1:2])
    nothing = mask.copy()
    nothing[0, 1] = False
    yield Case("a row with every key masked", "masking", **inputs(**sizes), mask=nothing)


@multi_head_attention.probe
def ask_multi_head(answer, x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask):
    import torch

    names = ("x", "memory", "query_weight", "key_weight", "value_weight", "output_weight")
    arrays = (x, memory, query_weight, key_weight, value_weight, output_weight)
    inputs = [torch.from_numpy(array).requires_grad_() for array in arrays]
    output, weights = answer(*inputs, heads, None if mask is None else torch.from_numpy(mask))
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 6
    gradients = {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}
    return {"output": output, "weights": weights} | gradients


@multi_head_attention.alternative
def heads_by_name(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    pieces = "batch time (heads d_head) -> batch heads time d_head"
    queries = rearrange(x @ query_weight.T, pieces, heads=heads)
    keys = rearrange(memory @ key_weight.T, pieces, heads=heads)
    values = rearrange(memory @ value_weight.T, pieces, heads=heads)
    scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
    if mask is not None:
        hidden = ~mask.unsqueeze(1)
        scores = scores.masked_fill(hidden, -1e9)
    weights = torch.softmax(scores, dim=-1)
    if mask is not None:
        weights = weights.masked_fill(hidden, 0)
    merged = rearrange(weights @ values, "batch heads time d_head -> batch time (heads d_head)")
    return merged @ output_weight.T, weights


@multi_head_attention.alternative
def heads_by_view(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    batch, query, d_model = x.shape
    key, d_head = memory.shape[1], d_model // heads
    queries = F.linear(x, query_weight).reshape(batch, query, heads, d_head).transpose(1, 2)
    keys = F.linear(memory, key_weight).reshape(batch, key, heads, d_head).transpose(1, 2)
    values = F.linear(memory, value_weight).reshape(batch, key, heads, d_head).transpose(1, 2)
    allowed = torch.ones(1, 1, 1, 1, dtype=torch.bool) if mask is None else mask[:, None]
    scores = torch.einsum("nhqd,nhkd->nhqk", queries, keys) * d_head**-0.5
    weights = torch.softmax(torch.where(allowed, scores, -1e9), dim=-1) * allowed
    merged = (weights @ values).transpose(1, 2).reshape(batch, query, d_model)
    return F.linear(merged, output_weight), weights


@multi_head_attention.alternative
def head_by_head(x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None):
    outputs, weights = [], []
    projections = (query_weight.chunk(heads), key_weight.chunk(heads), value_weight.chunk(heads))
    for to_query, to_key, to_value in zip(*projections, strict=True):
        scores = (x @ to_query.T) @ (memory @ to_key.T).mT / math.sqrt(len(to_query))
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -1e9).to(scores.dtype)
        share = torch.softmax(scores, dim=-1)
        if mask is not None:
            share = share * mask
        weights.append(share)
        outputs.append(share @ memory @ to_value.T)
    return torch.cat(outputs, dim=-1) @ output_weight.T, torch.stack(weights, dim=1)


multi_head_attention.slip(
    "scaled by the whole width",
    heads_by_name,
    "math.sqrt(queries.shape[-1])",
    "math.sqrt(x.shape[-1])",
    cause="The scores are divided by √d_model; a head's dot product sums over d_head features only.",
    hint="How many products does one score sum up, once the heads are split?",
)
multi_head_attention.slip(
    "not scaled",
    heads_by_name,
    " / math.sqrt(queries.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Each head is scaled dot product attention of its own.",
)
multi_head_attention.slip(
    "heads split without transpose",
    heads_by_view,
    "F.linear(x, query_weight).reshape(batch, query, heads, d_head).transpose(1, 2)",
    "F.linear(x, query_weight).reshape(batch, heads, query, d_head)",
    cause="The queries' heads are cut by reshape alone, so each head sees a mixture of tokens.",
    hint="reshape moves no axis. Cut the features in two first, then exchange heads and time.",
)
multi_head_attention.slip(
    "heads merged without transpose",
    heads_by_view,
    "(weights @ values).transpose(1, 2).reshape",
    "(weights @ values).reshape",
    cause="The heads are joined without bringing time to the front first, so tokens are mixed.",
    hint="Which two axes do you want to join? Do they stand side by side?",
)
multi_head_attention.slip(
    "no output projection",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged, weights",
    cause="The output projection is missing: the heads' results are put side by side but never mixed.",
    hint="One of the arguments is not used.",
)
multi_head_attention.slip(
    "weights not transposed",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged @ output_weight, weights",
    cause="The output weight is used without its transpose; like torch.nn.Linear it is (out, in).",
    hint="Which axis of the weight belongs to the input? Square matrices do not complain.",
)
multi_head_attention.slip(
    "weights averaged over the heads",
    heads_by_name,
    "return merged @ output_weight.T, weights",
    "return merged @ output_weight.T, weights.mean(1)",
    cause="The weights are averaged over the heads; asked for are those of each head.",
    hint="Compare the shape of your weights with the one asked for.",
)
multi_head_attention.slip(
    "softmax over the queries",
    heads_by_name,
    "dim=-1",
    "dim=-2",
    cause="The softmax runs over the queries instead of the keys.",
    hint="Which axis of the weights has to sum to one?",
)
multi_head_attention.slip(
    "mask on the axis of the heads",
    heads_by_name,
    "hidden = ~mask.unsqueeze(1)",
    "hidden = ~mask",
    cause="The mask (batch, query, key) meets scores (batch, heads, query, key): its batch is taken for the heads.",
    hint="Broadcasting lines shapes up from the right. What stands before `query` in each?",
)


@multi_head_attention.mistake(hint="Mask a whole row and look at its weights.")
def not_a_number_in_a_masked_row_of_heads(
    x, memory, query_weight, key_weight, value_weight, output_weight, heads, mask=None
):
    """A query whose every key is masked gets NaN: the softmax of nothing but −∞ is 0/0."""
    pieces = "batch time (heads d_head) -> batch heads time d_head"
    queries = rearrange(x @ query_weight.T, pieces, heads=heads)
    keys = rearrange(memory @ key_weight.T, pieces, heads=heads)
    values = rearrange(memory @ value_weight.T, pieces, heads=heads)
    scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(1), -math.inf)
    weights = torch.softmax(scores, dim=-1)
    merged = rearrange(weights @ values, "batch heads time d_head -> batch time (heads d_head)")
    return merged @ output_weight.T, weights
