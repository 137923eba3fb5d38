"""The exercise on pairs for next-sentence prediction, with the coins already thrown."""

from itertools import pairwise

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course.bert.corruption import joined


def pairs_one_by_one(documents, coins, picks):
    """The reference."""
    pairs = []
    for number, document in enumerate(documents):
        strangers = joined([*documents[:number], *documents[number + 1 :]])
        for first, following in pairwise(document):
            n = len(pairs)
            pairs.append((first, following, 0) if coins[n] else (first, strangers[picks[n] % len(strangers)], 1))
    return pairs


sentence_pairs = Exercise(
    "bert.sentence_pairs",
    reference=pairs_one_by_one,
    facets={"true pairs": 1, "made-up pairs": 1, "both": 1, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=20,
)


@sentence_pairs.cases
def pair_cases(rng):
    def case(label, facet, lengths, coin=None):
        documents = [[f"{'ABCDEFG'[d]}{s}" for s in range(length)] for d, length in enumerate(lengths)]
        count = sum(max(0, length - 1) for length in lengths)
        coins = [bool(x) for x in rng.integers(0, 2, size=count)] if coin is None else [coin] * count
        picks = [int(x) for x in rng.integers(0, 1000, size=count)]
        return Case(label, facet, documents=documents, coins=coins, picks=picks)

    yield case("two documents, all true", None, (3, 4), True)
    yield case("several documents, all true", None, (2, 5, 3, 4), True)
    yield case("a document of one sentence, all true", None, (1, 3), True)
    yield case("two documents, all made up", "made-up pairs", (3, 4), False)
    yield case("several documents, all made up", "made-up pairs", (2, 5, 3, 4), False)
    yield case("documents of one sentence, all made up", "made-up pairs", (1, 3, 1, 2), False)
    yield case("both kinds", "both", (6, 4, 5, 6))
    yield case("both kinds, an empty document", "both", (4, 0, 6))
    yield case("many", "both", tuple(int(n) for n in rng.integers(1, 8, size=6)))


@sentence_pairs.probe
def ask_sentence_pairs(answer, documents, coins, picks):
    return {"pairs": [list(pair) for pair in answer(documents, coins, picks)]}


@sentence_pairs.alternative
def with_iterators(documents, coins, picks):
    decisions, pairs = zip(coins, picks, strict=True), []
    for number, document in enumerate(documents):
        strangers = [sentence for other in documents[:number] + documents[number + 1 :] for sentence in other]
        for place in range(len(document) - 1):
            coin, pick = next(decisions)
            second = document[place + 1] if coin else strangers[pick % len(strangers)]
            pairs.append((document[place], second, int(not coin)))
    return pairs


@sentence_pairs.alternative
def true_ones_first(documents, coins, picks):
    pairs = [
        (d, document[place], document[place + 1])
        for d, document in enumerate(documents)
        for place in range(len(document) - 1)
    ]
    made = []
    for (d, first, second), coin, pick in zip(pairs, coins, picks, strict=True):
        label = 0
        if not coin:
            strangers = []
            for other in range(len(documents)):
                if other != d:
                    strangers.extend(documents[other])
            second, label = strangers[pick % len(strangers)], 1
        made.append((first, second, label))
    return made


sentence_pairs.slip(
    "label inverted",
    with_iterators,
    "int(not coin)",
    "int(coin)",
    cause="The labels are inverted; 0 means that the second sentence follows.",
    hint="The published weights say 0 for a true pair.",
)
sentence_pairs.slip(
    "strangers of the same document",
    with_iterators,
    "documents[:number] + documents[number + 1 :]",
    "documents",
    cause="The made-up second may come from the document of the first, where it may even follow it.",
    hint="Take the sentences of the *other* documents, in their order.",
)
sentence_pairs.slip(
    "coins thrown anew in each document",
    true_ones_first,
    "    made = []\n    for (d, first, second), coin, pick in zip(pairs, coins, picks, strict=True):\n",
    "    made, lengths = [], [len(document) for document in documents]\n"
    "    places = [place for length in lengths for place in range(length - 1)]\n"
    "    for (d, first, second), place in zip(pairs, places, strict=True):\n"
    "        coin, pick = coins[place], picks[place]\n",
    cause="Coins and picks are counted from 0 in each document; they go on through all of them.",
    hint="There are as many coins as pairs in all documents together.",
)
sentence_pairs.slip(
    "only the next document",
    with_iterators,
    "[sentence for other in documents[:number] + documents[number + 1 :] for sentence in other]",
    "documents[(number + 1) % len(documents)] or documents[number - 1]",
    cause="Strangers are taken from the next document only; all others are meant.",
    hint="Put the sentences of all other documents into one list.",
)
sentence_pairs.slip(
    "the first replaced",
    with_iterators,
    "pairs.append((document[place], second, int(not coin)))",
    "pairs.append((document[place] if coin else second, document[place + 1], int(not coin)))",
    cause="In made-up pairs the first sentence is replaced; it should be the second.",
    hint="The first sentence of pair n is the same, whatever the coin says.",
)


@sentence_pairs.mistake(hint="Does the last sentence of a document have a next one?")
def across_the_border(documents, coins, picks):
    """The last sentence of a document is paired with the first of the next; they do not belong together."""
    flat = [(number, sentence) for number, document in enumerate(documents) for sentence in document]
    pairs = []
    for n in range(len(flat) - 1):
        (number, first), (_, following) = flat[n : n + 2]
        coin, pick = coins[n % len(coins)], picks[n % len(picks)]
        strangers = [sentence for other, sentence in flat if other != number]
        pairs.append((first, following, 0) if coin else (first, strangers[pick % len(strangers)], 1))
    return pairs


@sentence_pairs.mistake(hint="A pair is dropped, or kept with another second? The coin decides only about the second.")
def made_up_ones_left_out(documents, coins, picks):
    """Pairs whose coin shows False are left out; they should be kept, with a stranger as second sentence."""
    pairs, n = [], 0
    for document in documents:
        for first, following in (document[i : i + 2] for i in range(len(document) - 1)):
            if coins[n]:
                pairs.append((first, following, 0))
            n += 1
    return pairs


@sentence_pairs.mistake(hint="Does `pop` only look, or does it take something out of the list you were given?")
def coins_used_up(documents, coins, picks):
    """Coins and picks are taken out of the lists that were given, which are empty afterwards."""
    pairs = []
    for number, document in enumerate(documents):
        strangers = [sentence for other in documents[:number] + documents[number + 1 :] for sentence in other]
        for first, following in (document[i : i + 2] for i in range(len(document) - 1)):
            coin, pick = coins.pop(0), picks.pop(0)
            pairs.append((first, following, 0) if coin else (first, strangers[pick % len(strangers)], 1))
    return pairs
