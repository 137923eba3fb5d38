"""The instructor's report on one topic: a single HTML page with plots that asks nothing of the network, and a CSV.

Everything comes from the journal, the graded notebooks and the gradebook; nothing is graded or changed. What students
have written (names, notes, complaints) is escaped by Jinja, and the page's own policy forbids scripts and requests.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from autograder import course
from autograder.errors import CourseError
from autograder.exercise import Exercise, load
from autograder.grading import batch
from autograder.grading.gradebook import Writer
from autograder.grading.journal import Journal, write_whole
from autograder.grading.similarity import ALIKE, Likeness, answers_in, likeness
from autograder.judging import NOT_WRITTEN_YET

FEWEST_FOR_CORRELATION = 10
MOST_SHOWN = 50
BARS = 10


@dataclass(frozen=True)
class Item:
    """How the class did on one exercise."""

    exercise: Exercise
    mean_share: float
    right: int
    untouched: int
    discrimination: float | None
    facets: list[tuple[str, float, int]]  # name, points, how many earned all of it


@dataclass
class Report:
    """One topic's class as the journal has it."""

    topic: str
    entries: dict[str, dict[str, Any]]
    scores: dict[str, float]  # the gradebook's, by student: points given by hand included
    ungraded: dict[str, str] = field(default_factory=dict)
    alike: Likeness | None = None
    made: datetime = field(default_factory=datetime.now)

    @cached_property
    def exercises(self) -> dict[str, Exercise]:
        return load(self.topic)

    @property
    def max_points(self) -> float:
        return sum(exercise.points for exercise in self.exercises.values())

    @cached_property
    def readable(self) -> dict[str, dict[str, Any]]:
        """Entries of submissions that could be opened: only these say something about the exercises."""
        return {student: entry for student, entry in self.entries.items() if not entry.get("unreadable")}

    @cached_property
    def points(self) -> dict[str, float]:
        return {student: sum(v["points"] for v in entry["verdicts"]) for student, entry in self.readable.items()}

    @cached_property
    def verdicts(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Verdicts by exercise and student."""
        found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in self.exercises}
        for student, entry in self.readable.items():
            for verdict in entry["verdicts"]:
                found.get(verdict["exercise"], {})[student] = verdict
        return found

    def items(self) -> list[Item]:
        return [self.item(exercise) for exercise in self.exercises.values()]

    def item(self, exercise: Exercise) -> Item:
        given = self.verdicts[exercise.name]
        shares = {student: share(verdict) for student, verdict in given.items()}
        rest = [self.points[student] - verdict["points"] for student, verdict in given.items()]
        earned = Counter(
            facet["name"]
            for verdict in given.values()
            for facet in verdict["facets"]
            if facet["points"] == facet["max_points"]
        )
        return Item(
            exercise,
            mean_share=float(np.mean(list(shares.values()))) if shares else math.nan,
            right=sum(value == 1 for value in shares.values()),
            untouched=sum(verdict["summary"] == NOT_WRITTEN_YET for verdict in given.values()),
            discrimination=correlation([verdict["points"] for verdict in given.values()], rest),
            facets=[(name, points, earned[name]) for name, points in exercise.facets.items()],
        )

    def mistakes(self) -> list[tuple[str, str, str, list[str]]]:
        """Exercise, known mistake, its cause and who made it, the most frequent first."""
        found: dict[tuple[str, str], tuple[str, list[str]]] = {}
        for name, given in self.verdicts.items():
            for student, verdict in given.items():
                if verdict["mistake"]:
                    found.setdefault((name, verdict["mistake"]), (verdict["cause"], []))[1].append(student)
        rows = [(answer(name), mistake, cause, who) for (name, mistake), (cause, who) in found.items()]
        return sorted(rows, key=lambda row: (-len(row[3]), row[0], row[1]))

    def seconds(self) -> dict[str, float]:
        """Time each submission took, the longest first."""
        taken = {student: float(entry.get("seconds", 0)) for student, entry in self.readable.items()}
        return dict(sorted(taken.items(), key=lambda item: -item[1]))

    def shared_faults(self, first: str, second: str) -> list[str]:
        """Exercises in which two students made the same known mistake: likeness there says more than in right code."""
        return [
            answer(name)
            for name, given in self.verdicts.items()
            if first in given and second in given and given[first]["mistake"]
            if given[first]["mistake"] == given[second]["mistake"]
        ]

    def rows(self) -> tuple[list[str], list[list[Any]]]:
        """The CSV: a header, and a row a student with points per exercise and facet, mistakes and notes."""
        header = ["student", "score", "graded_points", "max_points"]
        for exercise in self.exercises.values():
            header += [exercise.answer_name, *(f"{exercise.answer_name}: {facet}" for facet in exercise.facets)]
        header += ["mistakes", "tampering", "notes", "unreadable", "seconds"]
        rows = []
        for student, entry in sorted(self.entries.items()):
            given = {verdict["exercise"]: verdict for verdict in entry["verdicts"]}
            earned = sum(verdict["points"] for verdict in given.values())
            row: list[Any] = [student, self.scores.get(student, ""), earned, self.max_points]
            for name, exercise in self.exercises.items():
                verdict = given.get(name)
                points = {facet["name"]: facet["points"] for facet in verdict["facets"]} if verdict else {}
                row += [verdict["points"] if verdict else "", *(points.get(facet, "") for facet in exercise.facets)]
            made = [f"{answer(name)}: {v['mistake']}" for name, v in given.items() if v["mistake"]]
            told = ["; ".join(part) for part in (made, entry.get("tampering", []), entry.get("notes", []))]
            rows.append([*row, *told, entry.get("unreadable", ""), entry.get("seconds", "")])
        return header, rows

    def csv(self) -> str:
        lines: list[str] = []
        header, rows = self.rows()
        writer = csv.writer(Collected(lines))
        writer.writerows([header, *([harmless(cell) for cell in row] for row in rows)])
        return "".join(lines)

    def html(self) -> str:
        """The page."""
        loader = jinja2.FileSystemLoader(Path(__file__).parent)
        environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        environment.trim_blocks = environment.lstrip_blocks = True
        environment.globals.update(
            bars=bars, percent=percent, amount=amount, answer=answer, share=share, MOST=MOST_SHOWN, ALIKE=ALIKE
        )
        environment.globals["fewest"] = FEWEST_FOR_CORRELATION
        values = list(self.points.values())
        return environment.get_template("report.html.j2").render(
            report=self,
            items=self.items(),
            statistics=statistics(values),
            score_bars=bars(values, 0, self.max_points),
            seconds=self.seconds(),
            untouched={s: n for s in sorted(self.readable) if (n := untouched(self.readable[s]))},
        )


class Collected:
    """A file for `csv.writer` that is a list of lines."""

    def __init__(self, lines: list[str]):
        self.write = lines.append


def answer(name: str) -> str:
    return name.split(".")[1]


def share(verdict: dict[str, Any]) -> float:
    return verdict["points"] / verdict["max_points"] if verdict["max_points"] else 0.0


def untouched(entry: dict[str, Any]) -> int:
    return sum(verdict["summary"] == NOT_WRITTEN_YET for verdict in entry["verdicts"])


def amount(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}".rstrip("0").rstrip(".")


def percent(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{100 * value:.0f} %"


def correlation(item: Sequence[float], rest: Sequence[float]) -> float | None:
    """Corrected item-total correlation: points of an exercise against those of all others.

    `None` where there are too few submissions, or where an exercise or the rest is the same for all.
    """
    if len(item) < FEWEST_FOR_CORRELATION or np.ptp(item) == 0 or np.ptp(rest) == 0:
        return None
    return float(np.corrcoef(item, rest)[0, 1])


def statistics(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return dict.fromkeys(("mean", "median", "deviation", "lowest", "highest"), math.nan)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    found = dict(mean=np.mean(values), median=np.median(values), lowest=min(values), highest=max(values))
    return {**{name: float(value) for name, value in found.items()}, "deviation": deviation}


@dataclass(frozen=True)
class Bar:
    start: float
    stop: float
    count: int
    share: float  # of the highest


def bars(values: Iterable[float], low: float, high: float) -> list[Bar]:
    """A histogram; the last bar has its upper end."""
    counts, edges = np.histogram(list(values), BARS, (low, high if high > low else low + 1))
    most = max(int(counts.max()), 1)
    return [Bar(float(a), float(b), int(n), int(n) / most) for a, b, n in zip(edges, edges[1:], counts, strict=False)]


def harmless(cell: Any) -> Any:
    """A cell no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def gather(folder: Path, topic: str, db: str = "") -> Report:
    """The report's data: `CourseError` where nothing has been graded."""
    folder = course.released(folder, topic)
    entries = dict(sorted(Journal(folder / ".autograder" / f"{topic}.jsonl").latest().items()))
    if not entries:
        raise CourseError(f"nothing of {topic} is graded yet: run `autograder grade {topic} --course {folder}`")
    with Writer(course.database(folder, db), topic) as gradebook:
        scores = gradebook.scores()
    ungraded: dict[str, str] = {}
    for one in batch.find_submissions(folder, topic, ungraded):
        entry = entries.get(one.student)
        if entry is None:
            ungraded[one.student] = "handed in, not graded yet"
        elif entry.get("file") not in (None, one.digest):
            ungraded[one.student] = "handed in again since it was graded"
    notebooks = {student: folder / "autograded" / student / topic / f"{topic}.ipynb" for student in entries}
    readable = [student for student, entry in entries.items() if not entry.get("unreadable")]
    alike = likeness(topic, {student: answers_in(notebooks[student], topic) for student in readable})
    return Report(topic, entries, scores, ungraded, alike)


def write(folder: Path, topic: str, html: Path | None = None, table: Path | None = None, db: str = "") -> list[Path]:
    """Write what is asked for; with neither named, both into the course's `reports` folder."""
    report = gather(folder, topic, db)
    if html is None and table is None:
        place = folder / "reports"
        html, table = place / f"{topic}.html", place / f"{topic}.csv"
    if html is not None:
        write_whole(html, report.html())
    if table is not None:
        write_whole(table, report.csv())
    return [path for path in (html, table) if path is not None]
