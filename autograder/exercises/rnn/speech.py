"""The exercise on connectionist temporal classification: the forward algorithm."""

import numpy as np
import torch

from autograder.exercise import Case, Exercise
from ml_course import rnn


def probability_by_the_library(probabilities, labels):
    """The library's log likelihood, for one sequence in NumPy."""
    log_probs = torch.from_numpy(np.ascontiguousarray(probabilities)).log()[None]
    return float(rnn.ctc_log_likelihood(log_probs, torch.tensor([labels], dtype=torch.long).reshape(1, -1)).exp())


ctc_probability = Exercise(
    "rnn.ctc_probability",
    reference=probability_by_the_library,
    facets={"values": 2, "repeated labels": 2, "edges": 1},
    difficulty=3,
    minutes=35,
    forbidden=("ctc_loss", "CTCLoss"),
    equivalent_mutants={
        "arriving = sum(old[max(s - 1, 0):s + 1]) → arriving = sum(old[max(0, s - 1):s + 1])": (
            "the larger of two numbers, whichever is named first"
        ),
        "if s > 2 and place not in (0, places[s - 2]): → if s >= 2 and place not in (0, places[s - 2]):": (
            "place 2 is a blank, and a blank is never reached by a jump"
        ),
    },
)


@ctc_probability.cases
def ctc_cases(rng):
    def steps(time, classes):
        powers = rng.uniform(0.2, 1.5, size=(time, classes)) ** 2
        return powers / powers.sum(axis=1, keepdims=True)

    classes = int(rng.integers(4, 6))
    first, second, third = (int(label) for label in rng.permutation(np.arange(1, classes))[:3])
    yield Case("two labels, three steps", probabilities=steps(3, classes), labels=[first, second])
    yield Case("one label", probabilities=steps(4, classes), labels=[first])
    yield Case("three labels", probabilities=steps(6, classes), labels=[first, second, third])
    yield Case("back and forth", probabilities=steps(6, classes), labels=[first, second, first])
    long = [first, second, third, first, third]
    yield Case("forty steps: far too many paths to list", probabilities=steps(40, classes), labels=long)
    yield Case("a label twice", "repeated labels", probabilities=steps(4, classes), labels=[first, first])
    yield Case(
        "a label twice among others", "repeated labels", probabilities=steps(7, classes), labels=[second, first, first]
    )
    yield Case("too few steps for a blank between", "repeated labels", probabilities=steps(2, 4), labels=[3, 3])
    yield Case("no label at all", "edges", probabilities=steps(3, classes), labels=[])
    yield Case("one step", "edges", probabilities=steps(1, classes), labels=[second])
    yield Case("more labels than steps", "edges", probabilities=steps(2, classes), labels=[first, second, third])


@ctc_probability.probe
def ask_ctc(answer, probabilities, labels):
    return {"probability": float(answer(probabilities, labels))}


def forward(probabilities, labels):
    between = [0]
    for label in labels:
        between += [label, 0]
    alpha = np.zeros(len(between))
    alpha[:2] = probabilities[0, between[:2]]
    for t in range(1, len(probabilities)):
        new = np.zeros(len(between))
        for s, label in enumerate(between):
            total = alpha[s]
            if s >= 1:
                total += alpha[s - 1]
            if s >= 2 and label != 0 and label != between[s - 2]:
                total += alpha[s - 2]
            new[s] = total * probabilities[t, label]
        alpha = new
    return alpha[-2:].sum()


@ctc_probability.alternative
def by_a_matrix_of_moves(probabilities, labels):
    between = np.zeros(2 * len(labels) + 1, dtype=int)
    between[1::2] = labels
    moves = np.eye(len(between)) + np.eye(len(between), k=-1)
    for s in range(3, len(between), 2):
        moves[s, s - 2] = between[s] != between[s - 2]
    alpha = np.zeros(len(between))
    alpha[0] = 1  # before the first step: one more blank that costs nothing
    for t, row in enumerate(probabilities):
        alpha = (moves @ alpha if t else np.where(np.arange(len(between)) < 2, 1, 0)) * row[between]
    return alpha[-1] + (alpha[-2] if labels else 0)


@ctc_probability.alternative
def sets_of_what_was_said(probabilities, labels):
    # state: how many labels are said, and whether the last step was a blank
    said = {(0, True): 1.0}
    for row in probabilities:
        new = {}
        for (count, blank), mass in said.items():
            ways = [((count, True), row[0])]
            if not blank:
                ways.append(((count, False), row[labels[count - 1]]))
            if count < len(labels) and (blank or labels[count] != labels[count - 1]):
                ways.append(((count + 1, False), row[labels[count]]))
            for state, probability in ways:
                new[state] = new.get(state, 0.0) + mass * probability
        said = new
    return said.get((len(labels), True), 0.0) + said.get((len(labels), False), 0.0)


ctc_probability.slip(
    "skips the blank between equal labels",
    forward,
    " and label != between[s - 2]",
    "",
    cause="The blank between two equal labels may be skipped, but then they would collapse to one.",
    hint="Collapse the path a, a. Is it the text 'aa'?",
)
ctc_probability.slip(
    "never skips a blank",
    forward,
    "total += alpha[s - 2]",
    "total += 0",
    cause="Every path has to pass the blank between two labels, even where it may go straight on.",
    hint="Collapse the path a, b. Is a blank needed between them?",
)
ctc_probability.slip(
    "labels may be skipped",
    forward,
    "label != 0 and label != between[s - 2]",
    "label != between[s - 2] or label == 0",
    cause="From one blank to the next a label is jumped over, so labels get lost.",
    hint="Which of the places may be left out: the blanks or the labels?",
)
ctc_probability.slip(
    "comes in from the other end",
    forward,
    "            if s >= 1:\n                total",
    "            if True:\n                total",
    cause="At the first place the index s − 1 is −1, which Python reads as the last place.",
    hint="What is alpha[s - 1] for s = 0?",
)
ctc_probability.slip(
    "jumps in from the other end",
    forward,
    "if s >= 2 and label != 0",
    "if label != 0",
    cause="At the first label the index s − 2 is −1, which Python reads as the last place.",
    hint="What is alpha[s - 2] for s = 1?",
)
ctc_probability.slip(
    "comes and jumps in from the other end",
    forward,
    "            if s >= 1:\n                total += alpha[s - 1]\n            if s >= 2 and label != 0",
    "            total += alpha[s - 1]\n            if label != 0",
    cause="At the first places s − 1 and s − 2 are negative, and Python counts such places from the end.",
    hint="What are alpha[s - 1] for s = 0, and alpha[s - 2] for s = 1?",
)
ctc_probability.slip(
    "jumps everywhere",
    forward,
    " and label != 0 and label != between[s - 2]",
    "",
    cause="Two places are jumped from everywhere, so labels get lost and repeated ones lose the blank between them.",
    hint="The formula allows a jump between two different labels. What does your line ask of the two?",
)
ctc_probability.slip(
    "written into what it reads",
    forward,
    "        new = np.zeros(len(between))\n",
    "        new = alpha\n",
    cause="The new row is written over the old one while that is still read: a path makes several moves in one step.",
    hint="When you come to place s, whose α stands at s − 1: that of this step, or of the one before?",
)
ctc_probability.slip(
    "must end with a blank",
    forward,
    "alpha[-2:].sum()",
    "alpha[-1]",
    cause="Only paths that end with a blank are counted.",
    hint="May the last step be the last label?",
)
ctc_probability.slip(
    "must end with the last label",
    forward,
    "alpha[-2:].sum()",
    "alpha[-2:][0]",
    cause="Only paths that end with the last label are counted, not those that end with a blank.",
    hint="May a silence follow the last label?",
)
ctc_probability.slip(
    "must begin with a blank",
    forward,
    "alpha[:2] = probabilities[0, between[:2]]",
    "alpha[:1] = probabilities[0, between[:1]]",
    cause="Only paths that begin with a blank are counted.",
    hint="May the first step be the first label?",
)


@ctc_probability.mistake(hint="How many paths collapse to one label in two steps? List them.")
def only_the_likeliest_path(probabilities, labels):
    """The probability of the best path is taken; all paths have to be summed."""
    between = [0]
    for label in labels:
        between += [label, 0]
    alpha = np.zeros(len(between))
    alpha[:2] = probabilities[0, between[:2]]
    for t in range(1, len(probabilities)):
        new = np.zeros(len(between))
        for s, label in enumerate(between):
            ways = [alpha[s]] + ([alpha[s - 1]] if s >= 1 else [])
            if s >= 2 and label != 0 and label != between[s - 2]:
                ways.append(alpha[s - 2])
            new[s] = max(ways) * probabilities[t, label]
        alpha = new
    return alpha[-2:].max()


@ctc_probability.mistake(
    hint="Collapse a, blank, a in both orders: first repetitions then blanks, and the other way round."
)
def blanks_removed_first(probabilities, labels):
    """Blanks are taken out before repetitions are merged, so no label can ever stand twice."""
    if any(labels[i] == labels[i + 1] for i in range(len(labels) - 1)):
        return 0.0
    said = {0: 1.0}
    for row in probabilities:
        new = {}
        for count, mass in said.items():
            stay = row[0] + (row[labels[count - 1]] if count else 0.0)
            new[count] = new.get(count, 0.0) + mass * stay
            if count < len(labels):
                new[count + 1] = new.get(count + 1, 0.0) + mass * row[labels[count]]
        said = new
    return said.get(len(labels), 0.0)
