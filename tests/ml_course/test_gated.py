"""LSTM and GRU against torch's, in outputs and gradients, and by the formula: cells, layers, ragged batches."""

import pytest
import torch
from closeness import TOLERANCE, assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import rnn as packing

from ml_course import gated
from ml_course.gated import GRU, LSTM, GRUCell, LSTMCell
from ml_course.rnn import add_weights, weights_of

PAIRS = [pytest.param(LSTM, nn.LSTM, id="LSTM"), pytest.param(GRU, nn.GRU, id="GRU")]
CELLS = [pytest.param(LSTMCell, nn.LSTMCell, id="LSTMCell"), pytest.param(GRUCell, nn.GRUCell, id="GRUCell")]
both_kinds = pytest.mark.parametrize("kind", [LSTM, GRU], ids=["LSTM", "GRU"])
SHAPES = [
    pytest.param(1, False, True, id="one layer"),
    pytest.param(3, False, True, id="stacked"),
    pytest.param(1, True, True, id="bidirectional"),
    pytest.param(2, True, True, id="stacked bidirectional"),
    pytest.param(2, True, False, id="without biases"),
]


def parts(state):
    """The tensors of a state: one, or h and c."""
    return (state,) if isinstance(state, torch.Tensor) else tuple(state)


def twins(ours, theirs, layers, bidirectional, bias, dtype, device):
    """Both layers with the same weights."""
    mine = ours(5, 4, layers=layers, bidirectional=bidirectional, bias=bias).to(device, dtype)
    other = theirs(5, 4, num_layers=layers, bidirectional=bidirectional, bias=bias, batch_first=True).to(device, dtype)
    mine.load_state_dict(other.state_dict())
    return mine, other


def random_state(kind, rows, batch, **kwargs):
    state = [torch.randn(rows, batch, 4, **kwargs).requires_grad_() for _ in range(2)]
    return tuple(state) if kind in (LSTM, nn.LSTM) else state[0]


def assert_same(first, second, tolerance=None):
    for ours, theirs in zip(first, second, strict=True):
        if tolerance is None:
            assert_close(ours, theirs)
        else:
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


# cells


@dtypes
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("ours", "theirs"), CELLS)
def test_a_step_equals_torchs_in_values_and_gradients(ours, theirs, bias, dtype, device):
    mine, other = ours(5, 4, bias=bias).to(device, dtype), theirs(5, 4, bias=bias).to(device, dtype)
    mine.load_state_dict(other.state_dict())
    x = torch.randn(3, 5, dtype=dtype, device=device).requires_grad_()
    state = [torch.randn(3, 4, dtype=dtype, device=device).requires_grad_() for _ in range(2)]
    given_state = tuple(state) if ours is LSTMCell else state[0]
    inputs = [x, *parts(given_state)]
    for start in (given_state, None):
        first, second = parts(mine(x, start)), parts(other(x, start))
        assert all(one.dtype == dtype for one in first)
        assert_same(first, second)
        wanted = inputs if start is not None else inputs[:1]
        ours_by, theirs_by = [*wanted, *mine.parameters()], [*wanted, *other.parameters()]
        slopes = gradients(torch.cat(first, 1), *ours_by), gradients(torch.cat(second, 1), *theirs_by)
        assert_same(*slopes, tolerance=None if dtype != torch.bfloat16 else 0.1)  # sums of many rounded terms


def test_lstm_step_by_the_formula():
    sums, cell = torch.randn(2, 12, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    h, c = gated.lstm_step(sums, cell)
    for row in range(2):
        for k in range(3):
            write, keep, new, show = (sums[row, k + 3 * gate] for gate in range(4))
            kept = cell[row, k] / (1 + torch.exp(-keep)) + torch.tanh(new) / (1 + torch.exp(-write))
            assert_close(c[row, k], kept)
            assert_close(h[row, k], torch.tanh(kept) / (1 + torch.exp(-show)))


def test_gru_with_the_reset_before_the_product_by_the_formula():
    cell = GRUCell(5, 4, reset_after=False).double()
    x, h = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    into = [w.reshape(3, 4, -1) for w in (cell.weight_ih, cell.weight_hh)]
    bias = (cell.bias_ih + cell.bias_hh).reshape(3, 4)
    for row in range(3):
        reset, update = (torch.sigmoid(into[0][g] @ x[row] + into[1][g] @ h[row] + bias[g]) for g in (0, 1))
        new = torch.tanh(into[0][2] @ x[row] + into[1][2] @ (reset * h[row]) + bias[2])
        assert_close(cell(x, h)[row], (1 - update) * new + update * h[row])


def test_the_place_of_the_reset_gate_matters_unless_the_matrix_is_diagonal():
    x, h = torch.randn(6, 5, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    after = GRUCell(5, 4).double()
    before = GRUCell(5, 4, reset_after=False).double()
    before.load_state_dict(after.state_dict())
    assert (after(x, h) - before(x, h)).abs().max() > 1e-3
    with torch.no_grad():
        for cell in (after, before):
            cell.weight_hh[8:] = torch.diag(torch.tensor([0.5, -1.0, 2.0, 0.1]))
            cell.bias_hh[8:] = 0  # the reset gate closes over this bias only after the product
    assert_close(after(x, h), before(x, h))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([LSTMCell, GRUCell]), st.booleans())
def test_what_is_shown_stays_between_minus_one_and_one(seed, kind, reset_after):
    torch.manual_seed(seed)
    cell = kind(2, 3, **({} if kind is LSTMCell else {"reset_after": reset_after}))
    state = None
    for x in 10 * torch.randn(8, 4, 2):
        state = cell(x, state)
    assert (parts(state)[0].abs() <= 1).all()


def test_open_and_closed_gates_keep_and_erase():
    memory, large = torch.tensor([[3.0, -2.0]]), 60.0
    keep = torch.tensor([[-large] * 2 + [large] * 2 + [1.0] * 2 + [0.0] * 2])
    assert torch.equal(gated.lstm_step(keep, memory)[1], memory)
    replace = torch.tensor([[large] * 2 + [-large] * 2 + [large, -large] + [0.0] * 2])
    assert torch.equal(gated.lstm_step(replace, memory)[1], torch.tensor([[1.0, -1.0]]))


# layers


@dtypes
@pytest.mark.parametrize(("layers", "bidirectional", "bias"), SHAPES)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_a_layer_equals_torchs_in_outputs_states_and_gradients(
    ours, theirs, layers, bidirectional, bias, dtype, device
):
    mine, other = twins(ours, theirs, layers, bidirectional, bias, dtype, device)
    x = torch.randn(3, 7, 5, dtype=dtype, device=device).requires_grad_()
    state = random_state(ours, layers * (1 + bidirectional), 3, dtype=dtype, device=device)
    loose = 0.15 if dtype == torch.bfloat16 else None  # seven steps of three digits
    for start in (None, state):
        first, second = mine(x, start), other(x, start)
        results = [first[0], *parts(first[1])], [second[0], *parts(second[1])]
        assert all(one.dtype == dtype for one in results[0])
        assert_same(*results, tolerance=loose)
        wanted = [x] if start is None else [x, *parts(start)]
        flat = [torch.cat([one.flatten() for one in result]) for result in results]
        slopes = gradients(flat[0], *wanted, *mine.parameters()), gradients(flat[1], *wanted, *other.parameters())
        assert_same(*slopes, tolerance=2 * loose if loose else 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("layers", "bidirectional", "bias"), SHAPES)
@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_a_ragged_batch_equals_torchs_packed_one(ours, theirs, layers, bidirectional, bias, dtype, device):
    mine, other = twins(ours, theirs, layers, bidirectional, bias, dtype, device)
    x = torch.randn(4, 9, 5, dtype=dtype, device=device).requires_grad_()
    lengths = torch.tensor([4, 9, 1, 6])  # in no order; torch wants them on the processor
    state = random_state(ours, layers * (1 + bidirectional), 4, dtype=dtype, device=device)
    outputs, final = mine(x, state, lengths.to(device))
    packed = packing.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    packed, theirs_final = other(packed, state)
    theirs_outputs, _ = packing.pad_packed_sequence(packed, batch_first=True)
    results = [outputs, *parts(final)], [theirs_outputs, *parts(theirs_final)]
    assert_same(*results, tolerance=1e-5)
    flat = [torch.cat([one.flatten() for one in result]) for result in results]
    wanted = [x, *parts(state)]
    slopes = gradients(flat[0], *wanted, *mine.parameters()), gradients(flat[1], *wanted, *other.parameters())
    assert_same(*slopes, tolerance=1e-5)
    assert (outputs[2, 1:] == 0).all() and (slopes[0][0][2, 1:] == 0).all()


@both_kinds
def test_padding_is_never_read_whatever_it_holds_and_an_empty_row_keeps_its_state(kind):
    layer, x, lengths = kind(5, 4, layers=2, bidirectional=True), torch.randn(3, 6, 5), torch.tensor([6, 0, 2])
    state = random_state(kind, 4, 3)
    poisoned = x.clone()
    poisoned[1], poisoned[2, 2:] = torch.nan, torch.inf
    poisoned.requires_grad_()
    outputs, final = layer(poisoned, state, lengths)
    expected, expected_final = layer(x, state, lengths)
    assert torch.equal(outputs, expected)
    assert all(map(torch.equal, parts(final), parts(expected_final)))
    assert all(torch.equal(after[:, 1], before[:, 1]) for after, before in zip(parts(final), parts(state), strict=True))
    assert all(slope.isfinite().all() for slope in gradients(outputs, poisoned, *layer.parameters()))


@both_kinds
def test_a_text_in_pieces_is_the_text_and_a_batch_is_its_rows(kind):
    layer, x = kind(5, 4, layers=2).double(), torch.randn(3, 9, 5, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:, :4])
    second, state = layer(x[:, 4:], state)
    assert_close(torch.cat([first, second], 1), whole)
    assert_same(parts(state), parts(final))
    alone, _ = layer(x[1:2])
    assert_close(alone, whole[1:2])


@pytest.mark.parametrize(("layer_kind", "cell_kind"), [(LSTM, LSTMCell), (GRU, GRUCell)])
@pytest.mark.parametrize("reset_after", [True, False])
def test_a_layer_is_its_cell_again_and_again(layer_kind, cell_kind, reset_after):
    options = {} if layer_kind is LSTM else {"reset_after": reset_after}
    layer, cell = layer_kind(5, 4, **options).double(), cell_kind(5, 4, **options).double()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    x, state = torch.randn(3, 6, 5, dtype=torch.float64), None
    outputs, final = layer(x)
    for t in range(6):
        state = cell(x[:, t], state)
        assert_close(parts(state)[0], outputs[:, t])
    assert_same([part[0] for part in parts(final)], parts(state))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_weights_go_both_ways_and_begin_as_torchs(ours, theirs):
    mine, other = ours(5, 4, layers=2, bidirectional=True), theirs(5, 4, 2, bidirectional=True, batch_first=True)
    assert list(mine.state_dict()) == list(other.state_dict())
    other.load_state_dict(mine.state_dict())
    x = torch.randn(2, 3, 5)
    assert_close(mine(x)[0], other(x)[0])
    wide = ours(3, 400, **({"forget_bias": 0.0} if ours is LSTM else {}))
    for values in wide.parameters():
        assert values.abs().max() <= 400**-0.5 and abs(values.std() * 1200**0.5 - 1) < 0.1


def test_the_forget_gates_begin_open():
    for kind, gates in ((LSTM, "bias_ih_l1_reverse"), (LSTMCell, "bias_ih")):
        options = {"layers": 2, "bidirectional": True} if kind is LSTM else {}
        torch.manual_seed(1)
        closed = kind(5, 4, forget_bias=0.0, **options)
        torch.manual_seed(1)
        opened = kind(5, 4, forget_bias=2.5, **options)
        change = opened.state_dict()[gates] - closed.state_dict()[gates]
        assert_close(change, torch.tensor([0.0] * 4 + [2.5] * 4 + [0.0] * 8))
        assert torch.equal(
            opened.state_dict()[gates.replace("ih", "hh")], closed.state_dict()[gates.replace("ih", "hh")]
        )
        kind(5, 4, bias=False, forget_bias=2.5, **options)  # nothing to open, no complaint


@both_kinds
@pytest.mark.parametrize("frozen", ["weight_hh_l0", "weight_ih_l0"])
def test_frozen_weights_get_no_gradient_and_the_others_the_same(kind, frozen):
    layer, x = kind(5, 4).double(), torch.randn(3, 6, 5, dtype=torch.float64)
    others = [name for name, _ in layer.named_parameters() if name != frozen]
    whole = gradients(layer(x)[0], *map(layer.get_parameter, others))
    layer.get_parameter(frozen).requires_grad_(False)
    assert_same(gradients(layer(x)[0], *map(layer.get_parameter, others)), whole)
    layer(x)[0].sum().backward()
    assert layer.get_parameter(frozen).grad is None


@both_kinds
def test_gradients_equal_finite_differences_also_for_ragged_rows_read_backwards(kind):
    layer = kind(2, 3, bidirectional=True).double()
    x, lengths = torch.randn(2, 4, 2, dtype=torch.float64).requires_grad_(), torch.tensor([4, 2])
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (x, None, lengths))[0]

    assert torch.autograd.gradcheck(run, (x, *(w.detach().requires_grad_() for w in layer.parameters())))


@both_kinds
def test_dropout_works_between_layers_while_training(kind):
    layer, x = kind(5, 40, layers=2, dropout=0.5), torch.randn(2, 3, 5)
    torch.manual_seed(3)
    first = layer(x)[0]
    assert not torch.allclose(first, layer(x)[0])
    assert torch.equal(layer.eval()(x)[0], layer(x)[0])
    single = kind(5, 4, dropout=0.9)
    assert torch.equal(single(x)[0], single(x)[0])  # after the last layer there is none


@both_kinds
def test_the_products_of_the_inputs_are_taken_once_for_all_steps(kind, monkeypatch):
    calls, linear = [], torch.nn.functional.linear
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, *rest: calls.append(x.shape) or linear(x, *rest))
    kind(5, 4)(torch.randn(2, 6, 5))
    assert calls.count(torch.Size([2, 6, 5])) == 1
    assert not any(shape[-1] == 5 for shape in calls if shape != (2, 6, 5))


@pytest.mark.parametrize("kind", [LSTM, GRU, LSTMCell, GRUCell])
def test_errors_name_the_argument(kind):
    with pytest.raises(ValueError, match="hidden = 0, expected at least 1"):
        kind(5, 0)
    if kind in (LSTM, GRU):
        layer, x = kind(5, 4, layers=2), torch.randn(3, 6, 5)
        with pytest.raises(ValueError, match=r"lengths has \[7, 1, 2\], expected numbers from 0 to time = 6"):
            layer(x, None, torch.tensor([7, 1, 2]))
        with pytest.raises(ValueError, match=r"state has shape \(1, 3, 4\), expected 2 \(layers × directions\) × 3"):
            layer(x, random_state(kind, 1, 3))


def test_half_the_parameters_more_or_less():
    count = {kind: sum(p.numel() for p in kind(10, 20).parameters()) for kind in (LSTM, GRU)}
    assert count[LSTM] == 4 * 20 * (10 + 20 + 2) and count[GRU] * 4 == count[LSTM] * 3
    module = nn.Module()
    add_weights(module, 10, 20, gates=4)
    assert sum(w.numel() for w in weights_of(module, 0)) == count[LSTM]
    assert TOLERANCE[torch.float32] == 1e-5  # what the course promises
