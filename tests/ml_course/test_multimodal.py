"""Patches, the Vision Transformer, the Perceiver: against convolutions, transformers' model, sets and loops."""

import pytest
import torch
from closeness import assert_close, dtypes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from transformers import ViTConfig as TheirConfig
from transformers import ViTForImageClassification

from ml_course.multimodal import (
    PatchEmbedding,
    Perceiver,
    PerceiverConfig,
    ViT,
    ViTConfig,
    latent_attention,
    patchify,
    unpatchify,
)

sizes = st.integers(1, 4)

# Patches


@given(sizes, sizes, sizes, sizes, sizes)
@settings(deadline=None, max_examples=60)
def test_every_patch_is_the_square_at_its_place(batch, channels, rows, columns, patch):
    pictures = torch.arange(float(batch * channels * rows * columns * patch**2))
    pictures = pictures.reshape(batch, channels, rows * patch, columns * patch)
    patches = patchify(pictures, patch)
    assert torch.equal(patches.mT, F.unfold(pictures, patch, stride=patch))
    for row in range(rows):
        for column in range(columns):
            square = pictures[:, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
            assert torch.equal(patches[:, row * columns + column], square.flatten(1))
    again = unpatchify(patches, rows * patch, columns * patch, patch)
    assert torch.equal(again, pictures)
    assert torch.equal(again, F.fold(patches.mT, pictures.shape[2:], patch, stride=patch))


@dtypes
def test_patches_through_a_linear_layer_are_a_convolution_with_a_stride(dtype, device):
    ours = PatchEmbedding(channels=3, patch=4, d_model=8).to(device, dtype)
    convolution = nn.Conv2d(3, 8, kernel_size=4, stride=4, device=device, dtype=dtype)
    with torch.no_grad():
        convolution.weight.copy_(ours.linear.weight.reshape(8, 3, 4, 4))
        convolution.bias.copy_(ours.linear.bias)
    pictures = torch.randn(2, 3, 8, 12, device=device, dtype=dtype)
    assert_close(ours(pictures), convolution(pictures).flatten(2).mT)


def test_what_does_not_tile_is_refused():
    with pytest.raises(ValueError, match="patch = 3, expected a divisor of both sides of 6 × 4"):
        patchify(torch.zeros(1, 1, 6, 4), 3)
    with pytest.raises(ValueError, match="patches has 5 rows of 4 numbers, expected 6 rows"):
        unpatchify(torch.zeros(1, 5, 4), 6, 4, 2)
    with pytest.raises(ValueError, match="each a multiple of 4 numbers"):
        unpatchify(torch.zeros(1, 6, 6), 6, 4, 2)


# The Vision Transformer


def counted(config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in ViT(config).parameters())


@pytest.mark.parametrize("config", [ViTConfig.BASE_16, ViTConfig.LARGE_16], ids=["base", "large"])
def test_presets_have_as_many_parameters_as_the_published_models(config):
    theirs = TheirConfig(
        hidden_size=config.d_model,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=config.d_ff,
        num_labels=1000,
    )
    with torch.device("meta"):
        assert counted(config) == ViTForImageClassification(theirs).num_parameters()
    assert counted(config) == {12: 86_567_656, 24: 304_326_632}[config.layers]
    assert counted(ViTConfig.TINY) == 18_218


def renamed(name):
    """A parameter of theirs in our words."""
    for theirs, ours in (
        ("vit.embeddings.cls_token", "token"),
        ("vit.embeddings.position_embeddings", "positions"),
        ("vit.embeddings.patch_embeddings.projection", "embedding.linear"),
        ("vit.layernorm.", "encoder.norm."),
        ("classifier", "head"),
        ("vit.encoder.layer.", "encoder.layers."),
        ("vit.layers.", "encoder.layers."),
        ("attention.attention.", "attention.sublayer."),
        ("attention.output.dense", "attention.sublayer.output"),
        ("attention.q_proj", "attention.sublayer.query"),
        ("attention.k_proj", "attention.sublayer.key"),
        ("attention.v_proj", "attention.sublayer.value"),
        ("attention.o_proj", "attention.sublayer.output"),
        ("intermediate.dense", "feed_forward.sublayer.wider"),
        ("output.dense", "feed_forward.sublayer.narrower"),
        ("mlp.fc1", "feed_forward.sublayer.wider"),
        ("mlp.fc2", "feed_forward.sublayer.narrower"),
        ("layernorm_before", "attention.norm"),
        ("layernorm_after", "feed_forward.norm"),
    ):
        name = name.replace(theirs, ours)
    return name


def test_with_the_weights_of_transformers_model_it_says_the_same():
    sizes = dict(num_channels=3, hidden_size=12, num_attention_heads=3, intermediate_size=20, num_hidden_layers=2)
    config = TheirConfig(image_size=(8, 12), patch_size=4, num_labels=5, layer_norm_eps=1e-6, **sizes)
    theirs = ViTForImageClassification(config).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.5)
    ours = ViT(ViTConfig(8, 12, 3, 4, d_model=12, heads=3, d_ff=20, layers=2, classes=5)).eval()
    state = {renamed(name): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict({name: tensor.reshape(ours.state_dict()[name].shape) for name, tensor in state.items()})
    pictures = torch.randn(4, 3, 8, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(pictures), theirs(pictures).logits, rtol=1e-4, atol=1e-4)


def test_without_its_positions_it_sees_a_bag_of_patches():
    """With them it does not: they are all it knows of the grid."""
    model, pictures = ViT(ViTConfig.TINY).eval(), torch.randn(3, 1, 8, 8)
    mixed = unpatchify(patchify(pictures, 2)[:, torch.randperm(16)], 8, 8, 2)
    assert not torch.allclose(model(mixed), model(pictures), atol=1e-3)
    with torch.no_grad():
        model.positions.zero_()
        assert_close(model(mixed), model(pictures))


def test_it_refuses_pictures_of_another_size():
    with pytest.raises(ValueError, match=r"pictures are \(1, 8, 10\), expected \(1, 8, 8\)"):
        ViT(ViTConfig.TINY)(torch.zeros(1, 1, 8, 10))
    with pytest.raises(ValueError, match="patch = 3 does not divide 8 × 8"):
        ViT(ViTConfig(8, 8, 1, 3))


# The Perceiver


@given(sizes, sizes, st.integers(1, 9), sizes, sizes, sizes, st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_latents_look_as_torch_s_own_attention_does(batch, latents, time, d_latent, d_input, d_head, seed):
    torch.manual_seed(seed)
    z, x = torch.randn(batch, latents, d_latent), torch.randn(batch, time, d_input)
    query, key, value = torch.randn(d_head, d_latent), torch.randn(d_head, d_input), torch.randn(d_latent, d_input)
    mask = torch.rand(batch, time) < 0.7
    mask[:, 0] = True
    expected = z + F.scaled_dot_product_attention(z @ query.T, x @ key.T, x @ value.T, mask[:, None])
    found = latent_attention(z, x, query, key, value, mask)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_nothing_to_read_leaves_latents_as_they_are():
    z, x = torch.randn(2, 3, 4), torch.randn(2, 5, 6)
    weights = torch.randn(7, 4), torch.randn(7, 6), torch.randn(4, 6)
    mask = torch.tensor([[True] * 5, [False] * 5])
    found = latent_attention(z, x, *weights, mask)
    assert torch.equal(found[1], z[1]) and found.isfinite().all() and not torch.equal(found[0], z[0])


@pytest.fixture
def perceiver():
    return Perceiver(PerceiverConfig(d_input=3, places=20, looks=3)).eval()


def test_a_perceiver_reads_a_set(perceiver):
    """The order in which inputs are handed in means nothing, as long as each says where it is from."""
    inputs, places = torch.randn(2, 12, 3), torch.stack([torch.randperm(20)[:12] for _ in range(2)])
    order = torch.randperm(12)
    assert_close(perceiver(inputs[:, order], places[:, order]), perceiver(inputs, places))
    assert not torch.allclose(perceiver(inputs[:, order], places), perceiver(inputs, places), atol=1e-3)


def test_masked_inputs_are_as_if_they_had_never_been(perceiver):
    inputs = torch.randn(2, 12, 3)
    mask = torch.arange(12) < torch.tensor([[7], [7]])
    assert_close(perceiver(inputs, mask=mask), perceiver(inputs[:, :7]))
    assert perceiver.read(inputs).shape == perceiver.read(inputs[:, :1]).shape == (2, 8, 32)


def test_it_shares_its_weights_between_looks(perceiver):
    once = Perceiver(PerceiverConfig(d_input=3, places=20, looks=1))
    assert sum(p.numel() for p in perceiver.parameters()) == sum(p.numel() for p in once.parameters())
    once.load_state_dict(perceiver.state_dict())
    inputs = torch.randn(2, 12, 3)
    assert not torch.allclose(once(inputs), perceiver(inputs), atol=1e-3)


def test_a_perceiver_refuses_what_it_has_no_place_for(perceiver):
    with pytest.raises(ValueError, match="inputs has 21 vectors of 3 numbers, expected at most 20 of 3"):
        perceiver(torch.zeros(1, 21, 3))
    with pytest.raises(ValueError, match="inputs has 5 vectors of 2 numbers"):
        perceiver(torch.zeros(1, 5, 2))


def test_all_of_a_model_learns():
    for model, inputs in ((ViT(ViTConfig.TINY), torch.randn(2, 1, 8, 8)), (Perceiver(), torch.randn(2, 64, 1))):
        model(inputs).square().sum().backward()
        silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        assert not [name for name in silent if "key.bias" not in name]  # a bias of keys moves no softmax
