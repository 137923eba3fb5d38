"""The exercises on T5's relative positions: the bucket of an offset, and the bias of every pair of positions."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import positions

# relative_buckets


def bucket_numbers(offsets, buckets, max_distance):
    """The reference under the homework's signature."""
    return positions.relative_buckets(offsets, buckets, max_distance)


relative_buckets = Exercise(
    "positions.relative_buckets",
    reference=bucket_numbers,
    facets={"near": 2, "far": 2, "dtype": 1},
    difficulty=2,
    minutes=25,
    equivalent_mutants={
        "bucket = torch.where(distance < exact, distance, far).clamp(max=half - 1) → "
        "bucket = torch.where(distance <= exact, distance, far).clamp(max=half - 1)": "at d = n/2 both give n/2",
    },
)


@relative_buckets.cases
def bucket_cases(rng):
    def clear(low, high, buckets, max_distance, size):
        """Offsets whose logarithm is no whole number of buckets: there rounding would decide."""
        exact = buckets // 4
        found = []
        while len(found) < size:
            distance = int(rng.integers(low, high))
            steps = exact * math.log(distance / exact) / math.log(max_distance / exact) if distance > exact else 0.5
            if distance == exact or abs(steps - round(steps)) > 1e-3 or distance > 2 * max_distance:
                found.append(distance * int(rng.choice([-1, 1])))
        return np.array(found)

    both = np.array([0, 1, -1])
    yield Case("neighbours", offsets=both, buckets=32, max_distance=128)
    yield Case("near offsets", offsets=rng.permutation(np.arange(-7, 8)), buckets=32, max_distance=128)
    yield Case("a matrix of near offsets", offsets=rng.integers(-3, 4, size=(3, 4)), buckets=16, max_distance=50)
    yield Case("a single offset", offsets=np.array([int(rng.integers(1, 4))]), buckets=16, max_distance=40)
    far = "far"
    yield Case("up to the last bucket", far, offsets=clear(8, 127, 32, 128, 20), buckets=32, max_distance=128)
    yield Case("beyond the last", far, offsets=clear(129, 2000, 32, 128, 6), buckets=32, max_distance=128)
    most = int(rng.integers(30, 60))
    yield Case("other sizes", far, offsets=clear(1, 2 * most, 16, most, 12), buckets=16, max_distance=most)
    yield Case("a matrix", far, offsets=clear(1, 300, 24, 200, 12).reshape(3, 4), buckets=24, max_distance=200)
    yield Case("where the sharing begins", far, offsets=np.array([-4, 4, -3, 3]), buckets=16, max_distance=64)
    yield Case("two shared buckets a side", far, offsets=clear(1, 40, 8, 21, 10), buckets=8, max_distance=21)


@relative_buckets.probe
def ask_relative_buckets(answer, offsets, buckets, max_distance):
    import torch

    return {"bucket": answer(torch.from_numpy(offsets), buckets, max_distance)}


@relative_buckets.alternative
def by_logarithms(offsets, buckets, max_distance):
    half = buckets // 2
    exact = half // 2
    distance = offsets.abs()
    growth = torch.log(distance.clamp(min=1) / exact) / math.log(max_distance / exact)
    shared = exact + (growth * (half - exact)).long()
    bucket = torch.where(distance < exact, distance, shared.clamp(max=half - 1))
    return bucket + half * (offsets > 0)


@relative_buckets.alternative
def one_by_one(offsets, buckets, max_distance):
    half, exact = buckets // 2, buckets // 4

    def bucket(offset):
        first, distance = (half, offset) if offset > 0 else (0, -offset)
        if distance < exact:
            return first + distance
        steps = math.log(distance / exact) / math.log(max_distance / exact) * (half - exact)
        return first + min(half - 1, exact + math.floor(steps))

    return torch.tensor([bucket(offset) for offset in offsets.flatten().tolist()]).reshape(offsets.shape)


@relative_buckets.alternative
def by_counting_borders(offsets, buckets, max_distance):
    half = buckets // 2
    exact = half // 2
    borders = [d for d in range(1, exact + 1)]
    borders += [exact * (max_distance / exact) ** (k / (half - exact)) for k in range(1, half - exact)]
    bucket = torch.bucketize(offsets.abs().double(), torch.tensor(borders).double(), right=True)
    return bucket + torch.where(offsets > 0, half, 0)


relative_buckets.slip(
    "sign lost",
    by_logarithms,
    "return bucket + half * (offsets > 0)",
    "return bucket",
    cause="Keys behind and before the query share their buckets: the sign of the offset is lost.",
    hint="Offsets 1 and −1 should be in different buckets.",
)
relative_buckets.slip(
    "sign turned round",
    by_logarithms,
    "half * (offsets > 0)",
    "half * (offsets < 0)",
    cause="The upper half of the buckets is given to keys before the query instead of those behind it.",
    hint="An offset is the key's position minus the query's. Which keys have a positive one?",
)
relative_buckets.slip(
    "zero among those behind",
    by_logarithms,
    "half * (offsets > 0)",
    "half * (offsets >= 0)",
    cause="Offset 0, the query's own position, is counted with the keys behind it.",
    hint="Which bucket does offset 0 belong to?",
)
relative_buckets.slip(
    "every bucket for each side",
    by_logarithms,
    "half = buckets // 2",
    "half = buckets",
    cause="Each side uses all the buckets, so numbers go up to twice as many as there are.",
    hint="The two sides share the buckets: how many has each?",
)
relative_buckets.slip(
    "no limit",
    by_logarithms,
    "shared.clamp(max=half - 1)",
    "shared",
    cause="Offsets beyond max_distance go on to further buckets, which do not exist or belong to the other side.",
    hint="How large may the number of a bucket be on one side?",
)
relative_buckets.slip(
    "limit one too high",
    by_logarithms,
    "shared.clamp(max=half - 1)",
    "shared.clamp(max=half)",
    cause="The last bucket of one side is counted as half, which is the first of the other side.",
    hint="Buckets are counted from 0.",
)
relative_buckets.slip(
    "all in equal steps",
    by_logarithms,
    "torch.where(distance < exact, distance, shared.clamp(max=half - 1))",
    "distance.clamp(max=half - 1)",
    cause="Every distance has a bucket of its own up to the limit: there is no logarithm.",
    hint="Distances from buckets // 4 on share buckets.",
)
relative_buckets.slip(
    "numbers that cannot be looked up",
    by_logarithms,
    "(growth * (half - exact)).long()",
    "(growth * (half - exact)).floor()",
    cause="The buckets are floating-point numbers; rows of a table are looked up by integers.",
    hint="floor() rounds but keeps the type. Which method makes an int64 tensor?",
)
relative_buckets.slip(
    "logarithm of another base",
    by_logarithms,
    "torch.log(distance.clamp(min=1) / exact)",
    "torch.log2(distance.clamp(min=1) / exact)",
    cause="One logarithm has base 2 and the other base e.",
    hint="A quotient of two logarithms is the same in every base, as long as both have the same.",
)

# bucket_bias


def looked_up(table, bucket_of, query, key):
    """The reference under the homework's signature."""
    return positions.toeplitz(table.T[:, bucket_of(positions.all_offsets(query, key))], query)


bucket_bias = Exercise(
    "positions.bucket_bias",
    reference=looked_up,
    facets={"values": 2, "more keys than queries": 1, "gradients": 1},
    difficulty=2,
    minutes=20,
)


@bucket_bias.cases
def bias_cases(rng):
    def inputs(heads=3, buckets=11, dtype=np.float64):
        return dict(table=rng.normal(size=(buckets, heads)).astype(dtype))

    time, more, heads = int(rng.integers(3, 7)), int(rng.integers(2, 5)), int(rng.integers(2, 6))
    yield Case("as many queries as keys", **inputs(heads), query=time, key=time)
    yield Case("as many heads as tokens", **inputs(4), query=4, key=4)
    yield Case("one head", **inputs(1), query=time, key=time)
    yield Case("one token", **inputs(heads), query=1, key=1)
    yield Case("as many buckets as heads", **inputs(11), query=3, key=3)
    yield Case("float32", **inputs(heads, dtype=np.float32), query=time, key=time)
    cached = "more keys than queries"
    yield Case("one query, the last", cached, **inputs(heads), query=1, key=time + more)
    yield Case("the last few queries", cached, **inputs(heads), query=time, key=time + more)


@bucket_bias.probe
def ask_bucket_bias(answer, table, query, key):
    import torch

    def bucket_of(offsets):
        return (3 * offsets.clamp(-5, 5) + 15).remainder(11)  # each offset from −5 to 5 has its own

    table = torch.from_numpy(table).requires_grad_()
    bias = answer(table, bucket_of, query, key)
    if isinstance(bias, torch.Tensor) and bias.requires_grad:
        towards = torch.linspace(-1, 2, bias.numel(), dtype=bias.dtype).reshape(bias.shape)
        (slope,) = torch.autograd.grad((bias * towards).sum(), table)
    else:
        slope = "none: the bias does not depend on the table any more"
    return {"bias": bias, "gradient of table": slope}


@bucket_bias.alternative
def by_indexing(table, bucket_of, query, key):
    asking = torch.arange(key - query, key)
    offsets = torch.arange(key) - asking[:, None]
    return table[bucket_of(offsets)].permute(2, 0, 1)


@bucket_bias.alternative
def by_embedding(table, bucket_of, query, key):
    offsets = torch.arange(key)[None, :] - (torch.arange(query)[:, None] + key - query)
    found = F.embedding(bucket_of(offsets), table)
    return torch.einsum("qkh->hqk", found)


@bucket_bias.alternative
def row_by_row(table, bucket_of, query, key):
    rows = [table[bucket_of(torch.arange(key) - i)].T for i in range(key - query, key)]
    return torch.stack(rows, dim=1)


bucket_bias.slip(
    "sign lost",
    by_indexing,
    "bucket_of(offsets)",
    "bucket_of(offsets.abs())",
    cause="Only the distance is looked up: keys behind and before the query get the same bias.",
    hint="bucket_of takes offsets, with their sign.",
)
bucket_bias.slip(
    "query minus key",
    by_indexing,
    "torch.arange(key) - asking[:, None]",
    "asking[:, None] - torch.arange(key)",
    cause="The offset is the query's position minus the key's; asked for is the key's minus the query's.",
    hint="For a key before the query the offset is negative.",
)
bucket_bias.slip(
    "restarts at zero with a cache",
    by_indexing,
    "torch.arange(key - query, key)",
    "torch.arange(query)",
    cause="The queries are counted from 0, but they are the last of the keys' positions.",
    hint="One query and ten keys: which key has the offset 0?",
)
bucket_bias.slip(
    "heads last",
    by_indexing,
    ".permute(2, 0, 1)",
    "",
    cause="The heads stand last, as in the table; beside scores (heads, query, key) they have to come first.",
    hint="Compare the shape of your result with the one asked for.",
)
bucket_bias.slip(
    "queries and keys exchanged",
    by_indexing,
    ".permute(2, 0, 1)",
    ".permute(2, 1, 0)",
    cause="The rows are keys and the columns are queries.",
    hint="The shape is (heads, query, key).",
)
bucket_bias.slip(
    "axes mixed by reshape",
    by_indexing,
    ".permute(2, 0, 1)",
    ".reshape(-1, query, key)",
    cause="The heads are brought to the front by reshape, which moves no axis: numbers of all heads are mixed.",
    hint="reshape reads the numbers in their order. Which function exchanges axes?",
)
bucket_bias.slip(
    "gradient cut off",
    by_indexing,
    "table[bucket_of",
    "table.detach()[bucket_of",
    cause="The table is cut out of the graph, so it can never be learned.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)
