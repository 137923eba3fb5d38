"""The exercises on span corruption: spans become sentinels, and sentinels spans again."""

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import objectives

# corrupt_spans


def spans_of_the_library(tokens, taken, sentinels):
    """The reference under the homework's signature."""
    return tuple(objectives.corrupt_spans(tokens, taken, sentinels))


corrupt_spans = Exercise(
    "objectives.corrupt_spans",
    reference=spans_of_the_library,
    facets={"inputs": 2, "targets": 2, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=20,
    results=("inputs", "targets"),
)


def a_text(rng, taken):
    """Tokens, what is taken, and more sentinels than are needed, in no order of size."""
    tokens = [int(token) for token in rng.integers(5, 60, size=len(taken))]
    sentinels = [int(number) for number in 100 + rng.permutation(len(taken) + 3)]
    return dict(tokens=tokens, taken=[bool(gone) for gone in taken], sentinels=sentinels)


@corrupt_spans.cases
def span_cases(rng):
    some = rng.random(12) < 0.4
    some[:5] = [False, True, True, False, True]
    for part in ("inputs", "targets"):  # asked for apart, so that a fault in one of them costs that one
        for label, taken in {
            "two spans": [False, True, True, False, False, True, False],
            "random spans": some,
            "one token": [False, False, True, False],
            "a span at each end": [True, False, False, True, True],
            "nothing is taken": [False] * 4,
            "everything is taken": [True] * 4,
            "every second one": [True, False] * 4,
        }.items():
            yield Case(f"{label}, {part}", part, **a_text(rng, taken), part=part)
    tight = a_text(rng, [False, True, False, True])
    tight["sentinels"] = tight["sentinels"][:3]
    yield Case("just enough sentinels, targets", "targets", **tight, part="targets")


@corrupt_spans.probe
def ask_corrupt_spans(answer, tokens, taken, sentinels, part):
    inputs, targets = answer(tokens, taken, sentinels)
    return {"inputs": inputs} if part == "inputs" else {"targets": targets}


@corrupt_spans.alternative
def looking_back(tokens, taken, sentinels):
    inputs, targets, used = [], [], 0
    for i, token in enumerate(tokens):
        if taken[i] and (i == 0 or not taken[i - 1]):
            inputs.append(sentinels[used])
            targets.append(sentinels[used])
            used += 1
        (targets if taken[i] else inputs).append(token)
    targets.append(sentinels[used])
    return inputs, targets


@corrupt_spans.alternative
def by_groups(tokens, taken, sentinels):
    from itertools import groupby

    signs, inputs, targets = iter(sentinels), [], []
    for gone, group in groupby(zip(tokens, taken, strict=True), key=lambda pair: pair[1]):
        words = [token for token, _ in group]
        if gone:
            sign = next(signs)
            inputs = [*inputs, sign]
            targets = [*targets, sign, *words]
        else:
            inputs = inputs + words
    return inputs, [*targets, next(signs)]


@corrupt_spans.alternative
def span_by_span(tokens, taken, sentinels):
    inputs, targets, start, number = [], [], 0, 0
    while start < len(tokens):
        stop = start
        while stop < len(tokens) and taken[stop]:
            stop += 1
        if stop > start:
            inputs += [sentinels[number]]
            targets += [sentinels[number], *tokens[start:stop]]
            number += 1
            start = stop
        else:
            inputs += [tokens[start]]
            start += 1
    return inputs, [*targets, sentinels[number]]


corrupt_spans.slip(
    "one sentinel for all spans",
    looking_back,
    "            used += 1\n",
    "",
    cause="Every span gets the same sentinel; nobody could tell which words belong where.",
    hint="How many different sentinels are in the lecture's example?",
)
corrupt_spans.slip(
    "no sentinel at the end",
    looking_back,
    "    targets.append(sentinels[used])\n    return",
    "    return",
    cause="The target lacks its last sentinel, which says that it ends here.",
    hint="What stands at the end of the lecture's target, and which span does it belong to?",
)
corrupt_spans.slip(
    "a sentinel for each token",
    looking_back,
    "if taken[i] and (i == 0 or not taken[i - 1]):",
    "if taken[i]:",
    cause="Each token that is taken gets a sentinel; tokens side by side are one span and share one.",
    hint="A span begins where a token is taken and the one before it is not.",
)
corrupt_spans.slip(
    "tokens left out without a trace",
    looking_back,
    "            inputs.append(sentinels[used])\n",
    "",
    cause="The input has no sentinels: it does not say where something is missing.",
    hint="A sentinel stands in both: where the span was, and before what it was.",
)
corrupt_spans.slip(
    "taken and kept swapped",
    looking_back,
    "(targets if taken[i] else inputs)",
    "(inputs if taken[i] else targets)",
    cause="What is taken stays in the input, and what stays goes to the target.",
    hint="True means: taken out.",
)
corrupt_spans.slip(
    "sentinels counted from the first one's number",
    looking_back,
    "    inputs, targets, used = [], [], 0\n",
    "    inputs, targets, used = [], [], 0\n    sentinels = range(sentinels[0], sentinels[0] + len(sentinels))\n",
    cause="Only the first sentinel is looked at, and one is added for each of the others. T5's own count downwards.",
    hint="The sentinels are a list of numbers. Take them from it, one after another.",
)
corrupt_spans.slip(
    "the last sentinel of the list at the end",
    looking_back,
    "    targets.append(sentinels[used])\n    return",
    "    targets.append(sentinels[-1])\n    return",
    cause="The target ends with the last sentinel of the list; it should be the next one after those used.",
    hint="After <X> and <Y> comes <Z>, however many letters the alphabet still has.",
)


@corrupt_spans.mistake(hint="list.pop changes the list it is called on, and that list is not yours.")
def eats_the_sentinels(tokens, taken, sentinels):
    """The result is right, but the sentinels are taken out of the list that was handed in."""
    inputs, targets = [], []
    for i, token in enumerate(tokens):
        if taken[i] and (i == 0 or not taken[i - 1]):
            sign = sentinels.pop(0)
            inputs.append(sign)
            targets.append(sign)
        (targets if taken[i] else inputs).append(token)
    return inputs, [*targets, sentinels.pop(0)]


# restore_spans

restore_spans = Exercise(
    "objectives.restore_spans",
    reference=objectives.restore_spans,
    facets={"round trip": 2, "what a model said": 1.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=15,
)


@restore_spans.cases
def restore_cases(rng):
    def trip(taken):
        made = a_text(rng, taken)
        pair = objectives.corrupt_spans(**made)
        return dict(inputs=pair.inputs, targets=pair.targets, sentinels=made["sentinels"])

    yield Case("two spans", **trip([False, True, True, False, False, True, False]))
    yield Case("random spans", **trip(rng.random(12) < 0.4))
    yield Case("a span at each end", **trip([True, False, False, True, True]))
    yield Case("nothing was taken", **trip([False] * 4))
    yield Case("everything was taken", **trip([True] * 4))
    x, y, z = (int(number) for number in 100 + rng.permutation(3))
    a, b, c, d, e = (int(number) for number in rng.integers(5, 60, size=5))
    sentinels = [x, y, z]
    said = "what a model said"
    yield Case("in another order", said, inputs=[a, x, b, y], targets=[y, c, x, d, e, z], sentinels=sentinels)
    yield Case("a span forgotten", said, inputs=[a, x, b, y, c], targets=[y, d, z], sentinels=sentinels)
    yield Case("an empty span", said, inputs=[a, x, b, y, c], targets=[x, y, d, z], sentinels=sentinels)
    yield Case("cut short", said, inputs=[a, x, b, y, c], targets=[x, d], sentinels=sentinels)
    yield Case("something before the first sentinel", said, inputs=[a, x, b], targets=[c, x, d, y], sentinels=sentinels)
    yield Case("something after the last one", said, inputs=[a, x, b], targets=[x, c, y, d], sentinels=sentinels)
    yield Case("nothing said", said, inputs=[a, x, b], targets=[], sentinels=sentinels)


@restore_spans.probe
def ask_restore_spans(answer, inputs, targets, sentinels):
    return {"result": answer(inputs, targets, sentinels)}


@restore_spans.alternative
def with_a_dictionary(inputs, targets, sentinels):
    spans, current = {}, None
    for token in targets:
        if token in sentinels:
            current = token
            spans[current] = []
        elif current is not None:
            spans[current].append(token)
    restored = []
    for token in inputs:
        if token in sentinels:
            restored.extend(spans.get(token, []))
        else:
            restored.append(token)
    return restored


@restore_spans.alternative
def searching_each_time(inputs, targets, sentinels):
    restored = []
    for token in inputs:
        if token not in sentinels:
            restored.append(token)
            continue
        if token in targets:
            place = targets.index(token) + 1
            while place < len(targets) and targets[place] not in sentinels:
                restored.append(targets[place])
                place += 1
    return restored


@restore_spans.alternative
def borders_first(inputs, targets, sentinels):
    places = [i for i, token in enumerate(targets) if token in sentinels]
    spans = {
        targets[start]: targets[start + 1 : stop]
        for start, stop in zip(places, [*places[1:], len(targets)], strict=False)
    }
    return [said for token in inputs for said in (spans.get(token, []) if token in sentinels else [token])]


restore_spans.slip(
    "sentinels stay",
    with_a_dictionary,
    "restored.extend(spans.get(token, []))",
    "restored.extend([token, *spans.get(token, [])])",
    cause="The sentinels are still in the text: a span should stand in their place, not behind them.",
    hint="Is every number of your result a token of the text?",
)
restore_spans.slip(
    "forgotten spans keep their sentinel",
    with_a_dictionary,
    "spans.get(token, [])",
    "spans.get(token, [token])",
    cause="Where the target says nothing about a sentinel, the sentinel stays in the text.",
    hint="What should stand there when nothing is known of a span? Nothing.",
)
restore_spans.slip(
    "an unknown span is an error",
    with_a_dictionary,
    "spans.get(token, [])",
    "spans[token]",
    cause="A sentinel of which the target does not speak raises a KeyError; a model may forget one.",
    hint="Which method of a dictionary has something ready when the key is missing?",
)
restore_spans.slip(
    "what comes before the first sentinel",
    searching_each_time,
    "    restored = []\n    for token in inputs:",
    "    restored, start = [], 0\n"
    "    while start < len(targets) and targets[start] not in sentinels:\n"
    "        restored.append(targets[start])\n        start += 1\n    for token in inputs:",
    cause="What the target says before its first sentinel is put into the text; it belongs to no span.",
    hint="Only what follows a sentinel has a place to go to.",
)


@restore_spans.mistake(hint="Let a model say the second span first. Which sentinel does it name?")
def in_the_order_of_the_target(inputs, targets, sentinels):
    """The spans are put in by their order in the target; which is which, only their sentinels say."""
    spans = []
    for token in targets:
        if token in sentinels:
            spans.append([])
        elif spans:
            spans[-1].append(token)
    restored = []
    for token in inputs:
        if token in sentinels:
            restored += spans.pop(0) if spans else []
        else:
            restored.append(token)
    return restored


@restore_spans.mistake(hint="A span may have more than one token, or none.")
def one_token_a_span(inputs, targets, sentinels):
    """Only the first token after each sentinel is put back."""
    restored = []
    for token in inputs:
        if token not in sentinels:
            restored.append(token)
        elif token in targets:
            place = targets.index(token) + 1
            restored += [said for said in targets[place : place + 1] if said not in sentinels]
    return restored


@restore_spans.mistake(hint="inputs[i : i + 1] = … changes a list that is not yours. Build a new one.")
def into_the_inputs(inputs, targets, sentinels):
    """The result is right, but it was written into the inputs that were handed in."""
    for sign in sentinels:
        if sign in inputs:
            span = []
            if sign in targets:
                for token in targets[targets.index(sign) + 1 :]:
                    if token in sentinels:
                        break
                    span.append(token)
            place = inputs.index(sign)
            inputs[place : place + 1] = span
    return inputs
