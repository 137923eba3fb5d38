"""Attention in blocks, by hashing, sparse and by features, against torch's dense attention and brute force."""

import itertools
import math
from functools import partial

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course import attention, longrange
from ml_course.attention import MultiHeadAttention, causal_mask, padding_mask
from ml_course.longrange import flash


def random_inputs(*batch, query=13, key=13, d_head=8, features=8, **kwargs):
    """Queries, keys, values that want gradients."""
    shapes = (query, d_head), (key, d_head), (key, features)
    return [torch.randn(*batch, *shape, **kwargs).requires_grad_() for shape in shapes]


def dense(queries, keys, values, mask=None, causal=False):
    """What the exact forms must equal: torch's readable attention under an explicit mask."""
    if causal:
        past = causal_mask(queries.shape[-2], keys.shape[-2], queries.device)
        mask = past if mask is None else mask & past
    return attention.scaled_dot_product_attention(queries, keys, values, mask, fused=False)


def assert_same(ours, theirs, inputs):
    assert_close(ours, theirs)
    assert ours.dtype == inputs[0].dtype
    for mine, other in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        assert_close(mine, other)


FORMS = {
    "flash": partial(longrange.flash_attention, block=4),
    "LSH": partial(longrange.lsh_attention, chunk=4, rotations=torch.randn(2, 8, 3)),
    "sparse": partial(longrange.sparse_attention, block=4),
    "linear": longrange.linear_attention,
    "Performer": partial(longrange.performer_attention, directions=torch.randn(16, 8)),
    "RFA": partial(longrange.random_feature_attention, directions=torch.randn(16, 8)),
    "AFT-full": lambda q, k, v, mask=None, **options: longrange.aft_full(
        q, k, v, mask, bias=torch.linspace(-1, 1, q.shape[-2] * k.shape[-2]).view(q.shape[-2], -1).to(q), **options
    ),
    "AFT-simple": longrange.aft_simple,
    "AFT-local": lambda q, k, v, mask=None, **options: longrange.aft_local(
        q, k, v, mask, bias=torch.linspace(-1, 1, 5 * k.shape[-2]).view(-1, 5).to(q), **options
    ),
}
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
no_dense_masks = [name for name in FORMS if name not in ("flash", "AFT-full")]


# what all forms share


@dtypes
@forms
def test_every_form_takes_the_same_arguments(form, dtype, device):
    inputs = random_inputs(2, 3, dtype=dtype, device=device)
    padding = padding_mask(torch.tensor([13, 7], device=device), 13)[:, None]
    for mask, causal in itertools.product((None, padding), (False, True)):
        outputs = form(*inputs, mask, causal=causal)
        assert outputs.shape == inputs[2].shape and outputs.dtype == dtype and outputs.device.type == device.type
        assert outputs.isfinite().all() and all(slope.isfinite().all() for slope in gradients(outputs, *inputs[::2]))


@forms
def test_no_form_sees_the_future_or_filler(form):
    queries, keys, values = (x.detach() for x in random_inputs(2))
    padding = padding_mask(torch.tensor([9, 9]), 13)
    before = form(queries, keys, values, padding)
    # Reformer's queries are its keys: those of the filler ask, but nobody may hear of them.
    changed = [torch.cat([x[:, :9], torch.randn(2, 4, 8)], 1) for x in (queries, keys, values)]
    same_buckets = form is FORMS["LSH"]  # there filler moves the borders of the chunks, and with them who meets whom
    if not same_buckets:
        assert_close(form(*changed, padding)[:, :9], before[:, :9])
    poison = torch.where(torch.arange(13)[:, None] < 9, values, 100.0)
    assert_close(form(queries, keys, poison, padding), before)
    outputs = form(queries, keys, values.requires_grad_(), causal=True)
    for i in (0, 4, 11):
        (slope,) = torch.autograd.grad(outputs[:, i].sum(), values, retain_graph=True)
        assert (slope[:, i + 1 :] == 0).all() and (same_buckets or (slope[:, i] != 0).any())


@forms
def test_a_query_that_sees_nothing_gets_zeros_and_slopes_that_are_numbers(form):
    inputs = random_inputs(2)
    nobody = padding_mask(torch.tensor([0, 13]), 13)
    outputs = form(*inputs, nobody)
    assert (outputs[0] == 0).all() and outputs[1].abs().sum() > 0
    assert all(slope.isfinite().all() for slope in gradients(outputs, *inputs[::2]))


@pytest.mark.parametrize("name", no_dense_masks)
def test_forms_without_a_weight_for_each_pair_say_so(name):
    with pytest.raises(ValueError, match=r"mask has shape \(13, 13\): .* no weight for each pair.*causal=True"):
        FORMS[name](*random_inputs(2), causal_mask(13))


@pytest.mark.parametrize("name", ["flash", "sparse", "linear", "Performer", "RFA", "AFT-full", "AFT-simple"])
def test_the_queries_are_the_last_of_the_keys(name):
    queries, keys, values = random_inputs(2, query=13, key=13)
    chart = {"chart": longrange.window_chart} if name == "sparse" else {}
    every = FORMS[name](queries, keys, values, causal=True, **chart) if name != "AFT-full" else None
    if name == "sparse":  # the chart is of blocks: 8 queries in blocks of 4 are its last two rows
        keys, values = keys[:, :12], values[:, :12]
        every = FORMS[name](queries[:, :12], keys, values, causal=True, chart=longrange.window_chart(3))
        last = FORMS[name](queries[:, 4:12], keys, values, causal=True, chart=longrange.window_chart(3)[1:])
        return assert_close(last, every[:, 4:])
    if name == "AFT-full":
        bias = torch.randn(13, 13)
        every = longrange.aft_full(queries, keys, values, causal=True, bias=bias)
        return assert_close(longrange.aft_full(queries[:, 5:], keys, values, causal=True, bias=bias[5:]), every[:, 5:])
    assert_close(FORMS[name](queries[:, 5:], keys, values, causal=True), every[:, 5:])
    with pytest.raises(ValueError, match=r"query = 13 and key = 12"):
        FORMS[name](queries, keys[:, 1:], values[:, 1:], causal=True)


@pytest.mark.parametrize("name", [*FORMS, "random module", "AFT module", "local AFT module"])
def test_one_takes_the_place_of_another_in_many_heads(name):
    attend = (
        FORMS.get(name)
        or {
            "random module": longrange.RandomFeatures(longrange.performer_attention, 8),
            "AFT module": longrange.AFT(20),
            "local AFT module": longrange.AFT(20, window=3),
        }[name]
    )
    layer, x = MultiHeadAttention(16, 2, attend=attend), torch.randn(3, 13, 16)
    outputs = layer(x, mask=padding_mask(torch.tensor([13, 5, 1]), 13))
    assert outputs.shape == x.shape and outputs.isfinite().all()


# attention in blocks


@dtypes
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, "padding", "pairs"])
@pytest.mark.parametrize("block", [1, 4, 13, 64])
def test_flash_equals_dense_attention_in_values_and_gradients(dtype, causal, mask, block, device):
    inputs = random_inputs(2, 3, query=9, features=5, dtype=dtype, device=device)
    if mask == "padding":
        mask = padding_mask(torch.tensor([13, 4], device=device), 13)[:, None]
    elif mask == "pairs":
        mask = torch.rand(2, 1, 9, 13, device=device) > 0.4
        mask[0, :, 2] = False
    assert_same(
        longrange.flash_attention(*inputs, mask, causal=causal, block=block), dense(*inputs, mask, causal), inputs
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_flash_at_every_length(query, more, block, causal, seed):
    torch.manual_seed(seed)
    inputs = random_inputs(query=query, key=query + more - 1, dtype=torch.float64)
    scale = torch.tensor(30.0)  # steep: a sum that is not rescaled would show, one that overflows too
    inputs[0] = (inputs[0] * scale).detach().requires_grad_()
    ours = longrange.flash_attention(*inputs, causal=causal, block=block)
    assert_same(ours, dense(*inputs, causal=causal), inputs)


def test_flash_backward_against_finite_differences():
    inputs = random_inputs(query=4, key=5, d_head=3, features=2, dtype=torch.float64)
    mask = torch.rand(4, 5) > 0.3
    for causal in (False, True):
        torch.autograd.gradcheck(lambda *x, c=causal: longrange.flash_attention(*x, mask, causal=c, block=2), inputs)


def test_flash_computes_no_block_in_the_future(monkeypatch):
    tiles, asked = flash._Tiles, []
    original = tiles.scores
    monkeypatch.setattr(tiles, "scores", lambda self, *tile: asked.append(tile) or original(self, *tile))
    inputs = random_inputs(query=40, key=40)
    longrange.flash_attention(*inputs, causal=True, block=10)
    assert len(asked) == 10  # of 16
    assert all(columns.start < rows.stop for rows, columns in asked)


@pytest.mark.parametrize("causal", [False, True])
def test_flash_memory_grows_with_the_length_and_the_matrix_with_its_square(causal):
    def peak(form, time):
        inputs = random_inputs(query=time, key=time, d_head=16, features=16)
        return longrange.peak_bytes(lambda: form(*inputs).sum().backward())

    ours = [peak(partial(longrange.flash_attention, causal=causal, block=64), time) for time in (512, 1024, 2048)]
    ordinary = [peak(partial(dense, causal=causal), time) for time in (512, 1024, 2048)]
    assert 1.8 < (ours[2] - ours[1]) / (ours[1] - ours[0]) < 2.2  # linear: twice the step, twice the growth
    assert 3.6 < (ordinary[2] - ordinary[1]) / (ordinary[1] - ordinary[0]) < 4.4
    assert ours[2] < ordinary[2] / 20
    # What is kept for the way back: inputs, outputs, and one number for each query.
    inputs = random_inputs(query=512, key=512, d_head=16, features=16)
    kept = longrange.saved_bytes(lambda: longrange.flash_attention(*inputs, causal=causal), but=tuple(inputs))
    assert kept == 4 * 512 * (16 + 1)


def test_flash_names_what_is_wrong():
    with pytest.raises(ValueError, match="block = 0, expected at least 1"):
        longrange.flash_attention(*random_inputs(), block=0)
    with pytest.raises(ValueError, match="query = 9 and key = 5"):
        longrange.flash_attention(*random_inputs(query=9, key=5), causal=True)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_parts_merge_in_any_order_and_grouping(sizes, seed):
    torch.manual_seed(seed)
    scores, values = 20 * torch.randn(3, sum(sizes) + 1, dtype=torch.float64), torch.randn(sum(sizes) + 1, 2).double()
    scores[torch.rand(scores.shape) < 0.3] = -torch.inf
    whole = longrange.attend_part(scores, values)
    pieces = [slice(a, b) for a, b in itertools.pairwise([0, *itertools.accumulate(sizes), sum(sizes) + 1]) if b > a]
    parts = [longrange.attend_part(scores[:, piece], values[piece]) for piece in pieces]
    for order in (parts, parts[::-1]):
        known = order[0]
        for part in order[1:]:
            known = longrange.merge(known, part)
        for mine, other in zip(known, whole, strict=True):
            assert_close(mine, other)
        expected = attention.softmax(scores.clone(), scores > -torch.inf) @ values
        assert_close(known.finish(), expected)


def test_nothing_merged_with_nothing_is_nothing():
    nothing = longrange.attend_part(torch.full((2, 3), -torch.inf), torch.randn(3, 4))
    both = longrange.merge(nothing, nothing)
    assert (both.finish() == 0).all() and (both.total == 0).all()


@pytest.mark.parametrize(("time", "d_head", "fast"), [(64, 4, 256), (100, 8, 300), (37, 5, 20)])
def test_memory_accesses_by_walking_the_loops(time, d_head, fast):
    counts = longrange.memory_accesses(time, d_head, fast)
    length = math.ceil(fast / (4 * d_head))
    blocks = [min(length, time - start) for start in range(0, time, length)]
    one = sum(2 * b * d_head for b in blocks)  # keys and values, each once
    one += sum(time * (2 * d_head + 2) + time * (d_head + 2) for _ in blocks)  # q, o, l, m in; o, l, m out
    two = sum(b * d_head + b * (d_head + 1) + 2 * time * d_head for b in blocks)  # q in, o and its sum out; k, v pass
    matrix = time * time
    standard = (2 * time * d_head + matrix) + 2 * matrix + (matrix + 2 * time * d_head)
    assert counts == {"standard": standard, "flash": one, "flash 2": two}
    with pytest.raises(ValueError, match=f"fast = {4 * d_head - 1} numbers, expected at least 4·d_head = {4 * d_head}"):
        longrange.memory_accesses(time, d_head, 4 * d_head - 1)


# hashing


def meeting(buckets, chunk):
    """Who meets whom in one round, (time, time), by hand: sort, cut into chunks, look at the own and the one before."""
    order = sorted(range(len(buckets)), key=lambda i: (int(buckets[i]), i))
    chunk_of = {token: place // chunk for place, token in enumerate(order)}
    everybody = range(len(buckets))
    return torch.tensor(
        [[bool(buckets[i] == buckets[j] and 0 <= chunk_of[i] - chunk_of[j] <= 1) for j in everybody] for i in everybody]
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("time", "chunk"), [(13, 4), (16, 4), (5, 8), (1, 4)])
def test_lsh_equals_dense_attention_over_all_that_meet(causal, shared, time, chunk, device):
    queries, keys, values = random_inputs(2, query=time, key=time, d_head=6, dtype=torch.float64, device=device)
    rotations = torch.randn(3, 6, 2, dtype=torch.float64, device=device)
    padding = torch.rand(2, 1, time, device=device) > 0.2
    ours = longrange.lsh_attention(
        queries, keys, values, padding, causal=causal, chunk=chunk, shared=shared, rotations=rotations
    )
    if shared:
        keys = F.normalize(queries, dim=-1)
    of_queries, of_keys = (longrange.hash_buckets(x.detach(), rotations) for x in (queries, keys))
    own = torch.eye(time, dtype=torch.bool)
    for n in range(2):
        if shared:
            rounds = torch.stack([meeting(row, chunk) for row in of_queries[n]])
        else:
            rounds = torch.stack([meets_other(a, b, chunk) for a, b in zip(of_queries[n], of_keys[n], strict=True)])
        allowed = rounds.any(0) & padding[n].cpu()
        if causal:
            allowed &= causal_mask(time)
        if shared:
            allowed &= ~(own & (allowed & ~own).any(1, keepdim=True))
        assert_close(ours[n], dense(queries[n], keys[n], values[n], allowed.to(device)))


def meets_other(asking, asked, chunk):
    """As `meeting`, for keys that are sorted for themselves."""
    chunks = []
    for buckets in (asking, asked):
        order = sorted(range(len(buckets)), key=lambda i: (int(buckets[i]), i))
        chunks.append({token: place // chunk for place, token in enumerate(order)})
    everybody = range(len(asking))
    return torch.tensor(
        [[bool(asking[i] == asked[j] and 0 <= chunks[0][i] - chunks[1][j] <= 1) for j in everybody] for i in everybody]
    )


def test_lsh_gradients_against_dense_attention():
    queries, _, values = random_inputs(2, dtype=torch.float64)
    rotations = torch.randn(2, 8, 1, dtype=torch.float64)
    ours = longrange.lsh_attention(queries, queries, values, chunk=4, rotations=rotations)
    buckets = longrange.hash_buckets(queries.detach(), rotations)
    allowed = torch.stack([torch.stack([meeting(row, 4) for row in rows]).any(0) for rows in buckets])
    own = torch.eye(13, dtype=torch.bool)
    allowed &= ~(own & (allowed & ~own).any(-1, keepdim=True))
    assert_same(ours, dense(queries, F.normalize(queries, dim=-1), values, allowed), (queries, values))


def test_buckets_are_the_nearest_of_the_directions_and_more_rounds_find_more():
    vectors, rotations = torch.randn(50, 8), torch.randn(4, 8, 3)
    buckets = longrange.hash_buckets(vectors, rotations)
    assert torch.equal(longrange.hash_buckets(7 * vectors, rotations), buckets)  # only the direction counts
    for n, i in [(0, 0), (3, 49), (2, 17)]:
        candidates = [*(vectors[i] @ rotations[n]).tolist(), *(-vectors[i] @ rotations[n]).tolist()]
        assert buckets[n, i] == max(range(6), key=candidates.__getitem__)
    near = vectors + 0.1 * torch.randn(50, 8)
    same = [(longrange.hash_buckets(near, rotations[:rounds]) == buckets[:rounds]).any(0).sum() for rounds in (1, 2, 4)]
    assert same[0] <= same[1] <= same[2] and same[2] > 40
    far = (longrange.hash_buckets(torch.randn(50, 8), rotations) == buckets).float().mean()
    assert far < 0.4  # one of six by chance


def test_lsh_names_what_is_wrong():
    with pytest.raises(ValueError, match="buckets = 3, expected an even number"):
        longrange.lsh_attention(*random_inputs(), buckets=3)
    with pytest.raises(ValueError, match="query = 5 and key = 13: expected as many"):
        longrange.lsh_attention(*random_inputs(query=5))


# sparse


@dtypes
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("time", [12, 13, 3])
def test_sparse_equals_dense_attention_under_the_expanded_chart(dtype, causal, time, device):
    inputs = random_inputs(2, 3, query=time, key=time, features=5, dtype=dtype, device=device)
    blocks = math.ceil(time / 4)
    chart = torch.rand(blocks, blocks) > 0.5
    chart[0] = True
    padding = torch.rand(2, 1, 1, time, device=device) > 0.2
    ours = longrange.sparse_attention(*inputs, padding, causal=causal, chart=chart, block=4)
    mask = longrange.expand_chart(chart, 4, time, time).to(device)
    assert_same(ours, dense(*inputs, mask & padding, causal), inputs)


def test_bigbird_has_its_three_kinds_of_blocks_and_costs_the_same_a_row():
    for blocks, seed in itertools.product((8, 16, 40), range(3)):
        chart = longrange.bigbird_chart(blocks, window=3, global_blocks=2, random_blocks=3, seed=seed)
        assert chart[:2].all() and chart[:, :2].all()
        assert (chart | ~longrange.window_chart(blocks, 3)).all()
        inner = chart[3:-1].sum(1)
        assert (inner <= 3 + 2 + 3).all() and (inner[1:] == min(8, blocks)).all()
    assert not torch.equal(longrange.bigbird_chart(16, seed=0), longrange.bigbird_chart(16, seed=1))
    assert longrange.bigbird_chart(2).all()  # fewer blocks than it would like to see


def test_window_and_etc_by_brute_force():
    window = longrange.window_chart(9, 5)
    assert window.tolist() == [[abs(i - j) <= 2 for j in range(9)] for i in range(9)]
    mask = longrange.etc_mask(2, 6, radius=1)
    expected = [[i < 2 or j < 2 or abs(i - j) <= 1 for j in range(8)] for i in range(8)]
    assert mask.tolist() == expected
    with pytest.raises(ValueError, match="window = 2, expected an odd number"):
        longrange.window_chart(4, 2)


def test_sparse_memory_grows_with_the_length():
    def peak(time):
        inputs = random_inputs(query=time, key=time, d_head=16, features=16)
        attend = partial(longrange.sparse_attention, block=32, chart=longrange.window_chart)
        return longrange.peak_bytes(lambda: attend(*inputs).sum().backward())

    first, second, third = map(peak, (512, 1024, 2048))
    assert 1.8 < (third - second) / (second - first) < 2.2


def test_sparse_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"chart has shape \(2, 2\), expected \(4, 4\): query = 13 and key"):
        longrange.sparse_attention(*random_inputs(), chart=torch.ones(2, 2, dtype=torch.bool), block=4)


# linear attention


@dtypes
@pytest.mark.parametrize("features", [longrange.elu_features, torch.exp], ids=["elu", "exp"])
def test_linear_attention_equals_its_weights_written_out(dtype, features, device):
    inputs = random_inputs(2, 3, query=7, features=5, dtype=dtype, device=device)
    padding = padding_mask(torch.tensor([13, 8], device=device), 13)[:, None]
    for mask, causal in itertools.product((None, padding), (False, True)):
        weights = features(inputs[0]) @ features(inputs[1]).mT
        allowed = torch.ones(7, 13, dtype=torch.bool, device=device) if mask is None else mask
        if causal:
            allowed = allowed & causal_mask(7, 13, device)
        kept = weights * allowed
        expected = kept @ inputs[2] / kept.sum(-1, keepdim=True)
        ours = longrange.linear_attention(*inputs, mask, causal=causal, features=features)
        assert_same(ours, expected, inputs) if dtype != torch.bfloat16 else torch.testing.assert_close(
            ours, expected, rtol=0.1, atol=0.1
        )


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_blocks_of_any_size_give_the_same_causal_sums(time, early, block):
    queries, keys, values = (x.detach().exp() for x in random_inputs(query=time, key=time + early, dtype=torch.float64))
    weights = (queries @ keys.mT) * causal_mask(time, time + early)
    expected = weights @ values / weights.sum(-1, keepdim=True)
    assert_close(longrange.feature_attention(queries, keys, values, causal=True, block=block), expected)


@dtypes
def test_the_recurrence_is_the_matrix_product(dtype, device):
    inputs = random_inputs(2, 3, dtype=dtype, device=device)
    outputs, state = longrange.linear_recurrence(*inputs)
    expected = longrange.linear_attention(*inputs, causal=True)
    torch.testing.assert_close(outputs, expected, rtol=0.1, atol=0.1) if dtype == torch.bfloat16 else assert_same(
        outputs, expected, inputs
    )
    assert state.matrix.shape == (2, 3, 8, 8) and state.sums.shape == (2, 3, 8)
    # Going on from a state: the same as having read all at once.
    early, last = ([x[..., part, :] for x in inputs] for part in (slice(0, 6), slice(6, None)))
    begun, remembered = longrange.linear_recurrence(*early)
    rest, _ = longrange.linear_recurrence(*last, remembered)
    assert_close(torch.cat([begun, rest], -2), outputs)
