"""The exercises on sinusoidal positions: the vectors, and the matrix that moves them along."""

import math

import torch

from autograder.exercise import Case, Exercise
from ml_course import transformer

# positional_encoding

positional_encoding = Exercise(
    "transformer.positional_encoding",
    reference=transformer.sinusoidal_positions,
    facets={"values": 2, "other bases": 1},
    difficulty=1,
    minutes=15,
)


@positional_encoding.cases
def encoding_cases(rng):
    time, pairs = int(rng.integers(3, 12)), int(rng.integers(2, 7))
    yield Case("a few positions", time=time, d_model=2 * pairs, base=10000.0)
    yield Case("as many positions as features", time=2 * pairs, d_model=2 * pairs, base=10000.0)
    yield Case("one pair of features", time=time, d_model=2, base=10000.0)
    yield Case("one position", time=1, d_model=2 * pairs, base=10000.0)
    yield Case("a longer text", time=int(rng.integers(100, 200)), d_model=16, base=10000.0)
    yield Case("a smaller base", "other bases", time=time, d_model=2 * pairs, base=float(rng.uniform(2, 50)))


@positional_encoding.probe
def ask_positional_encoding(answer, time, d_model, base):
    return {"positions": answer(time, d_model, base)}


@positional_encoding.alternative
def number_by_number(time, d_model, base=10000.0):
    P = torch.zeros(time, d_model)
    for t in range(time):
        for i in range(d_model // 2):
            angle = t / base ** (2 * i / d_model)
            P[t, 2 * i], P[t, 2 * i + 1] = math.sin(angle), math.cos(angle)
    return P


@positional_encoding.alternative
def every_second_column(time, d_model, base=10000.0):
    angle = torch.arange(time)[:, None] / base ** (torch.arange(0, d_model, 2) / d_model)
    P = torch.empty(time, d_model)
    P[:, 0::2] = torch.sin(angle)
    P[:, 1::2] = torch.cos(angle)
    return P


@positional_encoding.alternative
def as_a_cosine_later(time, d_model, base=10000.0):
    feature = torch.arange(d_model)
    speed = torch.exp(-math.log(base) * (feature - feature % 2) / d_model)
    return torch.sin(torch.arange(time)[:, None] * speed + math.pi / 2 * (feature % 2))


positional_encoding.slip(
    "sines first, then cosines",
    every_second_column,
    "P[:, 0::2] = torch.sin(angle)\n    P[:, 1::2] = torch.cos(angle)",
    "P[:, : d_model // 2] = torch.sin(angle)\n    P[:, d_model // 2 :] = torch.cos(angle)",
    cause="All sines stand before all cosines; here they take turns: sine, cosine, sine, cosine …",
    hint="Which two columns belong to the frequency ω₀?",
)
positional_encoding.slip(
    "the exponent lacks its 2",
    number_by_number,
    "(2 * i / d_model)",
    "(i / d_model)",
    cause="The exponent is i/d_model; it is 2i/d_model, with i from 0 to d_model/2 − 1.",
    hint="What is the slowest frequency? It should be near 1/base.",
)
positional_encoding.slip(
    "sine and cosine swapped",
    every_second_column,
    "P[:, 0::2] = torch.sin(angle)\n    P[:, 1::2] = torch.cos(angle)",
    "P[:, 0::2] = torch.cos(angle)\n    P[:, 1::2] = torch.sin(angle)",
    cause="The even columns hold the cosines; they should hold the sines.",
    hint="Which vector does position 0 have?",
)
positional_encoding.slip(
    "positions counted from 1",
    every_second_column,
    "torch.arange(time)[:, None]",
    "torch.arange(1, time + 1)[:, None]",
    cause="The first position is taken for 1; it is 0.",
    hint="The first row should be 0, 1, 0, 1 …",
)
positional_encoding.slip(
    "frequencies grow",
    every_second_column,
    "[:, None] / base **",
    "[:, None] * base **",
    cause="The frequencies grow from pair to pair; they should fall from 1 to nearly 1/base.",
    hint="The minus sign in the exponent is a division.",
)
positional_encoding.slip(
    "the base is always 10,000",
    number_by_number,
    "angle = t / base **",
    "angle = t / 10000.0 **",
    cause="The argument `base` is not used: the base is always 10,000.",
    hint="Call it with base=2 and look at the second pair.",
)
positional_encoding.slip(
    "a frequency for each feature",
    as_a_cosine_later,
    "(feature - feature % 2)",
    "feature",
    cause="Sine and cosine of a pair have different frequencies; they share one.",
    hint="d_model features, but only d_model/2 frequencies.",
)

# shift_matrix

shift_matrix = Exercise(
    "transformer.shift_matrix",
    reference=transformer.shift_matrix,
    facets={"values": 2, "backwards": 1},
    difficulty=2,
    minutes=20,
)


@shift_matrix.cases
def shift_cases(rng):
    pairs = int(rng.integers(2, 6))
    yield Case("a shift forwards", offset=int(rng.integers(1, 9)), d_model=2 * pairs, base=10000.0)
    yield Case("a smaller base", offset=int(rng.integers(1, 9)), d_model=2 * pairs, base=float(rng.uniform(2, 20)))
    yield Case("one pair", offset=int(rng.integers(1, 9)), d_model=2, base=10000.0)
    yield Case("no shift at all", offset=0, d_model=2 * pairs, base=10000.0)
    yield Case("a shift backwards", "backwards", offset=-int(rng.integers(1, 9)), d_model=2 * pairs, base=10000.0)


@shift_matrix.probe
def ask_shift_matrix(answer, offset, d_model, base):
    return {"matrix": answer(offset, d_model, base)}


@shift_matrix.alternative
def four_numbers_at_a_time(offset, d_model, base=10000.0):
    S = torch.zeros(d_model, d_model)
    for i in range(0, d_model, 2):
        a = offset / base ** (i / d_model)
        S[i, i] = S[i + 1, i + 1] = math.cos(a)
        S[i, i + 1], S[i + 1, i] = math.sin(a), -math.sin(a)
    return S


@shift_matrix.alternative
def from_blocks(offset, d_model, base=10000.0):
    blocks = []
    for i in range(d_model // 2):
        a = torch.tensor(offset / base ** (2 * i / d_model))
        blocks.append(torch.stack([a.cos(), a.sin(), -a.sin(), a.cos()]).reshape(2, 2))
    return torch.block_diag(*blocks)


@shift_matrix.alternative
def solved_for(offset, d_model, base=10000.0):
    # Of each pair two positions are known, before and after: that fixes the matrix of the pair.
    S = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(d_model // 2):
        speed = base ** (-2 * i / d_model)
        apart = math.pi / 2 / speed  # a quarter of a turn: far enough for an exact solution
        times = torch.tensor([0.0, apart], dtype=torch.float64)
        before, after = (torch.stack([(speed * t).sin(), (speed * t).cos()]) for t in (times, times + offset))
        S[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = after @ torch.linalg.inv(before)
    return S.float()


shift_matrix.slip(
    "turned the other way",
    four_numbers_at_a_time,
    "S[i, i + 1], S[i + 1, i] = math.sin(a), -math.sin(a)",
    "S[i, i + 1], S[i + 1, i] = -math.sin(a), math.sin(a)",
    cause="The matrix turns backwards: it takes each position to the one `offset` before it (it is transposed).",
    hint="sin(ωt + a) = sin ωt · cos a + cos ωt · sin a. Which sign does the first row get?",
)
shift_matrix.slip(
    "one angle for all pairs",
    four_numbers_at_a_time,
    "a = offset / base ** (i / d_model)",
    "a = offset",
    cause="All pairs turn by the same angle; each turns with its own frequency.",
    hint="Pair i turns by ωᵢ · offset.",
)
shift_matrix.slip(
    "the size of the offset alone",
    four_numbers_at_a_time,
    "a = offset /",
    "a = abs(offset) /",
    cause="A shift backwards turns forwards: the sign of the offset is lost.",
    hint="What should shift(−3) @ shift(3) be?",
)
shift_matrix.slip(
    "both sines positive",
    four_numbers_at_a_time,
    "math.sin(a), -math.sin(a)",
    "math.sin(a), math.sin(a)",
    cause="Both sines are positive, so the blocks are no rotations.",
    hint="cos(ωt + a) = cos ωt · cos a − sin ωt · sin a.",
)
shift_matrix.slip(
    "the exponent counts twice",
    from_blocks,
    "(2 * i / d_model)",
    "(4 * i / d_model)",
    cause="The frequencies fall twice as fast as those of the positions.",
    hint="Compare the frequency of the last pair with that in your positions.",
)


@shift_matrix.mistake(hint="Which columns of P hold sine and cosine of one frequency? They stand side by side.")
def halves_instead_of_pairs(offset, d_model, base=10000.0):
    """The matrix mixes feature i with feature i + d_model/2; sine and cosine of a frequency are neighbours."""
    half = d_model // 2
    a = offset * base ** (-2 * torch.arange(half) / d_model)
    top = torch.cat([torch.diag(a.cos()), torch.diag(a.sin())], dim=1)
    return torch.cat([top, torch.cat([-torch.diag(a.sin()), torch.diag(a.cos())], dim=1)])
