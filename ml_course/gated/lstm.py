r"""Long short-term memory: a cell state that is carried from step to step by multiplying and adding, behind gates."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.gated.weights import add_cell_weights
from ml_course.rnn.scan import Weights, add_weights, scan, scan_layers

GATES = 4  # rows of the weights, in torch's order: input gate, forget gate, candidate, output gate


def lstm_step(
    sums: Float[Tensor, "batch gates"], cell: Float[Tensor, "batch hidden"]
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
    r"""What becomes of the cell state, and what is shown of it, once the four weighted sums are known.

    i, f, o = σ(first, second, fourth quarter),  g = tanh(third);  c′ = f⊙c + i⊙g,  h′ = o⊙tanh(c′)

    sums   W_ih x + b_ih + W_hh h + b_hh: input gate, forget gate, candidate and output gate side by side, 4·hidden
    Returns h′ and c′. Cost: O(batch·hidden). Source: hochreiter1997long, with the forget gate of gers2000learning.

    >>> sums = torch.tensor([[-50.0, 50, 0, 50]])  # write nothing, keep all, show all
    >>> h, c = lstm_step(sums, cell=torch.tensor([[2.0]]))
    >>> round(c.item(), 4), round(h.item(), 4)
    (2.0, 0.964)
    """
    i, f, g, o = sums.chunk(4, dim=1)
    cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(cell), cell


class LSTMCell(nn.Module):
    r"""One step of an LSTM: four weighted sums of input and old output, three of them gates.

    sums = W_ih x + b_ih + W_hh h + b_hh;  h′, c′ = lstm_step(sums, c)

    features, hidden   length of the input and of each part of the state
    forget_bias        added to the forget gate's bias at the start: 1 lets σ(1) = 73 % of the cell state pass before
                       anything is learned (jozefowicz2015empirical); torch starts at 0
    The parameters are named as torch.nn.LSTMCell names them.

    Raises: ValueError when a size is below 1. Cost: O(batch·hidden·(features + hidden)).
    Source: hochreiter1997long, gers2000learning; without peepholes.

    >>> cell = LSTMCell(features=3, hidden=2)
    >>> h, c = cell(torch.randn(5, 3))
    >>> h.shape, c.shape, sum(p.numel() for p in cell.parameters())
    (torch.Size([5, 2]), torch.Size([5, 2]), 56)
    """

    def __init__(self, features: int, hidden: int, *, bias: bool = True, forget_bias: float = 1.0):
        super().__init__()
        add_cell_weights(self, features, hidden, gates=GATES, bias=bias)
        _open_forget_gates(self, hidden, forget_bias)

    def forward(
        self,
        inputs: Float[Tensor, "batch features"],
        state: tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]] | None = None,
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        r"""The state (h, c) after this input; a state that is None is zeros."""
        if state is None:
            zeros = inputs.new_zeros(len(inputs), self.weight_hh.shape[1])
            state = zeros, zeros
        hidden, cell = state
        sums = F.linear(inputs, self.weight_ih, self.bias_ih) + F.linear(hidden, self.weight_hh, self.bias_hh)
        return lstm_step(sums, cell)


class LSTM(nn.Module):
    r"""Long short-term memory over whole sequences, on one or more layers, in one or both directions.

    hₜ, cₜ = lstm_step(W_ih xₜ + b_ih + W_hh hₜ₋₁ + b_hh, cₜ₋₁);  the layer above reads h₁ … h_time

    features        length of each input
    hidden          length of h and of c, in each layer and direction
    layers          how many are stacked, each with weights of its own
    bidirectional   read also from the end; both directions' outputs stand side by side
    dropout         between the layers, while it trains
    forget_bias     as in `LSTMCell`
    Parameters carry torch.nn.LSTM's names: `load_state_dict` exchanges them both ways.

    Raises: ValueError when a size is below 1. Cost: O(batch·time·hidden·(features + hidden)) work; the inputs'
    part of all steps is one product, the rest are `time` steps one after the other.
    Source: hochreiter1997long, gers2000learning.

    >>> ours, theirs = LSTM(3, 2, layers=2), nn.LSTM(3, 2, num_layers=2, batch_first=True)
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
        forget_bias: float = 1.0,
    ):
        super().__init__()
        self.hidden, self.layers, self.bidirectional, self.dropout = hidden, layers, bidirectional, dropout
        add_weights(self, features, hidden, gates=GATES, layers=layers, bidirectional=bidirectional, bias=bias)
        _open_forget_gates(self, hidden, forget_bias)

    def forward(
        self,
        inputs: Float[Tensor, "batch time features"],
        state: tuple[Float[Tensor, "layers batch hidden"], Float[Tensor, "layers batch hidden"]] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch time outputs"],
        tuple[Float[Tensor, "layers batch hidden"], Float[Tensor, "layers batch hidden"]],
    ]:
        r"""The last layer's h at every step, and the final (h, c) of all layers and directions.

        state     two tensors `layers·directions batch hidden`, zeros when None
        lengths   how much of each row is real; outputs beyond are zeros, the final state is that at its last token
        Raises: ValueError as `scan` and `scan_layers`.
        """
        if state is None:
            zeros = inputs.new_zeros(self.layers * (1 + self.bidirectional), len(inputs), self.hidden)
            state = zeros, zeros
        shape = {"layers": self.layers, "bidirectional": self.bidirectional, "dropout": self.dropout}
        return scan_layers(self._run, self, inputs, state, lengths, **shape)

    def _run(
        self, inputs: Tensor, state: tuple[Tensor, Tensor], weights: Weights, lengths: Tensor | None, reverse: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One direction of one layer: what the inputs contribute is one product for all steps and all gates."""
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        from_inputs = F.linear(inputs, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
        recurrent = weight_hh.mT

        def step(now: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            hidden, cell = state
            return lstm_step(torch.addmm(now, hidden, recurrent), cell)

        return scan(step, from_inputs, state, lengths, reverse=reverse)


def _open_forget_gates(module: nn.Module, hidden: int, forget_bias: float) -> None:
    """Adds to the forget gates' part of one of the two biases, where there are biases."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.startswith("bias_ih"):
                parameter[hidden : 2 * hidden] += forget_bias
