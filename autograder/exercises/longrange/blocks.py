"""The exercise on exact attention in blocks, with memory for one block at a time."""

import math

import numpy as np
import torch

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import longrange

FUSED = ("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward", "flash_attention")


def in_blocks(queries, keys, values, block, causal=False):
    """The reference under the homework's signature."""
    return longrange.flash_attention(queries, keys, values, causal=causal, block=block)


blockwise_attention = Exercise(
    "longrange.blockwise_attention",
    reference=in_blocks,
    facets={"values": 2, "large scores": 1, "causal": 1, "memory": 1, SIDE_EFFECTS: 1},
    difficulty=3,
    minutes=35,
    seconds=15.0,  # every tensor of the memory cases is counted
    equivalent_mutants={
        "total, weighted = (torch.zeros_like(highest), 0.0) → total, weighted = (torch.zeros_like(highest), 1.0)": (
            "The first block multiplies what was there before by exp(−∞) = 0."
        ),
        "new = torch.maximum(highest, scores.amax(-1)) → new = torch.maximum(scores.amax(-1), highest)": (
            "The larger of two numbers does not depend on their order."
        ),
    },
    forbidden=FUSED,
)


@blockwise_attention.cases
def blockwise_cases(rng):
    def inputs(*batch, query=5, key=7, d_head=4, features=3, dtype=np.float64, loud=1.0):
        shapes = dict(queries=(query, d_head), keys=(key, d_head), values=(key, features))
        made = {name: rng.normal(size=(*batch, *shape)).astype(dtype) for name, shape in shapes.items()}
        made["queries"] *= dtype(loud)
        return made

    def low(*batch, scores, **sizes):
        """All scores lie around `scores`, far below zero; in eighths, so that they are exact in float32, too."""
        made = inputs(*batch, **sizes)
        for name, sign in (("queries", 8), ("keys", -8)):
            made[name] = np.round(made[name] + sign * (-scores / 2) ** 0.5) / 8
        return made

    query, key = int(rng.integers(3, 7)), int(rng.integers(7, 12))
    yield Case("blocks of three", **inputs(query=query, key=key), block=3, causal=False)
    yield Case("a batch with heads", **inputs(2, 3), block=2, causal=False)
    yield Case("blocks of one key", **inputs(query=query), block=1, causal=False)
    yield Case("one block for all", **inputs(query=query, key=key), block=64, causal=False)
    yield Case("one query, one key", **inputs(query=1, key=1), block=4, causal=False)
    yield Case("float32", **inputs(2, dtype=np.float32), block=3, causal=False)
    yield Case("scores in the hundreds", "large scores", **inputs(2, loud=500.0), block=2, causal=False)
    rising = inputs(key=9)
    rising["keys"] *= np.linspace(1, 300, 9)[:, None]
    yield Case("louder from block to block", "large scores", **rising, block=3, causal=False)
    fading = inputs(key=9)
    fading["keys"] *= np.linspace(300, 1, 9)[:, None]
    yield Case("quieter from block to block", "large scores", **fading, block=3, causal=False)
    yield Case("all scores around −900", "large scores", **low(2, scores=-900), block=3, causal=False)
    yield Case("all scores around −300, float32", "large scores", **low(scores=-300, dtype=np.float32), block=3,
               causal=False)  # fmt: skip
    yield Case("as many queries as keys", "causal", **inputs(2, query=key, key=key), block=3, causal=True)
    yield Case("the queries are the last of the keys", "causal", **inputs(query=3, key=8), block=2, causal=True)
    yield Case("one query at the end", "causal", **inputs(query=1, key=key), block=4, causal=True)
    yield Case("scores in the hundreds, causal", "causal", **inputs(query=8, key=8, loud=500.0), block=3, causal=True)
    yield Case("all scores around −900, causal", "causal", **low(query=7, key=7, scores=-900), block=3, causal=True)
    yield Case("32 queries, 43 keys in blocks of 4", "memory", **inputs(query=32, key=43), block=4, causal=False)
    yield Case("32 queries, 43 keys in blocks of 4, causal", "memory", **inputs(query=32, key=43), block=4, causal=True)


@blockwise_attention.probe
def ask_blockwise_attention(answer, queries, keys, values, block, causal):
    import weakref

    import torch
    from torch.overrides import TorchFunctionMode

    alive, most = {}, {"now": 0, "numbers": 0, "largest": (0, False, "")}

    def forget(place):
        alive[place][0] -= 1
        if not alive[place][0]:
            most["now"] -= alive.pop(place)[1]

    def note(tensor):
        storage = tensor.untyped_storage()
        place, numbers = storage.data_ptr(), storage.nbytes() // tensor.element_size()
        if numbers >= most["largest"][0]:
            kind = str(tensor.dtype).removeprefix("torch.")
            most["largest"] = max(most["largest"], (numbers, tensor.is_floating_point(), kind))
        if place not in alive:
            alive[place] = [0, numbers]
            most["now"] += numbers
            most["numbers"] = max(most["numbers"], most["now"])
        alive[place][0] += 1
        weakref.finalize(tensor, forget, place)

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for one in result if isinstance(result, tuple | list) else [result]:
                if isinstance(one, torch.Tensor):
                    note(one)
            return result

    inputs = [torch.from_numpy(array) for array in (queries, keys, values)]
    if queries.shape[-2] < 32:
        return {"output": answer(*inputs, block, causal)}
    with torch.no_grad(), Watch():
        output = answer(*inputs, block, causal)
    matrix, (numbers, _, kind) = queries.shape[-2] * keys.shape[-2], most["largest"]
    memory = "small"
    if numbers > matrix // 3:  # blocks of keys for all queries at once are small enough too
        memory = f"a {kind} tensor of {numbers} numbers; query × key is {matrix}"
    elif most["numbers"] > matrix:
        memory = f"small tensors, but more than query × key = {matrix} numbers at a time"
    return {"output": output, "memory": memory}


@blockwise_attention.alternative
def all_queries_at_once(queries, keys, values, block, causal=False):
    query, key = queries.shape[-2], keys.shape[-2]
    position = torch.arange(query) + key - query
    highest = torch.full(queries.shape[:-1], -math.inf, dtype=queries.dtype)
    total = torch.zeros_like(highest)
    weighted = torch.zeros(*queries.shape[:-1], values.shape[-1], dtype=queries.dtype)
    for start in range(0, key, block):
        some = slice(start, start + block)
        scores = queries @ keys[..., some, :].mT / math.sqrt(queries.shape[-1])
        if causal:
            future = torch.arange(start, min(start + block, key)) > position[:, None]
            scores = scores.masked_fill(future, -math.inf)
        new = torch.maximum(highest, scores.amax(-1))
        factor = torch.exp(highest - new)
        powers = torch.exp(scores - new[..., None])
        total = factor * total + powers.sum(-1)
        weighted = factor[..., None] * weighted + powers @ values[..., some, :]
        highest = new
    return weighted / total[..., None]


@blockwise_attention.alternative
def divided_at_every_step(queries, keys, values, block, causal=False):
    query, key = queries.shape[-2], keys.shape[-2]
    rows = []
    for i in range(query):
        seen = key - query + i + 1 if causal else key
        log_total, answer = None, None
        for start in range(0, seen, block):
            stop = min(start + block, seen)
            scores = (keys[..., start:stop, :] @ queries[..., i, :, None]).squeeze(-1) / queries.shape[-1] ** 0.5
            part = torch.softmax(scores, -1).unsqueeze(-2) @ values[..., start:stop, :]
            part, here = part.squeeze(-2), torch.logsumexp(scores, -1)
            if log_total is None:
                log_total, answer = here, part
            else:
                both = torch.logaddexp(log_total, here)
                before, now = torch.exp(log_total - both), torch.exp(here - both)
                answer = before.unsqueeze(-1) * answer + now.unsqueeze(-1) * part
                log_total = both
        rows.append(answer)
    return torch.stack(rows, -2)


@blockwise_attention.alternative
def two_passes(queries, keys, values, block, causal=False):
    query, key = queries.shape[-2], keys.shape[-2]

    def scores(start):
        found = torch.einsum("...qd,...kd->...qk", queries, keys[..., start : start + block, :])
        found = found / queries.shape[-1] ** 0.5
        if causal:
            place = torch.arange(start, min(start + block, key))
            late = place > torch.arange(key - query, key).unsqueeze(1)
            found = torch.where(late, -torch.inf, found)
        return found

    starts = range(0, key, block)
    highest = torch.stack([scores(start).amax(-1) for start in starts]).amax(0)
    total, weighted = 0, 0
    for start in starts:
        powers = torch.exp(scores(start) - highest.unsqueeze(-1))
        total = total + powers.sum(-1, keepdim=True)
        weighted = weighted + powers @ values[..., start : start + block, :]
    return weighted / total


blockwise_attention.slip(
    "sum not rescaled",
    all_queries_at_once,
    "total = factor * total + powers.sum(-1)",
    "total = total + powers.sum(-1)",
    cause="When a new highest score appears the old sum of exponentials keeps its old scale.",
    hint="Old terms were exp(s − old m). By which factor do they become exp(s − new m)?",
)
blockwise_attention.slip(
    "output not rescaled",
    all_queries_at_once,
    "factor[..., None] * weighted + powers",
    "weighted + powers",
    cause="When a new highest score appears the old weighted sum of values keeps its old scale.",
    hint="The sum is rescaled. What else was computed with the old maximum?",
)
blockwise_attention.slip(
    "maximum of the block only",
    all_queries_at_once,
    "new = torch.maximum(highest, scores.amax(-1))",
    "new = scores.amax(-1).clamp(min=-1e30)",
    cause="Each block's maximum replaces the one before, also when it is lower: then the old sums blow up.",
    hint="The running maximum never falls. Try scores that get quieter from block to block.",
)
blockwise_attention.slip(
    "no maximum",
    all_queries_at_once,
    "new = torch.maximum(highest, scores.amax(-1))",
    "new = highest = torch.zeros_like(highest)",
    cause="No maximum is subtracted, so the exponentials overflow, or all become 0 where every score is low.",
    hint="What are exp(1000) and exp(−1000)? And what is left of 0/0?",
)
blockwise_attention.slip(
    "the maximum begins at zero",
    all_queries_at_once,
    "torch.full(queries.shape[:-1], -math.inf, dtype=queries.dtype)",
    "torch.zeros(queries.shape[:-1], dtype=queries.dtype)",
    cause="The running maximum begins at a number that no score needs to reach: where all lie far below, 0/0 is left.",
    hint="Let every score be −900. What is your maximum then, and what is exp(−900 − maximum)?",
)
blockwise_attention.slip(
    "the future hidden by a number",
    all_queries_at_once,
    "scores.masked_fill(future, -math.inf)",
    "scores.masked_fill(future, -50.0)",
    cause="Future scores become a number, and where the visible ones are lower still, the future wins.",
    hint="Scores may be around −900. Which number is lower than any score?",
)
blockwise_attention.slip(
    "not divided",
    all_queries_at_once,
    "return weighted / total[..., None]",
    "return weighted",
    cause="The weighted sum comes back without being divided by the sum of the weights.",
    hint="A softmax's weights sum to one. What have you left to do after the last block?",
)
blockwise_attention.slip(
    "the whole mask",
    all_queries_at_once,
    "future = torch.arange(start, min(start + block, key)) > position[:, None]",
    "future = (torch.arange(key) > position[:, None])[:, start : start + block]",
    cause="The scores are made block by block, but the mask is as large as query × key.",
    hint="Which columns of the mask does one block need? Make only these.",
)
blockwise_attention.slip(
    "arguments overwritten",
    all_queries_at_once,
    "    query, key = queries.shape[-2], keys.shape[-2]\n    position = torch.arange(query) + key - query",
    "    queries *= queries.shape[-1] ** -0.5\n    query, key = queries.shape[-2], keys.shape[-2]\n"
    "    position = torch.arange(query) + key - query\n    queries = queries * queries.shape[-1] ** 0.5",
    cause="The queries are scaled in place: the caller's tensor is changed.",
    hint="a *= b writes into the tensor called a, whoever else holds it. a = a * b makes a new one.",
)
blockwise_attention.slip(
    "not scaled",
    all_queries_at_once,
    " / math.sqrt(queries.shape[-1])",
    "",
    cause="The scores are not divided by √d_head.",
    hint="Blocks change nothing about the formula: softmax(QKᵀ/√d_head)V.",
)
blockwise_attention.slip(
    "future of the own block",
    all_queries_at_once,
    "future = torch.arange(start, min(start + block, key)) > position[:, None]",
    "future = torch.arange(start, min(start + block, key)) // block > position[:, None] // block",
    cause="Only whole blocks in the future are hidden: within its own block a query sees what follows it.",
    hint="Print which keys the very first query sees.",
)
blockwise_attention.slip(
    "causal from the first key",
    all_queries_at_once,
    "position = torch.arange(query) + key - query",
    "position = torch.arange(query)",
    cause="The queries are taken for the first positions; they are the last `query` of the `key` positions.",
    hint="With one query at the end of eight keys, how many may it see?",
)
blockwise_attention.slip(
    "causal ignored",
    all_queries_at_once,
    "if causal:",
    "if False:",
    cause="`causal` changes nothing: every query sees the future.",
    hint="One of the arguments is not used.",
)


@blockwise_attention.mistake(hint="A block of poor keys and a block of good ones: should both count the same?")
def blocks_averaged(queries, keys, values, block, causal=False):
    """Each block gets a softmax of its own and the answers are averaged: a block of poor keys counts as much as any."""
    query, key = queries.shape[-2], keys.shape[-2]
    answers = []
    for start in range(0, key, block):
        scores = queries @ keys[..., start : start + block, :].mT / math.sqrt(queries.shape[-1])
        if causal:
            place = torch.arange(start, min(start + block, key))
            scores = scores.masked_fill(place > torch.arange(key - query, key)[:, None], -1e9)
        answers.append(torch.softmax(scores, -1) @ values[..., start : start + block, :])
    return torch.stack(answers).mean(0)


@blockwise_attention.mistake(hint="What is still in your list when the last block comes? Sum up while you read.")
def all_blocks_kept(queries, keys, values, block, causal=False):
    """The scores of all blocks are kept until the end: together they are the matrix that was to be avoided."""
    query, key, kept = queries.shape[-2], keys.shape[-2], []
    for start in range(0, key, block):
        scores = queries @ keys[..., start : start + block, :].mT / math.sqrt(queries.shape[-1])
        if causal:
            place = torch.arange(start, min(start + block, key))
            scores = scores.masked_fill(place > torch.arange(key - query, key)[:, None], -math.inf)
        kept.append(scores)
    highest = torch.stack([scores.amax(-1) for scores in kept]).amax(0)
    kept = [torch.exp(scores - highest[..., None]) for scores in kept]
    weighted = sum(powers @ values[..., i * block : (i + 1) * block, :] for i, powers in enumerate(kept))
    return weighted / sum(powers.sum(-1, keepdim=True) for powers in kept)


@blockwise_attention.mistake(hint="How large is queries @ keys.mT? The point is never to hold it.")
def the_whole_matrix(queries, keys, values, block, causal=False):
    """The whole query × key matrix is computed at once: the values are right, the memory is what it always was."""
    query, key = queries.shape[-2], keys.shape[-2]
    scores = queries @ keys.mT / math.sqrt(queries.shape[-1])
    if causal:
        scores = scores.masked_fill(torch.arange(key) > torch.arange(key - query, key)[:, None], -math.inf)
    return torch.softmax(scores, -1) @ values
