"""The `autograder` command. Every fault of the user is one line and exit code 2; nothing is lost by it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import autograder.environment  # noqa: F401  (before anything imports nbformat)
from autograder.errors import CourseError

if TYPE_CHECKING:
    from autograder import course

GRADE_EXTRA = ("nbgrader", "jupytext", "nbclient", "tqdm")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="autograder",
        description="Makes, checks and grades the course's homework.",
        epilog="Exit codes: 0 all well, 1 a check failed, 2 bad input.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help)

    init = command("init", "Make an nbgrader course folder wired to this course.")
    init.add_argument("folder", metavar="DIR", type=Path, help="a new or empty folder")

    release = command("release", "Generate homework and have nbgrader release it in a course folder.")
    release.add_argument("topics", metavar="TOPIC", nargs="*", help="default: every topic that has homework")
    add_course(release)
    add_database(release)

    grade = command("grade", "Grade what students submitted, write feedback and grades.csv.")
    grade.add_argument("topic", metavar="TOPIC")
    add_course(grade)
    grade.add_argument("--student", metavar="ID", action="append", help="only this student (may be repeated)")
    grade.add_argument("--force", action="store_true", help="grade again what has not changed since")
    grade.add_argument("--no-feedback", action="store_true", help="leave nbgrader's feedback pages for later")
    add_means(grade)

    feedback = command("feedback", "Make nbgrader's feedback pages for what was graded since.")
    feedback.add_argument("topic", metavar="TOPIC")
    add_course(feedback)
    add_means(feedback)

    regrade = command("regrade", "Grade all again by the present exercises; say who moves and which facet did it.")
    regrade.add_argument("topic", metavar="TOPIC")
    add_course(regrade)
    regrade.add_argument("--dry-run", action="store_true", help="only say so, change nothing")
    regrade.add_argument("--no-feedback", action="store_true", help="leave nbgrader's feedback pages for later")
    add_means(regrade)

    report = command("report", "Write the instructor's report: scores, difficulty, mistakes, likeness, tampering.")
    report.add_argument("topic", metavar="TOPIC")
    add_course(report)
    report.add_argument("--html", metavar="FILE", type=Path, help="the page alone (default: both, in DIR/reports)")
    report.add_argument("--csv", metavar="FILE", type=Path, help="the table: a row a student, points per facet")
    add_database(report)

    export = command("export", "Write all grades for another system.")
    export.add_argument("file", metavar="FILE", type=Path)
    add_course(export)
    export.add_argument("--format", choices=("csv", "canvas", "moodle"), default="csv", help="default: nbgrader's CSV")
    export.add_argument("--roster", metavar="FILE", type=Path, help="CSV with student_id and the system's own ids")
    add_database(export)

    audit = command("audit", "Prove the exercises: right answers pass, wrong ones are refused and named.")
    audit.add_argument("topics", metavar="TOPIC", nargs="*", help="default: every topic that has homework")
    audit.add_argument("--json", metavar="FILE", type=Path, help="write the whole report there")
    audit.add_argument("--fresh", action="store_true", help="ignore cached results")
    audit.add_argument("--workers", metavar="N", type=int, help="processes (default: one a core)")

    command("doctor", "Say what this machine has and what is missing.")
    return top


def add_course(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--course", metavar="DIR", type=Path, default=Path("."), help="the course folder (default: this one)"
    )


def add_means(command: argparse.ArgumentParser) -> None:
    command.add_argument("--workers", metavar="N", type=int, default=0, help="processes (default: one a core)")
    add_database(command)
    command.add_argument("--dask", metavar="ADDRESS", default="", help="a Dask scheduler, e.g. tcp://scheduler:8786")
    command.add_argument("--cage", metavar="KIND", default="", help="namespaces or bubblewrap (default: what works)")
    command.add_argument("--unsafe", action="store_true", help="no cage: submissions run with your rights")


def add_database(command: argparse.ArgumentParser) -> None:
    command.add_argument("--db", metavar="URL", default="", help="another gradebook, e.g. postgresql://user@host/name")


def options(arguments: argparse.Namespace) -> course.Options:
    """How to grade, as the command line says it."""
    from autograder.course import Options

    if arguments.workers < 0:
        raise CourseError(f"--workers {arguments.workers}: expected 1 or more")
    return Options(
        students=tuple(getattr(arguments, "student", None) or ()),
        force=getattr(arguments, "force", False),
        workers=arguments.workers,
        cage="none" if arguments.unsafe else arguments.cage,
        scheduler=arguments.dask,
        db=arguments.db,
        feedback=not getattr(arguments, "no_feedback", False),
    )


def need_extra() -> None:
    """`CourseError` where the packages of the `grade` extra are missing."""
    missing = [name for name in GRADE_EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise CourseError(f"{', '.join(missing)} not installed: run pip install -e '.[grade]' in a clone of the course")


def run(arguments: argparse.Namespace) -> int:
    if arguments.command == "doctor":
        from autograder.doctor import examine

        return examine()
    need_extra()
    if arguments.command == "audit":
        return run_audit(arguments)

    from autograder import course

    if arguments.command == "init":
        made = course.init(arguments.folder)
        print(f"made the course folder {made}; next: autograder release --course {made}")
    elif arguments.command == "release":
        for path in course.release(arguments.course, arguments.topics, arguments.db):
            print(f"released {path}")
    elif arguments.command == "regrade":
        from autograder.grading.regrade import regrade

        regraded = regrade(arguments.course, arguments.topic, options(arguments), arguments.dry_run)
        print(regraded.table())
        return troubled(regraded.troubles)
    elif arguments.command == "report":
        from autograder.grading.report import write

        for path in write(arguments.course, arguments.topic, arguments.html, arguments.csv, arguments.db):
            print(f"wrote {path}")
    elif arguments.command == "export":
        from autograder.grading.exports import export

        exported = export(arguments.course, arguments.file, arguments.format, arguments.roster, arguments.db)
        print(f"wrote {arguments.file}")
        for told in [*exported.notes, *(f"left out: {told}" for told in exported.left_out)]:
            print(f"autograder: {told}", file=sys.stderr)
        return 2 if exported.left_out else 0
    elif arguments.command == "feedback":
        made = course.feedback(arguments.course, arguments.topic, options(arguments))
        print(f"{len(made)} pages of feedback made in {arguments.course / 'feedback'}")
    else:
        outcome = course.grade(arguments.course, arguments.topic, options(arguments))
        print(outcome.table())
        return troubled(outcome.troubles)
    return 0


def troubled(troubles: dict[str, str]) -> int:
    """A line for each submission that could not be graded; the exit code."""
    for student, told in troubles.items():
        print(f"autograder: {student}: {told}", file=sys.stderr)
    return 2 if troubles else 0


def run_audit(arguments: argparse.Namespace) -> int:
    from autograder.audit import audit, table

    if arguments.workers is not None and arguments.workers < 1:
        raise CourseError(f"--workers {arguments.workers}: expected 1 or more")
    report = audit(arguments.topics, arguments.workers, arguments.fresh)
    if arguments.json:
        try:
            arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise CourseError(f"cannot write {arguments.json}: {error.strerror}; name another file") from None
    print(table(report))
    return 0 if report["ok"] else 1


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    try:
        return run(parser().parse_args(argv))
    except CourseError as error:
        print(f"autograder: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("autograder: stopped; the same command goes on from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
