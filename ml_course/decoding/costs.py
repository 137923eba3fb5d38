r"""What generation costs: memory a token, work and traffic of a pass, and what guessing ahead is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ml_course.transformer import LMConfig


class HeadSizes(NamedTuple):
    r"""What the memory a token takes depends on."""

    layers: int
    heads: int  # of queries
    kv_heads: int  # of keys and values
    d_head: int


# As published: brown2020language, table 2.1; chowdhery2023palm, table 1; touvron2023llama2, table 1 and section A.2.1;
# jiang2023mistral, table 1.
PUBLISHED = {
    "GPT-3 175B": HeadSizes(layers=96, heads=96, kv_heads=96, d_head=128),
    "PaLM 540B": HeadSizes(layers=118, heads=48, kv_heads=1, d_head=256),
    "Llama 2 70B": HeadSizes(layers=80, heads=64, kv_heads=8, d_head=128),
    "Mistral 7B": HeadSizes(layers=32, heads=32, kv_heads=8, d_head=128),
}


def cache_bytes_per_token(layers: int, kv_heads: int, d_head: int, bytes_per_number: int = 2) -> int:
    r"""Bytes that a cache keeps for each token of a text: a key and a value in every layer and head.

    2 · layers · kv_heads · d_head · bytes_per_number

    bytes_per_number   2 for bfloat16 and float16, 4 for float32
    Raises: ValueError when a number is below 1.

    >>> cache_bytes_per_token(layers=96, kv_heads=96, d_head=128)  # GPT-3: 4.5 MiB
    4718592
    """
    for name, number in locals().copy().items():
        if number < 1:
            raise ValueError(f"{name} = {number}, expected at least 1")
    return 2 * layers * kv_heads * d_head * bytes_per_number


@dataclass(frozen=True)
class PassCost:
    r"""Work and traffic of one pass: how many operations, and how many bytes have to come from memory for them."""

    flops: int  # a multiplication and an addition count as two
    weight_bytes: int  # each weight is read once, for however many tokens
    cache_bytes: int  # keys and values: those of earlier tokens read, those of the new ones written

    @property
    def intensity(self) -> float:
        r"""Arithmetic intensity in FLOP a byte. Source: williams2009roofline."""
        return self.flops / (self.weight_bytes + self.cache_bytes)


def pass_cost(
    config: LMConfig,
    new: int,
    remembered: int = 0,
    *,
    batch: int = 1,
    kv_heads: int | None = None,
    bytes_per_number: int = 4,
) -> PassCost:
    r"""What it costs to take `new` tokens a row through the model when `remembered` are cached.

    FLOP   2·batch·new·W + 4·batch·layers·d_model·new·(remembered + new), W the matrices' weights with the last layer's
    bytes  W + 2·batch·layers·kv_heads·d_head·(remembered + new), times bytes_per_number

    The matrix products are counted, and masked scores as well, since a kernel may compute them; norms, biases, the
    softmax and what passes between the layers are left out.

    Raises: ValueError when new or batch is below 1, remembered negative, or heads not divisible by kv_heads.
    Source: the argument is shazeer2019fast's, sections 2 and 3.

    >>> one, prompt = pass_cost(LMConfig.SMALL, new=1, remembered=512), pass_cost(LMConfig.SMALL, new=512)
    >>> round(one.intensity, 1), prompt.intensity > 100
    (0.5, True)
    """
    kv_heads = config.heads if kv_heads is None else kv_heads
    if new < 1 or batch < 1 or remembered < 0:
        raise ValueError(f"new = {new}, batch = {batch}, remembered = {remembered}: expected at least 1, 1 and 0")
    if kv_heads < 1 or config.heads % kv_heads:
        raise ValueError(f"heads = {config.heads} is not divisible by kv_heads = {kv_heads}")
    width, narrow = config.d_model, config.d_model // config.heads * kv_heads
    weights = config.layers * (2 * width * width + 2 * width * narrow + 2 * width * config.d_ff) + config.vocab * width
    key = remembered + new
    flops = 2 * batch * new * weights + 4 * batch * config.layers * width * new * key
    return PassCost(flops, bytes_per_number * weights, bytes_per_number * 2 * batch * config.layers * narrow * key)


def expected_tokens(alpha: float | int, ahead: int) -> float:
    r"""How many tokens a pass of the target brings when each of `ahead` guesses is accepted with probability α.

    1 + α + α² + … + α^ahead = (1 − α^(ahead+1)) / (1 − α)

    Raises: ValueError when α is not in 0 … 1 or ahead negative. Source: leviathan2023fast, eq. 1; it takes the
    acceptances to be independent and alike.

    >>> expected_tokens(0.5, ahead=2), expected_tokens(1, ahead=4)
    (1.75, 5.0)
    """
    if not 0 <= alpha <= 1 or ahead < 0:
        raise ValueError(f"alpha = {alpha}, ahead = {ahead}: expected 0 ≤ alpha ≤ 1 and ahead from 0 on")
    return float(ahead + 1) if alpha == 1 else (1 - alpha ** (ahead + 1)) / (1 - alpha)


def expected_speed_up(alpha: float | int, ahead: int, cost: float | int, wider: float | int = 1.0) -> float:
    r"""How many times as fast as token by token: tokens a pass, divided by what a round takes.

    expected_tokens(α, ahead) / (ahead·c + w)

    cost   c, time of one guess by time of the target's step
    wider  w, time of the target's pass over ahead + 1 tokens by that over one; 1 where memory alone is the limit
    Raises: ValueError as `expected_tokens`, or when cost is negative or wider not positive.
    Source: leviathan2023fast, theorem 3.8, there with w = 1.

    >>> expected_speed_up(0.8, ahead=4, cost=0)
    3.3616...
    """
    if cost < 0 or not wider > 0:
        raise ValueError(f"cost = {cost}, wider = {wider}: expected cost from 0 on and wider above 0")
    return expected_tokens(alpha, ahead) / (ahead * cost + wider)
