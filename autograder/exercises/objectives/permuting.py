"""The exercises on XLNet: masks from an order, and one head of its two streams."""

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import objectives
from ml_course.attention import scaled_dot_product_attention

# permutation_masks


def masks_of_the_library(order):
    """The reference under the homework's signature: an order says who is when, ranks say when who is."""
    return tuple(objectives.permutation_masks(order.argsort(1)))


permutation_masks = Exercise(
    "objectives.permutation_masks",
    reference=masks_of_the_library,
    facets={"content": 1.5, "query": 2, DTYPE: 0.5},
    difficulty=2,
    minutes=20,
    results=("content", "query"),
)


@permutation_masks.cases
def mask_cases(rng):
    def orders(batch, time):
        # Orders that are not their own inverses, so that an order taken for ranks is seen.
        found = []
        while len(found) < batch:
            order = rng.permutation(time)
            if time < 3 or (order != np.argsort(order)).any():
                found.append(order)
        return np.array(found)

    time = int(rng.integers(5, 8))
    for part in ("content", "query"):  # asked for apart, so that a fault in one of them costs that one
        given = {
            "one order": orders(1, time),
            "several orders": orders(3, time),
            "as many orders as tokens": orders(4, 4),
            "the order of the text": np.arange(5)[None],
            "backwards": np.arange(5)[::-1][None].copy(),
            "one token": np.zeros((2, 1), dtype=np.int64),
        }
        for label, order in given.items():
            yield Case(f"{label}, {part}", part, order=order, part=part)


@permutation_masks.probe
def ask_permutation_masks(answer, order, part):
    import torch

    content, query = answer(torch.from_numpy(order))
    return {"content": content} if part == "content" else {"query": query}


@permutation_masks.alternative
def by_ranks(order):
    ranks = torch.argsort(order, dim=1)
    return ranks[:, None, :] <= ranks[:, :, None], ranks[:, None, :] < ranks[:, :, None]


@permutation_masks.alternative
def step_by_step(order):
    batch, time = order.shape
    content = torch.zeros(batch, time, time, dtype=torch.bool)
    query = torch.zeros(batch, time, time, dtype=torch.bool)
    for row in range(batch):
        for step in range(time):
            place = order[row, step]
            query[row, place, order[row, :step]] = True
            content[row, place, order[row, : step + 1]] = True
    return content, query


@permutation_masks.alternative
def by_sorting_a_triangle(order):
    time = order.shape[1]
    ranks = torch.zeros_like(order).scatter(1, order, torch.arange(time).expand_as(order))
    triangle = torch.ones(time, time, dtype=torch.bool).tril(-1)
    query = torch.stack([triangle[rank][:, rank] for rank in ranks])
    return query | torch.eye(time, dtype=torch.bool), query


permutation_masks.slip(
    "the order taken for ranks",
    by_ranks,
    "ranks = torch.argsort(order, dim=1)",
    "ranks = order",
    cause="`order` says which place comes first, second …; the masks ask when each place comes. One is the inverse "
    "of the other.",
    hint="In the order [2, 0, 1], when does place 0 come? Second, so its rank is 1. What does order[0] say?",
)
permutation_masks.slip(
    "the query sees its own token",
    by_ranks,
    "ranks[:, None, :] < ranks[:, :, None]",
    "ranks[:, None, :] <= ranks[:, :, None]",
    cause="The query stream sees the very token it is asked for: nothing is left to guess.",
    hint="What is on the diagonal of the query's mask?",
)
permutation_masks.slip(
    "the content does not see itself",
    by_ranks,
    "ranks[:, None, :] <= ranks[:, :, None]",
    "ranks[:, None, :] < ranks[:, :, None]",
    cause="The content stream does not see its own token, which it is to hand on to later ones.",
    hint="What is on the diagonal of the content's mask?",
)
permutation_masks.slip(
    "later ones are seen",
    by_ranks,
    "return ranks[:, None, :] <= ranks[:, :, None], ranks[:, None, :] < ranks[:, :, None]",
    "return ranks[:, None, :] >= ranks[:, :, None], ranks[:, None, :] > ranks[:, :, None]",
    cause="Each sees what comes *later* in the order: axes exchanged, or the comparison turned round.",
    hint="Who is first in the order sees nobody. Which row of your query mask is empty?",
)
permutation_masks.slip(
    "the order of the text",
    by_ranks,
    "ranks = torch.argsort(order, dim=1)",
    "ranks = torch.arange(order.shape[1]).expand_as(order)",
    cause="The order is not used: these are the masks of a causal language model.",
    hint="One of the arguments is not used.",
)
permutation_masks.slip(
    "numbers instead of bool",
    by_ranks,
    "return ranks[:, None, :] <= ranks[:, :, None], ranks[:, None, :] < ranks[:, :, None]",
    "return (ranks[:, None, :] <= ranks[:, :, None]).float(), (ranks[:, None, :] < ranks[:, :, None]).float()",
    cause="The masks are right, but float: masks are bool in this course.",
    hint="A comparison gives bool by itself.",
)

# two_streams


def streams_of_the_library(content, query, w_query, w_key, w_value, content_mask, query_mask):
    """The reference under the homework's signature."""
    keys, values = content @ w_key, content @ w_value
    return (
        scaled_dot_product_attention(content @ w_query, keys, values, content_mask),
        scaled_dot_product_attention(query @ w_query, keys, values, query_mask),
    )


two_streams = Exercise(
    "objectives.two_streams",
    reference=streams_of_the_library,
    facets={"content": 1, "query": 2, "nothing to see": 1, GRADIENTS: 1},
    difficulty=3,
    minutes=25,
    results=("content", "query"),
    forbidden=("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"),
)


@two_streams.cases
def stream_cases(rng):
    def inputs(part, batch=2, time=4, width=6, d_head=3, dtype=np.float64, ranks=None):
        made = {name: rng.normal(size=(batch, time, width)).astype(dtype) for name in ("content", "query")}
        for name in ("w_query", "w_key", "w_value"):
            made[name] = rng.normal(size=(width, d_head)).astype(dtype)
        if ranks is None:
            # Rank 0 twice: these two see each other's content, and their queries are not asked.
            ranks = np.array([np.maximum(rng.permutation(time) - 1, 0) for _ in range(batch)])
        earlier = ranks[:, None, :] < ranks[:, :, None]
        same = ranks[:, None, :] == ranks[:, :, None]
        if part != "nothing to see":
            earlier = earlier | (~earlier.any(2, keepdims=True) & ~np.eye(time, dtype=bool))
        return made | {"content_mask": earlier | same, "query_mask": earlier, "part": part}

    batch, time, width, d_head = (int(size) for size in rng.integers(2, 6, size=4))
    for part in ("content", "query"):
        yield Case(f"random sizes, {part}", part, **inputs(part, batch, time + 1, width + 1, d_head))
        yield Case(f"a wide head, {part}", part, **inputs(part, 2, 5, 4, 16))
        yield Case(f"as many tokens as features, {part}", part, **inputs(part, 4, 4, 4, 4))
        yield Case(f"float32, {part}", part, **inputs(part, batch, time + 1, width, d_head, np.float32))
    nothing = "nothing to see"
    yield Case("the first of the order", nothing, **inputs(nothing, ranks=np.array([[2, 0, 1, 3], [0, 1, 2, 3]])))
    yield Case("one token", nothing, **inputs(nothing, 2, 1, ranks=np.zeros((2, 1), dtype=int)))
    yield Case("a context of three", nothing, **inputs(nothing, 1, 5, ranks=np.array([[0, 2, 0, 1, 0]])))


@two_streams.probe
def ask_two_streams(answer, content, query, w_query, w_key, w_value, content_mask, query_mask, part):
    import torch

    masks = torch.from_numpy(content_mask), torch.from_numpy(query_mask)
    fixed = torch.from_numpy(query)

    def call(content, w_query, w_key, w_value, query=None):
        asks = fixed if query is None else query
        new_content, new_query = answer(content, asks, w_query, w_key, w_value, *masks)
        return {"content": new_content} if part == "content" else {"query": new_query}

    asked = {} if part == "content" else {"query": query}  # the contents do not depend on it
    return with_gradients(call, content=content, w_query=w_query, w_key=w_key, w_value=w_value, **asked)


@two_streams.alternative
def one_helper_twice(content, query, w_query, w_key, w_value, content_mask, query_mask):
    def attend(asks, mask):
        scores = asks @ w_query @ (content @ w_key).mT / w_query.shape[1] ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0.0)
        return weights @ (content @ w_value)

    # With all scores at −∞ a softmax is NaN, and so would its gradient be; such rows are asked nothing instead.
    def safely(asks, mask):
        some = mask.any(-1, keepdim=True)
        return torch.where(some, attend(asks, mask | ~some), 0.0)

    return safely(content, content_mask), safely(query, query_mask)


@two_streams.alternative
def both_at_once(content, query, w_query, w_key, w_value, content_mask, query_mask):
    asks = torch.cat([content, query], dim=1) @ w_query
    mask = torch.cat([content_mask, query_mask], dim=1)
    scores = torch.einsum("bqd,bkd->bqk", asks, content @ w_key) / asks.shape[-1] ** 0.5
    scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    weights = torch.softmax(scores, dim=-1) * mask
    both = torch.einsum("bqk,bkd->bqd", weights, content @ w_value)
    return both[:, : content.shape[1]], both[:, content.shape[1] :]


@two_streams.alternative
def exponentials_written_out(content, query, w_query, w_key, w_value, content_mask, query_mask):
    results = []
    for asks, mask in ((content, content_mask), (query, query_mask)):
        scores = (asks @ w_query) @ (content @ w_key).transpose(1, 2) / w_key.shape[1] ** 0.5
        scores = scores - scores.detach().amax(-1, keepdim=True)
        powers = scores.exp() * mask
        total = powers.sum(-1, keepdim=True)
        results.append(powers / torch.where(total == 0, 1.0, total) @ (content @ w_value))
    return results[0], results[1]


two_streams.slip(
    "the query stream sees its own token",
    both_at_once,
    "mask = torch.cat([content_mask, query_mask], dim=1)",
    "mask = torch.cat([content_mask, content_mask], dim=1)",
    cause="Both streams use the content's mask: the query sees the content of its own place, and so the answer.",
    hint="One of the arguments is not used.",
)
two_streams.slip(
    "the query stream looks at queries",
    exponentials_written_out,
    "(content @ w_key).transpose(1, 2)",
    "(asks @ w_key).transpose(1, 2)",
    cause="In the query stream keys come from the queries, which know nothing of the tokens. Both streams look at "
    "contents.",
    hint="Who asks differs between the streams. Who is asked is the same.",
)
two_streams.slip(
    "values of the queries",
    exponentials_written_out,
    "@ (content @ w_value))",
    "@ (asks @ w_value))",
    cause="In the query stream the values come from the queries; it should collect contents.",
    hint="Who asks differs between the streams. What is collected is the same.",
)
two_streams.slip(
    "not divided by the root",
    both_at_once,
    " / asks.shape[-1] ** 0.5",
    "",
    cause="The scores are not divided by √d_head.",
    hint="How large do dot products of wide vectors get?",
)
two_streams.slip(
    "divided by the root of the model's width",
    exponentials_written_out,
    "w_key.shape[1] ** 0.5",
    "w_key.shape[0] ** 0.5",
    cause="The scores are divided by √d_model; it is the width of a key, d_head, that counts.",
    hint="How many products are summed up in one score?",
)
two_streams.slip(
    "masks inverted",
    both_at_once,
    "mask = torch.cat([content_mask, query_mask], dim=1)",
    "mask = ~torch.cat([content_mask, query_mask], dim=1)",
    cause="The masks are turned round: what was allowed is hidden.",
    hint="True means: may attend.",
)
two_streams.slip(
    "not a number where nothing is seen",
    one_helper_twice,
    "return safely(content, content_mask), safely(query, query_mask)",
    "def plain(asks, mask):\n"
    "        scores = asks @ w_query @ (content @ w_key).mT / w_query.shape[1] ** 0.5\n"
    "        return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ (content @ w_value)\n\n"
    "    return plain(content, content_mask), plain(query, query_mask)",
    cause="Who may see nobody gets NaN: a softmax over nothing but −∞ is 0/0.",
    hint="The first of the order sees nothing. What should its query get? Zeros.",
)
two_streams.slip(
    "everybody where nothing is seen",
    both_at_once,
    "torch.softmax(scores, dim=-1) * mask",
    "torch.softmax(scores, dim=-1)",
    cause="Who may see nobody gets the mean of everybody, its own token among them: a leak.",
    hint="With all scores equally low a softmax spreads evenly. Print the weights of the first of the order.",
)
two_streams.slip(
    "mask after the softmax",
    both_at_once,
    "    scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)\n",
    "",
    cause="The mask comes after the softmax, so the weights that are left do not sum to one.",
    hint="What is hidden must not take part in the division.",
)
