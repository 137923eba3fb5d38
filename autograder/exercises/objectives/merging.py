"""The exercise on byte-pair encoding: one merge is found and made."""

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import objectives

merge_once = Exercise(
    "objectives.merge_once",
    reference=objectives.merge_once,
    facets={"which pair": 2, "the merge": 2, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=20,
    results=("pair", "words"),
    equivalent_mutants={
        "often[pair] = often.get(pair, 0) + counts[number] → often[pair] = often.get(pair, 1) + counts[number]": (
            "every pair gets one more, so their order stays"
        )
    },
)


@merge_once.cases
def merge_cases(rng):
    def case(label, facet, words, counts):
        return Case(label, facet, words=words, counts=counts, part=facet)

    letters = [str(letter) for letter in rng.permutation(list("abcdefgh"))]
    a, b, c, d, e = letters[:5]
    n = int(rng.integers(3, 9))
    low, high = sorted((a, b))
    random = [[str(letter) for letter in rng.choice(letters[:3], size=size)] for size in rng.integers(1, 7, size=8)]
    often = [int(count) for count in rng.integers(1, 30, size=8)]
    for facet in ("which pair", "the merge"):  # asked for apart, so that a fault in one of them costs that one
        yield case("the example", facet, [["l", "o", "w"], ["l", "o", "w", "e", "r"]], [5, 2])
        yield case("counts decide", facet, [[a, b], [c, d], [c, d]], [2 * n + 1, n, n])
        yield case("often in one word", facet, [[a, b, c, a, b, d, a, b], [c, d]], [n, 2 * n + 1])
        yield case("longer pieces", facet, [[a + b, c], [a, b + c], [a + b, c, d]], [n, n + 1, n])
        yield case("a tie", facet, [[high, c], [low, d], [low, c]], [n, n, n])
        yield case("a tie of first pieces", facet, [[a, high], [a, low]], [n, n])
        yield case("random words", facet, random, often)
        yield case("no pair at all", facet, [[a], [b + c], []], [n, n, n])
    # Whoever does not see the overlap still finds the right pair here.
    merge = "the merge"
    yield case("three in a row", merge, [[a, a, a, b]], [n])
    yield case("five in a row", merge, [[b, c, c, c, c, c]], [n])
    yield case("letters that run across pieces", merge, [[a, b], [a, b], [c + a, b, d], [e, a + b], [c, a, b]], [n] * 5)


@merge_once.probe
def ask_merge_once(answer, words, counts, part):
    pair, merged = answer(words, counts)
    if part == "which pair":
        return {"pair": None if pair is None else list(pair)}
    return {"words": [list(pieces) for pieces in merged]}


@merge_once.alternative
def with_a_counter(words, counts):
    from collections import Counter

    often = Counter()
    for pieces, count in zip(words, counts, strict=True):
        for place in range(len(pieces) - 1):
            often[pieces[place], pieces[place + 1]] += count
    if not often:
        return None, words
    best = min(often, key=lambda pair: (-often[pair], pair))
    merged = []
    for pieces in words:
        joined, i = [], 0
        while i < len(pieces):
            if (*pieces[i : i + 2],) == best:
                joined.append(best[0] + best[1])
                i += 2
            else:
                joined.append(pieces[i])
                i += 1
        merged.append(joined)
    return best, merged


@merge_once.alternative
def growing_a_stack(words, counts):
    often = {}
    for word, count in zip(words, counts, strict=True):
        for i in range(len(word) - 1):
            pair = (word[i], word[i + 1])
            often[pair] = often.get(pair, 0) + count
    if not often:
        return None, [word[:] for word in words]
    most = max(often.values())
    pair = sorted(pair for pair in often if often[pair] == most)[0]
    result = []
    for word in words:
        stack, fresh = [], False  # fresh: the last of the stack was just joined
        for piece in word:
            if stack and not fresh and (stack[-1], piece) == pair:
                stack[-1] += piece
                fresh = True
            else:
                stack.append(piece)
                fresh = False
        result.append(stack)
    return pair, result


@merge_once.alternative
def deleting_in_a_copy(words, counts):
    from itertools import pairwise

    copies = [list(word) for word in words]
    pairs = [(pair, count) for word, count in zip(copies, counts, strict=True) for pair in pairwise(word)]
    if not pairs:
        return None, copies
    totals = {pair: sum(count for other, count in pairs if other == pair) for pair, _ in pairs}
    pair = max(sorted(totals), key=totals.get)
    for word in copies:
        i = 0
        while i + 1 < len(word):
            if (word[i], word[i + 1]) == pair:
                word[i : i + 2] = [pair[0] + pair[1]]
            i += 1
    return pair, copies


merge_once.slip(
    "each word counted once",
    with_a_counter,
    "pieces[place + 1]] += count",
    "pieces[place + 1]] += 1",
    cause="The counts are not used: a pair of a frequent word weighs no more than one of a rare word.",
    hint="One of the arguments is not used.",
)
merge_once.slip(
    "each pair once a word",
    deleting_in_a_copy,
    "for pair in pairwise(word)]\n    if",
    "for pair in {*pairwise(word)}]\n    if",
    cause="A pair that stands several times in a word is counted once for it.",
    hint="Count places, not words: in a b a b the pair (a, b) stands twice.",
)
merge_once.slip(
    "the last of equals",
    growing_a_stack,
    "if often[pair] == most)[0]",
    "if often[pair] == most)[-1]",
    cause="Of pairs that are equally frequent the last in alphabetical order is taken; it should be the first.",
    hint="Tuples of strings compare as in a dictionary: first piece, then second.",
)
merge_once.slip(
    "the first that was met",
    deleting_in_a_copy,
    "max(sorted(totals), key=totals.get)",
    "max(totals, key=totals.get)",
    cause="Of pairs that are equally frequent the one met first is taken; it should be the first in alphabetical "
    "order.",
    hint="max keeps the first of equals. In which order does it meet them?",
)
merge_once.slip(
    "the rarest pair",
    deleting_in_a_copy,
    "max(sorted(totals), key=totals.get)",
    "min(sorted(totals), key=totals.get)",
    cause="The rarest pair is joined; it should be the most frequent.",
    hint="Which pair saves the most pieces?",
)
merge_once.slip(
    "only the first place in a word",
    deleting_in_a_copy,
    "                word[i : i + 2] = [pair[0] + pair[1]]\n",
    "                word[i : i + 2] = [pair[0] + pair[1]]\n                break\n",
    cause="In each word only the first place of the pair is joined; it should be joined wherever it stands.",
    hint="Try the word a b a b.",
)


@merge_once.mistake(hint="a a a: which two are joined, when you read from the left?")
def from_the_right(words, counts):
    """Where places overlap, the last is joined: a a a becomes a aa. One reads from left to right: aa a."""
    from collections import Counter
    from itertools import pairwise

    often = Counter()
    for pieces, count in zip(words, counts, strict=True):
        for pair in pairwise(pieces):
            often[pair] += count
    if not often:
        return None, words
    best = min(often, key=lambda pair: (-often[pair], pair))
    merged = []
    for pieces in words:
        joined, i = [], len(pieces)
        while i > 0:
            if i > 1 and (pieces[i - 2], pieces[i - 1]) == best:
                joined.insert(0, best[0] + best[1])
                i -= 2
            else:
                joined.insert(0, pieces[i - 1])
                i -= 1
        merged.append(joined)
    return best, merged


@merge_once.mistake(hint="Pieces may have several letters: is (ca, b) a place where (a, b) stands?")
def replaced_in_the_text(words, counts):
    """The pair is looked for in the letters, also where it runs across other pieces."""
    from collections import Counter
    from itertools import pairwise

    often = Counter()
    for pieces, count in zip(words, counts, strict=True):
        for pair in pairwise(pieces):
            often[pair] += count
    if not often:
        return None, words
    best = min(often, key=lambda pair: (-often[pair], pair))
    first, second = best
    return best, [
        " ".join(pieces).replace(f"{first} {second}", first + second).split() if pieces else [] for pieces in words
    ]


@merge_once.mistake(hint="word[i : i + 2] = … changes a list that is not yours. Copy first.")
def joined_in_place(words, counts):
    """The result is right, but the words that were handed in are changed."""
    from collections import Counter
    from itertools import pairwise

    often = Counter()
    for pieces, count in zip(words, counts, strict=True):
        for pair in pairwise(pieces):
            often[pair] += count
    if not often:
        return None, words
    best = min(often, key=lambda pair: (-often[pair], pair))
    for pieces in words:
        i = 0
        while i + 1 < len(pieces):
            if (pieces[i], pieces[i + 1]) == best:
                pieces[i : i + 2] = [best[0] + best[1]]
            i += 1
    return best, words
