"""A course folder: nbgrader's own, wired to this course's exercises."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.plugins.export import CsvExportPlugin
from nbgrader.preprocessors import AssignLatePenalties
from tqdm import tqdm
from traitlets.config import Config, PyFileConfigLoader

from autograder import homework
from autograder.errors import CourseError
from autograder.exercise import load, topics
from autograder.grading import batch, cage
from autograder.grading.examiner import PATIENT, Patience
from autograder.grading.gradebook import COURSE_ID, Writer, clear_errors
from autograder.seeds import SECRET, make_secret, read_secret

CONFIG = "nbgrader_config.py"
CONFIG_TEXT = '''\
"""This folder is an nbgrader course. `nbgrader autograde TOPIC` and `autograder grade TOPIC` give the same grades."""

import autograder.environment  # nbgrader starts `alembic` by name

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "ml-course"
# Another database than gradebook.db in this folder: c.CourseDirectory.db_url = "postgresql://user@host/name"

# Our parts in nbgrader's places: see autograder/nbgrader_parts.py.
c.Autograde.pre_convert_hook = "autograder.nbgrader_parts.find_renamed"
c.Autograde.exporter_class = "autograder.nbgrader_parts.Readable"
c.Autograde.sanitize_preprocessors = []
c.Autograde.autograde_preprocessors = [
    "autograder.nbgrader_parts.Examine",
    "nbgrader.preprocessors.IgnorePattern",
    "nbgrader.preprocessors.LimitOutput",
    "autograder.nbgrader_parts.SaveVerdicts",
    "nbgrader.preprocessors.AssignLatePenalties",
]
'''


def init(folder: Path) -> Path:
    """Make a course folder: settings, secret and nbgrader's subfolders."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CourseError(f"{folder} exists and is not an empty folder: name a new one")
    try:
        for name in ("source", "release", "submitted"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        make_secret(folder)
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


def settings(folder: Path, db: str = "") -> Config:
    """The course's own nbgrader configuration."""
    config = PyFileConfigLoader(CONFIG, path=str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    if db:
        config.CourseDirectory.db_url = db
    return config


def database(folder: Path, db: str = "") -> str:
    """The address of the course's gradebook."""
    return db or settings(folder).CourseDirectory.get("db_url") or f"sqlite:///{folder / 'gradebook.db'}"


def released(folder: Path, topic: str) -> Path:
    """The course folder, where the topic exists and has been released: `CourseError` otherwise."""
    folder = opened(folder)
    load(topic)
    if not (folder / "release" / topic / f"{topic}.ipynb").is_file():
        raise CourseError(f"{topic} is not released in {folder}: run `autograder release {topic} --course {folder}`")
    return folder


def release(folder: Path, chosen: list[str] | None = None, db: str = "") -> list[Path]:
    """Generate and release the homework of the topics (all without `chosen`)."""
    folder = opened(folder)
    chosen = [topic for topic in chosen or topics() if load(topic)]
    url = database(folder, db)
    with clear_errors(url), Gradebook(url, COURSE_ID):
        pass  # it is there and lets us in: nbgrader would say so in a page of text
    return [homework.release(topic, folder, settings(folder, db)) for topic in chosen]


@dataclass(frozen=True)
class Options:
    """How to grade: which students, with how many processes, in which cage, where the database is."""

    students: tuple[str, ...] = ()
    force: bool = False
    workers: int = 0
    cage: str = ""
    scheduler: str = ""
    db: str = ""
    feedback: bool = True
    patience: Patience = PATIENT


@dataclass(frozen=True)
class Row:
    """One student's outcome: points, and what an instructor should know."""

    student: str
    points: float | None
    notes: str = ""


@dataclass(frozen=True)
class Outcome:
    """What `grade` did."""

    topic: str
    max_points: float
    rows: list[Row]
    troubles: dict[str, str] = field(default_factory=dict)

    def table(self) -> str:
        width = max((len(row.student) for row in self.rows), default=7)
        lines = [f"{self.topic}: {len(self.rows)} submissions, {self.max_points:g} points"]
        for row in self.rows:
            points = "-" if row.points is None else f"{row.points:g}"
            lines.append(f"  {row.student.ljust(width)}  {points.rjust(5)}  {row.notes}".rstrip())
        return "\n".join(lines)


def prepare(folder: Path, topic: str, options: Options) -> batch.Batch:
    """Everything a batch of this topic needs: `CourseError` where something is missing."""
    folder = released(folder, topic)
    plugin = AssignLatePenalties(config=settings(folder, options.db))
    plugin.init_plugin()
    return batch.Batch(
        folder=folder,
        topic=topic,
        url=database(folder, options.db),
        secret=read_secret(folder),
        cage=cage.chosen(options.cage),
        workers=options.workers,
        patience=options.patience,
        scheduler=options.scheduler,
        penalty=plugin.plugin_inst.late_submission_penalty,
    )


def grade(folder: Path, topic: str, options: Options | None = None) -> Outcome:
    """Grade what has changed, make nbgrader's feedback pages, write grades.csv."""
    options = options or Options()
    work = prepare(folder, topic, options)
    found = batch.find_submissions(work.folder, topic, work.troubles)
    for student in options.students:
        if student not in {one.student for one in found} | set(work.troubles):
            handed_in = ", ".join(one.student for one in found) or "none"
            raise CourseError(f"no submission of {student!r} for {topic}: submitted are {handed_in}")
    if options.students:
        found = [one for one in found if one.student in options.students]
        work.troubles = {name: told for name, told in work.troubles.items() if name in options.students}
    batch.run(work, found, options.force)
    if options.feedback:
        feedback(work.folder, topic, options)
    export(work.folder, options.db)
    return outcome(work, {one.student for one in found} | set(work.troubles))


def outcome(work: batch.Batch, students: set[str]) -> Outcome:
    """The class as the gradebook and the journal have it."""
    entries = work.journal.latest()
    troubles = dict(work.troubles)
    rows = []
    with Writer(work.url, work.topic) as gradebook:
        for student in sorted(students):
            entry = entries.get(student)
            if student in troubles or entry is None:
                rows.append(Row(student, None, troubles.get(student, "not graded")))
                continue
            if entry["unreadable"]:
                troubles[student] = f"unreadable: {entry['unreadable']}; ask for the file again"
            rows.append(Row(student, gradebook.score(student), troubles.get(student) or notes(entry)))
    return Outcome(work.topic, sum(exercise.points for exercise in load(work.topic).values()), rows, troubles)


def notes(entry: dict) -> str:
    """A submission in a few words: how much is right, which known mistakes, what was odd."""
    verdicts = entry["verdicts"]
    right = sum(verdict["points"] == verdict["max_points"] for verdict in verdicts)
    mistakes = [verdict["mistake"] for verdict in verdicts if verdict["mistake"]]
    told = [f"{right}/{len(verdicts)} right", *mistakes[:2]]
    told += [f"and {len(mistakes) - 2} more"] if len(mistakes) > 2 else []
    told += ["tampered"] if entry["tampering"] else []
    return "; ".join([*told, *entry["notes"][:1]])


def feedback(folder: Path, topic: str, options: Options | None = None) -> list[str]:
    """nbgrader's feedback pages for every graded notebook that is newer than its page, in parallel."""
    options = options or Options()
    folder = released(folder, topic)
    stale = []
    for notebook in sorted(folder.glob(f"autograded/*/{topic}/{topic}.ipynb")):
        student = notebook.parents[1].name
        page = folder / "feedback" / student / topic / f"{topic}.html"
        if not page.is_file() or page.stat().st_mtime < notebook.stat().st_mtime:
            stale.append(student)
    if not stale:
        return []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(options.workers or os.cpu_count() or 1, len(stale)), mp_context=context) as pool:
        futures = [pool.submit(make_feedback, folder, topic, student, options.db) for student in stale]
        for future in tqdm(as_completed(futures), total=len(futures), desc=f"feedback {topic}", unit="page"):
            future.result()
    return stale


def make_feedback(folder: Path, topic: str, student: str, db: str) -> None:
    """One student's page, by nbgrader's own generate_feedback."""
    with homework.quiet("traitlets"):
        result = NbGraderAPI(config=settings(folder, db)).generate_feedback(topic, student, force=True)
    if not result["success"]:
        lines = [line.strip() for line in (result.get("error") or result["log"]).splitlines() if line.strip()]
        raise CourseError(f"no feedback for {student}: {lines[-1][:200] if lines else 'nbgrader said nothing'}")


def export(folder: Path, db: str = "") -> Path:
    """All grades as nbgrader's own CSV."""
    path, url = folder / "grades.csv", database(folder, db)
    with clear_errors(url), Gradebook(url, COURSE_ID) as gradebook:
        CsvExportPlugin(to=str(path)).export(gradebook)
    return path
