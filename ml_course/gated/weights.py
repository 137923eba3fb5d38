r"""What the two cells share: their parameters, under torch's names."""

from __future__ import annotations

from torch import nn

from ml_course.rnn.scan import add_weights, weights_of


def add_cell_weights(cell: nn.Module, features: int, hidden: int, *, gates: int, bias: bool) -> None:
    r"""Gives a cell the parameters weight_ih, weight_hh, bias_ih, bias_hh, drawn as torch draws them.

    gates   how many weighted sums one step needs: 4 in an LSTM, 3 in a GRU
    Raises: ValueError when a size is below 1.

    >>> cell = nn.Module()
    >>> add_cell_weights(cell, features=3, hidden=2, gates=4, bias=True)
    >>> {name: tuple(p.shape) for name, p in cell.named_parameters()}
    {'weight_ih': (8, 3), 'weight_hh': (8, 2), 'bias_ih': (8,), 'bias_hh': (8,)}
    """
    one_layer = nn.Module()
    add_weights(one_layer, features, hidden, gates=gates, bias=bias)
    for name, parameter in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights_of(one_layer, 0), strict=True):
        cell.register_parameter(name, parameter)
