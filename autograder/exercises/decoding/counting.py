"""The exercises that count: how much a cache takes, and what guesses are worth."""

import math

from autograder.exercise import Case, Exercise
from ml_course import decoding

# cache_bytes


def bytes_of_the_library(tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    """The library's bytes a token, for all tokens of all texts."""
    return tokens * batch * decoding.cache_bytes_per_token(layers, kv_heads, d_head, bytes_per_number)


cache_bytes = Exercise(
    "decoding.cache_bytes",
    reference=bytes_of_the_library,
    facets={"values": 2},
    difficulty=1,
    minutes=5,
    forbidden=("cache_bytes_per_token",),
)


@cache_bytes.cases
def bytes_cases(rng):
    names = ("tokens", "batch", "layers", "kv_heads", "d_head", "bytes_per_number")
    different = [int(number) for number in rng.choice(range(3, 60), size=5, replace=False)]
    yield Case("some sizes", **dict(zip(names, [*different, 2], strict=True)))
    yield Case("four bytes a number", **dict(zip(names, [*different[::-1], 4], strict=True)))
    yield Case("one of everything", **dict.fromkeys(names, 1))
    yield Case("no token yet", **dict(zip(names, [0, 3, 4, 2, 8, 2], strict=True)))
    large = dict(zip(names, [int(rng.integers(1000, 4096)), 1, 80, 8, 128, 2], strict=True))
    yield Case("one text and a model of 70 billion weights", **large)


@cache_bytes.probe
def ask_cache_bytes(answer, tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    return {"bytes": answer(tokens, batch, layers, kv_heads, d_head, bytes_per_number)}


@cache_bytes.alternative
def bytes_by_products(tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    numbers_a_token = 2 * kv_heads * d_head * layers
    return tokens * batch * numbers_a_token * bytes_per_number


@cache_bytes.alternative
def bytes_by_counting(tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    total = 0
    for _ in range(layers):
        for _what in ("keys", "values"):
            total += math.prod((batch, kv_heads, tokens, d_head)) * bytes_per_number
    return total


def bytes_in_one_line(tokens, batch, layers, kv_heads, d_head, bytes_per_number):
    return 2 * tokens * batch * layers * kv_heads * d_head * bytes_per_number


cache_bytes.slip(
    "values forgotten",
    bytes_in_one_line,
    "2 * tokens",
    "tokens",
    cause="Only the keys are counted; the values are remembered as well.",
    hint="What does a query need besides the keys?",
)
cache_bytes.slip(
    "one layer",
    bytes_in_one_line,
    "layers * ",
    "",
    cause="One layer is counted; each layer has keys and values of its own.",
    hint="Do the second layer's queries look at the first layer's keys?",
)
cache_bytes.slip(
    "one text of the batch",
    bytes_in_one_line,
    "batch * ",
    "",
    cause="One text is counted; each of the batch has its own keys and values.",
    hint="Weights are shared by all texts of a batch. Is the cache?",
)
cache_bytes.slip(
    "numbers instead of bytes",
    bytes_in_one_line,
    " * bytes_per_number",
    "",
    cause="This is how many numbers are kept, not how many bytes.",
    hint="How many bytes does one number take?",
)
cache_bytes.slip(
    "queries remembered too",
    bytes_in_one_line,
    "2 * tokens",
    "3 * tokens",
    cause="Three vectors are counted for each token, but nobody asks an old query again.",
    hint="Which of query, key and value of an old token does a new token need?",
)


# speed_up


def speed_up_of_the_library(alpha, ahead, cost):
    return decoding.expected_speed_up(alpha, ahead, cost)


speed_up = Exercise(
    "decoding.speed_up",
    reference=speed_up_of_the_library,
    facets={"guesses for nothing": 2, "guesses that cost": 1, "all accepted": 1},
    difficulty=1,
    minutes=10,
    forbidden=("expected_speed_up", "expected_tokens"),
)


@speed_up.cases
def speed_up_cases(rng):
    def alpha(low=0.1, high=0.95):
        return float(rng.uniform(low, high))

    yield Case("a few guesses", alpha=alpha(), ahead=int(rng.integers(2, 6)), cost=0.0)
    yield Case("one guess", alpha=alpha(), ahead=1, cost=0.0)
    yield Case("no guess", alpha=alpha(), ahead=0, cost=0.0)
    yield Case("none is ever accepted", alpha=0.0, ahead=4, cost=0.0)
    yield Case("all are accepted", "all accepted", alpha=1.0, ahead=int(rng.integers(2, 9)), cost=0.0)
    yield Case("nearly all are accepted", alpha=1 - 2.0**-20, ahead=int(rng.integers(30, 60)), cost=0.0)
    priced = "guesses that cost"
    yield Case(
        "a small draft", priced, alpha=alpha(), ahead=int(rng.integers(2, 8)), cost=float(rng.uniform(0.02, 0.3))
    )
    yield Case("all are accepted, at a price", "all accepted", alpha=1.0, ahead=int(rng.integers(2, 6)), cost=0.25)
    yield Case("a draft as slow as the target", priced, alpha=alpha(), ahead=3, cost=1.0)


@speed_up.probe
def ask_speed_up(answer, alpha, ahead, cost):
    return {"times as fast": float(answer(alpha, ahead, cost))}


def sum_of_powers(alpha, ahead, cost):
    tokens = sum(alpha**n for n in range(ahead + 1))
    return tokens / (ahead * cost + 1)


@speed_up.alternative
def closed_form(alpha, ahead, cost):
    tokens = ahead + 1 if alpha == 1 else (1 - alpha ** (ahead + 1)) / (1 - alpha)
    return tokens / (1 + ahead * cost)


@speed_up.alternative
def by_the_place_of_the_first_rejection(alpha, ahead, cost):
    ends_after = [(1 - alpha) * alpha**n for n in range(ahead)] + [alpha**ahead]
    tokens = sum((n + 1) * chance for n, chance in enumerate(ends_after))
    return tokens / (1 + cost * ahead)


speed_up.slip(
    "bonus token lost",
    sum_of_powers,
    "range(ahead + 1)",
    "range(ahead)",
    cause="When all guesses stay, the target's pass brings one more token, and that is not counted.",
    hint="One guess, always accepted: how many tokens does a pass bring?",
)
speed_up.slip(
    "only accepted guesses counted",
    sum_of_powers,
    "range(ahead + 1)",
    "range(1, ahead + 1)",
    cause="The target's own token is not counted: the replacement of a rejected guess, or the bonus.",
    hint="No guess is ever accepted. Does the text stand still?",
)
speed_up.slip(
    "every guess judged by itself",
    sum_of_powers,
    "sum(alpha**n for n in range(ahead + 1))",
    "1 + alpha * ahead",
    cause="A guess counts only when all before it were accepted too: the chances are α, α², α³ …",
    hint="With α = 0.5, what is the chance that the third guess is of use?",
)
speed_up.slip(
    "the target's pass costs nothing",
    sum_of_powers,
    "(ahead * cost + 1)",
    "max(ahead * cost, 1)",
    cause="A round takes the guesses and one pass of the target; the pass is missing from the sum.",
    hint="With ahead = 3 and cost = 1, how many steps' time does a round take?",
)
speed_up.slip(
    "one guess paid",
    sum_of_powers,
    "ahead * cost + 1",
    "cost + 1",
    cause="The draft guesses token after token: each of the guesses costs.",
    hint="How many times does the draft run in a round?",
)
speed_up.slip(
    "cost ignored",
    sum_of_powers,
    " / (ahead * cost + 1)",
    "",
    cause="These are the tokens of a round; what its guesses cost is left out.",
    hint="Which of your arguments is never used?",
)


@speed_up.mistake(hint="Put α = 1 into your formula. And is there ever a round with more than ahead + 1 tokens?")
def as_if_guessing_had_no_end(alpha, ahead, cost):
    """The sum runs to infinity, 1/(1 − α), but a round ends after `ahead` guesses."""
    return (1 / (1 - alpha) if alpha < 1 else float("inf")) / (1 + ahead * cost)


@speed_up.mistake(hint="Put α = 1 into your formula by hand.")
def divided_by_zero_where_all_are_accepted(alpha, ahead, cost):
    """For α = 1 the closed form is 0/0; the sum that it stands for is not."""
    return (1 - alpha ** (ahead + 1)) / (1 - alpha) / (1 + ahead * cost)
