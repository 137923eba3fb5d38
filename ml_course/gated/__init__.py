"""Recurrent networks with gates: LSTM and GRU, in layers and in both directions, and tasks that need a long memory.

Called as `ml_course.rnn.RNN` is; weights are named and laid out as torch's.
"""

from ml_course.gated.bidirectional import Bidirectional, reverse_time
from ml_course.gated.gru import GRU, GRUCell, gru_step
from ml_course.gated.lstm import LSTM, LSTMCell, lstm_step
from ml_course.gated.memory import (
    Copies,
    Sums,
    adding_problem,
    chrono_biases,
    copy_task,
    gradient_flow,
    memory_bias,
)

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "Copies",
    "GRUCell",
    "LSTMCell",
    "Sums",
    "adding_problem",
    "chrono_biases",
    "copy_task",
    "gradient_flow",
    "gru_step",
    "lstm_step",
    "memory_bias",
    "reverse_time",
]
