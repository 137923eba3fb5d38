"""The exercises on masks: of padding and of the future. True means may attend."""

import numpy as np
import torch
from einops import rearrange

from autograder.exercise import Case, Exercise
from ml_course import attention

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
