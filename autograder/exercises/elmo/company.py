"""The exercises on the company words keep: pairs within a window, and how often a word is drawn as a negative."""

import numpy as np
import torch

from autograder.exercise import DTYPE, Case, Exercise
from ml_course import elmo

# skipgram_pairs

PLACES = "for j in range(max(0, i - window), min(len(sentence), i + window + 1)):"


def pairs_in_order(sentence, window):
    """The reference under the homework's signature: middle by middle, from left to right."""
    places = list(range(len(sentence)))
    given, asked = elmo.skipgram_pairs([places], window)
    return [(sentence[i], sentence[j]) for i, j in sorted(zip(given.tolist(), asked.tolist(), strict=True))]


skipgram_pairs = Exercise(
    "elmo.skipgram_pairs",
    reference=pairs_in_order,
    facets={"inside": 2, "edges": 1},
    difficulty=1,
    minutes=10,
    equivalent_mutants={
        f"{PLACES} → for j in range(max(i - window, 0), min(len(sentence), i + window + 1)):": "max is symmetric",
        f"{PLACES} → for j in range(max(0, i - window), min(i + window + 1, len(sentence))):": "min is symmetric",
    },
)


@skipgram_pairs.cases
def pairs_cases(rng):
    def sentence(length):
        return [int(word) for word in rng.permutation(50)[:length]]

    yield Case("three words, window 1", sentence=sentence(3), window=1)
    yield Case("five words, window 2", sentence=sentence(5), window=2)
    length = int(rng.integers(7, 11))
    yield Case("a longer sentence", sentence=sentence(length), window=3)
    yield Case("a word that stands twice", sentence=[4, 7, 4, 9], window=2)
    yield Case("window as wide as the sentence", "edges", sentence=sentence(4), window=4)
    yield Case("window much wider than the sentence", "edges", sentence=sentence(3), window=10)
    yield Case("two words", "edges", sentence=sentence(2), window=3)
    yield Case("a word alone", "edges", sentence=sentence(1), window=2)


@skipgram_pairs.probe
def ask_pairs(answer, sentence, window):
    pairs = answer(list(sentence), window)
    return {"pairs": [[int(word) for word in pair] for pair in pairs]}


@skipgram_pairs.alternative
def all_places_tried(sentence, window):
    places = range(len(sentence))
    return [(sentence[i], sentence[j]) for i in places for j in places if i != j and abs(i - j) <= window]


@skipgram_pairs.alternative
def left_then_right(sentence, window):
    pairs = []
    for i, middle in enumerate(sentence):
        left = sentence[max(0, i - window) : i]
        right = sentence[i + 1 : i + 1 + window]
        pairs += [(middle, other) for other in left + right]
    return pairs


skipgram_pairs.slip(
    "the word with itself",
    all_places_tried,
    "if i != j and abs",
    "if abs",
    cause="Every word is paired with itself, too.",
    hint="Does a word stand near itself? Look at the pairs of a sentence of one word.",
)
skipgram_pairs.slip(
    "equal words left out",
    all_places_tried,
    "if i != j and",
    "if sentence[i] != sentence[j] and",
    cause="The words are compared, not their places: a word that stands twice is not paired with its double.",
    hint="In 'that that is' the first two words are neighbours. Which pairs do they make?",
)
skipgram_pairs.slip(
    "negative start of a slice",
    left_then_right,
    "max(0, i - window)",
    "i - window",
    cause="A slice with a negative start counts from the end: near the beginning words get lost or come from the end.",
    hint="What is sentence[-1:1] for a sentence of five words?",
)
skipgram_pairs.slip(
    "window too narrow by one",
    all_places_tried,
    "<= window",
    "< window",
    cause="Words exactly `window` places away are left out.",
    hint="With window 1 the direct neighbours belong to it.",
)
skipgram_pairs.slip(
    "only words that follow",
    left_then_right,
    "left + right",
    "right",
    cause="Only words after the middle are paired; those before it keep it company as well.",
    hint="On how many sides of a word does its window lie?",
)
skipgram_pairs.slip(
    "pairs turned round",
    all_places_tried,
    "(sentence[i], sentence[j])",
    "(sentence[j], sentence[i])",
    cause="Each pair has the other word first and the middle second.",
    hint="Which of the two does skip-gram give, and which does it ask for?",
)


@skipgram_pairs.mistake(hint="Put the loop over the middles outside, the one over distances inside.")
def ordered_by_distance(sentence, window):
    """These are the right pairs in another order: all those of distance 1 first. Asked for is middle by middle."""
    pairs = []
    for distance in range(1, window + 1):
        for i in range(len(sentence) - distance):
            pairs += [(sentence[i], sentence[i + distance]), (sentence[i + distance], sentence[i])]
    return pairs


# noise_distribution


def noise(counts, power=0.75):
    """The reference under the homework's signature."""
    return elmo.noise_distribution(counts, power)


noise_distribution = Exercise(
    "elmo.noise_distribution",
    reference=noise,
    facets={"values": 2, "unseen words": 1, DTYPE: 1},
    difficulty=1,
    minutes=10,
)


@noise_distribution.cases
def noise_cases(rng):
    def counts(size):
        return rng.integers(1, 1000, size=size)

    yield Case("three words", counts=np.array([16, 81, 1]), power=0.75)
    yield Case("many words", counts=counts(int(rng.integers(6, 12))), power=0.75)
    yield Case("one word", counts=counts(1), power=0.75)
    yield Case("power one half", counts=counts(5), power=0.5)
    yield Case("power 1: as often as in the text", counts=counts(5), power=1.0)
    yield Case("power 0: all alike", counts=counts(int(rng.integers(3, 7))), power=0.0)
    some = counts(7)
    some[[0, 3]] = 0
    yield Case("words that never occur", "unseen words", counts=some, power=0.75)
    yield Case("words that never occur, power 0", "unseen words", counts=some, power=0.0)


@noise_distribution.probe
def ask_noise(answer, counts, power):
    import torch

    return {"probability": answer(torch.from_numpy(counts), power)}


@noise_distribution.alternative
def masked_powers(counts, power=0.75):
    powers = (counts.float() ** power) * (counts > 0)
    return powers / powers.sum()


@noise_distribution.alternative
def word_by_word(counts, power=0.75):
    powers = [count**power if count > 0 else 0.0 for count in counts.tolist()]
    return torch.tensor([value / sum(powers) for value in powers])


noise_distribution.slip(
    "as often as in the text",
    masked_powers,
    "counts.float() ** power",
    "counts.float()",
    cause="The words are drawn as often as they occur in the text: the power is missing.",
    hint="With counts 16 and 1 and the power ¾ the first word is 8 times as likely as the second, not 16 times.",
)
noise_distribution.slip(
    "float64",
    masked_powers,
    "counts.float()",
    "counts.double()",
    cause="The probabilities are right, but float64; float32 is asked for.",
    hint="counts.float() makes float32 of whole numbers, counts.double() float64.",
)
noise_distribution.slip(
    "softmax",
    masked_powers,
    "powers / powers.sum()",
    "torch.softmax(powers, dim=0)",
    cause="The powers went through a softmax: the frequent words get nearly everything.",
    hint="The formula says 'in proportion to'. What has to be divided by what?",
)
noise_distribution.slip(
    "unseen words with power 0",
    masked_powers,
    "(counts.float() ** power) * (counts > 0)",
    "counts.float() ** power",
    cause="0 to the power of 0 is 1, so words that never occur are drawn when the power is 0.",
    hint="Try a count of 0 with power 0.",
)
noise_distribution.slip(
    "one occurrence for everybody",
    masked_powers,
    "(counts.float() ** power) * (counts > 0)",
    "(counts.float() + 1) ** power",
    cause="Every count was raised by one, so all probabilities are off and words that never occur are drawn.",
    hint="Smoothing is good for language models. Is it asked for here?",
)


@noise_distribution.mistake(hint="What is the sum of your probabilities?")
def power_of_the_shares(counts, power=0.75):
    """The shares are raised to the power, and then no longer sum to one."""
    return (counts / counts.sum()) ** power
