r"""How good is an output? Errors of single characters, exact matches, and BLEU."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Tokens = Sequence[Hashable]


def edit_distance(first: Tokens, second: Tokens) -> int:
    r"""The least number of insertions, deletions and substitutions that turn one sequence into the other.

    d(i, j) = min(d(i−1, j) + 1, d(i, j−1) + 1, d(i−1, j−1) + [first_i ≠ second_j])

    Cost: O(len(first)·len(second)) time, O(len(second)) memory. Source: levenshtein1966binary.

    >>> edit_distance("kitten", "sitting")
    3
    """
    above = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        row = [i]
        for j, b in enumerate(second, start=1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
        above = row
    return above[-1]


def error_rate(outputs: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    r"""Edit distances of all outputs by the length of all references.

    Σ d(output, reference) / Σ |reference|

    Of texts it is the character error rate, of lists of words the word error rate; 0 is perfect, 1 not the worst.
    Raises: ValueError when the two differ in number or all references are empty.

    >>> error_rate(["Осло", "Рига"], ["Осло", "Риги"])
    0.125
    """
    _check_as_many(outputs, references)
    length = sum(map(len, references))
    if not length:
        raise ValueError("references are all empty, expected at least one token")
    return sum(map(edit_distance, outputs, references)) / length


def exact_match(outputs: Sequence[Tokens], references: Sequence[Tokens]) -> float:
    r"""The share of outputs that equal their reference.

    Raises: ValueError when the two differ in number, or there is none.

    >>> exact_match(["Осло", "Рига"], ["Осло", "Риги"])
    0.5
    """
    _check_as_many(outputs, references)
    return sum(list(a) == list(b) for a, b in zip(outputs, references, strict=True)) / len(references)


def ngrams(tokens: Tokens, n: int) -> Counter[tuple[Hashable, ...]]:
    r"""How often each run of n tokens occurs.

    >>> ngrams("abab", 2)
    Counter({('a', 'b'): 2, ('b', 'a'): 1})
    """
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def clipped_matches(output: Tokens, references: Sequence[Tokens], n: int) -> tuple[int, int]:
    r"""How many n-grams of the output are in a reference, and how many the output has.

    Each n-gram counts at most as often as in the one reference that has it most often: Σ min(count, max_r count_r).
    Source: papineni2002bleu, section 2.1.1.

    >>> clipped_matches("the the the the the the the".split(), ["the cat is on the mat".split()], 1)
    (2, 7)
    """
    most: Counter[tuple[Hashable, ...]] = Counter()
    for reference in references:
        most |= ngrams(reference, n)  # the larger count of each
    found = ngrams(output, n)
    return (found & most).total(), found.total()


@dataclass(frozen=True)
class Bleu:
    r"""BLEU and what it is made of."""

    score: float  # 0 to 1; papers often print a hundred times as much
    precisions: tuple[float, ...]  # clipped matches by n-grams, for n = 1 … order
    brevity_penalty: float
    output_length: int  # tokens in all
    reference_length: int


def brevity_penalty(output_length: int, reference_length: int) -> float:
    r"""What too short an output costs: 1 where it is at least as long as the reference, else exp(1 − r/c).

    r = reference_length, c = output_length, in tokens; an empty output gets 0. Source: papineni2002bleu, section 2.2.2.

    >>> brevity_penalty(12, 10), round(brevity_penalty(5, 10), 3)
    (1.0, 0.368)
    """
    if output_length >= reference_length:
        return 1.0
    return math.exp(1 - reference_length / output_length) if output_length else 0.0


def bleu(outputs: Sequence[Tokens], references: Sequence[Sequence[Tokens]], order: int = 4) -> Bleu:
    r"""BLEU of a whole test set: n-grams that it shares with the references, and a penalty for brevity.

    BLEU = min(1, e^(1 − r/c)) · (Π_n p_n)^(1/order),  p_n = Σ clipped matches / Σ n-grams, n = 1 … order

    Matches, n-grams and lengths are summed over all sentences before anything is divided: the mean of the sentences'
    scores is another number. No smoothing: without a single match of the longest n-grams the score is 0.

    outputs      one sequence of tokens a sentence
    references   for each sentence its right versions, one or more; r counts the one nearest in length (the shorter of
                 two as near)
    order        of the longest n-gram
    Raises: ValueError when outputs and references differ in number, or a sentence has no reference.
    Source: papineni2002bleu; equal to sacrebleu (post2018call) without smoothing, on the same tokens.

    >>> cat = "the cat is on the mat".split()
    >>> bleu(["the cat sat on the mat".split()], [[cat]], order=2).precisions
    (0.8333333333333334, 0.6)
    """
    _check_as_many(outputs, references)
    if order < 1:
        raise ValueError(f"order = {order}, expected at least 1")
    matched, possible = [0] * order, [0] * order
    output_length = reference_length = 0
    for number, (output, versions) in enumerate(zip(outputs, references, strict=True)):
        if not versions:
            raise ValueError(f"references[{number}] is empty, expected at least one right version of sentence {number}")
        output_length += len(output)
        reference_length += min((abs(len(version) - len(output)), len(version)) for version in versions)[1]
        for n in range(1, order + 1):
            matches, count = clipped_matches(output, versions, n)
            matched[n - 1] += matches
            possible[n - 1] += count
    precisions = tuple(a / b if b else 0.0 for a, b in zip(matched, possible, strict=True))
    penalty = brevity_penalty(output_length, reference_length)
    score = penalty * math.exp(sum(map(math.log, precisions)) / order) if all(matched) else 0.0
    return Bleu(score, precisions, penalty, output_length, reference_length)


def sentence_bleu(output: Tokens, references: Sequence[Tokens], order: int = 4) -> float:
    r"""BLEU of one sentence, without smoothing: 0 for any sentence that shares no n-gram of the longest kind.

    >>> round(sentence_bleu("the cat sat on the mat".split(), ["the cat is on the mat".split()], order=2), 3)
    0.707
    """
    return bleu([output], [references], order).score


def _check_as_many(outputs: Sequence, references: Sequence) -> None:
    if len(outputs) != len(references) or not len(outputs):
        raise ValueError(f"outputs has {len(outputs)} entries, references {len(references)}: expected as many, some")
