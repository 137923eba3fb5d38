r"""What word vectors are learned from here: the sentences of Python's reference, and a small made world.

The reference puts the words of the language in quotation marks: 'the "for" statement', but 'for example'. We take the
marks away and keep them as labels. So words like *for* have two senses, and nobody had to label them by hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_course.data import Split, reference_topics, split_by_key
from ml_course.text import words

SENTENCE_END = re.compile(r"(?<=[.:?!])\s+(?=[\"(*]?[A-Z])")
EMPHASIS = re.compile(r"\*(\w+)\*")  # *name*, an argument that is spoken of
PROSE = re.compile(r"[\"(*]?[A-Z].*[.:?!)]$", re.DOTALL)


@dataclass(frozen=True)
class QuotedTexts:
    r"""Sentences as words in small letters, and which of the words stood in quotation marks."""

    sentences: tuple[tuple[str, ...], ...]
    quoted: tuple[tuple[bool, ...], ...]  # one for each word

    def __post_init__(self) -> None:
        lengths = [len(sentence) for sentence in self.sentences], [len(flags) for flags in self.quoted]
        if lengths[0] != lengths[1]:
            raise ValueError(f"quoted has {sum(lengths[1])} flags for {sum(lengths[0])} words, expected one for each")

    def __len__(self) -> int:
        return len(self.sentences)

    def rows(self, chosen: np.ndarray) -> QuotedTexts:
        r"""The sentences at these numbers, or where these bools are True."""
        numbers = np.arange(len(self))[chosen].tolist()
        return QuotedTexts(tuple(self.sentences[i] for i in numbers), tuple(self.quoted[i] for i in numbers))

    def contents(self) -> np.ndarray:
        r"""What makes two sentences the same, for `split`."""
        return np.array([" ".join(sentence) for sentence in self.sentences])

    def places(self, word: str) -> list[tuple[int, int, bool]]:
        r"""Where a word stands: number of the sentence, number of the word in it, and whether it was quoted."""
        return [
            (i, j, self.quoted[i][j])
            for i, sentence in enumerate(self.sentences)
            for j, other in enumerate(sentence)
            if other == word
        ]


def quoted_words(sentence: str) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    r"""The words of a sentence without its double quotation marks, in small letters, and which stood between them.

    Raises: ValueError when a mark is left without its partner.

    >>> quoted_words('The "for" statement is for loops.')
    (('the', 'for', 'statement', 'is', 'for', 'loops', '.'), (False, True, False, False, False, False, False))
    """
    pieces = sentence.split('"')
    if len(pieces) % 2 == 0:
        raise ValueError(
            f"sentence has {len(pieces) - 1} double quotation marks, expected an even number: {sentence!r}"
        )
    found = [(word.lower(), bool(i % 2)) for i, piece in enumerate(pieces) for word in words(piece)]
    return tuple(word for word, _ in found), tuple(flag for _, flag in found)


def reference_sentences(test_share: float = 0.15, shortest: int = 4, longest: int = 60) -> Split[QuotedTexts]:
    r"""The prose of Python's reference, sentence by sentence; whole topics are for testing.

    Paragraphs that neither begin like a sentence nor end like one (examples, grammar) are left out, and so are
    sentences whose quotation marks do not pair up.

    test_share   about this share of the *topics*; which ones depends on their names alone
    shortest, longest   words and punctuation marks a sentence has at least and at most
    Raises: ValueError when test_share is not between 0 and 1.

    >>> parts = reference_sentences()
    >>> len(parts.train) > 1000, parts.train.sentences[0][:4]
    (True, ('assignment', 'statements', 'are', 'used'))
    """
    sentences, quoted, keys = [], [], []
    for topic, text in reference_topics().items():
        for paragraph in text.split("\n\n"):
            plain = EMPHASIS.sub(r"\1", " ".join(paragraph.split()))
            if not PROSE.match(plain):
                continue
            for sentence in SENTENCE_END.split(plain):
                if sentence.count('"') % 2 == 0:
                    found, flags = quoted_words(sentence)
                    if shortest <= len(found) <= longest:
                        sentences.append(found)
                        quoted.append(flags)
                        keys.append(topic)
    return split_by_key(QuotedTexts(tuple(sentences), tuple(quoted)), keys, test_share)


PERSONS = {  # role: a man and a woman in it
    "ruler": ("king", "queen"),
    "heir": ("prince", "princess"),
    "grown": ("man", "woman"),
    "young": ("boy", "girl"),
    "parent": ("father", "mother"),
    "stage": ("actor", "actress"),
    "noble": ("duke", "duchess"),
    "faith": ("monk", "nun"),
}
DEEDS = {  # role: what such a person does, and with what
    "ruler": (("rules", "commands", "crowns"), ("throne", "realm", "army")),
    "heir": (("inherits", "awaits", "hunts"), ("crown", "castle", "horse")),
    "grown": (("works", "builds", "votes"), ("house", "office", "town")),
    "young": (("plays", "learns", "climbs"), ("toy", "tree", "lesson")),
    "parent": (("feeds", "comforts", "scolds"), ("child", "baby", "cradle")),
    "stage": (("performs", "rehearses", "bows"), ("play", "stage", "mask")),
    "noble": (("dances", "dines", "rides"), ("estate", "ball", "carriage")),
    "faith": (("prays", "fasts", "sings"), ("chapel", "psalm", "garden")),
}
GENDERS = ((("he", "his", "him"), ("beard", "tie", "brother")), (("she", "her", "hers"), ("dress", "braid", "sister")))
AMBIGUOUS = "ruler"  # the person, and the thing to draw lines with
LINES = (("draws", "measures", "divides"), ("line", "paper", "pencil", "inch", "edge"))


def kingdom(count: int, seed: int = 0, tell_senses: bool = False) -> list[list[str]]:
    r"""Sentences about a made world in which what a person does depends on the role, and how they are called on gender.

    By construction the words around *king* differ from those around *queen* exactly as those around *man* differ from
    those around *woman*: if analogies can be had at all, they can be had here. The word *ruler* stands in a sixth of
    the sentences, half of them about the person and half about the thing to draw lines with.

    count         sentences
    tell_senses   write the two senses of *ruler* as two words, "ruler/person" and "ruler/thing"
    Raises: ValueError when count is below 1.

    >>> len(kingdom(3)), {len(sentence) for sentence in kingdom(100)}
    (3, {8})
    """
    if count < 1:
        raise ValueError(f"count = {count}, expected at least 1")
    rng = np.random.default_rng(seed)

    def one_of(options: Sequence[str]) -> str:
        return options[int(rng.integers(len(options)))]

    sentences = []
    for _ in range(count):
        kind = rng.random()
        if kind < 1 / 12:
            word = f"{AMBIGUOUS}/thing" if tell_senses else AMBIGUOUS
            verbs, things = LINES
            sentences.append(["the", word, one_of(verbs), "the", one_of(things), "on", "the", one_of(things)])
            continue
        gender = int(rng.integers(2))
        role = "ruler" if kind < 2 / 12 else one_of(list(PERSONS))
        person = PERSONS[role][gender]
        if kind < 2 / 12:
            person = f"{AMBIGUOUS}/person" if tell_senses else AMBIGUOUS
        (verbs, things), (pronouns, signs) = DEEDS[role], GENDERS[gender]
        sentences.append(["the", person, one_of(verbs), "the", one_of(things), "with", one_of(pronouns), one_of(signs)])
    return sentences


def kingdom_questions() -> list[tuple[str, str, str, str]]:
    r"""All analogies of the made world, a : b = c : d, as (a, b, c, d): man and woman of two roles, both ways.

    >>> len(kingdom_questions()), kingdom_questions()[0]
    (112, ('king', 'queen', 'prince', 'princess'))
    """
    pairs = list(PERSONS.values())
    questions = [(*one, *other) for one in pairs for other in pairs if one != other]
    return questions + [(b, a, d, c) for a, b, c, d in questions]


def sense_examples(
    data: QuotedTexts, candidates: Sequence[str], least: int = 5
) -> dict[str, list[tuple[int, int, bool]]]:
    r"""The places of those candidates that stand at least so often in quotation marks, and so often without them.

    >>> data = QuotedTexts((("for", "x"), ("for", "y")), ((True, False), (False, False)))
    >>> sense_examples(data, ["for", "x"], least=1)
    {'for': [(0, 0, True), (1, 0, False)]}
    """
    found = {word: data.places(word) for word in candidates}
    return {
        word: places
        for word, places in found.items()
        if min(sum(quoted for _, _, quoted in places), sum(not quoted for _, _, quoted in places)) >= least
    }
