"""The exercises on remembering: how it is stored, and how the newest tokens look at it."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import decoding
from ml_course.attention import causal_mask, scaled_dot_product_attention

READY_MADE = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention", "DynamicCache")


# append


def append_of_the_library(stored_keys, stored_values, length, keys, values):
    """The library's cache, filled with what is valid; the storage is written as asked."""
    cache = decoding.KVCache(stored_keys.shape[2])
    cache.append(stored_keys[:, :, :length], stored_values[:, :, :length])
    all_keys, all_values = cache.append(keys, values)
    stored_keys[:, :, : len(cache)], stored_values[:, :, : len(cache)] = all_keys, all_values
    return all_keys, all_values, len(cache)


append = Exercise(
    "decoding.append",
    reference=append_of_the_library,
    facets={"values": 2, "storage": 1, "after a rejection": 1},
    difficulty=1,
    minutes=15,
)


@append.cases
def append_cases(rng):
    def inputs(length, new, room, back=0, batch=2, heads=3, d_head=4, dtype=np.float64):
        def numbers(time):
            return rng.normal(size=(2, batch, heads, time, d_head)).astype(dtype)

        return dict(stored=numbers(room), length=length, first=numbers(new), back=back, second=numbers(1))

    length = int(rng.integers(3, 6))
    yield Case("one token behind others", **inputs(length, 1, length + 5))
    yield Case("the first tokens", **inputs(0, 3, 6))
    yield Case("as many tokens as heads", **inputs(3, 3, 8))
    yield Case("until it is full", **inputs(length, 2, length + 3))
    yield Case("one text, one head, one number", **inputs(2, 1, 5, batch=1, heads=1, d_head=1))
    yield Case("float32", **inputs(2, 2, 6, dtype=np.float32))
    yield Case("what is stored afterwards", "storage", **inputs(length, 2, length + 4))
    yield Case("two guesses taken back", "after a rejection", **inputs(length, 4, length + 6, back=2))
    yield Case("all guesses taken back", "after a rejection", **inputs(length, 3, length + 4, back=3))


@append.probe
def ask_append(answer, stored, length, first, back, second):
    import torch

    stored_keys, stored_values = torch.from_numpy(stored.copy())
    told = {}
    for name, new, before in (("first", first, length), ("second", second, length + first.shape[3] - back)):
        keys, values = torch.from_numpy(new)
        results = answer(stored_keys, stored_values, before, keys, values)
        if not isinstance(results, tuple | list) or len(results) != 3:
            raise TypeError("expected three results: all keys, all values and the new length")
        told[f"keys after the {name} call"] = results[0].clone()
        told[f"values after the {name} call"] = results[1].clone()
        told[f"length after the {name} call"] = int(results[2])
    return told | {"stored keys": stored_keys, "stored values": stored_values}


def write_and_show(stored_keys, stored_values, length, keys, values):
    stop = length + keys.shape[2]
    stored_keys[:, :, length:stop] = keys
    stored_values[:, :, length:stop] = values
    return stored_keys[:, :, :stop], stored_values[:, :, :stop], stop


@append.alternative
def position_by_position(stored_keys, stored_values, length, keys, values):
    for place in range(keys.shape[2]):
        stored_keys[:, :, length + place] = keys[:, :, place]
        stored_values[:, :, length + place] = values[:, :, place]
    length += keys.shape[2]
    return stored_keys.narrow(2, 0, length), stored_values.narrow(2, 0, length), length


@append.alternative
def joined_and_copied_back(stored_keys, stored_values, length, keys, values):
    all_keys = torch.cat([stored_keys[:, :, :length], keys], dim=2)
    all_values = torch.cat([stored_values[:, :, :length], values], dim=2)
    time = all_keys.size(2)
    stored_keys[:, :, :time].copy_(all_keys)
    stored_values[:, :, :time].copy_(all_values)
    return all_keys, all_values, time


append.slip(
    "positions restart",
    write_and_show,
    "stored_keys[:, :, length:stop] = keys\n    stored_values[:, :, length:stop] = values",
    "stored_keys[:, :, : stop - length] = keys\n    stored_values[:, :, : stop - length] = values",
    cause="The new positions are written over the first ones, as if every call began a text.",
    hint="Where does the first of the new tokens stand in the text?",
)
append.slip(
    "the room for later tokens is shown too",
    write_and_show,
    "return stored_keys[:, :, :stop], stored_values[:, :, :stop], stop",
    "return stored_keys, stored_values, stop",
    cause="The whole storage is returned, with the places behind the text that hold nothing, or a rejected guess.",
    hint="How many positions has the text now, and how many has your result?",
)
append.slip(
    "only the new ones returned",
    write_and_show,
    "return stored_keys[:, :, :stop], stored_values[:, :, :stop], stop",
    "return keys, values, stop",
    cause="The new keys and values are returned without the old ones.",
    hint="At whom shall the newest token look?",
)
append.slip(
    "values are a copy of the keys",
    write_and_show,
    "stored_values[:, :, length:stop] = values",
    "stored_values[:, :, length:stop] = keys",
    cause="The new keys are stored where the values belong.",
    hint="Compare your two assignments, letter by letter.",
)
append.slip(
    "length not counted on",
    write_and_show,
    "stored_values[:, :, :stop], stop",
    "stored_values[:, :, :stop], length",
    cause="The old length is returned, so the next token will be written over this one.",
    hint="How many positions are stored after the call?",
)
append.slip(
    "length of the new ones alone",
    write_and_show,
    "stored_values[:, :, :stop], stop",
    "stored_values[:, :, :stop], keys.shape[2]",
    cause="The number of new positions is returned, not that of all.",
    hint="How many positions are stored after the call?",
)


@append.mistake(hint="Call it twice. Does the second call find what the first one has stored?")
def joined_but_not_stored(stored_keys, stored_values, length, keys, values):
    """The result is right, but nothing is written into the storage: the next call does not know of these tokens."""
    all_keys = torch.cat([stored_keys[:, :, :length], keys], dim=2)
    all_values = torch.cat([stored_values[:, :, :length], values], dim=2)
    return all_keys, all_values, all_keys.shape[2]


@append.mistake(hint="`length` says how many of the stored positions belong to the text. What of those behind them?")
def put_behind_the_storage(stored_keys, stored_values, length, keys, values):
    """The new positions are put behind the whole storage, its unused or rejected places included."""
    all_keys = torch.cat([stored_keys, keys], dim=2)
    all_values = torch.cat([stored_values, values], dim=2)
    return all_keys, all_values, all_keys.shape[2]


# cached_attention


def attention_of_the_library(queries, keys, values, past_keys, past_values):
    """The library's attention over past and present under its mask for queries that come last."""
    keys, values = torch.cat([past_keys, keys], dim=2), torch.cat([past_values, values], dim=2)
    mask = causal_mask(queries.shape[2], keys.shape[2])
    return scaled_dot_product_attention(queries, keys, values, mask, fused=False)


cached_attention = Exercise(
    "decoding.cached_attention",
    reference=attention_of_the_library,
    facets={"values": 2, "several new tokens": 2, GRADIENTS: 1},
    difficulty=2,
    minutes=20,
    forbidden=READY_MADE,
)


@cached_attention.cases
def cached_cases(rng):
    def inputs(new, past, batch=2, heads=3, d_head=4, features=5, dtype=np.float64):
        def numbers(*shape):
            return (1.5 * rng.normal(size=shape)).astype(dtype)

        return dict(
            queries=numbers(batch, heads, new, d_head),
            keys=numbers(batch, heads, new, d_head),
            values=numbers(batch, heads, new, features),
            past_keys=numbers(batch, heads, past, d_head),
            past_values=numbers(batch, heads, past, features),
        )

    past = int(rng.integers(3, 7))
    several = "several new tokens"
    yield Case("one new token", **inputs(1, past))
    yield Case("one new token, one old one", **inputs(1, 1, batch=1))
    yield Case("the very first token", **inputs(1, 0))
    yield Case("float32", **inputs(1, past, dtype=np.float32))
    yield Case("a few new tokens", several, **inputs(3, past))
    yield Case("more new tokens than old ones", several, **inputs(5, 2, heads=1))
    yield Case("as many new tokens as old ones", several, **inputs(4, 4, d_head=int(rng.integers(2, 7))))
    yield Case("a prompt, nothing before it", several, **inputs(4, 0))


@cached_attention.probe
def ask_cached_attention(answer, queries, keys, values, past_keys, past_values):
    import torch

    inputs = [torch.from_numpy(array).requires_grad_() for array in (queries, keys, values, past_keys, past_values)]
    output = answer(*inputs)
    slopes = ["none: the output does not depend on it any more"] * 3
    if isinstance(output, torch.Tensor) and output.requires_grad:
        towards = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape)
        slopes = torch.autograd.grad((output * towards).sum(), inputs[:3], allow_unused=True)
    names = ("queries", "keys", "values")
    return {"output": output} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


def masked_scores(queries, keys, values, past_keys, past_values):
    keys = torch.cat([past_keys, keys], dim=2)
    values = torch.cat([past_values, values], dim=2)
    new, every = queries.shape[2], keys.shape[2]
    scores = queries @ keys.mT / math.sqrt(queries.shape[3])
    visible = torch.ones(new, every, dtype=torch.bool).tril(every - new)
    return scores.masked_fill(~visible, -math.inf).softmax(-1) @ values


@cached_attention.alternative
def query_by_query(queries, keys, values, past_keys, past_values):
    past, answers = past_keys.shape[2], []
    all_keys, all_values = torch.cat([past_keys, keys], 2), torch.cat([past_values, values], 2)
    for place in range(queries.shape[2]):
        seen = past + place + 1
        scores = torch.einsum("bhd,bhkd->bhk", queries[:, :, place], all_keys[:, :, :seen])
        weights = torch.softmax(scores / queries.shape[-1] ** 0.5, dim=-1)
        answers.append(torch.einsum("bhk,bhkf->bhf", weights, all_values[:, :, :seen]))
    return torch.stack(answers, dim=2)


@cached_attention.alternative
def two_blocks_of_scores(queries, keys, values, past_keys, past_values):
    scale = queries.shape[-1] ** -0.5
    new = queries.shape[2]
    future = torch.arange(new) > torch.arange(new)[:, None]
    to_past = scale * queries @ past_keys.transpose(-2, -1)
    to_new = (scale * queries @ keys.transpose(-2, -1)).masked_fill(future, -1e30)
    weights = torch.softmax(torch.cat([to_past, to_new], dim=-1), dim=-1)
    past = past_keys.shape[2]
    return weights[..., :past] @ past_values + weights[..., past:] @ values


@cached_attention.alternative
def only_the_last_rows_of_all(queries, keys, values, past_keys, past_values):
    keys, values = torch.cat([past_keys, keys], 2), torch.cat([past_values, values], 2)
    scores = F.pad(queries, (0, 0, past_keys.shape[2], 0)) @ keys.mT / math.sqrt(queries.shape[3])
    square = torch.ones(keys.shape[2], keys.shape[2], dtype=torch.bool).tril()
    weights = scores.masked_fill(~square, -math.inf).softmax(-1)
    return (weights @ values)[:, :, past_keys.shape[2] :]


cached_attention.slip(
    "mask aligned at the first key",
    masked_scores,
    ".tril(every - new)",
    ".tril()",
    cause="The first new token is put at the first position of all; it stands behind everything remembered.",
    hint="With five old tokens and one new one, how many keys may the new one see?",
)
cached_attention.slip(
    "new tokens see their future",
    masked_scores,
    "scores.masked_fill(~visible, -math.inf)",
    "scores",
    cause="Nothing is masked, so a new token sees those that come after it.",
    hint="Of three new tokens, whom may the first one see?",
)
cached_attention.slip(
    "blind to itself",
    masked_scores,
    ".tril(every - new)",
    ".tril(every - new - 1)",
    cause="A new token sees all before it, but not itself.",
    hint="What can the very first token of a text attend to?",
)
cached_attention.slip(
    "the past comes last",
    masked_scores,
    "torch.cat([past_keys, keys], dim=2)\n    values = torch.cat([past_values, values], dim=2)",
    "torch.cat([keys, past_keys], dim=2)\n    values = torch.cat([values, past_values], dim=2)",
    cause="The new keys are put before the old ones, so the mask hides the wrong tokens.",
    hint="In which order do the tokens stand in the text?",
)
cached_attention.slip(
    "the past is not seen",
    masked_scores,
    "    keys = torch.cat([past_keys, keys], dim=2)\n    values = torch.cat([past_values, values], dim=2)\n",
    "",
    cause="The new tokens look at each other only; nothing that was remembered is used.",
    hint="Change the remembered values. Does your output change?",
)
cached_attention.slip(
    "scale forgotten",
    masked_scores,
    " / math.sqrt(queries.shape[3])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="A cache changes what is computed anew, not the formula. Compare it with yours.",
)
cached_attention.slip(
    "scaled by d_head",
    masked_scores,
    "math.sqrt(queries.shape[3])",
    "queries.shape[3]",
    cause="The scores are divided by d_head instead of its root.",
    hint="A cache changes what is computed anew, not the formula. Compare it with yours.",
)
