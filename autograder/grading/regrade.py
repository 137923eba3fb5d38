"""Regrade with a reason: who moves when every submission is examined by the present exercises, and which facet did it.

Cases come from the same secret seeds, so whatever differs from the journal is the exercise's doing, the engine's, or
the student's who handed in another file since. Scores and comments that people have written stay.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from autograder import course
from autograder.grading import batch
from autograder.grading.gradebook import Writer
from autograder.grading.journal import write_whole

NO_FACET = {"points": 0, "max_points": 0, "complaint": ""}


@dataclass(frozen=True)
class Move:
    """One facet of one answer that earns other points than before, and why."""

    exercise: str
    facet: str
    before: float
    after: float
    why: str = ""

    def line(self) -> str:
        told = f": {self.why}" if self.why else ""
        return f"{self.exercise}, {self.facet}: {self.before:g} → {self.after:g}{told}"


@dataclass
class Regraded:
    """What a regrade finds, by student."""

    topic: str
    dry: bool
    students: list[str]
    moves: dict[str, list[Move]] = field(default_factory=dict)
    points: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        """The whole finding as text."""
        told = "dry run, nothing was written" if self.dry else "the new points are in the gradebook"
        lines = [f"{self.topic}: {len(self.students)} submissions examined again; {told}"]
        width = max((len(student) for student in self.moves), default=0)
        for student, moves in self.moves.items():
            before, after = self.points[student]
            lines.append(f"  {student.ljust(width)}  {before:g} → {after:g} ({after - before:+g})")
            lines += [f"      {text}" for text in [*(move.line() for move in moves), *self.notes.get(student, [])]]
        if self.fresh:
            lines.append(f"not graded before: {', '.join(self.fresh)}")
        if not self.moves:
            return "\n".join([*lines, "nobody moves"])
        changes = [after - before for before, after in (self.points[student] for student in self.moves)]
        up, down = sum(change > 0 for change in changes), sum(change < 0 for change in changes)
        compared = len(self.points)
        mean = sum(changes) / compared
        return "\n".join([*lines, f"{len(changes)} of {compared} move: {up} up, {down} down; the mean by {mean:+.2g}"])


def regrade(folder: Path, topic: str, options: course.Options | None = None, dry: bool = False) -> Regraded:
    """Examine every submission again and say who moves; without `dry` the new verdicts are written as ever."""
    options = options or course.Options()
    work = course.prepare(folder, topic, options)
    found = batch.find_submissions(work.folder, topic, work.troubles)
    if dry:
        before = work.journal.latest()
        after, troubles = examined(work, found), work.troubles
    else:
        with batch.alone(work.folder):  # here already, as what was before is noted
            before = noted_before(work)
        troubles = course.grade(folder, topic, replace(options, force=True, students=())).troubles
        after = {name: entry for name, entry in work.journal.latest().items() if entry != before.get(name)}
        baseline(work).unlink(missing_ok=True)
    with Writer(work.url, topic) as gradebook:
        by_hand = gradebook.by_hand()
    outcome = Regraded(topic, dry, [one.student for one in found], troubles=troubles)
    for submission in found:
        compare(outcome, submission, before.get(submission.student), after.get(submission.student), by_hand)
    return outcome


def baseline(work: batch.Batch) -> Path:
    """Where the verdicts of before are kept while a regrade is under way."""
    return work.journal.path.with_suffix(".before.json")


def noted_before(work: batch.Batch) -> dict[str, dict[str, Any]]:
    """The verdicts of before: those a regrade noted that was stopped on its way, or else the journal's."""
    path = baseline(work)
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    before = work.journal.latest()
    write_whole(path, json.dumps(before, ensure_ascii=False))
    return before


def examined(work: batch.Batch, found: list[batch.Submission]) -> dict[str, dict[str, Any]]:
    """What the journal would get, without writing anything."""
    entries = {}
    with tqdm(total=len(found), desc=f"regrading {work.topic}", unit="student") as bar:
        for submission, result in batch.examine_all(work, found):
            if isinstance(result, Exception):
                work.troubles[submission.student] = f"not graded: {result}"
            else:
                entries[submission.student] = {"file": submission.digest, **result.record()}
            bar.update()
    return entries


def compare(
    outcome: Regraded,
    submission: batch.Submission,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    by_hand: dict[str, dict[str, float]],
) -> None:
    """Note in `outcome` how a submission moves."""
    student = submission.student
    if before is None or after is None:
        outcome.fresh += [student] if before is None and after is not None else []
        return
    outcome.points[student] = total(before), total(after)
    moves = differences(before["verdicts"], after["verdicts"])
    if not moves:
        return
    outcome.moves[student] = moves
    notes = outcome.notes.setdefault(student, [])
    if before.get("file") not in (None, submission.digest):
        notes.append("the file itself has changed since it was graded")
    for exercise in dict.fromkeys(move.exercise for move in moves):
        manual = by_hand.get(student, {}).get(f"check_{exercise}")
        if manual is not None:
            notes.append(f"{exercise}: the {manual:g} points given by hand stand")


def total(entry: dict[str, Any]) -> float:
    return sum(verdict["points"] for verdict in entry["verdicts"])


def differences(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Move]:
    """Every facet that earns other points: a loss with the complaint now, a gain with the one of before."""
    old, new = by_facet(before), by_facet(after)
    moves = []
    for exercise, facet in dict.fromkeys([*new, *old]):
        was, now = old.get((exercise, facet), NO_FACET), new.get((exercise, facet), NO_FACET)
        if was["points"] == now["points"]:
            continue
        if (exercise, facet) not in old:
            why = "a new facet"
        elif (exercise, facet) not in new:
            why = "no longer asked"
        elif was["max_points"] != now["max_points"]:
            why = f"worth {now['max_points']:g}, was {was['max_points']:g}"
        else:
            why = now["complaint"] or (f"was: {was['complaint']}" if was["complaint"] else "")
        moves.append(Move(exercise.split(".")[1], facet, was["points"], now["points"], why))
    return moves


def by_facet(verdicts: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(verdict["exercise"], facet["name"]): facet for verdict in verdicts for facet in verdict["facets"]}
