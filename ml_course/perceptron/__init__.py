r"""From one threshold neuron to the multilayer network: first in NumPy, then the same network in torch.

All signals of a threshold neuron, labels included, are −1 or +1.
A layer's weights have shape (outputs, inputs), as in torch, so a batch of rows passes it as X Wᵀ + b.
"""

from ml_course.perceptron.activations import (
    ACTIVATIONS,
    leaky_relu,
    leaky_relu_derivative,
    relu,
    relu_derivative,
    sigmoid,
    sigmoid_derivative,
    tanh,
    tanh_derivative,
)
from ml_course.perceptron.mlp import MLP
from ml_course.perceptron.neuron import (
    LogisticNeuron,
    Perceptron,
    learning_step,
    logistic_gradient,
    logistic_loss,
    margin,
    mistake_bound,
    neuron_output,
)
from ml_course.perceptron.softmax_regression import softmax, softmax_regression_gradient
from ml_course.perceptron.torch_mlp import TorchMLP, fit_torch, to_numpy, to_torch

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "LogisticNeuron",
    "Perceptron",
    "TorchMLP",
    "fit_torch",
    "leaky_relu",
    "leaky_relu_derivative",
    "learning_step",
    "logistic_gradient",
    "logistic_loss",
    "margin",
    "mistake_bound",
    "neuron_output",
    "relu",
    "relu_derivative",
    "sigmoid",
    "sigmoid_derivative",
    "softmax",
    "softmax_regression_gradient",
    "tanh",
    "tanh_derivative",
    "to_numpy",
    "to_torch",
]
