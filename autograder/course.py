"""A course folder: nbgrader's own, wired to this course's exercises."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.plugins.export import CsvExportPlugin
from tqdm import tqdm
from traitlets.config import Config, PyFileConfigLoader

from autograder import homework
from autograder.errors import CourseError
from autograder.exercise import load, topics
from autograder.nbgrader_parts import SECRET, UNREADABLE, verdict_of

CONFIG = "nbgrader_config.py"
JOURNAL = ".graded.json"
CONFIG_TEXT = '''\
"""This folder is an nbgrader course. `nbgrader autograde TOPIC` and `autograder grade TOPIC` give the same grades."""

import autograder.environment  # nbgrader starts `alembic` by name

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "ml-course"
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError()"}

# Our parts in nbgrader's places: see autograder/nbgrader_parts.py.
c.Autograde.exporter_class = "autograder.nbgrader_parts.Readable"
c.Autograde.autograde_preprocessors = [
    "autograder.nbgrader_parts.RunCells",
    "nbgrader.preprocessors.IgnorePattern",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.nbgrader_parts.SaveVerdicts",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.RunCells.timeout = 60  # seconds a cell; each exercise has a shorter limit of its own
'''


def init(folder: Path) -> Path:
    """Make a course folder: settings, secret (mode 0600) and nbgrader's subfolders."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} exists and is not an empty folder: name a new one")
    try:
        for name in ("source", "release", "submitted"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / SECRET, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as secret:
            secret.write(secrets.token_hex(32))
        (folder / CONFIG).write_text(CONFIG_TEXT, encoding="utf-8")
    except OSError as error:
        raise CourseError(f"cannot write {folder}: {error.strerror}; name a folder you may write to") from None
    return folder


def opened(folder: Path) -> Path:
    """The folder, if it is a course: `CourseError` otherwise."""
    if not folder.is_dir():
        raise CourseError(f"there is no folder {folder}: make a course with `autograder init {folder}`")
    if not (folder / CONFIG).is_file() or not (folder / SECRET).is_file():
        raise CourseError(
            f"{folder} is not a course folder of ours: make one with `autograder init DIR`, then --course DIR"
        )
    return folder.resolve()


def settings(folder: Path) -> Config:
    """The course's own nbgrader configuration."""
    config = PyFileConfigLoader(CONFIG, path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    return config


def known(topic: str) -> str:
    load(topic)
    return topic


def release(folder: Path, chosen: list[str] | None = None) -> list[Path]:
    """Generate and release the homework of the topics (all without `chosen`)."""
    folder = opened(folder)
    chosen = [known(topic) for topic in chosen or topics()]
    return [homework.release(topic, folder, settings(folder)) for topic in chosen]


@dataclass(frozen=True)
class Row:
    """One student's outcome: points, verdicts by exercise, and what an instructor should know."""

    student: str
    points: float | None
    notes: str = ""


@dataclass(frozen=True)
class Outcome:
    """What `grade` did."""

    topic: str
    max_points: float
    rows: list[Row]

    @property
    def troubles(self) -> list[Row]:
        return [row for row in self.rows if row.points is None or row.notes.startswith(UNREADABLE)]

    def table(self) -> str:
        width = max((len(row.student) for row in self.rows), default=7)
        lines = [f"{self.topic}: {len(self.rows)} submissions, {self.max_points:g} points"]
        for row in self.rows:
            points = "-" if row.points is None else f"{row.points:g}"
            lines.append(f"  {row.student.ljust(width)}  {points.rjust(5)}  {row.notes}".rstrip())
        return "\n".join(lines)


def grade(folder: Path, topic: str, students: list[str] | None = None, force: bool = False) -> Outcome:
    """Grade through nbgrader, make its feedback, write grades.csv. What has not changed is not graded again."""
    folder, topic = opened(folder), known(topic)
    if not (folder / "release" / topic).is_dir():
        raise CourseError(f"{topic} is not released in {folder}: run `autograder release {topic} --course {folder}`")
    submitted = sorted(path.parent.name for path in folder.glob(f"submitted/*/{topic}") if path.is_dir())
    for student in students or ():
        if student not in submitted:
            raise CourseError(
                f"no submission of {student!r} for {topic}: submitted are {', '.join(submitted) or 'none'}"
            )
    api = NbGraderAPI(config=settings(folder))
    journal = read_journal(folder)
    troubles: dict[str, str] = {}
    with homework.quiet("traitlets"):
        for student in tqdm(students or submitted, desc=f"grading {topic}", unit="student"):
            place = folder / "submitted" / student / topic
            if not (place / f"{topic}.ipynb").is_file():
                troubles[student] = f"no {topic}.ipynb in {place.relative_to(folder)}: ask for the file"
                continue
            stamp = fingerprint(topic, place)
            if journal.get(f"{topic}/{student}") == stamp and not force:
                continue
            result = api.autograde(topic, student, force=True, create=True)
            if result["success"]:
                result = api.generate_feedback(topic, student, force=True)
            if result["success"]:
                journal[f"{topic}/{student}"] = stamp
                write_journal(folder, journal)
            else:
                troubles[student] = f"not graded: {last_line(result.get('error') or result['log'])}"
        export(folder)
    rows = [row(folder, topic, student, troubles.get(student)) for student in submitted]
    return Outcome(topic, sum(exercise.points for exercise in load(topic).values()), rows)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nbgrader said nothing"


def fingerprint(topic: str, place: Path) -> str:
    """A hash of a submission and of all that judges it."""
    here = Path(__file__).parent
    judges = [*sorted(here.glob("*.py")), here / "exercises" / f"{topic}.py"]
    digest = hashlib.sha256()
    for path in [*judges, *sorted(path for path in place.rglob("*") if path.is_file())]:
        digest.update(str(path.name).encode() + path.read_bytes())
    return digest.hexdigest()


def read_journal(folder: Path) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    return {}


def write_journal(folder: Path, journal: dict[str, str]) -> None:
    """In one step, so that a stop at any moment leaves the old or the new."""
    fresh = folder / (JOURNAL + ".new")
    fresh.write_text(json.dumps(journal, indent=1, sort_keys=True), encoding="utf-8")
    fresh.replace(folder / JOURNAL)


def export(folder: Path) -> Path:
    """All grades as nbgrader's own CSV."""
    path = folder / "grades.csv"
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        CsvExportPlugin(to=str(path)).export(gradebook)
    return path


def row(folder: Path, topic: str, student: str, trouble: str | None) -> Row:
    """A student's line: points from the gradebook, notes from the verdicts in the graded notebook."""
    if trouble:
        return Row(student, None, trouble)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        points = gradebook.find_submission(topic, student).score
    notebook = nbformat.read(folder / "autograded" / student / topic / f"{topic}.ipynb", as_version=4)
    if UNREADABLE in notebook.metadata:
        return Row(student, points, f"{UNREADABLE}: {notebook.metadata[UNREADABLE]}; ask for the file again")
    verdicts = [verdict for cell in notebook.cells if (verdict := verdict_of(cell))]
    mistakes = [verdict["mistake"] for verdict in verdicts if verdict["mistake"]]
    right = sum(verdict["points"] == verdict["max_points"] for verdict in verdicts)
    notes = f"{right}/{len(load(topic))} right" + (f"; {', '.join(mistakes[:2])}" if mistakes else "")
    return Row(student, points, notes + (f" and {len(mistakes) - 2} more" if len(mistakes) > 2 else ""))
