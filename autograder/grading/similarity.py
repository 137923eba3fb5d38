"""Which submissions look alike: a hint where to look, never a proof.

Answers are lexed by Pygments, cleared of layout, comments and every line of the released cell, and compared exercise by
exercise with RapidFuzz's Indel similarity (the share of tokens in a longest common subsequence). Among students, names
count as alike, so that renaming hides nothing; against the published solution they count as they are, for an honest
short answer differs from it in little else.

Why RapidFuzz: nbgrader needs it already, it is maintained, and it compares in C++. copydetect, which fingerprints code
by winnowing, told the same copies from the same honest pairs in a trial class and took 300 times as long; its
fingerprints rest on Python's `hash` of text, so they differ from run to run, and repeated lines pass its filter for
released code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pygments.lexers import PythonLexer
from pygments.token import Comment, Literal, Name, Text
from rapidfuzz import process
from rapidfuzz.distance import Indel

from autograder.exercise import load
from autograder.homework import BEGIN, END, answer_cells, stub

ALIKE = 0.9  # weighted by length over all answers
IDENTICAL = 0.99
FEWEST_TOKENS = 40  # two submissions with less of their own code than this say nothing
ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Pair:
    """Two submissions, or one and the solution, with how much of their code is alike and how many answers entirely."""

    first: str
    second: str
    alike: float
    identical: int
    answers: int


@dataclass(frozen=True)
class Likeness:
    """Pairs worth a look, most alike first, and the class's median for comparison (NaN below two submissions)."""

    pairs: list[Pair]
    with_solution: list[Pair]
    median: float


def answers_in(notebook: Path, topic: str) -> dict[str, str]:
    """Source of each answer cell in a graded notebook, by exercise; nothing where the file is missing or torn."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    by_id = {cell.get("metadata", {}).get("nbgrader", {}).get("grade_id"): cell for cell in cells}
    found = {name: by_id.get(exercise.answer_name) for name, exercise in load(topic).items()}
    return {name: "".join(cell["source"]) for name, cell in found.items() if cell}


@lru_cache(maxsize=65536)
def tokens(source: str, released: str, names: bool) -> tuple[str, ...]:
    """A student's own code as tokens: no layout, comments or released lines; names all alike unless `names`."""
    given = {line.strip() for line in released.splitlines()}
    own = "\n".join(line for line in source.splitlines() if line.strip() not in given)
    kept = []
    for kind, text in PythonLexer().get_tokens(own):
        if kind in Text or kind in Comment or kind in Literal.String.Doc or not text.strip():
            continue
        kept.append("a name" if kind in Name and kind not in Name.Builtin and not names else text)
    return tuple(kept)


class Alphabet:
    """Tokens as characters, a new one for each, so that sequences of tokens can be compared as strings."""

    def __init__(self):
        self.known: dict[str, str] = {}

    def spell(self, words: tuple[str, ...]) -> str:
        return "".join(self.known.setdefault(word, chr(0x10000 + len(self.known) % 0xF0000)) for word in words)


def likeness(topic: str, submissions: dict[str, dict[str, str]]) -> Likeness:
    """Compare every submission (answers by exercise) with every other and with the solution."""
    students = sorted(submissions)
    solution = {name: source.replace(BEGIN, "").replace(END, "") for name, source in answer_cells(topic).items()}
    among = columns(topic, [submissions[student] for student in students], names=False)
    pairs, values = [], []
    for row, column, pair, value in alike_pairs(among, among):
        values.append(value)
        pairs += [Pair(students[row[k]], students[column[k]], *pair(k)) for k in range(len(row))]
    all_values = np.concatenate(values) if values else np.zeros(0)
    texts = columns(topic, [*(submissions[student] for student in students), solution], names=True)
    mine, theirs = [text[:-1] for text in texts], [text[-1:] for text in texts]
    with_solution = [
        Pair(students[row[k]], "the solution", *pair(k))
        for row, _, pair, _ in alike_pairs(mine, theirs)
        for k in range(len(row))
    ]
    order = dict(key=lambda pair: (-pair.alike, pair.first, pair.second))
    median = float(np.median(all_values)) if all_values.size else float("nan")
    return Likeness(sorted(pairs, **order), sorted(with_solution, **order), median)


def columns(topic: str, submissions: list[dict[str, str]], names: bool) -> list[list[str]]:
    """For each exercise every submission's answer, spelled in one alphabet."""
    alphabet = Alphabet()
    released = {name: stub(source) for name, source in answer_cells(topic).items()}
    return [
        [alphabet.spell(tokens(answers.get(name, ""), text, names)) for answers in submissions]
        for name, text in released.items()
    ]


def alike_pairs(ours: list[list[str]], theirs: list[list[str]]) -> Iterator[tuple]:
    """A block of rows at a time: rows and columns of the pairs worth a look, what to say of each, all values.

    Each exercise weighs as much as the longer of the two answers; compared with itself, a list gives each pair once.
    """
    within = ours is theirs
    count = len(ours[0]) if ours else 0
    for start in range(0, count, ROWS_AT_ONCE):
        block = slice(start, min(start + ROWS_AT_ONCE, count))
        shape = block.stop - start, len(theirs[0])
        total, weight, least = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        same, both = np.zeros(shape, int), np.zeros(shape, int)
        for left, right in zip(ours, theirs, strict=True):
            scores = process.cdist(left[block], right, scorer=Indel.normalized_similarity, dtype=np.float32)
            a, b = np.array([len(text) for text in left[block]]), np.array([len(text) for text in right])
            longer, shorter = np.maximum.outer(a, b), np.minimum.outer(a, b)
            total += scores * longer
            weight += longer
            least += shorter
            both += shorter > 0
            same += (shorter > 0) & (scores >= IDENTICAL)
        comparable = least >= FEWEST_TOKENS
        if within:
            comparable &= np.arange(shape[1])[None, :] > np.arange(block.start, block.stop)[:, None]
        value = np.divide(total, weight, out=np.zeros(shape), where=weight > 0)
        rows, found = np.nonzero(comparable & (value >= ALIKE))

        def pair(k, rows=rows, found=found, value=value, same=same, both=both) -> tuple[float, int, int]:
            place = rows[k], found[k]
            return float(value[place]), int(same[place]), int(both[place])

        yield rows + start, found, pair, value[comparable]
