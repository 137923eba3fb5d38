"""The section “Common mistakes” of a chapter as Markdown: one text for the book and for the chapter's notebook."""

import re

from autograder.exercise import Exercise, Mistake, load


def mistakes_markdown(topic: str) -> str:
    """Every exercise of a topic with its named mistakes: cause and hint."""
    return "\n\n".join(exercise_markdown(exercise) for exercise in load(topic).values()) + "\n"


def exercise_markdown(exercise: Exercise) -> str:
    """One exercise, folded because a bank is long; blank lines let what stands between the tags be read as Markdown."""
    count = f"{len(exercise.mistakes)} mistake{'s' if len(exercise.mistakes) != 1 else ''}"
    head = ["<details>", f"<summary><code>{exercise.answer_name}</code>: {count}</summary>", ""]
    return "\n".join([*head, *map(_mistake, exercise.mistakes), "", "</details>"])


def book_label(exercise: Exercise) -> str:
    """The label a chapter refers to: `attention.causal_mask` is `ex-attention-causal-mask`."""
    return f"ex-{exercise.topic}-{exercise.answer_name}".lower().replace("_", "-")


def _mistake(mistake: Mistake) -> str:
    name = mistake.label[:1].upper() + mistake.label[1:]
    cause, hint = (" ".join(text.split()) for text in (mistake.cause, mistake.hint))
    return f"- **{name}.** {_no_tags(cause)} *Hint:* {_no_tags(hint)}"


def _no_tags(text: str) -> str:
    """The text with every `<` that is not in code as an entity: Markdown would take <X> for an element of HTML."""
    return re.sub(r"(`[^`]*`)|<", lambda found: found[1] or "&lt;", text)
