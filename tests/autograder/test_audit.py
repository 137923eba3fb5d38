"""The audit must find what is wrong with an exercise: each fault is made once, and named."""

import json

import pytest
from toy import centred

from autograder import audit
from autograder.cli import main
from autograder.exercise import Case, Exercise, load, topics
from autograder.homework import BEGIN, END
from autograder.probes import with_gradients

SOLUTION = f"""
def centred(x):
    {BEGIN}
    average = x.mean(-1, keepdim=True)
    return x - average
    {END}
"""


@pytest.fixture(autouse=True)
def toy_homework(monkeypatch):
    monkeypatch.setattr(audit, "import_cell", lambda topic: "import torch\nfrom autograder import check")


def weak_exercise(**changes):
    """The toy with one case only, which cannot tell an axis from the whole."""
    settings = dict(reference=centred.reference, facets={"values": 1}, difficulty=1, minutes=1)
    weak = Exercise("toy.centred", **{**settings, **changes})
    weak.module = centred.module
    weak.probe_source, weak.probe_name = centred.probe_source, centred.probe_name
    weak.alternatives, weak.mistakes = centred.alternatives, centred.mistakes

    @weak.cases
    def cases(rng):
        yield Case("one row", x=rng.normal(size=(1, 3)))

    return weak


def test_a_good_exercise_kills_every_mutant():
    result = audit.kill_mutants(centred, SOLUTION)
    assert result["made"] == result["killed"] >= 4 and result["survived"] == []


def test_a_weak_exercise_is_found_out_by_mutants_and_mistakes():
    weak = weak_exercise()
    mutant = SOLUTION.replace("-1, keepdim", "0, keepdim")
    assert audit.kill_mutants(weak, SOLUTION.replace("-1, keepdim=True", "-1"))["survived"]
    (mistake,) = (mistake for mistake in weak.mistakes if mistake.label == "mean of everything")
    assert "gets all points" in audit.refused_by_name(weak, mistake.answer, mistake.label)
    assert audit.always(centred, audit.submitted(centred, mutant)) is not True


def test_an_explained_survivor_is_no_fault():
    weak = weak_exercise()
    survived = audit.kill_mutants(weak, SOLUTION.replace("-1, keepdim=True", "-1"))["survived"]
    weak.equivalent_mutants = {change: "one row only" for change in survived}
    again = audit.kill_mutants(weak, SOLUTION.replace("-1, keepdim=True", "-1"))
    assert again["survived"] == [] and again["explained"] == len(survived)


def test_a_mistake_with_a_strangers_name_is_found():
    mistake = centred.mistakes[0]
    assert "diagnosed as" in audit.refused_by_name(centred, mistake.answer, "another name")


def test_a_wrong_solution_and_a_rewarded_stub_are_found():
    assert "of 6" in audit.always(centred, audit.submitted(centred, SOLUTION.replace("- average", "+ average")))
    assert audit._result(centred, SOLUTION, "stub", "") is True
    assert "empty stub gets" in audit._result(centred, SOLUTION.replace(BEGIN, "").replace(END, ""), "stub", "")


def test_a_probe_that_needs_the_course_is_found():
    assert audit.probe_stands_alone(centred) is True
    leaning = weak_exercise()
    leaning.probe_source = "def probe(answer, x):\n    import ml_course\n    return {'y': answer(x)}\n"
    leaning.probe_name = "probe"
    assert "ml_course is not here" in audit.probe_stands_alone(leaning)
    globally = weak_exercise()
    globally.probe_source, globally.probe_name = "def probe(answer, x):\n    return {'y': np.abs(answer(x))}\n", "probe"
    assert audit.probe_stands_alone(globally) == "the probe uses names from outside itself: np"


def test_helpers_travel_with_the_probe():
    helped = weak_exercise()

    @helped.probe
    def probe(answer, x):
        return with_gradients(answer, x=x)

    assert helped.probe_source.index("def with_gradients") < helped.probe_source.index("def probe")
    assert audit.probe_stands_alone(helped) is True


def test_a_leak_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(audit, "HOMEWORK", tmp_path)
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    assert audit.leaks(centred, SOLUTION) is True
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "toy.md").write_text("average = x.mean(-1, keepdim=True)\n\nreturn x - average\n")
    assert "book/toy.md holds the whole solution" in audit.leaks(centred, SOLUTION)


def test_too_few_mistakes_or_alternatives_are_a_fault():
    record = {part: True for part in ("reference", "solution", "stub", "own_reference", "probe", "leaks")}
    record |= {"mutants": {"survived": []}, "alternatives": {"a": True}, "mistakes": {"b": True}}
    assert audit.faults(record) == ["alternatives: 1, at least 2 are asked", "mistakes: 1, at least 4 are asked"]


def test_the_cache_forgets_when_a_file_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(audit, "CACHE", tmp_path)
    topic = topics()[0]
    audit.store(topic, [{"name": "x"}])
    assert audit.cached(topic) == [{"name": "x"}]
    monkeypatch.setattr(audit, "fingerprint", lambda topic: "another")
    assert audit.cached(topic) is None


@pytest.mark.parametrize(("again", "proven"), [(True, True), ("seed 3: diagnosed as nothing", False)])
def test_a_failed_proof_is_made_once_more_and_only_that_one(monkeypatch, tmp_path, again, proven):
    """Where a machine stood still, an answer came late; a fault that is really there is found again."""
    monkeypatch.setattr(audit, "CACHE", tmp_path)
    runs = []

    def prove(todo, workers):
        runs.append(todo)
        results = {task: {"made": 4, "killed": 4, "survived": []} if task[1] == "mutants" else True for task in todo}
        last = todo[-1]
        return results | {last: "seed 3: diagnosed as nothing" if len(runs) == 1 else again}

    monkeypatch.setattr(audit, "prove", prove)
    assert audit.audit([topics()[0]])["ok"] is proven
    assert len(runs) == 2 and runs[1] == runs[0][-1:]


@pytest.mark.xdist_group("audit")
def test_every_exercise_of_the_course_is_proven(tmp_path, capsys):
    target = tmp_path / "report.json"
    assert main(["audit", "--json", str(target)]) == 0, capsys.readouterr().out
    report = json.loads(target.read_text())
    assert report["ok"] and {record["name"] for record in report["exercises"]} == {
        name for topic in topics() for name in load(topic)
    }
    for record in report["exercises"]:
        assert record["mutants"]["made"] == record["mutants"]["killed"] + record["mutants"]["explained"]
        assert len(record["alternatives"]) >= 2 and len(record["mistakes"]) >= 4
