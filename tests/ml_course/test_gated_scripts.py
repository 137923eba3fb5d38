"""The script that compares LSTM and GRU: equal sizes, equal pieces, Student's interval, errors in one line."""

import numpy as np
import pytest
import torch

from ml_course.gated import GRU, LSTM
from ml_course.rnn import CharLM, bits, nats_per_token
from ml_course.scripts import lstm_or_gru
from ml_course.scripts.charlm import parts_of

TEXT = "the cat sat on the mat, and the dog sat on the log. " * 60


@pytest.mark.parametrize("hidden", [8, 96, 256])
def test_both_kinds_are_of_one_size(hidden):
    found = lstm_or_gru.widths(hidden)
    sizes = [
        sum(p.numel() for p in kind(lstm_or_gru.D_MODEL, found[name]).parameters())
        for name, kind in (("LSTM", LSTM), ("GRU", GRU))
    ]
    assert found["LSTM"] == hidden and abs(sizes[0] / sizes[1] - 1) < 0.06


def test_interval_is_students():
    stats = pytest.importorskip("scipy.stats")
    sample = np.array([0.2, -0.1, 0.4, 0.3, 0.25, 0.1])
    mean, low, high = lstm_or_gru.interval(sample)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(0.95)
    assert mean == pytest.approx(sample.mean()) and (low, high) == pytest.approx(tuple(expected), abs=1e-3)
    for count, value in lstm_or_gru.STUDENT.items():
        assert value == pytest.approx(stats.t.ppf(0.975, count - 1), abs=1e-3)
    with pytest.raises(ValueError, match="differences has 1 entries, expected 2 to 10"):
        lstm_or_gru.interval(sample[:1])


def test_one_stream_is_the_whole_text_and_many_are_nearly(monkeypatch):
    vocabulary, parts = parts_of(TEXT)
    model = CharLM(len(vocabulary), 8, 8, recurrent=GRU).double()
    tokens = parts["train"][:601]
    monkeypatch.setattr(lstm_or_gru, "STREAMS", 1)
    alone = lstm_or_gru.bits_per_character(model, tokens)
    assert alone == pytest.approx(bits(nats_per_token(model, tokens)), rel=1e-9)
    monkeypatch.setattr(lstm_or_gru, "STREAMS", 20)
    assert abs(lstm_or_gru.bits_per_character(model, tokens) - alone) < 0.05


def test_script_learns_and_its_seed_decides(monkeypatch, capsys):
    vocabulary, parts = parts_of(TEXT)
    for kind in lstm_or_gru.KINDS:
        first, again, other = (
            lstm_or_gru.train(kind, parts, len(vocabulary), 1500, seed, hidden=16, epochs=3)["bits"]
            for seed in (0, 0, 1)
        )
        assert first == again != other and first < np.log2(len(vocabulary))
    monkeypatch.setattr(lstm_or_gru, "tinyshakespeare", lambda folder: TEXT)
    arguments = ["lstm_or_gru", "--amounts", "500", "1000", "--seeds", "2", "--hidden", "8", "--epochs", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    lstm_or_gru.main()
    said = capsys.readouterr().out
    assert said.count("seed ") == 8 and said.count("LSTM minus GRU") == 2 and "after 1 epochs" in said


def test_the_rate_with_the_best_validation_counts(monkeypatch):
    validations = {0.1: 3.0, 0.2: 1.0, 0.3: 2.0}
    monkeypatch.setattr(
        lstm_or_gru, "train", lambda kind, *, rate: {"rate": rate, "validation": validations[rate], "seconds": 2.0}
    )
    assert lstm_or_gru.best_rate("GRU", rates=list(validations)) == {"rate": 0.2, "validation": 1.0, "seconds": 6.0}


def test_wrong_amounts_end_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(lstm_or_gru, "tinyshakespeare", lambda folder: TEXT)
    monkeypatch.setattr("sys.argv", ["lstm_or_gru", "--amounts", "10000000"])
    with pytest.raises(SystemExit, match="1"):
        lstm_or_gru.main()
    said = capsys.readouterr().err
    assert "lstm_or_gru: amount = 10000000, expected 64 to 2" in said and said.count("\n") == 1


def test_pieces_are_the_same_for_both_kinds(monkeypatch):
    vocabulary, parts = parts_of(TEXT)
    pieces = []
    windows = lstm_or_gru.Windows
    monkeypatch.setattr(lstm_or_gru, "Windows", lambda tokens, **rest: pieces.append(tokens) or windows(tokens, **rest))
    for kind in lstm_or_gru.KINDS:
        lstm_or_gru.train(kind, parts, len(vocabulary), 200, 5, hidden=4, epochs=1)
    learned = [piece for piece in pieces if len(piece) == 200]
    assert len(learned) == 2 and torch.equal(*learned)
