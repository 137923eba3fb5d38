"""The gradebook in forms that other systems import: nbgrader's own CSV, Canvas's gradebook, Moodle's grade import.

The forms follow the importers' own sources. Canvas (`lib/gradebook_importer.rb`): the columns Student, ID, SIS User ID,
SIS Login ID, Section in this order, then assignments as `title (id)`; a second row says `Points Possible`; a student is
found by ID, SIS User ID, SIS Login ID, name, the first that fits. Moodle (`grade/import/csv/classes/load_data.php`):
any columns, mapped by hand; `-` is no grade; a user it does not know ends the whole import, and a row without user
counts for the user above, so students whom a roster does not have are left out and named.

A roster is a CSV with our ids in a column `student_id` and any of the columns in `ROSTER`, by any of their names. What
Canvas or Moodle itself exports will do: without `student_id` our ids are looked for in the columns that identify a
person, and a Canvas file's `title (id)` is taken over, so that grades land in the assignment that is there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.api import Assignment, Gradebook, Student, SubmittedAssignment

from autograder import course
from autograder.errors import CourseError
from autograder.grading.gradebook import COURSE_ID, clear_errors
from autograder.grading.journal import write_whole

ROSTER = {
    "student_id": ("student id", "student_id"),
    "name": ("student", "name", "full name"),
    "first": ("first name", "firstname", "first_name"),
    "last": ("last name", "lastname", "surname", "last_name"),
    "email": ("email address", "email"),
    "number": ("id number", "idnumber"),
    "username": ("username",),
    "canvas_id": ("id", "canvas id"),
    "sis_user": ("sis user id",),
    "sis_login": ("sis login id",),
    "section": ("section",),
}
NBGRADER = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
    *("raw_score", "late_submission_penalty", "score", "max_score"),
)
IDENTIFYING = ("sis_login", "sis_user", "username", "number", "email", "canvas_id")
NO_GRADE_IN_MOODLE = "-"
MOST_IN_MOODLE = 100  # by default Moodle refuses a whole file for one grade above this

Person = dict[str, str]


@dataclass
class Grades:
    """The whole gradebook: assignments with their points, people, points and lateness by student and assignment."""

    assignments: dict[str, float]
    due: dict[str, object]
    people: dict[str, Person]
    points: dict[tuple[str, str], float]
    details: dict[tuple[str, str], dict[str, object]]


@dataclass
class Exported:
    """The file's text, students who are left out, and what else to say."""

    text: str = ""
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Roster:
    """People by our ids, and how the other system calls our assignments."""

    people: dict[str, Person]
    titles: dict[str, str] = field(default_factory=dict)


def read_grades(url: str) -> Grades:
    """Everything in three queries. Lateness is taken off, as nbgrader's own exporter does."""
    with clear_errors(url), Gradebook(url, COURSE_ID) as gradebook:
        assignments = gradebook.db.query(Assignment).order_by(Assignment.name).all()
        students = gradebook.db.query(Student).order_by(Student.id).all()
        names = {assignment.id: assignment.name for assignment in assignments}
        points, details = {}, {}
        for submission in gradebook.db.query(SubmittedAssignment):
            key = submission.student_id, names[submission.assignment_id]
            penalty = submission.late_submission_penalty or 0.0
            points[key] = max(0.0, submission.score - penalty)
            details[key] = {
                "timestamp": submission.timestamp or "",
                "raw_score": submission.score,
                "late_submission_penalty": penalty,
            }
        people = {
            student.id: {
                "first": student.first_name or "",
                "last": student.last_name or "",
                "email": student.email or "",
            }
            for student in students
        }
        most = {assignment.name: assignment.max_score for assignment in assignments}
        due = {assignment.name: assignment.duedate or "" for assignment in assignments}
        return Grades(most, due, people, points, details)


def read_roster(path: Path, grades: Grades) -> Roster:
    """A roster's people by our ids: `CourseError` where no column holds them."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        told = getattr(error, "strerror", None) or "not a CSV file in UTF-8"
        raise CourseError(f"cannot read the roster {path}: {told}") from None
    header = [cell.strip() for cell in rows[0]] if rows else []
    columns = {key: place for key, names in ROSTER.items() if (place := find(header, names)) is not None}
    found = [
        {key: row[place].strip() for key, place in columns.items() if place < len(row)}
        for row in rows[1:]
        if any(cell.strip() for cell in row) and "Points Possible" not in row[0]
    ]
    candidates = ("student_id",) if "student_id" in columns else IDENTIFYING
    ours = {key: {person[key]: person for person in found if person.get(key)} for key in candidates}
    best = max(candidates, key=lambda key: len(ours[key].keys() & grades.people.keys()))
    if "student_id" not in columns and not ours[best].keys() & grades.people.keys():
        raise CourseError(f"the roster {path} has no column student_id, and none of its columns holds our student ids")
    twice = sorted({person[best] for person in found if person.get(best) and ours[best][person[best]] is not person})
    if twice:
        raise CourseError(f"the roster {path} has {', '.join(twice)} more than once: leave one row each")
    titles = {}
    for title in header:
        match = re.fullmatch(r"(.*\S)\s+\((\d+)\)", title)
        if match and match[1] in grades.assignments:
            titles[match[1]] = title
    return Roster(ours[best], titles)


def find(header: list[str], names: tuple[str, ...]) -> int | None:
    """The place of the first column called by one of the names."""
    lower = [title.lower() for title in header]
    return next((lower.index(name) for name in names if name in lower), None)


def decimal(points: float) -> str:
    """At most two decimals, as both systems show: 7, 7.5, 7.33."""
    return f"{points:.2f}".rstrip("0").rstrip(".")


def full_name(student: str, person: Person) -> str:
    """`Last, First` as Canvas sorts, or what there is."""
    parts = [person.get("last", ""), person.get("first", "")]
    return person.get("name") or ", ".join(part for part in parts if part) or student


def to_canvas(grades: Grades, roster: Roster | None) -> Exported:
    """Canvas's gradebook. Without a roster our ids are taken for SIS Login IDs. No grade is an empty cell."""
    out = Exported()
    titles = [(roster.titles if roster else {}).get(name, name) for name in grades.assignments]
    rows = [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *titles]]
    rows.append(["    Points Possible", "", "", "", "", *(decimal(most) for most in grades.assignments.values())])
    for student, person in chosen(grades, roster, out):
        login = person.get("sis_login", "") if roster else student
        who = [person.get("canvas_id", ""), person.get("sis_user", ""), login]
        if roster and not any(who):
            who[2] = student
        given = [grades.points.get((student, name)) for name in grades.assignments]
        cells = ["" if points is None else decimal(points) for points in given]
        rows.append([full_name(student, person), *who, person.get("section", ""), *cells])
    out.text = as_csv(rows)
    return out


def to_moodle(grades: Grades, roster: Roster | None) -> Exported:
    """Moodle's grade import. Without a roster our ids are taken for ID numbers."""
    out = Exported()
    rows = [["First name", "Last name", "ID number", "Email address", "Username", *grades.assignments]]
    for student, person in chosen(grades, roster, out):
        number = person.get("number", "") if roster else student
        who = [number, person.get("email", ""), person.get("username", "")]
        if not any(who):
            out.left_out.append(f"{student}: the roster has no ID number, email address or username of theirs")
            continue
        given = [grades.points.get((student, name)) for name in grades.assignments]
        cells = [NO_GRADE_IN_MOODLE if points is None else decimal(points) for points in given]
        rows.append([person.get("first", ""), person.get("last", ""), *who, *cells])
    for name, most in grades.assignments.items():
        if most > MOST_IN_MOODLE:
            out.notes.append(
                f"{name} has {most:g} points: Moodle takes no grade above {MOST_IN_MOODLE} until its "
                "settings `unlimitedgrades` and `gradepointmax` allow it"
            )
    out.text = as_csv(rows)
    return out


def to_csv(grades: Grades, roster: Roster | None) -> Exported:
    """The columns of nbgrader's own exporter, quoted where a name needs it. No submission is 0, as there."""
    out = Exported()
    rows: list[list[object]] = [list(NBGRADER)]
    people = list(chosen(grades, roster, out))
    for name, most in grades.assignments.items():
        for student, person in people:
            who = {"last_name": person.get("last", ""), "first_name": person.get("first", ""), "email": person["email"]}
            what = {"assignment": name, "duedate": grades.due[name], "max_score": most, "student_id": student}
            none = {"timestamp": "", "raw_score": 0.0, "late_submission_penalty": 0.0}
            got = {**grades.details.get((student, name), none), "score": grades.points.get((student, name), 0.0)}
            rows.append([{**who, **what, **got}[column] for column in NBGRADER])
    out.text = as_csv(rows)
    return out


FORMATS: dict[str, Callable[[Grades, Roster | None], Exported]] = {
    "csv": to_csv,
    "canvas": to_canvas,
    "moodle": to_moodle,
}


def chosen(grades: Grades, roster: Roster | None, out: Exported) -> Iterable[tuple[str, Person]]:
    """Everybody to export, the roster's knowledge over the gradebook's; who is missing on either side is noted."""
    if roster is None:
        return list(grades.people.items())
    out.left_out += [f"{name}: not in the roster" for name in grades.people if name not in roster.people]
    unknown = [name for name in roster.people if name not in grades.people]
    out.notes += [f"{name} is in the roster and has handed nothing in" for name in unknown]
    both = [name for name in grades.people if name in roster.people]
    return [(name, {**grades.people[name], **known(roster.people[name])}) for name in both]


def known(person: Person) -> Person:
    return {key: value for key, value in person.items() if value}


class Lines(list):
    """A file for `csv.writer`."""

    write = list.append


def as_csv(rows: list[list[object]]) -> str:
    lines = Lines()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return "".join(lines)


def export(folder: Path, target: Path, form: str = "csv", roster: Path | None = None, db: str = "") -> Exported:
    """Write the gradebook to `target` in one of the `FORMATS`."""
    folder = course.opened(folder)
    grades = read_grades(course.database(folder, db))
    if not grades.assignments:
        raise CourseError(f"the gradebook of {folder} has no assignment yet: run `autograder release` first")
    exported = FORMATS[form](grades, read_roster(roster, grades) if roster else None)
    write_whole(target, exported.text)
    return exported
