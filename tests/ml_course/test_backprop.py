"""The backprop chapter's engines against torch, finite differences and each other."""

import gc
import math
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from ml_course import backprop
from ml_course.backprop import Tensor, Value, check_gradients, no_grad, scalar


def numbers(*shape, low=-2.0, high=2.0, seed=0):
    return np.random.default_rng(seed).uniform(low, high, shape)


def compare(ours, theirs, *arrays, dtype=np.float64, rtol=1e-6):
    """The same formula in both engines: equal value, and equal gradients of a fixed weighted sum of it."""
    mine = [Tensor(array.astype(dtype), requires_grad=True) for array in arrays]
    other = [torch.tensor(array.astype(dtype), requires_grad=True) for array in arrays]
    result, wanted = ours(*mine), theirs(*other)
    assert result.shape == tuple(wanted.shape) and result.dtype == dtype
    np.testing.assert_allclose(result.data, wanted.detach().numpy(), rtol, rtol)
    weights = np.linspace(-1, 2, result.size, dtype=dtype).reshape(result.shape)
    result.backward(weights)
    wanted.backward(torch.from_numpy(weights))
    for tensor, twin in zip(mine, other, strict=True):
        if twin.grad is None:
            assert tensor.grad is None
            continue
        assert tensor.grad.shape == tensor.shape and tensor.grad.dtype == dtype
        np.testing.assert_allclose(tensor.grad, twin.grad.numpy(), rtol, rtol)


# Each operation.

UNARY = {
    "exp": (Tensor.exp, torch.exp),
    "log": (lambda x: (x * x + 0.1).log(), lambda x: (x * x + 0.1).log()),
    "tanh": (Tensor.tanh, torch.tanh),
    "sigmoid": (Tensor.sigmoid, torch.sigmoid),
    "relu": (Tensor.relu, torch.relu),
    "minus": (lambda x: -x, lambda x: -x),
    "cube": (lambda x: x**3, lambda x: x**3),
    "power zero": (lambda x: x**0, lambda x: x**0),
    "root": (lambda x: (x * x + 1) ** 0.5, lambda x: (x * x + 1) ** 0.5),
    "reciprocal": (lambda x: 1 / (3 + x), lambda x: 1 / (3 + x)),
    "numbers on either side": (lambda x: 2 - (3 * x + 1) / 4 - 5, lambda x: 2 - (3 * x + 1) / 4 - 5),
    "used twice": (lambda x: x * x + x, lambda x: x * x + x),
    "sum": (Tensor.sum, torch.sum),
    "sum of rows": (lambda x: x.sum(0), lambda x: x.sum(0)),
    "sum, axis kept": (lambda x: x / x.exp().sum(-1, keepdims=True), lambda x: x / x.exp().sum(-1, keepdim=True)),
    "sum over two axes": (lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2))),
    "mean": (lambda x: x.mean((-1, 0), keepdims=True), lambda x: x.mean((-1, 0), keepdim=True)),
    "max": (lambda x: x.max(), lambda x: x.amax()),
    "max of columns": (lambda x: x.max(1), lambda x: x.amax(1)),
    "max, axis kept": (lambda x: x - x.max((0, 1), keepdims=True), lambda x: x - x.amax((0, 1), keepdim=True)),
    "reshape": (lambda x: x.reshape(6, -1), lambda x: x.reshape(6, -1)),
    "transpose": (lambda x: x.transpose(2, 0, 1), lambda x: x.permute(2, 0, 1)),
    "transpose, counted from the end": (lambda x: x.transpose(-1, 0, 1), lambda x: x.permute(-1, 0, 1)),
    "T": (lambda x: x.T, lambda x: x.permute(2, 1, 0)),
    "mT": (lambda x: x.mT, lambda x: x.mT),
    "one row": (lambda x: x[1], lambda x: x[1]),
    "a slice": (lambda x: x[:, ::2, 1:3], lambda x: x[:, ::2, 1:3]),
    "dots and a new axis": (lambda x: x[..., None, 0], lambda x: x[..., None, 0]),
    "rows, one of them twice": (lambda x: x[:, [2, 0, 2]], lambda x: x[:, [2, 0, 2]]),
    "where a mask is True": (
        lambda x: x[np.arange(24).reshape(2, 3, 4) % 3 == 0],
        lambda x: x[torch.arange(24).reshape(2, 3, 4) % 3 == 0],
    ),
    "softmax": (backprop.softmax, lambda x: F.softmax(x, -1)),
    "softmax of columns": (lambda x: backprop.softmax(x, 1), lambda x: F.softmax(x, 1)),
    "where": (
        lambda x: backprop.where(np.arange(4) > 1, x, x**2) + backprop.where(np.arange(4) > 2, x, 1.5),
        lambda x: torch.where(torch.arange(4) > 1, x, x**2) + torch.where(torch.arange(4) > 2, x, 1.5),
    ),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor_equal_torch(name, dtype):
    compare(*UNARY[name], numbers(2, 3, 4), dtype=dtype, rtol=1e-6 if dtype == np.float64 else 1e-4)


BINARY = {
    "plus": lambda x, y: x + y,
    "minus": lambda x, y: x - y,
    "times": lambda x, y: x * y,
    "divided": lambda x, y: x / (y * y + 1),
}


@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", BINARY)
def test_arithmetic_broadcasts_like_torch(name, data):
    shapes = data.draw(some.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
    first, second = (numbers(*shape, seed=i) for i, shape in enumerate(shapes.input_shapes))
    compare(BINARY[name], BINARY[name], first, second)


@settings(deadline=None)
@given(st.data())
def test_matmul_broadcasts_its_batch_like_torch(data):
    shapes = data.draw(some.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, max_side=3))
    first, second = (numbers(*shape, seed=i) for i, shape in enumerate(shapes.input_shapes))
    compare(lambda x, y: x @ y, lambda x, y: x @ y, first, second)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate_equals_torch(axis):
    shapes = [(2, 3, 4)] * 3
    shapes[1] = tuple(5 if i == axis % 3 else n for i, n in enumerate(shapes[1]))
    arrays = [numbers(*shape, seed=i) for i, shape in enumerate(shapes)]
    compare(lambda *x: backprop.concatenate([*x, x[0] * 2], axis), lambda *x: torch.cat([*x, x[0] * 2], axis), *arrays)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", [(7, 4), (1, 3), (2, 3, 5), (4,)])
def test_cross_entropy_equals_torch(shape, dtype):
    labels = np.random.default_rng(0).integers(0, shape[-1], shape[:-1])
    compare(
        lambda x: backprop.cross_entropy(x * 1000, labels) / 1000,
        lambda x: F.cross_entropy((x * 1000).reshape(-1, shape[-1]), torch.tensor(labels).reshape(-1)) / 1000,
        numbers(*shape),
        dtype=dtype,
        rtol=1e-6 if dtype == np.float64 else 1e-4,
    )


def test_ties_of_max_share_the_gradient():
    compare(lambda x: x.max(1), lambda x: x.amax(1), np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softmax"])
def test_extreme_numbers_neither_overflow_nor_vanish_too_early(name):
    compare(*UNARY[name], np.array([[-700.0, -30.0, 0.0], [30.0, 700.0, -1e-9]]), rtol=1e-12)
    x = Tensor([-30.0])
    assert math.isclose(x.sigmoid().item(), 1 / (1 + math.exp(30)), rel_tol=1e-12)


# Random formulas.

STEPS = ("tanh", "sigmoid", "relu", "plus", "minus", "times", "divided", "matmul", "sum", "max", "turn", "rows", "flat")


def formula(steps, choices, tensors, ours):
    """Applies random steps to a growing list of tensors: each may use any of the earlier ones, again and again."""
    tensors = list(tensors)
    for step, choice in zip(steps, choices, strict=True):
        x, y = tensors[choice % len(tensors)], tensors[choice // 7 % len(tensors)]
        if step in ("plus", "minus", "times", "divided"):
            if not broadcastable(x.shape, y.shape):
                continue
            new = BINARY[step](x, y)
        elif step == "matmul":
            if x.ndim != 2 or y.ndim != 2:
                continue
            new = x.mT @ y if x.shape[0] == y.shape[0] else x @ x.mT
        elif step in ("sum", "max"):
            if not x.ndim:
                continue
            axis, kept = choice % x.ndim, choice % 2 == 0
            if ours:
                new = getattr(x, step)(axis, keepdims=kept)
            else:
                new = getattr(x, {"sum": "sum", "max": "amax"}[step])(axis, keepdim=kept)
        elif step == "turn":
            new = x.T if ours else x.permute(tuple(reversed(range(x.ndim))))
        elif step == "rows":
            new = x[[0, -1, 0]] if x.ndim else x[..., None]
        elif step == "flat":
            new = x.reshape(-1)
        else:
            new = getattr(x, step)()
        tensors.append(new)
    total = sum(tensor.tanh().mean() for tensor in tensors)  # every result counts, none can grow too large
    return total + tensors[-1].tanh().sum()


def broadcastable(first, second):
    try:
        np.broadcast_shapes(tuple(first), tuple(second))
    except ValueError:
        return False
    return True


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 500)), min_size=1, max_size=12), st.integers(0, 99))
def test_random_formulas_have_torchs_gradients(plan, seed):
    steps, choices = zip(*plan, strict=True)
    arrays = [numbers(*shape, seed=seed + i) for i, shape in enumerate([(3, 2), (2,), (3, 1), ()])]
    compare(
        lambda *x: formula(steps, choices, x, True),
        lambda *x: formula(steps, choices, x, False),
        *arrays,
        rtol=1e-7,
    )


# The engine's promises.


def test_gradients_add_up_until_they_are_forgotten():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [5.0, 7.0]
    x.grad = None
    result = (x * x).sum()
    result.backward()
    result.backward()  # the graph may be walked again
    assert x.grad.tolist() == [4.0, 8.0]


def test_every_tensor_gets_a_gradient_of_its_own():
    x, y = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    (x + y).sum().backward()
    x.grad *= 10
    assert y.grad.tolist() == [1.0]


def test_a_tensor_used_on_a_long_and_a_short_way_waits_for_both():
    compare(
        lambda x: (lambda a: a.tanh().exp().tanh() * a + x)(x * x),
        lambda x: (lambda a: a.tanh().exp().tanh() * a + x)(x * x),
        numbers(3),
    )


def test_five_thousand_layers_do_not_exceed_pythons_stack():
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(5_000):
        y = y * 1.0001
    y.backward()
    assert math.isclose(x.grad[0], 1.0001**5_000, rel_tol=1e-9)
    a = Value(1.0)
    b = a
    for _ in range(5_000):
        b = b * 1.0001
    b.backward()
    assert math.isclose(a.grad, x.grad[0], rel_tol=1e-9)


def test_nothing_is_recorded_under_no_grad_and_it_nests():
    x = Tensor([1.0], requires_grad=True)
    with no_grad():
        with no_grad():
            pass
        y = x * 2
    assert not y.requires_grad and (x * 2).requires_grad

    @no_grad()
    def decorated():
        return x * 2

    assert not decorated().requires_grad
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert (x * 2).requires_grad


def test_constants_get_no_gradient_and_detach_cuts():
    x, constant = Tensor([2.0], requires_grad=True), Tensor([3.0])
    (x * constant + x.detach() * x).sum().backward()
    assert x.grad.tolist() == [5.0] and constant.grad is None


def test_the_graph_is_freed_with_its_result():
    x = Tensor([1.0], requires_grad=True)
    middle = x * 2
    gone = weakref.ref(middle)
    result = middle * 3
    result.backward()
    gc.disable()
    try:
        del middle, result
        assert gone() is None  # without the garbage collector: there are no cycles
    finally:
        gc.enable()


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_dtype_is_kept(dtype):
    x = Tensor(np.ones((2, 3), dtype), requires_grad=True)
    for result in (
        x + 1,
        2 * x,
        x / 3,
        1 - x,
        x**2,
        x**0.5,
        x + np.float64(2),
        x * np.array([1, 0, 1]),
        x.mean(),
        x.sum(1),
        x.max(0) @ Tensor(np.ones((3, 1), dtype)),
        backprop.softmax(x),
        backprop.cross_entropy(x, np.array([0, 2])),
        backprop.where(np.array([True, False, True]), x, 0.0),
        backprop.concatenate([x, x]),
        x[0] @ np.ones(3, dtype),
    ):
        assert result.dtype == dtype
        x.grad = None
        result.backward(np.ones(result.shape))
        assert x.grad.dtype == dtype
    assert Tensor([1, 2]).dtype == Tensor(True).dtype == np.float64


def test_mixed_dtypes_promote_and_each_gradient_keeps_its_own():
    x, y = Tensor(np.ones(2, np.float32), requires_grad=True), Tensor(np.ones(2), requires_grad=True)
    result = x * y
    result.sum().backward()
    assert result.dtype == np.float64 and x.grad.dtype == np.float32 and y.grad.dtype == np.float64


def test_arrays_on_the_left_leave_the_operation_to_the_tensor():
    x, a = Tensor(numbers(3, 3), requires_grad=True), numbers(3, 3, seed=1)
    for result, wanted in ((a + x, a + x.data), (a - x, a - x.data), (a * x, a * x.data), (a @ x, a @ x.data)):
        assert isinstance(result, Tensor) and np.array_equal(result.data, wanted)
    assert np.array_equal((a / x).data, a / x.data)


def test_the_way_to_add_an_operation_works_as_the_docstring_shows():
    def sine(x: Tensor) -> Tensor:
        return backprop.operation(np.sin(x.data), (x, lambda g: g * np.cos(x.data)))

    compare(sine, torch.sin, numbers(3, 2))


@pytest.mark.parametrize(
    "call, complaint",
    [
        (lambda x: x.backward(), r"shape \(2, 3\) needs a gradient"),
        (lambda x: x.backward(np.ones(3)), r"gradient has shape \(3,\), expected \(2, 3\)"),
        (lambda x: x.detach().sum().backward(), "depends on none with requires_grad=True"),
        (lambda x: Tensor(["a"]), "data has dtype <U1, expected real numbers"),
        (lambda x: Tensor([1j]), "data has dtype complex128"),
        (lambda x: backprop.cross_entropy(x, np.array([0, 3])), "labels run from 0 to 3, expected 0 to 2"),
        (lambda x: backprop.cross_entropy(x, np.array([-1, 0])), "labels run from -1 to 0, expected 0 to 2"),
        (lambda x: backprop.unbroadcast(np.ones((2, 3)), (2,)), r"\(2, 3\), expected one to which \(2,\) broadcasts"),
        (lambda x: backprop.unbroadcast(np.ones(3), (2, 3)), r"\(3,\), expected one to which \(2, 3\) broadcasts"),
    ],
)
def test_errors_name_what_came_and_what_was_expected(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call(Tensor(np.ones((2, 3)), requires_grad=True))


@given(some.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3))
def test_unbroadcast_is_the_adjoint_of_broadcasting(shapes):
    small, full = shapes.input_shapes[0], shapes.result_shape
    x, g = numbers(*small), numbers(*full, seed=1)
    assert np.isclose((np.broadcast_to(x, full) * g).sum(), (x * backprop.unbroadcast(g, small)).sum())


def test_what_a_tensor_says_of_itself():
    x = Tensor(np.zeros((2, 3), np.float32))
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((2, 3), 2, 6, 2, np.float32)
    assert repr(Tensor([1.0, 2.5], requires_grad=True)) == "Tensor([1. , 2.5], requires_grad=True)"
    assert Tensor([[7.0]]).item() == 7.0


# The check itself.


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: (x @ y).tanh().max(1),
        lambda x, y: backprop.softmax(x @ y, 0) * y.sum(0),
        lambda x, y: x.sum() * 2,  # does not depend on y
    ],
)
def test_check_gradients_accepts_what_is_right(function):
    assert check_gradients(function, numbers(3, 4), numbers(4, 2, seed=1)) < 1e-7


def test_check_gradients_finds_one_wrong_entry_and_names_it():
    def wrong(x):
        def rule(g):
            slope = 3 * x.data**2
            slope[1, 2] *= 1.001
            return g * slope

        return backprop.operation(x.data**3, (x, rule))

    with pytest.raises(ValueError, match=r"gradient of input 1 at \(1, 2\): backward says .*, nudging says"):
        check_gradients(lambda y, x: y * wrong(x), numbers(2, 3, low=1), numbers(2, 3, low=1, seed=1))


def test_check_gradients_refuses_a_missing_gradient_nan_and_float32():
    with pytest.raises(ValueError, match=r"backward says .*, nudging says"):
        check_gradients(lambda x: x.sum() + Tensor(x.data).sum() * 3, numbers(2))
    with pytest.raises(ValueError, match="gradient of input 0"):
        check_gradients(lambda x: backprop.operation(x.data, (x, lambda g: g * np.nan)), numbers(2))
    with pytest.raises(ValueError, match="input 0 has dtype float32, expected float64"):
        check_gradients(lambda x: x, numbers(2).astype(np.float32))


def test_numerical_gradient_of_a_quadratic_form_is_known():
    matrix, at = numbers(3, 3), numbers(3, seed=1)
    before = at.copy()
    slopes = backprop.numerical_gradient(lambda x: float(x @ matrix @ x), at)
    assert np.allclose(slopes, (matrix + matrix.T) @ at) and np.array_equal(at, before)


# Single numbers.


@given(st.integers(0, 10_000))
@settings(deadline=None)
def test_the_scalar_engine_equals_torch(seed):
    start = numbers(3, low=0.5, high=1.5, seed=seed).tolist()

    def story(a, b, c, tanh, relu, exp, log):
        d = a * b + 1 - c / a
        e = tanh(d) + relu(d - 2 * b) * d + 3
        return exp(-e) * e**2 + log(e * e) + 1 / b - d**-3 + 5 - c**0

    ours, theirs = [Value(x) for x in start], [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in start]
    result = story(*ours, Value.tanh, Value.relu, Value.exp, Value.log)
    wanted = story(*theirs, torch.tanh, torch.relu, torch.exp, torch.log)
    result.backward()
    wanted.backward()
    assert math.isclose(result.data, wanted.item(), rel_tol=1e-9)
    for value, twin in zip(ours, theirs, strict=True):
        assert math.isclose(value.grad, twin.grad.item(), rel_tol=1e-6, abs_tol=1e-9)


def test_scalar_gradients_add_up_only_at_given_numbers():
    a = Value(3.0)
    b = a * a
    c = b * 2
    c.backward()
    c.backward()
    assert a.grad == 24.0 and b.grad == 2.0


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_scalar_and_array_network_agree_number_by_number(activation):
    network = backprop.MLP((3, 4, 2), activation, seed=1)
    points, labels = numbers(2, 3), np.array([0, 1])
    backprop.cross_entropy(network(Tensor(points)), labels).backward()
    layers = [
        ([[Value(w) for w in row] for row in layer.weight.data.tolist()], [Value(b) for b in layer.bias.data.tolist()])
        for layer in network.layers
    ]
    activate = getattr(Value, activation)
    losses = [
        scalar.cross_entropy(scalar.mlp(layers, point, activate), label)
        for point, label in zip(points.tolist(), labels.tolist(), strict=True)
    ]
    (sum(losses) / 2).backward()
    for (weights, biases), layer in zip(layers, network.layers, strict=True):
        assert np.allclose([[w.grad for w in row] for row in weights], layer.weight.grad, rtol=1e-9, atol=1e-12)
        assert np.allclose([b.grad for b in biases], layer.bias.grad, rtol=1e-9, atol=1e-12)
