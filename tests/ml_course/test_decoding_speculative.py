"""Speculative decoding: exact by algebra, by chance over many draws, token for token when greedy."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_decoding import language_model

from ml_course import decoding
from ml_course.decoding import ModelDraft, NGramDraft, Reader, distribution, speculate, verify
from ml_course.rnn import NGram, generate, sampling
from ml_course.transformer import LMConfig, TransformerLM


def random_rows(*shape, generator, zeros=False):
    """Distributions over the last axis, some of their entries zero."""
    weights = torch.rand(*shape, generator=generator, dtype=torch.float64)
    if zeros:
        weights = weights * (torch.rand(*shape, generator=generator) > 0.4)
        weights[..., 0] += 0.05
    return weights / weights.sum(-1, keepdim=True)


def chi_squared(drawn, expected):
    """How unusual the counts of draws 0, 1, 2 … are when `expected` is their distribution: a p-value."""
    counts = np.bincount(np.asarray(drawn), minlength=len(expected))
    expected = np.asarray(expected) * len(drawn)
    assert counts[expected < 1e-9].sum() == 0
    rare = expected < 8  # together, since χ² holds for counts that are not too small
    counts, expected = (np.append(x[~rare], x[rare].sum()) for x in (counts, expected))
    return stats.chisquare(counts[expected > 1e-9], expected[expected > 1e-9]).pvalue


# The rule by itself.


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 7), st.booleans(), st.integers(0, 2**31))
def test_accepted_and_residual_together_are_the_target(vocab, zeros, seed):
    generator = torch.Generator().manual_seed(seed)
    p, q = (random_rows(4, vocab, generator=generator, zeros=zeros) for _ in range(2))
    accepted = torch.minimum(p, q)
    together = accepted + (1 - accepted.sum(-1, keepdim=True)) * decoding.residual_distribution(p, q)
    torch.testing.assert_close(together, p)
    alpha = decoding.acceptance(p, q)
    torch.testing.assert_close(alpha, 1 - (p - q).abs().sum(-1) / 2)
    assert ((alpha >= 0) & (alpha <= 1 + 1e-12)).all()


def test_residual_of_equals_is_the_target_and_of_nothing_too():
    p = torch.tensor([[0.2, 0.8], [1.0, 0.0]])
    assert torch.equal(decoding.residual_distribution(p, p), p)
    assert torch.equal(decoding.residual_distribution(p, torch.zeros_like(p)), p)
    assert torch.equal(
        decoding.residual_distribution(p, torch.tensor([[0.5, 0.5], [0.0, 1.0]])),
        torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
    )


@pytest.mark.parametrize("ahead", [1, 2, 3])
@pytest.mark.parametrize("zeros", [False, True])
def test_verified_tokens_are_distributed_as_the_target(ahead, zeros):
    """Targets and drafts whose next tokens depend on the last one: 60,000 draws, χ² over all texts of ahead tokens."""
    generator = torch.Generator().manual_seed(10 * ahead + zeros)
    vocab, draws = 3, 60_000
    p_after, q_after = (random_rows(vocab, vocab, generator=generator, zeros=zeros) for _ in range(2))
    last = torch.zeros(draws, dtype=torch.long)
    drafted, of_q = [], []
    for _ in range(ahead):
        of_q.append(q_after[last])
        last = torch.multinomial(of_q[-1], 1, generator=generator)[:, 0]
        drafted.append(last)
    drafted, of_q = torch.stack(drafted, 1), torch.stack(of_q, 1)
    of_p = p_after[torch.cat([torch.zeros(draws, 1, dtype=torch.long), drafted], 1)]
    verdict = verify(of_p, of_q, drafted, generator)
    text = torch.cat([drafted, torch.zeros(draws, 1, dtype=torch.long)], 1)
    text.scatter_(1, verdict.accepted[:, None], verdict.token[:, None])
    # What follows the verdict is drawn from the target, as the next rounds would.
    for place in range(1, ahead + 1):
        fresh = torch.multinomial(p_after[text[:, place - 1]], 1, generator=generator)[:, 0]
        text[:, place] = torch.where(place > verdict.accepted, fresh, text[:, place])
    number = (text * vocab ** torch.arange(ahead, -1, -1)).sum(1)
    expected = [
        torch.stack([p_after[a, b] for a, b in itertools.pairwise((0, *way))]).prod().item()
        for way in itertools.product(range(vocab), repeat=ahead + 1)
    ]
    assert chi_squared(number, expected) > 1e-3
    # The same counts do refuse a rule that errs: here every guess accepted.
    wrong = (drafted * vocab ** torch.arange(ahead - 1, -1, -1)).sum(1)
    marginal = np.asarray(expected).reshape(-1, vocab).sum(1)
    counts = np.bincount(wrong, minlength=len(marginal))
    assert np.abs(counts / draws - marginal).max() > 0.02


def test_accepted_counts_follow_the_formula():
    generator = torch.Generator().manual_seed(1)
    p, q = (random_rows(5, generator=generator) for _ in range(2))
    alpha, ahead, draws = decoding.acceptance(p, q).item(), 4, 100_000
    drafted = torch.multinomial(q.expand(draws, 5), ahead, replacement=True, generator=generator)
    verdict = verify(p.expand(draws, ahead + 1, 5), q.expand(draws, ahead, 5), drafted, generator)
    tokens = (verdict.accepted + 1).double()
    assert abs(tokens.mean() - decoding.expected_tokens(alpha, ahead)) < 5 * tokens.std() / draws**0.5
    # And with a generator of the same state, the same verdict.
    again = [
        verify(p.expand(9, 5, 5), q.expand(9, 4, 5), drafted[:9], torch.Generator().manual_seed(3)) for _ in range(2)
    ]
    assert torch.equal(again[0].token, again[1].token) and torch.equal(again[0].accepted, again[1].accepted)


def test_accepted_is_the_rule_one_by_one():
    generator = torch.Generator().manual_seed(2)
    p, q = (random_rows(50, 4, 6, generator=generator) for _ in range(2))
    drafted = torch.randint(6, (50, 4), generator=generator)
    coins = torch.rand(50, 4, generator=generator, dtype=torch.float64)
    expected = []
    for row in range(50):
        stay = 0
        while stay < 4 and coins[row, stay] < p[row, stay, drafted[row, stay]] / q[row, stay, drafted[row, stay]]:
            stay += 1
        expected.append(stay)
    assert decoding.accepted(p, q, drafted, coins).tolist() == expected and set(expected) == {0, 1, 2, 3, 4}
    # A coin that equals p/q rejects, so that p = 0 always does; p = q always accepts.
    half, zero = torch.tensor([[[0.25, 0.75]]]), torch.tensor([[[0.0, 1.0]]])
    even, first = torch.tensor([[[0.5, 0.5]]]), torch.tensor([[0]])
    assert decoding.accepted(half, even, first, torch.tensor([[0.5]])).item() == 0
    assert decoding.accepted(zero, even, first, torch.tensor([[0.0]])).item() == 0
    assert decoding.accepted(even, even, first, torch.tensor([[0.999999]])).item() == 1


def test_verify_at_its_limits():
    eye = torch.eye(4)
    p = eye[[1, 2, 3]][None]
    for guesses, accepted, token in (([1, 2], 2, 3), ([1, 0], 1, 2), ([0, 2], 0, 1)):
        verdict = verify(p, eye[guesses][None], torch.tensor([guesses]))
        assert verdict.accepted.item() == accepted and verdict.token.item() == token
    none = verify(p[:, :1], p[:, :0], torch.zeros(1, 0, dtype=torch.long))
    assert none.accepted.item() == 0 and none.token.item() == 1
    with pytest.raises(ValueError, match="p has 2 places for 2 drafted tokens, expected 3"):
        verify(p[:, :2], p[:, :2], torch.tensor([[1, 2]]))


def test_distribution_is_what_sampling_draws_from():
    logits = torch.randn(3, 9) * 2
    for arguments in ({"degree": 0.7}, {"k": 3}, {"p": 0.6}, {"degree": 1.5, "k": 5, "p": 0.8}):
        probabilities = distribution(**arguments)(logits)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(3))
        ours = torch.multinomial(probabilities, 1, generator=torch.Generator().manual_seed(4))[:, 0]
        assert torch.equal(ours, sampling(**arguments)(logits, torch.Generator().manual_seed(4)))
    assert torch.equal(distribution(0)(logits).argmax(-1), logits.argmax(-1))
    assert distribution()(logits.bfloat16()).dtype == torch.float32


# Whole texts.


def small_draft():
    return TransformerLM(LMConfig(vocab=13, d_model=8, heads=2, d_ff=8, layers=1, context=64)).double().eval()


def counts():
    return NGram(3, 13).fit(np.random.default_rng(0).integers(13, size=200))


def noisy(model, generator, by=0.2):
    """A draft near the target: its weights a little shaken, so that some guesses are accepted and some not."""
    made = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * by * parameter.std().nan_to_num())
    return made


@pytest.mark.parametrize("ahead", [1, 3, 7])
def test_greedy_speculation_writes_what_the_target_writes(ahead):
    target, greedy = decoding.grouped(language_model()), distribution(0)  # else it would be copied for each text
    near = noisy(target, torch.Generator().manual_seed(0))
    prompt = torch.randint(13, (5,))
    expected = generate(target, prompt[None], 24)[0]
    drafts = {
        "itself": ModelDraft(target, greedy),
        "near": ModelDraft(near, greedy),
        "near, drawn": ModelDraft(near, distribution(1.0)),
        "stranger": ModelDraft(small_draft(), greedy),
        "counts": NGramDraft(counts(), greedy),
        "counts, drawn": NGramDraft(counts(), distribution(1.0)),
    }
    found = {name: speculate(target, draft, prompt, 24, ahead=ahead) for name, draft in drafts.items()}
    for name, result in found.items():
        assert torch.equal(result.tokens, expected), name
        assert result.calls + result.accepted == 24
    assert found["itself"].acceptance == 1 and found["itself"].calls == -(-24 // (ahead + 1))
    assert 0 < found["near"].acceptance < 1  # so that rewinding has been tried
    again = speculate(target, drafts["near"], prompt, 24, ahead=ahead)
    assert torch.equal(again.tokens, expected)  # a draft can be used for the next text


def test_the_cache_forgets_rejected_guesses():
    target, prompt = language_model(), torch.randint(13, (4,))
    lengths = []

    class Watched(Reader):
        def __call__(self, tokens, kept):
            logits = super().__call__(tokens, kept)
            lengths.append((len(tokens), len(self.caches[0])))
            torch.testing.assert_close(logits, target(tokens[None])[0, -len(logits) :])  # as if read anew
            return logits

    reader = Watched(target)
    reader(prompt, 0)
    reader(torch.cat([prompt, torch.tensor([1, 2, 3])]), 4)
    reader(torch.cat([prompt, torch.tensor([1, 5])]), 5)  # 2 and 3 were rejected
    reader(torch.cat([prompt, torch.tensor([1, 5, 5, 5])]), 99)  # kept counts no more than was read
    assert lengths == [(4, 4), (7, 7), (6, 6), (8, 8)]
    with pytest.raises(ValueError, match="kept = 4 of 4 tokens, expected at least one to read"):
        reader(prompt, 4)


@pytest.mark.parametrize("ahead", [1, 3])
@pytest.mark.parametrize("kind", ["model", "counts"])
def test_sampled_speculation_is_distributed_as_the_target(ahead, kind):
    """300 texts of three tokens over a vocabulary of three, whole loop with its caches, χ² against the target."""
    config = LMConfig(vocab=3, d_model=4, heads=2, d_ff=4, layers=1, context=8)
    target = decoding.grouped(TransformerLM(config).double().eval())
    small = TransformerLM(LMConfig(vocab=3, d_model=2, heads=1, d_ff=2, layers=1, context=8)).double().eval()
    with torch.no_grad():
        for model in (target, small):
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.7)
    choosing = distribution(0.8)
    if kind == "model":
        draft = ModelDraft(small, choosing)
    else:
        draft = NGramDraft(NGram(2, 3).fit(np.array([0, 1, 0, 2, 2, 1, 0, 0, 1])), choosing)
    prompt, generator = torch.tensor([1, 0]), torch.Generator().manual_seed(ahead)
    ways = list(itertools.product(range(3), repeat=3))
    expected = []
    for way in ways:
        text = torch.cat([prompt, torch.tensor(way)])
        rows = choosing(target(text[None])[0, 1:-1])
        expected.append(rows.gather(1, torch.tensor(way)[:, None]).prod().item())
    drawn, calls = [], 0
    for _ in range(300):
        result = speculate(target, draft, prompt, 3, ahead=ahead, choosing=choosing, generator=generator)
        drawn.append(ways.index(tuple(result.tokens[2:].tolist())))
        calls += result.calls
    assert calls < 3 * 300  # some guesses were of use
    assert chi_squared(drawn, expected) > 1e-3


def test_speculation_ends_where_it_is_told():
    target = language_model()
    prompt = torch.tensor([3, 1])
    expected = generate(target, prompt[None], 30)[0]
    eos = int(expected[12])
    until = int((expected[2:] == eos).nonzero()[0]) + 3
    for ahead in (1, 3, 6):
        draft = ModelDraft(noisy(target, torch.Generator().manual_seed(1)), distribution(0))
        result = speculate(target, draft, prompt, 30, ahead=ahead, eos=eos)
        assert torch.equal(result.tokens, expected[:until])
    assert torch.equal(speculate(target, draft, prompt, 0).tokens, prompt)
    assert len(speculate(target, draft, prompt, 1, ahead=5).tokens) == 3
    assert np.isnan(speculate(target, draft, prompt, 1, ahead=5).acceptance)  # nothing was guessed
    with pytest.raises(ValueError, match="prompt is empty"):
        speculate(target, draft, prompt[:0], 3)
    for wrong in ({"steps": -1}, {"steps": 3, "ahead": 0}):
        with pytest.raises(ValueError, match="expected steps from 0 and ahead from 1 on"):
            speculate(target, draft, prompt, **wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_speculation_in_other_dtypes(dtype, device):
    model = TransformerLM(LMConfig.TINY).to(device, dtype).eval()
    draft = ModelDraft(TransformerLM(LMConfig.TINY).to(device, dtype).eval(), distribution())
    generator = torch.Generator(device).manual_seed(0)
    prompt = torch.tensor([1, 2], device=device)
    result = speculate(model, draft, prompt, 10, choosing=distribution(), generator=generator)
    assert len(result.tokens) == 12 and result.tokens.dtype == torch.long
    counted = NGramDraft(NGram(2, 20).fit(np.arange(20)), distribution())
    assert len(speculate(model, counted, prompt, 10, choosing=distribution(), generator=generator).tokens) == 12


# What it is worth.


def test_expected_tokens_are_the_sum_of_powers():
    for alpha in (0, 0.3, 0.95, 1):
        for ahead in (0, 1, 5):
            assert decoding.expected_tokens(alpha, ahead) == pytest.approx(sum(alpha**i for i in range(ahead + 1)))
            one = decoding.expected_speed_up(alpha, ahead, cost=0.1, wider=1.2)
            assert one == pytest.approx(sum(alpha**i for i in range(ahead + 1)) / (0.1 * ahead + 1.2))
    for wrong in ((-0.1, 2), (1.1, 2), (0.5, -1)):
        with pytest.raises(ValueError, match="expected 0 ≤ alpha ≤ 1"):
            decoding.expected_tokens(*wrong)
    for wrong in ({"cost": -1}, {"cost": 0.1, "wider": 0}):
        with pytest.raises(ValueError, match="expected cost from 0 on and wider above 0"):
            decoding.expected_speed_up(0.5, 2, **wrong)
