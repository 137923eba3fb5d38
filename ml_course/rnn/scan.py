r"""What every recurrent network shares: going through time step by step, ragged batches, layers, two directions.

A *state* is a tensor (Elman's network, GRU) or a tuple of tensors (LSTM's h and c); the first part is what is put out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

State = Tensor | tuple[Tensor, ...]
Weights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # weight_ih, weight_hh, bias_ih, bias_hh


def scan(
    step: Callable[[Tensor, Any], Any],
    inputs: Float[Tensor, "batch time features"],
    state: State,
    lengths: Int[Tensor, " batch"] | None = None,
    *,
    reverse: bool = False,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    r"""Folds `step` over time: every step gets the input of its time and the state the step before left.

    sₜ = step(xₜ, sₜ₋₁),  outputs = first parts of s₁ … s_time; with `reverse` from the last time to the first

    step      step(input, state) → state; a tensor `batch hidden`, or a tuple of such
    lengths   how many of each row's times are real. Elsewhere the outputs are zeros, and the state stays as it was: the
              final one is that after the row's last token, and a reversed pass starts at that token. A gradient
              asks that what stands there is finite: 0 times NaN is NaN
    Raises: ValueError when there is no time step, or a length is not in 0 … time. Cost: `time` steps in sequence.

    >>> numbers = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [torch.nan]]])
    >>> outputs, state = scan(lambda x, s: s + x, numbers, torch.zeros(2, 1), lengths=torch.tensor([3, 2]))
    >>> outputs[..., 0].tolist(), state[:, 0].tolist()
    ([[1.0, 3.0, 6.0], [4.0, 9.0, 0.0]], [6.0, 9.0])
    """
    time = inputs.shape[1]
    if time == 0:
        raise ValueError(f"inputs has shape {tuple(inputs.shape)}, expected at least one time step")
    real = None if lengths is None else real_steps(lengths, time)
    slices = inputs.unbind(1)  # not inputs[:, t]: the gradient of each such slice is as large as all inputs
    outputs: list[Any] = [None] * time
    for t in reversed(range(time)) if reverse else range(time):
        new = step(slices[t], state)
        state = new if real is None else each(lambda new, old, now=real[:, t, None]: new.where(now, old), new, state)
        outputs[t] = state if isinstance(state, Tensor) else state[0]
    stacked = torch.stack(outputs, dim=1)
    return (stacked if real is None else stacked.masked_fill(~real[..., None], 0)), state


def real_steps(lengths: Int[Tensor, " batch"], time: int) -> Tensor:
    r"""True where a time step lies within its row's length: (batch, time), bool.

    Raises: ValueError when a length is not in 0 … time.

    >>> real_steps(torch.tensor([2, 0]), time=3)
    tensor([[ True,  True, False],
            [False, False, False]])
    """
    if len(lengths) and (lengths.min() < 0 or lengths.max() > time):
        raise ValueError(f"lengths has {lengths.tolist()}, expected numbers from 0 to time = {time}")
    return torch.arange(time, device=lengths.device) < lengths[:, None]


def each(function: Callable[..., Tensor], *states: State) -> State:
    r"""Applies a function to states part by part.

    >>> each(torch.add, (torch.ones(1), torch.zeros(1)), (torch.ones(1), torch.ones(1)))
    (tensor([2.]), tensor([1.]))
    """
    if isinstance(states[0], Tensor):
        return function(*states)
    return tuple(function(*parts) for parts in zip(*states, strict=True))


def add_weights(
    module: nn.Module,
    features: int,
    hidden: int,
    *,
    gates: int = 1,
    layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
) -> None:
    r"""Gives a module the parameters of a recurrent network, named as torch names them for `load_state_dict`.

    weight_ih_l0 (gates·hidden, features), weight_hh_l0 (gates·hidden, hidden), bias_ih_l0, bias_hh_l0 (gates·hidden),
    then …_l0_reverse, _l1 …; a layer above the first reads the outputs of all directions below it. All are drawn from
    U(−1/√hidden, 1/√hidden), as torch draws them.

    Raises: ValueError when a size is below 1.

    >>> module = nn.Module()
    >>> add_weights(module, features=3, hidden=2, bidirectional=True)
    >>> list(module.state_dict()) == list(nn.RNN(3, 2, bidirectional=True).state_dict())
    True
    """
    for name, size in (("features", features), ("hidden", hidden), ("layers", layers)):
        if size < 1:
            raise ValueError(f"{name} = {size}, expected at least 1")
    bound, rows, directions = hidden**-0.5, gates * hidden, 1 + bidirectional
    for layer in range(layers):
        width = features if layer == 0 else hidden * directions
        for ending in ("", "_reverse")[:directions]:
            shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
            for name, shape in shapes.items():
                values = torch.empty(shape).uniform_(-bound, bound)
                module.register_parameter(f"{name}_l{layer}{ending}", nn.Parameter(values))


def weights_of(module: nn.Module, layer: int, *, reverse: bool = False) -> Weights:
    r"""What `add_weights` gave one direction of one layer; biases are None where it has none."""
    ending = f"_l{layer}" + "_reverse" * reverse
    return tuple(getattr(module, name + ending, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))


def scan_layers(
    run: Callable[[Tensor, Any, Weights, Tensor | None, bool], tuple[Tensor, Any]],
    module: nn.Module,
    inputs: Float[Tensor, "batch time features"],
    state: State,
    lengths: Int[Tensor, " batch"] | None = None,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> tuple[Float[Tensor, "batch time hidden"], State]:
    r"""Runs the layers that `add_weights` made on top of one another, each in one or both directions.

    run       run(inputs, state, weights, lengths, reverse) → outputs, state: one direction of one layer, by `scan`
    state     its parts are `layers·directions batch hidden`: layer by layer, in each the forward direction first
    dropout   share of a layer's outputs set to zero on the way to the next one, while the module trains
    Outputs are those of the last layer, with two directions side by side; the final state is laid out as `state`.

    Raises: ValueError when the state's first axis or its batch is not what the layers and inputs ask for.
    """
    directions = 1 + bidirectional
    for part in (state,) if isinstance(state, Tensor) else state:
        if part.shape[:2] != (layers * directions, len(inputs)):
            raise ValueError(
                f"state has shape {tuple(part.shape)}, expected {layers * directions} (layers × directions) × "
                f"{len(inputs)} (batch) × hidden"
            )
    if lengths is not None:  # what fills up the rows shall not touch the gradients, whatever it is
        inputs = inputs.masked_fill(~real_steps(lengths, inputs.shape[1])[..., None], 0)
    finals: list[State] = []
    for layer in range(layers):
        if layer and dropout:
            inputs = F.dropout(inputs, dropout, module.training)
        sides = []
        for side in range(directions):
            row = layer * directions + side
            start = each(lambda part, row=row: part[row], state)
            outputs, final = run(inputs, start, weights_of(module, layer, reverse=bool(side)), lengths, bool(side))
            sides.append(outputs)
            finals.append(final)
        inputs = sides[0] if len(sides) == 1 else torch.cat(sides, dim=-1)
    return inputs, each(lambda *parts: torch.stack(parts), *finals)
