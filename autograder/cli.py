"""The `autograder` command. Every fault of the user is one line and exit code 2; nothing is lost by it."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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
    command.add_argument("--db", metavar="URL", default="", help="another gradebook, e.g. postgresql://user@host/name")
    command.add_argument("--dask", metavar="ADDRESS", default="", help="a Dask scheduler, e.g. tcp://scheduler:8786")
    command.add_argument("--cage", metavar="KIND", default="", help="namespaces or bubblewrap (default: what works)")
    command.add_argument("--unsafe", action="store_true", help="no cage: submissions run with your rights")


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
        for path in course.release(arguments.course, arguments.topics):
            print(f"released {path}")
    elif arguments.command == "feedback":
        made = course.feedback(arguments.course, arguments.topic, options(arguments))
        print(f"{len(made)} pages of feedback made in {arguments.course / 'feedback'}")
    else:
        outcome = course.grade(arguments.course, arguments.topic, options(arguments))
        print(outcome.table())
        for student, told in outcome.troubles.items():
            print(f"autograder: {student}: {told}", file=sys.stderr)
        return 2 if outcome.troubles else 0
    return 0


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
