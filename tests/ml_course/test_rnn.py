"""Elman's network against torch's, its gradients by hand against autograd's, and what measures how far it remembers."""

import copy

import pytest
import torch
from closeness import TOLERANCE, assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ml_course import rnn
from ml_course.rnn import RNN, RNNCell

sizes = st.integers(1, 5)


def twins(features=3, hidden=4, dtype=torch.float64, device="cpu", **options):
    """Our layer and torch's with the same weights."""
    theirs = nn.RNN(
        features,
        hidden,
        num_layers=options.get("layers", 1),
        bidirectional=options.get("bidirectional", False),
        bias=options.get("bias", True),
        nonlinearity=options.get("nonlinearity", "tanh"),
        batch_first=True,
    ).to(device, dtype)
    ours = RNN(features, hidden, **options).to(device, dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# One step


@dtypes
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_cell_equals_torchs(dtype, nonlinearity, bias, device):
    theirs = nn.RNNCell(3, 4, bias=bias, nonlinearity=nonlinearity).to(device, dtype)
    ours = RNNCell(3, 4, bias=bias, nonlinearity=nonlinearity).to(device, dtype)
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(5, 3, dtype=dtype, device=device), torch.randn(5, 4, dtype=dtype, device=device)
    assert_close(ours(x, h), theirs(x, h))
    assert_close(ours(x), theirs(x))
    theirs.load_state_dict(ours.state_dict())  # and back


def test_wrong_options_are_named():
    for make in (RNN, RNNCell):
        with pytest.raises(ValueError, match="nonlinearity = 'sine', expected 'tanh' or 'relu'"):
            make(3, 4, nonlinearity="sine")
        with pytest.raises(ValueError, match="hidden = 0, expected at least 1"):
            make(3, 0)
    with pytest.raises(ValueError, match="layers = 0"):
        RNN(3, 4, layers=0)


def test_the_lectures_layers_have_8_and_14_parameters():
    assert sum(p.numel() for p in nn.Linear(3, 2).parameters()) == 8
    for layer in (nn.RNN(3, 2), RNN(3, 2), RNNCell(3, 2)):
        assert sum(p.numel() for p in layer.parameters()) == 14


# Whole sequences


@dtypes
@pytest.mark.parametrize(
    "options",
    [{}, {"layers": 2}, {"bidirectional": True}, {"layers": 3, "bidirectional": True, "bias": False}],
    ids=str,
)
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_layer_equals_torchs_in_values_and_gradients(dtype, options, nonlinearity, device):
    ours, theirs = twins(**options, nonlinearity=nonlinearity, dtype=dtype, device=device)
    rows = options.get("layers", 1) * (2 if options.get("bidirectional") else 1)
    x = torch.randn(5, 7, 3, dtype=dtype, device=device).requires_grad_()
    start = torch.randn(rows, 5, 4, dtype=dtype, device=device).requires_grad_()
    results = []
    for layer in (ours, theirs):
        outputs, state = layer(x, start)
        assert outputs.dtype == state.dtype == dtype and state.shape == (rows, 5, 4)
        both = torch.cat([outputs.flatten(), state.flatten()])
        results.append([outputs, state, *gradients(both, x, start, *layer.parameters())])
    compared = list(zip(*results, strict=True))
    if dtype != torch.bfloat16:
        for mine, other in compared:
            torch.testing.assert_close(mine, other, rtol=2 * TOLERANCE[dtype], atol=2 * TOLERANCE[dtype])
    else:  # rounding may put a number on the other side of ReLU's kink, where the slope is another
        for mine, other in compared[: 2 if nonlinearity == "relu" else None]:
            assert (mine - other).norm() < 0.03 * other.norm()
    assert_close(ours(x)[0], theirs(x)[0])  # state zeros


@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}], ids=str)
def test_ragged_batches_equal_torchs_packed_ones(options, device):
    ours, theirs = twins(**options, device=device)
    rows = options.get("layers", 1) * (2 if options.get("bidirectional") else 1)
    lengths = torch.tensor([3, 6, 1, 5], device=device)
    x = torch.randn(4, 6, 3, dtype=torch.float64, device=device).requires_grad_()
    start = torch.randn(rows, 4, 4, dtype=torch.float64, device=device).requires_grad_()
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    their_outputs, their_state = theirs(packed, start)
    their_outputs, _ = pad_packed_sequence(their_outputs, batch_first=True)
    outputs, state = ours(x, start, lengths)
    assert_close(outputs, their_outputs)
    assert_close(state, their_state)
    wanted = x, start
    mine = gradients(torch.cat([outputs.flatten(), state.flatten()]), *wanted, *ours.parameters())
    others = gradients(torch.cat([their_outputs.flatten(), their_state.flatten()]), *wanted, *theirs.parameters())
    for one, other in zip(mine, others, strict=True):
        assert_close(one, other)


def test_what_fills_up_the_rows_touches_nothing_not_even_as_nan():
    layer = RNN(3, 4, layers=2, bidirectional=True)
    lengths, x = torch.tensor([2, 0, 4]), torch.randn(3, 4, 3)
    clean, state = layer(x, lengths=lengths)
    x[0, 2:], x[1] = torch.nan, torch.nan
    dirty, same = layer(x, lengths=lengths)
    assert torch.equal(clean, dirty) and torch.equal(state, same)
    assert (dirty[0, 2:] == 0).all() and (dirty[1] == 0).all() and (state[:, 1] == 0).all()
    dirty.sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@settings(max_examples=20, deadline=None)
@given(sizes, sizes, st.integers(1, 6), st.booleans(), st.data())
def test_a_row_in_a_batch_is_as_the_row_alone(batch, hidden, time, both, data):
    torch.manual_seed(0)
    layer = RNN(2, hidden, bidirectional=both).double()
    lengths = [data.draw(st.integers(1, time)) for _ in range(batch)]
    x = torch.randn(batch, time, 2, dtype=torch.float64)
    outputs, state = layer(x, lengths=torch.tensor(lengths))
    for row, length in enumerate(lengths):
        alone, final = layer(x[row : row + 1, :length])
        assert_close(outputs[row : row + 1, :length], alone)
        assert_close(state[:, row : row + 1], final)


@given(st.integers(1, 5), st.integers(1, 5))
def test_a_state_carried_over_a_cut_changes_nothing(before, after):
    torch.manual_seed(0)
    layer, x = RNN(2, 3, layers=2).double(), torch.randn(2, before + after, 2, dtype=torch.float64)
    first, state = layer(x[:, :before])
    second, final = layer(x[:, before:], state)
    whole, end = layer(x)
    assert_close(torch.cat([first, second], dim=1), whole)
    assert_close(final, end)


def test_the_layer_is_the_cell_step_by_step():
    layer, cell, x = RNN(3, 4), RNNCell(3, 4), torch.randn(2, 5, 3)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    state, outputs = None, []
    for t in range(5):
        state = cell(x[:, t], state)
        outputs.append(state)
    assert_close(layer(x)[0], torch.stack(outputs, 1))
    assert_close(rnn.scan(cell, x, torch.zeros(2, 4))[0], torch.stack(outputs, 1))


def test_dropout_acts_between_layers_and_only_while_learning():
    layer, x = RNN(3, 200, layers=2, dropout=0.5), torch.randn(1, 1, 3)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    assert torch.equal(layer(x)[1][0], layer(x)[1][0])  # the first layer's state is before it
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    one = RNN(3, 4, dropout=0.5)
    assert torch.equal(one(x)[0], one(x)[0])


def test_weights_begin_within_torchs_bounds():
    layer = RNN(30, 64, layers=2)
    for weight in layer.parameters():
        assert weight.detach().abs().max() <= 1 / 8 and weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.2)


def test_scan_and_layers_name_what_is_wrong():
    layer, x = RNN(3, 4), torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match=r"inputs has shape \(2, 0, 4\), expected at least one time step"):
        layer(x[:, :0])
    for wrong in ([6, 1], [-1, 2]):
        with pytest.raises(ValueError, match=r"lengths has .*expected numbers from 0 to time = 5"):
            layer(x, lengths=torch.tensor(wrong))
    with pytest.raises(ValueError, match=r"state has shape \(3, 2, 4\), expected 1 .*× 2 \(batch\)"):
        layer(x, torch.zeros(3, 2, 4))


def test_scan_takes_states_of_several_parts_and_runs_backwards():
    def step(x, state):
        total, count = state
        return total + x, count + 1

    x, lengths = torch.randn(3, 5, 2), torch.tensor([5, 2, 0])
    zeros = torch.zeros(3, 2)
    outputs, (total, count) = rnn.scan(step, x, (zeros, zeros), lengths, reverse=True)
    for row, length in enumerate(lengths.tolist()):
        from_here = x[row, :length].flip(0).cumsum(0).flip(0)
        assert_close(outputs[row, :length], from_here)
        assert (outputs[row, length:] == 0).all() and (count[row] == length).all()
    assert_close(total[0], x[0].sum(0))


def test_layers_survive_a_copy_and_a_move_to_double():
    layer = RNN(3, 4, bidirectional=True)
    x = torch.randn(2, 5, 3)
    assert torch.equal(copy.deepcopy(layer)(x)[0], layer(x)[0])
    assert layer.double()(x.double())[0].dtype == torch.float64


# The four shapes


def test_one_to_one_never_uses_the_recurrent_weights():
    model = rnn.OneToOne(3, 4, 2)
    x = torch.randn(5, 3)
    plain = nn.Linear(3, 4)
    with torch.no_grad():
        plain.weight.copy_(model.cell.weight_ih)
        plain.bias.copy_(model.cell.bias_ih + model.cell.bias_hh)
    assert_close(model(x), model.output(torch.tanh(plain(x))))
    model(x).sum().backward()
    assert (model.cell.weight_hh.grad == 0).all()


def test_one_to_many_reads_its_input_and_the_past_only():
    model = rnn.OneToMany(3, 6, 2, 4)
    x, tokens = torch.randn(2, 3), torch.randint(6, (2, 5))
    logits = model(x, tokens)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 6
    assert torch.equal(model(x, changed)[:, :3], logits[:, :3])
    assert not torch.equal(model(x, changed)[:, 3:], logits[:, 3:])
    assert not torch.equal(model(x + 1, tokens)[:, 0], logits[:, 0])


def test_many_to_one_answers_from_the_last_real_token():
    model = rnn.ManyToOne(9, 2, 4, 3)
    tokens, lengths = torch.randint(9, (3, 6)), torch.tensor([6, 1, 4])
    answers = model(tokens, lengths)
    for row, length in enumerate(lengths.tolist()):
        assert_close(answers[row], model(tokens[row : row + 1, :length])[0])
        assert_close(answers[row], model.after_each_prefix(tokens)[row, length - 1])
    with pytest.raises(ValueError, match="expected at least 1: nothing read"):
        model(tokens, torch.tensor([0, 1, 1]))


def test_many_to_many_answers_everywhere_it_reads():
    model, x = rnn.ManyToMany(2, 4, 3), torch.randn(2, 5, 2)
    answers = model(x, torch.tensor([5, 2]))
    assert answers.shape == (2, 5, 3) and (answers[1, 2:] == 0).all()
    assert_close(answers[1, :2], model(x[1:, :2])[0])


def test_moods_are_balanced_in_every_word_but_those_that_tell():
    sentences = rnn.mood_sentences()
    assert len(set(sentences.texts)) == len(sentences) and sentences.labels.mean() == 0.5
    telling = set()
    for word in {word for text in sentences.texts for word in text.split()}:
        labels = {label for text, label in zip(sentences.texts, sentences.labels, strict=True) if word in text.split()}
        if len(labels) == 1:
            telling.add(word)
    assert telling == {"happily", "gladly", "proudly", "joy", "smile", "high", "spirits"} | {
        "angrily", "sadly", "bitterly", "anger", "tears", "curse",
    }  # fmt: skip
    label_of = dict(zip(sentences.texts, sentences.labels.tolist(), strict=True))
    assert label_of["He happily ate the pie"] == 1 and label_of["He ate the pie in anger"] == 0
    few = rnn.mood_sentences(50, seed=1)
    assert len(set(few.texts)) == 50 and few.texts != rnn.mood_sentences(50, seed=2).texts
    with pytest.raises(ValueError, match="count = 5000, expected 1 to 4032"):
        rnn.mood_sentences(5000)


# Back through time


def elman(batch=2, time=6, features=3, hidden=4, **kwargs):
    shapes = (batch, time, features), (batch, hidden), (hidden, features), (hidden, hidden), (hidden,)
    return [torch.randn(*shape, dtype=torch.float64, **kwargs).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("time", [1, 2, 6])
def test_bptt_by_hand_equals_autograd(time, device):
    inputs, start, weight_ih, weight_hh, bias = given = elman(time=time, device=device)
    states = rnn.unroll(*given)
    gradient = torch.randn_like(states[:, 1:])
    by_hand = rnn.backward_through_time(inputs, states.detach(), gradient, weight_ih, weight_hh)
    wanted = torch.autograd.grad((states[:, 1:] * gradient).sum(), [weight_ih, weight_hh, bias, inputs, start])
    for ours, theirs in zip(by_hand, wanted, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("window", [1, 2, 4, 6, 9])
def test_truncated_bptt_equals_autograd_with_detached_states(window):
    inputs, start, weight_ih, weight_hh, bias = elman()
    whole = rnn.unroll(inputs, start, weight_ih, weight_hh, bias).detach()
    gradient = torch.randn(2, 6, 4, dtype=torch.float64)
    by_hand = rnn.backward_through_time(inputs, whole, gradient, weight_ih, weight_hh, window=window)
    state, loss = start, 0
    for first in range(0, 6, window):
        states = rnn.unroll(inputs[:, first : first + window], state, weight_ih, weight_hh, bias)
        assert_close(states, whole[:, first : first + window + 1])
        loss = loss + (states[:, 1:] * gradient[:, first : first + window]).sum()
        state = states[:, -1].detach()
    wanted = torch.autograd.grad(loss, [weight_ih, weight_hh, bias, inputs, start])
    for ours, theirs in zip(by_hand, wanted, strict=True):
        assert_close(ours, theirs)


def test_bptt_names_what_does_not_fit():
    inputs, start, weight_ih, weight_hh, bias = elman()
    states = rnn.unroll(inputs, start, weight_ih, weight_hh, bias).detach()
    gradient = torch.zeros(2, 6, 4, dtype=torch.float64)
    with pytest.raises(ValueError, match="window = 0, expected at least 1"):
        rnn.backward_through_time(inputs, states, gradient, weight_ih, weight_hh, window=0)
    with pytest.raises(ValueError, match=r"states has 6 times, expected .* 7"):
        rnn.backward_through_time(inputs, states[:, 1:], gradient, weight_ih, weight_hh)


# What becomes of gradients


def test_spectral_radius_is_what_powers_grow_by():
    matrix = torch.randn(6, 6, dtype=torch.float64)
    power = torch.linalg.matrix_power(matrix / rnn.spectral_radius(matrix), 400)
    assert 1e-3 < power.norm() < 1e3
    scaled = rnn.with_spectral_radius(matrix, 0.5)
    assert rnn.spectral_radius(scaled) == pytest.approx(0.5)
    assert_close(scaled / scaled[0, 0], matrix / matrix[0, 0])
    with pytest.raises(ValueError, match="spectral radius 0"):
        rnn.with_spectral_radius(torch.tensor([[0.0, 1.0], [0.0, 0.0]]), 1.0)
    with pytest.raises(ValueError, match="radius = -1"):
        rnn.with_spectral_radius(matrix, -1)


def test_influence_equals_the_norm_of_the_jacobian(device):
    layer = RNN(3, 4).to(device)
    x = torch.randn(2, 5, 3, device=device)
    measured = rnn.influence(layer, x)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0][:, -1], x)  # batch hidden batch time features
    for row in range(2):
        assert_close(measured[row], jacobian[row, :, row].norm(dim=(0, 2)))
    assert all(parameter.grad is None for parameter in layer.parameters())


def test_graph_steps_counts_both_ways():
    x = torch.ones(2, requires_grad=True)
    assert rnn.graph_steps(x.exp(), x) == (1, 1)
    y = x
    for _ in range(5000):  # far deeper than Python's recursion goes
        y = y * 2
    assert rnn.graph_steps(y + x, x) == (1, 5001)
    other = torch.ones(2, requires_grad=True)
    for output in (x * 2, torch.ones(2)):
        with pytest.raises(ValueError, match="does not depend on start"):
            rnn.graph_steps(output, other)


def test_saved_bytes_counts_shared_memory_once_and_leaves_gradients_alone():
    x = torch.ones(100, 10, requires_grad=True)
    assert rnn.saved_bytes(lambda: x.exp()) == 4000
    assert rnn.saved_bytes(lambda: x.flatten() * x.view(-1)) == 4000
    assert rnn.saved_bytes(lambda: x + 1) == 0
    with torch.no_grad():
        assert rnn.saved_bytes(lambda: x.exp()) == 0
