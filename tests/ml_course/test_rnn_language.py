"""Language models and writing with them: n-grams by brute force, filters by hand, CTC against torch and enumeration."""

import itertools
import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course import rnn
from ml_course.rnn import CharLM, NGram, Windows

texts = st.lists(st.integers(0, 3), min_size=4, max_size=40).map(np.array)
smoothings = pytest.mark.parametrize("smoothing", ["witten-bell", "kneser-ney"])


# n-grams


def slow_ngram(tokens, order, vocab, smoothing):
    """P(token | context) straight from the definitions, with dictionaries and recursion."""
    counts = {k: Counter(tuple(tokens[i : i + k]) for i in range(len(tokens) - k + 1)) for k in range(1, order + 1)}
    if smoothing == "kneser-ney":
        for k in range(1, order):
            before = defaultdict(set)
            for gram in counts[k + 1]:
                before[gram[1:]].add(gram[0])
            counts[k] = Counter({gram: len(kinds) for gram, kinds in before.items()})

    def probability(context, token):
        below = probability(context[1:], token) if context else 1 / vocab
        table = counts[len(context) + 1]
        followers = [count for gram, count in table.items() if gram[:-1] == context]
        if not followers:
            return below
        total, kinds, count = sum(followers), len(followers), table[(*context, token)]
        if smoothing == "witten-bell":
            return (count + kinds * below) / (total + kinds)
        once, twice = (sum(c == n for c in table.values()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once else 0.5
        return max(count - discount, 0) / total + discount * kinds / total * below

    return probability


@smoothings
@settings(max_examples=40, deadline=None)
@given(texts, st.integers(1, 4))
def test_ngrams_equal_the_definition(smoothing, tokens, order):
    model = NGram(order, vocab=4, smoothing=smoothing).fit(tokens)
    slow = slow_ngram(tokens.tolist(), order, 4, smoothing)
    asked = np.array([2, 0, 3, 3, 1, 0, 0, 2])
    expected = [slow(tuple(asked[max(0, i - order + 1) : i].tolist()), int(asked[i])) for i in range(len(asked))]
    np.testing.assert_allclose(model.probabilities(asked), expected, rtol=1e-12)
    assert model.nats_per_token(asked) == pytest.approx(-np.mean(np.log(expected[1:])))
    for end in range(len(asked)):
        together = [slow(tuple(asked[max(0, end - order + 1) : end].tolist()), token) for token in range(4)]
        np.testing.assert_allclose(model.distribution(asked[:end]), together, rtol=1e-12)


@smoothings
@settings(deadline=None)
@given(texts, st.integers(1, 4), st.lists(st.integers(0, 5), max_size=5))
def test_ngrams_sum_to_one_after_any_context_seen_or_not(smoothing, tokens, order, context):
    model = NGram(order, vocab=6, smoothing=smoothing).fit(tokens)  # tokens 4 and 5 never occur
    distribution = model.distribution(np.array(context, dtype=int))
    assert distribution.sum() == pytest.approx(1, abs=1e-12) and (distribution > 0).all()


def test_ngrams_of_longer_contexts_know_more():
    tokens = np.random.default_rng(0).integers(3, size=4000)
    tokens[2::3] = (
        tokens[::3][: len(tokens[2::3])] + tokens[1::3][: len(tokens[2::3])]
    ) % 3  # the sum of the two before
    train, test = tokens[:3000], tokens[3000:]
    for smoothing in rnn.ngrams.SMOOTHINGS:
        losses = [NGram(order, 3, smoothing).fit(train).nats_per_token(test) for order in (1, 3)]
        assert losses[1] < losses[0] - 0.05


def test_ngrams_name_what_is_wrong():
    with pytest.raises(ValueError, match="smoothing = 'none', expected 'witten-bell' or 'kneser-ney'"):
        NGram(2, 3, "none")
    with pytest.raises(ValueError, match="order = 0"):
        NGram(0, 3)
    with pytest.raises(ValueError, match=r"1000\*\*7 does not fit"):
        NGram(7, 1000)
    model = NGram(3, 3)
    with pytest.raises(ValueError, match=r"call fit\(tokens\) first"):
        model.distribution(np.array([0]))
    with pytest.raises(ValueError, match="tokens has 2 entries, expected at least order = 3"):
        model.fit(np.array([0, 1]))
    for wrong in ([0, 1, 3], [0, 1, -1]):
        with pytest.raises(ValueError, match="expected 0 to 2"):
            model.fit(np.array(wrong))


# The language model of characters


def test_windows_give_every_token_once_and_in_order():
    tokens = torch.arange(103)
    windows = list(Windows(tokens, batch=4, length=7))
    assert len(windows) == len(Windows(tokens, batch=4, length=7)) == 4
    assert [w.first for w in windows] == [True, False, False, False]
    streams = torch.cat([w.inputs for w in windows], dim=1)
    assert torch.equal(streams, torch.arange(100).reshape(4, 25)[:, :-1])
    assert torch.equal(torch.cat([w.targets for w in windows], dim=1), streams + 1)
    with pytest.raises(ValueError, match="tokens has 7 entries, too few for batch = 4"):
        Windows(tokens[:7], batch=4, length=2)
    with pytest.raises(ValueError, match="length = 0"):
        Windows(tokens, batch=4, length=0)


def test_loss_carries_the_state_but_not_the_gradient():
    model, tokens = CharLM(vocab=5, d_model=3, hidden=4).double(), torch.randint(5, (2 * 13,))
    loss_of, losses = rnn.CarriedLoss(), []
    for window in Windows(tokens, batch=2, length=4):
        losses.append(loss_of(model, window))
    rows = tokens.reshape(2, 13)
    logits = model(rows[:, :-1])
    whole = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
    assert_close(torch.stack(losses).mean(), whole)  # three windows of equal size
    # The gradient of the last window alone is that from a state that is a constant.
    constant = model.recurrent(model.embedding(rows[:, :8]))[1].detach()
    last = F.cross_entropy(model.step(rows[:, 8:12], constant)[0].flatten(0, 1), rows[:, 9:13].flatten())
    for ours, theirs in zip(
        torch.autograd.grad(losses[-1], list(model.parameters())),
        torch.autograd.grad(last, list(model.parameters())),
        strict=True,
    ):
        assert_close(ours, theirs)
    again = loss_of(model, next(iter(Windows(tokens, batch=2, length=4))))
    assert torch.equal(again, losses[0])  # a new pass begins with a new state


@pytest.mark.parametrize("length", [1, 3, 50])
def test_nats_do_not_depend_on_how_the_text_is_cut(length):
    model, tokens = CharLM(vocab=5, d_model=3, hidden=4, layers=2).double().eval(), torch.randint(5, (20,))
    expected = F.cross_entropy(model(tokens[None, :-1])[0], tokens[1:])
    assert rnn.nats_per_token(model, tokens, length) == pytest.approx(expected.item())


def test_charlm_dropout_is_off_in_evaluation_and_other_layers_may_take_its_place():
    made = []

    def torchs(features, hidden, **options):
        made.append(options)
        return nn.RNN(features, hidden, options["layers"], dropout=options["dropout"], batch_first=True)

    model = CharLM(5, 3, 4, recurrent=torchs, layers=2, dropout=0.5)
    tokens = torch.randint(5, (2, 6))
    assert made == [{"layers": 2, "dropout": 0.5}] and model(tokens).shape == (2, 6, 5)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


@given(st.floats(0.01, 20))
def test_bits_and_perplexity_are_one_measure(nats):
    assert 2 ** rnn.bits(nats) == pytest.approx(rnn.perplexity(nats))


# Writing


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_temperature_scales_and_keeps_the_dtype(dtype):
    logits = torch.randn(2, 5).to(dtype)
    assert torch.equal(rnn.temperature(logits, 0.5), logits * 2)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    sharper = rnn.temperature(p.log(), 0.5).softmax(-1)
    assert_close(sharper, p**2 / (p**2).sum())
    for wrong in (0, -1.0):
        with pytest.raises(ValueError, match=r"degree = .*, expected a positive number"):
            rnn.temperature(logits, wrong)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8), st.integers(1, 10))
def test_top_k_keeps_the_first_k_of_the_sorted(logits, k):
    given_logits = torch.tensor(logits, dtype=torch.float64)
    kept = rnn.top_k(given_logits, k)
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:k]
    for i, value in enumerate(logits):
        assert kept[i] == (value if i in order else -math.inf)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.floats(0.01, 1))
def test_top_p_keeps_the_smallest_set_that_reaches_p(shares, p):
    probability = np.array(shares) / sum(shares)
    kept = rnn.top_p(torch.tensor(probability).log(), p).isfinite().numpy()
    order = np.argsort(-probability, kind="stable")
    running = np.cumsum(probability[order])
    if np.abs(running - p).min() < 1e-9:
        return  # rounding decides
    count = min(int((running < p).sum()) + 1, len(shares))
    assert set(np.flatnonzero(kept)) == set(order[:count])


def test_top_p_on_batches_ties_and_extremes():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [9.0, 1.0, 1.0, 1.0]])
    assert rnn.top_p(logits, 0.5).isfinite().tolist() == [[True, True, False, False], [True, False, False, False]]
    assert rnn.top_p(logits, 1.0).isfinite().all() and rnn.top_p(logits, 1e-9).isfinite().sum() == 2
    masked = torch.tensor([[-torch.inf, 2.0, 1.0]])
    assert rnn.top_p(masked, 0.9)[0, 0] == -torch.inf
    many = torch.zeros(20_000, dtype=torch.bfloat16)  # 1/20,000 added up in bfloat16 would stop far below one half
    assert rnn.top_p(many, 0.5).isfinite().sum() == pytest.approx(10_000, abs=10)
    for wrong in (0, -0.1, 1.01):
        with pytest.raises(ValueError, match="expected 0 < p ≤ 1"):
            rnn.top_p(logits, wrong)
    with pytest.raises(ValueError, match="k = 0, expected at least 1"):
        rnn.top_k(logits, 0)
    before = logits.clone()
    rnn.top_p(logits, 0.3), rnn.top_k(logits, 1), rnn.temperature(logits, 2.0)
    assert torch.equal(logits, before)


def test_sampling_draws_by_the_filtered_probabilities(device):
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05], device=device).log()
    generator = torch.Generator(device).manual_seed(0)
    many = logits.expand(20_000, 4)

    def shares(**options):
        drawn = rnn.sampling(**options)(many, generator)
        return (torch.bincount(drawn, minlength=4) / len(drawn)).cpu()

    torch.testing.assert_close(shares(), torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.02, rtol=0)
    torch.testing.assert_close(shares(k=2), torch.tensor([0.625, 0.375, 0, 0]), atol=0.02, rtol=0)
    torch.testing.assert_close(shares(p=0.9), torch.tensor([0.5, 0.3, 0.15, 0]) / 0.95, atol=0.02, rtol=0)
    squares = torch.tensor([0.5, 0.3, 0.15, 0.05]) ** 2
    torch.testing.assert_close(shares(degree=0.5), squares / squares.sum(), atol=0.02, rtol=0)
    # Temperature first: at degree 0.5 two tokens reach 0.9, at degree 1 it takes three.
    torch.testing.assert_close(shares(degree=0.5, p=0.9)[2:], torch.zeros(2), atol=0, rtol=0)


def table_model(vocab=6):
    """Any callable will do: the next token's logits depend on the last one."""
    table = torch.randn(vocab, vocab)
    return lambda tokens: table[tokens]


def test_generate_equals_a_loop_written_out():
    model = CharLM(vocab=7, d_model=3, hidden=5).eval()
    prompt = torch.randint(7, (3, 4))
    tokens = prompt
    for _ in range(6):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(rnn.generate(model, prompt, 6), tokens)
    assert torch.equal(rnn.generate(model.step, prompt, 6, stateful=True), tokens)
    assert torch.equal(rnn.generate(model, prompt, 0), prompt)


def test_generate_with_one_seed_draws_the_same_and_prompts_stay():
    model, prompt = table_model(), torch.tensor([[1, 2], [3, 4]])
    first, second = (
        rnn.generate(model, prompt, 20, choose=rnn.sampling(), generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    other = rnn.generate(model, prompt, 20, choose=rnn.sampling(), generator=torch.Generator().manual_seed(4))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(first[:, :2], prompt) and first.shape == (2, 22)


def test_the_end_token_stops_its_row_and_the_last_one_stops_all():
    def count_down(tokens):
        return F.one_hot((tokens - 1).clamp(min=0), 10).float()

    calls = []

    def counted(tokens):
        calls.append(tokens.shape)
        return count_down(tokens)

    written = rnn.generate(counted, torch.tensor([[3], [5], [1]]), 100, eos=0, filler=9)
    assert written.tolist() == [[3, 2, 1, 0, 9, 9], [5, 4, 3, 2, 1, 0], [1, 0, 9, 9, 9, 9]]
    assert len(calls) == 5
    assert rnn.generate(count_down, torch.tensor([[3]]), 5).tolist() == [[3, 2, 1, 0, 0, 0]]  # nothing ends a row


def test_a_stateful_model_is_given_only_what_is_new():
    seen = []

    def model(tokens, state):
        seen.append((tokens.shape[1], state))
        return torch.zeros(*tokens.shape, 4), (state or 0) + tokens.shape[1]

    rnn.generate(model, torch.zeros(2, 3, dtype=torch.long), 4, stateful=True)
    assert seen == [(3, None), (1, 3), (1, 4), (1, 5)]


def test_generate_names_what_is_wrong():
    model, prompt = table_model(), torch.tensor([[1]])
    with pytest.raises(ValueError, match="steps = -1"):
        rnn.generate(model, prompt, -1)
    with pytest.raises(ValueError, match=r"prompt has shape \(1, 0\)"):
        rnn.generate(model, prompt[:, :0], 3)
    with pytest.raises(ValueError, match=r"logits of shape \(1, 6\), expected \(1, time, vocab\)"):
        rnn.generate(lambda tokens: model(tokens)[:, -1], prompt, 3)


# CTC


@pytest.mark.parametrize("labels", [[], [1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("time", [1, 3, 5])
def test_ctc_equals_the_sum_over_all_paths(labels, time):
    log_probs = torch.randn(1, time, 3, dtype=torch.float64).log_softmax(-1)
    paths = (path for path in itertools.product(range(3), repeat=time) if rnn.collapse(path) == labels)
    expected = sum(math.exp(sum(log_probs[0, t, label].item() for t, label in enumerate(path))) for path in paths)
    ours = rnn.ctc_log_likelihood(log_probs, torch.tensor([labels], dtype=torch.long).reshape(1, -1))
    assert ours.exp().item() == pytest.approx(expected, rel=1e-10, abs=0)


def test_ctc_equals_torchs_in_values_and_gradients(device):
    logits = torch.randn(4, 12, 6, dtype=torch.float64, device=device).requires_grad_()
    labels = torch.randint(1, 6, (4, 5), device=device)
    labels[0, 1] = labels[0, 0]
    lengths, label_lengths = torch.tensor([12, 9, 12, 7]), torch.tensor([5, 3, 1, 4])
    ours = -rnn.ctc_log_likelihood(logits.log_softmax(-1), labels, lengths.to(device), label_lengths.to(device))
    theirs = F.ctc_loss(
        logits.log_softmax(-1).transpose(0, 1), labels, lengths.to(device), label_lengths.to(device), reduction="none"
    )
    assert_close(ours, theirs)
    (mine,), (other,) = (torch.autograd.grad(loss.sum(), logits) for loss in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_ctc_with_another_blank_and_labels_that_do_not_fit():
    log_probs = torch.randn(1, 4, 3).log_softmax(-1)
    swapped = log_probs[..., [2, 0, 1]]  # class 2 → 0, so that 0 → 1 and 1 → 2
    labels = torch.tensor([[0, 1]])
    assert_close(rnn.ctc_log_likelihood(log_probs, labels, blank=2), rnn.ctc_log_likelihood(swapped, labels + 1))
    too_long = rnn.ctc_log_likelihood(log_probs, torch.tensor([[1, 1, 1]]))  # needs five steps
    assert too_long.item() == -math.inf
    with pytest.raises(ValueError, match="labels holds the blank, 0"):
        rnn.ctc_log_likelihood(log_probs, torch.tensor([[1, 0]]))
    with pytest.raises(ValueError, match="not in 0 … 2"):
        rnn.ctc_log_likelihood(log_probs, torch.tensor([[3]]))
    with pytest.raises(ValueError, match=r"lengths has .*expected numbers from 1 to time = 4"):
        rnn.ctc_log_likelihood(log_probs, labels + 1, lengths=torch.tensor([5]))
    with pytest.raises(ValueError, match=r"label_lengths has .*from 0 to labels = 2"):
        rnn.ctc_log_likelihood(log_probs, labels + 1, label_lengths=torch.tensor([3]))


def test_greedy_labels_and_their_path():
    one_hot = F.one_hot(torch.tensor([[0, 1, 1, 0, 1, 2], [0, 0, 0, 0, 0, 0]]), 3).float()
    assert rnn.greedy_labels(one_hot.log()) == [[1, 1, 2], []]
    assert rnn.greedy_labels(one_hot.log(), blank=1) == [[0, 0, 2], [0]]
