"""Backpropagation: automatic differentiation written from nothing, and the optimisers and layers that live on it."""

from ml_course.backprop.check import check_gradients, numerical_gradient
from ml_course.backprop.engine import Tensor, no_grad, operation, unbroadcast
from ml_course.backprop.functions import concatenate, cross_entropy, softmax, where
from ml_course.backprop.initialise import INITIALISATIONS, he_normal, he_uniform, xavier_normal, xavier_uniform
from ml_course.backprop.layers import MLP, BatchNorm, Dropout, LayerNorm, Linear, Module
from ml_course.backprop.optimisers import SGD, Adam, AdamW, Optimiser, RMSProp, clip_by_norm, clip_by_value
from ml_course.backprop.scalar import Value

__all__ = [
    "INITIALISATIONS",
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Dropout",
    "LayerNorm",
    "Linear",
    "Module",
    "Optimiser",
    "RMSProp",
    "Tensor",
    "Value",
    "check_gradients",
    "clip_by_norm",
    "clip_by_value",
    "concatenate",
    "cross_entropy",
    "he_normal",
    "he_uniform",
    "no_grad",
    "numerical_gradient",
    "operation",
    "softmax",
    "unbroadcast",
    "where",
    "xavier_normal",
    "xavier_uniform",
]
