r"""A small made language in which it is known what follows from what: data for natural language inference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# slot → general word → the words below it; two words of a slot exclude each other unless one stands above the other.
LEXICON = {
    "colour": {"dark": ("black", "brown", "grey"), "bright": ("white", "yellow", "pink")},
    "who": {"animal": ("dog", "cat", "horse"), "person": ("man", "woman", "child")},
    "does": {"moves": ("runs", "jumps", "swims"), "rests": ("sleeps", "sits", "lies")},
    "where": {"outdoors": ("park", "forest", "garden"), "indoors": ("kitchen", "shop", "school")},
}
LABELS = ("entails", "contradicts", "neutral")
ABOVE = {word: general for groups in LEXICON.values() for general, words in groups.items() for word in words}


class Inference(NamedTuple):
    r"""A premise, a hypothesis, and whether the one entails or contradicts the other or neither."""

    premise: tuple[str, ...]
    hypothesis: tuple[str, ...]
    label: str


def relation(premise: str | None, hypothesis: str | None) -> str:
    r"""What the premise's word for a slot says about the hypothesis's; None where a sentence leaves the slot open.

    >>> relation("dog", "dog"), relation("dog", "animal"), relation("dog", None)
    ('entails', 'entails', 'entails')
    >>> relation("dog", "cat"), relation("animal", "man"), relation("animal", "dog"), relation(None, "dog")
    ('contradicts', 'contradicts', 'neutral', 'neutral')
    """
    if hypothesis is None or premise == hypothesis or ABOVE.get(premise) == hypothesis:
        return "entails"
    return "neutral" if premise is None or ABOVE.get(hypothesis) == premise else "contradicts"


def inference_pairs(samples: int, seed: int = 0) -> list[Inference]:
    r"""Different pairs of sentences, the three labels in turn: "the black dog runs" entails "the animal runs".

    A hypothesis contradicts when any of its words does, else it is neutral when any word is, else it is entailed. All
    but one of its words are entailed, so that everything hangs on one pair of words.

    samples   at most 20,000. Raises: ValueError for more, or less than 0.

    >>> pair = inference_pairs(3)[1]
    >>> print(*pair.premise, "|", *pair.hypothesis, "|", pair.label)
    outdoors the dog rests | in the kitchen the animal rests | contradicts
    """
    if not 0 <= samples <= 20_000:
        raise ValueError(f"samples = {samples}, expected 0 to 20,000")
    rng = np.random.default_rng(seed)
    found: dict[tuple, Inference] = {}
    while len(found) < samples:
        label = LABELS[len(found) % 3]
        premise = {slot: _any_word(rng, slot) for slot in LEXICON}
        for slot in ("colour", "where"):
            if rng.random() < 0.3:
                premise[slot] = None
        hypothesis = {slot: _related(rng, slot, word, "entails") for slot, word in premise.items()}
        if label != "entails":
            slots = [slot for slot in LEXICON if _words(slot, premise[slot], label)]
            if not slots:  # where all is said and said precisely, nothing is left open
                continue
            slot = str(rng.choice(slots))
            hypothesis[slot] = _related(rng, slot, premise[slot], label)
        pair = Inference(_sentence(rng, premise), _sentence(rng, hypothesis), label)
        found.setdefault(pair[:2], pair)
    return list(found.values())


def _words(slot: str, premise: str | None, label: str) -> list[str]:
    """The words of a slot that stand in this relation to the premise's."""
    every = [word for general, words in LEXICON[slot].items() for word in (general, *words)]
    return [word for word in every if relation(premise, word) == label]


def _related(rng: np.random.Generator, slot: str, premise: str | None, label: str) -> str | None:
    """A word of the slot in this relation to the premise's; sometimes nothing, where a sentence can do without."""
    words = _words(slot, premise, label)
    optional = label == "entails" and slot in ("colour", "where") and rng.random() < 0.3
    return None if optional or not words else str(rng.choice(words))


def _any_word(rng: np.random.Generator, slot: str) -> str:
    """A word of the slot, in one case of three a general one."""
    general = str(rng.choice(list(LEXICON[slot])))
    return general if rng.random() < 1 / 3 else str(rng.choice(LEXICON[slot][general]))


def _sentence(rng: np.random.Generator, word: dict[str, str | None]) -> tuple[str, ...]:
    """The words in one of two orders."""
    who = ("the", *([word["colour"]] if word["colour"] else []), word["who"], word["does"])
    where = (
        ()
        if word["where"] is None
        else (word["where"],)
        if word["where"] in LEXICON["where"]
        else ("in", "the", word["where"])
    )
    return who + where if rng.random() < 0.5 else where + who
