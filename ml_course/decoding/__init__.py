r"""Fast generation: remember keys and values, share them between heads, and let a small model guess ahead.

A *step function* is what `rnn.generate` and `seq2seq.beam_search` call with `stateful=True`: step(tokens, state) →
logits, state. Here the state is a tuple of caches, one for each layer; a step changes the caches it is given.
"""

from ml_course.decoding.cache import KVCache
from ml_course.decoding.costs import (
    PUBLISHED,
    HeadSizes,
    PassCost,
    cache_bytes_per_token,
    expected_speed_up,
    expected_tokens,
    pass_cost,
)
from ml_course.decoding.grouped import GroupedQueryAttention, grouped, pool_heads
from ml_course.decoding.speculative import (
    Draft,
    ModelDraft,
    NGramDraft,
    Reader,
    Speculated,
    Verdict,
    acceptance,
    accepted,
    distribution,
    residual_distribution,
    speculate,
    verify,
)
from ml_course.decoding.stepping import cached, cached_translation

__all__ = [
    "PUBLISHED",
    "Draft",
    "GroupedQueryAttention",
    "HeadSizes",
    "KVCache",
    "ModelDraft",
    "NGramDraft",
    "PassCost",
    "Reader",
    "Speculated",
    "Verdict",
    "acceptance",
    "accepted",
    "cache_bytes_per_token",
    "cached",
    "cached_translation",
    "distribution",
    "expected_speed_up",
    "expected_tokens",
    "grouped",
    "pass_cost",
    "pool_heads",
    "residual_distribution",
    "speculate",
    "verify",
]
