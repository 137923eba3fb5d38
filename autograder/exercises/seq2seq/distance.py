"""The exercise on single characters: how many of them are wrong, by the edit distance."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import seq2seq

PAIRS = "for output, reference in zip(outputs, references, strict=True):"

character_error_rate = Exercise(
    "seq2seq.character_error_rate",
    reference=lambda outputs, references: float(seq2seq.error_rate(outputs, references)),
    facets={"one text": 2, "several texts": 1},
    difficulty=2,
    minutes=25,
    equivalent_mutants={
        f"{PAIRS} → for output, reference in zip(references, outputs, strict=True):": "the distance is symmetric",
        f"{PAIRS} → for output, reference in zip(outputs, references):": "the two lists are equally long",
        f"{PAIRS} → for output, reference in zip(outputs, references, strict=False):": "the two lists are equally long",
        "d[i, j] = min(d[i - 1, j] + 1, d[i, j - 1] + 1, changed) → "
        "d[i, j] = min(d[i, j - 1] + 1, d[i - 1, j] + 1, changed)": "the smallest of three, in any order",
    },
)


@character_error_rate.cases
def character_error_rate_cases(rng):
    def text(length, letters="abcd"):
        return "".join(rng.choice(list(letters), size=length))

    yield Case("kitten and sitting", outputs=["kitten"], references=["sitting"])
    yield Case("one letter wrong", outputs=["Osla"], references=["Oslo"])
    yield Case("one letter missing", outputs=["Turn"], references=["Turin"])
    yield Case("one letter too many", outputs=["Turiin"], references=["Turin"])
    yield Case("moved by one", outputs=["abcdefg"], references=["xabcdefg"])
    yield Case("two letters swapped", outputs=["abdc"], references=["abcd"])
    yield Case("nothing said", outputs=[""], references=["Kyiv"])
    yield Case("all right", outputs=["Zürich"], references=["Zürich"])
    yield Case("much too long", outputs=[text(9)], references=["ab"])
    yield Case("random letters", outputs=[text(int(rng.integers(5, 9)))], references=[text(int(rng.integers(5, 9)))])
    yield Case("few letters", outputs=[text(8, "ab")], references=[text(7, "ab")])
    several = "several texts"
    lengths = rng.integers(2, 9, size=(2, 4))
    yield Case(
        "texts of different length", several,
        outputs=[text(int(n)) for n in lengths[0]], references=[text(int(n)) for n in lengths[1]],
    )  # fmt: skip
    yield Case(
        "a short wrong one and a long right one", several, outputs=["x", "abcdefghi"], references=["y", "abcdefghi"]
    )
    yield Case("an empty reference among others", several, outputs=["ab", "abc"], references=["", "abc"])


@character_error_rate.probe
def ask_character_error_rate(answer, outputs, references):
    return {"rate": float(answer(outputs, references))}


@character_error_rate.alternative
def by_matrix(outputs, references):
    total = 0
    for output, reference in zip(outputs, references, strict=True):
        table = np.zeros((len(output) + 1, len(reference) + 1), dtype=int)
        table[:, 0], table[0] = np.arange(len(output) + 1), np.arange(len(reference) + 1)
        for i in range(1, len(output) + 1):
            for j in range(1, len(reference) + 1):
                step = int(output[i - 1] != reference[j - 1])
                table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + step)
        total += table[-1, -1]
    return total / sum(len(reference) for reference in references)


@character_error_rate.alternative
def by_recursion(outputs, references):
    def distance(a, b, known):
        if not a or not b:
            return len(a) + len(b)
        if (a, b) not in known:
            if a[-1] == b[-1]:
                known[a, b] = distance(a[:-1], b[:-1], known)
            else:
                shorter = ((a[:-1], b), (a, b[:-1]), (a[:-1], b[:-1]))
                known[a, b] = 1 + min(distance(*pair, known) for pair in shorter)
        return known[a, b]

    return sum(distance(a, b, {}) for a, b in zip(outputs, references, strict=True)) / len("".join(references))


def right_rate(outputs, references):
    errors, length = 0, 0
    for output, reference in zip(outputs, references, strict=True):
        above = list(range(len(reference) + 1))
        for i, a in enumerate(output, start=1):
            row = [i]
            for j, b in enumerate(reference, start=1):
                row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
            above = row
        errors += above[-1]
        length += len(reference)
    return errors / length


character_error_rate.slip(
    "a substitution costs two",
    right_rate,
    "(a != b)",
    "2 * (a != b)",
    cause="Replacing a letter costs as much as deleting it and inserting another; it should cost one.",
    hint="“Osla” for “Oslo”: how many letters are wrong?",
)
character_error_rate.slip(
    "no letter may be left out",
    right_rate,
    "above[j] + 1, row[j - 1] + 1,",
    "above[j] + 1,",
    cause="One of the three ways is missing: a letter that the output lacks cannot be inserted.",
    hint="There are three ways to reach a cell: from above, from the left, and from both.",
)
character_error_rate.slip(
    "divided by the outputs",
    right_rate,
    "length += len(reference)",
    "length += len(output)",
    cause="The errors are divided by the length of the outputs; who says much would look better.",
    hint="Which text says how many letters there are to get right?",
)
character_error_rate.slip(
    "divided by the longer of the two",
    right_rate,
    "length += len(reference)",
    "length += max(len(output), len(reference))",
    cause="The errors are divided by the length of the longer text of each pair; asked is that of the references.",
    hint="May the rate be larger than 1? Read the text again for what it is divided by.",
)
character_error_rate.slip(
    "first row of zeros",
    right_rate,
    "above = list(range(len(reference) + 1))",
    "above = [0] * (len(reference) + 1)",
    cause="The first row is zero: letters that the output lacks at its beginning cost nothing.",
    hint="What is the distance between an empty output and a reference of four letters?",
)
character_error_rate.slip(
    "not divided",
    right_rate,
    "return errors / length",
    "return errors",
    cause="The number of errors is returned, not their share of the references' letters.",
    hint="A rate of 0.1 means: one letter of ten.",
)


def rate_by_rate(outputs, references):
    rates = []
    for output, reference in zip(outputs, references, strict=True):
        above = list(range(len(reference) + 1))
        for i, a in enumerate(output, start=1):
            row = [i]
            for j, b in enumerate(reference, start=1):
                row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
            above = row
        rates.append(above[-1] / len(reference))
    return sum(rates) / len(rates)


for label, length in {
    "mean of the rates": "max(len(reference), 1)",
    "mean of the rates, one of them by nothing": "len(reference)",
}.items():
    character_error_rate.slip(
        label,
        rate_by_rate,
        "/ len(reference)",
        f"/ {length}",
        cause="Every text gets a rate and the rates are averaged; errors and letters should be added up first.",
        hint="Should a wrong letter in “Rome” and one in “Santiago de Chile” count the same in all?",
    )


@character_error_rate.mistake(hint="Put one letter before a right text. How many letters are wrong then?")
def place_by_place(outputs, references):
    """Letters are compared at the same place; after one letter too many all that follow count as wrong."""
    errors = 0
    for output, reference in zip(outputs, references, strict=True):
        errors += sum(a != b for a, b in zip(output, reference, strict=False)) + abs(len(output) - len(reference))
    return errors / sum(map(len, references))
