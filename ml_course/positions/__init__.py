r"""Where a token stands: by rotating queries and keys, by a bias of the scores, by vectors of offsets, or not at all.

Every scheme here is a module called attend(queries, keys, values, mask) on heads, for
`MultiHeadAttention(…, attend=…)`; the queries are the last of the keys' positions, as `causal_mask` has it. Schemes
that are added to the tokens, sinusoids and learned positions, stand in the chapter before: `LMConfig.positions`.
"""

from ml_course.positions.biases import Alibi, Buckets, Clipped, alibi_slopes, relative_buckets
from ml_course.positions.extrapolation import nats_by_length, nats_by_position
from ml_course.positions.rotary import RotaryAttention, rotate, rotate_complex
from ml_course.positions.shaw import ShawAttention
from ml_course.positions.toeplitz import BiasedAttention, all_offsets, offset_matrix, toeplitz

__all__ = [
    "Alibi",
    "BiasedAttention",
    "Buckets",
    "Clipped",
    "RotaryAttention",
    "ShawAttention",
    "alibi_slopes",
    "all_offsets",
    "nats_by_length",
    "nats_by_position",
    "offset_matrix",
    "relative_buckets",
    "rotate",
    "rotate_complex",
    "toeplitz",
]
