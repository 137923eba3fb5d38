"""The table: every target has a bound and a benchmark, and a miss in the stored results has its reason."""

import json
from dataclasses import replace

import pytest

from benchmarks import __main__ as command
from benchmarks import targets
from benchmarks.targets import TARGETS, Target


def stored():
    return json.loads(command.RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.what} by {target.against}")
def test_a_target_is_whole(target):
    assert (target.at_most is None) != (target.at_least is None)
    assert target.benchmark in command.NAMES
    assert len([other for other in TARGETS if other.benchmark == target.benchmark and other.rows == target.rows]) == 1


@pytest.mark.parametrize(
    ("bound", "row", "reached"),
    [
        (dict(at_most=1.05), dict(ratio=1.04, high=1.2), True),
        (dict(at_most=1.05), dict(ratio=1.06, high=1.2), False),
        (dict(at_most=1.05, upper_end=True), dict(ratio=1.0, high=1.06), False),
        (dict(at_most=1.05, upper_end=True), dict(ratio=1.0, high=1.05), True),
        (dict(at_least=25), dict(ratio=24.9), False),
        (dict(at_least=25), dict(ratio=25.0), True),
    ],
)
def test_when_a_bound_is_reached(bound, row, reached):
    assert Target("what", "other", "rnn", "row", **bound).reached_by(row) == reached


def test_the_table_of_some_results(monkeypatch):
    slow = Target("slow thing", "theirs", "rnn", "slow", at_most=1)
    absent = Target("new thing", "theirs", "rnn", "new", at_least=2)
    monkeypatch.setattr(targets, "TARGETS", (slow, absent))
    rows = [dict(what="slow row", ratio=1.5, low=1.25, high=1.75), dict(what="another", ratio=3)]
    kept = {"rnn": {"rows": rows}}
    shown = targets.table(kept)
    assert "slow row   theirs   1.50   [1.25, 1.75]  ≤ 1       missed" in shown
    assert "new thing  theirs   –      –             ≥ 2       not measured" in shown
    assert "slow thing against theirs: not explained yet" in shown
    assert targets.others(rows, "rnn") == rows[1:]
    monkeypatch.setattr(targets, "TARGETS", (replace(slow, missed="It waits for memory."), absent))
    assert targets.reasons(kept) == ["slow thing against theirs: It waits for memory."]
    assert targets.table(kept, names=set()).count("\n") == 1  # heads and their line


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: f"{target.what} by {target.against}")
def test_the_stored_results_have_every_row(target):
    assert all(line.row for line in targets.lines(stored()) if line.target == target), "run `make bench`"


def test_every_miss_of_the_stored_results_is_explained():
    unexplained = {
        line.name for line in targets.lines(stored()) if line.missed and not line.target.missed.endswith(".")
    }
    assert not unexplained, "say why in benchmarks/targets.py"


def test_the_stored_results_say_where_they_come_from():
    for name, entry in stored().items():
        assert {"date", "machine", "command", "load", "seconds", "rows"} <= entry.keys(), name
        assert entry["command"].startswith("python -m benchmarks")


class Fake:
    def __init__(self, rows):
        self.rows = rows

    def measure(self, large):
        if self.rows is None:
            raise ImportError("no such library")
        return self.rows


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """Results in another place, and two benchmarks of which the first fails."""
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    row = dict(what="LSTM forward", ratio=1.0, low=0.9, high=1.1, told="1.00")
    fakes = {"rnn": Fake(None), "device": Fake([]), "gated": Fake([row])}
    monkeypatch.setattr(command.importlib, "import_module", lambda name: fakes[name.removeprefix("benchmarks.")])
    return tmp_path / "results.json"


def test_a_failing_benchmark_does_not_lose_the_others(beside, capsys):
    beside.write_text(json.dumps({"rnn": {"rows": [dict(what="old", told="1.00")]}}))
    assert command.main(["rnn", "gated"]) == 1
    kept, said = json.loads(beside.read_text()), capsys.readouterr()
    assert kept["rnn"]["rows"][0]["what"] == "old"  # what was measured before stays
    assert kept["gated"]["rows"][0]["ratio"] == 1
    assert "rnn failed: ImportError: no such library" in said.err
    assert "LSTM forward" in said.out and "reached" in said.out


def test_where_there_is_nothing_to_measure_what_was_measured_elsewhere_stays(beside):
    beside.write_text(json.dumps({"device": {"rows": [dict(what="a card's", told="1.00")]}}))
    assert command.main(["device", "gated"]) == 0
    kept = json.loads(beside.read_text())
    assert kept["device"]["rows"][0]["what"] == "a card's" and kept["gated"]["rows"]


@pytest.mark.parametrize(
    ("given", "stored", "told"),
    [
        (["rnn", "gru"], None, "no benchmark gru; there is: attention, "),
        (["rnn"], "not JSON", "delete it to begin anew"),
        (["rnn"], "[1, 2]", "delete it to begin anew"),
    ],
)
def test_bad_input_is_one_line(beside, capsys, given, stored, told):
    if stored:
        beside.write_text(stored)
    assert command.main(given) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1
