"""A course with a few submissions, to be graded, broken off, graded elsewhere and looked back on."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat

from autograder import course, sample_class

TOPIC = "perceptron"
ROOT = Path(__file__).parents[2]
STUDENTS = {
    "ada": sample_class.solution,
    "boris": sample_class.alternative(0),
    "emil": sample_class.first_half,
    "greta": sample_class.mistake(0),
    "hugo": sample_class.mistake(1),
}


def make(place: Path, students: dict = STUDENTS, db: str = "") -> Path:
    """Release the homework and hand in, by default in five ways."""
    course.init(place)
    course.release(place, [TOPIC], db)
    hand_in(place, students)
    return place


def hand_in(place: Path, students: dict) -> None:
    released = nbformat.read(place / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    for student, answers in students.items():
        path = place / "submitted" / student / TOPIC / f"{TOPIC}.ipynb"
        sample_class.put(path, sample_class.fill_in(released, TOPIC, answers))


def command(*arguments: object, tree: Path = ROOT) -> list[str]:
    """The `autograder` command of a tree; run it with `environment` of the same tree."""
    return [sys.executable, "-m", "autograder", *map(str, arguments)]


def environment(tree: Path = ROOT) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def run(*arguments: object, tree: Path = ROOT, seconds: float = 300) -> subprocess.CompletedProcess:
    """The command, run to its end."""
    return subprocess.run(
        command(*arguments), env=environment(tree), cwd=tree, capture_output=True, text=True, timeout=seconds
    )


def journal(place: Path) -> list[dict]:
    """Every whole line of the journal."""
    path = place / ".autograder" / f"{TOPIC}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found.append(entry)
    return found


def journalled(place: Path) -> dict[str, float]:
    """Points by student, as the journal has them last."""
    return {entry["student"]: sum(verdict["points"] for verdict in entry["verdicts"]) for entry in journal(place)}


def in_gradebook(place: Path, db: str = "") -> dict[str, float]:
    from autograder.grading.gradebook import Writer

    with Writer(course.database(place, db), TOPIC) as gradebook:
        return gradebook.scores()


def fingerprint(place: Path) -> dict[str, str]:
    """A hash of every file of a folder."""
    files = [path for path in sorted(place.rglob("*")) if path.is_file()]
    return {str(path.relative_to(place)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def verdicts(place: Path) -> dict[str, list[dict]]:
    """What the journal says last of everybody."""
    return {entry["student"]: entry["verdicts"] for entry in journal(place)}


def lines_per_student(place: Path) -> dict[str, int]:
    return Counter(entry["student"] for entry in journal(place))
