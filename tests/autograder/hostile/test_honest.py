"""Right answers in odd notebooks, through the whole pipeline: every one gets every point, and nobody is accused."""

import json
from types import SimpleNamespace

import nbformat
import pytest
from hostile.honest import ODD, RENAMED
from hostile.kinds import TOPIC, filled, right, text_of

from autograder import course
from autograder.exercise import load
from autograder.grading import cage

pytestmark = [
    pytest.mark.xdist_group("honest"),
    pytest.mark.skipif(cage.offered() is None, reason="this machine offers no cage"),
]


@pytest.fixture(scope="module")
def class_(tmp_path_factory):
    folder = tmp_path_factory.mktemp("honest") / "course"
    course.init(folder)
    course.release(folder, [TOPIC])
    released = nbformat.read(folder / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    for name, change in ODD.items():
        notebook = filled(released, right)
        made = change(notebook) or text_of(notebook)
        place = folder / "submitted" / name / TOPIC
        place.mkdir(parents=True)
        (place / f"{TOPIC}.ipynb").write_bytes(made if isinstance(made, bytes) else made.encode())
    for name, file in RENAMED.items():
        place = folder / "submitted" / name / TOPIC
        place.mkdir(parents=True)
        (place / file).write_text(text_of(filled(released, right)))
    outcome = course.grade(folder, TOPIC, course.Options(feedback=False))
    journal = (folder / ".autograder" / f"{TOPIC}.jsonl").read_text(encoding="utf-8").splitlines()
    return SimpleNamespace(
        rows={row.student: row for row in outcome.rows},
        entries={entry["student"]: entry for entry in map(json.loads, journal)},
    )


def test_there_are_many():
    assert len(ODD | RENAMED) >= 20


@pytest.mark.parametrize("name", ODD | RENAMED)
def test_right_answers_get_every_point(class_, name):
    lost = [
        (facet["name"], facet["complaint"])
        for verdict in class_.entries[name]["verdicts"]
        for facet in verdict["facets"]
        if facet["points"] != facet["max_points"]
    ]
    assert not lost, class_.rows[name].notes
    assert class_.rows[name].points == sum(exercise.points for exercise in load(TOPIC).values())


@pytest.mark.parametrize("name", sorted({*ODD, *RENAMED} - {"markdown-answers"}))
def test_nobody_is_accused(class_, name):
    assert class_.entries[name]["tampering"] == []
