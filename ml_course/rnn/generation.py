r"""Writing with a language model: which token comes next, and how to go on from there.

A *model* is anything that maps tokens (batch, time) to logits (batch, time, vocab), where the logits at time t tell of
token t + 1. A *filter* maps logits to logits: `temperature`, `top_k`, `top_p`. A *choice* maps the logits of the last
time (batch, vocab) and a random generator to tokens (batch): `greedy`, or one that `sampling` makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Choice = Callable[[Tensor, torch.Generator | None], Tensor]


def temperature(logits: Float[Tensor, "*batch vocab"], degree: float | int) -> Float[Tensor, "*batch vocab"]:
    r"""Sharpens (degree < 1) or flattens (degree > 1) what `softmax` makes of the logits.

    z / T, so that p ∝ p₁^(1/T):  T → 0 leaves only the likeliest token, T → ∞ makes all alike

    Raises: ValueError when the degree is not positive. Source: ackley1985learning.

    >>> temperature(torch.tensor([3.0, 1.0]), 0.5)
    tensor([6., 2.])
    """
    if not degree > 0:
        raise ValueError(f"degree = {degree}, expected a positive number; for the limit 0 choose `greedy`")
    return logits / degree


def top_k(logits: Float[Tensor, "*batch vocab"], k: int) -> Float[Tensor, "*batch vocab"]:
    r"""Keeps the k largest logits; the others become −∞, probability 0. Of equal ones the first is kept.

    Raises: ValueError when k is below 1. Cost: one sort. Source: fan2018hierarchical.

    >>> top_k(torch.tensor([1.0, 4.0, 2.0]), k=2)
    tensor([-inf, 4., 2.])
    """
    if k < 1:
        raise ValueError(f"k = {k}, expected at least 1")
    order = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.scatter(-1, order[..., k:], -torch.inf)


def top_p(logits: Float[Tensor, "*batch vocab"], p: float | int) -> Float[Tensor, "*batch vocab"]:
    r"""Keeps the *nucleus*: as few of the likeliest tokens as have probability p together; the others become −∞.

    The token with which the sum reaches p still belongs to it, so that one is always left.

    Raises: ValueError when p is not in 0 < p ≤ 1. Cost: one sort. Source: holtzman2020curious, section 3.1.

    >>> top_p(torch.tensor([0.2, 0.5, 0.3]).log(), p=0.6).exp()
    tensor([0.0000, 0.5000, 0.3000])
    """
    if not 0 < p <= 1:
        raise ValueError(f"p = {p}, expected 0 < p ≤ 1")
    order = logits.argsort(dim=-1, descending=True, stable=True)
    exact = torch.promote_types(logits.dtype, torch.float32)  # sums of many small bfloat16 numbers go astray
    probability = logits.gather(-1, order).softmax(-1, dtype=exact)
    before = probability.cumsum(-1) - probability  # of all likelier tokens
    beyond = before >= p
    beyond[..., 0] = False
    return logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)


def greedy(logits: Float[Tensor, "batch vocab"], generator: torch.Generator | None = None) -> Int[Tensor, " batch"]:
    r"""Chooses the likeliest token; chance has no part in it.

    >>> greedy(torch.tensor([[0.1, 3.0, 0.2]]))
    tensor([1])
    """
    return logits.argmax(-1)


def sampling(degree: float | int = 1.0, *, k: int | None = None, p: float | int | None = None) -> Choice:
    r"""Makes a choice that draws a token by its probability, after `temperature`, then `top_k`, then `top_p`.

    degree   of the temperature; 1 leaves the model's probabilities
    k, p     of the two filters; None leaves one out
    Raises: ValueError when it is called and a number is out of its range.

    >>> choose = sampling(k=1)
    >>> choose(torch.tensor([[0.1, 3.0, 0.2]]), torch.Generator())
    tensor([1])
    """

    def choose(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        logits = temperature(logits, degree)
        if k is not None:
            logits = top_k(logits, k)
        if p is not None:
            logits = top_p(logits, p)
        exact = torch.promote_types(logits.dtype, torch.float32)
        return torch.multinomial(logits.softmax(-1, dtype=exact), 1, generator=generator)[:, 0]

    return choose


@torch.no_grad()
def generate(
    model: Callable[..., Any],
    prompt: Int[Tensor, "batch time"],
    steps: int,
    *,
    choose: Choice = greedy,
    generator: torch.Generator | None = None,
    eos: int | None = None,
    filler: int = 0,
    stateful: bool = False,
) -> Int[Tensor, "batch extended"]:
    r"""Continues each row of the prompt, token by token, with what the model expects next.

    model      model(tokens) → logits (batch, time, vocab). It sees all tokens so far at every step
    steps      how many tokens at most are added
    choose     choose(logits, generator) → tokens: `greedy`, or what `sampling` makes
    generator  of the random numbers, on the device of the logits; torch's own when None
    eos        the token that ends a row; what follows in it is `filler`. All ended, it stops. None: nothing ends a row
    stateful   the model remembers: model(tokens, state) → logits, state. It is called with the prompt and None, and
               then with the newest token and the state it returned last, so that each step costs the same
    A model with dropout should be in evaluation mode.

    Raises: ValueError when the prompt is empty, steps is negative, or the model's logits are not (batch, time, vocab).

    >>> def count_up(tokens):  # after n comes n + 1
    ...     return torch.nn.functional.one_hot(tokens + 1, 10).float()
    >>> generate(count_up, torch.tensor([[2, 3], [6, 7]]), steps=4, eos=8)
    tensor([[2, 3, 4, 5, 6, 7],
            [6, 7, 8, 0, 0, 0]])
    """
    if steps < 0:
        raise ValueError(f"steps = {steps}, expected 0 or more")
    if prompt.shape[1] == 0:
        raise ValueError(f"prompt has shape {tuple(prompt.shape)}, expected at least one token to begin with")
    tokens, new, state = prompt, prompt, None
    ended = torch.zeros(len(prompt), dtype=torch.bool, device=prompt.device)
    for _ in range(steps):
        if stateful:
            logits, state = model(new, state)
        else:
            logits = model(tokens)
        if logits.ndim != 3 or len(logits) != len(prompt):
            raise ValueError(f"model gave logits of shape {tuple(logits.shape)}, expected ({len(prompt)}, time, vocab)")
        chosen = choose(logits[:, -1], generator).masked_fill(ended, filler)
        new = chosen[:, None]
        tokens = torch.cat([tokens, new], dim=1)
        if eos is not None:
            ended = ended | (chosen == eos)
            if ended.all():
                break
    return tokens
