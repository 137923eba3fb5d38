"""Both directions, the tasks of long memory, and what the gradient keeps: against torch and by brute force."""

import math

import pytest
import torch
from closeness import assert_close, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import rnn as packing

from ml_course import gated
from ml_course.gated import GRU, LSTM, Bidirectional, GRUCell, LSTMCell
from ml_course.rnn import RNN, RNNCell

KINDS = {"RNN": (RNN, nn.RNN), "GRU": (GRU, nn.GRU), "LSTM": (LSTM, nn.LSTM)}


def parts(state):
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


# two directions


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.integers(0, 3))
def test_reversed_rows_by_brute_force_and_back(lengths, extra):
    time = max(1, max(lengths) + extra)
    x = torch.randn(len(lengths), time, 2)
    turned = gated.reverse_time(x, torch.tensor(lengths))
    for row, length in enumerate(lengths):
        assert torch.equal(turned[row, :length], x[row, :length].flip(0))
        assert torch.equal(turned[row, length:], x[row, length:])
    assert torch.equal(gated.reverse_time(turned, torch.tensor(lengths)), x)


def test_reversed_rows_without_lengths_and_with_wrong_ones(device):
    x = torch.randn(2, 3, 4, device=device)
    assert torch.equal(gated.reverse_time(x), x.flip(1))
    assert torch.equal(gated.reverse_time(x, torch.tensor([3, 3], device=device)), x.flip(1))
    with pytest.raises(ValueError, match=r"lengths has \[4, 0\], expected numbers from 0 to time = 3"):
        gated.reverse_time(x, torch.tensor([4, 0], device=device))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("ragged", [False, True])
def test_two_layers_joined_are_torchs_bidirectional_one(name, ragged, device):
    ours, theirs = KINDS[name]
    other = theirs(5, 4, bidirectional=True, batch_first=True).to(device, torch.float64)
    joined = Bidirectional(ours(5, 4), ours(5, 4)).to(device, torch.float64)
    weights = other.state_dict()
    joined.forward_layer.load_state_dict({n: w for n, w in weights.items() if not n.endswith("_reverse")})
    joined.backward_layer.load_state_dict(
        {n.removesuffix("_reverse"): w for n, w in weights.items() if n.endswith("_reverse")}
    )
    x = torch.randn(3, 6, 5, dtype=torch.float64, device=device).requires_grad_()
    state = [torch.randn(2, 3, 4, dtype=torch.float64, device=device) for _ in range(2)]
    state = tuple(state) if name == "LSTM" else state[0]
    lengths = torch.tensor([2, 6, 3]) if ragged else None
    outputs, final = joined(x, state, None if lengths is None else lengths.to(device))
    if ragged:
        packed = packing.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, expected_final = other(packed, state)
        expected, _ = packing.pad_packed_sequence(packed, batch_first=True)
    else:
        expected, expected_final = other(x, state)
    assert_close(outputs, expected)
    for one, another in zip(parts(final), parts(expected_final), strict=True):
        assert_close(one, another)
    assert_close(gradients(outputs, x)[0], gradients(expected, x)[0])


def test_two_stacks_never_meet_but_torchs_levels_do():
    """Each direction of joined stacks sees its own side alone; the second level of one bidirectional LSTM sees all."""
    x = torch.randn(1, 7, 3, dtype=torch.float64).requires_grad_()
    apart = Bidirectional(LSTM(3, 4, layers=2), LSTM(3, 4, layers=2)).double()
    together = LSTM(3, 4, layers=2, bidirectional=True).double()
    for layer, seen in ((apart, 4), (together, 7)):
        outputs, state = layer(x)
        assert outputs.shape == (1, 7, 8) and state[0].shape == (4, 1, 4)
        (slope,) = torch.autograd.grad(outputs[0, 3, :4].sum(), x)
        assert (slope[0].abs().sum(1) > 0).sum() == seen


def test_the_state_of_joined_stacks_is_level_by_level():
    first, second = GRU(3, 4, layers=2), GRU(3, 4, layers=2)
    x = torch.randn(2, 5, 3)
    _, state = Bidirectional(first, second)(x)
    ahead, back = first(x)[1], second(x.flip(1))[1]
    assert torch.equal(state, torch.stack([ahead[0], back[0], ahead[1], back[1]]))
    begin = torch.randn(4, 2, 4)
    outputs, _ = Bidirectional(first, second)(x, begin)
    assert torch.equal(outputs[..., :4], first(x, begin[[0, 2]])[0])
    assert torch.equal(outputs[..., 4:], second(x.flip(1), begin[[1, 3]])[0].flip(1))


# tasks


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 15), st.integers(0, 1000))
def test_adding_problem_marks_one_number_in_each_half(batch, time, seed):
    inputs, targets = gated.adding_problem(batch, time, torch.Generator().manual_seed(seed))
    numbers, marks = inputs.unbind(-1)
    assert inputs.shape == (batch, time, 2) and (numbers >= 0).all() and (numbers < 1).all()
    assert (marks[:, : time // 2].sum(1) == 1).all() and (marks[:, time // 2 :].sum(1) == 1).all()
    assert set(marks.unique().tolist()) <= {0.0, 1.0}
    for row in range(batch):
        first, second = numbers[row][marks[row] == 1].tolist()
        assert targets[row].item() == pytest.approx(first + second)


def test_adding_problem_is_even_and_its_variance_is_a_sixth():
    inputs, targets = gated.adding_problem(40_000, 10)
    assert abs(targets.var() - 1 / 6) < 0.005 and abs(targets.mean() - 1) < 0.01
    assert (inputs[..., 1].mean(0) - 0.2).abs().max() < 0.02  # every place is marked as often
    with pytest.raises(ValueError, match="time = 1, expected at least 2"):
        gated.adding_problem(3, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 6), st.integers(1, 9))
def test_copy_task_is_text_silence_sign_and_room_for_the_answer(batch, length, delay, symbols):
    tokens, targets = gated.copy_task(batch, length, delay, symbols)
    assert tokens.shape == (batch, length + delay + length) and targets.shape == (batch, length)
    assert torch.equal(tokens[:, :length], targets) and (targets >= 1).all() and (targets <= symbols).all()
    assert (tokens[:, length : length + delay] == 0).all() and (tokens[:, length + delay] == symbols + 1).all()
    assert (tokens[:, length + delay + 1 :] == 0).all()


def test_tasks_follow_their_generator_and_name_wrong_sizes():
    for make in (lambda g: gated.adding_problem(4, 8, g), lambda g: gated.copy_task(4, 3, 5, generator=g)):
        first, again = (make(torch.Generator().manual_seed(7)) for _ in range(2))
        assert all(map(torch.equal, first, again))
        assert not torch.equal(first[0], make(torch.Generator().manual_seed(8))[0])
    with pytest.raises(ValueError, match="length = 0, symbols = 8, delay = 3: expected 1, 1 and 0 at least"):
        gated.copy_task(2, 0, 3)
    assert set(gated.copy_task(4000, 1, 0).targets.unique().tolist()) == set(range(1, 9))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 500), st.floats(0.01, 0.99))
def test_memory_bias_leaves_the_asked_share(steps, share):
    gate = 1 / (1 + math.exp(-gated.memory_bias(steps, share)))
    assert gate**steps == pytest.approx(share, rel=1e-9)


def test_memory_bias_of_very_long_memories_is_the_logarithm_and_wrong_numbers_are_named():
    assert gated.memory_bias(10**18, math.exp(-1)) == pytest.approx(18 * math.log(10), rel=1e-12)
    for steps, share in ((0, 0.5), (3, 0.0), (3, 1.0)):
        with pytest.raises(ValueError, match=f"steps = {steps}, share = {share}: expected at least 1 step"):
            gated.memory_bias(steps, share)


@pytest.mark.parametrize(("kind", "gates"), [(LSTM, 4), (GRU, 3)])
def test_chrono_biases_spread_the_times_and_touch_no_other_gate(kind, gates):
    layer = kind(3, 500, layers=2, bidirectional=True)
    before = {name: values.clone() for name, values in layer.state_dict().items()}
    gated.chrono_biases(layer, longest=100)
    drawn = []
    for name, values in layer.state_dict().items():
        pieces, old = values.split(500) if name.startswith("bias") else [values], before[name]
        if name.startswith("weight"):
            assert torch.equal(values, old)
        elif name.startswith("bias_hh"):
            assert (pieces[1] == 0).all()
        else:
            drawn.append(pieces[1])
            times = pieces[1].exp()
            assert times.min() >= 1 and times.max() <= 99 and abs(times.mean() - 50) < 5
        if name.startswith("bias"):
            if gates == 4:
                opposite = -pieces[1]
                assert torch.equal(pieces[0], opposite if "ih" in name else torch.zeros(500))
            else:
                assert torch.equal(pieces[0], old[:500])  # the reset gate stays
            assert all(map(torch.equal, pieces[2:], old.split(500)[2:]))
    assert len(drawn) == 4 and not torch.equal(drawn[0], drawn[1])


def test_chrono_biases_name_what_is_wrong():
    with pytest.raises(ValueError, match="longest = 2, expected at least 3 steps"):
        gated.chrono_biases(LSTM(3, 4), 2)
    with pytest.raises(ValueError, match="layer has no biases"):
        gated.chrono_biases(GRU(3, 4, bias=False), 10)


# what the gradient keeps


@pytest.mark.parametrize("kind", [RNNCell, GRUCell, LSTMCell, nn.LSTMCell])
def test_gradient_flow_is_the_length_of_the_jacobian(kind):
    cell, x = kind(3, 4).double(), torch.randn(2, 5, 3, dtype=torch.float64)
    flow = gated.gradient_flow(cell, x)
    for row in range(2):
        for t in range(5):
            state = None
            for now in x[row, : t + 1, None]:
                state = cell(now, state)

            def end(memory, state=state, t=t, row=row):
                state = memory[None] if isinstance(state, torch.Tensor) else _with_memory(cell, x, row, t, memory)
                for now in x[row, t + 1 :, None]:
                    state = cell(now, state)
                return parts(state)[-1][0]

            jacobian = torch.autograd.functional.jacobian(end, parts(state)[-1][0])
            assert_close(flow[row, t], jacobian.norm() / 2)
    assert_close(flow[:, -1], torch.ones(2, dtype=torch.float64))


def _with_memory(cell, x, row, t, memory):
    """The LSTM's state at time t as a function of its cell state: h = o ⊙ tanh(c), with the gate o as it was."""
    state = None
    for now in x[row, :t, None]:
        state = cell(now, state)
    h = torch.zeros(1, 4, dtype=x.dtype) if state is None else state[0]
    sums = x[row, t] @ cell.weight_ih.T + h[0] @ cell.weight_hh.T + cell.bias_ih + cell.bias_hh
    return (torch.sigmoid(sums[12:]) * torch.tanh(memory))[None], memory[None]


def test_a_cell_state_behind_open_gates_keeps_the_gradient_whole_and_elman_loses_it():
    x = torch.randn(2, 60, 3)
    lstm, elman = LSTMCell(3, 8, forget_bias=30.0), RNNCell(3, 8)
    with torch.no_grad():
        lstm.weight_hh.zero_()  # only the direct way is left
    assert_close(gated.gradient_flow(lstm, x), torch.ones(2, 60))
    assert gated.gradient_flow(elman, x)[:, 0].max() < 1e-6
