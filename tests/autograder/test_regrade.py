"""Regrading: who moves, by which facet; what people have written stays; a dry run changes nothing."""

import shutil
from pathlib import Path

import pytest
import small_class
from small_class import ROOT, TOPIC

from autograder import course, sample_class
from autograder.cli import main
from autograder.grading import batch, regrade
from autograder.grading.gradebook import Writer
from autograder.grading.job import Result

pytestmark = pytest.mark.xdist_group("looking_back")
NEURON = '    facets={"values": 1, "boundary": 1, "dtype": 1},\n'


def verdict(exercise, **facets):
    """A verdict's dictionary: facet=(points, of) or (points, of, complaint)."""
    made = [
        {"name": name, "points": given[0], "max_points": given[1], "complaint": given[2] if len(given) > 2 else ""}
        for name, given in facets.items()
    ]
    return {"exercise": exercise, "facets": made, "points": sum(facet["points"] for facet in made)}


def entry(*verdicts, file="f"):
    return {"verdicts": list(verdicts), "file": file}


def test_a_loss_names_the_complaint_and_a_gain_the_one_of_before():
    before = [verdict("t.a", values=(2, 2), dtype=(0, 1, "float32 came"))]
    after = [verdict("t.a", values=(0, 2, "expected 1, got 2"), dtype=(1, 1))]
    lost, gained = regrade.differences(before, after)
    assert (lost.facet, lost.before, lost.after, lost.why) == ("values", 2, 0, "expected 1, got 2")
    assert (gained.facet, gained.before, gained.after, gained.why) == ("dtype", 0, 1, "was: float32 came")


def test_facets_that_come_go_or_change_their_worth():
    before = [verdict("t.a", values=(2, 2), old=(1, 1))]
    after = [verdict("t.a", values=(3, 3), new=(1, 1))]
    told = {move.facet: move.why for move in regrade.differences(before, after)}
    assert told == {"values": "worth 3, was 2", "new": "a new facet", "old": "no longer asked"}


def test_no_difference_is_no_move():
    same = [verdict("t.a", values=(0, 2, "one complaint"))]
    other_words = [verdict("t.a", values=(0, 2, "another complaint"))]
    assert regrade.differences(same, other_words) == []


def test_a_changed_file_and_points_by_hand_are_said():
    outcome = regrade.Regraded("t", True, ["eva"])
    submission = batch.Submission("eva", Path("eva.ipynb"), "stamp", digest="new")
    before, after = entry(verdict("t.a", values=(2, 2)), file="old"), entry(verdict("t.a", values=(0, 2)))
    regrade.compare(outcome, submission, before, after, {"eva": {"check_a": 1.5}})
    assert outcome.points["eva"] == (2, 0)
    assert "the file itself has changed since it was graded" in outcome.table()
    assert "the 1.5 points given by hand stand" in outcome.table()


def test_a_regrade_that_was_stopped_tells_everything_when_it_is_run_again(graded, monkeypatch):
    """Whoever moved before the stop is told too: what was before is kept until the regrade is done."""
    work = course.prepare(graded, TOPIC, course.Options(cage="none"))
    journal = work.journal
    worse = {name: dict(entry) for name, entry in journal.latest().items() if name in ("ada", "boris")}
    for changed in worse.values():
        changed["verdicts"] = [
            {**one, "points": 0, "facets": [{**f, "points": 0} for f in one["facets"]]} for one in changed["verdicts"]
        ]
    stops = iter(["ada", KeyboardInterrupt, "boris"])

    def grade(folder, topic, options):
        for name in stops:
            if name is KeyboardInterrupt:
                raise KeyboardInterrupt
            journal.append(worse[name])
        return course.Outcome(topic, 0, [])

    monkeypatch.setattr(course, "grade", grade)
    with pytest.raises(KeyboardInterrupt):
        regrade.regrade(graded, TOPIC)
    assert set(regrade.regrade(graded, TOPIC).moves) == {"ada", "boris"}
    assert set(regrade.regrade(graded, TOPIC).moves) == set(), "what was before is now what is"


def test_nobody_moves(graded, monkeypatch, capsys):
    """Examined again with the same outcome; who was never graded, or cannot be now, is named."""
    known = small_class.verdicts(graded)
    small_class.hand_in(graded, {"zoe": sample_class.solution})

    def examine_all(work, todo):
        for one in todo:
            new = RuntimeError("its process died") if one.student == "emil" else None
            yield one, new or Result(TOPIC, one.student, known.get(one.student, known["ada"]), "")

    monkeypatch.setattr(batch, "examine_all", examine_all)
    kept = small_class.fingerprint(graded)
    assert main(["regrade", TOPIC, "--course", str(graded), "--dry-run", "--unsafe"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[1:] == ["not graded before: zoe", "nobody moves"]
    assert said.err.splitlines()[-1] == "autograder: emil: not graded: its process died"
    assert small_class.fingerprint(graded) == kept


@pytest.fixture(scope="module")
def changed_tree(tmp_path_factory):
    """A copy of the source in which one exercise is changed: a facet is worth 2, and one function is forbidden."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("autograder", "ml_course", "solutions"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tree)
    files = [path for path in tree.rglob("autograder/exercises/**/*.py") if NEURON in path.read_text(encoding="utf-8")]
    (bank,) = files
    text = bank.read_text(encoding="utf-8")
    assert text.count(NEURON) == 1
    bank.write_text(
        text.replace(NEURON, NEURON.replace('"boundary": 1', '"boundary": 2') + '    forbidden=("where",),\n')
    )
    return tree


def by_hand(place, student, points, comment):
    """What an instructor does in formgrader: points for one answer and a comment on it."""
    from nbgrader.api import Gradebook

    with Gradebook(course.database(place), "ml-course") as gradebook:
        grade = gradebook.find_grade("check_neuron_output", TOPIC, TOPIC, student)
        grade.manual_score = points
        gradebook.find_comment("neuron_output", TOPIC, TOPIC, student).manual_comment = comment
        gradebook.db.commit()


def test_a_changed_exercise_moves_whom_it_should_and_leaves_what_people_wrote(graded, changed_tree):
    from nbgrader.api import Gradebook

    by_hand(graded, "boris", 2.5, "Хорошо: well argued")
    kept, before = small_class.fingerprint(graded), small_class.journalled(graded)
    asked = ("regrade", TOPIC, "--course", graded, "--workers", 1)

    done = small_class.run(*asked, "--dry-run", tree=changed_tree)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert small_class.fingerprint(graded) == kept, "a dry run changed something"
    assert "boris" in said and "neuron_output, values: 1 → 0: uses where" in said
    assert "neuron_output: the 2.5 points given by hand stand" in said
    assert "hugo" not in said, "who had nothing there to lose does not move"

    done = small_class.run(*asked, "--no-feedback", tree=changed_tree)
    assert done.returncode == 2 and "viktor: unreadable" in done.stderr  # as with `grade`
    assert done.stdout.splitlines()[1:] == said.splitlines()[1:], "the dry run said what then happened"
    after = small_class.journalled(graded)
    assert after["boris"] == before["boris"] - 3 and after["hugo"] == before["hugo"]
    with Gradebook(course.database(graded), "ml-course") as gradebook:
        grade = gradebook.find_grade("check_neuron_output", TOPIC, TOPIC, "boris")
        comment = gradebook.find_comment("neuron_output", TOPIC, TOPIC, "boris")
        assert (grade.auto_score, grade.manual_score, grade.score) == (0, 2.5, 2.5)
        assert comment.manual_comment == "Хорошо: well argued"
    with Writer(course.database(graded), TOPIC) as writer:
        assert writer.score("boris") == after["boris"] + 2.5
