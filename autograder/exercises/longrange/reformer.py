"""The exercises on Reformer: buckets for vectors, and a layer run backwards."""

import numpy as np
import torch

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import longrange

hash_buckets = Exercise(
    "longrange.hash_buckets",
    reference=longrange.hash_buckets,
    facets={"values": 2, "rounds": 1},
    difficulty=1,
    minutes=15,
)


@hash_buckets.cases
def bucket_cases(rng):
    def inputs(*batch, time=12, d_head=4, rounds=1, half=3, dtype=np.float64):
        vectors, rotations = rng.normal(size=(*batch, time, d_head)), rng.normal(size=(rounds, d_head, half))
        return dict(vectors=vectors.astype(dtype), rotations=rotations.astype(dtype))

    d_head, half = int(rng.integers(3, 7)), int(rng.integers(2, 6))
    yield Case("one round", **inputs(d_head=d_head, half=half))
    yield Case("as many directions as features", **inputs(d_head=4, half=4))
    yield Case("two buckets", **inputs(half=1))
    yield Case("many vectors", **inputs(time=60, half=half))
    yield Case("float32", **inputs(half=half, dtype=np.float32))
    yield Case("several rounds", "rounds", **inputs(rounds=3, half=half))
    yield Case("as many rounds as vectors", "rounds", **inputs(time=4, rounds=4, half=4))
    yield Case("a batch with heads, several rounds", "rounds", **inputs(2, 3, rounds=2, half=half))


@hash_buckets.probe
def ask_hash_buckets(answer, vectors, rotations):
    import torch

    return {"buckets": answer(torch.from_numpy(vectors), torch.from_numpy(rotations))}


@hash_buckets.alternative
def round_by_round(vectors, rotations):
    rows = []
    for rotation in rotations:
        turned = vectors @ rotation
        rows.append(torch.argmax(torch.cat((turned, -turned), dim=-1), dim=-1))
    return torch.stack(rows, dim=-2)


@hash_buckets.alternative
def by_sign_and_size(vectors, rotations):
    turned = torch.einsum("...td,rdh->...rth", vectors, rotations)
    place = turned.abs().argmax(-1)
    chosen = turned.gather(-1, place.unsqueeze(-1)).squeeze(-1)
    return torch.where(chosen > 0, place, place + rotations.shape[-1])


hash_buckets.slip(
    "opposites forgotten",
    round_by_round,
    "torch.cat((turned, -turned), dim=-1)",
    "turned",
    cause="The directions' opposites are missing, so there are only half as many buckets.",
    hint="Which bucket should −x be in when x is in bucket 0?",
)
hash_buckets.slip(
    "opposites in the same bucket",
    round_by_round,
    "torch.cat((turned, -turned), dim=-1)",
    "turned.abs()",
    cause="The size is taken without its sign, so a vector and its opposite share a bucket.",
    hint="x and −x have the most different directions there are.",
)
hash_buckets.slip(
    "farthest instead of nearest",
    round_by_round,
    "torch.argmax(",
    "torch.argmin(",
    cause="The bucket is that of the farthest direction.",
    hint="A dot product is large where two vectors point the same way.",
)
hash_buckets.slip(
    "directions interleaved with their opposites",
    round_by_round,
    "torch.cat((turned, -turned), dim=-1)",
    "torch.stack((turned, -turned), dim=-1).flatten(-2)",
    cause="Each direction is followed by its own opposite; asked is all directions, then all opposites.",
    hint="Which number has the opposite of direction 0?",
)
hash_buckets.slip(
    "rounds last",
    round_by_round,
    "torch.stack(rows, dim=-2)",
    "torch.stack(rows, dim=-1)",
    cause="The axis of rounds comes last; asked is (…, rounds, time).",
    hint="Compare the shape of your result with the one asked for.",
)
hash_buckets.slip(
    "first round only",
    round_by_round,
    "turned = vectors @ rotation\n",
    "turned = vectors @ rotations[0]\n",
    cause="Every round uses the first round's directions, so more rounds find nothing new.",
    hint="What differs between the rounds?",
)


invert_layer = Exercise(
    "longrange.invert_layer",
    reference=longrange.invert_layer,
    facets={"values": 2, SIDE_EFFECTS: 1},
    difficulty=1,
    minutes=10,
)


@invert_layer.cases
def invert_cases(rng):
    def inputs(*shape, dtype=np.float64, large=1.0):
        width = shape[-1]
        made = {name: large * rng.normal(size=shape) for name in ("y1", "y2")}
        made |= {name: rng.normal(size=(width, width)) / width**0.5 for name in ("one", "two")}
        return {name: array.astype(dtype) for name, array in made.items()}

    width = int(rng.integers(2, 7))
    yield Case("a few tokens", **inputs(3, width))
    yield Case("a batch", **inputs(2, 4, width))
    yield Case("one number", **inputs(1, 1))
    yield Case("large numbers", **inputs(3, width, large=30.0))
    yield Case("float32", **inputs(3, 4, dtype=np.float32))


@invert_layer.probe
def ask_invert_layer(answer, y1, y2, one, two):
    import torch

    outputs = torch.from_numpy(y1), torch.from_numpy(y2)
    one, two = torch.from_numpy(one), torch.from_numpy(two)
    x1, x2 = answer(*outputs, lambda x: torch.tanh(x @ one), lambda x: torch.sin(x @ two) + 1)
    return {"x1": x1, "x2": x2}


@invert_layer.alternative
def named_in_between(y1, y2, first, second):
    added_last = second(y1)
    x2 = torch.sub(y2, added_last)
    added_first = first(x2)
    x1 = torch.sub(y1, added_first)
    return x1, x2


@invert_layer.alternative
def on_copies(y1, y2, first, second):
    x1, x2 = y1.clone(), y2.clone()
    x2 -= second(x1)
    x1 -= first(x2)
    return x1, x2


invert_layer.slip(
    "added instead of subtracted",
    named_in_between,
    "torch.sub(y2, added_last)",
    "torch.add(y2, added_last)",
    cause="The branch is added again; what was added has to be taken away.",
    hint="y₂ = x₂ + G(y₁). Solve for x₂.",
)
invert_layer.slip(
    "first branch of the wrong stream",
    named_in_between,
    "first(x2)",
    "first(y2)",
    cause="F is asked about y₂, but on the way forward it saw x₂.",
    hint="In y₁ = x₁ + F(x₂) stands x₂. You have just computed it.",
)
invert_layer.slip(
    "branches exchanged",
    named_in_between,
    "added_last = second(y1)",
    "first, second = second, first\n    added_last = second(y1)",
    cause="F and G are exchanged.",
    hint="Which branch ran last on the way forward? It is undone first.",
)
invert_layer.slip(
    "streams exchanged",
    named_in_between,
    "return x1, x2",
    "return x2, x1",
    cause="The two streams come back in the wrong order.",
    hint="Asked is x1, then x2.",
)


@invert_layer.mistake(hint="Undo what was done last first, as with a knot.")
def undone_in_the_order_of_doing(y1, y2, first, second):
    """The steps are undone in the order in which they were done: F needs x₂, which is not known yet."""
    x1 = y1 - first(y2)
    return x1, y2 - second(x1)


@invert_layer.mistake(hint="y2 -= … changes the tensor that was handed in. y2 = y2 - … does not.")
def outputs_overwritten(y1, y2, first, second):
    """The outputs that were handed in are changed in place."""
    y2 -= second(y1)
    y1 -= first(y2)
    return y1, y2
