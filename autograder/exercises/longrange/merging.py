"""The exercise on merging two parts of a softmax."""

import math

import numpy as np
import torch

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import longrange


def merged(first, second):
    """The reference under the homework's signature."""
    return tuple(longrange.merge(longrange.Partial(*first), longrange.Partial(*second)))


merge_parts = Exercise(
    "longrange.merge_parts",
    reference=merged,
    facets={"values": 2, "far apart": 1, "nothing seen": 1, SIDE_EFFECTS: 1},
    difficulty=2,
    minutes=20,
    results=("highest", "total", "weighted"),
    equivalent_mutants={
        "highest = torch.maximum(first[0], second[0]) → highest = torch.maximum(second[0], first[0])": (
            "The larger of two numbers does not depend on their order."
        ),
        "shift = highest.masked_fill(highest == -math.inf, 0) → shift = highest.masked_fill(highest == -math.inf, 1)": (
            "Where neither has seen anything any finite number may be subtracted: both sums are zero."
        ),
    },
)


@merge_parts.cases
def merge_cases(rng):
    def part(*batch, features=3, dtype=np.float64, around=0.0):
        highest = around + rng.normal(size=batch)
        total, weighted = 1 + rng.random(batch), rng.normal(size=(*batch, features))
        return [array.astype(dtype) for array in (highest, total, weighted)]

    def case(label, facet, first, second):
        names = ("highest1", "total1", "weighted1", "highest2", "total2", "weighted2")
        return Case(label, facet, **dict(zip(names, (*first, *second), strict=True)))

    query, features = (int(size) for size in rng.integers(2, 7, size=2))
    yield case("the second holds the higher score", None, part(query), part(query, around=4))
    yield case("the first holds the higher score", None, part(query, around=4), part(query))
    yield case("now one, now the other", None, part(20, features=features), part(20, features=features))
    yield case("a batch with heads", None, part(2, 3, query), part(2, 3, query))
    even = part(query)
    yield case("the same highest score in both", None, even, [even[0], *part(query)[1:]])
    yield case("one query, one feature", None, part(1, features=1), part(1, features=1))
    yield case("float32", None, part(query, dtype=np.float32), part(query, dtype=np.float32))
    yield case("scores of a thousand beside scores of zero", "far apart", part(query), part(query, around=1000))
    yield case("scores of minus a thousand", "far apart", part(query, around=-1000), part(query, around=-1002))
    yield case("scores of a thousand in both", "far apart", part(query, around=1000), part(query, around=1001))
    blind = [np.full(query, -np.inf), np.zeros(query), np.zeros((query, 3))]
    yield case("the first has seen nothing", "nothing seen", blind, part(query))
    yield case("the second has seen nothing", "nothing seen", part(query), blind)
    yield case("neither has seen anything", "nothing seen", blind, blind)
    half = part(4)
    for array, empty in zip(half, (-np.inf, 0, 0), strict=True):
        array[1:3] = empty
    other = part(4)
    for array, empty in zip(other, (-np.inf, 0, 0), strict=True):
        array[2:] = empty
    yield case("some queries have seen something", "nothing seen", half, other)


@merge_parts.probe
def ask_merge_parts(answer, highest1, total1, weighted1, highest2, total2, weighted2):
    import torch

    first = tuple(torch.from_numpy(array) for array in (highest1, total1, weighted1))
    second = tuple(torch.from_numpy(array) for array in (highest2, total2, weighted2))
    highest, total, weighted = answer(first, second)
    return {"highest": highest, "total": total, "weighted": weighted}


@merge_parts.alternative
def by_stacking(first, second):
    highs = torch.stack([first[0], second[0]])
    highest = highs.amax(0)
    factors = torch.exp(highs - torch.where(highest.isinf(), 0.0, highest))
    total = factors[0] * first[1] + factors[1] * second[1]
    return highest, total, factors[0].unsqueeze(-1) * first[2] + factors[1].unsqueeze(-1) * second[2]


@merge_parts.alternative
def by_logarithms(first, second):
    highest = torch.where(first[0] > second[0], first[0], second[0])
    shift = torch.clamp(highest, min=-1e300 if highest.dtype == torch.float64 else -1e30)
    left, right = torch.exp(first[0] - shift), torch.exp(second[0] - shift)
    total = torch.add(first[1] * left, second[1] * right)
    weighted = torch.einsum("...,...f->...f", left, first[2]) + torch.einsum("...,...f->...f", right, second[2])
    return highest, total, weighted


merge_parts.slip(
    "sum not rescaled",
    by_stacking,
    "factors[0] * first[1] + factors[1] * second[1]",
    "first[1] + second[1]",
    cause="The sums of exponentials are added as they are, though each was taken from its own highest score.",
    hint="A sum of exp(s − 3) and a sum of exp(s − 5) speak different languages. What does exp(3 − 5) do?",
)
merge_parts.slip(
    "output not rescaled",
    by_stacking,
    "factors[0].unsqueeze(-1) * first[2] + factors[1].unsqueeze(-1) * second[2]",
    "first[2] + second[2]",
    cause="The weighted sums of values are added without being brought to the common highest score.",
    hint="total is rescaled. The same factors belong to weighted.",
)
merge_parts.slip(
    "nothing rescaled",
    by_stacking,
    """total = factors[0] * first[1] + factors[1] * second[1]
    return highest, total, factors[0].unsqueeze(-1) * first[2] + factors[1].unsqueeze(-1) * second[2]""",
    "return highest, first[1] + second[1], first[2] + second[2]",
    cause="Both sums are added as they are, though each part's were taken from its own highest score.",
    hint="A sum of exp(s − 3) and a sum of exp(s − 5) speak different languages. What does exp(3 − 5) do?",
)
merge_parts.slip(
    "only the first rescaled",
    by_stacking,
    "factors[0] * first[1] + factors[1] * second[1]",
    "factors[0] * first[1] + second[1]",
    cause="Only the first sum is rescaled: right as long as the new block holds the highest score, and only then.",
    hint="Try it with a second part whose scores are all lower.",
)
merge_parts.slip(
    "factors upside down",
    by_stacking,
    "torch.exp(highs - torch.where(highest.isinf(), 0.0, highest))",
    "torch.exp(torch.where(highest.isinf(), 0.0, highest) - highs)",
    cause="The factor is exp(m − m₁) instead of exp(m₁ − m): it makes sums larger, and overflows.",
    hint="Which sign must an exponent have so that nothing can overflow?",
)
merge_parts.slip(
    "not a number where nothing was seen",
    by_stacking,
    "torch.where(highest.isinf(), 0.0, highest)",
    "highest",
    cause="Where neither part has seen anything both highest scores are −∞, and −∞ − (−∞) is not a number.",
    hint="What does torch.tensor(-math.inf) - torch.tensor(-math.inf) give? Which number could be subtracted instead?",
)
merge_parts.slip(
    "divided already",
    by_stacking,
    "first[2] + factors[1].unsqueeze(-1) * second[2]",
    "first[2] / total.unsqueeze(-1) + factors[1].unsqueeze(-1) * second[2] / total.unsqueeze(-1)",
    cause="weighted comes back divided by the sum. It must stay undivided, or the next merge goes wrong.",
    hint="Dividing is the very last step, after all parts are merged.",
)


@merge_parts.mistake(hint="What is exp(1000)? And why does the softmax subtract a maximum?")
def without_a_maximum(first, second):
    """The parts are multiplied back by exp(their highest score), which overflows; the maximum is there to avoid it."""
    highest = torch.maximum(first[0], second[0])
    left, right = torch.exp(first[0]), torch.exp(second[0])
    back = torch.exp(highest)
    total = (left * first[1] + right * second[1]) / back
    return highest, total, (left[..., None] * first[2] + right[..., None] * second[2]) / back[..., None]


@merge_parts.mistake(hint="Let the second part's scores be a thousand lower than the first's. What is exp(1000)?")
def maximum_of_the_second(first, second):
    """The second part's highest score is taken for that of both; where the first's is far higher, sums overflow."""
    factor = torch.exp(first[0] - second[0])
    return second[0], factor * first[1] + second[1], factor[..., None] * first[2] + second[2]


@merge_parts.mistake(hint="a *= b writes into the tensor called a, whoever else holds it. a = a * b makes a new one.")
def parts_overwritten(first, second):
    """The sums of the first part are rescaled in place, so whoever handed it in holds other numbers afterwards."""
    highest = torch.maximum(first[0], second[0])
    shift = highest.masked_fill(highest == -math.inf, 0)
    left, right = torch.exp(first[0] - shift), torch.exp(second[0] - shift)
    total, weighted = first[1], first[2]
    total *= left
    weighted *= left[..., None]
    return highest, total + right * second[1], weighted + right[..., None] * second[2]
