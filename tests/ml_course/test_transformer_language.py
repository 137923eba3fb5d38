"""How a Transformer is taught, what it costs, and models of one stack: against torch, counts and brute force."""

import math
from dataclasses import replace

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ml_course import transformer
from ml_course.attention import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from ml_course.rnn import Windows
from ml_course.seq2seq import masked_cross_entropy
from ml_course.transformer import LMConfig, Transformer, TransformerConfig, TransformerEncoder, TransformerLM

# Learning


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 10_000), st.integers(1, 100_000))
def test_noam_rises_to_its_peak_and_falls_with_the_root(d_model, warmup, step):
    rate = transformer.noam(d_model, warmup, factor=2.0)
    peak = 2.0 / math.sqrt(d_model * warmup)
    assert math.isclose(rate(warmup), peak, rel_tol=1e-9) and rate(step) <= peak * (1 + 1e-9)
    if step <= warmup:
        assert math.isclose(rate(step), peak * step / warmup, rel_tol=1e-9)
    else:
        assert math.isclose(rate(step), peak * math.sqrt(warmup / step), rel_tol=1e-9)


def test_noam_names_what_it_cannot_use():
    with pytest.raises(ValueError, match="step = 0: steps count from 1"):
        transformer.noam(512, 4000)(0)
    with pytest.raises(ValueError, match="d_model = 512, warmup = 0"):
        transformer.noam(512, 0)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("others", [False, True])
def test_smoothed_targets_are_distributions_with_what_was_asked(epsilon, others):
    target = torch.tensor([[0, 3], [4, 2]])
    q = transformer.smoothed_targets(target, 5, epsilon, others=others)
    assert_close(q.sum(-1), torch.ones(2, 2))
    right, wrong = (1 - epsilon, epsilon / 4) if others else (1 - epsilon + epsilon / 5, epsilon / 5)
    for row in range(2):
        for t in range(2):
            expected = torch.full((5,), wrong)
            expected[target[row, t]] = right
            assert_close(q[row, t], expected)
    # ε over the others is another ε over all.
    assert_close(
        transformer.smoothed_targets(target, 5, 0.2, others=True), transformer.smoothed_targets(target, 5, 0.25)
    )


@dtypes
@pytest.mark.parametrize("fused", [True, False])
def test_the_smoothed_loss_equals_torchs_over_the_real_tokens(fused, dtype, device):
    logits = torch.randn(3, 4, 7, dtype=dtype, device=device, requires_grad=True)
    target, mask = torch.randint(7, (3, 4), device=device), torch.rand(3, 4, device=device) < 0.6
    mask[0, 0] = True
    ours = transformer.smoothed_cross_entropy(logits, target, mask, 0.1, fused=fused)
    theirs = F.cross_entropy(logits[mask], target[mask], label_smoothing=0.1)
    assert_close(ours, theirs, dtype)
    mine, other = gradients(ours, logits)[0], gradients(theirs, logits)[0]
    assert_close(mine, other, dtype)
    assert (mine[~mask] == 0).all()
    plain = transformer.smoothed_cross_entropy(logits, target, mask, 0, fused=fused)
    assert_close(plain, masked_cross_entropy(logits, target, mask), dtype)


def test_the_least_smoothed_loss_is_the_entropy_of_the_targets():
    target = torch.randint(6, (1, 40))
    q = transformer.smoothed_targets(target, 6, 0.3)
    best = transformer.smoothed_cross_entropy(q.log(), target, target >= 0, 0.3)
    entropy = -(q * q.log()).sum(-1).mean()
    assert_close(best, entropy)
    for _ in range(5):
        other = q.log() + 0.3 * torch.randn(1, 40, 6)
        assert transformer.smoothed_cross_entropy(other, target, target >= 0, 0.3) > best
    with pytest.raises(ValueError, match=r"epsilon = 1\.0, expected 0 ≤ epsilon < 1"):
        transformer.smoothed_cross_entropy(q, target, target >= 0, 1.0)
    with pytest.raises(ValueError, match="target has numbers from -1 to 2, expected 0 to 3"):
        transformer.smoothed_targets(torch.tensor([2, -1]), 4, 0.1)


# Language models


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_no_position_sees_what_comes_after_it(positions):
    model = TransformerLM(replace(LMConfig.TINY, layers=2, positions=positions)).eval()
    tokens = torch.randint(20, (2, 9))
    changed = tokens.clone()
    changed[:, 6] = (changed[:, 6] + 1) % 20
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :6], after[:, :6]) and not torch.allclose(before[:, 6:], after[:, 6:])
    assert_close(model(tokens[:, :4]), before[:, :4])
    with pytest.raises(ValueError, match="positions = 'both', expected"):
        TransformerLM(replace(LMConfig.TINY, positions="both"))


def test_a_language_model_begins_near_uniform_and_small_in_every_branch():
    torch.manual_seed(0)
    config = LMConfig(vocab=200, layers=8)
    model, tokens = TransformerLM(config), torch.randint(200, (4, 64))
    loss = F.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert abs(loss - math.log(200)) < 0.2
    last = model.decoder.layers[3].feed_forward.sublayer.narrower.weight
    assert abs(last.std() * (2 * 8) ** 0.5 - 0.02) < 0.002
    assert model.output.weight is model.embedding.weight


class Cache:
    """What the chapter on decoding will have, in its plainest form."""

    def __init__(self):
        self.tokens = 0

    def __len__(self):
        return self.tokens


class Remembering(MultiHeadAttention):
    """Attention that keeps the inputs of earlier calls: enough to see how the model hands its caches on."""

    def forward(self, x, memory=None, mask=None, *, cache=None):
        cache.inputs = x if not cache.tokens else torch.cat([cache.inputs, x], dim=1)
        cache.tokens = cache.inputs.shape[1]
        return super().forward(x, cache.inputs, mask)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_caches_are_handed_to_the_layers_and_count_the_positions(positions):
    model = TransformerLM(replace(LMConfig.TINY, layers=2, positions=positions), Remembering).eval()
    tokens, whole, pieces = torch.randint(20, (2, 7)), [Cache(), Cache()], [Cache(), Cache()]
    at_once = model(tokens, whole)
    one_by_one = torch.cat([model(piece, pieces) for piece in tokens.split([3, 1, 1, 2], dim=1)], dim=1)
    assert_close(one_by_one, at_once)


def test_the_surprise_in_windows_is_the_mean_over_all_tokens():
    model, tokens = TransformerLM(LMConfig.TINY).eval(), torch.randint(20, (38,))
    total = 0.0
    for start in range(0, 37, 8):  # brute force: every token from what stands before it in its window
        for t in range(start, min(start + 8, 37)):
            total -= model(tokens[None, start : t + 1])[0, -1].log_softmax(-1)[tokens[t + 1]].item()
    assert math.isclose(transformer.windowed_nats(model, tokens, 8), total / 37, rel_tol=1e-5)
    (window,) = Windows(tokens[:9], batch=1, length=8)
    assert_close(transformer.next_token_loss(model, window), F.cross_entropy(model(tokens[None, :8])[0], tokens[1:9]))


def test_the_small_model_is_the_same_each_time_learns_and_keeps_a_text_apart():
    runs = [transformer.small_language_model(replace(LMConfig.TINY, d_model=16), steps=60, length=16) for _ in range(2)]
    for first, again in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(first, again)
    model, vocabulary, held_out, history = runs[0]
    assert not model.training and model.config.vocab == len(vocabulary)
    assert vocabulary.unk not in held_out and 15_000 < len(held_out) < 20_000
    assert history.loss[-1] < history.loss[0] - 0.3
    assert transformer.windowed_nats(model, held_out[:500], 16) < math.log(len(vocabulary)) - 0.5
    with pytest.raises(ValueError, match="steps = 9, length = 128: expected at least 10 and 4"):
        transformer.small_language_model(LMConfig.TINY, steps=9)


# Families


def test_the_three_families_differ_in_their_masks_alone():
    full, causal, both = (transformer.family_mask(family, 2, 3) for family in transformer.FAMILIES)
    assert full.all() and torch.equal(causal, causal_mask(5))
    assert both[:2, :2].all() and not both[:2, 2:].any()  # the source does not see the target
    assert both[2:, :2].all() and torch.equal(both[2:, 2:], causal_mask(3))
    assert torch.equal(transformer.family_mask("encoder-decoder", 0, 4), causal_mask(4))
    with pytest.raises(ValueError, match="family = 'bert', expected one of encoder-only"):
        transformer.family_mask("bert", 1, 1)


def test_an_encoder_sees_both_sides_and_no_filler():
    torch.manual_seed(0)
    model = TransformerEncoder(replace(LMConfig.TINY, layers=2)).eval()
    tokens = torch.tensor([[4, 5, 6, 7], [8, 9, 0, 0]])
    mask, logits = (tokens > 0)[:, None], model(tokens, (tokens > 0)[:, None])
    assert_close(model(tokens[1:, :2]), logits[1:, :2])
    later = tokens.clone()
    later[0, 3] = 12
    assert not torch.allclose(model(later, mask)[0, :3], logits[0, :3])
    one_way = mask & causal_mask(4)
    assert torch.equal(model(later, one_way)[0, :3], model(tokens, one_way)[0, :3])
    assert TransformerEncoder(LMConfig.TINY, says=3)(tokens, mask).shape == (2, 4, 3)


# Costs


@pytest.mark.parametrize("sizes", [(1, 5, 7), (3, 8, 4)])
def test_counted_operations_equal_torchs_count(sizes):
    batch, source, target = sizes
    config = TransformerConfig(30, 41, d_model=16, heads=4, d_ff=24, encoder_layers=2, decoder_layers=3)

    def plainly(queries, keys, values, mask=None):  # torch counts the products of the formula, not the fused kernel
        return scaled_dot_product_attention(queries, keys, values, mask, fused=False)

    model = Transformer(config, lambda d_model, heads: MultiHeadAttention(d_model, heads, attend=plainly))
    ids = torch.randint(4, 30, (batch, source))
    counter = FlopCounterMode(display=False)
    with counter:
        logits = model(ids, ids > 0, torch.randint(4, 30, (batch, target)))
    counted = transformer.flops(config, source, target, batch)
    assert sum(counted.values()) == counter.get_total_flops()
    # And a backward pass has two products for each one.
    with counter:
        logits.sum().backward()
    assert abs(counter.get_total_flops() - 2 * sum(counted.values())) <= 2 * sum(counted.values()) * 0.05


def test_memory_of_learning_is_what_the_optimiser_really_keeps():
    model = Transformer(TransformerConfig.TINY)
    ids = torch.tensor([[4, 5]])
    model(ids, ids > 0, ids).sum().backward()
    optimiser = torch.optim.Adam(model.parameters())
    optimiser.step()
    tensors = [*model.parameters(), *(p.grad for p in model.parameters())]
    tensors += [v for state in optimiser.state.values() for v in state.values() if v.ndim]
    count = sum(p.numel() for p in model.parameters())
    assert transformer.training_bytes(count) == sum(t.numel() * t.element_size() for t in tensors)
    assert transformer.training_bytes(10, size=2, moments=0) == 40


def test_activation_memory_is_counted_once_and_a_fused_kernel_saves_the_matrix_of_weights():
    x = torch.randn(50, 10, requires_grad=True)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3))
    # The input, and the output of the ReLU, which two operations want.
    assert transformer.activation_bytes(lambda: model(x), model) == 4 * (50 * 10 + 50 * 20)

    def kept(fused, time):
        torch.manual_seed(0)
        heads = [torch.randn(1, 2, time, 8, requires_grad=True) for _ in range(3)]
        return transformer.activation_bytes(lambda: scaled_dot_product_attention(*heads, fused=fused), nn.Identity())

    assert kept(True, 512) < 3 * kept(True, 256) and kept(False, 512) > 3.5 * kept(False, 256)
    assert kept(False, 512) > 2 * 512 * 512 * 4


# Induction


def test_scores_of_heads_built_by_hand():
    half, time = 4, 8
    tokens = transformer.repeated_sequences(3, half, 50)
    assert torch.equal(tokens[:, :half], tokens[:, half:]) and tokens.shape == (3, time)
    induction, previous, uniform = torch.zeros(time, time), torch.zeros(time, time), causal_mask(time).float()
    for t in range(half, time):
        induction[t, t - half + 1] = 1
    for t in range(1, time):
        previous[t, t - 1] = 1
    uniform /= uniform.sum(1, keepdim=True)
    heads = torch.stack([induction, previous, uniform])
    expected = sum(1 / (t + 1) for t in range(half, time)) / half
    assert_close(transformer.prefix_matching_score(heads, half), torch.tensor([1.0, 0.0, expected]))
    assert_close(transformer.previous_token_score(heads, half), torch.tensor([0.0, 1.0, expected]))
    with pytest.raises(ValueError, match=r"weights has shape \(3, 8, 8\), expected \(…, 6, 6\) for half = 3"):
        transformer.prefix_matching_score(heads, 3)


def test_the_loss_of_the_second_half_is_of_what_can_be_looked_up():
    tokens = torch.tensor([[5, 6, 7, 5, 6, 7]])

    class Copies(nn.Module):
        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, 9)
            for t in range(3, tokens.shape[1]):  # by hand: after x_t comes what came after its twin
                logits[0, t, tokens[0, t - 2]] = 50.0
            return logits

    assert transformer.second_half_loss(Copies(), tokens) < 1e-6
    assert_close(transformer.second_half_loss(lambda x: torch.zeros(*x.shape, 9), tokens), torch.tensor(math.log(9)))


def test_maps_are_what_the_layers_attend_with():
    model = TransformerLM(replace(LMConfig.TINY, layers=2)).eval()
    tokens, seen = torch.randint(20, (2, 6)), []
    maps = transformer.attention_maps(model, tokens)
    assert list(maps) == [f"decoder.layers.{i}.attention.sublayer" for i in range(2)]
    for weights in maps.values():
        assert weights.shape == (2, 2, 6, 6) and (weights.triu(1) == 0).all()
        assert_close(weights.sum(-1), torch.ones(2, 2, 6))
    # The second layer's, from what the first one really gave.
    layer = model.decoder.layers[1].attention
    x = model.decoder.layers[0](model.embedding(tokens), causal_mask(6))
    seen = layer.sublayer(layer.norm(x), None, causal_mask(6), return_weights=True)[1]
    assert_close(maps["decoder.layers.1.attention.sublayer"], seen)
    assert not any(module._forward_pre_hooks for module in model.modules())
    source = torch.tensor([[4, 5, 0]])
    both = transformer.attention_maps(Transformer(), source, source > 0, source[:, :2])
    assert [weights.shape[2:] for weights in both.values()] == [(3, 3), (2, 2), (2, 3)]
    assert (list(both.values())[2][..., 2] == 0).all()
