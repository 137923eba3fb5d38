"""The one writer of the gradebook: a submission's verdicts in one transaction, through nbgrader's own tables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from nbgrader.api import (
    Assignment,
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from sqlalchemy.exc import SQLAlchemyError

from autograder.errors import CourseError
from autograder.judging import NOT_WRITTEN_YET

COURSE_ID = "ml-course"
NO_RESPONSE = "No response."
Penalty = Callable[[str, float, float], float | None]  # student, score, seconds late: points taken off


class Writer:
    """Writes grades of one assignment. Manual scores and comments of people are never touched."""

    def __init__(self, url: str, assignment: str, course_id: str = COURSE_ID):
        self.url = url
        with clear_errors(url):
            self.gradebook = Gradebook(url, course_id)
        self.db = self.gradebook.db
        self.name = assignment
        found = self.db.query(Assignment).filter(Assignment.name == assignment).one_or_none()
        if found is None:
            raise CourseError(f"{assignment} is not in the gradebook: run `autograder release {assignment}` first")
        # Kept here as names, as every commit makes the database session forget what it has read.
        self.assignment_id = found.id
        self.graded = {source.id: {cell.id: cell.name for cell in source.grade_cells} for source in found.notebooks}
        self.answers = {source.id: {cell.id: cell.name for cell in source.solution_cells} for source in found.notebooks}

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.gradebook.close()

    def write(
        self,
        student: str,
        verdicts: list[dict[str, Any]],
        timestamp: datetime | None,
        penalty: Penalty | None = None,
    ) -> None:
        """All of one submission or nothing: points, which answers were left as released, lateness."""
        points = points_of(verdicts)
        empty = {answer_of(verdict) for verdict in verdicts if verdict["summary"] == NOT_WRITTEN_YET}
        with clear_errors(self.url), self.one_transaction():
            submission = self.submission(student)
            submission.timestamp = timestamp
            for notebook in submission.notebooks:
                graded, answers = self.graded[notebook.notebook_id], self.answers[notebook.notebook_id]
                for grade in notebook.grades:
                    grade.auto_score = points.get(graded[grade.cell_id], 0.0)
                    grade.needs_manual_grade = grade.manual_score is not None
                for comment in notebook.comments:
                    comment.auto_comment = NO_RESPONSE if answers[comment.cell_id] in empty else None
            self.db.flush()
            late = submission.total_seconds_late if timestamp else 0
            for notebook in submission.notebooks:
                taken = penalty(student, notebook.score, late) if penalty and late > 0 else None
                notebook.late_submission_penalty = None if taken is None else min(max(taken, 0), notebook.score)

    @contextlib.contextmanager
    def one_transaction(self) -> Iterator[None]:
        """Everything in the block is written, or nothing."""
        try:
            yield
            self.db.commit()
        except BaseException:
            self.db.rollback()
            raise

    def submission(self, student: str) -> SubmittedAssignment:
        """The student's submission, made with all its grades and comments where there is none yet; not committed."""
        if found := self.submitted().filter(SubmittedAssignment.student_id == student).one_or_none():
            return found
        if self.db.get(Student, student) is None:
            self.db.add(Student(id=student))
            self.db.flush()
        made = SubmittedAssignment(assignment_id=self.assignment_id, student_id=student)
        for source, graded in self.graded.items():
            notebook = SubmittedNotebook(notebook_id=source)
            notebook.grades = [Grade(cell_id=cell) for cell in graded]
            notebook.comments = [Comment(cell_id=cell) for cell in self.answers[source]]
            made.notebooks.append(notebook)
        self.db.add(made)
        return made

    def submitted(self) -> Any:
        """A query for the submissions of this assignment."""
        return self.db.query(SubmittedAssignment).filter(SubmittedAssignment.assignment_id == self.assignment_id)

    def written(self) -> dict[str, dict[str, float | None]]:
        """Automatic points of every submission as the gradebook has them, by student and graded cell."""
        return self._scores(Grade.auto_score)

    def by_hand(self) -> dict[str, dict[str, float]]:
        """Points that people have given, by student and graded cell."""
        scores = self._scores(Grade.manual_score)
        given = {
            student: {cell: points for cell, points in row.items() if points is not None}
            for student, row in scores.items()
        }
        return {student: row for student, row in given.items() if row}

    def _scores(self, column: Any) -> dict[str, dict[str, float | None]]:
        rows = (
            self.db.query(SubmittedAssignment.student_id, GradeCell.name, column)
            .join(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
            .join(Grade, Grade.notebook_id == SubmittedNotebook.id)
            .join(GradeCell, GradeCell.id == Grade.cell_id)
            .filter(SubmittedAssignment.assignment_id == self.assignment_id)
        )
        found: dict[str, dict[str, float | None]] = {}
        with clear_errors(self.url):
            for student, cell, points in rows:
                found.setdefault(student, {})[cell] = points
        return found

    def scores(self) -> dict[str, float]:
        """Points of every student who handed in, manual ones included."""
        with clear_errors(self.url):
            return {found.student_id: found.score for found in self.submitted()}

    def score(self, student: str) -> float | None:
        """Points as the gradebook has them, manual ones included; `None` for a student without a submission."""
        found = self.submitted().filter(SubmittedAssignment.student_id == student).one_or_none()
        return None if found is None else found.score


@contextlib.contextmanager
def clear_errors(url: str) -> Iterator[None]:
    """A database's complaint as one line that says which database and what to do."""
    try:
        yield
    except (SQLAlchemyError, ImportError) as error:
        advice = "see that it is there and free, then run the same command again: nothing is lost"
        raise CourseError(f"the gradebook {shown(url)}: {first_line(error)}; {advice}") from None


def points_of(verdicts: list[dict[str, Any]]) -> dict[str, float]:
    """Points by graded cell."""
    return {f"check_{answer_of(verdict)}": verdict["points"] for verdict in verdicts}


def holds(written: dict[str, float | None] | None, verdicts: list[dict[str, Any]]) -> bool:
    """Whether these points, as `Writer.written` has them of a student, are the verdicts'."""
    points = points_of(verdicts)
    return written is not None and all(amount == points.get(cell, 0.0) for cell, amount in written.items())


def answer_of(verdict: dict[str, Any]) -> str:
    return verdict["exercise"].split(".")[1]


def shown(url: str) -> str:
    """A database's address without its password."""
    head, at, tail = url.rpartition("@")
    return f"{head.split('//')[0]}//…@{tail}" if at else url


def first_line(error: Exception) -> str:
    return (str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"])[0]
