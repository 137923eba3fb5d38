"""Attention: weighted averages whose weights are computed from the data, from a kernel smoother to many heads.

Masks are bool and True means *may attend*. A query whose every key is masked gets zeros.
"""

from ml_course.attention.decomposable import DecomposableAttention
from ml_course.attention.dot_product import attention_weights, scaled_dot_product_attention, softmax
from ml_course.attention.fast_weights import FastWeights, linear_attention, write_and_read
from ml_course.attention.heads import MultiHeadAttention, merge_heads, split_heads
from ml_course.attention.ladder import (
    additive_scores,
    learned_pooling,
    nadaraya_watson,
    pooled_query_attention,
    self_attention,
)
from ml_course.attention.masks import causal_mask, padding_mask
from ml_course.attention.recurrent import AdditiveAttention, LuongAttention

__all__ = [
    "AdditiveAttention",
    "DecomposableAttention",
    "FastWeights",
    "LuongAttention",
    "MultiHeadAttention",
    "additive_scores",
    "attention_weights",
    "causal_mask",
    "learned_pooling",
    "linear_attention",
    "merge_heads",
    "nadaraya_watson",
    "padding_mask",
    "pooled_query_attention",
    "scaled_dot_product_attention",
    "self_attention",
    "softmax",
    "split_heads",
    "write_and_read",
]
