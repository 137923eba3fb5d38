"""The translation script on a tiny made language: what it says about scores is true, and it learns."""

import numpy as np
import pytest

from ml_course.data import Pairs
from ml_course.scripts import translate

DICTIONARY = {"der": "the", "hund": "dog", "katze": "cat", "mann": "man", "läuft": "runs", "schläft": "sleeps"}


def made_up(count, seed):
    rng = np.random.default_rng(seed)
    sources = []
    for _ in range(count):
        noun, verb = rng.choice(["Hund", "Katze", "Mann"]), rng.choice(["läuft", "schläft"])
        sources.append(" ".join([f"Der {noun} {verb}"] + [f"der {rng.choice(['Hund', 'Katze'])}"] * rng.integers(0, 3)))
    targets = [" ".join(DICTIONARY[word] for word in source.lower().split()).capitalize() for source in sources]
    return Pairs(tuple(sources), tuple(targets))


@pytest.fixture
def parts():
    return {"train": made_up(300, 0), "validation": made_up(30, 1), "test": made_up(40, 2)}


def test_a_side_spells_its_texts_again():
    side = translate.Side.learned(("Der Hund läuft.", "Der Hund, der läuft."), merges=4)
    numbers = side.encode("Hund läuft.", bos=True, eos=True)
    assert side.decode(numbers) == "hund läuft." and numbers[0] == 2 and numbers[-1] == 3
    assert side.vocabulary.unk in side.encode("Xylophon")


def test_scores_are_sacrebleus_and_our_own():
    pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (extra `test`)")
    outputs = ["the cat sat on the mat, did it?", "a dog runs over the green grass"]
    references = ["The cat sat on a mat, did it?", "A dog is running over the green grass."]
    found = translate.scores(outputs, references)
    assert found["sacrebleu"] > 20 and found["bleu"] == pytest.approx(found["sacrebleu"], abs=1e-9)


def test_without_sacrebleu_our_own_score_is_left(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sacrebleu", None)
    found = translate.scores(["a dog runs by"], ["A dog runs by"])
    assert found == {"sacrebleu": None, "bleu": 100.0, "brevity_penalty": 1.0}


def test_the_script_learns_and_says_so(parts, monkeypatch, capsys):
    result = translate.train(parts, hidden=48, merges=30, epochs=14)
    assert result["beam"]["bleu"] > 30 and len(result["validation"]) == 14
    assert result["validation"][-1] < 0.5 * result["validation"][0]
    if result["beam"]["sacrebleu"] is not None:
        assert result["beam"]["bleu"] == pytest.approx(result["beam"]["sacrebleu"], abs=1e-9)
    asked = []
    monkeypatch.setattr(translate, "multi30k", lambda *where: asked.append(where) or parts)
    options = ["--epochs", "1", "--hidden", "8", "--merges", "5", "--beam", "2", "--limit", "300", "--data", "here"]
    monkeypatch.setattr("sys.argv", ["translate", *options])
    translate.main()
    said = capsys.readouterr().out
    assert asked == [("here", "de", "en", 300)]
    assert "300 pairs, 1 epochs" in said and "greedy: " in said and "beam 2: " in said and "sources of" in said
    monkeypatch.setattr("sys.argv", ["translate", "--limit", "0"])
    with pytest.raises(SystemExit):
        translate.main()
    assert "--limit 0: expected at least 1" in capsys.readouterr().err
