"""Layers, positions and the whole Transformer against torch's own, and against what they must be by construction."""

import math
from dataclasses import replace

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ml_course import transformer
from ml_course.attention import MultiHeadAttention, causal_mask, padding_mask
from ml_course.text import Vocabulary
from ml_course.transformer import FeedForward, LayerNorm, Residual, Stack, SwiGLU, Transformer, TransformerConfig


@pytest.mark.parametrize("fused", [True, False])
def test_layer_norm_equals_torchs_in_values_and_gradients(fused):
    ours, theirs = LayerNorm(7, epsilon=1e-3, fused=fused).double(), nn.LayerNorm(7, eps=1e-3).double()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    assert_close(ours(x), theirs(x))
    for mine, other in zip(
        gradients(ours(x), x, *ours.parameters()), gradients(theirs(x), x, *theirs.parameters()), strict=True
    ):
        assert_close(mine, other)


@dtypes
def test_layers_on_any_device_and_dtype(dtype, device):
    for layer in (LayerNorm(8), LayerNorm(8, fused=False), FeedForward(8, 16), SwiGLU(8, 16)):
        y = layer.to(device, dtype)(torch.randn(2, 3, 8, device=device, dtype=dtype))
        assert y.dtype == dtype and y.shape == (2, 3, 8) and y.isfinite().all()
    model = Transformer(replace(TransformerConfig.TINY, pre_norm=True)).to(device, dtype)
    source = torch.tensor([[4, 5, 6], [7, 8, 0]], device=device)
    logits = model(source, source > 0, source[:, :2])
    assert logits.dtype == dtype and logits.shape == (2, 2, 20) and logits.isfinite().all()


@settings(deadline=None, max_examples=25)
@given(st.floats(0.1, 100), st.floats(-50, 50), st.integers(2, 9))
def test_layer_norm_does_not_see_scale_or_shift(stretch, move, width):
    x, one = torch.randn(3, width, dtype=torch.float64) + torch.arange(width), torch.ones(width, dtype=torch.float64)
    first = transformer.layer_norm(x, one, 0 * one, epsilon=0.0)
    assert_close(transformer.layer_norm(stretch * x + move, one, 0 * one, epsilon=0.0), first, torch.float32)
    assert_close(first.mean(-1), torch.zeros(3, dtype=torch.float64))
    assert_close(first.var(-1, correction=0), torch.ones(3, dtype=torch.float64))


def test_the_position_wise_networks_are_their_formulas_and_know_no_neighbours():
    x = torch.randn(2, 5, 4)
    plain, gated = FeedForward(4, 6), SwiGLU(4, 6)
    by_hand = (x @ plain.wider.weight.T + plain.wider.bias).clamp(min=0) @ plain.narrower.weight.T
    assert_close(plain(x), by_hand + plain.narrower.bias)
    z = x @ gated.gate.weight.T
    assert_close(gated(x), (z / (1 + (-z).exp()) * (x @ gated.wider.weight.T)) @ gated.narrower.weight.T)
    for network in (plain, gated):
        assert_close(network(x)[:, 3], network(x[:, 3:4])[:, 0])
    # Two thirds of the width with three matrices: as many weights.
    assert sum(p.numel() for p in SwiGLU(12, 32).parameters()) == sum(
        p.numel() for p in FeedForward(12, 48, bias=False).parameters()
    )


def test_where_the_norm_is():
    branch, x = nn.Linear(6, 6), torch.randn(2, 3, 6)
    post, pre = Residual(branch, 6), Residual(branch, 6, pre_norm=True)
    for residual in (post, pre):
        nn.init.normal_(residual.norm.weight)
    assert_close(post(x), post.norm(x + branch(x)))
    assert_close(pre(x), x + branch(pre.norm(x)))
    nn.init.zeros_(branch.weight), nn.init.zeros_(branch.bias)
    assert torch.equal(pre(x), x)  # a straight way through
    assert not torch.allclose(post(x), x)


def test_dropout_works_on_branches_while_training_alone():
    torch.manual_seed(0)
    residual, x = Residual(nn.Identity(), 4, pre_norm=True, dropout=0.5), torch.randn(50, 4)
    assert not torch.equal(residual(x), residual(x))
    changed = residual(x) - x
    assert 0.3 < (changed == 0).float().mean() < 0.7
    residual.eval()
    assert torch.equal(residual(x), residual(x))


# Positions


def test_sinusoids_are_the_formula_of_the_paper():
    P = transformer.sinusoidal_positions(50, 6)
    for t in (0, 1, 7, 49):
        for i in range(3):
            angle = t / 10_000 ** (2 * i / 6)
            assert abs(P[t, 2 * i] - math.sin(angle)) < 1e-6 and abs(P[t, 2 * i + 1] - math.cos(angle)) < 1e-6
    assert_close(P.square().sum(1), torch.full((50,), 3.0))  # all on one sphere
    for wrong in (0, 5):
        with pytest.raises(ValueError, match=f"d_model = {wrong}, expected an even number"):
            transformer.sinusoidal_positions(3, wrong)


@settings(deadline=None, max_examples=30)
@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 6))
def test_shifts_are_a_group_of_rotations(first, second, pairs):
    d_model = 2 * pairs
    S = transformer.shift_matrix(first, d_model).double()
    together = S @ transformer.shift_matrix(second, d_model).double()
    assert_close(together, transformer.shift_matrix(first + second, d_model).double(), torch.float32)
    assert_close(S @ S.T, torch.eye(d_model, dtype=torch.float64), torch.float32)
    P = transformer.sinusoidal_positions(100, d_model).double()
    inside = slice(max(0, -first), 100 - max(0, first))
    shifted = P[inside.start + first : inside.stop + first]
    torch.testing.assert_close(P[inside] @ S.T, shifted, rtol=0, atol=2e-5)


def test_dot_products_of_positions_depend_on_the_distance_alone():
    P = transformer.sinusoidal_positions(40, 16).double()
    products = P @ P.T
    for gap in (0, 1, 9):
        diagonal = products.diagonal(gap)
        assert diagonal.max() - diagonal.min() < 1e-5
        assert abs(diagonal[0] - (transformer.frequencies(16) * gap).cos().sum()) < 1e-5


def test_a_convolution_over_positions_is_one_matrix():
    weights, offsets = torch.randn(5), torch.tensor([-3, -1, 0, 2, 7])
    P, C = transformer.sinusoidal_positions(60, 8), transformer.convolution_matrix(weights, offsets, 8)
    kernel = torch.zeros(11)  # torch's convolution, with the weights at their offsets
    kernel[offsets + 3] = weights
    expected = torch.nn.functional.conv1d(P.T[:, None], kernel[None, None])[:, 0].T
    torch.testing.assert_close(P[3:53] @ C.T, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="weights has 2 entries and offsets 3"):
        transformer.convolution_matrix(torch.ones(2), torch.arange(3), 8)


def test_embeddings_add_positions_and_go_on_where_a_cache_ends():
    embedding, tokens = transformer.Embedding(9, 6), torch.tensor([[3, 1, 3, 8]])
    expected = 6**0.5 * embedding.weight[tokens] + transformer.sinusoidal_positions(4, 6)
    assert_close(embedding(tokens), expected)
    assert_close(embedding(tokens[:, 2:], start=2), expected[:, 2:])
    assert "positions" not in embedding.state_dict()
    learned = transformer.LearnedEmbedding(9, 6, context=4)
    assert_close(learned(tokens), learned.weight[tokens] + learned.positions)
    assert_close(learned(tokens[:, 3:], start=3), learned(tokens)[:, 3:])
    nowhere = transformer.LearnedEmbedding(9, 6, context=None)
    assert torch.equal(nowhere(tokens), nowhere.weight[tokens])
    with pytest.raises(ValueError, match="tokens go to position 4, expected below context = 4"):
        learned(tokens, start=1)


# The whole model, against torch's


def theirs_with_random_norms(norm_first, activation="relu", bias=True):
    torch.manual_seed(1)
    theirs = nn.Transformer(
        12, 3, 2, 3, dim_feedforward=20, dropout=0.3, activation=activation, batch_first=True, norm_first=norm_first,
        bias=bias,
    ).double()  # fmt: skip
    for parameter in theirs.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5)
    return theirs.eval()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_the_stacks_equal_torchs_transformer_with_masks_in_values_and_gradients(norm_first, activation):
    theirs = theirs_with_random_norms(norm_first, activation)
    encoder, decoder = transformer.stacks_from_torch(theirs)
    x, y = (torch.randn(3, time, 12, dtype=torch.float64, requires_grad=True) for time in (6, 5))
    seen, causal = padding_mask(torch.tensor([6, 3, 1]), 6), causal_mask(5)

    ours = decoder(y, encoder(x, seen), causal, seen)
    hidden = ~seen[:, 0]
    expected = theirs(
        x, y, tgt_mask=~causal, src_key_padding_mask=hidden, memory_key_padding_mask=hidden, tgt_is_causal=True
    )
    assert_close(ours, expected)

    weights = [encoder.layers[1].feed_forward.sublayer.wider.weight, decoder.layers[2].cross_attention.norm.weight]
    weights += [decoder.layers[0].cross_attention.sublayer.output.weight, encoder.layers[0].attention.norm.bias]
    their_weights = [theirs.encoder.layers[1].linear1.weight, theirs.decoder.layers[2].norm2.weight]
    their_weights += [theirs.decoder.layers[0].multihead_attn.out_proj.weight, theirs.encoder.layers[0].norm1.bias]
    for mine, other in zip(gradients(ours, x, y, *weights), gradients(expected, x, y, *their_weights), strict=True):
        assert_close(mine, other)
    # Every weight was exchanged: none is left that a gradient does not reach or that differs in number.
    assert sum(p.numel() for s in (encoder, decoder) for p in s.parameters()) == sum(
        p.numel() for p in theirs.parameters()
    )


@pytest.mark.parametrize("pre_norm", [False, True])
@pytest.mark.parametrize("final", [False, True])
def test_weights_survive_the_way_to_torch_and_back(pre_norm, final):
    config = replace(TransformerConfig.TINY, encoder_layers=2, pre_norm=pre_norm)
    ours = Transformer(config).double()
    if final != pre_norm:  # torch can have a last norm with post-norm layers, or none with pre-norm ones
        ours.encoder.norm = LayerNorm(8).double() if final else nn.Identity()
    theirs = transformer.stacks_to_torch(ours.encoder, ours.decoder)
    assert (theirs.encoder.norm is not None) == final and (theirs.decoder.norm is not None) == pre_norm
    x, y = torch.randn(2, 4, 8).double(), torch.randn(2, 3, 8).double()
    assert_close(theirs(x, y), ours.decoder(y, ours.encoder(x)))
    for mine, back in zip((ours.encoder, ours.decoder), transformer.stacks_from_torch(theirs), strict=True):
        assert mine.state_dict().keys() == back.state_dict().keys()
        assert all(torch.equal(value, back.state_dict()[name]) for name, value in mine.state_dict().items())


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_layers_without_biases_come_from_torch_and_strange_ones_do_not_go_there():
    theirs = theirs_with_random_norms(norm_first=True, bias=False)
    encoder, decoder = transformer.stacks_from_torch(theirs)
    x, y = torch.randn(2, 4, 12).double(), torch.randn(2, 3, 12).double()
    assert_close(decoder(y, encoder(x)), theirs(x, y))
    strange = transformer.EncoderLayer(12, MultiHeadAttention(12, 3), SwiGLU(12, 8))
    with pytest.raises(ValueError, match="feed_forward is a SwiGLU, expected FeedForward"):
        transformer.stacks_to_torch(Stack([strange], 12), decoder)


def test_published_sizes_have_the_parameters_of_the_papers_table():
    for config, count in ((TransformerConfig.BASE, 63_082_496), (TransformerConfig.BIG, 214_245_376)):
        with torch.device("meta"):
            model = Transformer(config)
        assert sum(parameter.numel() for parameter in model.parameters()) == count
        assert sum(transformer.parameters(config).values()) == count


@pytest.mark.parametrize("tie", ["none", "output", "all"])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_counted_parameters_by_part(tie, pre_norm):
    config = TransformerConfig(
        30, 30 if tie == "all" else 41, 8, 2, 24, encoder_layers=3, decoder_layers=2, tie=tie, pre_norm=pre_norm
    )
    model, counted = Transformer(config), transformer.parameters(config)
    found = dict.fromkeys(counted, 0)
    for name, parameter in model.named_parameters():
        part = (
            "norms"
            if ".norm." in name
            else "embeddings"
            if "embedding" in name or name == "output.weight"
            else ("feed_forward" if ".feed_forward." in name else "attention")
        )
        found[part] += parameter.numel()
    assert found == counted


def test_ties_share_one_matrix_and_wrong_ones_are_named():
    config = replace(TransformerConfig.TINY, tie="all")
    model = Transformer(config)
    assert model.output.weight is model.target_embedding.weight is model.source_embedding.weight
    loose = Transformer(replace(config, tie="none"))
    assert loose.output.weight is not loose.target_embedding.weight
    with pytest.raises(ValueError, match="tie = 'both', expected"):
        Transformer(replace(config, tie="both"))
    with pytest.raises(ValueError, match="source_vocab = 21 and target_vocab = 20"):
        Transformer(replace(config, source_vocab=21))


def test_what_is_written_sees_neither_the_future_nor_filler():
    torch.manual_seed(0)
    model = Transformer(replace(TransformerConfig.TINY, encoder_layers=2, decoder_layers=2)).eval()
    source, tokens = torch.tensor([[4, 5, 6, 9], [7, 8, 0, 0]]), torch.tensor([[2, 9, 5, 6], [2, 4, 7, 7]])
    mask, logits = source > 0, model(source, source > 0, tokens)
    later = tokens.clone()
    later[:, 3] = 11
    changed = model(source, mask, later)
    assert torch.equal(changed[:, :3], logits[:, :3]) and not torch.allclose(changed[:, 3], logits[:, 3])
    assert_close(model(source[1:, :2], mask[1:, :2], tokens[1:]), logits[1:])  # filler might as well not be there
    other = source.clone()
    other[1, 2:] = 17
    assert torch.equal(model(other, mask, tokens), logits)
    assert not torch.allclose(model(source.flip(1), mask.flip(1), tokens)[0], logits[0])  # the order does matter


def test_translations_are_what_the_search_finds_step_by_step():
    torch.manual_seed(3)
    model = Transformer(TransformerConfig.TINY).eval()
    nn.init.normal_(model.target_embedding.weight)
    source = torch.tensor([[4, 5, 6], [7, 8, 0]])
    found = model.translate(source, source > 0, steps=6)
    for row, said in zip(range(2), found, strict=True):
        length, prefix = int((source[row] > 0).sum()), [Vocabulary.bos]
        for _ in range(6):
            logits = model(
                source[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool), torch.tensor([prefix])
            )
            prefix.append(int(logits[0, -1].argmax()))
            if prefix[-1] == Vocabulary.eos:
                break
        assert said == [token for token in prefix[1:] if token != Vocabulary.eos]
    wide = model.translate(source, source > 0, steps=4, beam=400)  # far wider than what can matter

    def log_probability(row, tokens):
        tokens = torch.tensor([[Vocabulary.bos, *tokens]])
        logits = model(source[row : row + 1], source[row : row + 1] > 0, tokens[:, :-1]).log_softmax(-1)
        return logits.gather(2, tokens[:, 1:, None]).sum()

    for row in range(2):
        best = [*wide[row], Vocabulary.eos][:4]
        rivals = [[a, b, c, d] for a in range(4, 20, 5) for b in range(4, 20, 5) for c in (4, 9) for d in (5, 11)]
        assert all(log_probability(row, best) >= log_probability(row, rival) - 1e-5 for rival in rivals)
    prefixes, rows = torch.tensor([[2, 5], [2, 6], [2, 7], [2, 8]]), source[[0, 0, 1, 1]]  # two for each source
    assert_close(model.continuing(source, source > 0)(prefixes), model(rows, rows > 0, prefixes))
    with pytest.raises(ValueError, match="tokens has 3 rows, expected a multiple of the 2 sources"):
        model.continuing(source, source > 0)(torch.full((3, 1), 2))
