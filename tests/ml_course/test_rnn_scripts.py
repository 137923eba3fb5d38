"""The training script on a tiny text: parts as promised, both rivals measured on the same characters, plain errors."""

import numpy as np
import pytest
import torch

from ml_course.rnn import NGram, bits
from ml_course.scripts import charlm

TEXT = "".join(np.random.default_rng(0).choice(["one ", "two ", "three.\n"], size=600))


def test_parts_are_consecutive_and_the_vocabulary_is_learned_from_the_first():
    vocabulary, parts = charlm.parts_of(TEXT + "Ω")
    assert "".join(vocabulary.decode(torch.cat(list(parts.values())), special=True)) == TEXT + "<unk>"
    assert "Ω" not in vocabulary and len(parts["train"]) == int(0.9 * (len(TEXT) + 1))
    with pytest.raises(ValueError, match="text has 3 characters, expected at least 1,000"):
        charlm.parts_of("abc")


def test_script_learns_and_the_seed_decides():
    vocabulary, parts = charlm.parts_of(TEXT)
    options = {"hidden": 24, "batch": 8, "window": 16, "epochs": 8, "rate": 0.01, "dropout": 0.0}
    model, result = charlm.train(parts, len(vocabulary), **options)
    unigram = bits(NGram(1, len(vocabulary)).fit(parts["train"].numpy()).nats_per_token(parts["test"].numpy()))
    assert result["bits"] < 0.6 * unigram and result["epochs"] <= 8
    assert result["parameters"] == sum(p.numel() for p in model.parameters())
    again = charlm.train(parts, len(vocabulary), **options)[1]
    assert again["bits"] == result["bits"]
    text = charlm.written(model, vocabulary, "one ", 60)
    assert text.startswith("one ") and len(text) == 64
    assert sum(text.count(word) for word in ("one", "two", "three")) > 8


def test_baselines_are_the_two_smoothings_of_one_order():
    vocabulary, parts = charlm.parts_of(TEXT)
    found = charlm.baselines(parts, len(vocabulary), order=3)
    for smoothing, value in found.items():
        grams = NGram(3, len(vocabulary), smoothing).fit(parts["train"].numpy())
        assert value == bits(grams.nats_per_token(parts["test"].numpy()))
    assert list(found) == ["witten-bell", "kneser-ney"]


@pytest.mark.parametrize("source", ["text", "reference", "tinyshakespeare"])
def test_script_from_the_command_line(tmp_path, monkeypatch, capsys, source):
    (tmp_path / "some.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(charlm, "reference_text", lambda: TEXT)
    monkeypatch.setattr(charlm, "tinyshakespeare", lambda folder: TEXT)
    which = {"text": ["--text", str(tmp_path / "some.txt")], "reference": ["--reference"]}.get(source, [])
    monkeypatch.setattr("sys.argv", ["charlm", *which, "--epochs", "1", "--hidden", "8"])
    charlm.main()
    said = capsys.readouterr().out
    assert "5-gram, witten-bell: " in said and "5-gram, kneser-ney: " in said
    assert "bits per character after 1 epochs" in said and TEXT[:20] in said


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), (b"\xff\xfe" * 900, "utf-8"), (b"ab", "2 characters")]
)
def test_script_says_in_one_line_what_is_wrong(tmp_path, monkeypatch, capsys, content, told):
    if content is not None:
        (tmp_path / "some.txt").write_bytes(content)
    monkeypatch.setattr("sys.argv", ["charlm", "--text", str(tmp_path / "some.txt")])
    with pytest.raises(SystemExit) as stopped:
        charlm.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and said.startswith("charlm: ") and said.count("\n") == 1 and told in said
