r"""The gated recurrent unit: one state, two gates, and two places where the reset gate can stand."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.gated.weights import add_cell_weights
from ml_course.rnn.scan import Weights, add_weights, scan, scan_layers

GATES = 3  # rows of the weights, in torch's order: reset gate, update gate, candidate


def gru_step(
    from_input: Float[Tensor, "batch gates"],
    state: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, " gates"] | None = None,
    *,
    reset_after: bool = True,
) -> Float[Tensor, "batch hidden"]:
    r"""The new state, once what the input contributes to the three weighted sums is known.

    r, z = σ(W_i x + b_i + W_h h + b_h) for reset and update gate;  h′ = (1 − z)⊙n + z⊙h
    n = tanh(W_in x + b_in + r⊙(W_hn h + b_hn))  with reset_after,  else  tanh(W_in x + b_in + W_hn (r⊙h) + b_hn)

    from_input    W_ih x + b_ih: reset gate, update gate and candidate side by side, 3·hidden
    reset_after   reset after the product with the weights, as torch.nn.GRU, or before it, as cho2014learning
    z is the share that *stays*, as in cho2014learning (eq. 7) and torch; chung2014empirical means what goes.
    Cost: O(batch·hidden²), in one product or, with the reset before it, in two. Source: cho2014learning, eq. 5–8.

    >>> keep = torch.tensor([[0.0, 50, 0]])  # an update gate of 1: nothing changes
    >>> gru_step(keep, torch.tensor([[0.5]]), torch.zeros(3, 1))
    tensor([[0.5000]])
    """
    hidden = state.shape[1]
    gates, candidate = from_input.split([2 * hidden, hidden], dim=1)
    if reset_after:
        gates_of_state, candidate_of_state = F.linear(state, weight_hh, bias_hh).split([2 * hidden, hidden], dim=1)
        r, z = torch.sigmoid(gates + gates_of_state).chunk(2, dim=1)
        n = torch.tanh(candidate + r * candidate_of_state)
    else:
        gate_weight, candidate_weight = weight_hh.split([2 * hidden, hidden])
        gate_bias, candidate_bias = (None, None) if bias_hh is None else bias_hh.split([2 * hidden, hidden])
        r, z = torch.sigmoid(gates + F.linear(state, gate_weight, gate_bias)).chunk(2, dim=1)
        n = torch.tanh(candidate + F.linear(r * state, candidate_weight, candidate_bias))
    return torch.lerp(n, state, z)  # n + z⊙(h − n)


class GRUCell(nn.Module):
    r"""One step of a GRU: a reset gate, an update gate, and a candidate for the new state.

    h′ = gru_step(W_ih x + b_ih, h, W_hh, b_hh)

    features, hidden   length of the input and of the state
    reset_after        where the reset gate stands, as in `gru_step`; torch knows the first place only
    The parameters are named as torch.nn.GRUCell names them.

    Raises: ValueError when a size is below 1. Cost: O(batch·hidden·(features + hidden)). Source: cho2014learning.

    >>> cell = GRUCell(features=3, hidden=2)
    >>> cell(torch.randn(5, 3)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([5, 2]), 42)
    """

    def __init__(self, features: int, hidden: int, *, bias: bool = True, reset_after: bool = True):
        super().__init__()
        self.reset_after = reset_after
        add_cell_weights(self, features, hidden, gates=GATES, bias=bias)

    def forward(
        self, inputs: Float[Tensor, "batch features"], state: Float[Tensor, "batch hidden"] | None = None
    ) -> Float[Tensor, "batch hidden"]:
        r"""The state after this input; a state that is None is zeros."""
        if state is None:
            state = inputs.new_zeros(len(inputs), self.weight_hh.shape[1])
        from_input = F.linear(inputs, self.weight_ih, self.bias_ih)
        return gru_step(from_input, state, self.weight_hh, self.bias_hh, reset_after=self.reset_after)


class GRU(nn.Module):
    r"""Gated recurrent units over whole sequences, on one or more layers, in one or both directions.

    hₜ = gru_step(W_ih xₜ + b_ih, hₜ₋₁, W_hh, b_hh);  the layer above reads h₁ … h_time

    features        length of each input
    hidden          length of the state of each layer and direction
    layers          how many are stacked, each with weights of its own
    bidirectional   read also from the end; both directions' outputs stand side by side
    dropout         between the layers, while it trains
    reset_after     where the reset gate stands, as in `gru_step`
    Parameters carry torch.nn.GRU's names: `load_state_dict` exchanges them both ways, and with reset_after
    the results agree.

    Raises: ValueError when a size is below 1. Cost: O(batch·time·hidden·(features + hidden)) work; the inputs'
    part of all steps is one product, the rest are `time` steps one after the other. Source: cho2014learning.

    >>> ours, theirs = GRU(3, 2, bidirectional=True), nn.GRU(3, 2, bidirectional=True, batch_first=True)
    >>> _ = ours.load_state_dict(theirs.state_dict())
    >>> x = torch.randn(5, 7, 3)
    >>> torch.allclose(ours(x)[0], theirs(x)[0], atol=1e-6)
    True
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        reset_after: bool = True,
    ):
        super().__init__()
        self.hidden, self.layers, self.bidirectional, self.dropout = hidden, layers, bidirectional, dropout
        self.reset_after = reset_after
        add_weights(self, features, hidden, gates=GATES, layers=layers, bidirectional=bidirectional, bias=bias)

    def forward(
        self,
        inputs: Float[Tensor, "batch time features"],
        state: Float[Tensor, "layers batch hidden"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time outputs"], Float[Tensor, "layers batch hidden"]]:
        r"""The last layer's state at every step, and the final state of all layers and directions.

        state     `layers·directions batch hidden`, zeros when None
        lengths   how much of each row is real; outputs beyond are zeros, the final state is that at its last token
        Raises: ValueError as `scan` and `scan_layers`.
        """
        if state is None:
            state = inputs.new_zeros(self.layers * (1 + self.bidirectional), len(inputs), self.hidden)
        shape = {"layers": self.layers, "bidirectional": self.bidirectional, "dropout": self.dropout}
        return scan_layers(self._run, self, inputs, state, lengths, **shape)

    def _run(
        self, inputs: Tensor, state: Tensor, weights: Weights, lengths: Tensor | None, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        """One direction of one layer: what the inputs contribute is one product for all steps and all gates."""
        weight_ih, weight_hh, bias_ih, bias_hh = weights

        def step(now: Tensor, state: Tensor) -> Tensor:
            return gru_step(now, state, weight_hh, bias_hh, reset_after=self.reset_after)

        return scan(step, F.linear(inputs, weight_ih, bias_ih), state, lengths, reverse=reverse)
