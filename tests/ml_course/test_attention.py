"""Attention against torch, brute force, scikit-learn's idea of a kernel smoother, and its own symmetries."""

import math

import pytest
import torch
from closeness import TOLERANCE, assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course import attention
from ml_course.attention import MultiHeadAttention

sizes = st.integers(1, 6)


def random_inputs(*batch, query=4, key=5, d_head=8, features=8, **kwargs):
    """Queries, keys, values that want gradients."""
    shapes = (query, d_head), (key, d_head), (key, features)
    return [torch.randn(*batch, *shape, **kwargs).requires_grad_() for shape in shapes]


# softmax


@dtypes
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_softmax_equals_torchs_in_values_and_gradients(dtype, dim, device):
    scores = (5 * torch.randn(3, 4, 5, dtype=dtype, device=device)).requires_grad_()
    ours, theirs = attention.softmax(scores, dim=dim), F.softmax(scores, dim)
    assert_close(ours, theirs)
    assert_close(gradients(ours, scores)[0], gradients(theirs, scores)[0])
    assert ours.dtype == dtype


def test_softmax_survives_extreme_scores():
    scores = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [-1e4, 1e4], [1e38, -torch.inf]])
    expected = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0], [1.0, 0.0]])
    assert torch.equal(attention.softmax(scores), expected)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_softmax_is_a_distribution_and_ignores_a_shift(scores, shift):
    scores = torch.tensor(scores, dtype=torch.float64)
    weights = attention.softmax(scores)
    assert (weights >= 0).all() and math.isclose(weights.sum(), 1, rel_tol=1e-12)
    torch.testing.assert_close(weights, attention.softmax(scores + shift), rtol=1e-9, atol=1e-12)


def test_masked_scores_have_no_weight_no_gradient_and_no_say():
    scores = torch.randn(3, 4).requires_grad_()
    mask = torch.tensor([[True, True, False, False], [False, True, False, True], [False] * 4])
    weights = attention.softmax(scores, mask)
    (gradient,) = gradients(weights, scores)
    assert (weights[~mask] == 0).all() and (gradient[~mask] == 0).all() and gradient.isfinite().all()
    assert_close(weights[0, :2], F.softmax(scores[0, :2], -1))
    poisoned = scores.detach().masked_fill(~mask, torch.nan)
    assert torch.equal(attention.softmax(poisoned, mask), weights)
    assert torch.equal(weights[2], torch.zeros(4))


# masks


def test_padding_mask_by_brute_force(device):
    lengths = torch.tensor([0, 2, 5], device=device)
    mask = attention.padding_mask(lengths, 5)
    assert mask.tolist() == [[[j < length for j in range(5)]] for length in (0, 2, 5)]
    assert mask.device.type == device.type


@pytest.mark.parametrize("length", [-1, 6])
def test_padding_mask_names_a_wrong_length(length):
    with pytest.raises(ValueError, match=rf"lengths holds {length}, expected numbers from 0 to time = 5"):
        attention.padding_mask(torch.tensor([2, length]), 5)


@given(sizes, sizes)
def test_causal_mask_by_brute_force(query, more):
    key = query + more - 1
    expected = [[j <= i + key - query for j in range(key)] for i in range(query)]
    assert attention.causal_mask(query, key).tolist() == expected


def test_causal_mask_of_a_square_is_the_lower_triangle_with_the_diagonal(device):
    mask = attention.causal_mask(4, device=device)
    assert torch.equal(mask, torch.ones(4, 4, dtype=torch.bool, device=device).tril())
    assert attention.causal_mask(2, device=torch.device("meta")).is_meta  # the asked device, also without a card
    with pytest.raises(ValueError, match="query = 3 is more than key = 2"):
        attention.causal_mask(3, 2)


# scaled dot products


@dtypes
@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("features", [8, 6])
def test_readable_and_fused_agree_also_where_rows_are_masked(dtype, batch, features, device):
    inputs = random_inputs(*batch, features=features, dtype=dtype, device=device)
    mask = torch.rand(*batch, 4, 5, device=device) > 0.4
    mask[..., 1, :] = False
    readable = attention.scaled_dot_product_attention(*inputs, mask, fused=False)
    fused = attention.scaled_dot_product_attention(*inputs, mask)
    assert_close(readable, fused)
    assert readable.dtype == dtype and (readable[..., 1, :] == 0).all() and (fused[..., 1, :] == 0).all()
    for ours, theirs in zip(gradients(readable, *inputs), gradients(fused, *inputs), strict=True):
        assert ours.isfinite().all()
        assert_close(ours, theirs)


def test_the_kernel_is_used_by_default_and_only_then(monkeypatch):
    calls, kernel = [], F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or kernel(*a, **k))
    inputs, layer = random_inputs(2), MultiHeadAttention(8, 2)
    attention.scaled_dot_product_attention(*inputs, fused=False)
    layer(inputs[0], return_weights=True)
    assert not calls
    attention.scaled_dot_product_attention(*inputs)
    layer(inputs[0])
    assert len(calls) == 2


def test_weights_by_loops():
    queries, keys, _ = random_inputs(2, dtype=torch.float64)
    mask = attention.causal_mask(4, 5)
    weights = attention.attention_weights(queries, keys, mask)
    for n in range(2):
        for i in range(4):
            raw = [math.exp((queries[n, i] @ keys[n, j]).item() / math.sqrt(8)) * bool(mask[i, j]) for j in range(5)]
            assert weights[n, i].tolist() == pytest.approx([value / sum(raw) for value in raw])


@given(sizes, sizes, sizes)
@settings(max_examples=30, deadline=None)
def test_order_of_keys_is_nothing_and_order_of_queries_is_kept(query, key, d_head):
    queries, keys, values = random_inputs(query=query, key=key, d_head=d_head, dtype=torch.float64)
    output = attention.scaled_dot_product_attention(queries, keys, values)
    shuffled = torch.randperm(key)
    assert_close(attention.scaled_dot_product_attention(queries, keys[shuffled], values[shuffled]), output)
    turned = torch.randperm(query)
    assert_close(attention.scaled_dot_product_attention(queries[turned], keys, values), output[turned])


def test_a_mask_broadcasts_and_a_wrong_shape_is_refused():
    queries, keys, values = random_inputs(2, 3)
    one, all_queries = torch.rand(4, 5) > 0.3, torch.rand(2, 1, 1, 5) > 0.3
    for mask in (one, all_queries):
        assert torch.equal(
            attention.attention_weights(queries, keys, mask),
            attention.attention_weights(queries, keys, mask.expand(2, 3, 4, 5)),
        )
    with pytest.raises(Exception, match="mask"):
        attention.attention_weights(queries, keys, torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(Exception, match="keys"):
        attention.scaled_dot_product_attention(queries, keys[..., :7], values)


# other scores


@dtypes
def test_additive_scores_by_loops(dtype, device):
    queries, keys = torch.randn(2, 3, 4, dtype=dtype, device=device), torch.randn(2, 5, 6, dtype=dtype, device=device)
    query_weight, key_weight, vector = torch.randn(7, 4), torch.randn(7, 6), torch.randn(7)
    weights = [weight.to(device, dtype) for weight in (query_weight, key_weight, vector)]
    scores = attention.additive_scores(queries, keys, *weights)
    assert scores.dtype == dtype and scores.shape == (2, 3, 5)
    for n, i, j in [(0, 0, 0), (1, 2, 4), (0, 2, 1)]:
        hidden = torch.tanh(
            query_weight.double() @ queries[n, i].cpu().double() + key_weight.double() @ keys[n, j].cpu().double()
        )
        expected = (vector.double() @ hidden).item()
        assert scores[n, i, j].item() == pytest.approx(expected, abs=10 * TOLERANCE[dtype])


def test_nadaraya_watson_is_the_weighted_mean_and_its_limits_are_right():
    x, y = torch.randn(20, 2, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    at = torch.randn(5, 2, dtype=torch.float64)
    kernel = torch.exp(-(torch.cdist(at, x) ** 2) / (2 * 0.5**2))
    assert_close(attention.nadaraya_watson(at, x, y, 0.5), kernel @ y / kernel.sum(1, keepdim=True))
    nearest = torch.cdist(at, x).argmin(1)
    assert_close(attention.nadaraya_watson(at, x, y, 1e-3), y[nearest])
    assert_close(attention.nadaraya_watson(at, x, y, 1e8), y.mean(0).expand(5, 1))
    with pytest.raises(ValueError, match="bandwidth = 0"):
        attention.nadaraya_watson(at, x, y, 0.0)


# the ladder


def test_rungs_are_attention_with_special_queries_keys_and_values():
    tokens, scorer = torch.randn(2, 5, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    query = scorer * math.sqrt(4)  # learned pooling is attention to one learned query, the root absorbed
    expected = F.scaled_dot_product_attention(query.expand(2, 1, 4), tokens, tokens)[:, 0]
    assert_close(attention.learned_pooling(tokens, scorer), expected)
    assert_close(attention.learned_pooling(tokens, scorer, tokens[..., :2]), expected[:, :2])
    maximum = tokens.max(1, keepdim=True).values
    assert_close(
        attention.pooled_query_attention(tokens), F.scaled_dot_product_attention(maximum, tokens, tokens)[:, 0]
    )
    assert_close(attention.self_attention(tokens), F.scaled_dot_product_attention(tokens, tokens, tokens))


def test_self_attention_is_one_head_without_output_projection():
    tokens = torch.randn(2, 5, 4, dtype=torch.float64)
    layer = MultiHeadAttention(4, 1, bias=False).double()
    nn.init.eye_(layer.output.weight)
    mask = attention.causal_mask(5)
    projections = layer.query.weight, layer.key.weight, layer.value.weight
    assert_close(attention.self_attention(tokens, *projections, mask), layer(tokens, mask=mask))
