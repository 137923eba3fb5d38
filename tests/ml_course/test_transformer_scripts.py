"""The names script on few names, and the translation script with a Transformer: they learn and say what is true."""

import numpy as np
import pytest

from ml_course.data import Pairs
from ml_course.data.splitting import Split
from ml_course.scripts import names, translate
from ml_course.seq2seq import error_rate, exact_match


@pytest.fixture
def few():
    """Names whose translation spells each letter as another one."""
    rng = np.random.default_rng(0)
    spelled = sorted({"".join(rng.choice(list("abc"), size=rng.integers(1, 4))) for _ in range(200)})
    pairs = Pairs(tuple(spelled), tuple(name.translate(str.maketrans("abc", "ЫЖЩ")) for name in spelled))
    return Split(pairs, pairs.rows(np.arange(0, len(pairs), 3)))


@pytest.mark.parametrize("model", names.MODELS)
def test_all_models_learn_to_spell_and_are_measured_rightly(few, model):
    found = names.train(model, few, width=32, epochs=60, rate=1e-2, size=16, dropout=0.0, longest=8)
    sources, said, right = zip(*found["examples"], strict=True)
    assert list(sources) == list(few.test.sources) and right == tuple(name.lower() for name in few.test.targets)
    assert found["error"] == error_rate(said, right) < 0.3
    assert found["exact"] == exact_match(said, right) > 0.5
    assert found["seconds"] > 0 and found["parameters"] > 1000


def test_the_names_script_prints_all_models_and_names_wrong_ones(few, monkeypatch, capsys):
    monkeypatch.setattr(names, "name_pairs", lambda: few)
    monkeypatch.setattr(names, "SETTINGS", {model: dict(width=8, epochs=5, rate=1e-2) for model in names.MODELS})
    monkeypatch.setattr("sys.argv", ["names", "--seeds", "2", "--epochs", "1"])
    names.main()
    said = capsys.readouterr().out
    assert all(f"{model}: " in said for model in names.MODELS) and "1 epochs" in said
    monkeypatch.setattr("sys.argv", ["names", "--seeds", "0"])
    with pytest.raises(SystemExit):
        names.main()
    with pytest.raises(ValueError, match="model = 'gpt', expected one of transformer, relative, rnn"):
        names.train("gpt", few, width=8, epochs=1, rate=1e-2)


def test_smoothing_is_used_and_makes_another_model(few):
    options = dict(width=8, epochs=1, rate=1e-2, longest=3)
    plain, smooth = (names.train("transformer", few, **options, smoothing=e) for e in (0.0, 0.1))
    assert smooth["loss"] > 0 and smooth["loss"] != plain["loss"]


def test_a_transformer_translates_a_made_up_language():
    words = {"der": "the", "hund": "dog", "katze": "cat", "mann": "man", "läuft": "runs", "schläft": "sleeps"}
    rng = np.random.default_rng(0)
    rows = [
        f"der {rng.choice(['hund', 'katze', 'mann'])} {rng.choice(['läuft', 'schläft'])}" for _ in range(200)
    ]  # fmt: skip
    pairs = Pairs(tuple(rows), tuple(" ".join(words[word] for word in row.split()) for row in rows))
    parts = {"train": pairs, "validation": pairs.rows(np.arange(20)), "test": pairs.rows(np.arange(20, 50))}
    found = translate.train(parts, model="transformer", hidden=32, merges=30, epochs=12, beam=2)
    assert found["validation"][-1] < 0.5 * found["validation"][0]
    assert found["parameters"] == sum(
        p.numel() for p in translate.build("transformer", *sizes(parts), 32).parameters()
    )  # fmt: skip
    with pytest.raises(ValueError, match="model = 'gru', expected one of lstm, transformer"):
        translate.train(parts, model="gru")


def sizes(parts):
    """Of both vocabularies."""
    sides = (parts["train"].sources, parts["train"].targets)
    return [len(translate.Side.learned(texts, 30).vocabulary) for texts in sides]
