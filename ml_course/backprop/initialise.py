r"""First weights: how large they must be for signals, and gradients, to keep their size from layer to layer.

Each draws a matrix (outputs, inputs) with independent entries of mean 0.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Weights = Float[np.ndarray, "outputs inputs"]


def xavier_normal(outputs: int, inputs: int, rng: np.random.Generator) -> Weights:
    r"""Normal numbers of variance 2/(inputs + outputs): keeps forward and backward signals, halfway each.

    For activations of slope 1 at 0, such as tanh. Source: glorot2010understanding, eq. 12.

    >>> xavier_normal(300, 500, np.random.default_rng(0)).std().round(3)  # √(2/800) = 0.05
    np.float64(0.05)
    """
    return rng.normal(scale=np.sqrt(2 / (inputs + outputs)), size=(outputs, inputs))


def xavier_uniform(outputs: int, inputs: int, rng: np.random.Generator) -> Weights:
    r"""As `xavier_normal`, from the interval ±√(6/(inputs + outputs)), whose variance is the same.

    Source: glorot2010understanding, eq. 16.

    >>> bool(np.abs(xavier_uniform(2, 4, np.random.default_rng(0))).max() <= 1)
    True
    """
    limit = np.sqrt(6 / (inputs + outputs))
    return rng.uniform(-limit, limit, size=(outputs, inputs))


def he_normal(outputs: int, inputs: int, rng: np.random.Generator) -> Weights:
    r"""Normal numbers of variance 2/inputs; the 2 makes up for the half that ReLU takes away.

    Source: he2015delving, eq. 10.

    >>> he_normal(300, 200, np.random.default_rng(0)).std().round(2)  # √(2/200) = 0.1
    np.float64(0.1)
    """
    return rng.normal(scale=np.sqrt(2 / inputs), size=(outputs, inputs))


def he_uniform(outputs: int, inputs: int, rng: np.random.Generator) -> Weights:
    r"""As `he_normal`, from the interval ±√(6/inputs), whose variance is the same.

    >>> bool(np.abs(he_uniform(2, 6, np.random.default_rng(0))).max() <= 1)
    True
    """
    limit = np.sqrt(6 / inputs)
    return rng.uniform(-limit, limit, size=(outputs, inputs))


INITIALISATIONS = {
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
}
