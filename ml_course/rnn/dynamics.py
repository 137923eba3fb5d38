r"""What becomes of a gradient on its way back through time, and which number of the matrix decides it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def spectral_radius(matrix: Float[Tensor, "hidden hidden"]) -> float:
    r"""The largest absolute value among the eigenvalues: by this factor the powers of the matrix grow in the long run.

    ρ(W) = max |λᵢ| = lim ‖Wⁿ‖^(1/n)

    Cost: O(hidden³).

    >>> round(spectral_radius(torch.tensor([[0.0, 4.0], [1.0, 0.0]])), 6)  # its largest singular value is 4
    2.0
    """
    return float(torch.linalg.eigvals(matrix).abs().max())


def with_spectral_radius(matrix: Float[Tensor, "hidden hidden"], radius: float | int) -> Float[Tensor, "hidden hidden"]:
    r"""The same matrix, scaled so that it has this spectral radius.

    Raises: ValueError when the radius is negative, or the matrix has radius 0 and so no scale helps.

    >>> with_spectral_radius(2 * torch.eye(2), 0.9)
    tensor([[0.9000, 0.0000],
            [0.0000, 0.9000]])
    """
    if radius < 0:
        raise ValueError(f"radius = {radius}, expected 0 or more")
    own = spectral_radius(matrix)
    if own == 0:
        raise ValueError("matrix has spectral radius 0: its powers vanish, whatever it is multiplied by")
    return matrix * (radius / own)


def influence(
    layer: Callable[[Tensor], Tensor], inputs: Float[Tensor, "batch time features"]
) -> Float[Tensor, "batch time"]:
    r"""How much the *last* output would move if the input at each time moved: what is left of the past.

    ‖∂y_time/∂xₜ‖, the length of all derivatives of all last features by all of the features at time t

    layer   inputs → outputs `batch time …`, or a pair whose first part they are, as recurrent layers give
    Cost: one backward pass for each feature of an output. The layer's own parameters get no gradient.

    >>> influence(lambda x: 0.5 * x.cumsum(1), torch.zeros(1, 3, 1))
    tensor([[0.5000, 0.5000, 0.5000]])
    """
    inputs = inputs.detach().requires_grad_()
    outputs = layer(inputs)
    last = (outputs if isinstance(outputs, Tensor) else outputs[0])[:, -1].flatten(1)
    squared = torch.zeros(inputs.shape[:2], dtype=inputs.dtype, device=inputs.device)
    for feature in range(last.shape[1]):
        (gradient,) = torch.autograd.grad(last[:, feature].sum(), inputs, retain_graph=True)
        squared += gradient.square().sum(-1)
    return squared.sqrt()


def graph_steps(output: Tensor, start: Tensor) -> tuple[int, int]:
    r"""The shortest and the longest way from `output` back to `start`, in operations of autograd's graph.

    The shortest is how many operations a piece of news from `start` goes through at least; the longest is how many must
    be waited for one after the other, however many processors there are.

    start   a tensor that wants gradients and was not itself computed
    Raises: ValueError when the output does not depend on it.

    >>> x = torch.ones(1, requires_grad=True)
    >>> graph_steps((x * 2 + 1) * x, x)
    (1, 3)
    """
    goal = start.view_as(start).grad_fn.next_functions[0][0]  # the node where gradients of `start` arrive
    ways: dict[object, tuple[int, int] | None] = {goal: (0, 0)}
    waiting = [output.grad_fn]
    while waiting:  # depth first without recursion: chains may be thousands long
        node = waiting[-1]
        before = [] if node is None else [one for one, _ in node.next_functions if one is not None]
        unknown = [one for one in before if one not in ways]
        if node is not None and node not in ways and unknown:
            waiting += unknown
            continue
        waiting.pop()
        if node is not None and node not in ways:
            reached = [ways[one] for one in before if ways[one] is not None]
            lengths = [short for short, _ in reached], [long for _, long in reached]
            ways[node] = (min(lengths[0]) + 1, max(lengths[1]) + 1) if reached else None
    found = ways.get(output.grad_fn)
    if found is None:
        raise ValueError("output does not depend on start, or start wants no gradients")
    return found


def saved_bytes(run: Callable[[], object]) -> int:
    r"""Bytes that `run` keeps for a backward pass to come; a piece of memory that is kept twice counts once.

    >>> x = torch.ones(1000, requires_grad=True)
    >>> saved_bytes(lambda: x * x), saved_bytes(lambda: x.sin() + x.exp())
    (4000, 8000)
    """
    seen: dict[int, int] = {}
    alive = []  # or a freed piece's address could be taken by the next

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        alive.append(run())
    return sum(seen.values())
