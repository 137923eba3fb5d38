"""The exercise on masked parallel decoding: all masks are guessed at once, the surest stay, and again."""

import math

import torch

from autograder.exercise import SIDE_EFFECTS, Case, Exercise
from ml_course import multimodal


def unmask_of_the_library(predict, tokens, mask_token, steps):
    """The reference under the homework's signature: one row, and always the likeliest."""
    rows = tokens.clone()[None]  # the library returns what it was given where nothing is hidden
    return multimodal.unmask(lambda now: predict(now[0])[None], rows, mask_token, steps=steps, temperature=0)[0]


unmask = Exercise(
    "multimodal.unmask",
    reference=unmask_of_the_library,
    facets={"values": 2, "each step": 1, "known tokens": 1, SIDE_EFFECTS: 0.5},
    difficulty=3,
    minutes=35,
    equivalent_mutants={
        "left = min(math.floor(count * math.cos(math.pi / 2 * step / steps)), count - step) → "
        "left = min(count - step, math.floor(count * math.cos(math.pi / 2 * step / steps)))": "the smaller of two "
        "numbers is the same in either order",
        "for step in range(1, steps + 1): → for step in range(1, steps + 2):": "after the last step nothing is hidden",
        "break → continue": "nothing is hidden in any later step either",
    },
)


def clear(count, steps):
    """Whether no share of the schedule is so near to a whole number that rounding could decide."""
    parts = [count * math.cos(math.pi / 2 * step / steps) for step in range(1, steps)]
    return all(abs(part - round(part)) > 1e-3 for part in parts)


@unmask.cases
def unmask_cases(rng):
    def case(label, facet=None, count=9, steps=4, known=0, vocab=5, mask=None):
        time = count + known
        place = rng.permutation(time)[:known]
        mask_token = vocab if mask is None else mask
        tokens = rng.integers(vocab, size=time)
        hidden = [i for i in range(time) if i not in place]
        tokens[hidden] = mask_token
        own = 0.7 * rng.normal(size=(time, vocab)) + 2 * rng.normal(size=(time, 1))  # some rows lie higher
        influence = 1.2 * rng.normal(size=(time, time, vocab, vocab))  # each token has a say in all others
        given = dict(tokens=tokens, mask_token=mask_token, steps=steps)
        return Case(label, facet, **given, own_logits=own, influence=influence, calls_compared=facet == "each step")

    def sizes(low, high, steps):
        fitting = [count for count in range(low, high) if clear(count, steps)]
        return dict(count=int(rng.choice(fitting)), steps=steps)

    yield case("all masked", None, **sizes(11, 15, 4))
    yield case("one step for all", None, count=int(rng.integers(5, 9)), steps=1)
    yield case("one token", None, count=1, steps=1)
    yield case("five steps", None, **sizes(12, 16, 5))
    yield case("two steps", "each step", **sizes(9, 13, 2))
    yield case("four steps", "each step", **sizes(11, 15, 4))
    yield case("as many steps as tokens", "each step", **sizes(11, 12, 11))
    yield case("half of them left", "each step", count=2 * int(rng.integers(4, 8)), steps=3)  # n · cos(π/3), exactly
    yield case("more steps than tokens", "each step", count=4, steps=7)
    yield case("some are known", "known tokens", **sizes(9, 13, 4), known=int(rng.integers(4, 7)))
    yield case("one mask among known ones", "known tokens", count=1, steps=3, known=6)
    yield case("none is masked", "known tokens", count=0, steps=3, known=5)
    yield case("the mask is number 99", "known tokens", **sizes(9, 13, 3), known=4, mask=99)


@unmask.probe
def ask_unmask(answer, tokens, mask_token, steps, own_logits, influence, calls_compared):
    import torch

    row, asked = torch.from_numpy(tokens), []
    own_logits, influence = torch.from_numpy(own_logits), torch.from_numpy(influence)
    places = torch.arange(len(row))

    def predict(now):
        now = torch.as_tensor(now)
        asked.append(now.detach().clone())
        known = places[now != mask_token]
        return own_logits + influence[:, known, now[known]].sum(1)

    with torch.no_grad():
        filled = answer(predict, row, mask_token, steps)
    if isinstance(filled, torch.Tensor) and filled.data_ptr() == row.data_ptr():
        filled = filled.clone()
        tokens += 1  # who writes into the result changes the argument
    if calls_compared:
        return {"how often predict was asked": len(asked), "what it was asked": asked, "result": filled}
    return {"result": filled}


@unmask.alternative
def the_algorithm(predict, tokens, mask_token, steps):
    tokens = tokens.clone()
    count = int((tokens == mask_token).sum())
    for step in range(1, steps + 1):
        hidden = (tokens == mask_token).nonzero()[:, 0]
        if len(hidden) == 0:
            break
        confidence, best = predict(tokens).softmax(-1).max(-1)
        left = math.floor(count * math.cos(math.pi / 2 * step / steps))
        left = min(left, count - step)
        surest = hidden[confidence[hidden].argsort(descending=True)]
        chosen = surest[: len(hidden) - left]
        tokens[chosen] = best[chosen]
    return tokens


@unmask.alternative
def masks_put_back(predict, tokens, mask_token, steps):
    hidden = tokens == mask_token
    count, step = int(hidden.sum()), 0
    while bool(hidden.any()):
        step += 1
        p = torch.softmax(predict(tokens), dim=1)
        confidence = torch.where(hidden, p.amax(1), torch.full_like(p[:, 0], 2.0))
        tokens = torch.where(hidden, p.argmax(1), tokens)
        left = min(int(count * math.cos(math.pi * step / (2 * steps))), count - step)
        again = confidence.argsort()[:left]
        tokens[again] = mask_token
        hidden = torch.zeros_like(hidden)
        hidden[again] = True
    return tokens.clone()


@unmask.alternative
def place_by_place(predict, tokens, mask_token, steps):
    row, dtype = tokens.tolist(), tokens.dtype
    count = row.count(mask_token)
    for step in range(steps):
        open_places = [i for i in range(len(row)) if row[i] == mask_token]
        if not open_places:
            break
        log_p = torch.log_softmax(predict(torch.tensor(row)), dim=-1).tolist()
        share = math.cos(math.pi / 2 * (step + 1) / steps)
        left = min(math.floor(count * share), count - step - 1)
        open_places.sort(key=lambda i: max(log_p[i]))
        for i in open_places[left:]:
            row[i] = max(range(len(log_p[i])), key=log_p[i].__getitem__)
    return torch.tensor(row, dtype=dtype)


def wrong(label, old, new, cause, hint):
    """A slip in the plain alternative."""
    unmask.slip(label, the_algorithm, old, new, cause=cause, hint=hint)


wrong(
    "least confident first",
    "argsort(descending=True)",
    "argsort()",
    "The tokens that the network is least sure of are settled first; the surest should be.",
    "argsort goes from the smallest up. Which end do you keep?",
)
wrong(
    "from left to right",
    "hidden[confidence[hidden].argsort(descending=True)]",
    "hidden",
    "The masks are filled in from left to right, whatever the network is sure of.",
    "What is the confidence for?",
)
wrong(
    "logits for probabilities",
    "predict(tokens).softmax(-1).max(-1)",
    "predict(tokens).max(-1)",
    "Confidences are logits; a row whose logits all lie high looks sure of everything. They are probabilities.",
    "The softmax of each row comes before the comparison between rows.",
)
wrong(
    "softmax over the places",
    "softmax(-1)",
    "softmax(0)",
    "The softmax runs over the places instead of the tokens to choose from.",
    "The probabilities of one place sum to 1.",
)
wrong(
    "a straight line for the cosine",
    "math.cos(math.pi / 2 * step / steps)",
    "(1 - step / steps)",
    "The share of masks falls along a straight line; it falls as a cosine, slowly at first.",
    "cos(π/2 · s/S).",
)
wrong(
    "many at first",
    "math.cos(math.pi / 2 * step / steps)",
    "(1 - math.sin(math.pi / 2 * step / steps))",
    "Most tokens are settled at first, when the network knows least.",
    "Few at first, many at last: look at the cosine between 0 and π/2.",
)
wrong(
    "half the angle forgotten",
    "math.pi / 2 * step / steps",
    "math.pi * step / steps",
    "The angle goes to π; at π/2 the cosine is 0 already, and below it is negative.",
    "π/2 · s/S.",
)
for label, rounding in (("rounded up", "math.ceil"), ("rounded to the nearest", "round")):
    wrong(
        label,
        "math.floor(",
        f"{rounding}(",
        f"The number of masks is {label}; it is rounded down.",
        "⌊…⌋ cuts off what stands behind the point.",
    )
wrong(
    "cosine in float32",
    "math.cos(math.pi / 2 * step / steps)",
    "float(torch.cos(torch.tensor(math.pi / 2 * step / steps)))",
    "The cosine is computed in float32: cos(π/3) comes out just below 1/2, and half of the masks are rounded down.",
    "torch.tensor of a Python number is float32. Use math.cos.",
)
wrong(
    "all tokens counted",
    "count = int((tokens == mask_token).sum())",
    "count = len(tokens)",
    "n is the number of all tokens; it is how many are hidden at the beginning.",
    "What is n when some tokens are known?",
)
wrong(
    "as many settled as should be left",
    "surest[: len(hidden) - left]",
    "surest[:left]",
    "The formula's number of tokens is settled; it is the number of those that are still hidden after the step.",
    "In the last step it is 0. What must happen to all that is hidden then?",
)
wrong(
    "counted anew in each step",
    "count * math.cos",
    "len(hidden) * math.cos",
    "The share is taken of the masks that are left; it is of those there were at the beginning.",
    "n is counted once, before the first step.",
)
wrong(
    "steps that settle nothing",
    "        left = min(left, count - step)\n",
    "",
    "With many steps some of them settle nothing, and predict is asked the same twice.",
    "min(…, n − s): after s steps at least s masks are gone.",
)
for label, steps in (("one step too few", "range(1, steps)"), ("steps counted from 0", "range(steps)")):
    wrong(
        label,
        "range(1, steps + 1)",
        steps,
        f"The last step is missing, so masks are left: {label}.",
        "s runs from 1 to S, both included.",
    )
wrong(
    "asked when nothing is left",
    "        if len(hidden) == 0:\n            break\n",
    "",
    "predict is asked although no mask is left.",
    "With more steps than masks one can stop early.",
)
wrong(
    "written into the argument",
    "tokens = tokens.clone()",
    "tokens = tokens",
    "The tokens are written into the row that was given.",
    "Begin with a copy.",
)
wrong(
    "the same tensor returned",
    "tokens = tokens.clone()",
    "tokens = tokens.clone() if (tokens == mask_token).any() else tokens",
    "Where nothing is hidden the given tensor itself is returned; who writes into the result would change it.",
    "The result is always a new tensor, also when there is nothing to do.",
)
wrong(
    "place among the hidden for place in the row",
    "hidden[confidence[hidden].argsort(descending=True)]",
    "confidence[hidden].argsort(descending=True)",
    "argsort numbers the places within the list of hidden ones; these numbers are used as places in the whole row.",
    "The third hidden place is seldom the third of all: look it up in the list of hidden places.",
)
wrong(
    "all places compete",
    "surest = hidden[confidence[hidden].argsort(descending=True)]",
    "surest = confidence.argsort(descending=True)",
    "Known and settled places compete with the masks, and are overwritten.",
    "Sort the confidences of masked places only.",
)


@unmask.mistake(hint="What is settled changes what the network says of the rest. Ask it again in each step.")
def asked_only_once(predict, tokens, mask_token, steps):
    """All masks are filled in by the network's first answer, be it at once or little by little."""
    return torch.where(tokens == mask_token, predict(tokens).argmax(-1), tokens)


@unmask.mistake(hint="Ask with the tokens as they are now, those settled so far among them.")
def always_asked_with_the_first_tokens(predict, tokens, mask_token, steps):
    """predict is asked in each step, but always with the tokens of the beginning, and so says the same each time."""
    row, left, step = tokens.clone(), int((tokens == mask_token).sum()), 0
    count = left
    while left > 0:
        step += 1
        left = min(math.floor(count * math.cos(math.pi / 2 * step / steps)), count - step)
        row = torch.where(tokens == mask_token, predict(tokens).argmax(-1), tokens)
    return row


@unmask.mistake(hint="A token that was settled in an earlier step is known from then on.")
def settled_ones_change(predict, tokens, mask_token, steps):
    """In each step all places that were masked at the beginning are guessed anew, those already settled as well."""
    asked_for = tokens == mask_token
    count, now = int(asked_for.sum()), tokens
    for step in range(1, steps + 1):
        confidence, best = predict(now).softmax(-1).max(-1)
        now = torch.where(asked_for, best, tokens)
        left = max(0, min(math.floor(count * math.cos(math.pi / 2 * step / steps)), count - step))
        again = confidence.masked_fill(~asked_for, 2).argsort()[:left]
        now[again] = mask_token
    return now


@unmask.mistake(hint="Compare the confidences of different places: the network tells them all at once.")
def one_token_a_step(predict, tokens, mask_token, steps):
    """One token is settled in each step, and the last step fills in all the rest."""
    tokens = tokens.clone()
    for step in range(1, steps + 1):
        hidden = (tokens == mask_token).nonzero()[:, 0]
        if len(hidden) == 0:
            break
        confidence, best = predict(tokens).softmax(-1).max(-1)
        surest = hidden[confidence[hidden].argsort(descending=True)]
        chosen = surest[:1] if step < steps else surest
        tokens[chosen] = best[chosen]
    return tokens
