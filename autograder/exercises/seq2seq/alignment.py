"""The exercise on IBM Model 1: one step of expectation–maximisation, with dictionaries of words."""

from collections import defaultdict

import numpy as np

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import seq2seq


def step_by_arrays(pairs, table):
    """The reference under the homework's signature: the library's step, between dictionaries and arrays."""
    sources, targets = list(table), sorted({f for row in table.values() for f in row})
    dense = np.array([[table[e].get(f, 0.0) for f in targets] for e in sources])
    numbered = [
        (np.array([sources.index(e) for e in source]), np.array([targets.index(f) for f in target]))
        for source, target in pairs
    ]
    new = seq2seq.em_step(numbered, dense)
    return {e: {f: float(new[i, targets.index(f)]) for f in table[e]} for i, e in enumerate(sources)}


em_step = Exercise(
    "seq2seq.em_step",
    reference=step_by_arrays,
    facets={"values": 2, "repeated words": 1, "unused words": 1, SIDE_EFFECTS: 1},
    difficulty=2,
    minutes=25,
    equivalent_mutants={
        "counts[e][f] += table[e][f] / norm → counts[e][f] -= table[e][f] / norm": "divided by their sum, signs cancel",
    },
)


@em_step.cases
def em_step_cases(rng):
    english = ["the", "a", "red", "old", "house", "cat", "book"]
    german = ["das", "ein", "rote", "alte", "haus", "katze", "buch"]

    def sentence(words, length, repeats):
        return [str(word) for word in rng.choice(words, size=length, replace=repeats)]

    def pairs(count, longest, repeats=False):
        return [
            [
                sentence(english, int(rng.integers(2, longest + 1)), repeats),
                sentence(german, int(rng.integers(2, longest + 1)), repeats),
            ]
            for _ in range(count)
        ]

    def table(corpus, more=()):
        rows = {}
        for e in [*dict.fromkeys(e for source, _ in corpus for e in source), *more]:
            chances = rng.dirichlet(np.full(len(german), 2.0))
            rows[e] = {f: float(chance) for f, chance in zip(german, chances, strict=True)}
        return rows

    def case(label, corpus, facet=None, more=(), rows=None):
        return Case(label, facet, pairs=corpus, table=rows or table(corpus, more))

    classic = [
        [["the", "house"], ["das", "haus"]],
        [["the", "book"], ["das", "buch"]],
        [["a", "book"], ["ein", "buch"]],
    ]
    equal = {e: {f: 0.25 for f in ("das", "haus", "buch", "ein")} for e in ("the", "house", "book", "a")}
    yield case("three sentences, all chances equal", classic, rows=equal)
    yield case("three sentences", classic)
    yield case("one sentence", pairs(1, 3))
    yield case("several sentences", pairs(int(rng.integers(3, 6)), 4))
    yield case("sides of different length", [[sentence(english, 2, False), sentence(german, 4, False)], *pairs(2, 3)])
    yield case("a source of one word", [[["cat"], ["katze", "das"]], *pairs(2, 3)])
    twice = [[["the", "cat", "the"], ["das", "katze", "das"]], [["the", "book"], ["buch", "buch", "das"]]]
    yield case("a word twice in a sentence", twice, "repeated words")
    yield case("words drawn with repetition", pairs(4, 5, repeats=True), "repeated words")
    yield case("a word that no sentence has", pairs(2, 3), "unused words", more=["never"])
    yield case("no sentence at all", [], "unused words", more=["the", "cat"])


@em_step.probe
def ask_em_step(answer, pairs, table):
    before = {e: list(row) for e, row in table.items()}
    new = answer([(source, target) for source, target in pairs], table)
    if not isinstance(new, dict) or not all(isinstance(row, dict) for row in new.values()):
        raise TypeError(f"expected a table as that of before, {{e: {{f: chance}}}}, got {type(new).__name__}")
    rows = {e: {f: float(new[e].get(f, 0.0)) for f in row} for e, row in before.items() if e in new}
    missing = [e for e in before if e not in new]
    for row in new.values():
        row.clear()  # what is new can be written into, and the table of before stays as it is
    return {"words without a row": missing, "table": rows}


@em_step.alternative
def by_posteriors(pairs, table):
    counts = {e: dict.fromkeys(row, 0.0) for e, row in table.items()}
    for source, target in pairs:
        for f in target:
            chances = [table[e].get(f, 0.0) for e in source]
            for e, chance in zip(source, chances, strict=True):
                counts[e][f] += chance / sum(chances)
    new = {}
    for e, row in counts.items():
        total = sum(row.values())
        new[e] = {f: count / total for f, count in row.items()} if total else dict(table[e])
    return new


@em_step.alternative
def by_matrices(pairs, table):
    sources, targets = list(table), sorted({f for row in table.values() for f in row})
    t = np.array([[table[e].get(f, 0.0) for f in targets] for e in sources])
    counts = np.zeros_like(t)
    for source, target in pairs:
        e = np.eye(len(sources))[[sources.index(word) for word in source]]
        f = np.eye(len(targets))[[targets.index(word) for word in target]]
        posterior = e @ t @ f.T
        counts += e.T @ (posterior / posterior.sum(0)) @ f
    used = counts.sum(1) > 0
    t[used] = counts[used] / counts[used].sum(1, keepdims=True)
    return {e: dict(zip(targets, map(float, row), strict=True)) for e, row in zip(sources, t, strict=True)}


def right_step(pairs, table):
    counts, totals = defaultdict(float), defaultdict(float)
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                share = table[e][f] / norm
                counts[e, f] += share
                totals[e] += share
    return {e: {f: counts[e, f] / totals[e] if totals[e] else table[e][f] for f in table[e]} for e in table}


em_step.slip(
    "posterior over the wrong side",
    right_step,
    "        for f in target:\n            norm = sum(table[e][f] for e in source)\n            for e in source:\n",
    "        for e in source:\n            norm = sum(table[e][f] for f in target)\n            for f in target:\n",
    cause="Each source word is shared out among the target words; but it is each target word that comes from one.",
    hint="Of which word do the shares have to sum to one: of a target word over the source, or the other way round?",
)
em_step.slip(
    "counts not shared out",
    right_step,
    "share = table[e][f] / norm",
    "share = table[e][f]",
    cause="The chances are added as they are; a target word has to count once in all, shared among the source words.",
    hint="A sentence has three target words. What should all counts that it gives sum to?",
)
em_step.slip(
    "only the best alignment counts",
    right_step,
    "share = table[e][f] / norm",
    "share = float(table[e][f] == max(table[e2][f] for e2 in source))",
    cause="Each target word counts for its likeliest source word alone; EM counts all of them, by their probability.",
    hint="What should happen where two source words are as likely?",
)
em_step.slip(
    "overwritten instead of added",
    right_step,
    "counts[e, f] += share",
    "counts[e, f] = share",
    cause="A pair of words that occurs again replaces its count instead of adding to it.",
    hint="A pair stands in two sentences. What is its count after the second?",
)
em_step.slip(
    "counts instead of chances",
    right_step,
    "counts[e, f] / totals[e] if totals[e]",
    "counts[e, f] if totals[e]",
    cause="The counts are returned undivided: the second half of the step, the maximisation, is missing.",
    hint="Add up the chances of one source word in your table. Is it one?",
)
em_step.slip(
    "repeated words counted once",
    right_step,
    "        for f in target:",
    "        source, target = list(dict.fromkeys(source)), list(dict.fromkeys(target))\n        for f in target:",
    cause="A word that stands twice in a sentence is counted once; each place of it is a word of its own.",
    hint="In “the cat the”, how many of the three places are “the”?",
)
em_step.slip(
    "unused words lose their row",
    right_step,
    "if totals[e] else table[e][f]",
    "if totals[e] else 0.0",
    cause="A word that stands in no sentence gets zeros; nothing was learned about it, so its row should stay.",
    hint="Is the row of such a word still a distribution?",
)


@em_step.mistake(hint="Try a pair of sentences with more target than source words and add up what you counted.")
def every_pair_counts_the_same(pairs, table):
    """Every pair of words of a sentence counts 1/length of the source, whatever the table says: nothing is learned."""
    counts, totals = defaultdict(float), defaultdict(float)
    for source, target in pairs:
        for f in target:
            for e in source:
                counts[e, f] += 1 / len(source)
                totals[e] += 1 / len(source)
    return {e: {f: counts[e, f] / totals[e] if totals[e] else table[e][f] for f in table[e]} for e in table}


@em_step.mistake(hint="Add up the chances of one source word in your table. Is it one?")
def columns_divided_instead_of_rows(pairs, table):
    """The counts are divided by those of the target word; t(f | e) is a distribution over f for every e."""
    counts, totals, used = defaultdict(float), defaultdict(float), set()
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e, f] += table[e][f] / norm
                totals[f] += table[e][f] / norm
                used.add(e)
    return {e: {f: counts[e, f] / (totals[f] or 1) if e in used else table[e][f] for f in table[e]} for e in table}


@em_step.mistake(hint="Print your table for a word that no sentence has.")
def unused_words_vanish(pairs, table):
    """The new table has rows for the words of the pairs alone; the others should keep theirs."""
    counts = defaultdict(lambda: defaultdict(float))
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e][f] += table[e][f] / norm
    return {e: {f: count / sum(row.values()) for f, count in row.items()} for e, row in counts.items()}


@em_step.mistake(hint="Copy before you change: what does a sentence count with after the first has changed the table?")
def table_changed_on_the_way(pairs, table):
    """The table is overwritten while it is still needed: later sentences count with other chances than the first."""
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                table[e][f] /= norm
    return table


@em_step.mistake(hint="A copy of the outer dictionary holds the same rows. Are table[e] and new[e] two things, or one?")
def rows_shared_with_the_old_table(pairs, table):
    """The outer dictionary is copied, but not its rows: the new chances are written into the rows of the old table."""
    counts, totals = defaultdict(float), defaultdict(float)
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e, f] += table[e][f] / norm
                totals[e] += table[e][f] / norm
    new = table.copy()
    for e in totals:
        for f in table[e]:
            new[e][f] = counts[e, f] / totals[e]
    return new


@em_step.mistake(hint="If somebody writes into your new table, what becomes of the old one?")
def unused_rows_shared_with_the_old_table(pairs, table):
    """A word that stands in no sentence gets the old table's own row, not a copy of it."""
    counts, totals = defaultdict(float), defaultdict(float)
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e, f] += table[e][f] / norm
                totals[e] += table[e][f] / norm
    return {e: {f: counts[e, f] / totals[e] for f in row} if totals[e] else row for e, row in table.items()}


@em_step.mistake(hint="What is the sum of the counts of a word that no sentence has?")
def unused_words_divide_by_zero(pairs, table):
    """A word that stands in no sentence has no counts: their sum is 0, and nothing can be divided by it."""
    counts, totals = defaultdict(float), dict.fromkeys(table, 0.0)
    for source, target in pairs:
        for f in target:
            norm = sum(table[e][f] for e in source)
            for e in source:
                counts[e, f] += table[e][f] / norm
                totals[e] += table[e][f] / norm
    return {e: {f: counts[e, f] / totals[e] for f in row} for e, row in table.items()}
