"""ELMo: highway, letters, towers and language models against torch and brute force; its size; the mixture of layers."""

import math

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ml_course import elmo
from ml_course.elmo import BidirectionalLM, CharacterCNN, Elmo, ElmoConfig, Highway, ProjectedLSTM, Tower
from ml_course.text import Vocabulary

# highway


@dtypes
def test_highway_by_the_formula(dtype, device):
    x = torch.randn(2, 3, 5, dtype=dtype, device=device)
    weight, gate_weight = torch.randn(2, 5, 5, dtype=dtype, device=device)
    bias, gate_bias = torch.randn(2, 5, dtype=dtype, device=device)
    result = elmo.highway(x, weight, bias, gate_weight, gate_bias)
    assert result.dtype == dtype
    for row in x.double().reshape(-1, 5):
        t = 1 / (1 + torch.exp(-(gate_weight.double() @ row + gate_bias.double())))
        expected = t * (weight.double() @ row + bias.double()).clamp(min=0) + (1 - t) * row
        where = (x.double().reshape(-1, 5) == row).all(1).nonzero()[0, 0]
        found = result.reshape(-1, 5)[where]
        tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_highway_gates_carry_and_change():
    x, weight, bias = torch.randn(4, 3), torch.randn(3, 3), torch.randn(3)
    zeros = torch.zeros(3, 3)
    assert torch.equal(elmo.highway(x, weight, bias, zeros, torch.full((3,), -200.0)), x)
    assert_close(elmo.highway(x, weight, bias, zeros, torch.full((3,), 200.0)), (x @ weight.T + bias).relu())
    layer = Highway(400, gate_bias=-1.0)
    wide = torch.randn(50, 400)
    carried = torch.sigmoid(layer.gate(wide)).mean()
    assert abs(carried - 1 / (1 + math.e)) < 0.02
    tensors = [torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in ((2, 3), (3, 3), (3,), (3, 3))]
    assert torch.autograd.gradcheck(elmo.highway, (*tensors, torch.randn(3, dtype=torch.float64).requires_grad_()))


# letters


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12), st.integers(3, 30))
def test_spelling_can_be_read_again(word, length):
    spelled = elmo.spell(word, length)
    assert len(spelled) == length and spelled[0] == 259 and spelled.count(260) == 1
    inside = spelled[1 : spelled.index(260)]
    assert bytes(number - 1 for number in inside) == word.encode()[: length - 2]
    assert set(spelled[len(inside) + 2 :]) <= {261}


def test_boundaries_are_signs_of_their_own_and_wrong_lengths_are_named():
    assert elmo.spell("<bos>", 5) == [259, 257, 260, 261, 261] and elmo.spell("<eos>", 5)[1] == 258
    assert elmo.spell("", 4) == [259, 260, 261, 261]
    with pytest.raises(ValueError, match="length = 2, expected at least 3"):
        elmo.spell("a", 2)
    with pytest.raises(ValueError, match="sentences is empty"):
        elmo.spell_sentences([])


def test_sentences_are_spelled_side_by_side():
    letters, mask = elmo.spell_sentences([["to", "be"], ["or"], []], length=6)
    assert letters.shape == (3, 4, 6) and mask.sum(1).tolist() == [4, 3, 2]
    for row, words in enumerate((["<bos>", "to", "be", "<eos>"], ["<bos>", "or", "<eos>"], ["<bos>", "<eos>"])):
        for place, word in enumerate(words):
            assert letters[row, place].tolist() == elmo.spell(word, 6)
    assert (letters[~mask] == 0).all()
    on_device = elmo.spell_sentences([["a"]], 4).to("cpu")
    assert isinstance(on_device, elmo.Spelled)


def character_cnn(**options):
    return CharacterCNN(((1, 4), (2, 3), (5, 6)), d_character=5, d_model=7, **options)


def test_character_cnn_by_loops():
    layer = character_cnn().double()
    letters = torch.tensor([elmo.spell(word, 9) for word in ("cat", "catastrophe", "", "ü")])
    for word, found in zip(letters, layer(letters), strict=True):
        pieces = [layer.embedding.weight[number] for number in word]
        best = []
        for convolution in layer.convolutions:
            count, _, width = convolution.weight.shape
            for f in range(count):
                fits = [
                    sum(convolution.weight[f, :, a] @ pieces[start + a] for a in range(width)) + convolution.bias[f]
                    for start in range(9 - width + 1)
                ]
                best.append(max(0.0, max(fit.item() for fit in fits)))
        y = torch.tensor(best, dtype=torch.float64)
        for way in layer.highways:
            t = torch.sigmoid(way.gate(y))
            y = t * way.change(y).relu() + (1 - t) * y
        assert_close(found, layer.projection(y))


def test_character_cnn_computes_each_distinct_word_once_and_gives_all_their_gradient(monkeypatch):
    layer = character_cnn().double()
    rows = []
    layer.projection.register_forward_hook(lambda module, inputs, output: rows.append(len(output)))
    words = torch.tensor([[elmo.spell(word, 8) for word in row] for row in (["a", "b", "a"], ["c", "a", "b"])])
    together = layer(words)
    assert rows == [3] and together.shape == (2, 3, 7)
    one_by_one = torch.stack([torch.stack([layer(word[None])[0] for word in row]) for row in words])
    assert_close(together, one_by_one)
    slopes = gradients(together, *layer.parameters()), gradients(one_by_one, *layer.parameters())
    for ours, theirs in zip(*slopes, strict=True):
        assert_close(ours, theirs)


def test_filters_wider_than_a_word_are_named():
    with pytest.raises(ValueError, match="letters has 4 numbers a word, expected 5 or more"):
        character_cnn()(torch.zeros(2, 4, dtype=torch.long))


# towers


def torchs(layer, dtype, device):
    """torch's LSTM with a projection and the same weights; one of its two biases is zero."""
    features, cells = layer.weight_ih.shape[1], layer.cells
    theirs = nn.LSTM(features, cells, proj_size=layer.d_model, batch_first=True).to(device, dtype)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "weight_hr"):
            getattr(theirs, f"{name}_l0").copy_(getattr(layer, name))
        theirs.bias_ih_l0.copy_(layer.bias)
        theirs.bias_hh_l0.zero_()
    return theirs


@dtypes
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("ragged", [True, False])
def test_projected_lstm_equals_torchs(ragged, fused, dtype, device):
    layer = ProjectedLSTM(5, 8, 3).to(device, dtype)
    theirs = torchs(layer, dtype, device)
    x = torch.randn(4, 6, 5, dtype=dtype, device=device).requires_grad_()
    lengths = torch.tensor([6, 1, 4, 2], device=device) if ragged else None
    ours, expected = layer(x, lengths, fused=fused), theirs(x)[0]
    if ragged:
        expected = expected * (torch.arange(6, device=device) < lengths[:, None])[..., None]
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.1}[dtype]
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)
    slopes = gradients(ours, x, layer.weight_hr, layer.weight_hh, layer.bias)
    others = gradients(expected, x, theirs.weight_hr_l0, theirs.weight_hh_l0, theirs.bias_ih_l0)
    for one, other in zip(slopes, others, strict=True):
        torch.testing.assert_close(one, other, rtol=3 * tolerance, atol=3 * tolerance)


def test_clipped_cells_and_outputs_by_loops():
    layer = ProjectedLSTM(4, 6, 3, clip=0.3).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.mul_(3)
    x = torch.randn(2, 7, 4, dtype=torch.float64)
    found, largest = layer(x), 0.0
    for row in range(2):
        h, c = torch.zeros(3, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
        for t in range(7):
            i, f, g, o = (layer.weight_ih @ x[row, t] + layer.weight_hh @ h + layer.bias).reshape(4, 6)
            unclipped = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            largest = max(largest, unclipped.abs().max().item())
            c = unclipped.clamp(-0.3, 0.3)
            h = (layer.weight_hr @ (torch.sigmoid(o) * torch.tanh(c))).clamp(-0.3, 0.3)
            assert_close(found[row, t], h)
    assert largest > 0.3  # else nothing was tested
    wide = ProjectedLSTM(4, 6, 3, clip=1e6).double()
    wide.load_state_dict(layer.state_dict())
    free = ProjectedLSTM(4, 6, 3).double()
    free.load_state_dict(layer.state_dict())
    assert_close(wide(x), free(x))


def test_projected_lstm_begins_with_open_forget_gates_and_names_wrong_sizes():
    layer = ProjectedLSTM(4, 6, 3)
    assert layer.bias.tolist() == [0.0] * 6 + [1.0] * 6 + [0.0] * 12
    for sizes, name in (((0, 1, 1), "features"), ((1, 0, 1), "cells"), ((1, 1, 0), "d_model")):
        with pytest.raises(ValueError, match=f"{name} = 0, expected at least 1"):
            ProjectedLSTM(*sizes)
    for fused in (True, False):
        with pytest.raises(ValueError, match=r"inputs has shape \(2, 0, 4\), expected at least one time step"):
            layer(torch.zeros(2, 0, 4), fused=fused)
        with pytest.raises(ValueError, match=r"lengths has \[9, 1\]"):
            layer(torch.zeros(2, 5, 4), torch.tensor([9, 1]), fused=fused)


@pytest.mark.parametrize("clip", [None, 3.0])
def test_a_backward_tower_is_a_forward_tower_on_reversed_rows(clip):
    ahead = Tower(4, 6, layers=3, clip=clip).double()
    back = Tower(4, 6, layers=3, clip=clip, backward=True).double()
    back.load_state_dict(ahead.state_dict())
    x, lengths = torch.randn(3, 5, 4, dtype=torch.float64), torch.tensor([5, 3, 1])
    found = back(x, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = ahead(x[row : row + 1, :length].flip(1)).flip(2)
        assert_close(found[:, row, :length], alone[:, 0])
        assert (found[:, row, length:] == 0).all()


def test_layers_above_the_first_add_to_what_they_read():
    tower = Tower(4, 6, layers=2).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    first, second = tower(x)
    assert_close(first, tower.layers[0](x))
    assert_close(second, tower.layers[1](first) + first)


# the whole network


SENTENCES = [["to", "be", "or", "not"], ["to", "sleep"], ["perchance", "to", "dream", "and", "dream"]]


def tiny(**options):
    return Elmo(ElmoConfig(**(vars(ElmoConfig.TINY) | options))).double().eval()


def test_no_tower_sees_what_it_has_to_guess():
    model, (letters, _) = tiny(), elmo.spell_sentences([["a", "b", "c", "d"]], 8)
    words = model.characters(letters).detach().requires_grad_()
    time = words.shape[1]
    for tower, sees in ((model.ahead, lambda t, other: other <= t), (model.back, lambda t, other: other >= t)):
        for t in range(time):
            for layer in tower(words):
                reach = torch.autograd.grad(layer[0, t].sum(), words, retain_graph=True)[0][0].abs().sum(-1) > 0
                assert reach.tolist() == [sees(t, other) for other in range(time)]


def test_layers_are_the_word_twice_and_both_towers():
    model, (letters, mask) = tiny(), elmo.spell_sentences(SENTENCES, 8)
    layers = model(letters, mask)
    words = model.characters(letters) * mask[..., None]
    assert layers.shape == (3, 3, 7, 12)
    assert torch.equal(layers[0], torch.cat([words, words], -1))
    lengths = mask.sum(1)
    assert torch.equal(layers[1:, ..., :6], model.ahead(words, lengths))
    assert torch.equal(layers[1:, ..., 6:], model.back(words, lengths))
    assert (layers[:, ~mask] == 0).all()
    full, real = elmo.spell_sentences(SENTENCES[:1], 8)
    assert_close(model(full), model(full, real))


def test_a_sentence_does_not_depend_on_its_batch_and_boundaries_go():
    model = tiny()
    together = model.embed(SENTENCES, size=2)
    for sentence, found in zip(SENTENCES, together, strict=True):
        alone = model(*elmo.spell_sentences([sentence], 8))[:, 0, 1:-1]
        assert found.shape == (3, len(sentence), 12)
        assert_close(found, alone.detach())
    assert not together[0].requires_grad


def test_embedding_leaves_the_mode_as_it_was_and_uses_no_dropout():
    model = Elmo(ElmoConfig(**(vars(ElmoConfig.TINY) | {"dropout": 0.5})))
    assert all(torch.equal(a, b) for a, b in zip(model.embed(SENTENCES), model.embed(SENTENCES), strict=True))
    assert model.training
    letters, mask = elmo.spell_sentences(SENTENCES, 8)
    assert not torch.equal(model(letters, mask)[1], model(letters, mask)[1])
    with pytest.raises(ValueError, match="sentences is empty"):
        model.embed([])


def test_the_same_word_has_one_lowest_vector_and_two_in_context():
    first, second = tiny().embed([["the", "for", "loop"], ["look", "for", "it"]])
    assert torch.equal(first[0, 1], second[0, 1])
    assert (first[1:, 1] - second[1:, 1]).abs().amax(-1).min() > 1e-3


@pytest.mark.parametrize(("name", "size"), [("ORIGINAL", 93_600_864), ("MEDIUM", 28_027_744), ("SMALL", 13_593_312)])
def test_published_sizes(name, size):
    """The original counted by hand: letters, convolutions, highways, projection, four LSTMs."""
    config = getattr(ElmoConfig, name)
    with torch.device("meta"):
        model = Elmo(config)
    features = sum(count for _, count in config.filters)
    by_hand = 262 * 16 + sum(width * 16 * count + count for width, count in config.filters)
    by_hand += config.highways * 2 * (features * features + features) + features * config.d_model + config.d_model
    by_hand += 4 * (2 * 4 * config.cells * config.d_model + 4 * config.cells + config.cells * config.d_model)
    assert sum(p.numel() for p in model.parameters()) == by_hand == size
    assert features == 2048 and all(p.is_meta for p in model.parameters())


# language models


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 2))
def test_targets_by_loops(lengths, extra):
    time = max(lengths) + extra
    tokens = torch.randint(4, 50, (len(lengths), time))
    mask = torch.arange(time) < torch.tensor(lengths)[:, None]
    targets = elmo.language_model_targets(tokens, mask)
    for row, length in enumerate(lengths):
        words = tokens[row].tolist()
        for t in range(time):
            follows, comes_before = t + 1 < length, 0 < t < length
            assert targets.ahead_mask[row, t] == follows and targets.back_mask[row, t] == comes_before
            assert targets.ahead[row, t] == (words[t + 1] if follows else 0)
            assert targets.back[row, t] == (words[t - 1] if comes_before else 0)


def language_model(**options):
    vocabulary = Vocabulary.from_texts(SENTENCES)
    return BidirectionalLM(tiny(**options), len(vocabulary)).double().eval(), vocabulary


def test_surprises_sentence_by_sentence():
    model, vocabulary = language_model()
    ahead, back = model.surprises(elmo.language_model_batch(SENTENCES, vocabulary, 8))
    expected_ahead, expected_back = [], []
    for sentence in SENTENCES:
        numbers = vocabulary.encode(sentence, bos=True, eos=True)
        states = model.elmo(*elmo.spell_sentences([sentence], 8))[-1][0]
        logs = [model.output(half).log_softmax(-1) for half in states.chunk(2, -1)]
        expected_ahead += [-logs[0][t, numbers[t + 1]] for t in range(len(numbers) - 1)]
        expected_back += [-logs[1][t, numbers[t - 1]] for t in range(1, len(numbers))]
    assert_close(ahead, torch.stack(expected_ahead))
    assert_close(back, torch.stack(expected_back))
    loss = model(elmo.language_model_batch(SENTENCES, vocabulary, 8))
    assert_close(loss, (ahead.mean() + back.mean()) / 2)
    batches = [elmo.language_model_batch(SENTENCES[:2], vocabulary, 8)]
    batches.append(elmo.language_model_batch(SENTENCES[2:], vocabulary, 8))
    assert elmo.nats_per_word(model, batches) == pytest.approx((ahead.mean().item(), back.mean().item()))
    with pytest.raises(ValueError, match="batches is empty"):
        elmo.nats_per_word(model, [])


def test_unknown_words_are_read_by_their_letters_and_guessed_as_unknown():
    vocabulary = Vocabulary(["a"])
    batch = elmo.language_model_batch([["a", "zebra"]], vocabulary, 8)
    assert batch.tokens.tolist() == [[2, 4, 1, 3]]
    assert batch.letters[0, 2].tolist() == elmo.spell("zebra", 8)
    assert batch.mask.all()


def test_language_models_learn_both_directions():
    """In a b c a b c … each letter tells its neighbours; a model that shifts the wrong way cannot know both."""
    sentences = [list("abcabcabcabc"[start : start + 8]) for start in range(3)]
    vocabulary = Vocabulary("abc")
    torch.manual_seed(0)
    model = BidirectionalLM(Elmo(ElmoConfig.TINY), len(vocabulary))
    batch = elmo.language_model_batch(sentences, vocabulary, 8)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        optimiser.zero_grad()
        model(batch).backward()
        optimiser.step()
    ahead, back = model.surprises(batch)
    # The first and the last guess of each row are open, all others are certain.
    assert ahead.median() < 0.1 and back.median() < 0.1


# the mixture


@dtypes
def test_mix_by_the_formula(dtype, device):
    layers = torch.randn(3, 2, 4, 5, dtype=dtype, device=device)
    weights = torch.randn(3, dtype=dtype, device=device).requires_grad_()
    scale = torch.randn((), dtype=dtype, device=device)
    shares = [math.exp(w) / sum(math.exp(v) for v in weights.tolist()) for w in weights.tolist()]
    expected = scale * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    result = elmo.scalar_mix(layers, weights, scale)
    assert result.dtype == dtype
    assert_close(result, expected)
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(lambda w, s: elmo.scalar_mix(layers, w, s), (weights, scale.requires_grad_()))
    normal = elmo.scalar_mix(layers, weights, scale, normalise=True)
    evened = torch.stack([nn.functional.layer_norm(layer, (5,)) for layer in layers])
    assert_close(normal, elmo.scalar_mix(evened, weights, scale))


def test_a_mixture_learns_which_layer_helps():
    torch.manual_seed(1)
    labels = torch.randint(2, (400,))
    layers = torch.randn(3, 400, 6)
    layers[1, :, 0] += 4 * (labels - 0.5)  # the middle layer alone knows
    tagger = elmo.MixTagger(3, 6, 2, normalise=False)
    assert_close(tagger.mix.shares, torch.full((3,), 1 / 3))
    optimiser = torch.optim.Adam(tagger.parameters(), 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(tagger(layers), labels).backward()
        optimiser.step()
    assert tagger.mix.shares.argmax() == 1 and tagger.mix.shares[1] > 0.7
    assert_close(tagger.mix.shares.sum(), torch.tensor(1.0))
    assert (tagger(layers).argmax(1) == labels).float().mean() > 0.9
