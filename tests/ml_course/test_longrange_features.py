"""Random features against their formulas, AFT by loops, reversible layers against autograd, memory by counting."""

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from scipy import stats
from torch import nn

from ml_course import longrange
from ml_course.attention import MultiHeadAttention, causal_mask, padding_mask
from ml_course.longrange import ClassifierConfig, ReversibleLayer, ReversibleStack, SequenceClassifier
from ml_course.transformer import FeedForward

KINDS = ("trigonometric", "positive", "hyperbolic")


# random features


def estimates(kind, x, y, directions, draws, draw=longrange.gaussian_directions):
    """φ(x)·φ(y) for many draws of as many directions."""
    w = draw(draws * directions, len(x), torch.Generator().manual_seed(0)).to(x)

    def each(vector):
        """All features at once, regrouped by draw, and divided by the root of as many as there are in one."""
        features = longrange.random_features(vector, w, kind) * draws**0.5
        return features.unflatten(0, (-1, draws, directions)).transpose(0, 1).flatten(1)

    return (each(x) * each(y)).sum(1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("angle", ["near", "far"])
def test_features_are_unbiased_with_the_variance_of_the_formula(kind, angle):
    torch.manual_seed(1)
    x = 0.3 * torch.randn(6, dtype=torch.float64)
    y = 0.8 * x + 0.2 * torch.randn(6) if angle == "near" else -0.7 * x + 0.2 * torch.randn(6)
    exact, draws, m = (x @ y).exp(), 20_000, 4
    found = estimates(kind, x, y, m, draws)
    variance = longrange.feature_variance(x, y, m, kind)
    assert abs(found.mean() - exact) < 4 * (variance / draws).sqrt()
    assert 0.85 < found.var() / variance < 1.15
    # And it falls with the number of directions, as 1/m.
    assert longrange.feature_variance(x, y, 8 * m, kind) == pytest.approx(variance.item() / 8)
    assert 0.8 < estimates(kind, x, y, 8 * m, 5000).var() / (variance / 8) < 1.2


@pytest.mark.parametrize("kind", KINDS)
def test_orthogonal_directions_are_unbiased_and_vary_less(kind):
    torch.manual_seed(2)
    x, y = 0.2 * torch.randn(2, 8, dtype=torch.float64)
    orthogonal = estimates(kind, x, y, 8, 20_000, longrange.orthogonal_directions)
    assert abs(orthogonal.mean() - (x @ y).exp()) < 4 * orthogonal.std() / 20_000**0.5
    assert orthogonal.var() < 0.93 * longrange.feature_variance(x, y, 8, kind)


def test_orthogonal_directions_are_normal_each_and_at_right_angles_in_blocks():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([longrange.orthogonal_directions(10, 4, generator) for _ in range(2000)])
    products = drawn @ drawn.mT
    for block in (slice(0, 4), slice(4, 8), slice(8, 10)):
        inside = products[:, block, block]
        assert (inside - torch.diag_embed(inside.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4
    assert products[:, 0, 4].abs().mean() > 0.5  # other blocks know nothing of it
    for row in (0, 3, 9):
        assert stats.kstest(drawn[:, row, 1].numpy(), "norm").pvalue > 1e-3
        assert stats.kstest(drawn[:, row].square().sum(1).numpy(), stats.chi2(4).cdf).pvalue > 1e-3


def test_positive_features_are_positive_and_others_are_named():
    x, w = 3 * torch.randn(20, 4), torch.randn(5, 4)
    assert (longrange.random_features(x, w) > 0).all() and (longrange.random_features(x, w, "hyperbolic") > 0).all()
    assert (longrange.random_features(x, w, "trigonometric") < 0).any()
    for function in (longrange.random_features, lambda *a: longrange.feature_variance(x, x, *a)):
        with pytest.raises(ValueError, match="kind = 'cosine', expected one of trigonometric, positive, hyperbolic"):
            function(*((x, w) if function is longrange.random_features else (4,)), "cosine")


@dtypes
@pytest.mark.parametrize("causal", [False, True])
def test_performer_is_its_features_written_out(dtype, causal, device):
    inputs = [torch.randn(2, 3, 9, 4, dtype=dtype, device=device).requires_grad_() for _ in range(3)]
    w = torch.randn(16, 4, device=device)
    padding = padding_mask(torch.tensor([9, 5], device=device), 9)[:, None]
    queries, keys = (longrange.random_features(x.double() / 4**0.25, w.double()) for x in inputs[:2])
    weights = (queries @ keys.mT) * padding
    if causal:
        weights = weights * causal_mask(9, device=device)
    expected = weights / weights.sum(-1, keepdim=True) @ inputs[2].double()
    ours = longrange.performer_attention(*inputs, padding, causal=causal, directions=w)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.15}[dtype]
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)
    if dtype == torch.float64:
        for mine, other in zip(gradients(ours, *inputs), gradients(expected, *inputs), strict=True):
            assert_close(mine, other, torch.float32)


def test_performer_survives_long_vectors():
    queries, keys, values = 100 * torch.randn(2, 5, 4), 100 * torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    assert longrange.performer_attention(queries, keys, values, directions=torch.randn(8, 4)).isfinite().all()


@pytest.mark.parametrize("form", ["performer", "rfa"])
def test_attention_by_features_comes_near_the_softmax_with_many_directions(form):
    torch.manual_seed(0)
    queries, keys, values = (0.5 * torch.randn(20, 8, dtype=torch.float64) for _ in range(3))
    if form == "performer":
        attend, scores = longrange.performer_attention, queries @ keys.T / 8**0.5
    else:
        attend = longrange.random_feature_attention
        scores = nn.functional.normalize(queries, dim=1) @ nn.functional.normalize(keys, dim=1).T
    exact = scores.softmax(1) @ values

    def error(m):
        runs = [attend(queries, keys, values, directions=torch.randn(m, 8).double()) - exact for _ in range(20)]
        return torch.stack(runs).square().mean().sqrt().item()

    few, many = error(32), error(32 * 64)
    assert many < 0.03 and 4 < few / many < 16  # √64 = 8


def test_a_module_keeps_its_directions_until_they_are_drawn_again():
    module = longrange.RandomFeatures(longrange.performer_attention, 4, 6, draw=longrange.gaussian_directions)
    inputs = [torch.randn(2, 5, 4) for _ in range(3)]
    first = module(*inputs)
    assert torch.equal(module(*inputs), first) and module.directions.shape == (6, 4)
    module.redraw(torch.Generator().manual_seed(1))
    assert not torch.allclose(module(*inputs), first)
    causal = longrange.RandomFeatures(longrange.random_feature_attention, 4, causal=True)
    changed = [torch.cat([x[:, :-1], x[:, -1:] + 1], 1) for x in inputs]
    assert_close(causal(*changed)[:, :-1], causal(*inputs)[:, :-1])
    assert "directions" in module.state_dict()


# attention free


def aft_by_loops(queries, keys, values, weights, allowed):
    """The formula, one query after another."""
    rows = []
    for i in range(queries.shape[-2]):
        powers = (keys + weights[i][:, None]).exp() * allowed[..., i, :, None]
        rows.append(queries[..., i, :].sigmoid() * (powers * values).sum(-2) / powers.sum(-2))
    return torch.stack(rows, -2)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_aft_in_its_three_forms_by_loops(causal, dtype, device):
    queries, keys, values = (torch.randn(2, 7, 4, dtype=dtype, device=device).requires_grad_() for _ in range(3))
    padding = padding_mask(torch.tensor([7, 6], device=device), 7)
    allowed = padding & causal_mask(7, device=device) if causal else padding.expand(2, 7, 7)
    bias = torch.randn(7, 7, dtype=dtype, device=device)
    pairs = torch.arange(7)[None] - torch.arange(7)[:, None]
    banded = torch.where(pairs.abs() < 3, bias.cpu(), 0).to(device)
    columns = torch.stack([
        torch.stack([bias[i, i + o] if 0 <= i + o < 7 else bias.new_zeros(()) for o in range(-2, 3)]) for i in range(7)
    ])  # fmt: skip
    for ours, weights in [
        (longrange.aft_full(queries, keys, values, padding, causal=causal, bias=bias), bias),
        (longrange.aft_simple(queries, keys, values, padding, causal=causal), torch.zeros_like(bias)),
        (longrange.aft_local(queries, keys, values, padding, causal=causal, bias=columns), banded),
    ]:
        expected = aft_by_loops(queries, keys, values, weights, allowed)
        torch.testing.assert_close(ours.expand_as(expected), expected, rtol=1e-5, atol=1e-5)
        for mine, other in zip(
            gradients(ours, queries, keys, values), gradients(expected, queries, keys, values), strict=True
        ):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_aft_full_takes_any_mask_and_survives_large_keys():
    queries, keys, values = (torch.randn(2, 5, 4, dtype=torch.float64) for _ in range(3))
    mask, bias = torch.rand(2, 5, 5) > 0.3, torch.randn(5, 5, dtype=torch.float64)
    mask[..., 0] = True
    expected = aft_by_loops(queries, keys, values, bias, mask)
    assert_close(longrange.aft_full(queries, keys, values, mask, bias=bias), expected)
    assert_close(longrange.aft_full(queries, keys + 1000, values, mask, bias=bias + 1000), expected, torch.float32)


def test_an_aft_module_learns_products_and_knows_its_context():
    module, inputs = longrange.AFT(10, rank=3), [torch.randn(2, 7, 4) for _ in range(3)]
    bias = (module.asking @ module.asked.T)[:7, :7]
    assert_close(module(*inputs), longrange.aft_full(*inputs, bias=bias))
    local = longrange.AFT(10, rank=3, window=2)
    columns = local.bias(7, 7)
    products = local.asking @ local.asked.T
    assert columns.shape == (7, 3)
    for i, o in [(0, 1), (3, -1), (6, 0)]:
        assert_close(columns[i, o + 1], products[i, i + o])
    assert_close(local(*inputs), longrange.aft_local(*inputs, bias=columns))
    assert all(p.grad is not None for p in (module(*inputs).sum().backward(), module)[1].parameters())
    with pytest.raises(ValueError, match="key = 11, expected at most context = 10"):
        module(*(torch.randn(11, 4) for _ in range(3)))
    with pytest.raises(ValueError, match="window = 0"):
        longrange.AFT(10, window=0)
    with pytest.raises(ValueError, match="bias has 4 columns, expected an odd number"):
        longrange.aft_local(*inputs, bias=torch.zeros(7, 4))
    with pytest.raises(ValueError, match="bias has 6 rows, expected as many as queries, 7"):
        longrange.aft_local(*inputs, bias=torch.zeros(6, 3))


# reversible layers


def encoder(layers, *, keep=False, dropout=0.0, width=16):
    return longrange.reversible_encoder(
        layers,
        width,
        lambda: MultiHeadAttention(width, 2),
        lambda: FeedForward(width, 32, dropout=dropout),
        keep=keep,
    )


def test_a_reversible_layer_gives_back_what_went_in():
    layer = encoder(1).layers[0].double()
    mask = padding_mask(torch.tensor([5, 3]), 5)
    x1, x2 = torch.randn(2, 2, 5, 16, dtype=torch.float64)
    y1, y2 = layer(x1, x2, None, mask)
    assert_close(y1, x1 + layer.first(x2, None, mask))
    for found, wanted in zip(layer.inverse(y1, y2, None, mask), (x1, x2), strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_without_activations_equal_the_ordinary_ones(dtype, dropout, device):
    ours = encoder(4, dropout=dropout).to(device, dtype)
    theirs = encoder(4, keep=True, dropout=0.0).to(device, dtype)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, 16, dtype=dtype, device=device).requires_grad_()
    mask = padding_mask(torch.tensor([5, 3], device=device), 5)
    output = ours(x, None, mask)
    found = gradients(output, x, *ours.parameters())
    if dropout:  # the same choices fall when the layer is computed again: finite differences under one seed agree
        torch.manual_seed(7)
        output = ours(x, None, mask)
        (slope,) = gradients(output, x)
        step = 1e-6 * torch.randn_like(x)
        if dtype == torch.float64:
            ends = []
            for sign in (1, -1):
                torch.manual_seed(7)
                ends.append(ours(x + sign * step, None, mask))
            towards = torch.linspace(-1, 1, output.numel(), device=device, dtype=dtype).reshape(output.shape)
            change = ((ends[0] - ends[1]) * towards).sum() / 2
            assert change.item() == pytest.approx((slope * step).sum().item(), rel=1e-5)
        return
    expected = theirs(x, None, mask)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)
    for mine, other in zip(found, gradients(expected, x, *theirs.parameters()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_random_choices_elsewhere_are_not_disturbed_by_the_way_back():
    stack, x = encoder(2, dropout=0.5), torch.randn(2, 5, 16, requires_grad=True)
    output = stack(x, None, None)
    torch.manual_seed(3)
    output.sum().backward()
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), after)


def test_what_is_kept_does_not_grow_with_depth():
    def kept(layers, keep):
        stack, x = encoder(layers, keep=keep), torch.randn(2, 50, 16, requires_grad=True)
        return longrange.saved_bytes(lambda: stack(x, None, None), but=(x, *stack.parameters()))

    assert kept(2, False) == kept(8, False)
    assert kept(8, True) > 3 * kept(2, True) > 10 * kept(2, False)

    def peak(layers, keep):
        stack, x = encoder(layers, keep=keep), torch.randn(2, 200, 16)
        for parameter in stack.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return longrange.peak_bytes(lambda: stack(x, None, None).sum().backward())

    # Slopes of parameters are there either way, but at the peak of the reversible run they are counted: few here.
    assert peak(8, False) - peak(2, False) < 0.2 * (peak(8, True) - peak(2, True))


def test_a_shared_layer_adds_its_gradients_and_a_frozen_one_has_none():
    layer = ReversibleLayer(nn.Linear(4, 4), nn.Linear(4, 4))
    layer.second.weight.requires_grad_(False)
    x, found = torch.randn(3, 4, dtype=torch.float32, requires_grad=True), []
    for keep in (False, True):
        stack = ReversibleStack([layer, layer], 4, keep=keep)
        layer.zero_grad()
        stack(x[None]).square().sum().backward()
        found.append([layer.first.weight.grad.clone(), layer.second.bias.grad.clone()])
        assert layer.second.weight.grad is None
    for mine, other in zip(*found, strict=True):
        assert_close(mine, other)


# the classifier


def test_the_classifier_is_deaf_to_filler_and_reversible_if_asked():
    for reversible in (False, True):
        config = ClassifierConfig(d_model=16, heads=2, d_ff=32, context=12, reversible=reversible)
        model = SequenceClassifier(config).eval()
        tokens, mask = torch.randint(20, (3, 12)), torch.arange(12) < torch.tensor([[12], [5], [1]])
        logits = model(tokens, mask)
        assert logits.shape == (3, 10)
        assert_close(model(tokens[1:2, :5])[0], logits[1])
        assert_close(model(torch.where(mask, tokens, 0), mask), logits)
        logits.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_long_range_arenas_size_on_the_meta_device():
    with torch.device("meta"):
        model = SequenceClassifier(ClassifierConfig.LISTOPS)
    width, wide = 512, 2048
    layer = 4 * (width**2 + width) + 2 * width * wide + width + wide + 4 * width
    expected = 4 * layer + 2 * width + (20 + 2000) * width + 10 * width + 10
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


# memory


def test_peak_counts_what_is_held_at_once_and_saved_what_waits():
    x = torch.randn(1000)

    def freed():
        for _ in range(3):
            x.exp()

    assert longrange.peak_bytes(freed) == 4000
    assert longrange.peak_bytes(lambda: [x.exp() for _ in range(3)]) == 12000
    y = torch.randn(10, 10, requires_grad=True)
    assert longrange.saved_bytes(lambda: y @ y) == 400  # one storage, saved twice
    assert longrange.saved_bytes(lambda: y @ y, but=(y,)) == 0
    assert longrange.saved_bytes(lambda: y.detach().exp()) == 0
