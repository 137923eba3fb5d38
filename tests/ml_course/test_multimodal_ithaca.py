"""Gapped names and the small Ithaca: invariants of the data, the reader by hand, the model against its own parts."""

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course.multimodal import (
    GAP,
    Gapped,
    Ithaca,
    IthacaConfig,
    Neighbours,
    Reader,
    hide,
    ithaca_loss,
    ithaca_scores,
    names,
    restoring,
    teach_ithaca,
)
from ml_course.scripts import ithaca as script

PARTS = names()
SOME = ["new zealand", "new york", "old york", "norway"]

# The names


def test_a_name_has_one_meaning_and_no_thing_is_on_both_sides():
    train, test = PARTS.train, PARTS.test
    assert not set(train.texts) & set(test.texts)
    for part in (train, test):
        assert len(set(part.texts)) == len(part) == len(part.languages) == len(part.kinds)
        assert set(part.languages) == set(range(6)) and set(part.kinds) == set(range(4))
        assert all(text == text.lower() and "(" not in text and GAP not in text for text in part.texts)
        assert max(map(len, part.texts)) <= 32
    assert 0.05 < len(test) / (len(test) + len(train)) < 0.15
    country = {"germany", "deutschland", "allemagne", "niemcy", "alemania"}  # in five languages, on one side together
    assert country <= set(train.texts) or country <= set(test.texts)
    assert "malta" not in (*train.texts, *test.texts)  # written so in several languages
    assert "saksa" not in (*train.texts, *test.texts)  # Germany and German in Finnish


def test_rows_keep_texts_and_labels_together():
    half = PARTS.test.rows(np.arange(len(PARTS.test)) % 2 == 0)
    assert half.texts == PARTS.test.texts[::2] and (half.kinds == PARTS.test.kinds[::2]).all()
    with pytest.raises(ValueError, match="kinds names 'rivers', expected some of territories"):
        names(kinds=["rivers"])


words = st.text("abc", min_size=1, max_size=7)


@given(st.lists(words, min_size=1, max_size=4).map(" ".join), st.floats(0.05, 0.95), st.integers(1, 5), st.integers(0))
@settings(deadline=None)
def test_damage_hides_as_many_letters_as_asked_and_nothing_else(text, share, longest, seed):
    damaged = hide(text, np.random.default_rng(seed), share, longest)
    assert len(damaged) == len(text)
    assert all(now in (before, GAP) for now, before in zip(damaged, text, strict=True))
    letters = len(text.replace(" ", ""))
    assert damaged.count(" ") == text.count(" ")
    assert damaged.count(GAP) == min(max(1, round(share * letters)), letters - 1)


def test_damage_refuses_nonsense():
    for wrong in (dict(share=0), dict(share=1), dict(longest=0)):
        with pytest.raises(ValueError, match="expected 0 < share < 1, and at least 1"):
            hide("abc", np.random.default_rng(0), **wrong)


# The reader


def test_the_reader_by_hand():
    reader = Reader.of(SOME)
    gapped = reader.encode(["new y?rk", "norway"])
    assert reader.letters.decode(gapped.letters[0], special=True) == list("new y?rk")
    assert reader.letters.decode(gapped.letters[1]) == list("norway")
    new, york = reader.words.number("new"), reader.words.number("york")
    unknown = reader.words.unk
    assert gapped.words.tolist() == [3 * [new] + [0] + 4 * [unknown], 6 * [unknown] + 2 * [0]]
    assert reader.encode(["york"]).words.tolist() == [[york] * 4]
    assert gapped.mask.sum(1).tolist() == [8, 6]
    assert reader.letters.decode(reader.targets(["new york", "norway"], gapped)) == ["o"]


@given(st.lists(st.sampled_from(SOME), min_size=1, max_size=5), st.integers(0))
@settings(deadline=None)
def test_what_was_hidden_is_what_is_asked_for(texts, seed):
    rng, reader = np.random.default_rng(seed), Reader.of(SOME)
    damaged = [hide(text, rng) for text in texts]
    gapped = reader.encode(damaged)
    targets = reader.letters.decode(reader.targets(texts, gapped))
    assert "".join(targets) == "".join(
        a for text, now in zip(texts, damaged, strict=True) for a, b in zip(text, now, strict=True) if b == GAP
    )
    mended = gapped.letters.clone()
    mended[mended == reader.gap] = reader.targets(texts, gapped)
    assert ["".join(reader.letters.decode(row)) for row in mended] == texts


# The counts that it has to beat


def test_counted_neighbours_by_hand():
    counts = Neighbours(reach=1).fit(["aba", "aba", "aca", "dcd"])
    assert counts.restore("a?a") == "aba"  # twice b between two a, once c
    assert counts.restore("d?d") == "dcd"
    assert counts.restore("?b") == "ab"  # the first letter of a name, before b
    assert counts.restore("d??") == "dca"  # c after d most often; at the end of a name an a
    assert counts.restore("abc") == "abc"


def test_counted_neighbours_know_what_they_have_read():
    counts = Neighbours(reach=3).fit(PARTS.train.texts)
    rng = np.random.default_rng(0)
    for texts, share, least in ((PARTS.train.texts[::40], 0.01, 0.8), (PARTS.test.texts, 0.25, 0.25)):
        right = total = 0
        for text in texts:
            damaged = hide(text, rng, share, longest=1)
            found = counts.restore(damaged)
            assert GAP not in found
            right += sum(a == b for a, b, gap in zip(found, text, damaged, strict=True) if gap == GAP)
            total += damaged.count(GAP)
        assert right / total > least


# The model


@pytest.fixture
def ithaca():
    return Ithaca(IthacaConfig(12, 10, 3, 2, d_model=8, heads=2, d_ff=16, layers=3, context=40, radius=1), gap=4).eval()


def some(time, batch=2):
    letters = torch.randint(5, 12, (batch, time))
    return Gapped(letters, torch.randint(4, 10, (batch, time)), torch.ones_like(letters, dtype=torch.bool))


def test_the_heads_say_one_thing_per_gap_and_per_text(ithaca):
    gapped = some(7)
    gapped.letters[0, [2, 5]] = gapped.letters[1, 6] = 4
    said = ithaca(gapped)
    assert [tuple(part.shape) for part in said] == [(3, 12), (2, 3), (2, 2)]
    hidden = ithaca.read(gapped)
    assert_close(said.letters, ithaca.letter_head(hidden[[0, 0, 1], [2, 5, 6]]))
    assert_close(said.kinds, ithaca.kind_head(hidden.mean(1)))
    letters, languages, kinds = torch.tensor([5, 6, 7]), torch.tensor([0, 2]), torch.tensor([1, 1])
    by_hand = -said.letters.log_softmax(1)[range(3), letters].mean()
    by_hand = by_hand - 0.5 * said.languages.log_softmax(1)[range(2), languages].mean()
    by_hand = by_hand - 0.5 * said.kinds.log_softmax(1)[range(2), kinds].mean()
    assert_close(ithaca_loss(said, letters, languages, kinds), by_hand)


def test_filler_changes_nothing(ithaca):
    short, long = some(9), some(14)
    both = Gapped(*(torch.cat([F.pad(a, (0, 5)), b]) for a, b in zip(short, long, strict=True)))
    for alone, together in zip(ithaca(short)[1:], ithaca(both)[1:], strict=True):
        assert_close(together[:2], alone)


def test_a_letter_sees_far_only_in_the_last_layer(ithaca):
    """With a radius of 1, two of three layers let what happens at one place reach two places further."""
    gapped = some(30, batch=1)
    x = ithaca.embed(gapped).detach().requires_grad_()
    below = x
    for layer, mask in zip(ithaca.encoder.layers[:2], ithaca.masks(gapped)[:2], strict=True):
        below = layer(below, mask)
    (slope,) = torch.autograd.grad(below[0, 10].sum(), x, retain_graph=True)
    assert slope[0].abs().sum(-1).nonzero().flatten().tolist() == [8, 9, 10, 11, 12]
    (slope,) = torch.autograd.grad(ithaca.encoder.layers[2](below, ithaca.masks(gapped)[2])[0, 10].sum(), x)
    assert (slope[0].abs().sum(-1) > 0).all()


def test_words_can_be_left_out():
    gapped = some(6)
    other = gapped._replace(words=gapped.words.flip(1))
    for reads_words in (True, False):
        config = IthacaConfig(12, 10, 3, 2, d_model=8, heads=2, d_ff=16, layers=1, reads_words=reads_words)
        model = Ithaca(config, gap=4).eval()
        assert torch.equal(model(gapped).kinds, model(other).kinds) is not reads_words


def test_ithaca_refuses_what_is_too_long(ithaca):
    with pytest.raises(ValueError, match="texts have 41 places, expected at most context = 40"):
        ithaca(some(41))


def test_all_of_it_learns(ithaca):
    gapped = some(7)
    gapped.letters[:, 3] = 4
    ithaca_loss(ithaca(gapped), torch.tensor([5, 6]), torch.tensor([0, 1]), torch.tensor([0, 1])).backward()
    silent = [name for name, p in ithaca.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in silent if "key.bias" not in name]  # a bias of keys moves no softmax


# Learning


def test_it_learns_a_few_names_by_heart():
    few = PARTS.train.rows(np.arange(0, 4000, 130))
    reader = Reader.of(few.texts)
    config = IthacaConfig(len(reader.letters), len(reader.words), d_model=32, heads=2, d_ff=64, layers=2)
    model = Ithaca(config, gap=reader.gap)
    rng = np.random.default_rng(1)
    damaged = [hide(text, rng) for text in few.texts]
    before = ithaca_scores(model, reader, few, damaged)
    losses = teach_ithaca(model, reader, few, steps=150, size=16, rate=1e-2)
    after = ithaca_scores(model, reader, few, damaged)
    assert len(losses) == 150 and np.mean(losses[-10:]) < 0.3 * losses[0]
    assert before.letters < 0.2 and after.letters > 0.3 and min(after.languages, after.kinds) > 0.8
    with pytest.raises(ValueError, match="steps = 0, size = 64: expected at least 1"):
        teach_ithaca(model, reader, few, steps=0)


def test_a_batch_has_names_of_about_one_length_and_every_name_comes_once():
    batches = restoring._batches_by_length(PARTS.test, 32, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == list(range(len(PARTS.test)))
    spread = [np.ptp([len(PARTS.test.texts[row]) for row in rows]) for rows in batches]
    assert np.median(spread) <= 5


def test_the_script_counts_and_teaches(capsys):
    counted, taught = script.main(["--steps", "3", "--seeds", "1", "--width", "16", "--layers", "1", "--most", "300"])
    assert counted.letters > 0.15 and counted.languages > 0.4
    assert all(0 <= share <= 1 for share in taught)
    assert "taught" in capsys.readouterr().out
