"""The exercises on heads: cutting the features into pieces and putting the pieces together again."""

import numpy as np
import torch
from einops import rearrange

from autograder.exercise import Case, Exercise
from ml_course import attention

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
