"""A class of made students, one for every way a submission goes right or wrong, to try a course on.

`python -m autograder.sample_class DIR` makes the course, releases every homework, hands in these submissions, grades
them and prints the class. A second run grades only what has changed.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder import course
from autograder.errors import CourseError
from autograder.exercise import Exercise, load, topics
from autograder.grading import cage
from autograder.homework import answer_cells, write_notebook

Answers = Callable[[int, Exercise], str | None]  # the source an answer cell gets; None leaves it empty

FAST_LOOP = "def {name}(*args, **kwargs):\n    while True:\n        pass\n"
CRASH = "def {name}(*args, **kwargs):\n    raise SystemExit\n"
KILL = "import os\n\nos._exit(1)\n"


def solution(index: int, exercise: Exercise) -> str:
    return answer_cells(exercise.topic)[exercise.name]


def alternative(which: int) -> Answers:
    def answers(index: int, exercise: Exercise) -> str:
        versions = exercise.alternatives
        return versions[which % len(versions)].as_submitted(exercise.answer_name)

    return answers


def mistake(which: int) -> Answers:
    def answers(index: int, exercise: Exercise) -> str:
        return exercise.mistakes[which % len(exercise.mistakes)].as_submitted(exercise.answer_name)

    return answers


def first_half(index: int, exercise: Exercise) -> str | None:
    return solution(index, exercise) if index < len(load(exercise.topic)) // 2 else None


def second_is(source: str) -> Answers:
    """Everything right but the second answer."""

    def answers(index: int, exercise: Exercise) -> str:
        return source.format(name=exercise.answer_name) if index == 1 else solution(index, exercise)

    return answers


def students(topic: str) -> dict[str, Answers]:
    """The class of one topic; as many students with mistakes as the richest exercise has, but no more than a dozen."""
    most = max(len(exercise.mistakes) for exercise in load(topic).values())
    mistaken = ("greta", "hugo", "ines", "jonas", "kira", "leo", "mina", "nora", "otto", "petra", "quinn", "rosa")
    return {
        "ada-perfect": solution,
        "boris-other-style": alternative(0),
        "chen-third-style": alternative(1),
        "dana-empty": lambda index, exercise: None,
        "emil-half-done": first_half,
        **{f"{name}-mistake-{which + 1}": mistake(which) for which, name in enumerate(mistaken[:most])},
        "sven-exits": second_is(CRASH),
        "tara-kills-kernel": second_is(KILL),
        "uma-loops": second_is(FAST_LOOP),
    }


def fill_in(released: NotebookNode, topic: str, answers: Answers) -> NotebookNode:
    """The released homework with a student's answers in it."""
    notebook = copy.deepcopy(released)
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}
    for index, exercise in enumerate(load(topic).values()):
        source = answers(index, exercise)
        if source is not None:
            cells[exercise.answer_name].source = source
    return notebook


def hand_in(folder: Path, topic: str) -> list[str]:
    """Write every submission that differs from what is there already."""
    released = nbformat.read(folder / "release" / topic / f"{topic}.ipynb", as_version=4)
    for student, answers in students(topic).items():
        put(folder / "submitted" / student / topic / f"{topic}.ipynb", fill_in(released, topic, answers))
    torn = folder / "submitted" / "viktor-torn-file" / topic / f"{topic}.ipynb"
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_text(nbformat.writes(released)[:1000], encoding="utf-8")
    return [*students(topic), "viktor-torn-file"]


def put(path: Path, notebook: NotebookNode) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != nbformat.writes(notebook, version=4) + "\n":
        write_notebook(notebook, path)


def main(folder: Path) -> None:
    """Make the course if it is not there yet, then release, hand in, grade and show the class."""
    if not (folder / course.CONFIG).is_file():
        course.init(folder)
    course.release(folder)
    outcomes = []
    for topic in topics():
        hand_in(folder, topic)
        outcomes.append(course.grade(folder, topic, course.Options(cage=cage.offered() or "none")))
    for outcome in outcomes:
        print(f"\n{outcome.table()}")


if __name__ == "__main__":
    reader = argparse.ArgumentParser(prog="python -m autograder.sample_class", description=__doc__)
    reader.add_argument("folder", metavar="DIR", type=Path, nargs="?", default=Path("course"))
    try:
        main(reader.parse_args().folder)
    except CourseError as error:
        sys.exit(f"sample class: {error}")
