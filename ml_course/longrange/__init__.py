"""Long inputs: attention in blocks, by hashing, sparse, by features, without queries; reversible layers; memory.

Every form is called as f(queries, keys, values, mask=None, *, causal=False, …), so one takes the place of another:
`MultiHeadAttention(d_model, heads, attend=partial(f, …))`. Masks are bool and True means *may attend*; forms without a
weight for each pair take a padding mask and say so when they are given another. A query that sees nothing gets zeros.
"""

from ml_course.longrange.aft import AFT, aft_full, aft_local, aft_simple
from ml_course.longrange.classifier import ClassifierConfig, SequenceClassifier
from ml_course.longrange.flash import Partial, attend_part, flash_attention, memory_accesses, merge
from ml_course.longrange.hashing import hash_buckets, lsh_attention
from ml_course.longrange.linear import (
    LinearState,
    elu_features,
    feature_attention,
    linear_attention,
    linear_recurrence,
)
from ml_course.longrange.memory import peak_bytes, saved_bytes
from ml_course.longrange.random_features import (
    RandomFeatures,
    feature_variance,
    gaussian_directions,
    orthogonal_directions,
    performer_attention,
    random_feature_attention,
    random_features,
)
from ml_course.longrange.reversible import Branch, ReversibleLayer, ReversibleStack, invert_layer, reversible_encoder
from ml_course.longrange.sparse import bigbird_chart, etc_mask, expand_chart, sparse_attention, window_chart

__all__ = [
    "AFT",
    "Branch",
    "ClassifierConfig",
    "LinearState",
    "Partial",
    "RandomFeatures",
    "ReversibleLayer",
    "ReversibleStack",
    "SequenceClassifier",
    "aft_full",
    "aft_local",
    "aft_simple",
    "attend_part",
    "bigbird_chart",
    "elu_features",
    "etc_mask",
    "expand_chart",
    "feature_attention",
    "feature_variance",
    "flash_attention",
    "gaussian_directions",
    "hash_buckets",
    "invert_layer",
    "linear_attention",
    "linear_recurrence",
    "lsh_attention",
    "memory_accesses",
    "merge",
    "orthogonal_directions",
    "peak_bytes",
    "performer_attention",
    "random_feature_attention",
    "random_features",
    "reversible_encoder",
    "saved_bytes",
    "sparse_attention",
    "window_chart",
]
