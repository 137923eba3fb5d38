r"""Two networks for one sequence: one reads it from the first token on, the other from the last one back."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ml_course.rnn.scan import State, each, real_steps


def reverse_time(
    inputs: Float[Tensor, "batch time features"], lengths: Int[Tensor, " batch"] | None = None
) -> Float[Tensor, "batch time features"]:
    r"""Each row's own tokens in reverse order; the padding behind them stays where it is.

    yₜ = x_{length+1−t}  for t ≤ length,  else xₜ

    Twice in a row it gives the inputs back. Raises: ValueError when a length is not in 0 … time. Cost: one copy.

    >>> rows = torch.tensor([[1.0, 2, 3, 4], [5, 6, 0, 0]])[..., None]
    >>> reverse_time(rows, torch.tensor([4, 2]))[..., 0]
    tensor([[4., 3., 2., 1.],
            [6., 5., 0., 0.]])
    """
    if lengths is None:
        return inputs.flip(1)
    time = inputs.shape[1]
    real, place = real_steps(lengths, time), torch.arange(time, device=inputs.device)
    source = torch.where(real, lengths[:, None] - 1 - place, place)
    return inputs.gather(1, source[..., None].expand_as(inputs))


class Bidirectional(nn.Module):
    r"""Joins any two recurrent layers: what one has read up to a token stands beside what the other has read after it.

    outputsₜ = [forward(x₁ … xₜ), backward(x_time … xₜ)]

    forward_layer, backward_layer   two layers that take the same inputs: RNN, LSTM, GRU or other such stacks, called
                                    as layer(inputs, state, lengths)
    Of layers with several levels each direction is a stack of its own, as in peters2018deep. In `LSTM(…, layers=2,
    bidirectional=True)`, as in torch, the second layer reads *both* directions of the first; with one layer they agree.

    Cost: that of the two layers, and two copies. Source: schuster1997bidirectional.

    >>> from ml_course.gated.gru import GRU
    >>> layer = Bidirectional(GRU(3, 2), GRU(3, 2))
    >>> outputs, state = layer(torch.randn(5, 7, 3))
    >>> outputs.shape, state.shape  # at the first token the second half has read everything
    (torch.Size([5, 7, 4]), torch.Size([2, 5, 2]))
    """

    def __init__(self, forward_layer: nn.Module, backward_layer: nn.Module):
        super().__init__()
        self.forward_layer, self.backward_layer = forward_layer, backward_layer

    def forward(
        self,
        inputs: Float[Tensor, "batch time features"],
        state: State | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], State]:
        r"""Both directions' outputs at every step side by side, and both final states.

        state   of every layer first the forward direction's, then the backward direction's; zeros when None
        """
        first = second = None
        if state is not None:
            first, second = each(lambda part: part[0::2], state), each(lambda part: part[1::2], state)
        ahead, first = self.forward_layer(inputs, first, lengths)
        back, second = self.backward_layer(reverse_time(inputs, lengths), second, lengths)
        outputs = torch.cat([ahead, reverse_time(back, lengths)], dim=-1)
        return outputs, each(lambda *parts: torch.stack(parts, dim=1).flatten(0, 1), first, second)
