r"""An LSTM whose output is made narrow before it is fed back, and towers of such layers, each reading one way."""

from __future__ import annotations

import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.gated import reverse_time
from ml_course.rnn import real_steps, scan


class ProjectedLSTM(nn.Module):
    r"""An LSTM with many cells and a short output: W_hr projects what is shown, and only that goes on.

    sums = W_ih xₜ + W_hh hₜ₋₁ + b;  cₜ = clip(f⊙cₜ₋₁ + i⊙g),  hₜ = clip(W_hr (o⊙tanh(cₜ)))

    features   length of each input
    cells      length of c; d_model: length of h
    clip       largest size of a cell and of an output; None: no limit. The original: 3
    One bias a gate, as in the original (torch has two, of which only the sum matters); gates in torch's order. The
    forget gates begin open, with a bias of 1.

    Raises: ValueError when a size is below 1. Cost: O(batch·time·cells·(features + 2·d_model)).
    Source: sak2014long, section 2.1; the clipping is the original program's.

    >>> layer = ProjectedLSTM(features=3, cells=8, d_model=2)
    >>> layer(torch.randn(5, 7, 3)).shape, sum(p.numel() for p in layer.parameters())
    (torch.Size([5, 7, 2]), 208)
    """

    def __init__(self, features: int, cells: int, d_model: int, *, clip: float | int | None = None):
        super().__init__()
        for name, size in (("features", features), ("cells", cells), ("d_model", d_model)):
            if size < 1:
                raise ValueError(f"{name} = {size}, expected at least 1")
        self.cells, self.d_model, self.clip = cells, d_model, clip
        bound = cells**-0.5
        self.weight_ih = nn.Parameter(torch.empty(4 * cells, features).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(4 * cells, d_model).uniform_(-bound, bound))
        self.weight_hr = nn.Parameter(torch.empty(d_model, cells).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(4 * cells))
        with torch.no_grad():
            self.bias[cells : 2 * cells] = 1.0

    def forward(
        self,
        inputs: Float[Tensor, "batch time features"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        fused: bool = True,
    ) -> Float[Tensor, "batch time d_model"]:
        r"""The outputs at all steps, read from the first; beyond a row's length they are zeros.

        lengths   how much of each row is real
        fused     torch's kernel, where nothing is clipped; else the formula in its own words
        Raises: ValueError when a length is not in 0 … time, or there is no time step.
        """
        if inputs.shape[1] == 0:
            raise ValueError(f"inputs has shape {tuple(inputs.shape)}, expected at least one time step")
        if fused and self.clip is None:
            return self._by_torch(inputs, lengths)
        state = inputs.new_zeros(len(inputs), self.d_model), inputs.new_zeros(len(inputs), self.cells)
        from_inputs = F.linear(inputs, self.weight_ih, self.bias)  # of all steps in one product
        return scan(self._step, from_inputs, state, lengths)[0]

    def _step(self, now: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        shown, cell = state
        i, f, g, o = torch.addmm(now, shown, self.weight_hh.mT).chunk(4, dim=1)
        cell = self._clipped(torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g))
        return self._clipped((torch.sigmoid(o) * torch.tanh(cell)) @ self.weight_hr.mT), cell

    def _clipped(self, x: Tensor) -> Tensor:
        return x if self.clip is None else x.clamp(-self.clip, self.clip)

    def _by_torch(self, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        state = inputs.new_zeros(1, len(inputs), self.d_model), inputs.new_zeros(1, len(inputs), self.cells)
        weights = [self.weight_ih, self.weight_hh, self.bias, torch.zeros_like(self.bias), self.weight_hr]
        # True, 1, 0.0, training, False, True: biases, one layer, no dropout, one direction, batch first.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            outputs = torch.lstm(inputs, state, weights, True, 1, 0.0, self.training, False, True)[0]
        if lengths is None:
            return outputs
        return outputs.masked_fill(~real_steps(lengths, inputs.shape[1])[..., None], 0)


class Tower(nn.Module):
    r"""Layers of `ProjectedLSTM` on top of one another, all reading in the same direction.

    hₜ^(1) = LSTM(x)ₜ;  hₜ^(j) = LSTM(h^(j−1))ₜ + hₜ^(j−1) for the layers above: a skip connection around each

    d_model    length of a word's vector and of every layer's outputs
    cells, layers, clip   of the LSTMs
    backward   read each row from its last word to its first
    dropout    of what each layer reads, while it trains
    Source: peters2018deep, section 3.4; the skip connection as in their program, around all layers but the first.

    >>> tower = Tower(d_model=4, cells=8, layers=2, backward=True)
    >>> tower(torch.randn(3, 5, 4), lengths=torch.tensor([5, 2, 1])).shape
    torch.Size([2, 3, 5, 4])
    """

    def __init__(
        self,
        d_model: int,
        cells: int,
        layers: int,
        *,
        backward: bool = False,
        clip: float | int | None = None,
        dropout: float | int = 0.0,
    ):
        super().__init__()
        self.backward = backward
        self.layers = nn.ModuleList(ProjectedLSTM(d_model, cells, d_model, clip=clip) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, words: Float[Tensor, "batch time d_model"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "layers batch time d_model"]:
        r"""What each layer has read up to and with each word, the lowest first."""
        x = reverse_time(words, lengths) if self.backward else words
        found = []
        for layer in self.layers:
            outputs = layer(self.dropout(x), lengths)
            x = outputs + x if found else outputs
            found.append(reverse_time(x, lengths) if self.backward else x)
        return torch.stack(found)
