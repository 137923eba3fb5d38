"""`check("topic.exercise", answer)`: the one line of a graded cell, and what a student sees of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from typing import Any

from autograder.exercise import find
from autograder.judging import Verdict, ask_here, judge
from autograder.seeds import case_seed

VERDICT_TYPE = "application/vnd.ml-course.verdict+json"


def check(name: str, answer: Callable) -> Report:
    """Check an answer and say which facets pass, the first case that fails, and the mistake it matches.

    In a notebook the result is shown as a table; in a terminal as text; as the value of a graded cell it is a number,
    the points, which is what nbgrader reads.

    >>> from ml_course import attention
    >>> check("attention.causal_mask", print).passed
    False
    """
    exercise = find(name)
    if not callable(answer):
        raise TypeError(f"check({name!r}, …) needs your function or class itself, got {type(answer).__name__}")
    return Report(judge(exercise, ask_here(answer), case_seed(name)))


class Report:
    """A verdict that shows itself."""

    def __init__(self, verdict: Verdict):
        self.verdict = verdict
        self.points, self.passed = verdict.points, verdict.passed

    def __float__(self) -> float:
        return float(self.points)

    def __repr__(self) -> str:
        return as_text(self.verdict)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if not in_notebook():
            return {"text/plain": as_text(self.verdict)}
        return {
            "text/plain": str(float(self.points)),
            "text/html": as_html(self.verdict),
            VERDICT_TYPE: self.verdict.as_dict(),
        }


def in_notebook() -> bool:
    """Whether a Jupyter kernel (JupyterLab, Colab, nbgrader) runs this, rather than a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def amount(points: float) -> str:
    return f"{points:g}"


def headline(verdict: Verdict) -> str:
    return f"{verdict.exercise}: {amount(verdict.points)} of {amount(verdict.max_points)} points, {verdict.summary}"


def as_text(verdict: Verdict) -> str:
    """The verdict as lines of plain text."""
    lines = [headline(verdict)]
    if verdict.mistake:
        lines += [f"  This matches a known mistake: {verdict.mistake}. {verdict.cause}", f"  Hint: {verdict.hint}"]
    for facet in verdict.facets:
        mark = "✓" if facet.points == facet.max_points else "✗"
        lines.append(f"  {mark} {facet.name} ({amount(facet.points)}/{amount(facet.max_points)})")
        if facet.complaint and not verdict.called:
            lines.append(f"      {facet.complaint}")
            if facet.case:
                lines.append(f"      in the case “{facet.case}”, {facet.inputs}")
    return "\n".join(lines)


def as_html(verdict: Verdict) -> str:
    """The verdict as a small table: legible on light and dark, marks as well as colours."""
    colour = "#009E73" if verdict.passed else "#D55E00"
    rows = []
    for facet in verdict.facets:
        earned = facet.points == facet.max_points
        case = f"<div>in the case “{escape(facet.case)}”, <code>{escape(facet.inputs)}</code></div>" * bool(facet.case)
        complaint = f"<div>{escape(facet.complaint)}</div>{case}" if facet.complaint and not verdict.called else ""
        rows.append(
            f'<tr><td style="text-align:left;white-space:nowrap;vertical-align:top">{"✓" if earned else "✗"} '
            f'{escape(facet.name)}</td><td style="vertical-align:top;white-space:nowrap">'
            f'{amount(facet.points)} / {amount(facet.max_points)}</td><td style="text-align:left">{complaint}</td></tr>'
        )
    mistake = (
        f'<p style="margin:.6em 0 0"><b>This matches a known mistake: {escape(verdict.mistake)}.</b> '
        f"{escape(verdict.cause)}<br><i>Hint: {escape(verdict.hint)}</i></p>"
        if verdict.mistake
        else ""
    )
    return (
        f'<div role="status" style="border-left:.35em solid {colour};padding:.3em .8em;margin:.3em 0">'
        f"<b>{escape(headline(verdict))}</b>"
        f'{mistake}<table style="margin:.4em 0 0">{"".join(rows)}</table></div>'
    )
