"""The section “Common mistakes” of a chapter as Markdown: one text for the book and for the chapter's notebook."""

from autograder.exercise import Exercise, Mistake, load


def mistakes_markdown(topic: str, *, labels: bool = False) -> str:
    """Every exercise of a topic with its named mistakes: cause in the open, hint folded.

    With `labels`, each exercise bears the cross-reference label `ex-<topic>-<answer>`, which only the book understands.
    """
    return "\n\n".join(_exercise(exercise, labels) for exercise in load(topic).values()) + "\n"


def book_label(exercise: Exercise) -> str:
    """The label a chapter refers to: `attention.causal_mask` is `ex-attention-causal-mask`."""
    return f"ex-{exercise.topic}-{exercise.answer_name}".lower().replace("_", "-")


def _exercise(exercise: Exercise, labels: bool) -> str:
    lines = [f"({book_label(exercise)})=", ""] if labels else []
    lines += [f"**In `{exercise.answer_name}`:**", ""]
    for mistake in exercise.mistakes:
        lines += _mistake(mistake)
    return "\n".join(lines).rstrip()


def _mistake(mistake: Mistake) -> list[str]:
    name = mistake.label[:1].upper() + mistake.label[1:]
    cause, hint = (" ".join(text.split()) for text in (mistake.cause, mistake.hint))
    return [f"- **{name}.** {cause}", f"  <details><summary>Hint</summary>{_as_html(hint)}</details>", ""]


def _as_html(text: str) -> str:
    """A hint may hold code in backticks; inside HTML, Markdown is no longer read, so the marks are turned here."""
    pieces = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
