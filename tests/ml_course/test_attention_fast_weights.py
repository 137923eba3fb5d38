"""Fast weights against attention without a softmax, written as sums."""

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import attention
from ml_course.attention import FastWeights

sizes = st.integers(1, 7)


def by_sums(queries, keys, values):
    """Every output as the sum of all values so far, each times its score."""
    time = queries.shape[-2]
    return torch.stack(
        [
            sum((queries[..., t, :] * keys[..., j, :]).sum(-1, keepdim=True) * values[..., j, :] for j in range(t + 1))
            for t in range(time)
        ],
        dim=-2,
    )


@given(sizes, sizes, sizes, sizes, st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_fast_weights_are_linear_attention_without_a_norm(batch, time, d_key, d_value, seed):
    torch.manual_seed(seed)
    queries, keys = torch.randn(2, batch, time, d_key, dtype=torch.float64)
    values = torch.randn(batch, time, d_value, dtype=torch.float64)
    expected = by_sums(queries, keys, values)
    answers, memory = attention.write_and_read(queries, keys, values)
    assert (answers - expected).abs().max() < 1e-6
    assert (attention.linear_attention(queries, keys, values) - expected).abs().max() < 1e-6
    assert (memory - sum(torch.einsum("bv,bk->bvk", values[:, t], keys[:, t]) for t in range(time))).abs().max() < 1e-6


@given(sizes, sizes, sizes, st.integers(0, 2**20))
@settings(max_examples=40, deadline=None)
def test_the_layer_is_the_same_step_by_step_at_once_and_in_pieces(time, d_model, d_key, seed):
    torch.manual_seed(seed)
    layer = FastWeights(d_model, d_key).double()
    x = torch.randn(2, time, d_model, dtype=torch.float64)
    queries, keys, values = (x @ part.weight.T for part in (layer.query, layer.key, layer.value))
    expected = by_sums(queries, keys, values)
    for parallel in (False, True):
        outputs, memory = layer(x, parallel=parallel)
        assert (outputs - expected).abs().max() < 1e-6
        cut = seed % (time + 1)
        if 0 < cut < time:
            early, kept = layer(x[:, :cut], parallel=parallel)
            late, last = layer(x[:, cut:], kept, parallel=not parallel)
            assert (torch.cat([early, late], 1) - expected).abs().max() < 1e-6
            assert (last - memory).abs().max() < 1e-6


@dtypes
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)], ids=str)
def test_both_forms_agree_in_values_and_gradients(dtype, batch, device):
    queries, keys = (torch.randn(*batch, 5, 4, dtype=dtype, device=device).requires_grad_() for _ in range(2))
    values = torch.randn(*batch, 5, 3, dtype=dtype, device=device).requires_grad_()
    written, _ = attention.write_and_read(queries, keys, values)
    at_once = attention.linear_attention(queries, keys, values)
    assert written.dtype == at_once.dtype == dtype
    tolerance = {torch.bfloat16: 0.1}.get(dtype, 1e-5)  # sums in another order
    torch.testing.assert_close(written, at_once, rtol=tolerance, atol=tolerance)
    pairs = zip(*(gradients(outputs, queries, keys, values) for outputs in (written, at_once)), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=tolerance, atol=4 * tolerance)


def test_orthonormal_keys_are_recalled_exactly_and_more_pairs_than_places_are_not():
    keys = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    values = torch.randn(8, 3, dtype=torch.float64)
    _, memory = attention.write_and_read(keys, keys, values)
    assert_close(keys @ memory.T, values)
    keys, values = torch.randn(20, 8, dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64)
    keys = keys / keys.norm(dim=1, keepdim=True)
    _, memory = attention.write_and_read(keys, keys, values)
    assert (keys @ memory.T - values).square().mean() > 0.5
    assert torch.linalg.matrix_rank(memory) <= 8


def test_the_softmax_is_all_that_lies_between_it_and_causal_attention():
    queries, keys, values = torch.randn(3, 6, 4)
    mask = attention.causal_mask(6)
    scores = (queries @ keys.T).masked_fill(~mask, 0)
    assert_close(attention.linear_attention(queries, keys, values), scores @ values)
    constant = torch.ones(6, 1)  # where all scores are equal, only the division by their number differs
    divided = attention.linear_attention(constant, constant, values) / torch.arange(1, 7)[:, None]
    assert_close(divided, attention.scaled_dot_product_attention(constant, constant, values, mask))
