"""Positions against brute force, rotation matrices, T5's own formula, and what must not change when all moves."""

import math
from fractions import Fraction

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course import attention, positions, transformer
from ml_course.attention import MultiHeadAttention
from ml_course.positions import Alibi, BiasedAttention, Buckets, Clipped, RotaryAttention, ShawAttention

HEADS, D_HEAD = 4, 8


def learned(module):
    """The same module with random numbers where it starts with zeros."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


SCHEMES = {
    "rotary": lambda **kw: RotaryAttention(**kw),
    "rotary in halves": lambda **kw: RotaryAttention(halves=True, scale=0.5, base=100.0, **kw),
    "alibi": lambda **kw: BiasedAttention(Alibi(HEADS), **kw),
    "buckets": lambda **kw: learned(BiasedAttention(Buckets(HEADS, buckets=8, max_distance=6), **kw)),
    "causal buckets": lambda **kw: learned(BiasedAttention(Buckets(HEADS, buckets=4, causal=True), **kw)),
    "clipped": lambda **kw: learned(BiasedAttention(Clipped(HEADS, max_distance=2), **kw)),
    "shaw": lambda **kw: learned(ShawAttention(D_HEAD, max_distance=2, **kw)),
    "shaw on keys": lambda **kw: learned(ShawAttention(D_HEAD, max_distance=2, on_values=False, **kw)),
}
schemes = pytest.mark.parametrize("scheme", SCHEMES)


def random_inputs(*batch, query=5, key=7, **kwargs):
    """Queries, keys, values that want gradients."""
    return [torch.randn(*batch, HEADS, n, D_HEAD, **kwargs).requires_grad_() for n in (query, key, key)]


# What all schemes promise.


@dtypes
@schemes
@pytest.mark.parametrize("batch", [(), (2,), (2, 1)], ids=str)
def test_readable_and_fused_agree_also_where_rows_are_masked(scheme, batch, dtype, device):
    fused = SCHEMES[scheme]().to(device, dtype)
    readable = SCHEMES[scheme](fused=False).to(device, dtype)
    readable.load_state_dict(fused.state_dict())
    inputs = random_inputs(*batch, dtype=dtype, device=device)
    mask = torch.rand(*batch, 1, 5, 7, device=device) > 0.4
    mask[..., 1, :] = False
    for given_mask in (mask, mask[(0,) * len(batch)], None):
        first, second = readable(*inputs, given_mask), fused(*inputs, given_mask)
        assert first.dtype == second.dtype == dtype and first.shape == inputs[0].shape
        assert_close(first, second)
        if given_mask is not None:
            assert (first[..., 1, :] == 0).all() and (second[..., 1, :] == 0).all()
        if dtype == torch.bfloat16:
            continue  # eight bits are too few to compare sums of gradients by
        wanted = [*inputs, *readable.parameters()], [*inputs, *fused.parameters()]
        pairs = zip(gradients(first, *wanted[0]), gradients(second, *wanted[1]), strict=True)
        for ours, theirs in pairs:
            assert ours.isfinite().all()
            assert_close(ours, theirs)


@schemes
@pytest.mark.parametrize("fused", [True, False])
def test_queries_are_the_last_of_the_keys_as_with_a_cache(scheme, fused):
    attend = SCHEMES[scheme](fused=fused).double()
    queries, keys, values = random_inputs(2, query=7, key=7, dtype=torch.float64)
    whole = attend(queries, keys, values, attention.causal_mask(7))
    for query in (1, 3, 7):
        last = attend(queries[..., -query:, :], keys, values, attention.causal_mask(query, 7))
        assert_close(last, whole[..., -query:, :])


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(SCHEMES)), st.integers(1, 6), st.integers(0, 4), st.integers(0, 5), st.booleans())
def test_outputs_depend_on_offsets_only(scheme, query, more, before, fused):
    """The same tokens further along, behind others that a mask hides, get the same answers."""
    torch.manual_seed(0)
    attend = SCHEMES[scheme](fused=fused).double()
    queries, keys, values = random_inputs(1, query=query, key=query + more, dtype=torch.float64)
    mask = attention.causal_mask(query, query + more)
    hidden = torch.randn(1, HEADS, before, D_HEAD, dtype=torch.float64)
    later = attend(
        queries,
        torch.cat([hidden, keys], dim=-2),
        torch.cat([hidden, values], dim=-2),
        F.pad(mask, (before, 0), value=False),
    )
    assert_close(later, attend(queries, keys, values, mask), torch.float32)


@schemes
def test_order_is_seen(scheme):
    """Without a mask plain attention gives a query the same answer in whatever order the keys stand; these do not."""
    queries, keys, values = random_inputs(query=1)
    plain = attention.scaled_dot_product_attention
    turned = keys.flip(-2), values.flip(-2)
    assert torch.allclose(plain(queries, keys, values), plain(queries, *turned), atol=1e-6)
    attend = SCHEMES[scheme]()
    assert not torch.allclose(attend(queries, keys, values), attend(queries, *turned), atol=1e-3)


@schemes
def test_within_many_heads_and_a_language_model(scheme, device):
    config = transformer.LMConfig(vocab=11, d_model=HEADS * D_HEAD, heads=HEADS, d_ff=16, layers=2, positions="none")
    model = transformer.TransformerLM(
        config, lambda d_model, heads: MultiHeadAttention(d_model, heads, attend=SCHEMES[scheme]())
    ).to(device)
    tokens = torch.randint(0, 11, (2, 9), device=device)
    logits = model(tokens)
    changed = tokens.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 11
    assert logits.shape == (2, 9, 11) and logits.isfinite().all()
    assert torch.allclose(model(changed)[:, :6], logits[:, :6], atol=1e-6)  # the future stays hidden
    logits.sum().backward()
    own = [p for p in model.decoder.layers[0].attention.sublayer.attend.parameters()]
    assert all(p.grad is not None and (p.grad != 0).any() for p in own)


@schemes
def test_more_queries_than_keys_are_refused(scheme):
    with pytest.raises(ValueError, match="query = 3 is more than key = 2"):
        SCHEMES[scheme]()(*random_inputs(query=3, key=2))


# Rotation


@dtypes
@pytest.mark.parametrize("base", [10_000.0, 20.0])
def test_real_and_complex_forms_agree(dtype, base, device):
    x = torch.randn(2, 3, 6, 8, dtype=dtype, device=device).requires_grad_()
    places = torch.tensor([0, 1, 2, 50, 999, 100_000], device=device)
    real, by_numbers = (form(x, places, base=base) for form in (positions.rotate, positions.rotate_complex))
    assert real.dtype == by_numbers.dtype == dtype
    assert_close(real, by_numbers)
    assert_close(gradients(real, x)[0], gradients(by_numbers, x)[0])


@pytest.mark.parametrize("halves", [False, True])
def test_rotation_by_matrices_built_one_pair_at_a_time(halves):
    x, d_head = torch.randn(5, 6, dtype=torch.float64), 6
    places = [0, 1, 3, 10, 4]
    rotated = positions.rotate(x, torch.tensor(places), base=50.0, halves=halves)
    for row, m in enumerate(places):
        matrix = torch.zeros(d_head, d_head, dtype=torch.float64)
        for i in range(d_head // 2):
            angle = m * 50.0 ** (-2 * i / d_head)
            a, b = (i, i + d_head // 2) if halves else (2 * i, 2 * i + 1)
            matrix[a, a] = matrix[b, b] = math.cos(angle)
            matrix[a, b], matrix[b, a] = -math.sin(angle), math.sin(angle)
        assert_close(rotated[row], matrix @ x[row])


def test_rotation_is_the_sinusoids_shift_turned_round():
    x = torch.randn(1, 8)
    for m in (0, 1, 7, 40):
        matrix = transformer.shift_matrix(m, 8).T
        assert_close(positions.rotate(x, torch.tensor([m]))[0], matrix @ x[0])


def test_halves_are_pairs_in_another_order():
    x, places = torch.randn(4, 8), torch.arange(4)
    order = torch.arange(8).reshape(4, 2).T.flatten()  # 0 2 4 6 1 3 5 7
    assert_close(positions.rotate(x[:, order], places, halves=True), positions.rotate(x, places)[:, order])


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.booleans())
def test_scores_of_rotated_vectors_depend_on_the_offset_only(m, n, shift, halves):
    generator = torch.Generator().manual_seed(m)
    q, k = torch.randn(2, 1, 8, generator=generator, dtype=torch.float64)

    def score(m, n):
        turned = (positions.rotate(x, torch.tensor([at]), halves=halves) for x, at in ((q, m), (k, n)))
        return (next(turned) * next(turned)).sum()

    assert_close(score(m, n), score(m + shift, n + shift), torch.float32)
    assert_close(positions.rotate(q, torch.tensor([m]), halves=halves).norm(), q.norm())
    assume(m != n)
    assert not torch.isclose(score(m, n), score(n, n), rtol=0, atol=1e-12)  # and they do depend on it


def test_rotary_attention_turns_queries_and_keys_and_leaves_the_values():
    queries, keys, values = random_inputs(2, query=3, key=5)
    places = torch.arange(5)
    for halves, scale in ((False, 1.0), (True, 0.25)):
        options = dict(halves=halves, base=30.0)
        expected = attention.scaled_dot_product_attention(
            positions.rotate(queries, places[2:] * scale, **options),
            positions.rotate(keys, places * scale, **options),
            values,
        )
        assert_close(RotaryAttention(scale=scale, **options)(queries, keys, values), expected)


def test_rotary_tables_follow_the_input_in_length_dtype_and_device(device):
    attend = RotaryAttention()
    for time, dtype in ((3, torch.float32), (20, torch.float32), (5, torch.float64), (4, torch.bfloat16)):
        inputs = random_inputs(query=time, key=time, dtype=dtype, device=device)
        assert_close(attend(*inputs), RotaryAttention()(*inputs))
    assert not attend.state_dict()  # nothing is learned, nothing is saved


def test_half_precision_rotates_by_exact_angles():
    """Position 40,001 is no bfloat16: an angle computed in it would be wrong by whole turns."""
    x = torch.randn(1, 8).bfloat16()
    exact = positions.rotate(x.double(), torch.tensor([40_001]))
    assert (positions.rotate(x, torch.tensor([40_001])).double() - exact).abs().max() < 0.02


@pytest.mark.parametrize("form", [positions.rotate, positions.rotate_complex])
def test_an_odd_width_is_named(form):
    with pytest.raises(ValueError, match="d_model = 5, expected an even number"):
        form(torch.randn(2, 5), torch.arange(2))


# Toeplitz


@given(st.integers(1, 6), st.integers(0, 5))
def test_offsets_and_toeplitz_by_brute_force(query, more):
    key = query + more
    expected = [[j - (i + key - query) for j in range(key)] for i in range(query)]
    assert positions.offset_matrix(query, key).tolist() == expected
    offsets = positions.all_offsets(query, key)
    assert sorted({o for row in expected for o in row}) == offsets.tolist()
    numbers = torch.randn(2, len(offsets))
    matrix = positions.toeplitz(numbers, query)
    for head in range(2):
        of = dict(zip(offsets.tolist(), numbers[head].tolist(), strict=True))
        assert matrix[head].tolist() == [[of[o] for o in row] for row in expected]
    # What the word means: along each diagonal all entries are equal.
    assert torch.equal(matrix[:, 1:, 1:], matrix[:, :-1, :-1])


def test_toeplitz_equals_scipys_and_passes_gradients():
    linalg = pytest.importorskip("scipy.linalg")
    numbers = torch.randn(7, dtype=torch.float64).requires_grad_()  # offsets −3 … 3
    matrix = positions.toeplitz(numbers, 4)
    assert torch.equal(
        matrix.detach(), torch.from_numpy(linalg.toeplitz(numbers.detach()[:4].flip(0), numbers[3:].detach()))
    )
    matrix.sum().backward()
    assert numbers.grad.tolist() == [1, 2, 3, 4, 3, 2, 1]  # the lengths of the diagonals


@pytest.mark.parametrize(("entries", "query"), [(3, 3), (3, 0), (0, 1)])
def test_toeplitz_names_what_does_not_fit(entries, query):
    with pytest.raises(ValueError, match=f"diagonals has {entries} entries for query = {query}, expected query"):
        positions.toeplitz(torch.zeros(entries), query)
    with pytest.raises(ValueError, match="query = 3 is more than key = 2"):
        positions.offset_matrix(3, 2)


def test_biased_attention_by_the_formula_with_any_function_of_offsets():
    queries, keys, values = random_inputs(2, query=3, key=5)
    attend = BiasedAttention(lambda offsets: torch.stack([(h + 1) * offsets.sin() for h in range(HEADS)]))
    bias = torch.tensor([[[(h + 1) * math.sin(j - (i + 2)) for j in range(5)] for i in range(3)] for h in range(HEADS)])
    weights = F.softmax(queries @ keys.mT / D_HEAD**0.5 + bias, dim=-1)
    assert_close(attend(queries, keys, values), weights @ values)
    with pytest.raises(ValueError, match="queries has 4 heads, expected 2, as the bias was made for"):
        BiasedAttention(Alibi(2))(queries, keys, values)


def test_a_bias_that_is_zero_changes_nothing():
    """Buckets and clipped offsets start so; and ALiBi's does not depend on where all of it stands."""
    inputs = random_inputs(2)
    for bias in (Buckets(HEADS), Clipped(HEADS, 3)):
        assert_close(BiasedAttention(bias)(*inputs), attention.scaled_dot_product_attention(*inputs))


# ALiBi


@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16, 64])
def test_slopes_of_a_power_of_two_are_one_geometric_sequence(heads):
    slopes = positions.alibi_slopes(heads)
    assert_close(slopes, torch.tensor([2 ** (-8 * (h + 1) / heads) for h in range(heads)]))
    assert slopes[-1] == 2**-8


def their_slopes(n):
    """As the authors' code says it, in its own recursive words."""

    def of_power(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n).is_integer():
        return of_power(n)
    closest = 2 ** math.floor(math.log2(n))
    return of_power(closest) + their_slopes(2 * closest)[0::2][: n - closest]


@pytest.mark.parametrize("heads", range(1, 41))
def test_slopes_equal_the_authors_for_any_number_of_heads(heads):
    slopes = positions.alibi_slopes(heads)
    assert_close(slopes, torch.tensor(their_slopes(heads)))
    assert len(set(slopes.tolist())) == heads and ((slopes > 0) & (slopes < 1)).all()
    with pytest.raises(ValueError, match="heads = 0, expected at least 1"):
        positions.alibi_slopes(0)


def test_alibi_loses_the_same_for_each_step_in_both_directions():
    matrix = BiasedAttention(Alibi(8)).matrix(4, 6)
    for head, slope in enumerate([2**-h for h in range(1, 9)]):
        assert_close(matrix[head], torch.tensor([[-slope * abs(j - i - 2) for j in range(6)] for i in range(4)]))
    assert not Alibi(8).state_dict() and not list(Alibi(8).parameters())


def test_alibi_keeps_its_slopes_in_half_precision():
    """Distances are exact up to 256 in bfloat16, slopes of twelve heads are not: they must not be rounded first."""
    bias = Alibi(12).to(torch.bfloat16)(torch.tensor([-1001]))
    assert_close(bias[:, 0], -1001 * positions.alibi_slopes(12))


# Buckets


def exact_bucket(offset, buckets, max_distance, causal):
    """T5's rule in whole numbers: d ≥ e (m/e)^(k/r) is the same as d^r e^k ≥ e^r m^k, and nothing is rounded."""
    first = 0
    if causal:
        distance = max(0, -offset)
    else:
        buckets //= 2
        first, distance = (buckets if offset > 0 else 0), abs(offset)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    ranges = buckets - exact
    reached = [k for k in range(ranges) if Fraction(distance, exact) ** ranges >= Fraction(max_distance, exact) ** k]
    return first + exact + reached[-1]


def t5s_formula(relative_position, bidirectional, num_buckets, max_distance):
    """As the code published with T5 computes it, step by step and in float32."""
    ret, n = 0, -relative_position
    if bidirectional:
        num_buckets //= 2
        ret += (n < 0).long() * num_buckets
        n = n.abs()
    else:
        n = torch.max(n, torch.zeros_like(n))
    max_exact = num_buckets // 2
    is_small = n < max_exact
    val_if_large = (
        max_exact
        + (torch.log(n.float() / max_exact) / math.log(max_distance / max_exact) * (num_buckets - max_exact)).long()
    )
    return ret + torch.where(is_small, n, torch.min(val_if_large, torch.full_like(n, num_buckets - 1)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("buckets", "max_distance"), [(32, 128), (8, 20), (16, 64), (12, 50), (4, 3), (64, 1000)])
def test_buckets_equal_t5s_formula_and_exact_arithmetic(buckets, max_distance, causal):
    offsets = torch.arange(-1100, 1101)
    ours = positions.relative_buckets(offsets, buckets, max_distance, causal=causal)
    assert torch.equal(ours, t5s_formula(offsets, not causal, buckets, max_distance))
    assert ours.tolist() == [exact_bucket(o, buckets, max_distance, causal) for o in offsets.tolist()]
    assert set(ours.tolist()) == set(range(buckets)) - ({buckets // 2} if not causal else set())


def test_buckets_of_t5_that_are_known():
    """32 buckets up to 128, as published: 8 exact distances a side, then ever wider ones."""
    offsets = torch.tensor([0, -1, -7, -8, -11, -12, -16, -127, -128, -5000, 1, 7, 8, 128])
    known = [0, 1, 7, 8, 8, 9, 10, 15, 15, 15, 17, 23, 24, 31]
    assert positions.relative_buckets(offsets).tolist() == known
    assert positions.relative_buckets(torch.tensor([5, 0, -15, -16, -300]), causal=True).tolist() == [0, 0, 15, 16, 31]


@given(st.integers(2, 20), st.integers(0, 60), st.booleans())
def test_farther_is_never_a_lower_bucket(half, more, causal):
    offsets = -torch.arange(200)
    buckets = positions.relative_buckets(offsets, 2 * half, half + 1 + more, causal=causal)
    assert (buckets.diff() >= 0).all() and buckets[0] == 0


def test_buckets_look_up_a_number_for_each_head():
    bias = learned(Buckets(3, buckets=8, max_distance=20, causal=True))
    offsets = torch.arange(-30, 3)
    expected = [[bias.weight[h, exact_bucket(o, 8, 20, True)] for o in offsets.tolist()] for h in range(3)]
    assert bias(offsets).tolist() == [[number.item() for number in row] for row in expected]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (dict(buckets=5), "buckets = 5 with causal = False, expected an even number from 4 on"),
        (dict(buckets=2), "buckets = 2 with causal = False, expected an even number from 4 on"),
        (dict(buckets=1, causal=True), "buckets = 1 with causal = True, expected at least 2"),
        (dict(buckets=32, max_distance=8), "max_distance = 8, expected above 8"),
        (dict(buckets=32, max_distance=16, causal=True), "max_distance = 16, expected above 16"),
    ],
)
def test_impossible_buckets_are_named(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        positions.relative_buckets(torch.arange(3), **options)
    with pytest.raises(ValueError, match=complaint):
        Buckets(2, **options)


# Offsets as vectors


@pytest.mark.parametrize("on_values", [True, False])
@pytest.mark.parametrize("max_distance", [0, 1, 3, 20])
def test_shaw_by_brute_force(on_values, max_distance):
    attend = learned(ShawAttention(D_HEAD, max_distance, on_values=on_values))
    queries, keys, values = (x.detach() for x in random_inputs(query=3, key=5))
    output = attend(queries, keys, values)
    for head in range(HEADS):
        for i in range(3):
            rows = [max(-max_distance, min(max_distance, j - (i + 2))) + max_distance for j in range(5)]
            scores = torch.stack([queries[head, i] @ (keys[head, j] + attend.keys[rows[j]]) for j in range(5)])
            weights = F.softmax(scores / D_HEAD**0.5, dim=0)
            heard = [values[head, j] + (attend.values[rows[j]] if on_values else 0) for j in range(5)]
            assert_close(output[head, i], sum(w * v for w, v in zip(weights, heard, strict=True)))
    assert sum(p.numel() for p in attend.parameters()) == (1 + on_values) * (2 * max_distance + 1) * D_HEAD


@pytest.mark.parametrize("make", [lambda: ShawAttention(4, -1), lambda: Clipped(2, -1)])
def test_a_negative_distance_is_named(make):
    with pytest.raises(ValueError, match="max_distance = -1, expected at least 0"):
        make()


def test_alibi_and_buckets_are_tables_of_clipped_offsets():
    table, offsets = Clipped(HEADS, max_distance=9), positions.all_offsets(10, 10)
    inputs = random_inputs(query=10, key=10)
    for bias in (Alibi(HEADS), learned(Buckets(HEADS, buckets=8))):
        with torch.no_grad():
            table.weight.copy_(bias(offsets))
        assert_close(BiasedAttention(table)(*inputs), BiasedAttention(bias)(*inputs))


# What no scheme at all knows


def test_one_causal_layer_without_positions_sees_a_bag_and_two_see_order():
    mask = attention.causal_mask(6)
    first, second = MultiHeadAttention(8, 2), MultiHeadAttention(8, 2)
    x = torch.randn(6, 8)
    mixed = x[[3, 0, 4, 1, 2, 5]]  # the last stays in its place
    assert torch.allclose(first(x, mask=mask)[-1], first(mixed, mask=mask)[-1], atol=1e-5)
    deep, of_mixed = (second(first(tokens, mask=mask), mask=mask)[-1] for tokens in (x, mixed))
    assert not torch.allclose(deep, of_mixed, atol=1e-3)
    # Without the mask no depth helps.
    assert torch.allclose(second(first(x))[-1], second(first(mixed))[-1], atol=1e-5)


# Longer than learned


def bigrams(tokens):
    """A model that knows no position: logits by the token alone."""
    return torch.randn(7, 7, generator=torch.Generator().manual_seed(0))[tokens]


def test_nats_by_position_by_brute_force(device):
    tokens = torch.randint(0, 7, (24,), device=device)

    def counting(tokens):  # and by where it stands
        logits = bigrams(tokens.cpu()).to(device)
        return logits * torch.arange(1, 1 + tokens.shape[1], device=device)[:, None]

    for length, batch in ((1, 3), (5, 2), (5, 32), (23, 1)):
        surprises = [[] for _ in range(length)]
        for start in range(0, 24 - length, length):
            logits = counting(tokens[None, start : start + length])[0]
            for t in range(length):
                surprises[t].append(-logits[t].log_softmax(0)[tokens[start + t + 1]].item())
        expected = torch.tensor([sum(s) / len(s) for s in surprises], device=device)
        assert_close(positions.nats_by_position(counting, tokens, length, batch), expected)


def test_nats_by_length_equals_the_windows_of_the_chapter_before():
    tokens = torch.randint(0, 7, (25,))
    found = positions.nats_by_length(bigrams, tokens, [2, 4, 8, 24])
    expected = [transformer.windowed_nats(bigrams, tokens, length) for length in (2, 4, 8, 24)]
    assert_close(found, torch.tensor(expected))
    assert_close(found, found[:1].expand(4))  # a model without memory does not care


@pytest.mark.parametrize("length", [3, 0, -1])
def test_a_text_too_short_is_named(length):
    with pytest.raises(ValueError, match=f"tokens has 3 entries, expected more than length = {length}"):
        positions.nats_by_position(bigrams, torch.zeros(3, dtype=torch.long), length)
