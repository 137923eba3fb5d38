r"""The language of all later chapters: arrays and their axes, derivatives, surprise, and measurements one can trust.

Everything is NumPy, keeps its input's floating type, and is written so that a formula and its lines can be laid side by
side. Logarithms are natural, so surprise is measured in nats.
"""

from ml_course.tensors.arrays import batched_matmul, broadcast_shape, einsum_loops, squared_distances
from ml_course.tensors.derivatives import jacobian, jacobian_vector_product
from ml_course.tensors.evaluation import (
    accuracy,
    bootstrap_interval,
    confusion,
    f1_score,
    precision,
    recall,
    wilson_interval,
)
from ml_course.tensors.probability import cross_entropy, entropy, kl_divergence, log_softmax, log_sum_exp
from ml_course.tensors.splitting import grouped_split

__all__ = [
    "accuracy",
    "batched_matmul",
    "bootstrap_interval",
    "broadcast_shape",
    "confusion",
    "cross_entropy",
    "einsum_loops",
    "entropy",
    "f1_score",
    "grouped_split",
    "jacobian",
    "jacobian_vector_product",
    "kl_divergence",
    "log_softmax",
    "log_sum_exp",
    "precision",
    "recall",
    "squared_distances",
    "wilson_interval",
]
