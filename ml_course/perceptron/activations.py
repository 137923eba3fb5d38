r"""Four activation functions g and their derivatives g′, each applied to every number of an array."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def sigmoid(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Squeezes any number into (0, 1): g(z) = 1/(1 + e⁻ᶻ).

    Computed as e^(−log(e⁰ + e⁻ᶻ)), which neither overflows nor rounds small results to zero too early.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return np.exp(-np.logaddexp(0, -z))


def sigmoid_derivative(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Slope of the sigmoid: g′(z) = g(z)·g(−z), at most 1/4, because 1 − g(z) = g(−z).

    >>> sigmoid_derivative(np.array([0.0]))
    array([0.25])
    """
    return sigmoid(z) * sigmoid(-z)


def tanh(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Squeezes any number into (−1, 1): g(z) = (eᶻ − e⁻ᶻ)/(eᶻ + e⁻ᶻ), a stretched sigmoid 2σ(2z) − 1.

    >>> tanh(np.array([0.0, 1000.0]))
    array([0., 1.])
    """
    return np.tanh(z)


def tanh_derivative(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Slope of the hyperbolic tangent: g′(z) = 1 − g(z)², at most 1.

    >>> tanh_derivative(np.array([0.0]))
    array([1.])
    """
    return 1 - np.tanh(z) ** 2


def relu(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Rectified linear unit, lets through what is positive: g(z) = max(0, z).

    Source: nair2010rectified.

    >>> relu(np.array([-2.0, 3.0]))
    array([0., 3.])
    """
    return np.maximum(z, 0)


def relu_derivative(z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Slope of ReLU: 1 where z > 0, else 0; the corner at z = 0 counts as 0, as in torch.

    >>> relu_derivative(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 1.])
    """
    return (z > 0).astype(z.dtype)


def leaky_relu(z: Float[np.ndarray, "*shape"], slope: float = 0.01) -> Float[np.ndarray, "*shape"]:
    r"""ReLU that lets a little of the negative side through: g(z) = z where z > 0, else slope·z.

    Equals max(slope·z, z) for 0 ≤ slope ≤ 1.
    Source: maas2013rectifier.

    >>> leaky_relu(np.array([-2.0, 3.0]))
    array([-0.02,  3.  ])
    """
    return np.where(z > 0, z, slope * z)


def leaky_relu_derivative(z: Float[np.ndarray, "*shape"], slope: float = 0.01) -> Float[np.ndarray, "*shape"]:
    r"""Slope of leaky ReLU: 1 where z > 0, else `slope`; so too in the corner z = 0, as in torch.

    >>> leaky_relu_derivative(np.array([-2.0, 3.0]))
    array([0.01, 1.  ])
    """
    return np.where(z > 0, 1.0, slope).astype(z.dtype)


# What a network looks up by name: the function, its derivative.
ACTIVATIONS = {
    "sigmoid": (sigmoid, sigmoid_derivative),
    "tanh": (tanh, tanh_derivative),
    "relu": (relu, relu_derivative),
    "leaky_relu": (leaky_relu, leaky_relu_derivative),
}
