"""Unmasking: against the algorithm written place by place, chains known exactly, and what must never happen."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course.multimodal import (
    Codebook,
    MaskedPicture,
    MaskedPictureConfig,
    masked_picture_loss,
    patchify,
    random_mask,
    still_masked,
    unmask,
    unmasking,
)

MASK = 7


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def influenced(seed, time, vocab=MASK):
    """Logits that hang on every other token, so that the order of filling in shows in the result."""
    base = torch.randn(time, vocab, generator=generator(seed))
    pull = torch.randn(time, time, MASK + 1, vocab, generator=generator(seed + 1))

    def predict(tokens):
        known = F.one_hot(tokens, MASK + 1).float()
        return base + torch.einsum("bqk,pqkv->bpv", known, pull)

    return predict


def place_by_place(predict, row, steps):
    """The likeliest token each time, in lists."""
    row, count = list(row), row.count(MASK)
    for step in range(1, steps + 1):
        hidden = [i for i, token in enumerate(row) if token == MASK]
        if not hidden:
            break
        p = predict(torch.tensor([row]))[0].softmax(-1)
        surest = sorted(hidden, key=lambda i: -float(p[i].max()))
        left = min(int(count * math.cos(math.pi / 2 * step / steps)), count - step) if step < steps else 0
        for i in surest[: len(hidden) - max(left, 0)]:
            row[i] = int(p[i].argmax())
    return row


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_it_is_the_algorithm_place_by_place(seed, time, steps):
    predict = influenced(seed, time)
    rows = torch.randint(MASK + 1, (3, time), generator=generator(seed + 2))
    rows[0] = MASK
    found = unmask(predict, rows, MASK, steps=steps, temperature=0)
    assert found.tolist() == [place_by_place(predict, row, steps) for row in rows.tolist()]


@given(st.integers(0, 10_000), st.integers(1, 12), st.just(0) | st.floats(0.05, 2), st.floats(0, 5))
@settings(deadline=None, max_examples=30)
def test_what_is_known_stays_and_no_mask_is_left(seed, steps, temperature, doubt):
    rows = torch.randint(MASK + 1, (4, 6), generator=generator(seed))
    given_before, chance = rows.clone(), generator(seed)
    path = list(
        unmasking(
            influenced(seed, 6, MASK + 1),
            rows,
            MASK,
            steps=steps,
            temperature=temperature,
            doubt=doubt,
            generator=chance,
        )
    )
    assert torch.equal(rows, given_before) and torch.equal(path[0], rows)
    for before, after in pairwise(path):
        assert torch.equal(before[before != MASK], after[before != MASK])
        grown = (before == MASK).sum(-1) - (after == MASK).sum(-1)
        assert ((grown > 0) | ~(before == MASK).any(-1)).all()  # each row settles something, until it is full
    assert not (path[-1] == MASK).any() and len(path) <= 1 + steps


@given(st.integers(1, 60), st.integers(0, 60))
def test_the_schedule_falls_to_nothing_and_never_stands_still(steps, count):
    left = [still_masked(step, steps, count) for step in range(steps + 1)]
    assert left[0] == count and left[-1] == 0
    for step, (before, after) in enumerate(pairwise(left), 1):
        assert after < before or before == 0
        assert after <= count * math.cos(math.pi / 2 * step / steps) + 1e-9
    if steps <= count:
        assert left[-2] > 0  # as many steps as asked, when there is enough to do


def test_the_schedule_begins_slowly():
    assert [still_masked(step, 8, 256) for step in (1, 4, 7)] == [251, 181, 49]  # by a pocket calculator
    for wrong in ((-1, 4, 3), (1, 0, 3), (1, 4, -3)):
        with pytest.raises(ValueError, match="expected at least 0, 1 and 0"):
            still_masked(*wrong)


def test_predictions_are_asked_once_a_step_however_many_tokens():
    calls = []

    def predict(tokens):
        calls.append(tokens.clone())
        return torch.zeros(*tokens.shape, MASK)

    unmask(predict, torch.full((2, 40), MASK), MASK, steps=5, generator=generator())
    assert [int((tokens == MASK).sum()) for tokens in calls] == [2 * still_masked(step, 5, 40) for step in range(5)]
    calls.clear()
    full = torch.tensor([[1, 2]])
    assert torch.equal(unmask(predict, full, MASK, steps=5), full) and not calls


def pairs(tokens):
    """Two places that always hold the same, A or B: known one, the other is certain; known none, both are open."""
    logits = torch.zeros(len(tokens), 2, 2)
    for i, (first, second) in enumerate(tokens.tolist()):
        for place, other in ((0, second), (1, first)):
            if other != 2:
                logits[i, place, 1 - other] = -60.0
    return logits


def test_one_step_draws_places_apart_and_two_steps_draw_them_together():
    rows = torch.full((4000, 2), 2)
    at_once, in_turn = (unmask(pairs, rows, 2, steps=steps, generator=generator()) for steps in (1, 2))
    agree = [float((found[:, 0] == found[:, 1]).float().mean()) for found in (at_once, in_turn)]
    assert agree[0] == pytest.approx(0.5, abs=0.03) and agree[1] == 1
    assert float(in_turn.float().mean()) == pytest.approx(0.5, abs=0.03)  # and as many A as B


def test_temperature_is_that_of_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0])

    def predict(tokens):
        return logits.expand(*tokens.shape, 3)

    for temperature in (0.5, 1.0, 2.0):
        drawn = unmask(predict, torch.full((1, 20_000), 3), 3, steps=1, temperature=temperature, generator=generator())
        shares = drawn.flatten().bincount(minlength=3) / 20_000
        torch.testing.assert_close(shares, (logits / temperature).softmax(-1), atol=0.015, rtol=0)


def test_a_mask_is_never_an_answer_and_doubt_changes_the_order_alone():
    def predict(tokens):
        logits = torch.zeros(*tokens.shape, MASK + 1)
        logits[..., MASK] = 50
        logits[..., 3] = 9
        logits[..., 0, 3] += 9  # the first place is the surest
        return logits

    rows, firsts = torch.full((200, 5), MASK), []
    for doubt in (0, 100):
        path = list(unmasking(predict, rows, MASK, steps=5, temperature=0, doubt=doubt, generator=generator()))
        assert (path[-1] == 3).all()
        firsts.append(float((path[1][:, 0] != MASK).float().mean()))
    assert firsts[0] == 1 and firsts[1] == pytest.approx(0.2, abs=0.1)
    for wrong in (dict(steps=0), dict(steps=1, temperature=-1), dict(steps=1, doubt=-1)):
        with pytest.raises(ValueError, match="expected ≥ 1, ≥ 0 and ≥ 0"):
            unmask(predict, rows, MASK, **wrong)


# Learning


def test_shares_hidden_are_those_of_the_cosine():
    hidden = random_mask(torch.zeros(40_000, 16, dtype=torch.long), generator())
    count = hidden.sum(-1)
    assert count.min() == 1 and count.max() == 16
    assert (hidden.float().mean(0) - hidden.float().mean()).abs().max() < 0.01  # no place is spared
    for share in (0.25, 0.5, 0.75):  # P(cos(πu/2) ≤ s) = 1 − 2 arccos(s)/π
        expected = 1 - 2 * math.acos(share) / math.pi
        assert float((count <= 16 * share).float().mean()) == pytest.approx(expected, abs=0.01)


def test_the_loss_is_taken_at_the_masks_alone_and_a_tenth_of_the_labels_is_hidden():
    seen = {}

    def model(tokens, labels):
        seen.update(tokens=tokens, labels=labels)
        return F.one_hot(tokens.clamp(max=MASK - 1), MASK).float() * 50  # right wherever it is not asked

    tokens = torch.randint(MASK - 1, (9000, 6), generator=generator(1))  # 6 never occurs, and is said of each mask
    labels = torch.arange(9000) % 3
    loss = masked_picture_loss(model, tokens, labels, mask_token=MASK, no_label=3, generator=generator())
    assert float(loss) == pytest.approx(50, abs=1e-3)
    assert torch.equal(seen["tokens"][seen["tokens"] != MASK], tokens[seen["tokens"] != MASK])
    assert float((seen["labels"] == 3).float().mean()) == pytest.approx(0.1, abs=0.02)
    with pytest.raises(ValueError, match=r"drop = -0.1, expected 0 to 1"):
        masked_picture_loss(model, tokens, labels, mask_token=MASK, no_label=3, drop=-0.1)


def test_the_network_is_torchs_encoder_with_the_label_in_front():
    torch.manual_seed(0)
    config = MaskedPictureConfig(6, 4, 3, d_model=8, heads=2, d_ff=16, layers=2)
    model, theirs = MaskedPicture(config), []
    for layer in model.layers.layers:
        one = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True)
        one.self_attn = layer.attention.sublayer.to_torch()
        feed = layer.feed_forward.sublayer
        one.linear1, one.linear2 = feed.wider, feed.narrower
        theirs.append(one)
    tokens, labels = torch.tensor([[0, 6, 5, 1], [6, 6, 6, 6]]), torch.tensor([2, 3])
    places = torch.arange(1, 5)
    x = torch.stack([model.labels(labels), *(model.tokens(tokens[:, i - 1]) + model.positions[i - 1] for i in places)])
    x = x.transpose(0, 1)
    for one in theirs:
        x = one.train()(x)
    expected = model.output(F.layer_norm(x[:, 1:], (8,)))
    torch.testing.assert_close(model(tokens, labels), expected)
    with pytest.raises(ValueError, match="tokens has 3 places, expected 4"):
        model(tokens[:, :3], labels)


def test_it_learns_what_hangs_together():
    """Pictures of four equal tokens: after learning, those drawn in four steps are nearly all of one kind."""
    torch.manual_seed(0)
    model, chance = MaskedPicture(MaskedPictureConfig(4, 4, 2, d_model=16, heads=2, d_ff=32, layers=1)), generator()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    labels = torch.arange(128) % 2
    tokens = (torch.arange(128) % 4)[:, None].expand(-1, 4)  # label 0: all 0 or all 2; label 1: all 1 or all 3
    for _ in range(120):
        optimiser.zero_grad()
        masked_picture_loss(model, tokens, labels, mask_token=4, no_label=2, generator=chance).backward()
        optimiser.step()
    asked = torch.arange(200) % 2
    empty = torch.full((200, 4), 4)
    drawn = unmask(lambda tokens: model(tokens, asked), empty, 4, steps=4, generator=chance)
    assert not drawn.requires_grad
    alike = (drawn == drawn[:, :1]).all(-1)
    assert float(alike.float().mean()) > 0.9 and float((drawn[:, 0] % 2 == asked).float().mean()) > 0.9


# The codebook


def test_words_are_the_nearest_and_decoding_puts_them_in_place():
    pictures = torch.rand(30, 2, 4, 6, generator=generator())
    book = Codebook.learn(pictures, vocab=9, patch=2)
    tokens, patches = book.encode(pictures), patchify(pictures, 2).numpy()
    distance = ((patches[:, :, None] - book.words.numpy()) ** 2).sum(-1)
    np.testing.assert_array_equal(tokens.numpy(), distance.argmin(-1))
    back = book.decode(tokens, 4, 6)
    assert torch.equal(book.encode(back), tokens)  # a picture of words is its own nearest
    np.testing.assert_allclose(((back - pictures) ** 2).sum(), distance.min(-1).sum(), rtol=1e-5)
    means = [patches[(tokens == word).numpy()].mean(0) for word in range(9)]
    np.testing.assert_allclose(
        book.words.numpy(), means, atol=2e-2
    )  # k-means: a word is the mean of what it stands for
