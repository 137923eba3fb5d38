"""Exports: what Canvas's and Moodle's importers would read, and rosters that fit or do not."""

import csv
import io

import pytest
import small_class
from small_class import TOPIC

from autograder import course
from autograder.cli import main
from autograder.grading import exports
from autograder.grading.exports import Grades, Roster

pytestmark = pytest.mark.xdist_group("looking_back")


@pytest.fixture
def grades():
    people = {
        "eva": {"first": "Eva", "last": "Doe, Jr.", "email": "eva@example.org"},
        "max": {"first": "", "last": "", "email": ""},
        "zoe": {"first": "Zoë", "last": "Ünal", "email": ""},
    }
    points = {("eva", "attention"): 7.333333, ("eva", "perceptron"): 29.0, ("max", "perceptron"): 0.0}
    late = {"timestamp": "", "raw_score": 8.0, "late_submission_penalty": 0.666667}
    details = {("eva", "attention"): late}
    return Grades({"attention": 31.5, "perceptron": 29.0}, {"attention": "", "perceptron": ""}, people, points, details)


def roster(tmp_path, text, grades):
    path = tmp_path / "roster.csv"
    path.write_text(text, encoding="utf-8")
    return exports.read_roster(path, grades)


def table(text):
    return list(csv.reader(io.StringIO(text)))


def by_canvas(text):
    """What Canvas reads, by the rules of its importer: people by any of their ids, points by assignment."""
    header, possible, *rows = table(text)
    assert "Student" in header[0] and "ID" in header[1], "its header test"
    assert header[2:5] == ["SIS User ID", "SIS Login ID", "Section"]
    assert "Points Possible" in possible[0] and all(len(row) == len(header) for row in rows)
    points = {title: float(most) for title, most in zip(header[5:], possible[5:], strict=True)}
    people = {}
    for row in rows:
        assert any(row[1:4]) or row[0]
        given = {title: float(cell) if cell else None for title, cell in zip(header[5:], row[5:], strict=True)}
        people[row[1] or row[2] or row[3]] = given
    return points, people


def by_moodle(text, field):
    """What Moodle reads when told to map one column to its users; an empty user would mean the one above."""
    header, *rows = table(text)
    where = header.index(field)
    found = {}
    for row in rows:
        assert len(row) == len(header) and row[where], "a row without user gives its grades to the user above"
        cells = dict(zip(header[5:], row[5:], strict=True))
        assert "" not in cells.values(), "new grade items take an empty cell for a grade"
        found[row[where]] = {name: None if cell == "-" else float(cell) for name, cell in cells.items()}
    return found


def test_canvas_without_a_roster_takes_our_ids_for_logins(grades):
    exported = exports.to_canvas(grades, None)
    points, people = by_canvas(exported.text)
    assert points == {"attention": 31.5, "perceptron": 29}
    assert people["eva"] == {"attention": 7.33, "perceptron": 29} and people["max"] == {
        "attention": None,
        "perceptron": 0,
    }
    assert table(exported.text)[2][:5] == ["Doe, Jr., Eva", "", "", "eva", ""]
    assert people["zoe"] == {"attention": None, "perceptron": None} and not exported.left_out


def test_canvas_own_export_is_a_roster_and_keeps_its_assignments(tmp_path, grades):
    text = (
        "Student,ID,SIS User ID,SIS Login ID,Section,perceptron (4711),Quiz 1 (12),Final Score\n"
        "    Points Possible,,,,,29,5,(read only)\n"
        '"Doe, Eva",101,S-1,eva,"Group A, Monday",,3,80\n'
        '"Roe, Max",102,S-2,max,Group B,,4,90\n'
        '"Ünal, Zoë",103,S-3,zoe,Group B,,,\n'
    )
    found = roster(tmp_path, text, grades)
    exported = exports.to_canvas(grades, found)
    points, people = by_canvas(exported.text)
    assert points == {"attention": 31.5, "perceptron (4711)": 29}, "Quiz 1 is none of our business"
    assert people["101"]["perceptron (4711)"] == 29 and people["102"]["perceptron (4711)"] == 0
    assert table(exported.text)[2][:5] == ["Doe, Eva", "101", "S-1", "eva", "Group A, Monday"]
    assert not exported.left_out and not exported.notes


def test_moodle_by_id_number_without_a_roster(grades):
    found = by_moodle(exports.to_moodle(grades, None).text, "ID number")
    assert found["eva"] == {"attention": 7.33, "perceptron": 29}
    assert found["zoe"] == {"attention": None, "perceptron": None}, "no submission is no grade, not nought"


def test_moodle_by_email_with_a_roster_leaves_out_whom_it_cannot_name(tmp_path, grades):
    text = (
        "\ufeffstudent_id,Email address,First name\neva,e.doe@uni.example,Eva\nmax,,Max\nnina,nina@uni.example,Nina\n"
    )
    exported = exports.to_moodle(grades, roster(tmp_path, text, grades))
    assert by_moodle(exported.text, "Email address") == {"e.doe@uni.example": {"attention": 7.33, "perceptron": 29}}
    assert exported.left_out == [
        "zoe: not in the roster",
        "max: the roster has no ID number, email address or username of theirs",
    ]
    assert exported.notes == ["nina is in the roster and has handed nothing in"]


def test_more_points_than_moodle_takes_are_said(grades):
    grades.assignments["attention"] = 120.0
    assert "attention has 120 points: Moodle takes no grade above 100" in exports.to_moodle(grades, None).notes[0]


def test_csv_quotes_names_and_takes_lateness_off(grades):
    rows = list(csv.DictReader(io.StringIO(exports.to_csv(grades, None).text)))
    assert len(rows) == 6 and tuple(rows[0]) == exports.NBGRADER
    eva = next(row for row in rows if row["student_id"] == "eva" and row["assignment"] == "attention")
    assert eva["last_name"] == "Doe, Jr." and (eva["raw_score"], eva["late_submission_penalty"]) == ("8.0", "0.666667")
    assert float(eva["score"]) == pytest.approx(7.333333)


def test_csv_leaves_nobody_out_twice(tmp_path, grades):
    exported = exports.to_csv(grades, Roster({"eva": {}, "max": {}, "nina": {}}))
    assert exported.left_out == ["zoe: not in the roster"]
    assert exported.notes == ["nina is in the roster and has handed nothing in"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("student_id,email\neva,a@b\neva,c@d\n", "has eva more than once"),
        ("Name,Phone\nEva,1\n", "no column student_id"),
        ("SIS Login ID\nnobody\n", "none of its columns holds our student ids"),
        ("", "no column student_id"),
    ],
)
def test_a_roster_that_does_not_fit_is_one_line(tmp_path, grades, text, said):
    from autograder.errors import CourseError

    with pytest.raises(CourseError, match=said):
        roster(tmp_path, text, grades)


def late_by_hand(place, student, penalty):
    from nbgrader.api import Gradebook

    with Gradebook(course.database(place), "ml-course") as gradebook:
        gradebook.find_submission(TOPIC, student).notebooks[0].late_submission_penalty = penalty
        gradebook.find_submission(TOPIC, "ada")  # another one stays as it is
        gradebook.db.commit()


def test_the_real_gradebook_through_the_command(graded, tmp_path, capsys):
    late_by_hand(graded, "ada", 4.0)
    scores = small_class.in_gradebook(graded)
    list_of_people = tmp_path / "roster.csv"
    people = [name for name in scores if name != "hugo"]
    lines = [
        "student_id,ID number,Email address",
        *(f"{name},n-{name},{name}@example.org" for name in [*people, "nina"]),
    ]
    list_of_people.write_text("\n".join(lines), encoding="utf-8")
    target = tmp_path / "moodle.csv"
    arguments = ["export", "--course", str(graded), "--format", "moodle", "--roster", str(list_of_people), str(target)]
    assert main(arguments) == 2, "somebody's grade is missing"
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "autograder: nina is in the roster and has handed nothing in",
        "autograder: left out: hugo: not in the roster",
    ]
    found = by_moodle(target.read_text(encoding="utf-8"), "ID number")
    wanted = {f"n-{name}": {TOPIC: scores[name] - 4.0 * (name == "ada")} for name in people}
    assert found == wanted and scores["ada"] > 4
    assert main(["export", "--course", str(graded), "--format", "canvas", str(tmp_path / "canvas.csv")]) == 0
    _, people_there = by_canvas((tmp_path / "canvas.csv").read_text(encoding="utf-8"))
    assert people_there["hugo"] == {TOPIC: scores["hugo"]}


def test_bad_input_is_one_line(graded, tmp_path, capsys):
    for arguments, said in (
        (["--roster", str(tmp_path / "none.csv"), str(tmp_path / "x.csv")], "cannot read the roster"),
        ([str(graded / "gradebook.db" / "x.csv")], "cannot write"),
        (["--db", f"sqlite:///{tmp_path}/no/such/folder.db", str(tmp_path / "x.csv")], "the gradebook sqlite:"),
    ):
        assert main(["export", "--course", str(graded), *arguments]) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("autograder: ") and said in error and "\n" not in error
