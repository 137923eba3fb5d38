"""Beam search against the best of all sequences, greedy generation, and its own invariants."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import seq2seq
from ml_course.rnn.generation import generate
from ml_course.seq2seq.beam import rows_of

EOS = 1


def random_model(seed, vocab=4, dtype=torch.float64):
    """Chances of the next token that depend on all tokens before: on where each stands and which it is."""
    generator = torch.Generator().manual_seed(seed)
    pushes = 2 * torch.randn(12, vocab, vocab, generator=generator, dtype=torch.float64)

    def model(tokens):
        places = torch.arange(tokens.shape[1])
        return pushes[places, tokens].cumsum(1).to(dtype)

    return model


def log_chance(model, prompt, way):
    tokens = torch.tensor([[*prompt, *way]])
    steps = model(tokens)[0].double().log_softmax(-1)
    return sum(steps[len(prompt) + t - 1, token].item() for t, token in enumerate(way))


def every_way(vocab, steps):
    """All that a search may return: sequences that end with the end token, and those cut off."""
    others = [token for token in range(vocab) if token != EOS]
    for length in range(steps):
        for way in itertools.product(others, repeat=length):
            yield (*way, EOS)
    yield from itertools.product(others, repeat=steps)


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 3), st.sampled_from([0.0, 0.6, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_beam_as_wide_as_there_are_ways_finds_the_best_of_all(seed, vocab, steps, alpha):
    model, prompts = random_model(seed, vocab), [[0, vocab - 1], [vocab - 1, 0]]
    ways = list(every_way(vocab, steps))
    found = seq2seq.beam_search(model, torch.tensor(prompts), steps, eos=EOS, beam=len(ways) + 2, alpha=alpha)
    for row, prompt in enumerate(prompts):
        scored = sorted(((log_chance(model, prompt, way) / len(way) ** alpha, way) for way in ways), reverse=True)
        for place, (score, _) in enumerate(scored):
            length = int(found.length[row, place])
            assert found.score[row, place].item() == pytest.approx(score)
            mine = found.tokens[row, place, :length].tolist()
            assert log_chance(model, prompt, mine) / length**alpha == pytest.approx(score)
            assert bool(found.ended[row, place]) == (mine[-1] == EOS)
            assert found.tokens[row, place, length:].eq(0).all()
        chances = found.log_probability[row, : len(ways)].exp().sum()
        assert chances.item() == pytest.approx(1)  # all ways, each once
        assert (found.score[row, len(ways) :] == -torch.inf).all()
        assert found.best()[row] == list(scored[0][1]) or scored[0][0] == pytest.approx(scored[1][0])


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_one_way_is_greedy_search(seed, steps):
    model, prompt = random_model(seed), torch.tensor([[0], [2], [3]])
    found = seq2seq.beam_search(model, prompt, steps, eos=EOS, beam=1)
    greedy = generate(model, prompt, steps, eos=EOS)[:, 1:]
    assert found.tokens[:, 0].tolist() == greedy.tolist()


@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
@settings(max_examples=30, deadline=None)
def test_what_is_said_of_each_way_is_true_and_rows_do_not_disturb_each_other(seed, beam, alpha):
    model, prompt = random_model(seed), torch.tensor([[0, 2], [3, 3]])
    both = seq2seq.beam_search(model, prompt, 5, eos=EOS, beam=beam, alpha=alpha)
    for row in range(2):
        for place in range(beam):
            way = both.tokens[row, place, : both.length[row, place]].tolist()
            chance = log_chance(model, prompt[row].tolist(), way)
            assert both.log_probability[row, place].item() == pytest.approx(chance)
            assert both.score[row, place].item() == pytest.approx(chance / len(way) ** alpha)
            assert EOS not in way[:-1]
        assert both.score[row].tolist() == sorted(both.score[row].tolist(), reverse=True)
        alone = seq2seq.beam_search(model, prompt[row : row + 1], 5, eos=EOS, beam=beam, alpha=alpha)
        torch.testing.assert_close(alone.score[0], both.score[row])
        assert alone.best()[0] == both.best()[row]
    distinct = {tuple(way) for way in both.tokens[0].tolist()}
    assert len(distinct) == beam


def test_length_normalisation_prefers_what_is_longer_and_as_likely_per_token():
    # 0 the start, 2 and 3 words: the end at once has chance 0.4, the long way 0.6 · 0.9 · 0.9 · 0.7 = 0.34
    following = torch.tensor([[0, 0.4, 0.6, 0], [0, 1, 0, 0], [0, 0.1, 0, 0.9], [0, 0.7, 0.3, 0]]).log()
    short, long = (
        seq2seq.beam_search(lambda tokens: following[tokens], torch.tensor([[0]]), 6, eos=EOS, beam=4, alpha=alpha)
        for alpha in (0.0, 1.0)
    )
    assert short.best() == [[1]] and long.best()[0][:3] == [2, 3, 1]
    assert long.score[0, 0].item() == pytest.approx(math.log(0.6 * 0.9 * 0.7) / 3)
    assert seq2seq.length_normalised(torch.tensor([-4.0]), torch.tensor([4]), 0.5).item() == -2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_beam_search_in_other_types_and_on_the_device(dtype, device):
    model = random_model(3, dtype=dtype)
    found = seq2seq.beam_search(
        lambda tokens: model(tokens.cpu()).to(device), torch.tensor([[0]], device=device), 4, eos=EOS, beam=3
    )
    assert found.score.dtype == torch.float32 and found.tokens.device.type == device.type
    assert found.score.isfinite().all()


def test_a_stateful_model_is_fed_the_newest_tokens_and_its_own_rows():
    stateless = random_model(11)

    def remembering(tokens, state):  # the state is the tokens so far, laid out as `layers batch hidden`
        whole = tokens if state is None else torch.cat([state[0].long(), tokens], dim=1)
        return stateless(whole), whole[None].double()

    prompt = torch.tensor([[0, 2], [3, 2]])
    one, other = (
        seq2seq.beam_search(model, prompt, 5, eos=EOS, beam=4, stateful=stateful)
        for model, stateful in ((stateless, False), (remembering, True))
    )
    assert torch.equal(one.tokens, other.tokens)
    torch.testing.assert_close(one.score, other.score)


def test_rows_of_a_state():
    chosen, part = torch.tensor([2, 0]), torch.arange(6.0).reshape(1, 3, 2)

    class Cache:
        def rows(self, chosen):
            return ("mine", chosen.tolist())

    pair = rows_of((part, (part + 1, Cache())), chosen)
    assert torch.equal(pair[0], part[:, [2, 0]]) and torch.equal(pair[1][0], part[:, [2, 0]] + 1)
    assert pair[1][1] == ("mine", [2, 0])
    with pytest.raises(TypeError, match="state is a list"):
        rows_of([part], chosen)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"beam": 0}, "beam = 0, steps = 3"),
        ({"steps": 0}, "steps = 0: expected at least 1"),
        ({"eos": 4}, "eos = 4 is no token: the model has 4"),
        ({"prompt": torch.zeros(2, 0, dtype=torch.long)}, r"prompt has shape \(2, 0\)"),
    ],
)
def test_beam_search_names_what_is_wrong(changed, said):
    options = {"prompt": torch.tensor([[0]]), "steps": 3, "eos": EOS, "beam": 2} | changed
    with pytest.raises(ValueError, match=said):
        seq2seq.beam_search(random_model(0), **options)
