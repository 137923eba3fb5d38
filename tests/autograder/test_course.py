"""A whole class through nbgrader: everybody gets what they earned, whatever they handed in."""

import csv
import dataclasses
import os
import stat
import subprocess
import sys

import nbformat
import pytest

from autograder import course, sample_class
from autograder.cli import main
from autograder.errors import CourseError
from autograder.exercise import load, topics
from autograder.grading import cage
from autograder.grading.gradebook import Writer
from autograder.seeds import SECRET

pytestmark = pytest.mark.xdist_group("course")
TOPIC = topics()[0]
OPTIONS = course.Options(cage=cage.offered() or "none")
UNSAFE = [] if cage.offered() else ["--unsafe"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("class") / "course"
    course.init(place)
    course.release(place, [TOPIC])
    sample_class.hand_in(place, TOPIC)
    (place / "submitted" / "wanda-forgot-file" / TOPIC).mkdir(parents=True)
    return place


@pytest.fixture(scope="module")
def outcome(folder):
    return course.grade(folder, TOPIC, OPTIONS)


def points(outcome):
    return {row.student: row.points for row in outcome.rows}


def test_the_whole_class_gets_what_it_earned(outcome):
    exercises = list(load(TOPIC).values())
    total = sum(exercise.points for exercise in exercises)
    got = points(outcome)
    for student in ("ada-perfect", "boris-other-style", "chen-third-style"):
        assert got[student] == total
    assert got["dana-empty"] == 0
    assert got["emil-half-done"] == sum(exercise.points for exercise in exercises[: len(exercises) // 2])
    for student in ("sven-exits", "tara-kills-kernel", "uma-loops"):
        assert got[student] == total - exercises[1].points, "one question's fault costs one question"
    assert got["viktor-torn-file"] == 0 and got["wanda-forgot-file"] is None
    for student in got:
        if "-mistake-" in student:
            assert got[student] < total
    assert len(got) >= 12


def test_feedback_names_the_mistake(folder, outcome):
    for which, student in enumerate(row.student for row in outcome.rows if "-mistake-" in row.student):
        html = (folder / "feedback" / student / TOPIC / f"{TOPIC}.html").read_text(encoding="utf-8")
        for exercise in load(TOPIC).values():
            label = exercise.mistakes[which % len(exercise.mistakes)].label
            assert label.split("'")[0] in html, f"{student}: {exercise.name}: {label}"


def test_feedback_of_a_torn_file_says_so(folder, outcome):
    html = (folder / "feedback" / "viktor-torn-file" / TOPIC / f"{TOPIC}.html").read_text(encoding="utf-8")
    assert "could not be read as a notebook" in html


def test_grades_are_exported(folder, outcome):
    with open(folder / "grades.csv", newline="") as lines:
        exported = {line["student_id"]: float(line["score"]) for line in csv.DictReader(lines)}
    assert exported["ada-perfect"] == outcome.max_points and exported["viktor-torn-file"] == 0


def test_nothing_is_graded_twice_unless_it_changed(folder, outcome, monkeypatch):
    before = (folder / ".autograder" / f"{TOPIC}.jsonl").read_bytes()
    course.grade(folder, TOPIC, OPTIONS)
    assert (folder / ".autograder" / f"{TOPIC}.jsonl").read_bytes() == before


def test_nbgrader_itself_gives_the_same_grades(folder, outcome):
    student = "emil-half-done"
    command = [sys.executable, "-m", "nbgrader", "autograde", TOPIC, "--student", student, "--force"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with Writer(course.database(folder), TOPIC) as gradebook:
        assert gradebook.score(student) == points(outcome)[student]


def test_the_secret_is_for_its_owner_alone(folder):
    if os.name == "posix":
        assert stat.S_IMODE((folder / SECRET).stat().st_mode) == 0o600
    assert len((folder / SECRET).read_text()) == 64


def test_a_warning_on_stderr_costs_nothing(folder, outcome):
    student = "yuri-warns"
    path = folder / "submitted" / student / TOPIC / f"{TOPIC}.ipynb"
    released = nbformat.read(folder / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    notebook = sample_class.fill_in(released, TOPIC, sample_class.solution)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = "import sys\nprint('a warning', file=sys.stderr)\n" + cell.source
    sample_class.put(path, notebook)
    got = course.grade(folder, TOPIC, dataclasses.replace(OPTIONS, students=(student,)))
    assert points(got)[student] == got.max_points


# Bad input: one line, what to do, exit code 2, nothing lost.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["grade", "nothing"], "no homework called 'nothing'"),
        (["release", "nothing"], "no homework called 'nothing'"),
        (["audit", "nothing"], "no homework called 'nothing'"),
        (["audit", "--workers", "0"], "expected 1 or more"),
        (["grade", TOPIC, "--student", "nobody"], "no submission of 'nobody'"),
        (["grade", TOPIC, "--course", "no-such-folder"], "autograder init no-such-folder"),
        (["grade", TOPIC, "--workers", "-1"], "expected 1 or more"),
        (["grade", TOPIC, "--db", "nonsense://x"], "the gradebook nonsense://x"),
        (["init", "."], "not an empty folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, arguments, said, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main([*arguments, *(UNSAFE if arguments[0] == "grade" else [])]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("autograder: ") and "\n" not in error


def test_a_folder_that_is_no_course(tmp_path, capsys):
    assert main(["grade", TOPIC, "--course", str(tmp_path)]) == 2
    assert "not a course folder" in capsys.readouterr().err


def test_grading_before_release(tmp_path):
    course.init(tmp_path / "new")
    with pytest.raises(CourseError, match="is not released"):
        course.grade(tmp_path / "new", TOPIC, OPTIONS)


def test_troubled_submissions_are_named_and_the_rest_is_graded(folder, outcome, capsys):
    assert main(["grade", TOPIC, "--course", str(folder), *UNSAFE]) == 2
    said = capsys.readouterr()
    assert "viktor-torn-file: unreadable" in said.err and "wanda-forgot-file: no " in said.err
    assert "ada-perfect" in said.out and "Traceback" not in said.err


def test_a_missing_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["release", TOPIC]) == 2
    assert "pip install -e '.[grade]'" in capsys.readouterr().err


def test_every_command_has_help(capsys):
    for command in ("init", "release", "grade", "feedback", "audit", "doctor"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    assert "usage" in capsys.readouterr().out


def test_doctor_finds_python_cage_and_versions(capsys):
    main(["doctor"])
    said = capsys.readouterr().out
    for name in ("Python", "torch", "cage", "Chromium", "versions", "autograder"):
        assert name in said


@pytest.mark.parametrize("topic", topics())
def test_every_topic_has_a_sample_class(topic):
    """However many mistakes its exercises name."""
    class_of_topic = sample_class.students(topic)
    exercise = next(iter(load(topic).values()))
    written = {answers(0, exercise) for answers in class_of_topic.values()}
    assert 12 <= len(class_of_topic) <= 20 and len(written) > 8
