"""The exercise on the whole loop: greedy speculative decoding."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import Case, Exercise
from ml_course import decoding


def written_with_guesses(target, draft, prompt, steps, ahead):
    """The library's verdict with certainties for probabilities: a guess stays if it is what the target would write."""
    tokens, stop = list(prompt), len(prompt) + steps
    while len(tokens) < stop:
        guesses = []
        for _ in range(min(ahead, stop - len(tokens) - 1)):
            guesses.append(draft(tokens + guesses))
        says = target(tokens + guesses)[len(tokens) - 1 :]
        vocab, guessed = max([*says, *guesses]) + 1, torch.tensor(guesses, dtype=torch.long)
        p, q = (F.one_hot(x, vocab).double()[None] for x in (torch.tensor(says), guessed))
        verdict = decoding.verify(p, q, guessed[None])
        tokens += [*guesses[: verdict.accepted.item()], verdict.token.item()]
    return tokens


greedy_speculation = Exercise(
    "decoding.greedy_speculation",
    reference=written_with_guesses,
    facets={"text": 2, "few calls of the target": 2},
    difficulty=3,
    minutes=30,
)


@greedy_speculation.cases
def speculation_cases(rng):
    def case(label, facet=None, wrong=0.3, steps=12, ahead=3, vocab=6, prompt=2):
        rule = rng.integers(vocab, size=(vocab, vocab))
        guess = np.where(rng.random((vocab, vocab)) < wrong, (rule + 1) % vocab, rule)
        start = rng.integers(vocab, size=prompt)
        return Case(
            label, facet, rule=rule, guess=guess, prompt=start, steps=steps, ahead=ahead, counted=facet is not None
        )

    steps = int(rng.integers(9, 14))
    few = "few calls of the target"
    yield case("some guesses are right", steps=steps)
    yield case("one guess at a time", steps=steps, ahead=1)
    yield case("every guess is right", wrong=0.0, steps=steps, ahead=4)
    yield case("every guess is wrong", wrong=1.0, steps=7)
    yield case("a prompt of one token", prompt=1, steps=steps, ahead=2)
    yield case("fewer tokens wanted than guessed", wrong=0.1, steps=3, ahead=6)
    yield case("one token wanted", wrong=0.0, steps=1)
    yield case("no token wanted", steps=0)
    yield case("most guesses are right, many at a time", few, wrong=0.15, steps=20, ahead=5, vocab=8)
    yield case("all guesses are right, all stay", few, wrong=0.0, steps=15, ahead=4)
    yield case("half of the guesses are right", few, wrong=0.5, steps=18, ahead=3, vocab=8)


@greedy_speculation.probe
def ask_greedy_speculation(answer, rule, guess, prompt, steps, ahead, counted):
    calls = [0]

    def following(table, tokens):
        pairs = zip([0, *tokens[:-1]], tokens, strict=True)
        return [int(table[before, token]) for before, token in pairs]

    def target(tokens):
        calls[0] += 1
        if calls[0] > 3 * steps + 3:
            raise RuntimeError(f"target was called {calls[0]} times for {steps} tokens: does the text still grow?")
        return following(rule, [int(token) for token in tokens])

    def draft(tokens):
        return following(guess, [int(token) for token in tokens][-2:])[-1]

    tokens = answer(target, draft, [int(token) for token in prompt], steps, ahead)
    text = {"text": [int(token) for token in tokens]}
    return text | ({"calls of the target": calls[0]} if counted else {})


@greedy_speculation.alternative
def shorter_where_the_end_is_near(target, draft, prompt, steps, ahead):
    text, stop = list(prompt), len(prompt) + steps
    while len(text) < stop:
        tried = list(text)
        for _ in range(ahead):
            tried.append(draft(tried))
        says = target(tried)
        place = len(text)
        while place < len(tried) and tried[place] == says[place - 1]:
            place += 1
        text = [*tried[:place], says[place - 1]]
    return text[:stop]


@greedy_speculation.alternative
def by_a_table_of_agreements(target, draft, prompt, steps, ahead):
    tokens = tuple(prompt)
    end = len(tokens) + steps
    while len(tokens) < end:
        longer = tokens
        while len(longer) < len(tokens) + ahead:
            longer += (draft(list(longer)),)
        wanted = target(list(longer))[len(tokens) - 1 :]
        agree = [guess == right for guess, right in zip(longer[len(tokens) :], wanted, strict=False)]
        stay = agree.index(False) if False in agree else ahead
        tokens = (*longer[: len(tokens) + stay], wanted[stay])
    return list(tokens[:end])


greedy_speculation.slip(
    "bonus token lost",
    shorter_where_the_end_is_near,
    "text = [*tried[:place], says[place - 1]]",
    "text = tried[:place] if place == len(tried) else [*tried[:place], says[place - 1]]",
    cause="When all guesses stay, the target has also said what follows the last of them, and that is thrown away.",
    hint="All four guesses are right. How many tokens does this one call of the target give you?",
)
greedy_speculation.slip(
    "the rejected guess is kept",
    shorter_where_the_end_is_near,
    "text = [*tried[:place], says[place - 1]]",
    "text = [*tried[: place + 1], *says[place - 1 :]][: place + 1]",
    cause="The first wrong guess stays in the text instead of what the target says there.",
    hint="A guess differs from the target's token. Which of the two would the target alone have written?",
)
greedy_speculation.slip(
    "guesses compared one place off",
    shorter_where_the_end_is_near,
    "tried[place] == says[place - 1]:",
    "tried[place] == says[place]:",
    cause="A guess is compared with what the target says after it, not with what it says in its place.",
    hint="target(tokens)[t] follows tokens[t]. Which entry tells what should stand at place t?",
)
greedy_speculation.slip(
    "longer than asked",
    shorter_where_the_end_is_near,
    "return text[:stop]",
    "return text",
    cause="The last round brings more tokens than were wanted.",
    hint="How long is your result when one token is wanted and four are guessed?",
)
greedy_speculation.slip(
    "the prompt is not returned",
    shorter_where_the_end_is_near,
    "return text[:stop]",
    "return text[len(prompt) : stop]",
    cause="The new tokens are returned without the prompt.",
    hint="With which tokens should the result begin?",
)


@greedy_speculation.mistake(hint="Behind a wrong guess the others continue a text that nobody writes.")
def right_guesses_behind_a_wrong_one_stay(target, draft, prompt, steps, ahead):
    """Every guess is replaced where it is wrong and kept where it is right, but those behind a wrong one are void."""
    text, stop = list(prompt), len(prompt) + steps
    while len(text) < stop:
        tried = list(text)
        for _ in range(ahead):
            tried.append(draft(tried))
        text = [*text, *target(tried)[len(text) - 1 :]]
    return text[:stop]


@greedy_speculation.mistake(
    hint="Count the target's calls. What does one call tell you about all your guesses at once?"
)
def one_call_for_each_guess(target, draft, prompt, steps, ahead):
    """The target is asked after every guess, so it is called as often as without a draft."""
    text, stop = list(prompt), len(prompt) + steps
    while len(text) < stop:
        guess, right = draft(text), target(text)[-1]
        text.append(guess if guess == right else right)
    return text


@greedy_speculation.mistake(hint="Where does the target's opinion enter your text?")
def the_draft_writes_alone(target, draft, prompt, steps, ahead):
    """The guesses are taken as they come; nothing depends on the target."""
    text = list(prompt)
    for _ in range(steps):
        text.append(draft(text))
    return text


@greedy_speculation.mistake(hint="How many guesses does your draft make between two calls of the target?")
def one_guess_in_a_round(target, draft, prompt, steps, ahead):
    """Only one token is guessed before the target is asked, whatever `ahead` says."""
    text, stop = list(prompt), len(prompt) + steps
    while len(text) < stop:
        guess = draft(text)
        says = target([*text, guess])[-2:]
        text = [*text, *([guess, says[1]] if guess == says[0] else [says[0]])]
    return text[:stop]
