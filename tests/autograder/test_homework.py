"""The released notebooks: current, identical from run to run, complete, and without solutions."""

import json
import re

import nbformat
import pytest

from autograder import homework
from autograder.exercise import load, topics
from autograder.homework import BEGIN, HOMEWORK, answer_cells, homework_notebook, stub

pytestmark = pytest.mark.parametrize("topic", topics())


@pytest.fixture
def released(topic):
    return nbformat.reads((HOMEWORK / topic / f"{topic}.ipynb").read_text(encoding="utf-8"), as_version=4)


def test_the_committed_notebook_is_what_the_source_makes_twice(topic):
    committed = (HOMEWORK / topic / f"{topic}.ipynb").read_text(encoding="utf-8")
    assert homework_notebook(topic) == committed, "run `make notebooks`"


def test_exercises_are_in_the_order_of_the_homework(topic):
    assert list(load(topic)) == list(answer_cells(topic))


def test_every_exercise_has_an_answer_cell_and_a_graded_cell_with_its_points(topic, released):
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in released.cells}
    for exercise in load(topic).values():
        answer, graded = cells[exercise.answer_name], cells[f"check_{exercise.answer_name}"]
        assert "raise NotImplementedError()" in answer.source and answer.metadata.nbgrader.solution
        assert graded.source == f'check("{exercise.name}", {exercise.answer_name})'
        assert graded.metadata.nbgrader.points == exercise.points and graded.metadata.nbgrader.locked
        assert f"*{exercise.points:g} points" in "".join(cell.source for cell in released.cells)


def test_nothing_of_the_solutions_is_released(topic, released):
    text = json.dumps(released)
    assert BEGIN not in text and "lines_to_next_cell" not in text
    for source in answer_cells(topic).values():
        inside = source.split(BEGIN)[1].split(homework.END)[0].strip()
        assert inside not in text.encode().decode("unicode_escape")


def test_the_notebook_is_clean(topic, released):
    nbformat.validate(released)
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in released.cells)
    assert len({cell.id for cell in released.cells}) == len(released.cells)
    assert "import ml_course" in released.cells[1].source


def test_the_stub_of_the_source_is_the_one_nbgrader_makes(topic, released):
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in released.cells}
    for name, source in answer_cells(topic).items():
        assert stub(source) == cells[name.split(".")[1]]


def test_answers_stand_alone(topic):
    names = {name.split(".")[1] for name in answer_cells(topic)}
    for name, source in answer_cells(topic).items():
        own = name.split(".")[1]
        inside = source.split(BEGIN)[1].split(homework.END)[0]
        called = set(re.findall(r"(?<![.\w])(\w+)\(", inside))
        assert not called & (names - {own}), f"{name} calls an earlier answer"
