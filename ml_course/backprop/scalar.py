r"""The same idea for single numbers: slow, and the best explanation there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Number = float | int


class Value:
    r"""A number that remembers how it was computed.

    sources   the numbers it was computed from, each with ∂(this)/∂(source)
    After `backward` of the result, `grad` holds ∂(result)/∂(this).
    Source: after micrograd, karpathy2020micrograd.

    >>> a, b = Value(2.0), Value(-3.0)
    >>> c = a * b + a**2
    >>> c.backward()
    >>> c, a.grad, b.grad
    (Value(-2.0), 1.0, 2.0)
    """

    __slots__ = ("data", "grad", "sources")

    def __init__(self, data: Number, sources: Sequence[tuple[Value, float]] = ()):
        self.data, self.grad, self.sources = float(data), 0.0, sources

    def __add__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data + other.data, [(self, 1.0), (other, 1.0)])

    def __mul__(self, other: Value | Number) -> Value:
        other = _value(other)
        return Value(self.data * other.data, [(self, other.data), (other, self.data)])

    def __pow__(self, exponent: Number) -> Value:
        return Value(self.data**exponent, [(self, exponent * self.data ** (exponent - 1) if exponent else 0.0)])

    def exp(self) -> Value:
        result = math.exp(self.data)
        return Value(result, [(self, result)])

    def log(self) -> Value:
        return Value(math.log(self.data), [(self, 1 / self.data)])

    def tanh(self) -> Value:
        result = math.tanh(self.data)
        return Value(result, [(self, 1 - result**2)])

    def relu(self) -> Value:
        return Value(max(self.data, 0.0), [(self, float(self.data > 0))])

    def __neg__(self) -> Value:
        return self * -1

    def __sub__(self, other: Value | Number) -> Value:
        return self + -_value(other)

    def __rsub__(self, other: Number) -> Value:
        return _value(other) - self

    def __truediv__(self, other: Value | Number) -> Value:
        return self * _value(other) ** -1

    def __rtruediv__(self, other: Number) -> Value:
        return _value(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def backward(self) -> None:
        r"""Adds ∂(this)/∂(source) to `grad` of everything this number was computed from.

        A number is visited once, when all that was computed from it has been.
        """
        order = self.topological_order()
        for value in order:
            if value.sources:
                value.grad = 0.0  # only given numbers collect slopes over several calls
        self.grad += 1.0
        for value in reversed(order):
            for source, slope in value.sources:
                source.grad += slope * value.grad

    def topological_order(self) -> list[Value]:
        r"""All numbers that lead to this one, each after those it was computed from."""
        order, seen, waiting = [], set(), [(self, False)]
        while waiting:
            value, sources_done = waiting.pop()
            if sources_done:
                order.append(value)
            elif value not in seen:
                seen.add(value)
                waiting.append((value, True))
                waiting.extend((source, False) for source, _ in value.sources)
        return order

    def __repr__(self) -> str:
        return f"Value({self.data})"


def layer(weights: Sequence[Sequence[Value]], biases: Sequence[Value], inputs: Sequence[Value | Number]) -> list[Value]:
    r"""A layer's sums for one point, number by number: zᵢ = Σⱼ wᵢⱼ xⱼ + bᵢ.

    >>> layer([[Value(2.0), Value(1.0)]], [Value(0.5)], [1.0, -1.0])
    [Value(1.5)]
    """
    sums = []
    for row, bias in zip(weights, biases, strict=True):
        total = bias
        for weight, x in zip(row, inputs, strict=True):
            total = total + weight * x
        sums.append(total)
    return sums


def mlp(
    layers: Sequence[tuple[Sequence[Sequence[Value]], Sequence[Value]]],
    inputs: Sequence[Value | Number],
    activation: Callable[[Value], Value] = Value.relu,
) -> list[Value]:
    r"""A fully connected network's logits for one point; `layers` holds pairs (weights, biases), the last without g.

    >>> one = [[Value(1.0)]], [Value(0.0)]
    >>> mlp([one, one], [-3.0])
    [Value(0.0)]
    """
    for weights, biases in layers[:-1]:
        inputs = [activation(total) for total in layer(weights, biases, inputs)]
    return layer(*layers[-1], inputs)


def cross_entropy(logits: Sequence[Value], label: int) -> Value:
    r"""Surprise at the true class of one point, in nats: log Σⱼ e^(zⱼ) − z_label; the largest logit is taken out.

    >>> cross_entropy([Value(0.0), Value(0.0)], 1)  # log 2
    Value(0.6931471805599453)
    """
    largest = max(logit.data for logit in logits)
    total = sum(((logit - largest).exp() for logit in logits), Value(0.0))
    return total.log() + largest - logits[label]


def _value(number: Value | Number) -> Value:
    return number if isinstance(number, Value) else Value(number)
