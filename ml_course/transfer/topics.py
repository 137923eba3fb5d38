r"""Sentences of the course's default text with the topic each is of: labelled data that costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Int

from ml_course.bert import reference_documents
from ml_course.data import LabelledTexts, Split, split_by_key

TOPICS = {  # name in Python's help → what a reader would call it
    "compound": "statements",
    "types": "built-in types",
    "debugger": "debugger",
    "string-methods": "string methods",
    "specialnames": "special methods",
    "typesseq": "sequences",
    "typesmapping": "dictionaries",
    "formatstrings": "formatting",
}


def topic_sentences(test_share: float = 0.35, least: int = 6) -> Split[LabelledTexts]:
    r"""Sentences of eight long topics of Python's reference: which one is each from?

    test_share   about this share is for testing; which sentences depends on their words alone
    least        words of a sentence
    Raises: ValueError when test_share is not between 0 and 1.

    >>> parts = topic_sentences()
    >>> len(parts.train) > 600, len(parts.train.classes)
    (True, 8)
    """
    documents = reference_documents(least)
    rows = [(sentence, label) for label, name in enumerate(TOPICS) for sentence in documents[name]]
    texts = LabelledTexts(
        tuple(sentence for sentence, _ in rows), np.array([label for _, label in rows]), tuple(TOPICS.values())
    )
    return split_by_key(texts, list(texts.texts), test_share)


def few(labels: Int[np.ndarray, " samples"], count: int, seed: int = 0) -> Int[np.ndarray, " chosen"]:
    r"""Numbers of `count` samples, every class as often as any other (one more of some where it does not divide).

    A larger choice with the same seed contains the smaller one, as when somebody goes on labelling.
    Raises: ValueError when a class has too few, or count is below the number of classes.

    >>> few(np.array([0, 1, 0, 1, 1]), 4, seed=1).tolist()
    [0, 1, 2, 3]
    """
    classes, sizes = np.unique(labels, return_counts=True)
    most = -(-count // len(classes))
    if count < len(classes) or most > sizes.min():
        raise ValueError(
            f"count = {count} for {len(classes)} classes, the smallest of {sizes.min()} samples: expected "
            f"{len(classes)} to {len(classes) * sizes.min()}"
        )
    rng = np.random.default_rng(seed)
    by_class = [rng.permutation(np.flatnonzero(labels == one)) for one in classes]
    turns = [rows[i] for i in range(most) for rows in by_class]
    return np.sort(np.array(turns[:count]))


def paragraphs(texts: Iterable[str], shortest: int = 80) -> list[str]:
    r"""The distinct paragraphs of some texts in one line each, without those shorter than this many characters.

    >>> paragraphs(["One\n two.\n\nThree.", "One two."], shortest=5)
    ['One two.', 'Three.']
    """
    seen: dict[str, None] = {}
    for text in texts:
        for paragraph in text.replace("\r\n", "\n").split("\n\n"):
            plain = " ".join(paragraph.split())
            if len(plain) >= shortest:
                seen.setdefault(plain)
    return list(seen)
