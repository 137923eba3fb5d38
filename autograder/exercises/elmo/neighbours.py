"""The exercise on neighbours: which words have the directions nearest to a given one's."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import elmo


def nearest(vectors, word, count):
    """The reference under the homework's signature."""
    numbers, agreement = elmo.nearest(vectors, vectors[word : word + 1], count, without=torch.tensor([[word]]))
    return numbers[0], agreement[0]


cosine_neighbours = Exercise(
    "elmo.cosine_neighbours",
    reference=nearest,
    facets={"values": 2, "zero vectors": 1, SIDE_EFFECTS: 1},
    difficulty=1,
    minutes=15,
    results=("numbers", "cosines"),
    equivalent_mutants={
        "agreement = vectors @ vectors[word] / torch.where(sizes > 0, sizes, 1) → "
        "agreement = vectors @ vectors[word] / torch.where(sizes > 0, sizes, 2)": "0/2 is 0 as well",
        "agreement[word] = -2 → agreement[word] = -3": "both are below every cosine",
    },
)


@cosine_neighbours.cases
def neighbour_cases(rng):
    def vectors(vocab, d_model, dtype=np.float64):
        lengths = rng.uniform(0.2, 5, size=(vocab, 1))  # so that a long vector is not a near one
        return (lengths * rng.normal(size=(vocab, d_model))).astype(dtype)

    vocab, d_model = int(rng.integers(8, 14)), int(rng.integers(3, 6))
    yield Case("the nearest one", vectors=vectors(vocab, d_model), word=int(rng.integers(vocab)), count=1)
    yield Case("some neighbours", vectors=vectors(vocab, d_model), word=int(rng.integers(vocab)), count=4)
    yield Case("all the others", vectors=vectors(6, 3), word=int(rng.integers(6)), count=5)
    yield Case("as many words as numbers in a vector", vectors=vectors(5, 5), word=int(rng.integers(5)), count=2)
    yield Case("the first word", vectors=vectors(vocab, 3), word=0, count=3)
    yield Case("float32", vectors=vectors(vocab, d_model, np.float32), word=vocab - 1, count=3)
    opposite = vectors(6, 4)
    opposite[2] = -1.5 * opposite[4]
    yield Case("a word in the opposite direction", vectors=opposite, word=4, count=5)
    some = vectors(5, 2)
    some[1] = 0
    yield Case("a word whose vector is zero", "zero vectors", vectors=some, word=3, count=4)


@cosine_neighbours.probe
def ask_neighbours(answer, vectors, word, count):
    import torch

    numbers, agreement = answer(torch.from_numpy(vectors), word, count)
    return {"numbers": numbers, "cosines": agreement}


@cosine_neighbours.alternative
def by_torchs_cosine(vectors, word, count):
    agreement = F.cosine_similarity(vectors, vectors[word][None], dim=1)
    agreement[word] = -2
    best = agreement.topk(count)
    return best.indices, best.values


@cosine_neighbours.alternative
def by_sorting(vectors, word, count):
    lengths = vectors.norm(dim=1, keepdim=True).clamp(min=1e-12)
    unit = vectors / lengths
    agreement = unit @ unit[word]
    order = [i for i in agreement.argsort(descending=True).tolist() if i != word][:count]
    return torch.tensor(order), agreement[order]


@cosine_neighbours.alternative
def one_by_one(vectors, word, count):
    found = []
    for i, other in enumerate(vectors):
        if i != word:
            size = other.norm() * vectors[word].norm()
            found.append((((other @ vectors[word]) / size).item() if size > 0 else 0.0, i))
    found.sort(reverse=True)
    numbers = torch.tensor([i for _, i in found[:count]])
    return numbers, torch.tensor([value for value, _ in found[:count]], dtype=vectors.dtype)


cosine_neighbours.slip(
    "scalar products",
    by_sorting,
    "unit = vectors / lengths",
    "unit = vectors",
    cause="These are scalar products: long vectors win whatever their direction.",
    hint="A cosine lies between −1 and 1. Divide each vector by its length first.",
)
cosine_neighbours.slip(
    "the word itself",
    by_sorting,
    "if i != word][:count]",
    "][:count]",
    cause="The word is its own nearest neighbour and should be left out.",
    hint="Which word has cosine 1 with `word`?",
)
cosine_neighbours.slip(
    "the farthest first",
    by_sorting,
    "descending=True",
    "descending=False",
    cause="The words are sorted from the least cosine to the largest.",
    hint="Which cosine means: the same direction?",
)
cosine_neighbours.slip(
    "lengths along the wrong axis",
    by_sorting,
    "vectors.norm(dim=1, keepdim=True)",
    "vectors.norm(dim=0, keepdim=True)",
    cause="The numbers are divided by the length of each column, not of each word's vector.",
    hint="One row is one word. Over which axis does its length sum?",
)
cosine_neighbours.slip(
    "only the other words made unit",
    by_sorting,
    "unit @ unit[word]",
    "unit @ vectors[word]",
    cause="The given word's vector was not divided by its length: the order is right, the cosines are not.",
    hint="What is the cosine of a vector with itself?",
)
cosine_neighbours.slip(
    "nearest by the size of the cosine",
    by_sorting,
    "agreement.argsort(descending=True)",
    "agreement.abs().argsort(descending=True)",
    cause="The size of the cosine decides: words of the opposite direction count as near.",
    hint="What does a cosine of −1 mean?",
)

cosine_neighbours.slip(
    "the vectors themselves made unit",
    by_sorting,
    "unit = vectors / lengths",
    "unit = vectors.div_(lengths)",
    cause="The answer is right, but the vectors that were handed in have been shortened: they are the caller's.",
    hint="a /= b and a.div_(b) change a itself. a / b makes a new tensor.",
)


@cosine_neighbours.mistake(hint="Two vectors of the same direction but different length: what is their cosine?")
def distances(vectors, word, count):
    """Distances between points are compared; a cosine compares directions only."""
    apart = (vectors - vectors[word]).norm(dim=1)
    apart[word] = float("inf")
    best = apart.topk(count, largest=False)
    return best.indices, best.values


@cosine_neighbours.mistake(hint="What is 0/0? Give the cosine with a vector of zeros a value by hand.")
def zero_divided_by_zero(vectors, word, count):
    """A vector of zeros is divided by its length, which is zero: NaN, which some sort to the front."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    agreement = unit @ unit[word]
    agreement[word] = -2
    best = agreement.topk(count)
    return best.indices, best.values
