r"""ListOps: nested lists of numbers with an operator each, whose value is asked; made, not collected."""

from __future__ import annotations

import random

import numpy as np

from ml_course.data.texts import LabelledTexts

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
_DIGITS = tuple("0123456789")


def listops(
    samples: int,
    *,
    shortest: int = 500,
    longest: int = 2000,
    depth: int = 10,
    arguments: int = 10,
    nested: float = 0.25,
    seed: int = 0,
) -> LabelledTexts:
    r"""Different expressions as `[MAX 2 9 [MIN 4 7 ] 0 ]`, tokens parted by spaces; the label is the value, 0 to 9.

    MIN and MAX of the arguments, MED their median, rounded down, SM their sum modulo 10.

    shortest, longest   tokens of an expression, both allowed; a bracket with its operator is one
    depth               lists within lists at most: 1 has none
    arguments           at most so many in a list, at least 2
    nested              how probable it is that an argument is itself a list
    Raises: ValueError for sizes that allow no expression, or when 1,000·samples trials find too few of such a length.
    Source: nangia2018listops, in the form of Long Range Arena, tay2021long, whose sizes are the defaults.

    >>> listops(2, shortest=5, longest=9, depth=1, seed=1).texts
    ('[MAX 4 1 7 ]', '[MAX 3 3 7 4 0 6 8 ]')
    """
    if depth < 1 or arguments < 2 or not 4 <= shortest <= longest or not 0 <= nested <= 1:
        raise ValueError(
            f"depth = {depth}, arguments = {arguments}, shortest = {shortest}, longest = {longest}, nested = {nested}: "
            "expected depth from 1, arguments from 2, 4 ≤ shortest ≤ longest, and a probability"
        )
    draw = random.Random(seed)  # ten times as fast as NumPy's where numbers are asked one by one
    found: dict[str, int] = {}
    for _ in range(1000 * samples):
        if len(found) == samples:
            break
        tokens: list[str] = []
        value = _grow(draw, tokens, depth, arguments, nested, longest)
        if value is not None and shortest <= len(tokens) <= longest:
            found.setdefault(" ".join(tokens), value)
    if len(found) < samples:
        raise ValueError(
            f"only {len(found)} of {samples} expressions of {shortest} to {longest} tokens were found with depth = "
            f"{depth}, arguments = {arguments}, nested = {nested}"
        )
    return LabelledTexts(tuple(found), np.array(list(found.values())), _DIGITS)


def _grow(
    draw: random.Random, tokens: list[str], depth: int, arguments: int, nested: float, longest: int
) -> int | None:
    """Append one list to `tokens` and return its value; None as soon as the expression is too long."""
    name = draw.choice(OPERATORS)
    tokens.append(name)
    values = []
    for _ in range(draw.randint(2, arguments)):
        if len(tokens) >= longest:
            return None
        if depth > 1 and draw.random() < nested:
            value = _grow(draw, tokens, depth - 1, arguments, nested, longest)
            if value is None:
                return None
        else:
            value = draw.randrange(10)
            tokens.append(str(value))
        values.append(value)
    tokens.append("]")
    if name == "[MIN":
        return min(values)
    if name == "[MAX":
        return max(values)
    if name == "[MED":
        middle = sorted(values)[(len(values) - 1) // 2 : len(values) // 2 + 1]
        return sum(middle) // len(middle)
    return sum(values) % 10
