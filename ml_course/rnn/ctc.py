r"""Connectionist temporal classification: many steps of sound, few letters, and nobody said which belongs to which."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor


def collapse(path: Sequence[int], blank: int = 0) -> list[int]:
    r"""The labels that a path, one label or blank a step, stands for: repetitions become one, then blanks go.

    >>> collapse([0, 3, 3, 0, 3, 5, 5])
    [3, 3, 5]
    """
    return [label for label, _ in itertools.groupby(path) if label != blank]


def greedy_labels(log_probs: Float[Tensor, "batch time classes"], blank: int = 0) -> list[list[int]]:
    r"""The labels of the likeliest path of each row: not always the likeliest labels, which have many paths.

    >>> greedy_labels(torch.eye(3)[None, [0, 1, 1, 0, 2]].log())
    [[1, 2]]
    """
    return [collapse(path, blank) for path in log_probs.argmax(-1).tolist()]


def ctc_log_likelihood(
    log_probs: Float[Tensor, "batch time classes"],
    labels: Int[Tensor, "batch label"],
    lengths: Int[Tensor, " batch"] | None = None,
    label_lengths: Int[Tensor, " batch"] | None = None,
    blank: int = 0,
) -> Float[Tensor, " batch"]:
    r"""The log probability of each row's labels: the sum over all paths that collapse to them, without listing them.

    Between and around the labels stand blanks: z = ⌀ l₁ ⌀ l₂ ⌀ … ⌀. Let αₜ(s) be the probability of all paths that are
    at z_s after t steps. A step stays, goes one on, or skips a blank that stands between two different labels:

    αₜ(s) = (αₜ₋₁(s) + αₜ₋₁(s−1) + [z_s ≠ ⌀ and z_s ≠ z_s₋₂] αₜ₋₁(s−2)) · P(z_s at time t)

    lengths, label_lengths   how much of each row is real; all of it when None
    −∞ where no path has as few steps as the labels need. The CTC loss is minus this.

    Raises: ValueError when a length is out of range, or a label is the blank or no class.
    Cost: O(batch·time·labels), `time` steps in sequence. Source: graves2006connectionist, section 4.1.

    >>> half = torch.full((1, 2, 2), 0.5).log()  # two steps; blank and one letter are equally likely
    >>> ctc_log_likelihood(half, torch.tensor([[1]])).exp()  # letter–letter, letter–blank, blank–letter
    tensor([0.7500])
    """
    batch, time, classes = log_probs.shape
    width = labels.shape[1]
    device = log_probs.device
    lengths = torch.full((batch,), time, device=device) if lengths is None else lengths
    label_lengths = torch.full((batch,), width, device=device) if label_lengths is None else label_lengths
    _check(lengths, 1, time, "lengths", "time")
    _check(label_lengths, 0, width, "label_lengths", "labels")
    real = torch.arange(width, device=device) < label_lengths[:, None]
    labels = torch.where(real, labels, blank)
    if (real & ((labels == blank) | (labels < 0) | (labels >= classes))).any():
        raise ValueError(f"labels holds the blank, {blank}, or a number that is not in 0 … {classes - 1}")

    between = torch.full((batch, 2 * width + 1), blank, device=device)
    between[:, 1::2] = labels
    may_skip = torch.zeros_like(between, dtype=torch.bool)
    may_skip[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    said = log_probs.gather(2, between[:, None].expand(-1, time, -1))

    nothing = torch.finfo(log_probs.dtype).min / 4  # stands for −∞: the difference of two real ones would be NaN
    alpha = _alpha(said, may_skip, lengths, nothing)
    # The last label, or the blank behind it.
    end = 2 * label_lengths[:, None]
    ends = alpha.gather(1, torch.cat([end, (end - 1).clamp(min=0)], dim=1))
    ends = torch.cat([ends[:, :1], ends[:, 1:].masked_fill(end == 0, nothing)], dim=1)
    total = ends.logsumexp(1)
    return total.masked_fill(total < nothing / 2, -torch.inf)


def _alpha(said: Tensor, may_skip: Tensor, lengths: Tensor, nothing: float) -> Tensor:
    """Log probability of all beginnings that stand at each place after the row's last step."""
    batch, time, places = said.shape
    alpha = said.new_full((batch, places), nothing)
    alpha[:, :2] = said[:, 0, :2]  # a path begins with the first blank or the first label
    for t in range(1, time):
        one, two = (torch.cat([alpha.new_full((batch, by), nothing), alpha], 1)[:, :places] for by in (1, 2))
        ways = torch.stack([alpha, one, two.masked_fill(~may_skip, nothing)])
        new = (ways.logsumexp(0) + said[:, t]).clamp(min=nothing)
        alpha = new.where((t < lengths)[:, None], alpha)
    return alpha


def _check(numbers: Tensor, least: int, most: int, name: str, limit: str) -> None:
    if len(numbers) and (numbers.min() < least or numbers.max() > most):
        raise ValueError(f"{name} has {numbers.tolist()}, expected numbers from {least} to {limit} = {most}")
