"""A tiny exercise with everything an exercise has, for testing the engine."""

import numpy as np
import torch

from autograder.exercise import Case, Exercise


def centre(x):
    """x − mean(x), in torch."""
    return x - x.mean(-1, keepdim=True)


centred = Exercise(
    "toy.centred",
    reference=centre,
    facets={"values": 2, "length one": 1, "gradients": 1, "dtype": 1, "no side effects": 1},
    forbidden=("softmax",),
    difficulty=1,
    minutes=5,
    seconds=2,
)


@centred.cases
def centred_cases(rng):
    for _ in range(3):
        yield Case("a few numbers", x=rng.normal(size=(2, int(rng.integers(2, 6)))))
    yield Case("three axes", x=rng.normal(size=(2, 3, 4)))
    yield Case("float32", x=rng.normal(size=(2, 3)).astype(np.float32))
    yield Case("one number a row", "length one", x=rng.normal(size=(3, 1)))


@centred.probe
def centred_probe(answer, x):
    import torch

    x = torch.from_numpy(x).requires_grad_()
    result = answer(x)
    (gradient,) = torch.autograd.grad((result**2).sum(), x)
    return {"result": result, "gradient": gradient}


@centred.alternative
def by_matmul(x):
    n = x.shape[-1]
    return x @ (torch.eye(n, dtype=x.dtype) - torch.full((n, n), 1 / n, dtype=x.dtype))


@centred.alternative
def by_sum(x):
    return x - x.sum(-1, keepdim=True) / x.shape[-1]


@centred.mistake(hint="Over which axis?")
def mean_of_everything(x):
    """One mean is taken over the whole array."""
    return x - x.mean()


centred.slip(
    "n − 1 for n", by_sum, "/ x.shape[-1]", "/ max(x.shape[-1] - 1, 1)", cause="Divided by n − 1.", hint="Count."
)
