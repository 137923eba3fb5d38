r"""Long memory: the bias that gives it, tasks that cannot do without, and what the gradient keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml_course.gated.gru import GRU
from ml_course.gated.lstm import LSTM
from ml_course.rnn.scan import State


def memory_bias(steps: int, share: float = 0.5) -> float:
    r"""The bias of a forget gate, alone in its sum, that leaves this share of a cell state after so many steps.

    σ(b)^steps = share,  b = −ln(share^(−1/steps) − 1);  for share = 1/e and many steps about ln(steps)

    Raises: ValueError when steps is below 1 or share not between 0 and 1. Source: tallec2018warp, who
    draw the biases of a layer so that its gates remember for times of all lengths.

    >>> round(memory_bias(1), 3), round(memory_bias(100), 3), round(memory_bias(10**6), 3)
    (0.0, 4.968, 14.182)
    """
    if steps < 1 or not 0 < share < 1:
        raise ValueError(f"steps = {steps}, share = {share}: expected at least 1 step and a share between 0 and 1")
    return math.log(1 / math.expm1(-math.log(share) / steps))


@torch.no_grad()
def chrono_biases(layer: LSTM | GRU, longest: int) -> None:
    r"""Sets the biases of a layer's gates anew, so that its numbers remember for times from 2 to `longest` steps.

    b_f = ln u,  b_i = −ln u  in an LSTM;  b_z = ln u  in a GRU;  u ~ U(1, longest − 1), for each number its own

    A gate that keeps 1 − 1/T remembers for about T steps; where it keeps much, little new is let in. The other of
    torch's two biases becomes zero for these gates. Raises: ValueError when longest is below 3, or there is no bias.
    Source: tallec2018warp, section 3, with the sign of z as torch has it.

    >>> layer = LSTM(3, 4)
    >>> chrono_biases(layer, longest=100)
    >>> keep = torch.sigmoid(layer.bias_ih_l0[4:8])
    >>> bool(((keep >= 0.5) & (keep < 0.99)).all())
    True
    """
    if longest < 3:
        raise ValueError(f"longest = {longest}, expected at least 3 steps")
    biases = {name: bias for name, bias in layer.named_parameters() if name.startswith("bias")}
    if not biases:
        raise ValueError("layer has no biases, and so no times to set")
    hidden = layer.hidden
    for name, bias in biases.items():
        in_lstm = len(bias) == 4 * hidden
        kept, written = slice(hidden, 2 * hidden), slice(0, hidden)
        bias[kept] = 0
        if in_lstm:
            bias[written] = 0
        if name.startswith("bias_ih"):
            times = torch.log(torch.empty_like(bias[kept]).uniform_(1, longest - 1))
            bias[kept] = times
            if in_lstm:
                bias[written] = -times


class Sums(NamedTuple):
    r"""Questions of the adding problem and their answers."""

    inputs: Float[Tensor, "batch time 2"]  # a number, and a mark: 1 where the number counts, else 0
    targets: Float[Tensor, " batch"]  # the sum of the two marked numbers


def adding_problem(batch: int, time: int, generator: torch.Generator | None = None) -> Sums:
    r"""Two of many random numbers are marked: what is their sum?

    x_t ~ U(0, 1);  one mark in the first half, one in the second;  target = Σ x_t mark_t

    Who forgets everything can do no better than answer 1, with a mean squared error of 1/6.

    Raises: ValueError when time is below 2. Source: hochreiter1997long, experiment 4, with numbers from 0 to 1.

    >>> sums = adding_problem(3, time=10)
    >>> sums.inputs.shape, sums.inputs[..., 1].sum(1)
    (torch.Size([3, 10, 2]), tensor([2., 2., 2.]))
    """
    if time < 2:
        raise ValueError(f"time = {time}, expected at least 2: two numbers are marked")
    numbers, marks = torch.rand(batch, time, generator=generator), torch.zeros(batch, time)
    rows = torch.arange(batch)
    marks[rows, torch.randint(0, time // 2, (batch,), generator=generator)] = 1
    marks[rows, torch.randint(time // 2, time, (batch,), generator=generator)] = 1
    return Sums(torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(1))


class Copies(NamedTuple):
    r"""Texts of the copy task, and what has to be said at their end."""

    tokens: Int[Tensor, "batch time"]  # 0 is blank, 1 … symbols are the text, symbols + 1 means: now
    targets: Int[Tensor, "batch length"]  # the text again, at the last `length` times


def copy_task(
    batch: int, length: int, delay: int, symbols: int = 8, generator: torch.Generator | None = None
) -> Copies:
    r"""Some symbols, a long silence, a sign: now say them again, in order.

    tokens = text (length), blanks (delay), the sign, blanks (length − 1): length + delay + length in all

    length    how many symbols there are to remember; delay: for how many steps nothing happens
    Who forgets everything guesses right with a chance of 1/symbols, at a loss of ln(symbols) nats.

    Raises: ValueError when length or symbols is below 1, or delay below 0. Source: hochreiter1997long, experiment 2,
    in the form of arjovsky2016unitary, section 5.1.

    >>> copies = copy_task(1, length=2, delay=3, generator=torch.Generator().manual_seed(0))
    >>> copies.tokens.tolist(), copies.targets.tolist()
    ([[5, 8, 0, 0, 0, 9, 0]], [[5, 8]])
    """
    if length < 1 or symbols < 1 or delay < 0:
        raise ValueError(f"length = {length}, symbols = {symbols}, delay = {delay}: expected 1, 1 and 0 at least")
    text = torch.randint(1, symbols + 1, (batch, length), generator=generator)
    silence = torch.zeros(batch, delay, dtype=torch.long)
    sign = torch.full((batch, 1), symbols + 1)
    rest = torch.zeros(batch, length - 1, dtype=torch.long)
    return Copies(torch.cat([text, silence, sign, rest], dim=1), text)


def gradient_flow(
    cell: Callable[[Tensor, Any], State], inputs: Float[Tensor, "batch time features"]
) -> Float[Tensor, "batch time"]:
    r"""How much the memory at the end would move if the memory after each step moved: what the way back lets through.

    ‖∂m_time/∂mₜ‖ / √hidden, the length of the Jacobian, so that nothing lost is 1;  m is c in an LSTM, otherwise h

    cell   cell(input, state) → state, from no state at the start: RNNCell, LSTMCell, GRUCell, or torch's
    Cost: one pass forward, and one back for each number in the state.

    >>> gradient_flow(lambda x, state: x if state is None else 0.5 * state + x, torch.zeros(1, 4, 2))
    tensor([[0.1250, 0.2500, 0.5000, 1.0000]])
    """
    state, memories = None, []
    for now in inputs.detach().requires_grad_().unbind(1):
        state = cell(now, state)
        memories.append(state if isinstance(state, Tensor) else state[-1])
    last = memories[-1]
    squared = torch.zeros(inputs.shape[:2], dtype=last.dtype, device=last.device)
    for number in range(last.shape[1]):
        slopes = torch.autograd.grad(last[:, number].sum(), memories, retain_graph=True)
        squared += torch.stack([slope.square().sum(1) for slope in slopes], dim=1)
    return (squared / last.shape[1]).sqrt()
