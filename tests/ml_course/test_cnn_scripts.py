"""The two training scripts on small data: pictures move as promised, folds keep equal texts together, both learn."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ml_course.data import Images, LabelledTexts, Split, digits
from ml_course.scripts import lenet, textcnn


def test_moved_lays_each_picture_at_most_two_pixels_off():
    pictures = torch.rand(60, 1, 28, 28) + 0.1
    sheets = lenet.moved(pictures)
    assert sheets.shape == (60, 1, 32, 32)
    places = set()
    for picture, sheet in zip(pictures[:, 0], sheets[:, 0], strict=True):
        (row, column), *_ = (sheet == picture[0, 0]).nonzero().tolist()
        assert 0 <= row <= 4 and 0 <= column <= 4
        assert torch.equal(sheet, F.pad(picture, (column, 4 - column, row, 4 - row)))
        places.add((row, column))
    assert len(places) > 10  # of 25


@pytest.mark.parametrize("form", lenet.FORMS)
def test_lenet_script_learns_small_pictures(monkeypatch, form, capsys):
    points, labels = digits().points[:400], digits().labels[:400]
    large = F.interpolate(torch.tensor(points).float().reshape(-1, 1, 8, 8), size=(28, 28), mode="bilinear").numpy()
    images = Images(large, labels)
    split = Split(images.rows(np.arange(300)), images.rows(np.arange(300, 400)))
    monkeypatch.setitem(lenet.SETS, "mnist", lambda folder: split)
    result = lenet.train(form=form, epochs=5)
    assert result["accuracy"] > 0.5 and result["learned"] == 300 and result["tested"] == 100
    assert result["parameters"] == {"modern": 61_706, "1998": 60_000}[form]
    again = lenet.train(form=form, epochs=5)
    assert again["accuracy"] == result["accuracy"]  # the seed decides
    monkeypatch.setitem(lenet.SETS, "fashion", lambda folder: split)
    monkeypatch.setattr("sys.argv", ["lenet", "--set", "fashion", "--epochs", "1", "--seeds", "2", "--form", form])
    lenet.main()
    said = capsys.readouterr().out
    assert said.count("seed") == 2 and "median" in said and "of 100 right after 1 epochs of 300" in said


def reviews():
    rng = np.random.default_rng(0)
    fillers = ["the", "film", "was", "long", "and", "its", "music", "loud", "but", "plot", "a", "little", "old"]
    texts, labels = [], []
    for number in range(400):
        label = number % 2
        sentence = list(rng.choice(fillers, size=rng.integers(3, 9)))
        sentence.insert(rng.integers(0, len(sentence)), "very good" if label else "not good")
        texts.append(" ".join(sentence))
        labels.append(label)
    texts[7], labels[7] = texts[1], labels[1]  # the same review twice
    return LabelledTexts(tuple(texts), np.array(labels), ("negative", "positive"))


def test_folds_are_of_one_size_and_keep_equal_texts_together():
    texts = reviews()
    folds = textcnn.folds_of(texts, seed=3)
    assert set(folds) == set(range(10)) and folds[7] == folds[1]
    assert np.ptp(np.bincount(folds)) <= 3
    assert not np.array_equal(folds, textcnn.folds_of(texts, seed=4))


def test_textcnn_script_learns_a_phrase(monkeypatch, capsys):
    result = textcnn.train(reviews(), fold=2, epochs=8)
    assert result["accuracy"] > 0.85 and 1 <= result["epochs"] <= 8
    monkeypatch.setattr(textcnn, "rt_polarity", lambda folder: reviews())
    monkeypatch.setattr("sys.argv", ["textcnn", "--folds", "2", "--epochs", "1"])
    textcnn.main()
    assert "mean of 2 folds" in capsys.readouterr().out
