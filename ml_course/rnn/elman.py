r"""Elman's network: a layer that reads, beside its input, what it said itself one step ago."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.rnn.scan import Weights, add_weights, scan, scan_layers

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu}


class RNNCell(nn.Module):
    r"""One step of Elman's network: the new state is made of the input and the old state.

    h′ = tanh(W_ih x + b_ih + W_hh h + b_hh)

    features, hidden   length of the input and of the state
    nonlinearity       "tanh" or "relu"
    The parameters are named as torch.nn.RNNCell names them. Two biases do what one could; torch keeps both.

    Raises: ValueError for another nonlinearity or a size below 1. Cost: O(batch·hidden·(features + hidden)).
    Source: elman1990finding, whose state is logistic and whose biases are one.

    >>> cell = RNNCell(features=3, hidden=2)
    >>> cell(torch.randn(5, 3), torch.zeros(5, 2)).shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([5, 2]), 14)
    """

    def __init__(self, features: int, hidden: int, *, bias: bool = True, nonlinearity: str = "tanh"):
        super().__init__()
        self.activation = _activation(nonlinearity)
        weights = nn.Module()
        add_weights(weights, features, hidden, bias=bias)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            self.register_parameter(name, getattr(weights, f"{name}_l0", None))

    def forward(
        self, inputs: Float[Tensor, "batch features"], state: Float[Tensor, "batch hidden"] | None = None
    ) -> Float[Tensor, "batch hidden"]:
        r"""The state after this input; a state that is None is zeros."""
        if state is None:
            state = inputs.new_zeros(len(inputs), self.weight_hh.shape[1])
        from_input = F.linear(inputs, self.weight_ih, self.bias_ih)
        from_state = F.linear(state, self.weight_hh, self.bias_hh)
        return self.activation(from_input + from_state)


class RNN(nn.Module):
    r"""Elman's network over whole sequences: the same cell at every step, on one or more layers.

    hₜ = tanh(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh);  the layer above reads h₁ … h_time

    features        length of each input
    hidden          length of the state of each layer and direction
    layers          how many are stacked, each with weights of its own
    bidirectional   read also from the end; both directions' outputs stand side by side
    dropout         between the layers, while it trains
    Parameters carry torch.nn.RNN's names: `load_state_dict` exchanges them both ways.

    Raises: ValueError for another nonlinearity or a size below 1. Cost: O(batch·time·hidden·(features + hidden)) work,
    in `time` steps one after the other. Source: elman1990finding.

    >>> ours, theirs = RNN(3, 2), nn.RNN(3, 2, batch_first=True)
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
        nonlinearity: str = "tanh",
    ):
        super().__init__()
        self.activation = _activation(nonlinearity)
        self.hidden, self.layers, self.bidirectional, self.dropout = hidden, layers, bidirectional, dropout
        add_weights(self, features, hidden, layers=layers, bidirectional=bidirectional, bias=bias)

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
            rows = self.layers * (1 + self.bidirectional)
            state = inputs.new_zeros(rows, len(inputs), self.hidden)
        shape = {"layers": self.layers, "bidirectional": self.bidirectional, "dropout": self.dropout}
        return scan_layers(self._run, self, inputs, state, lengths, **shape)

    def _run(
        self, inputs: Tensor, state: Tensor, weights: Weights, lengths: Tensor | None, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        """One direction of one layer: what the inputs contribute is one product for all steps."""
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        bias = None if bias_ih is None else bias_ih + bias_hh
        recurrent = weight_hh.mT
        return scan(
            lambda now, state: self.activation(torch.addmm(now, state, recurrent)),
            F.linear(inputs, weight_ih, bias),
            state,
            lengths,
            reverse=reverse,
        )


def _activation(nonlinearity: str):
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"nonlinearity = {nonlinearity!r}, expected 'tanh' or 'relu'")
    return NONLINEARITIES[nonlinearity]
