r"""Little sentences with a mood: "He happily ate the pie" is glad, "She burned the soup in anger" is not."""

from __future__ import annotations

import itertools

import numpy as np

from ml_course.data import LabelledTexts

PEOPLE = ("He", "She", "Nobody", "The child", "My brother", "Our neighbour")
VERBS = ("ate", "baked", "bought", "burned", "carried", "dropped", "served", "washed")
THINGS = ("the pie", "the soup", "an apple", "the bread", "his hat", "a plate", "the old chair")
MANNERS = {  # as one word before the verb, or as words at the end
    1: (("happily", "gladly", "proudly"), ("with joy", "with a smile", "in high spirits")),
    0: (("angrily", "sadly", "bitterly"), ("in anger", "in tears", "with a curse")),
}


def mood_sentences(count: int | None = None, seed: int = 0) -> LabelledTexts:
    r"""Sentences labelled 1 (glad) or 0 (not): one expression of mood, before the verb or at the very end.

    Nothing else tells: every person, verb and thing is found with both moods equally often.

    count   how many, drawn without repetition, or all when None
    Raises: ValueError when there are not so many.

    >>> sentences = mood_sentences(3)
    >>> sentences.classes, len(sentences), len(mood_sentences())
    (('negative', 'positive'), 3, 4032)
    """
    texts, labels = [], []
    for person, verb, thing in itertools.product(PEOPLE, VERBS, THINGS):
        for label, (adverbs, endings) in MANNERS.items():
            texts += [f"{person} {adverb} {verb} {thing}" for adverb in adverbs]
            texts += [f"{person} {verb} {thing} {ending}" for ending in endings]
            labels += [label] * (len(adverbs) + len(endings))
    everything = LabelledTexts(tuple(texts), np.array(labels), ("negative", "positive"))
    if count is None:
        return everything
    if not 0 < count <= len(texts):
        raise ValueError(f"count = {count}, expected 1 to {len(texts)}")
    return everything.rows(np.random.default_rng(seed).permutation(len(texts))[:count])
