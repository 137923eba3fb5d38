"""The exercises on BLEU: n-grams that count only as often as in a reference, and the score of a whole test set."""

import math
from collections import Counter

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import seq2seq

# clipped_matches

clipped_matches = Exercise(
    "seq2seq.clipped_matches",
    reference=seq2seq.clipped_matches,
    facets={"one reference": 1, "several references": 1, "short outputs": 1},
    difficulty=1,
    minutes=15,
    results=("matches", "possible"),
    equivalent_mutants={
        "matches += min(times, max((row[gram] for row in rows))) → "
        "matches += min(max((row[gram] for row in rows)), times)": "the smaller of two, in either order",
    },
)

WORDS = ("the", "a", "cat", "dog", "on", "mat")


@clipped_matches.cases
def clipped_matches_cases(rng):
    def sentence(length, words=WORDS):
        return [str(word) for word in rng.choice(words, size=length)]

    def near(tokens):
        changed = list(tokens)
        changed[int(rng.integers(len(tokens)))] = str(rng.choice(WORDS))
        return changed

    cat = ["the", "cat", "is", "on", "the", "mat"]
    yield Case("the same word again and again", output=["the"] * 7, references=[cat], n=1)
    reference = sentence(int(rng.integers(6, 10)))
    yield Case("single words", output=near(reference), references=[reference], n=1)
    yield Case("pairs", output=near(reference), references=[reference], n=2)
    yield Case("runs of three", output=near(reference), references=[reference], n=3)
    yield Case("pairs that repeat", output=["a", "b"] * 4, references=[["a", "b", "c", "a", "b"]], n=2)
    yield Case("the same words in another order", output=cat[::-1], references=[cat], n=2)
    yield Case("the output itself", output=reference, references=[reference], n=4)
    yield Case("as long as one run", output=["a", "cat"], references=[["a", "cat", "on"]], n=2)
    yield Case("words that differ in length", output=["ab", "c"], references=[["a", "bc", "ab"]], n=2)
    several = "several references"
    three = [sentence(int(rng.integers(5, 9)), WORDS[:4]) for _ in range(3)]
    yield Case("three references, words", several, output=sentence(9, WORDS[:4]), references=three, n=1)
    yield Case("three references, pairs", several, output=sentence(9, WORDS[:4]), references=three, n=2)
    yield Case(
        "twice in one, once in another", several, output=["a"] * 4, references=[["a", "a", "b"], ["a", "c"]], n=1
    )
    yield Case("each in another", several, output=["a", "b", "c"], references=[["a"], ["b"], ["d"]], n=1)
    short = "short outputs"
    yield Case("one word too short for a run", short, output=["a", "cat"], references=[cat], n=3)
    yield Case("an empty output", short, output=[], references=[cat], n=1)
    yield Case("much too short for a run", short, output=["a"], references=[cat], n=4)
    yield Case("an empty output, runs of three", short, output=[], references=[cat, ["a"]], n=3)


@clipped_matches.probe
def ask_clipped_matches(answer, output, references, n):
    matches, possible = answer(output, references, n)
    return {"matches": int(matches), "possible": int(possible)}


@clipped_matches.alternative
def with_counters(output, references, n):
    def runs(tokens):
        return Counter(zip(*(tokens[k:] for k in range(n)), strict=False))

    most = Counter()
    for reference in references:
        most |= runs(reference)
    return sum((runs(output) & most).values()), sum(runs(output).values())


@clipped_matches.alternative
def by_crossing_out(output, references, n):
    runs = [tuple(output[i : i + n]) for i in range(len(output) - n + 1)]
    found = 0
    for run in set(runs):
        most = 0
        for reference in references:
            most = max(most, sum(tuple(reference[i : i + n]) == run for i in range(len(reference) - n + 1)))
        found += min(most, runs.count(run))
    return found, len(runs)


def right_matches(output, references, n):
    runs = [tuple(output[i : i + n]) for i in range(len(output) - n + 1)]
    matches = 0
    for run in set(runs):
        most = max(
            sum(tuple(reference[i : i + n]) == run for i in range(len(reference) - n + 1)) for reference in references
        )
        matches += min(runs.count(run), most)
    return matches, len(runs)


clipped_matches.slip(
    "not clipped",
    right_matches,
    "min(runs.count(run), most)",
    "runs.count(run) * (most > 0)",
    cause="A run counts as often as the output says it; it may count only as often as a reference has it.",
    hint="“the the the the the the the” against “the cat is on the mat”: how many matches should there be?",
)
clipped_matches.slip(
    "each run counted once",
    right_matches,
    "min(runs.count(run), most)",
    "min(1, most)",
    cause="Different runs are counted; one that output and reference both have twice should count twice.",
    hint="How many of the words of “the cat is on the mat” does the sentence share with itself?",
)
clipped_matches.slip(
    "the reference's count, whatever the output says",
    right_matches,
    "min(runs.count(run), most)",
    "most",
    cause="Each run counts as often as the reference has it, also where the output says it once.",
    hint="Can there be more matches than runs in the output?",
)
clipped_matches.slip(
    "references added up",
    right_matches,
    "most = max(",
    "most = sum(",
    cause="The counts of all references are added; a run may count as often as in the one that has it most.",
    hint="“a a” against the references “a b” and “a c”: does any of them have two?",
)
clipped_matches.slip(
    "in every reference",
    right_matches,
    "most = max(",
    "most = min(",
    cause="A run counts only as often as in *all* references; it should do to be in one of them.",
    hint="Two translators choose different words. Is an output wrong that agrees with one of them?",
)
clipped_matches.slip(
    "divided by the reference",
    right_matches,
    "return matches, len(runs)",
    "return matches, max(len(references[0]) - n + 1, 0)",
    cause="The second number counts the runs of a reference; precision asks for those of the output.",
    hint="Which share is asked for: of what was said, or of what should have been said?",
)
clipped_matches.slip(
    "words counted instead of runs",
    right_matches,
    "return matches, len(runs)",
    "return matches, len(output)",
    cause="The second number is that of the output's words; a sentence of 7 words has 6 pairs.",
    hint="How many pairs of neighbours are there in three words?",
)

clipped_matches.slip(
    "fewer than no runs",
    right_matches,
    "return matches, len(runs)",
    "return matches, len(output) - n + 1",
    cause="An output that is much shorter than a run is said to have a negative number of runs; it has none.",
    hint="How many runs of four words does an output of one word have, and what is 1 − 4 + 1?",
)

# bleu_score


def from_counts(matches, possible, output_lengths, reference_lengths):
    """The reference under the homework's signature: the score from the counts of every sentence."""
    precisions = np.sum(matches, axis=0) / np.maximum(np.sum(possible, axis=0), 1)
    penalty = seq2seq.brevity_penalty(int(np.sum(output_lengths)), int(np.sum(reference_lengths)))
    if not precisions.all():
        return 0.0
    return float(penalty * np.exp(np.log(precisions).mean()))


bleu_score = Exercise(
    "seq2seq.bleu_score",
    reference=from_counts,
    facets={"precision": 2, "brevity penalty": 1, "no match": 1},
    difficulty=2,
    minutes=20,
    equivalent_mutants={
        "penalty = min(0.0, 1 - r / c) → penalty = min(1 - r / c, 0.0)": "the smaller of two, in either order",
    },
)


@bleu_score.cases
def bleu_score_cases(rng):
    def counts(sentences, order=4, shorter=0, least=9):
        lengths = rng.integers(least, least + 10, size=sentences)
        possible = np.stack([lengths - n for n in range(order)], axis=1)
        found = np.sort(rng.random((sentences, order)), axis=1)[:, ::-1]
        matches = np.maximum((possible * found).astype(int), 1)
        return dict(
            matches=matches.tolist(),
            possible=possible.tolist(),
            output_lengths=lengths.tolist(),
            reference_lengths=(lengths + shorter).tolist(),
        )

    yield Case("one sentence", **counts(1))
    yield Case("several sentences", **counts(int(rng.integers(2, 6))))
    yield Case("words and pairs alone", **counts(3, order=2))
    yield Case("words alone", **counts(2, order=1))
    yield Case("longer than the references", **counts(3, shorter=-2))
    perfect = counts(2)
    yield Case("all matches", **(perfect | {"matches": perfect["possible"]}))
    yield Case("a sentence without a long match among others",
               **(counts(3) | {"matches": [[5, 3, 2, 1], [4, 1, 0, 0], [6, 4, 2, 2]]}))  # fmt: skip
    brevity = "brevity penalty"
    yield Case("one word short each", brevity, **counts(3, shorter=1))
    yield Case("much too short", brevity, **counts(2, shorter=int(rng.integers(8, 14))))
    mixed = counts(3)
    mixed["reference_lengths"] = [mixed["output_lengths"][0] + 6, *[n - 2 for n in mixed["output_lengths"][1:]]]
    yield Case("one too short, two too long", brevity, **mixed)
    mixed = counts(2)
    mixed["reference_lengths"] = [mixed["output_lengths"][0] + 4, mixed["output_lengths"][1] - 4]
    yield Case("too short and too long by as much", brevity, **mixed)
    empty = dict(matches=[[0] * 4], possible=[[0] * 4], output_lengths=[0], reference_lengths=[7])
    yield Case("nothing was said", "no match", **empty)
    none = counts(2)
    none["matches"] = [[4, 2, 1, 0], [3, 1, 0, 0]]
    yield Case("no match of four in all", "no match", **none)
    short = dict(matches=[[2, 1, 0, 0]], possible=[[2, 1, 0, 0]], output_lengths=[2], reference_lengths=[2])
    yield Case("two right words, no run of three", "no match", **short)


@bleu_score.probe
def ask_bleu_score(answer, matches, possible, output_lengths, reference_lengths):
    return {"score": float(answer(matches, possible, output_lengths, reference_lengths))}


@bleu_score.alternative
def in_numpy(matches, possible, output_lengths, reference_lengths):
    matched, counted = np.sum(matches, axis=0), np.sum(possible, axis=0)
    if (matched == 0).any():
        return 0.0
    c, r = sum(output_lengths), sum(reference_lengths)
    return float(min(1.0, math.exp(1 - r / c)) * np.prod(matched / counted) ** (1 / len(matched)))


@bleu_score.alternative
def by_loops(matches, possible, output_lengths, reference_lengths):
    product, order = 1.0, len(matches[0])
    for n in range(order):
        up = down = 0
        for row, limit in zip(matches, possible, strict=True):
            up, down = up + row[n], down + limit[n]
        product *= up / down if down else 0
    c, r = sum(output_lengths), sum(reference_lengths)
    penalty = 1.0 if c >= r else math.exp(1 - r / c) if c else 0.0
    return penalty * product ** (1 / order)


def right_score(matches, possible, output_lengths, reference_lengths):
    matched, counted = np.sum(matches, axis=0), np.sum(possible, axis=0)
    if matched.min() == 0:
        return 0.0
    score = np.exp(np.log(matched / counted).mean())
    c, r = sum(output_lengths), sum(reference_lengths)
    if c < r:
        score = score * math.exp(1 - r / c)
    return score


bleu_score.slip(
    "no brevity penalty",
    right_score,
    "if c < r:",
    "if False:",
    cause="An output that is too short costs nothing, so saying only what is sure would be best.",
    hint="Which of your arguments are never used?",
)
bleu_score.slip(
    "penalty for being long",
    right_score,
    "if c < r:",
    "if c > r:",
    cause="The penalty falls on outputs that are longer than the references, and favours the short ones.",
    hint="What do the precisions say of an output that is too long? And of one that is too short?",
)
bleu_score.slip(
    "penalty turned round",
    right_score,
    "math.exp(1 - r / c)",
    "math.exp(1 - c / r)",
    cause="In the penalty the two lengths have changed places; it becomes larger than 1.",
    hint="For c = 5 and r = 10 the penalty is 1/e, about 0.37. What is yours?",
)
bleu_score.slip(
    "penalty turned round, for being long",
    right_score,
    "    if c < r:\n        score = score * math.exp(1 - r / c)\n",
    "    score = score * min(1.0, math.exp(1 - c / r))\n",
    cause="In the penalty the two lengths have changed places: short outputs go free, and long ones pay.",
    hint="For c = 5 and r = 10 the penalty is 1/e, about 0.37. What is yours?",
)
bleu_score.slip(
    "a reward for being long",
    right_score,
    "if c < r:",
    "if True:",
    cause="The factor is used for long outputs as well, where it is larger than 1.",
    hint="Can a score be larger than its precisions?",
)
bleu_score.slip(
    "ratio instead of its exponential",
    right_score,
    "math.exp(1 - r / c)",
    "c / r",
    cause="Too short an output is punished by c/r, not by exp(1 − r/c).",
    hint="For c = 5 and r = 10 the penalty is 1/e, about 0.37. What is yours?",
)
bleu_score.slip(
    "arithmetic mean of the precisions",
    right_score,
    "np.exp(np.log(matched / counted).mean())",
    "(matched / counted).mean()",
    cause="The precisions are averaged; BLEU takes their geometric mean, the root of their product.",
    hint="What does the formula do with the precisions: add or multiply?",
)
bleu_score.slip(
    "product without a root",
    right_score,
    "np.exp(np.log(matched / counted).mean())",
    "np.exp(np.log(matched / counted).sum())",
    cause="The product of the precisions is taken, without its root.",
    hint="All four precisions are one half. What should the score be?",
)
bleu_score.slip(
    "always the fourth root",
    right_score,
    "np.exp(np.log(matched / counted).mean())",
    "np.prod(matched / counted) ** 0.25",
    cause="The fourth root is taken, also where there are fewer precisions than four.",
    hint="How many numbers does each sentence bring along?",
)


@bleu_score.mistake(hint="Add up the counts of all sentences first. What does one sentence without a match do now?")
def mean_of_the_sentences(matches, possible, output_lengths, reference_lengths):
    """Every sentence gets a score and the scores are averaged; BLEU adds the counts of all sentences first."""
    scores = []
    for matched, counted, c, r in zip(matches, possible, output_lengths, reference_lengths, strict=True):
        if min(matched) == 0:
            scores.append(0.0)
            continue
        score = math.exp(sum(math.log(a / b) for a, b in zip(matched, counted, strict=True)) / len(matched))
        scores.append(score * min(1.0, math.exp(1 - r / c)))
    return sum(scores) / len(scores)


@bleu_score.mistake(hint="Is the brevity penalty computed for every sentence, or for the whole test set?")
def penalty_of_each_sentence(matches, possible, output_lengths, reference_lengths):
    """The penalties of the sentences are averaged; one that is too long may make up for one that is too short."""
    matched, counted = np.sum(matches, axis=0), np.sum(possible, axis=0)
    if matched.min() == 0:
        return 0.0
    pairs = zip(output_lengths, reference_lengths, strict=True)
    penalty = sum(min(1.0, math.exp(1 - r / c)) for c, r in pairs) / len(output_lengths)
    return penalty * np.exp(np.log(matched / counted).mean())


@bleu_score.mistake(hint="What is the logarithm of 0, and what should the score be where a precision is 0?")
def fails_without_a_match(matches, possible, output_lengths, reference_lengths):
    """Where there is no match of some length the logarithm fails; the score is then 0."""
    matched, counted = np.sum(matches, axis=0).tolist(), np.sum(possible, axis=0).tolist()
    score = math.exp(sum(math.log(a / b) for a, b in zip(matched, counted, strict=True)) / len(matched))
    c, r = sum(output_lengths), sum(reference_lengths)
    return score * min(1.0, math.exp(1 - r / c))
