"""What learns and how fast, LoRA and adapters: against torch, the formulas written out, and themselves unchanged."""

import copy

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from ml_course import transfer
from ml_course.bert import Bert, BertConfig, Classifier
from ml_course.cnn import ResidualBlock
from ml_course.training import fit
from ml_course.transfer import LoraLinear, Paced
from ml_course.transformer import LMConfig, TransformerLM

TOKENS = torch.tensor([[2, 7, 8, 9, 3], [2, 9, 3, 0, 0]])


def classifier():
    return Classifier(Bert(BertConfig.TINY), 3, pool="mean").eval()


def states(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def small_steps(model, steps=3, rate=0.05):
    """A few steps of AdamW on whatever learns."""
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], rate)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(TOKENS, mask=TOKENS > 0), torch.tensor([0, 2])).backward()
        optimiser.step()


# Freezing


def test_only_what_is_named_learns():
    model = classifier()
    assert transfer.freeze(model, ["output"]) == 8 * 3 + 3 == transfer.trainable(model)
    before = states(model)
    small_steps(model)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"output.weight", "output.bias"}
    assert transfer.freeze(model) == 0
    assert transfer.freeze(model, ["bert.encoder.layers.0", "output.bias"]) == 600 + 3
    with pytest.raises(ValueError, match="but has 'outpu', which fits no parameter; there are 25"):
        transfer.freeze(model, ["outpu"])  # no prefix of a name, but a whole part of it


def test_a_tied_weight_counts_once():
    model = TransformerLM(LMConfig.TINY)
    assert transfer.trainable(model) == sum(p.numel() for p in model.parameters())
    tied = model.embedding.weight
    transfer.freeze(model, ["embedding"])
    assert tied.requires_grad and model.output.weight is tied


def test_frozen_batch_norm_keeps_its_statistics_and_merely_ungraded_does_not():
    body = ResidualBlock(2, 3)
    x = 4 + torch.randn(5, 2, 6, 6)
    merely = copy.deepcopy(body).requires_grad_(False).train()
    merely(x)
    assert not torch.equal(merely.first_norm.running_mean, body.first_norm.running_mean)
    model = nn.Sequential(transfer.Frozen(body), nn.Flatten(), nn.Linear(108, 2))
    before = states(body)
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), 0.1)
    fit(model, [x] * 3, lambda network, batch: network(batch).square().mean(), optimiser, epochs=2)
    model.train()
    assert model.training and model[2].training and not model[0].body.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())
    assert not model[0](x).requires_grad


@given(st.integers(1, 9), st.integers(1, 12))
@settings(deadline=None, max_examples=25)
def test_remembered_features_are_those_of_one_pass(samples, size):
    layer, x, y = nn.Bilinear(3, 2, 4), torch.randn(samples, 3), torch.randn(samples, 2)
    found = transfer.remembered(layer, x, y, size=size)
    assert_close(found, layer(x, y).detach())
    assert not found.requires_grad


def test_remembering_puts_the_mode_back_and_wants_as_many_of_each():
    network = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2)).train()
    x = torch.randn(7, 3)
    assert_close(transfer.remembered(network, x), network[1](x).detach())
    assert network.training
    for wrong in ((x, x[:2]), (x[:0],)):
        with pytest.raises(ValueError, match="samples, expected one number of them, at least 1"):
            transfer.remembered(network, *wrong)


def test_blocks_hold_each_parameter_once_from_the_bottom_up():
    model = Classifier(Bert(BertConfig(20, d_model=8, heads=2, d_ff=16, layers=3, context=16)), 2)
    blocks = transfer.blocks_of(model)
    held = [parameter for block in blocks for parameter in block.parameters()]
    assert len(blocks) == 5 and len(held) == len(set(held)) and set(held) == set(model.parameters())
    assert blocks[0] is model.bert.embedding and blocks[3] is model.bert.encoder.layers[2]


def test_gradual_unfreezing_opens_from_the_top_and_what_is_shut_does_not_move():
    model = Classifier(Bert(BertConfig(20, d_model=8, heads=2, d_ff=16, layers=2, context=16, dropout=0.0)), 2)
    blocks = transfer.blocks_of(model)
    thaw = transfer.GradualUnfreezing(blocks, every=2)
    assert transfer.trainable(model) == 0
    optimiser = Paced(torch.optim.AdamW(model.parameters(), 0.01), begin=thaw)
    seen = []
    for _ in range(7):
        before = [[p.clone() for p in block.parameters()] for block in blocks]
        optimiser.zero_grad()
        F.cross_entropy(model(TOKENS, mask=TOKENS > 0), torch.tensor([0, 1])).backward()
        optimiser.step()
        seen.append(
            [
                any(not torch.equal(a, b) for a, b in zip(old, block.parameters(), strict=True))
                for old, block in zip(before, blocks, strict=True)
            ]
        )
    assert [sum(row) for row in seen] == [1, 1, 2, 2, 3, 3, 4]
    assert all(row == sorted(row) for row in seen)  # never a block before one above it
    with pytest.raises(ValueError, match="every = 0, blocks has 4"):
        transfer.GradualUnfreezing(blocks, every=0)


# Rates


@given(st.integers(1, 5), st.floats(1e-5, 1), st.floats(0.1, 1), st.floats(0, 0.5))
@settings(deadline=None, max_examples=30)
def test_groups_hold_everything_once_with_its_own_rate_and_decay(count, rate, factor, decay):
    blocks = [nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)) for _ in range(count)]
    groups = transfer.parameter_groups(blocks, rate, factor=factor, decay=decay)
    found = {p: group for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found) == 4 * count
    for k, block in enumerate(blocks):
        for parameter in block.parameters():
            assert found[parameter]["lr"] == pytest.approx(rate * factor ** (count - 1 - k))
            assert found[parameter]["weight_decay"] == (decay if parameter.ndim == 2 else 0)


def test_a_step_with_groups_is_that_of_separate_optimisers():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    twin, x = copy.deepcopy(network), torch.randn(5, 3)
    together = torch.optim.AdamW(transfer.parameter_groups(network, 0.1, factor=0.5, decay=0.2))
    apart = [
        torch.optim.AdamW([p], rate, weight_decay=0.2 if p.ndim == 2 else 0)
        for layer, rate in zip(twin, (0.05, 0.1), strict=True)
        for p in layer.parameters()
    ]
    for _ in range(3):
        for model, optimisers in ((network, [together]), (twin, apart)):
            model.zero_grad()
            model(x).square().mean().backward()
            for optimiser in optimisers:
                optimiser.step()
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert_close(ours, theirs)


def test_groups_leave_frozen_ones_out_and_refuse_twins():
    first, second = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    assert sum(len(group["params"]) for group in transfer.parameter_groups([first, second], 0.1)) == 2
    with pytest.raises(ValueError, match="blocks has weight of block 1 in an earlier block too"):
        transfer.parameter_groups([second, second], 0.1)
    for wrong in (dict(rate=0), dict(rate=1, factor=0), dict(rate=1, decay=-1)):
        with pytest.raises(ValueError, match="expected positive, decay at least 0"):
            transfer.parameter_groups([second], **wrong)


def test_paced_groups_keep_their_ratio_and_move_as_torchs_scheduler_says():
    network, x = nn.Linear(3, 2), torch.randn(4, 3)
    twin = copy.deepcopy(network)
    pace, begun = transfer.slanted_triangle(20), []

    def groups(layer):
        return [{"params": [layer.weight], "lr": 0.1}, {"params": [layer.bias], "lr": 0.01}]

    ours = Paced(torch.optim.SGD(groups(network)), pace, begun.append)
    theirs = torch.optim.SGD(groups(twin))
    scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, lambda done: pace(done + 1))
    for _ in range(20):
        for model, optimiser in ((network, ours), (twin, theirs)):
            optimiser.zero_grad()
            model(x).square().mean().backward()
            optimiser.step()
        scheduler.step()
        assert ours.optimiser.param_groups[0]["lr"] == pytest.approx(10 * ours.optimiser.param_groups[1]["lr"])
    assert_close(network.weight, twin.weight)
    assert begun == list(range(1, 21))


@given(st.integers(10, 400), st.floats(0.1, 0.6))
def test_paces_rise_once_and_fall_once(steps, share):
    for pace in (transfer.slanted_triangle(steps, share), transfer.warm_then_linear(steps, share)):
        rates = [pace(step) for step in range(1, steps + 1)]
        top = rates.index(max(rates))
        assert min(rates) > 0 and max(rates) <= 1
        assert rates[: top + 1] == sorted(rates[: top + 1]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert transfer.slanted_triangle(steps, share)(int(steps * share) + 1) == 1
    with pytest.raises(ValueError, match=r"expected steps·cut ≥ 1"):
        transfer.slanted_triangle(5, 0.1)
    with pytest.raises(ValueError, match="expected at least 1, and between 0 and 1"):
        transfer.warm_then_linear(5, 1.0)


# LoRA


@dtypes
@pytest.mark.parametrize("bias", [True, False])
def test_lora_begins_as_the_layer_bit_for_bit(dtype, bias, device):
    plain = nn.Linear(6, 4, bias, dtype=dtype, device=device)
    x = torch.randn(3, 5, 6, dtype=dtype, device=device)
    before, layer = plain(x), LoraLinear(plain, rank=2)
    assert torch.equal(layer(x), before) and layer(x).dtype == dtype
    assert not plain.weight.requires_grad and layer.a.requires_grad and layer.b.requires_grad
    layer.merge()
    assert torch.equal(layer(x), before)
    assert torch.equal(layer.plain()(x), before)


@given(st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 20), st.integers(0, 2**31), st.data())
@settings(deadline=None, max_examples=40)
def test_lora_is_the_formula_in_values_and_gradients(inputs, outputs, alpha, seed, data):
    torch.manual_seed(seed)
    rank = data.draw(st.integers(1, min(inputs, outputs)))
    layer = LoraLinear(nn.Linear(inputs, outputs, dtype=torch.float64), rank, alpha=alpha)
    nn.init.normal_(layer.b)
    x = torch.randn(3, inputs, dtype=torch.float64).requires_grad_()
    weight = layer.linear.weight + alpha / rank * layer.b @ layer.a
    expected = x @ weight.T + layer.linear.bias
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(
        gradients(layer(x), x, layer.a, layer.b), gradients(expected, x, layer.a, layer.b), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert torch.linalg.matrix_rank(layer.change()) <= rank


def test_the_first_gradient_goes_to_b_alone():
    layer = LoraLinear(nn.Linear(6, 4), rank=2)
    layer(torch.randn(3, 6)).square().sum().backward()
    assert layer.a.grad.abs().max() == 0 and layer.b.grad.abs().min() > 0 and layer.linear.weight.grad is None


def test_merge_is_exact_and_unmerge_gives_every_bit_back(device):
    layer = LoraLinear(nn.Linear(64, 48), rank=4).to(device)
    nn.init.normal_(layer.b)
    x, weight = torch.randn(9, 64, device=device), layer.linear.weight.clone()
    apart = layer(x)
    layer.merge()
    assert layer.merged and (layer(x) - apart).abs().max() < 1e-6 * apart.abs().max()
    assert torch.equal(layer(x), F.linear(x, weight + layer.change(), layer.linear.bias))
    with pytest.raises(RuntimeError, match="merge: the change is inside the weight already"):
        layer.merge()
    assert torch.equal(layer.plain().weight, layer.linear.weight)
    layer.unmerge()
    assert torch.equal(layer.linear.weight, weight) and torch.equal(layer(x), apart)
    with pytest.raises(RuntimeError, match="unmerge: the change is not inside"):
        layer.unmerge()


def test_lora_in_chosen_layers_of_a_model_then_merged():
    model = classifier()
    before = model(TOKENS, mask=TOKENS > 0)
    learning = transfer.add_lora(model, ["query", "value"], rank=2, but=["output"])
    assert learning == transfer.lora_parameters([(8, 8)] * 2, 2) + 27
    assert torch.equal(model(TOKENS, mask=TOKENS > 0), before)
    names = [name.rpartition(".")[2] for name, _ in transfer.lora_layers(model)]
    assert names == ["query", "value"]
    start = states(model)
    small_steps(model)
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, start[name])}
    assert {name.rpartition(".")[2] for name in moved if "sublayer" in name} == {"a", "b"}
    assert all("sublayer" in name or name.startswith("output") for name in moved)
    learned = model(TOKENS, mask=TOKENS > 0)
    merged = transfer.merge_lora(copy.deepcopy(model))
    assert not list(transfer.lora_layers(merged))
    assert (merged(TOKENS, mask=TOKENS > 0) - learned).abs().max() < 1e-6
    assert set(merged.state_dict()) == set(classifier().state_dict())
    transfer.set_strength(model, 0)
    model.output.load_state_dict({"weight": start["output.weight"], "bias": start["output.bias"]})
    assert torch.equal(model(TOKENS, mask=TOKENS > 0), before)


def test_half_the_strength_is_half_the_change():
    layer = LoraLinear(nn.Linear(6, 4), rank=2)
    nn.init.normal_(layer.b)
    network, x = nn.Sequential(layer), torch.randn(3, 6)
    full, none = network(x), layer.linear(x)
    transfer.set_strength(network, 0.5)
    assert_close(network(x), (full + none) / 2)
    assert_close(layer.merge()(x), (full + none) / 2)
    with pytest.raises(RuntimeError, match="set_strength: 0 is merged"):
        transfer.set_strength(network, 1)


def test_a_saved_change_goes_onto_a_fresh_model_and_one_may_follow_another(tmp_path):
    fresh = classifier()
    voices, expected = {}, {}
    for number, voice in enumerate(("first", "second")):
        model = copy.deepcopy(fresh)
        transfer.add_lora(model, ["query", "wider"], rank=1 + number, but=["output"])
        small_steps(model, steps=2 + number)
        voices[voice] = tmp_path / f"{voice}.safetensors"
        written = transfer.save_lora(model, voices[voice], also=["output"])
        assert written == transfer.trainable(model)
        expected[voice] = model(TOKENS, mask=TOKENS > 0)
    wearer = copy.deepcopy(fresh)
    for voice in ("first", "second", "first"):
        transfer.load_lora(wearer, voices[voice])
        assert torch.equal(wearer(TOKENS, mask=TOKENS > 0), expected[voice])
        assert transfer.trainable(wearer) == transfer.save_lora(wearer, tmp_path / "again", also=["output"])
    own, given = wearer.state_dict(), fresh.state_dict()
    assert torch.equal(
        own["bert.encoder.layers.0.attention.sublayer.query.linear.weight"],
        given["bert.encoder.layers.0.attention.sublayer.query.weight"],
    )


def test_what_does_not_fit_is_refused(tmp_path):
    model, path = classifier(), tmp_path / "change.safetensors"
    with pytest.raises(ValueError, match="names has 'quary', which fits no linear layer"):
        transfer.add_lora(model, ["quary"], rank=1)
    with pytest.raises(ValueError, match="model has no LoraLinear"):
        transfer.save_lora(model, path)
    with pytest.raises(ValueError, match="model has no LoraLinear"):
        transfer.merge_lora(model)
    with pytest.raises(ValueError, match="rank = 9, expected 1 to 8"):
        transfer.add_lora(model, ["query"], rank=9)
    with pytest.raises(ValueError, match="dropout = 1"):
        LoraLinear(nn.Linear(2, 2), 1, dropout=1)
    transfer.add_lora(model, ["query"], rank=1)
    with pytest.raises(ValueError, match="names has 'query', which fits no linear layer without a change"):
        transfer.add_lora(model, ["query"], rank=1)
    with pytest.raises(ValueError, match="also has 'head', which fits no parameter"):
        transfer.save_lora(model, path, also=["head"])
    transfer.save_lora(model, path)
    with pytest.raises(ValueError, match=r"model has no linear layer bert\.encoder"):
        transfer.load_lora(nn.Sequential(nn.Linear(2, 2)), path)
    other = classifier()
    transfer.add_lora(other, ["value"], rank=1)
    with pytest.raises(ValueError, match="the file has none there"):
        transfer.load_lora(other, path)
    wide = Classifier(Bert(BertConfig(20, d_model=16, heads=2, d_ff=16, layers=1, context=16)), 3)
    with pytest.raises(ValueError, match=r"has \(1, 8\) for .*query.a, the model has \(1, 16\)"):
        transfer.load_lora(wide, path)
    save_file({"x": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="holds no change"):
        transfer.load_lora(classifier(), path)


# Adapters


@dtypes
def test_an_adapter_begins_as_the_identity_bit_for_bit(dtype, device):
    adapter = transfer.Adapter(8, 3).to(device, dtype)
    x = torch.randn(2, 5, 8, dtype=dtype, device=device)
    assert torch.equal(adapter(x), x)
    assert sum(p.numel() for p in adapter.parameters()) == 2 * 8 * 3 + 8 + 3


def test_an_adapter_is_the_formula_and_learns():
    adapter, x = transfer.Adapter(5, 2, activation=torch.tanh).double(), torch.randn(4, 5, dtype=torch.float64)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter)
    down, up = adapter.down, adapter.up
    expected = x + torch.tanh(x @ down.weight.T + down.bias) @ up.weight.T + up.bias
    assert_close(adapter(x), expected)
    with pytest.raises(ValueError, match="d_model = 5, bottleneck = 0"):
        transfer.Adapter(5, 0)


def test_adapters_stand_at_the_end_of_both_branches_and_alone_learn():
    model = classifier()
    before, start = model(TOKENS, mask=TOKENS > 0), states(model)
    learning = transfer.add_adapters(model, 2, but=["output"])
    assert learning == 2 * (2 * 8 * 2 + 8 + 2) + 27
    assert torch.equal(model(TOKENS, mask=TOKENS > 0), before)
    small_steps(model)
    old = {
        name.replace("output.0.", "output.").replace("narrower.0.", "narrower."): t for name, t in states(model).items()
    }
    for name, tensor in start.items():
        assert torch.equal(old[name], tensor) == (not name.startswith("output"))
    assert not torch.equal(model(TOKENS, mask=TOKENS > 0), before)
    with pytest.raises(ValueError, match="names has 'middle', which fits no linear layer"):
        transfer.add_adapters(model, 2, ["middle"])
