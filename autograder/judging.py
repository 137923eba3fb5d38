"""The judge's side of a question: compare a student's replies with the reference's and say what is wrong.

Nothing here runs a line of a student's code: replies are plain values, however they were come by.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from autograder.exercise import DTYPE, GRADIENTS, SIDE_EFFECTS, Case, Exercise, Mistake
from autograder.probing import NOT_RUN, Question, Reply, TimeUp, deadline, from_here_on, hung, observe
from autograder.wire import Array, Other, plain

SHORT = reprlib.Repr()  # never spells out a container of millions
SHORT.maxlist = SHORT.maxdict = 8
SHORT.maxlevel, SHORT.maxstring, SHORT.maxother = 3, 80, 80
NOT_WRITTEN = "NotImplementedError"
NOT_WRITTEN_YET = "not written yet"
SMALLEST_SCALE = 1e-6  # where all numbers are smaller they are what is left of larger ones, rounding and all
COARSE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 3e-2}  # relative tolerances where float64's would be too fine


@dataclass(frozen=True)
class Facet:
    """One share of the points and, where it was not earned, the first complaint."""

    name: str
    points: float
    max_points: float
    complaint: str = ""
    case: str = ""
    inputs: str = ""


@dataclass(frozen=True)
class Verdict:
    """What one answer earned and why."""

    exercise: str
    facets: tuple[Facet, ...]
    summary: str
    mistake: str = ""
    cause: str = ""
    hint: str = ""
    called: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        return sum(facet.points for facet in self.facets)

    @property
    def max_points(self) -> float:
        return sum(facet.max_points for facet in self.facets)

    @property
    def passed(self) -> bool:
        return self.points == self.max_points

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "points": self.points, "max_points": self.max_points}


@dataclass(frozen=True)
class Complaint:
    facet: str
    text: str


Ask = Callable[[Question], Reply]


def question(exercise: Exercise, case: Case) -> Question:
    """The case as it is sent to a student's process."""
    ways = dict(forbidden=list(exercise.forbidden), results=list(exercise.results))
    return Question(exercise.probe_source, exercise.probe_name, case.inputs, exercise.topic, **ways)


def ask_here(answer: Callable) -> Ask:
    """Put questions to an answer that lives in this very process, as over a wire: only plain values come back."""
    return lambda question: Reply.unpack(observe(Question.unpack(question.pack()), answer).pack())


def judge(exercise: Exercise, ask: Ask, seed: int, seconds: float | None = None) -> Verdict:
    """Put every case of `seed` to the answer and award the facets. No fault of the answer raises here."""
    return award(exercise, seed, collect(exercise, ask, seed, seconds))


def collect(exercise: Exercise, ask: Ask, seed: int, seconds: float | None = None) -> tuple[Reply, ...]:
    """The replies to every case of `seed`; those after a hang or an exit are not run."""
    cases, seconds = exercise.make_cases(seed), seconds or exercise.seconds
    replies: list[Reply] = []
    try:
        with deadline(seconds):
            for case in cases:
                replies.append(ask(question(exercise, case)))
    except TimeUp:
        failed = hung(seconds)
    except BaseException as error:  # a SystemExit or a KeyboardInterrupt raised by the answer itself
        failed = Reply(error=type(error).__name__, message=str(error))
    else:
        return tuple(replies)
    return (*replies, *from_here_on(failed, len(cases) - len(replies)))


@lru_cache(maxsize=1024)
def expected_replies(exercise: Exercise, seed: int) -> tuple[tuple[Case, Reply], ...]:
    """Each case with the reference's own reply. Raises where the reference fails: an exercise that cannot be."""
    cases = exercise.make_cases(seed)
    pairs = tuple((case, observe(question(exercise, case), exercise.reference, watch=False)) for case in cases)
    for case, reply in pairs:
        if reply.error:
            raise ValueError(f"{exercise.name}: the reference fails on {case!r}: {reply.error}: {reply.message}")
    return pairs


@lru_cache(maxsize=65536)
def mistaken_reply(exercise: Exercise, mistake: Mistake, seed: int, index: int) -> Reply:
    """What a known mistake replies to one of the same cases."""
    case, _ = expected_replies(exercise, seed)[index]
    try:
        with deadline(exercise.seconds):
            return observe(question(exercise, case), mistake.answer, watch=False)
    except TimeUp:
        return hung(exercise.seconds)


@lru_cache(maxsize=65536)
def rightness(exercise: Exercise, mistake: Mistake, seed: int, index: int, dtypes: bool) -> tuple[bool, bool]:
    """Whether a known mistake is right in one of the cases: but for the gradients, and altogether."""
    (_, want), theirs = expected_replies(exercise, seed)[index], mistaken_reply(exercise, mistake, seed, index)
    values = faultless(exercise, theirs, want, dtypes, gradients=False)
    return values, values and faultless(exercise, theirs, want, dtypes)


def award(exercise: Exercise, seed: int, replies: tuple[Reply, ...]) -> Verdict:
    """The verdict on the replies to all cases of `seed`, in their order."""
    expected = expected_replies(exercise, seed)
    called = sorted({name for reply in replies for name in reply.called})
    if called:
        text = f"uses {', '.join(called)}, which this exercise asks you to write yourself"
        facets = tuple(Facet(name, 0, share, text) for name, share in exercise.facets.items())
        return Verdict(exercise.name, facets, text, called=tuple(called))

    first: dict[str, tuple[Complaint, Case]] = {}
    proven: set[str] = set()
    for (case, want), got in zip(expected, replies, strict=True):
        complaints = list(complain(exercise, case, got, want, proven))
        for complaint in complaints:
            first.setdefault(complaint.facet, (complaint, case))

    founded = exercise.foundation in proven and exercise.foundation not in first
    facets = []
    for name, share in exercise.facets.items():
        if name in first:
            complaint, case = first[name]
            facets.append(Facet(name, 0, share, complaint.text, case.label, describe_inputs(case.inputs)))
        elif name not in proven or not founded:
            facets.append(Facet(name, 0, share, f"counts once {exercise.foundation!r} is right"))
        else:
            facets.append(Facet(name, share, share))
    if all(facet.points == facet.max_points for facet in facets):
        return Verdict(exercise.name, tuple(facets), "all right")
    if all(reply.error == NOT_WRITTEN for reply in replies):
        empty = tuple(Facet(facet.name, 0, facet.max_points) for facet in facets)
        return Verdict(exercise.name, empty, NOT_WRITTEN_YET)
    mistake = diagnose(exercise, seed, replies)
    return Verdict(
        exercise.name,
        tuple(facets),
        "not right yet",
        *((mistake.label, mistake.cause, mistake.hint) if mistake else ()),
    )


def facet_of(exercise: Exercise, case: Case, key: str) -> str:
    """Gradients have a facet of their own where the exercise lists it; everything else belongs to its case's."""
    return GRADIENTS if key.startswith("gradient") and GRADIENTS in exercise.facets else case.facet


def complain(exercise: Exercise, case: Case, got: Reply, want: Reply, proven: set[str]) -> Iterator[Complaint]:
    """Everything wrong with one reply; facets that were put to the test are added to `proven`."""
    if got.error:
        where = f", at {got.line}" if got.line else ""
        said = got.message if got.error in ("TimeUp", NOT_RUN) else f"{got.error}: {got.message}"
        yield Complaint(case.facet, (said or got.error) + where)
        return
    if SIDE_EFFECTS in exercise.facets:
        proven.add(SIDE_EFFECTS)
        for name, before in case.inputs.items():
            if isinstance(before, np.ndarray | list | dict) and not same(plain(before), got.after.get(name)):
                yield Complaint(SIDE_EFFECTS, f"the argument {name} was changed: work on a copy")
    if exercise.custom_judge:
        proven.update(facet_of(exercise, case, key) for key in want.outputs)
        for key, text in exercise.custom_judge(case.inputs, numbers(got.outputs), numbers(want.outputs)):
            yield Complaint(facet_of(exercise, case, key), text)
        return
    values_first = sorted(want.outputs.items(), key=lambda item: facet_of(exercise, case, item[0]) == GRADIENTS)
    wrong = None
    for key, wanted in values_first:
        facet = facet_of(exercise, case, key)
        if wrong and not wrong.dtype_only and facet != case.facet:
            return  # wrong values have wrong gradients: one fault costs one facet
        proven.add(facet)
        if DTYPE in exercise.facets and isinstance(wanted, Array):
            proven.add(DTYPE)
        wrong = difference(key, got.outputs.get(key), wanted, exercise.rtol)
        if wrong:
            yield Complaint(DTYPE if wrong.dtype_only and DTYPE in exercise.facets else facet, wrong.text)


def numbers(outputs: dict[str, Any]) -> dict[str, Any]:
    """Outputs as a custom judge gets them: bare arrays."""
    return {key: value.data if isinstance(value, Array) else value for key, value in outputs.items()}


@dataclass(frozen=True)
class Difference:
    text: str
    dtype_only: bool = False


def tolerance(dtype: str, rtol: float) -> float:
    return max(rtol, COARSE.get(dtype.removeprefix("torch."), 0))


def difference(key: str, got: Any, want: Any, rtol: float = 1e-6) -> Difference | None:
    """What distinguishes `got` from `want`, said to a student; `None` where nothing does."""
    if isinstance(want, Array):
        return _array_difference(key, got, want, rtol)
    if isinstance(want, list | dict) and type(got) is type(want):
        if len(got) != len(want):
            return Difference(f"{key}: expected {len(want)} items, got {len(got)}: {brief(got)}")
        keys = want.keys() if isinstance(want, dict) else range(len(want))
        inner = got.get if isinstance(got, dict) else got.__getitem__
        found = (difference(f"{key}[{item!r}]", inner(item), want[item], rtol) for item in keys)
        return min(filter(None, found), key=lambda wrong: wrong.dtype_only, default=None)  # numbers first
    close = type(got) is type(want) and (
        got == want or (type(want) is float and bool(np.isclose(got, want, rtol, 0, True)))
    )
    return None if close else Difference(f"{key}: expected {brief(want)}, got {brief(got)}")


def _array_difference(key: str, got: Any, want: Array, rtol: float) -> Difference | None:
    if not isinstance(got, Array):
        if key.startswith("gradient") and type(got) is str:  # a probe says why there is none
            return Difference(f"no {key}: {got.removeprefix('none: ')}")
        told = " (is there a return?)" if got is None and not key.startswith("gradient") else ""
        return Difference(f"{key}: expected {want.described}, got {brief(got)}{told}")
    if got.data.shape != want.data.shape:
        return Difference(f"{key}: expected shape {want.data.shape}, got {got.data.shape}")
    within = max(tolerance(got.dtype, rtol), tolerance(want.dtype, rtol))
    if got.data.dtype.kind in "biu" and want.data.dtype.kind in "biu":
        bad = got.data != want.data
    else:
        a, b = got.data.astype(np.float64), want.data.astype(np.float64)
        finite = np.isfinite(b)
        largest = float(np.abs(b).max(initial=0.0, where=finite))
        scale = max(largest, SMALLEST_SCALE) if largest else 1.0
        with np.errstate(invalid="ignore"):  # np.isclose with equal_nan, which takes five times as long
            near = np.abs(a - b) <= within * (scale + np.abs(b))
        bad = ~(near & finite | (a == b) | np.isnan(a) & np.isnan(b))
    if bad.any():
        return Difference(_numbers_differ(key, got.data, want.data, bad))
    if got.dtype != want.dtype:
        return Difference(f"{key}: the numbers are right, but the type should be {want.dtype}, not {got.dtype}", True)
    return None


def _numbers_differ(key: str, got: np.ndarray, want: np.ndarray, bad: np.ndarray) -> str:
    with np.errstate(invalid="ignore"):
        gap = np.where(bad, np.abs(np.nan_to_num(got.astype(float)) - np.nan_to_num(want.astype(float))), -1)
    worst = np.unravel_index(int(np.argmax(gap)), gap.shape)
    place = f" at [{', '.join(str(int(index)) for index in worst)}]" if worst else ""
    nans = int(np.isnan(got.astype(float)).sum() - np.isnan(want.astype(float)).sum())
    count = f"{int(bad.sum())} of {bad.size} numbers differ, " if bad.size > 1 else ""
    tail = f"; {nans} of yours are NaN" if nans > 0 else ""
    most = f"{count}most{place}" if count else "the number"
    return f"{key}: {most}: expected {number(want[worst])}, got {number(got[worst])}{tail}"


def number(value: Any) -> str:
    kind = np.asarray(value).dtype.kind
    return str(bool(value)) if kind == "b" else str(int(value)) if kind in "iu" else f"{value:.5g}"


def brief(value: Any) -> str:
    """A value in a few words: shapes for arrays, the text itself for what is short."""
    if isinstance(value, np.ndarray):
        value = plain(value)
    if isinstance(value, Array):
        shown = ", ".join(number(item) for item in value.data.ravel()[:6])
        return f"{value.described} [{shown}]" if value.data.size <= 6 else value.described
    if isinstance(value, list | tuple) and any(isinstance(item, Array) for item in value[:8]):
        shown = ", ".join(brief(item) for item in value[:3])
        return f"{type(value).__name__} of {len(value)}: {shown}{', …' if len(value) > 3 else ''}"
    if isinstance(value, Other):
        return f"something of type {value.type_name}"
    if type(value) is float and not value.is_integer():
        return f"{value:.8g}"
    text = SHORT.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def describe_inputs(inputs: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {brief(value)}" for name, value in inputs.items())


def same(a: Any, b: Any) -> bool:
    """Equal to the last bit, NaN included."""
    if isinstance(a, Array) and isinstance(b, Array):
        return a.dtype == b.dtype and a.data.shape == b.data.shape and bool(np.array_equal(a.data, b.data, _has_nan(a)))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def _has_nan(array: Array) -> bool:
    return array.data.dtype.kind == "f"


def diagnose(exercise: Exercise, seed: int, replies: tuple[Reply, ...]) -> Mistake | None:
    """The known mistake that explains the most of what is wrong with the replies, if there is one.

    Wherever the mistake is wrong the replies have to be wrong in the same way. Elsewhere they may have faults of their
    own, but fewer than the mistake explains. Types count only where all the numbers are right.
    """
    pairs = [(got, want) for got, (_, want) in zip(replies, expected_replies(exercise, seed), strict=True)]
    dtypes = all(alike(exercise, got, want, dtypes=False) for got, want in pairs)
    right = [faultless(exercise, got, want, dtypes) for got, want in pairs]
    best, most = None, 0
    for mistake in exercise.mistakes:
        explained = 0
        for index, (got, _) in enumerate(pairs):
            values, all_of_it = rightness(exercise, mistake, seed, index, dtypes)
            if all_of_it:
                continue
            theirs = mistaken_reply(exercise, mistake, seed, index)
            if right[index] or not alike(exercise, got, theirs, dtypes, gradients=values):
                break  # (wrong values have wrong gradients, so these are compared where the values are right)
            explained += 1
        else:
            if explained > most and 2 * explained > right.count(False):
                best, most = mistake, explained
    return best


def faultless(exercise: Exercise, got: Reply, want: Reply, dtypes: bool = True, gradients: bool = True) -> bool:
    """Whether a reply is what is wanted, and the inputs are untouched where that is asked for."""
    untouched = SIDE_EFFECTS not in exercise.facets or same(got.after, want.after)
    return untouched and alike(exercise, got, want, dtypes, gradients)


def alike(exercise: Exercise, got: Reply, other: Reply, dtypes: bool = True, gradients: bool = True) -> bool:
    """Whether two replies tell the same story: the same error, or outputs that cannot be told apart."""
    if got.error or other.error:
        return (got.error, got.message) == (other.error, other.message)
    if SIDE_EFFECTS in exercise.facets and not _agree(exercise, got.after, other.after):
        return False
    apart = not gradients and GRADIENTS in exercise.facets
    skipped = [key for key in other.outputs if apart and key.startswith("gradient")]
    return _agree(exercise, got.outputs, other.outputs, dtypes, skipped)


def _agree(exercise: Exercise, got: dict, other: dict, dtypes: bool = True, skipped: Collection[str] = ()) -> bool:
    """Whether two dictionaries of plain values have the same keys and, but for those skipped, the same values."""
    if got.keys() != other.keys():
        return False
    differences = (difference("", got[key], other[key], exercise.rtol) for key in other if key not in skipped)
    return not any(wrong and (dtypes or not wrong.dtype_only) for wrong in differences)
