"""Many heads against torch's layer: values, weights, gradients, conversion, and what no token may see."""

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from torch import nn

from ml_course import attention
from ml_course.attention import MultiHeadAttention


def test_heads_are_consecutive_pieces_of_the_features():
    x = torch.randn(2, 3, 8)
    pieces = attention.split_heads(x, 4)
    for head in range(4):
        assert torch.equal(pieces[:, head], x[:, :, 2 * head : 2 * head + 2])
    assert torch.equal(attention.merge_heads(pieces), x)
    assert torch.equal(attention.merge_heads(attention.split_heads(x[0], 2)), x[0])
    for heads in (3, 0):
        with pytest.raises(ValueError, match=f"d_model = 8 is not divisible by heads = {heads}"):
            attention.split_heads(x, heads)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cross", [False, True])
def test_multi_head_equals_torchs_in_values_weights_and_gradients(bias, cross):
    theirs = nn.MultiheadAttention(12, 3, bias=bias, kdim=5 if cross else 12, vdim=5 if cross else 12, batch_first=True)
    theirs = theirs.double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours = MultiHeadAttention.from_torch(theirs)
    x = torch.randn(2, 4, 12, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 6, 5, dtype=torch.float64, requires_grad=True) if cross else x
    mask = torch.rand(2, 4, memory.shape[1]) > 0.4
    mask[..., 0] = True  # torch's layer gives NaN for a row without any key
    forbidden = ~mask.repeat_interleave(3, 0)  # theirs: one mask per head, True = may not

    output, weights = ours(x, memory if cross else None, mask, return_weights=True)
    expected, their_weights = theirs(x, memory, memory, attn_mask=forbidden, average_attn_weights=False)
    assert_close(output, expected)
    assert_close(weights, their_weights)
    assert_close(ours(x, memory if cross else None, mask), expected)

    inputs = (x, memory) if cross else (x,)
    for mine, other in zip(gradients(output, *inputs), gradients(expected, *inputs), strict=True):
        assert_close(mine, other)
    # The gradients of the parameters, laid side by side under torch's names.
    fused = ours(x, memory if cross else None, mask)
    mine = gradients(fused, *[ours.get_parameter(name) for name in ("output.weight", "key.weight")])
    other = gradients(
        theirs(x, memory, memory, attn_mask=forbidden)[0],
        theirs.out_proj.weight,
        theirs.k_proj_weight if cross else theirs.in_proj_weight,
    )
    assert_close(mine[0], other[0])
    assert_close(mine[1], other[1] if cross else other[1][12:24])


@pytest.mark.parametrize("d_memory", [None, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_survive_the_way_to_torch_and_back(d_memory, bias):
    ours = MultiHeadAttention(8, 2, d_memory=d_memory, bias=bias).double()
    back = MultiHeadAttention.from_torch(ours.to_torch())
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in ours.state_dict().items())
    x, memory = torch.randn(1, 3, 8).double(), torch.randn(1, 4, d_memory or 8).double()
    assert_close(ours.to_torch()(x, memory, memory)[0], ours(x, memory))


@dtypes
def test_multi_head_on_any_device_and_dtype(dtype, device):
    layer = MultiHeadAttention(8, 4).to(device, dtype)
    x = torch.randn(2, 5, 8, device=device, dtype=dtype)
    mask = attention.padding_mask(torch.tensor([5, 0], device=device), 5) & attention.causal_mask(5, device=device)
    output, weights = layer(x, mask=mask, return_weights=True)
    assert output.dtype == weights.dtype == dtype and output.isfinite().all()
    assert (weights[1] == 0).all() and (weights[0].triu(1) == 0).all()
    assert_close(output, layer(x, mask=mask))


def test_later_tokens_cannot_reach_earlier_outputs():
    layer = MultiHeadAttention(8, 2)
    x = torch.randn(1, 6, 8)
    changed = x.clone()
    changed[:, 4:] += 1
    mask = attention.causal_mask(6)
    before, after = layer(x, mask=mask), layer(changed, mask=mask)
    assert torch.equal(before[:, :4], after[:, :4]) and not torch.allclose(before[:, 4:], after[:, 4:])


def test_parameters_do_not_grow_with_heads_and_wrong_heads_are_named():
    counts = {sum(p.numel() for p in MultiHeadAttention(16, heads).parameters()) for heads in (1, 2, 8)}
    assert counts == {4 * 16**2 + 4 * 16}
    with pytest.raises(ValueError, match="d_model = 30 is not divisible by heads = 4"):
        MultiHeadAttention(30, 4)
