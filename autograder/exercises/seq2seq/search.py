"""The exercise on beam search: a few ways at a time, some of which have ended."""

import math

import numpy as np
import torch

from autograder.exercise import Case, Exercise
from ml_course import seq2seq


def best_ways(log_chances, beam, steps, eos, alpha=0.0):
    """The reference under the homework's signature: the library's search, one prefix a row."""

    def model(tokens):
        rows = [log_chances(tuple(row[1:])) for row in tokens.tolist()]
        return torch.tensor(np.array(rows))[:, None]

    found = seq2seq.beam_search(model, torch.zeros(1, 1, dtype=torch.long), steps, eos=eos, beam=beam, alpha=alpha)
    rows = zip(found.tokens[0].tolist(), found.length[0].tolist(), found.score[0].tolist(), strict=True)
    return [(tokens[:length], score) for tokens, length, score in rows if score > -math.inf]


beam_search = Exercise(
    "seq2seq.beam_search",
    reference=best_ways,
    facets={"one way": 1, "several ways": 2, "ways that ended": 2, "length": 1},
    difficulty=3,
    minutes=40,
)


@beam_search.cases
def beam_search_cases(rng):
    def case(label, facet=None, beam=2, steps=4, vocab=5, eos=1, alpha=0.0, end=0.0, spread=1.5):
        logits = spread * rng.normal(size=(steps, vocab + 1, vocab))
        logits[:, :, eos] += end
        return Case(label, facet, logits=logits, beam=beam, steps=steps, eos=eos, alpha=alpha)

    never, soon = -1000.0, 1.0
    steps = int(rng.integers(3, 6))
    yield case("one way, one step", beam=1, steps=1, end=never)
    yield case("one way", beam=1, steps=steps, end=never)
    yield case("one way that may end", beam=1, steps=5, end=2.5)
    several = "several ways"
    yield case("two ways, none ends", several, beam=2, steps=steps, end=never)
    yield case("three ways, none ends", several, beam=3, steps=4, end=never)
    yield case("four ways of much the same chance", several, beam=4, steps=4, end=never, spread=0.3)
    yield case("more places than ways at first", several, beam=9, steps=3, vocab=4, end=never)
    ended = "ways that ended"
    yield case("two ways, some end", ended, beam=2, steps=5, end=soon)
    yield case("three ways, another end token", ended, beam=3, steps=5, eos=3, end=soon)
    yield case("four ways, all end early", ended, beam=4, steps=6, end=3.0)
    yield case("the end token is 0", ended, beam=3, steps=4, eos=0, end=soon)
    yield case("as many places as there are ways", ended, beam=60, steps=3, vocab=4, end=soon)
    length = "length"
    yield case("by the mean of the logarithms", length, beam=3, steps=5, alpha=1.0, end=soon)
    yield case("length to the power 0.6", length, beam=4, steps=5, alpha=0.6, end=soon)
    # An early end, then one word with two continuations that are as good by the mean, though less likely by themselves.
    early = case("an early end against two longer ways", length, beam=2, steps=2, vocab=4, alpha=1.0)
    early.inputs["logits"][0, 4] = np.log([0.35, 0.4, 0.2, 0.05])
    early.inputs["logits"][1, 0] = np.log([0.01, 0.01, 0.49, 0.49]) - 0.5 * early.inputs["logits"][0, 4]
    early.inputs["logits"][1, 0] += rng.normal(scale=0.02, size=4)
    yield early
    yield case("by the mean, all ways", length, beam=60, steps=3, vocab=4, alpha=1.0, end=soon)
    yield case("by the mean, many end early", length, beam=5, steps=6, alpha=1.0, end=2.0)


@beam_search.probe
def ask_beam_search(answer, logits, beam, steps, eos, alpha):
    import numpy as np

    def log_chances(prefix):
        scores = np.zeros(logits.shape[2])
        before = logits.shape[1] - 1  # the row of "nothing before"
        for place, token in enumerate((before, *prefix)):
            scores = 0.5 * scores + logits[min(place, len(logits) - 1), token]
        scores = scores - scores.max()
        return scores - np.log(np.exp(scores).sum())

    ways = answer(log_chances, beam, steps, eos, alpha)
    if not isinstance(ways, list | tuple) or not all(isinstance(way, list | tuple) and len(way) == 2 for way in ways):
        raise TypeError("expected a list of pairs (tokens, score), the best first")
    return {
        "ways": [[int(token) for token in tokens] for tokens, _ in ways],
        "scores": np.array([float(score) for _, score in ways]),
    }


@beam_search.alternative
def with_a_sorted_list(log_chances, beam, steps, eos, alpha=0.0):
    def score(way):
        return way[1] / max(len(way[0]), 1) ** alpha

    ways = [([], 0.0)]
    for _ in range(steps):
        longer = []
        for tokens, total in ways:
            if tokens and tokens[-1] == eos:
                longer.append((tokens, total))
                continue
            longer += [(([*tokens, token]), total + chance) for token, chance in enumerate(log_chances(tuple(tokens)))]
        ways = sorted(longer, key=score, reverse=True)[:beam]
    return [(tokens, score((tokens, total))) for tokens, total in ways]


@beam_search.alternative
def live_and_ended_apart(log_chances, beam, steps, eos, alpha=0.0):
    live, ended = {(): 0.0}, {}
    for _ in range(steps):
        found = dict(ended)
        for prefix, total in live.items():
            chances = log_chances(prefix)
            found.update({(*prefix, token): total + chances[token] for token in range(len(chances))})
        kept = sorted(found, key=lambda way: -found[way] / len(way) ** alpha)[:beam]
        ended = {way: found[way] for way in kept if way[-1] == eos}
        live = {way: found[way] for way in kept if way[-1] != eos}
        if not live:
            break
    both = ended | live
    return sorted(((list(way), total / len(way) ** alpha) for way, total in both.items()), key=lambda pair: -pair[1])


@beam_search.alternative
def by_arrays(log_chances, beam, steps, eos, alpha=0.0):
    tokens, totals = [()], np.zeros(1)
    for _ in range(steps):
        candidates, sums = [], []
        for way, total in zip(tokens, totals, strict=True):
            if eos in way:
                candidates.append(way)
                sums.append(total)
            else:
                chances = np.asarray(log_chances(way))
                candidates += [(*way, token) for token in range(len(chances))]
                sums += list(total + chances)
        lengths = np.array([len(way) for way in candidates])
        best = np.argsort(-np.array(sums) / lengths**alpha, kind="stable")[:beam]
        tokens, totals = [candidates[i] for i in best], np.array(sums)[best]
    return [(list(way), total / len(way) ** alpha) for way, total in zip(tokens, totals, strict=True)]


def right_search(log_chances, beam, steps, eos, alpha=0.0):
    ways = [([], 0.0)]
    for _ in range(steps):
        longer = []
        for tokens, total in ways:
            if tokens and tokens[-1] == eos:
                longer.append((tokens, total))
            else:
                for token, chance in enumerate(log_chances(tuple(tokens))):
                    longer.append(([*tokens, token], total + chance))
        longer.sort(key=lambda way: way[1] / len(way[0]) ** alpha, reverse=True)
        ways = longer[:beam]
    return [(tokens, total / len(tokens) ** alpha) for tokens, total in ways]


beam_search.slip(
    "ended ways are extended",
    right_search,
    "if tokens and tokens[-1] == eos:",
    "if False:",
    cause="A way that has ended is extended like the others, so tokens follow its end.",
    hint="What should come after the end token?",
)
beam_search.slip(
    "ended ways are dropped",
    right_search,
    "longer.append((tokens, total))\n",
    "pass\n",
    cause="A way that has ended is left out from the next step on, so the result has none but the last.",
    hint="Print the ways after every step. What becomes of one that has ended?",
)
beam_search.slip(
    "chances added instead of their logarithms",
    right_search,
    "total + chance))",
    "total + math.exp(chance)))",
    cause="The chances themselves are added; the chance of a way is a product, its logarithm a sum of logarithms.",
    hint="Two steps of chance one half: what is the chance of both, and what its logarithm?",
)
beam_search.slip(
    "only the last step counts",
    right_search,
    "total + chance))",
    "chance))",
    cause="Ways are ranked by their last token alone; what came before is forgotten.",
    hint="What does a way's number say after three steps? It should hold all three.",
)
beam_search.slip(
    "length not taken into account",
    right_search,
    "way[1] / len(way[0]) ** alpha, reverse=True)\n        ways = longer[:beam]\n"
    "    return [(tokens, total / len(tokens) ** alpha)",
    "way[1], reverse=True)\n        ways = longer[:beam]\n    return [(tokens, total)",
    cause="The logarithms are not divided by length^α, so short ways win.",
    hint="Which of your arguments is never used?",
)
beam_search.slip(
    "length used only at the end",
    right_search,
    "key=lambda way: way[1] / len(way[0]) ** alpha, reverse=True)\n        ways = longer[:beam]\n",
    "key=lambda way: way[1], reverse=True)\n        ways = longer[:beam]\n"
    "    ways.sort(key=lambda way: way[1] / len(way[0]) ** alpha, reverse=True)\n",
    cause="While it searches, ways are ranked without regard to length; long ones are lost before the end.",
    hint="By what are the ways to be ranked at every step?",
)
beam_search.slip(
    "end token not counted",
    right_search,
    "return [(tokens, total / len(tokens) ** alpha)",
    "return [(tokens, total / max(len(tokens) - (tokens[-1] == eos), 1) ** alpha)",
    cause="The length leaves out the end token; it is one of the tokens whose logarithms are added.",
    hint="How many logarithms were added for a way of two words and its end?",
)
beam_search.slip(
    "sum instead of the score",
    right_search,
    "return [(tokens, total / len(tokens) ** alpha)",
    "return [(tokens, total)",
    cause="The ways are ranked by their scores, but beside them stand the sums of their log-probabilities.",
    hint="A pair is (tokens, score). By what is the sum divided to make a score of it?",
)
beam_search.slip(
    "the best of each way",
    right_search,
    "        longer.sort(",
    "        if len(ways) == beam:\n"
    "            best = {}\n"
    "            for way in longer:\n"
    "                parent = tuple(way[0]) if way in ways else tuple(way[0][:-1])\n"
    "                if parent not in best or way[1] > best[parent][1]:\n"
    "                    best[parent] = way\n"
    "            longer = list(best.values())\n"
    "        longer.sort(",
    cause="Every way keeps its own best extension; but two of one way may both be better than the best of another.",
    hint="Put all extensions of all ways into one list before you choose.",
)
beam_search.slip(
    "smallest first",
    right_search,
    "** alpha, reverse=True)",
    "** alpha)",
    cause="The list is sorted with the smallest first, so the least likely ways are kept.",
    hint="Logarithms of chances are negative. Which is better, −1 or −5?",
)


@beam_search.mistake(hint="With one place the search is greedy. What are the other places for?")
def greedy_whatever_the_beam(log_chances, beam, steps, eos, alpha=0.0):
    """Only the likeliest token is followed at each step, however wide the beam."""
    tokens, total = [], 0.0
    for _ in range(steps):
        chances = np.asarray(log_chances(tuple(tokens)))
        token = int(chances.argmax())
        tokens, total = [*tokens, token], total + chances[token]
        if token == eos:
            break
    return [(tokens, total / len(tokens) ** alpha)]


@beam_search.mistake(hint="The first way to end need not be the best. When may the search stop?")
def stops_at_the_first_end(log_chances, beam, steps, eos, alpha=0.0):
    """The search stops as soon as one way has ended, although others may still become better."""
    ways = [([], 0.0)]
    for _ in range(steps):
        longer = [
            ([*tokens, token], total + chance)
            for tokens, total in ways
            for token, chance in enumerate(log_chances(tuple(tokens)))
        ]
        longer.sort(key=lambda way: way[1] / len(way[0]) ** alpha, reverse=True)
        ways = longer[:beam]
        if any(tokens[-1] == eos for tokens, _ in ways):
            break
    return [(tokens, total / len(tokens) ** alpha) for tokens, total in ways]


@beam_search.mistake(hint="May a way that ended be pushed out of the list by better ones?")
def ended_ways_are_safe(log_chances, beam, steps, eos, alpha=0.0):
    """Ways that ended go to a list of their own, safe from better ones, and free or block no place of the others."""
    ways, done = [([], 0.0)], []
    for _ in range(steps):
        longer = [
            ([*tokens, token], total + chance)
            for tokens, total in ways
            for token, chance in enumerate(log_chances(tuple(tokens)))
        ]
        longer.sort(key=lambda way: way[1] / len(way[0]) ** alpha, reverse=True)
        done += [way for way in longer[:beam] if way[0][-1] == eos]
        ways = [way for way in longer[:beam] if way[0][-1] != eos]
    found = [(tokens, total / len(tokens) ** alpha) for tokens, total in done + ways]
    return sorted(found, key=lambda way: way[1], reverse=True)[:beam]
