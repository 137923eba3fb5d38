"""The exercise on what goes back through single operations."""

import numpy as np

from autograder.exercise import AUTOGRAD, Case, Exercise
from ml_course import backprop


def rule_of_the_engine(operation, inputs, gradient):
    """What the library's engine sends back, with the answer's signature."""
    tensors = [backprop.Tensor(array, requires_grad=True) for array in inputs]
    functions = {"multiply": lambda x, y: x * y, "relu": lambda x: x.relu(), "matmul": lambda x, y: x @ y}
    functions[operation](*tensors).backward(gradient)
    return [tensor.grad for tensor in tensors]


rule = Exercise(
    "backprop.rule",
    difficulty=1,
    minutes=15,
    reference=rule_of_the_engine,
    facets={"multiply": 1, "relu": 1, "matmul": 2},
    forbidden=AUTOGRAD,
    equivalent_mutants={
        f"return [gradient @ b.swapaxes(-1, -2), a.swapaxes(-1, -2) @ gradient] → {changed}": "the same two axes"
        for changed in (
            "return [gradient @ b.swapaxes(-2, -1), a.swapaxes(-1, -2) @ gradient]",
            "return [gradient @ b.swapaxes(-1, -2), a.swapaxes(-2, -1) @ gradient]",
        )
    },
)


@rule.cases
def rule_cases(rng):
    shape = tuple(map(int, rng.integers(2, 5, size=2)))

    def case(label, facet, operation, first, second, result):
        return Case(
            label,
            facet,
            operation=operation,
            first=rng.normal(size=first),
            second=None if second is None else rng.normal(size=second),
            gradient=rng.normal(size=result),
        )

    yield case("multiply two matrices", "multiply", "multiply", shape, shape, shape)
    yield case("multiply two numbers", "multiply", "multiply", (), (), ())
    yield case("relu of a matrix", "relu", "relu", shape, None, shape)
    yield Case(
        "relu at its corner",
        "relu",
        operation="relu",
        first=np.array([-2.0, 0.0, 3.0]),
        second=None,
        gradient=np.array([5.0, 7.0, -11.0]),
    )
    n, k, m = map(int, rng.integers(2, 6, size=3))
    yield case("matmul of square matrices", "matmul", "matmul", (3, 3), (3, 3), (3, 3))
    yield case("matmul of matrices of random sizes", "matmul", "matmul", (n, k), (k, m), (n, m))
    yield case("matmul of one row by one column", "matmul", "matmul", (1, k), (k, 1), (1, 1))
    yield case("matmul of batches", "matmul", "matmul", (4, n, k), (4, k, m), (4, n, m))
    yield case("matmul of batches of batches", "matmul", "matmul", (2, 2, 2, 2), (2, 2, 2, 2), (2, 2, 2, 2))


@rule.probe
def rule_probe(answer, operation, first, second, gradient):
    gradients = answer(operation, [first] if second is None else [first, second], gradient)
    return {f"by input {number + 1}": gradients[number] for number in range(len(gradients))}


@rule.alternative
def one_function_each(operation, inputs, gradient):
    def multiply(x, y):
        return [y * gradient, x * gradient]

    def relu(x):
        passed = gradient.copy()
        passed[x <= 0] = 0
        return [passed]

    def matmul(x, y):
        return [
            np.einsum("...nm,...km->...nk", gradient, y),
            np.einsum("...nk,...nm->...km", x, gradient),
        ]

    return {"multiply": multiply, "relu": relu, "matmul": matmul}[operation](*inputs)


@rule.alternative
def number_by_number(operation, inputs, gradient):
    if operation == "relu":
        return [np.where(inputs[0] > 0, gradient, 0.0)]
    x, y = inputs
    if operation == "multiply":
        return [gradient * y, gradient * x]
    by_x, by_y = np.zeros(x.shape), np.zeros(y.shape)
    for place in np.ndindex(gradient.shape):
        *batch, i, j = place
        for k in range(x.shape[-1]):
            by_x[(*batch, i, k)] += gradient[place] * y[(*batch, k, j)]
            by_y[(*batch, k, j)] += gradient[place] * x[(*batch, i, k)]
    return [by_x, by_y]


def right_rule(operation, inputs, gradient):
    if operation == "multiply":
        x, y = inputs
        return [gradient * y, gradient * x]
    if operation == "relu":
        return [gradient * (inputs[0] > 0)]
    a, b = inputs
    return [gradient @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ gradient]


rule.slip(
    "factors not exchanged",
    right_rule,
    "[gradient * y, gradient * x]",
    "[gradient * x, gradient * y]",
    cause="Each factor of a product is multiplied by itself; the slope of x·y by x is y.",
    hint="Keep y fixed and nudge x a little: how much does x·y move?",
)
rule.slip(
    "nothing arrives from above",
    right_rule,
    "[gradient * y, gradient * x]",
    "[y, x]",
    cause="The product returns its local slope alone; the chain rule multiplies it by the gradient that arrives.",
    hint="Which of your three arguments does the product's rule not use?",
)
rule.slip(
    "relu looks at the gradient",
    right_rule,
    "[gradient * (inputs[0] > 0)]",
    "[np.maximum(gradient, 0)]",
    cause="ReLU is applied to the gradient: negative gradients are stopped, closed gates let positive ones through.",
    hint="What decides whether a ReLU passed its number on: that number, or what comes back later?",
)
rule.slip(
    "relu forgets the gradient",
    right_rule,
    "[gradient * (inputs[0] > 0)]",
    "[(inputs[0] > 0) * 1.0]",
    cause="ReLU returns its slope, 0 or 1, without the gradient that arrives.",
    hint="Suppose a gradient of 100 arrives at an open gate. What goes on?",
)
rule.slip(
    "relu open at zero",
    right_rule,
    "inputs[0] > 0",
    "inputs[0] >= 0",
    cause="At the corner x = 0 the gradient passes; the task takes 0 there, as torch does.",
    hint="Look at the case with an input of exactly zero.",
)
rule.slip(
    "all axes reversed",
    right_rule,
    "[gradient @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ gradient]",
    "[gradient @ b.T, a.T @ gradient]",
    cause="`.T` reverses *all* axes, the batch too; only the last two must be exchanged.",
    hint="Print b.shape and b.T.shape for an array of three axes.",
)
rule.slip(
    "factors on the wrong side",
    right_rule,
    "[gradient @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ gradient]",
    "[np.swapaxes(b, -1, -2) @ gradient, gradient @ np.swapaxes(a, -1, -2)]",
    cause="The product is taken in the wrong order: matrices may not be exchanged as numbers may.",
    hint="Write the shapes under the letters: which order gives ∂A the shape of A?",
)
rule.slip(
    "nothing transposed",
    right_rule,
    "[gradient @ np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2) @ gradient]",
    "[gradient @ b, a @ gradient]",
    cause="The other factor is not transposed. Square matrices do not complain.",
    hint="C is (n, m) and B is (k, m)ᵀ … write down the shape that ∂A must have.",
)
