r"""Reverse-mode automatic differentiation over NumPy arrays: every operation remembers where its result came from.

A `Tensor` holds an array of floating-point numbers. Each operation on tensors makes a new one and notes its inputs,
each with a *rule*: a function that turns the gradient by the result into the gradient by that input (a
vector–Jacobian product). `backward` walks the graph from the end to the start, applies the rules, and adds up what
arrives at each tensor. That is all.

To add an operation, compute its value with NumPy and give `operation` one pair (input, rule) per tensor that went in:

    def sine(x: Tensor) -> Tensor:
        return operation(np.sin(x.data), (x, lambda g: g * np.cos(x.data)))

A rule gets a NumPy array g of the result's shape and returns an array of the input's shape. Where the operation
broadcast its input, the rule may return the broadcast shape: `backward` sums the copies back (`unbroadcast`).
Rules are called only for inputs that need a gradient, they must not write into g, and `check_gradients` proves them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

Rule = Callable[[np.ndarray], np.ndarray]
ArrayLike = np.ndarray | np.generic | Sequence | float | int

_recording = True


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    r"""Inside this block, or in a function it decorates, operations remember nothing: faster, and no backward pass.

    >>> x = Tensor([1.0], requires_grad=True)
    >>> with no_grad():
    ...     (x * 2).requires_grad
    False
    """
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


def operation(value: ArrayLike, *inputs: tuple[Tensor, Rule]) -> Tensor:
    r"""Makes the result of an operation: its value, and for each input a rule for the gradient.

    >>> x = Tensor([3.0], requires_grad=True)
    >>> operation(x.data**3, (x, lambda g: g * 3 * x.data**2)).sum().backward()
    >>> x.grad
    array([27.])
    """
    result = Tensor(value)
    if _recording:
        result._inputs = tuple(pair for pair in inputs if pair[0].requires_grad)
        result.requires_grad = bool(result._inputs)
    return result


def unbroadcast(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    r"""Sums a gradient over the axes along which an array of `shape` was repeated.

    A number that was used n times gets n shares of blame.

    Raises: ValueError when `shape` does not broadcast to the gradient's shape.

    >>> unbroadcast(np.ones((4, 2, 3)), (2, 1))
    array([[12.],
           [12.]])
    """
    if gradient.shape == shape:
        return gradient
    new = gradient.ndim - len(shape)
    lined_up = zip(shape, gradient.shape[new:], strict=True) if new >= 0 else [(0, -1)]
    if any(size not in (1, full) for size, full in lined_up):
        raise ValueError(f"gradient: shape {gradient.shape}, expected one to which {shape} broadcasts")
    repeated = [axis for axis in range(gradient.ndim) if axis < new or shape[axis - new] == 1]
    return np.asarray(gradient.sum(axis=tuple(repeated))).reshape(shape)


class Tensor:
    r"""An array of floating-point numbers that remembers how it was computed.

    data            what `np.asarray` understands, not copied; whole numbers and bools become float64
    requires_grad   whether `backward` shall find a gradient for it
    After `backward`, `grad` of a tensor made with requires_grad=True holds ∂(result)/∂(tensor), an array of its
    shape and dtype; a further `backward` adds to it, until it is set to None.

    Constants in a formula may be plain numbers and arrays; plain numbers take the tensor's dtype.
    Do not write into `data` between the forward and the backward pass: rules look at it again.

    >>> x = Tensor([1.0, 2.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> y, x.grad
    (Tensor(5., requires_grad=True), array([2., 4.]))
    """

    __slots__ = ("__weakref__", "_inputs", "data", "grad", "requires_grad")
    __array_ufunc__ = None  # so that array + tensor is left to the tensor
    __hash__ = object.__hash__

    def __init__(self, data: ArrayLike, requires_grad: bool = False):
        self.data = np.asarray(data)
        if self.data.dtype.kind in "bui":
            self.data = self.data.astype(np.float64)
        if self.data.dtype.kind != "f":
            raise ValueError(f"data has dtype {self.data.dtype}, expected real numbers")
        self.requires_grad = requires_grad
        self.grad: np.ndarray | None = None
        self._inputs: tuple[tuple[Tensor, Rule], ...] = ()

    # The backward pass.

    def backward(self, gradient: ArrayLike | None = None) -> None:
        r"""Adds to `grad` of every tensor this one was computed from, by the chain rule.

        ∂/∂x Σ gradient ⊙ self

        gradient   of self's shape; may be left out when self is a single number, and is 1 then
        Raises: ValueError when self needs no gradient, is not a single number, or the gradient has
        another shape. Cost: about twice the forward pass.
        Source: linnainmaa1976taylor, baydin2018automatic.
        """
        if not self.requires_grad:
            raise ValueError("backward from a tensor that depends on none with requires_grad=True")
        if gradient is None and self.size != 1:
            raise ValueError(f"backward from shape {self.shape} needs a gradient of that shape")
        seed = np.ones_like(self.data) if gradient is None else np.asarray(gradient, self.dtype)
        if seed.shape != self.shape:
            raise ValueError(f"gradient has shape {seed.shape}, expected {self.shape}")
        arrived = {id(self): seed}
        for tensor in reversed(self._topological_order()):
            g = np.asarray(arrived.pop(id(tensor)))  # a sum without axes is a bare number in NumPy
            if not tensor._inputs:
                tensor.grad = np.array(g) if tensor.grad is None else tensor.grad + g
            for source, rule in tensor._inputs:
                share = unbroadcast(np.asarray(rule(g)), source.shape)
                share = share.astype(source.dtype, copy=False)
                known = id(source) in arrived
                arrived[id(source)] = arrived[id(source)] + share if known else share

    def _topological_order(self) -> list[Tensor]:
        """Every tensor that leads to this one, each after all those it was computed from."""
        order, seen, waiting = [], set(), [(self, False)]
        while waiting:  # a stack of our own: a thousand layers would be too deep for Python's
            tensor, sources_done = waiting.pop()
            if sources_done:
                order.append(tensor)
            elif id(tensor) not in seen:
                seen.add(id(tensor))
                waiting.append((tensor, True))
                waiting.extend((source, False) for source, _ in tensor._inputs)
        return order

    # Arithmetic. Both inputs may be broadcast.

    def __add__(self, other: Tensor | ArrayLike) -> Tensor:
        other = self._constant(other)
        return operation(self.data + other.data, (self, lambda g: g), (other, lambda g: g))

    def __mul__(self, other: Tensor | ArrayLike) -> Tensor:
        other = self._constant(other)
        return operation(
            self.data * other.data,
            (self, lambda g: g * other.data),
            (other, lambda g: g * self.data),
        )

    def __sub__(self, other: Tensor | ArrayLike) -> Tensor:
        other = self._constant(other)
        return operation(self.data - other.data, (self, lambda g: g), (other, lambda g: -g))

    def __truediv__(self, other: Tensor | ArrayLike) -> Tensor:
        other = self._constant(other)
        value = self.data / other.data
        return operation(value, (self, lambda g: g / other.data), (other, lambda g: -g * value / other.data))

    def __neg__(self) -> Tensor:
        return operation(-self.data, (self, lambda g: -g))

    def __pow__(self, exponent: float | int) -> Tensor:
        def rule(g: np.ndarray) -> np.ndarray:
            return g * (exponent * self.data ** (exponent - 1) if exponent else 0)  # x⁰ is flat, also at 0

        return operation(self.data**exponent, (self, rule))

    def __matmul__(self, other: Tensor | ArrayLike) -> Tensor:
        r"""Matrix product over the last two axes, those before are a batch: C = AB, ∂A = ∂C Bᵀ, ∂B = Aᵀ ∂C."""
        other = self._constant(other)
        if self.ndim == 1:  # a vector from the left is one row, from the right one column
            return (self.reshape(1, -1) @ other)[..., 0, :] if other.ndim > 1 else (self * other).sum()
        if other.ndim == 1:
            return (self @ other.reshape(-1, 1))[..., 0]
        return operation(
            self.data @ other.data,
            (self, lambda g: g @ other.data.swapaxes(-1, -2)),
            (other, lambda g: self.data.swapaxes(-1, -2) @ g),
        )

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: ArrayLike) -> Tensor:
        return self._constant(other) - self

    def __rtruediv__(self, other: ArrayLike) -> Tensor:
        return self._constant(other) / self

    def __rmatmul__(self, other: ArrayLike) -> Tensor:
        return self._constant(other) @ self

    def _constant(self, other: Tensor | ArrayLike) -> Tensor:
        """The other side of an operation as a tensor; what is not an array of floats takes this tensor's dtype."""
        if isinstance(other, Tensor):
            return other
        exact = isinstance(other, np.ndarray) and other.dtype.kind == "f"
        return Tensor(other if exact else np.asarray(other, dtype=self.dtype))

    # Functions of every number.

    def exp(self) -> Tensor:
        r"""eˣ; back goes g·eˣ."""
        value = np.exp(self.data)
        return operation(value, (self, lambda g: g * value))

    def log(self) -> Tensor:
        r"""log x; back goes g/x."""
        return operation(np.log(self.data), (self, lambda g: g / self.data))

    def tanh(self) -> Tensor:
        r"""tanh x; back goes g·(1 − tanh² x)."""
        value = np.tanh(self.data)
        return operation(value, (self, lambda g: g * (1 - value**2)))

    def sigmoid(self) -> Tensor:
        r"""σ(x) = 1/(1 + e⁻ˣ); back goes g·σ·(1 − σ)."""
        value = np.exp(-np.logaddexp(0, -self.data))  # neither overflows nor rounds to 0 too early
        return operation(value, (self, lambda g: g * value * (1 - value)))

    def relu(self) -> Tensor:
        r"""max(0, x); back goes g where x > 0, in the corner 0."""
        return operation(np.maximum(self.data, 0), (self, lambda g: g * (self.data > 0)))

    # Reductions. `axis` is a number, several, or None for all.

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        r"""Adds up; back goes g to every number that was added."""
        return operation(
            self.data.sum(axis, keepdims=keepdims),
            (self, lambda g: np.broadcast_to(self._restore(g, axis, keepdims), self.shape)),
        )

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        r"""The sum, divided by how many numbers went into each."""
        total = self.sum(axis, keepdims)
        return total * (total.size / self.size)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        r"""The largest number; where several are equally large they share the gradient, as in torch's amax."""
        value = np.asarray(self.data.max(axis, keepdims=keepdims))

        def rule(g: np.ndarray) -> np.ndarray:
            largest = self.data == self._restore(value, axis, keepdims)
            return self._restore(g, axis, keepdims) * largest / largest.sum(axis, keepdims=True)

        return operation(value, (self, rule))

    @staticmethod
    def _restore(reduced: np.ndarray, axis: int | tuple[int, ...] | None, keepdims: bool) -> np.ndarray:
        """A reduced array with axes of size one where the reduction took them away."""
        return reduced if keepdims or axis is None else np.expand_dims(reduced, axis)

    # The same numbers at other places.

    def reshape(self, *shape: int) -> Tensor:
        r"""The same numbers in rows of another length; one size may be −1."""
        return operation(self.data.reshape(shape), (self, lambda g: g.reshape(self.shape)))

    def transpose(self, *axes: int) -> Tensor:
        r"""The axes in another order, as np.transpose: reversed when none are named."""
        axes = tuple(axis % self.ndim for axis in axes) or tuple(reversed(range(self.ndim)))
        return operation(self.data.transpose(axes), (self, lambda g: g.transpose(np.argsort(axes))))

    def __getitem__(self, index) -> Tensor:
        r"""The chosen numbers, by any index NumPy knows; what is chosen twice gets both gradients."""

        def rule(g: np.ndarray) -> np.ndarray:
            whole = np.zeros_like(self.data)
            if any(isinstance(part, list | np.ndarray) for part in (index if isinstance(index, tuple) else (index,))):
                np.add.at(whole, index, g)  # an array may name one place twice
            else:
                whole[index] = g
            return whole

        return operation(self.data[index], (self, rule))

    @property
    def T(self) -> Tensor:
        r"""All axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Tensor:
        r"""The last two axes exchanged."""
        return operation(self.data.swapaxes(-1, -2), (self, lambda g: g.swapaxes(-1, -2)))

    # What one asks an array.

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        shown = np.array2string(self.data, separator=", ", prefix="Tensor(")
        return f"Tensor({shown}{', requires_grad=True' if self.requires_grad else ''})"

    def item(self) -> float:
        r"""The number itself, when there is just one."""
        return self.data.item()

    def detach(self) -> Tensor:
        r"""The same numbers as a constant: no gradient flows past it."""
        return Tensor(self.data)
