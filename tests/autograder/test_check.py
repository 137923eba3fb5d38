"""What a student sees: text in a terminal, a table in a notebook, a number for nbgrader."""

import nbformat
import pytest
from nbclient import NotebookClient
from nbgrader.utils import determine_grade

from autograder import check
from autograder.checking import VERDICT_TYPE, as_html, as_text
from autograder.errors import CourseError
from autograder.exercise import Exercise, load, topics
from autograder.judging import Facet, Verdict
from autograder.seeds import SETS, case_seed, make_secret, read_secret, student_key

WRONG = Verdict(
    "toy.f",
    (Facet("values", 0, 2, "y: expected 1, got <2>", "one & all", "x: int64 ()"), Facet("dtype", 1, 1)),
    "not right yet",
    "upside down",
    "The cause.",
    "The hint.",
)


def any_exercise() -> Exercise:
    return next(iter(load(topics()[0]).values()))


def test_text_says_facet_case_mistake_and_hint():
    text = as_text(WRONG)
    for said in (
        "1 of 3 points",
        "✗ values (0/2)",
        "✓ dtype (1/1)",
        "one & all",
        "expected 1",
        "upside down",
        "The hint.",
    ):
        assert said in text
    assert text.index("The hint.") < text.index("expected 1") < text.index("one & all") < text.index("int64")


def test_html_escapes_what_came_from_the_student():
    html = as_html(WRONG)
    assert "got &lt;2&gt;" in html and "one &amp; all" in html and "<2>" not in html and "upside down" in html


def test_the_reference_handed_in_is_refused():
    exercise = any_exercise()
    report = check(exercise.name, exercise.reference)
    assert report.points == 0 and "write yourself" in repr(report) and float(report) == 0


def test_bad_calls_are_one_clear_line():
    with pytest.raises(CourseError, match="no exercise called"):
        check(f"{topics()[0]}.nothing", print)
    with pytest.raises(CourseError, match="no homework called"):
        check("nothing.nothing", print)
    with pytest.raises(TypeError, match="needs your function or class itself, got int"):
        check(any_exercise().name, 3)


def test_a_notebook_gets_a_table_and_nbgrader_a_number():
    exercise = any_exercise()
    line = f'from autograder import check\ncheck("{exercise.name}", lambda *a, **k: None)'
    cell = nbformat.v4.new_code_cell(line)
    cell.metadata.nbgrader = dict(grade=True, solution=False, points=exercise.points, grade_id="x", schema_version=3)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "execute_result" and "<table" in output.data["text/html"]
    assert determine_grade(notebook.cells[0]) == (0, exercise.points)
    assert output.data[VERDICT_TYPE]["exercise"] == exercise.name


def test_official_cases_differ_by_student_and_never_change(tmp_path):
    make_secret(tmp_path)
    secret = read_secret(tmp_path)
    hers = case_seed("a.b", student_key(secret, "a", "ada"))
    everybody = {case_seed("a.b", student_key(secret, "a", f"student {number}")) for number in range(1000)}
    assert len(everybody) == SETS and hers in everybody and case_seed("a.b") not in everybody
    others = {case_seed("a.c", student_key(secret, "a", "ada")), case_seed("a.b", student_key(secret, "b", "ada"))}
    assert len(others - everybody) == 2
    assert hers == case_seed("a.b", student_key(read_secret(tmp_path), "a", "ada"))


def test_a_damaged_secret_is_one_clear_line(tmp_path):
    with pytest.raises(CourseError, match="missing or damaged"):
        read_secret(tmp_path)
