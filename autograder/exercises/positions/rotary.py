"""The exercises on RoPE: to rotate pairs of features, and to attend with rotated queries and keys."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import attention, positions

# rotate


def rotated(x, positions_, base=10_000.0):
    """The reference under the homework's signature."""
    return positions.rotate(x, positions_, base=base)


rotate = Exercise(
    "positions.rotate",
    reference=rotated,
    facets={"values": 2, "any positions": 1, "no side effects": 1},
    difficulty=2,
    minutes=25,
    rtol=1e-4,  # angles may be computed in float32, whatever x is
    equivalent_mutants={
        "speed = base ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head) → "
        "speed = base ** (-torch.arange(0, d_head, 2) / d_head)": "angles in float32 are exact enough here",
    },
)


@rotate.cases
def rotate_cases(rng):
    def inputs(*batch, time=5, d_head=6, base=10_000.0, dtype=np.float64):
        x = rng.normal(size=(*batch, time, d_head)).astype(dtype)
        return dict(x=x, positions=np.arange(time), base=base)

    time, pairs = int(rng.integers(4, 8)), int(rng.integers(2, 6))
    yield Case("one pair", **inputs(time=time, d_head=2))
    yield Case("two pairs", **inputs(time=time, d_head=4))
    yield Case("a sequence", **inputs(time=time, d_head=2 * pairs))
    yield Case("a batch with heads", **inputs(2, 3, time=time, d_head=2 * pairs))
    yield Case("another base", **inputs(time=time, d_head=8, base=float(rng.integers(5, 50))))
    yield Case("as many tokens as features", **inputs(2, time=6, d_head=6, base=20.0))
    yield Case("one token, at the start", **inputs(time=1))
    yield Case("float32", **inputs(2, time=time, dtype=np.float32))
    where = "any positions"
    yield Case("the last few positions", where, **inputs(time=3) | {"positions": np.arange(3) + time})
    yield Case("one token, later", where, **inputs(2, time=1) | {"positions": rng.integers(1, 100, size=1)})
    yield Case("positions in any order", where, **inputs(time=6) | {"positions": rng.permutation(60)[:6]})
    yield Case("half steps", where, **inputs(time=5) | {"positions": np.arange(5) / 2})


@rotate.probe
def ask_rotate(answer, x, positions, base):
    import torch

    return {"result": answer(torch.from_numpy(x), torch.from_numpy(positions), base)}


@rotate.alternative
def by_sines_and_cosines(x, positions, base=10_000.0):
    d_head = x.shape[-1]
    speed = base ** (-torch.arange(0, d_head, 2, dtype=x.dtype) / d_head)
    angle = positions[:, None].to(x.dtype) * speed
    first, second = x[..., ::2], x[..., 1::2]
    pair = first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()
    return torch.stack(pair, dim=-1).flatten(-2)


@rotate.alternative
def by_complex_numbers(x, positions, base=10_000.0):
    d_head = x.shape[-1]
    angle = torch.outer(positions.double(), base ** (-torch.arange(0, d_head, 2).double() / d_head))
    numbers = torch.complex(x[..., 0::2].double(), x[..., 1::2].double())
    return torch.view_as_real(numbers * torch.exp(1j * angle)).flatten(-2).to(x.dtype)


@rotate.alternative
def by_partners(x, positions, base=10_000.0):
    d_head = x.shape[-1]
    speed = torch.tensor([base ** (-2 * (i // 2) / d_head) for i in range(d_head)])
    angle = (positions.reshape(-1, 1) * speed).to(x.dtype)
    partner = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).reshape(x.shape)
    return x * torch.cos(angle) + partner * torch.sin(angle)


@rotate.alternative
def pair_by_pair(x, positions, base=10_000.0):
    result = torch.zeros_like(x)
    for t, position in enumerate(positions.tolist()):
        for i in range(x.shape[-1] // 2):
            angle = position * base ** (-2 * i / x.shape[-1])
            a, b = x[..., t, 2 * i], x[..., t, 2 * i + 1]
            result[..., t, 2 * i] = math.cos(angle) * a - math.sin(angle) * b
            result[..., t, 2 * i + 1] = math.sin(angle) * a + math.cos(angle) * b
    return result


rotate.slip(
    "halves instead of pairs",
    by_sines_and_cosines,
    """    first, second = x[..., ::2], x[..., 1::2]
    pair = first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()
    return torch.stack(pair, dim=-1).flatten(-2)""",
    """    first, second = x.chunk(2, dim=-1)
    pair = first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()
    return torch.cat(pair, dim=-1)""",
    cause="A feature of the first half is turned with one of the second. Asked for are neighbours: 0 with 1, 2 with 3.",
    hint="Try x = [[1, 0, 0, 0]] at position 1. Which two numbers of the result may differ from 0?",
)
rotate.slip(
    "pairs taken apart and put together as halves",
    by_sines_and_cosines,
    "torch.stack(pair, dim=-1).flatten(-2)",
    "torch.cat(pair, dim=-1)",
    cause="Neighbours are turned, but the results stand as two halves: all first members, then all second ones.",
    hint="At position 0 nothing turns. Do you get x back there, number by number?",
)
rotate.slip(
    "turned the other way",
    by_sines_and_cosines,
    "first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()",
    "first * angle.cos() + second * angle.sin(), second * angle.cos() - first * angle.sin()",
    cause="The pairs turn by −mω instead of mω: the sign of the sine is exchanged.",
    hint="(1, 0) turned by a quarter of a circle is (0, 1), not (0, −1).",
)
rotate.slip(
    "not a rotation",
    by_sines_and_cosines,
    "first * angle.cos() - second * angle.sin()",
    "first * angle.cos() + second * angle.sin()",
    cause="Both sines have the same sign, so the pair changes its length.",
    hint="A rotation keeps lengths. Compare x.norm() before and after.",
)
rotate.slip(
    "frequencies fall half as fast",
    by_sines_and_cosines,
    "torch.arange(0, d_head, 2, dtype=x.dtype) / d_head",
    "torch.arange(d_head // 2, dtype=x.dtype) / d_head",
    cause="The exponent of pair i is −i/d_head; it should be −2i/d_head.",
    hint="With d_head = 4 and base 10,000 the second pair turns by 0.01 a position. By how much does yours?",
)
rotate.slip(
    "frequencies grow",
    by_sines_and_cosines,
    "base ** (-torch.arange",
    "base ** (torch.arange",
    cause="The exponent is positive: later pairs turn faster and faster instead of slower and slower.",
    hint="Which pair should turn fastest, and how far does it turn from one position to the next?",
)
rotate.slip(
    "restarts at zero",
    by_sines_and_cosines,
    "positions[:, None].to(x.dtype)",
    "torch.arange(x.shape[-2], dtype=x.dtype)[:, None]",
    cause="The rows are counted from 0, whatever `positions` says: with a cache each new token stands at position 0.",
    hint="One token, at position 7: where does your code use the 7?",
)
rotate.slip(
    "no frequencies",
    by_sines_and_cosines,
    "positions[:, None].to(x.dtype) * speed",
    "positions[:, None].to(x.dtype) * torch.ones_like(speed)",
    cause="Every pair turns with the speed of the first.",
    hint="Where does `base` come in?",
)


@rotate.mistake(hint="x belongs to the caller. Which of your lines writes into it, or into a view of it?")
def turned_in_place(x, positions, base=10_000.0):
    """The caller's x is changed: slices are views, and what is assigned to them is written into x."""
    d_head = x.shape[-1]
    speed = base ** (-torch.arange(0, d_head, 2, dtype=x.dtype) / d_head)
    angle = positions[:, None].to(x.dtype) * speed
    first, second = x[..., ::2].clone(), x[..., 1::2].clone()
    x[..., ::2] = first * angle.cos() - second * angle.sin()
    x[..., 1::2] = first * angle.sin() + second * angle.cos()
    return x


@rotate.mistake(hint="The second line needs the first number as it was, not as it has become.")
def first_number_overwritten(x, positions, base=10_000.0):
    """The second number of a pair is computed from the first one's new value."""
    d_head = x.shape[-1]
    speed = base ** (-torch.arange(0, d_head, 2, dtype=x.dtype) / d_head)
    angle = positions[:, None].to(x.dtype) * speed
    first, second = x[..., ::2], x[..., 1::2]
    first = first * angle.cos() - second * angle.sin()
    second = first * angle.sin() + second * angle.cos()
    return torch.stack((first, second), dim=-1).flatten(-2)


# rotary_attention


def rotated_then_attended(queries, keys, values, turn, mask=None):
    """The reference under the homework's signature."""
    places = positions.all_offsets(1, keys.shape[-2])  # the last token at 0: only differences count
    newest = places[len(places) - queries.shape[-2] :]
    return attention.scaled_dot_product_attention(turn(queries, newest), turn(keys, places), values, mask, fused=False)


rotary_attention = Exercise(
    "positions.rotary_attention",
    reference=rotated_then_attended,
    facets={"values": 2, "more keys than queries": 1, "masking": 1},
    difficulty=2,
    minutes=20,
)


@rotary_attention.cases
def rotary_attention_cases(rng):
    def inputs(*batch, query=4, key=4, d_head=4, features=None, dtype=np.float64):
        shapes = dict(queries=(query, d_head), keys=(key, d_head), values=(key, features or d_head))
        return {name: rng.normal(size=(*batch, *shape)).astype(dtype) for name, shape in shapes.items()}

    time, more = int(rng.integers(3, 7)), int(rng.integers(2, 5))
    yield Case("a sequence", **inputs(query=time, key=time), mask=None)
    yield Case("a batch with heads", **inputs(2, 3, query=time, key=time, d_head=6), mask=None)
    yield Case("one token", **inputs(1, query=1, key=1), mask=None)
    yield Case("float32", **inputs(2, query=time, key=time, dtype=np.float32), mask=None)
    cached = "more keys than queries"
    yield Case("one query, the last", cached, **inputs(2, query=1, key=time + more), mask=None)
    yield Case("the last few queries", cached, **inputs(query=time, key=time + more), mask=None)
    yield Case("values of another width", cached, **inputs(2, query=2, key=time + 2, features=7), mask=None)
    causal = np.tri(time, time, dtype=bool)
    yield Case("a causal mask", "masking", **inputs(2, query=time, key=time), mask=causal)
    some = rng.random((2, 1, time, time)) < 0.6
    some[..., 0] = True
    yield Case("one mask for all heads", "masking", **inputs(2, 3, query=time, key=time), mask=some)


@rotary_attention.probe
def ask_rotary_attention(answer, queries, keys, values, mask):
    import torch

    def turn(x, positions):
        d_head = x.shape[-1]
        if tuple(positions.shape) != (x.shape[-2],):
            raise ValueError(f"turn got {x.shape[-2]} tokens and positions of shape {tuple(positions.shape)}")
        angle = positions[:, None].double() * 50.0 ** (-torch.arange(0, d_head, 2).double() / d_head)
        a, b = x[..., ::2], x[..., 1::2]
        turned = (a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos())
        return torch.stack(turned, dim=-1).flatten(-2).to(x.dtype)

    tensors = [torch.from_numpy(array) for array in (queries, keys, values)]
    return {"output": answer(*tensors, turn, None if mask is None else torch.from_numpy(mask))}


@rotary_attention.alternative
def with_the_fused_kernel(queries, keys, values, turn, mask=None):
    query, key = queries.shape[-2], keys.shape[-2]
    queries = turn(queries, torch.arange(key - query, key))
    keys = turn(keys, torch.arange(key))
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


@rotary_attention.alternative
def counted_from_the_end(queries, keys, values, turn, mask=None):
    queries = turn(queries, torch.arange(-queries.shape[-2], 0))
    keys = turn(keys, torch.arange(-keys.shape[-2], 0))
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = torch.where(mask, scores, -1e9)
    return torch.softmax(scores, dim=-1) @ values


rotary_attention.slip(
    "values rotated",
    with_the_fused_kernel,
    "    return F",
    "    values = turn(values, torch.arange(key))\n    return F",
    cause="The values are rotated too: what is averaged then depends on where it stands.",
    hint="The offset has to reach the scores. What do the values have to do with scores?",
)
rotary_attention.slip(
    "restarts at zero with a cache",
    with_the_fused_kernel,
    "torch.arange(key - query, key)",
    "torch.arange(query)",
    cause="The queries are counted from 0, but they are the last of the keys' positions.",
    hint="One query, ten keys: the query is the tenth token. Which position do you give it?",
)
rotary_attention.slip(
    "queries left as they are",
    with_the_fused_kernel,
    "turn(queries, torch.arange(key - query, key))",
    "queries",
    cause="Only the keys are rotated, so the scores depend on the keys' absolute positions.",
    hint="The score should depend on the difference of two positions. Where does the query's come in?",
)
rotary_attention.slip(
    "keys left as they are",
    with_the_fused_kernel,
    "turn(keys, torch.arange(key))",
    "keys",
    cause="Only the queries are rotated, so the scores depend on the queries' absolute positions.",
    hint="The score should depend on the difference of two positions. Where does the key's come in?",
)
rotary_attention.slip(
    "mask forgotten",
    with_the_fused_kernel,
    ", attn_mask=mask",
    "",
    cause="The mask has no effect.",
    hint="One of the arguments is not used.",
)
rotary_attention.slip(
    "not scaled",
    with_the_fused_kernel,
    "attn_mask=mask",
    "attn_mask=mask, scale=1.0",
    cause="The scores are not divided by √d_head.",
    hint="It is scaled dot product attention, as before; only queries and keys are other ones.",
)
rotary_attention.slip(
    "queries turned against the keys",
    with_the_fused_kernel,
    "torch.arange(key - query, key))",
    "-torch.arange(key - query, key))",
    cause="The queries turn by −m and the keys by n: the scores then depend on the sum of the positions.",
    hint="Move all tokens one place on. Do your scores stay the same?",
)
