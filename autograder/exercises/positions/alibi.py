"""The exercise on ALiBi: slopes for any number of heads, and the matrix of biases."""

import math

import torch

from autograder.exercise import Case, Exercise
from ml_course import positions


def biases(heads, query, key):
    """The reference under the homework's signature."""
    return positions.BiasedAttention(positions.Alibi(heads)).matrix(query, key)


alibi_bias = Exercise(
    "positions.alibi_bias",
    reference=biases,
    facets={"values": 2, "more keys than queries": 1, "any number of heads": 1, "dtype": 1},
    difficulty=2,
    minutes=25,
    equivalent_mutants={
        "slopes += [2 ** (-4 * k / power) for k in range(1, 2 * power, 2)] → "
        "slopes += [2 ** (-4 * k / power) for k in range(1, 3 * power, 2)]": "what is too much is cut off",
    },
)


@alibi_bias.cases
def alibi_cases(rng):
    time, more = int(rng.integers(3, 7)), int(rng.integers(2, 5))
    yield Case("eight heads", heads=8, query=time, key=time)
    yield Case("four heads", heads=4, query=time, key=time)
    yield Case("sixteen heads", heads=16, query=3, key=3)
    yield Case("two heads", heads=2, query=5, key=5)
    yield Case("one head", heads=1, query=time, key=time)
    yield Case("one token", heads=4, query=1, key=1)
    cached = "more keys than queries"
    yield Case("one query, the last", cached, heads=8, query=1, key=time + more)
    yield Case("the last few queries", cached, heads=4, query=time, key=time + more)
    odd = "any number of heads"
    yield Case("three heads", odd, heads=3, query=time, key=time)
    yield Case("twelve heads", odd, heads=12, query=4, key=4)
    yield Case("some other number of heads", odd, heads=int(rng.choice([5, 6, 7, 9, 10, 11, 13])), query=3, key=3)


@alibi_bias.probe
def ask_alibi_bias(answer, heads, query, key):
    return {"bias": answer(heads, query, key)}


@alibi_bias.alternative
def by_two_lists(heads, query, key):
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (h + 1) / power) for h in range(power)]
    slopes += [2 ** (-4 * (h + 1) / power) for h in range(0, 2 * power, 2)]
    slopes = torch.tensor(slopes[:heads]).reshape(-1, 1, 1)
    asking = torch.arange(key - query, key)
    return -slopes * (asking[:, None] - torch.arange(key)).abs()


@alibi_bias.alternative
def by_loops(heads, query, key):
    power = 1
    while 2 * power <= heads:
        power *= 2
    bias = torch.zeros(heads, query, key)
    for h in range(heads):
        exponent = 8 / power * (h + 1) if h < power else 4 / power * (2 * (h - power) + 1)
        for i in range(query):
            for j in range(key):
                bias[h, i, j] = -abs(j - (i + key - query)) / 2**exponent
    return bias


@alibi_bias.alternative
def by_halving_again(heads, query, key):
    def slopes(n):
        if n & (n - 1) == 0:
            return torch.logspace(-8 / n, -8, n, base=2)
        power = 2 ** (n.bit_length() - 1)
        return torch.cat([slopes(power), slopes(2 * power)[::2][: n - power]])

    offset = torch.arange(key).view(1, -1) - torch.arange(key)[key - query :].view(-1, 1)
    return torch.einsum("h,qk->hqk", slopes(heads), -offset.abs().float())


alibi_bias.slip(
    "slope positive",
    by_two_lists,
    "return -slopes",
    "return slopes",
    cause="The bias grows with the distance, so every head prefers what is farthest away.",
    hint="Should a key nearby get a higher or a lower score than one far away?",
)
alibi_bias.slip(
    "slopes not geometric",
    by_two_lists,
    "    slopes = torch.tensor(slopes[:heads])",
    "    slopes = [(h + 1) / heads for h in range(heads)]\n    slopes = torch.tensor(slopes[:heads])",
    cause="The slopes rise by equal steps; they should fall by an equal factor from head to head.",
    hint="With four heads the slopes are 1/4, 1/16, 1/64, 1/256.",
)
alibi_bias.slip(
    "slopes begin with one",
    by_two_lists,
    "    slopes = torch.tensor(slopes[:heads])",
    "    slopes = [2 ** (-8 * h / power) for h in range(heads)]\n    slopes = torch.tensor(slopes[:heads])",
    cause="The first head's slope is 2⁰ = 1: the exponents are counted from 0.",
    hint="With eight heads the first slope is 1/2 and the last 1/256.",
)
alibi_bias.slip(
    "the same slopes for any number of heads",
    by_two_lists,
    "    slopes = torch.tensor(slopes[:heads])",
    "    slopes = [2.0 ** -(h + 1) for h in range(heads)]\n    slopes = torch.tensor(slopes[:heads])",
    cause="The slopes are 1/2, 1/4, 1/8 …, as for eight heads; the factor depends on the number of heads.",
    hint="Whatever the (power of two) number of heads, the last slope is 1/256.",
)
alibi_bias.slip(
    "one formula for any number of heads",
    by_two_lists,
    "    slopes = torch.tensor(slopes[:heads])",
    "    slopes = [2 ** (-8 * (h + 1) / heads) for h in range(heads)]\n    slopes = torch.tensor(slopes[:heads])",
    cause="The formula for powers of two is used for other numbers of heads as well.",
    hint="For three heads: the slopes of two heads, and then one of those for four.",
)
alibi_bias.slip(
    "further slopes from the wrong end",
    by_two_lists,
    "slopes += [2 ** (-4 * (h + 1) / power) for h in range(0, 2 * power, 2)]",
    "slopes += [2 ** (-4 * (h + 1) / power) for h in range(1, 2 * power, 2)]",
    cause="Of the slopes for twice as many heads the second, fourth … are taken; these are there already.",
    hint="Are all your slopes different?",
)
alibi_bias.slip(
    "restarts at zero with a cache",
    by_two_lists,
    "torch.arange(key - query, key)",
    "torch.arange(query)",
    cause="The queries are counted from 0, but they are the last of the keys' positions.",
    hint="One query and ten keys: which key has the distance 0?",
)
alibi_bias.slip(
    "keys behind the query gain",
    by_two_lists,
    "(asking[:, None] - torch.arange(key)).abs()",
    "(asking[:, None] - torch.arange(key))",
    cause="The distance has a sign: keys behind the query get a positive bias.",
    hint="A distance is never negative.",
)
alibi_bias.slip(
    "twice as fine as asked",
    by_two_lists,
    "torch.tensor(slopes[:heads])",
    "torch.tensor(slopes[:heads], dtype=torch.float64)",
    cause="The numbers are right, but they are float64; added to float32 scores they would make float64 of them.",
    hint="torch.tensor([0.5]) is float32 unless you say otherwise.",
)
alibi_bias.slip(
    "queries and keys exchanged",
    by_two_lists,
    "asking[:, None] - torch.arange(key)",
    "asking - torch.arange(key)[:, None]",
    cause="The matrix stands on its side: its rows are keys.",
    hint="The shape is (heads, query, key).",
)
