"""Additive and Luong attention against sums written out, and inside the encoder–decoder of the chapter before."""

import math
from dataclasses import replace

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ml_course import attention
from ml_course.attention import AdditiveAttention, LuongAttention
from ml_course.seq2seq import EncoderDecoder, Seq2SeqConfig

MASK = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True, False, True, False, False]])[:, None]
SOURCE = torch.tensor([[4, 5, 6, 7], [7, 8, 0, 0], [9, 4, 5, 0]])
PREFIX = torch.tensor([[2, 9, 4], [2, 4, 5], [2, 6, 6]])


def variants(d_query=4, d_memory=6):
    yield "additive", lambda: AdditiveAttention(d_query, d_memory, hidden=5)
    for score in ("dot", "general", "concat"):
        for window in (None, 2):
            if score != "dot" or d_query == d_memory:
                name = f"{score}, {'global' if window is None else 'local'}"
                yield name, lambda s=score, w=window: LuongAttention(d_query, d_memory, s, hidden=5, window=w)


def every(**widths):
    return pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in variants(**widths)])


def score_by_hand(layer, q, m):
    """One pair's score, as the papers write it."""
    if isinstance(layer, AdditiveAttention):
        return layer.vector @ torch.tanh(layer.query.weight @ q + layer.memory.weight @ m)
    if layer.score == "concat":
        return layer.vector @ torch.tanh(layer.pair.weight @ torch.cat([q, m]))
    return q @ (m if layer.score == "dot" else layer.memory.weight @ m)


def weights_by_hand(layer, query, memory, visible):
    """One query's weights, as equations 7 to 10 of Luong have them, place by place, counted from 1."""
    places = [j for j, seen in enumerate(visible, 1) if seen]
    weights = [torch.zeros(())] * len(visible)
    window = getattr(layer, "window", None)
    if window is not None and places:
        centre = max(places) * torch.sigmoid(layer.place_vector @ torch.tanh(layer.place.weight @ query))
        places = [j for j in places if centre - window <= j <= centre + window]
    powers = {j: torch.exp(score_by_hand(layer, query, memory[j - 1])) for j in places}
    for j in places:
        weights[j - 1] = powers[j] / sum(powers.values())
        if window is not None:
            weights[j - 1] = weights[j - 1] * torch.exp(-((j - centre) ** 2) / (2 * (window / 2) ** 2))
    return torch.stack([weight.to(query.dtype) for weight in weights])


@every(d_query=6)
def test_contexts_and_weights_by_hand(make, device):
    layer = make().double().to(device)
    query = torch.randn(3, 4, 6, dtype=torch.float64, device=device)
    memory = torch.randn(3, 5, 6, dtype=torch.float64, device=device)
    context, weights = layer(query, memory, MASK.to(device))
    for n in range(3):
        for i in range(4):
            expected = weights_by_hand(layer, query[n, i], memory[n], MASK[n, 0].tolist())
            assert_close(weights[n, i], expected)
            assert_close(context[n, i], sum(w * m for w, m in zip(expected, memory[n], strict=True)))
    unmasked = layer(query, memory)
    everything = layer(query, memory, torch.ones(1, 1, 5, dtype=torch.bool, device=device))
    assert_close(unmasked[0], everything[0])


@every(d_query=6)
def test_gradients_by_finite_differences(make):
    layer = make().double()
    query = torch.randn(2, 3, 6, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 5, 6, dtype=torch.float64, requires_grad=True)
    parameters = tuple(layer.parameters())

    def context(query, memory, *parameters):
        names = dict(zip((name for name, _ in layer.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(layer, names, (query, memory, MASK[:2]))[0]

    assert torch.autograd.gradcheck(context, (query, memory, *parameters))


@every(d_query=6)
@dtypes
def test_any_dtype_and_a_row_without_any_key_gets_zeros(make, dtype, device):
    layer = make().to(device, dtype)
    query = torch.randn(2, 3, 6, dtype=dtype, device=device).requires_grad_()
    memory = torch.randn(2, 5, 6, dtype=dtype, device=device).requires_grad_()
    mask = torch.tensor([[[True] * 5], [[False] * 5]], device=device)
    context, weights = layer(query, memory, mask)
    assert context.dtype == weights.dtype == dtype
    assert (weights[1] == 0).all() and (context[1] == 0).all() and (weights[0].sum(-1) > 0).all()
    assert all(slope.isfinite().all() for slope in gradients(context, query, memory, *layer.parameters()))


def test_concat_is_additive_attention_with_its_matrix_cut_in_two():
    luong, additive = LuongAttention(4, 6, "concat", hidden=5), AdditiveAttention(4, 6, hidden=5)
    additive.query.weight.data, additive.memory.weight.data = luong.pair.weight.data.split([4, 6], dim=1)
    additive.vector.data = luong.vector.data
    query, memory = torch.randn(3, 4, 4), torch.randn(3, 5, 6)
    assert torch.equal(luong(query, memory, MASK)[0], additive(query, memory, MASK)[0])


def test_dot_and_general_are_torchs_attention_without_the_root():
    query, memory = torch.randn(3, 4, 6), torch.randn(3, 5, 6)
    expected = F.scaled_dot_product_attention(query, memory, memory, attn_mask=MASK, scale=1.0)
    assert_close(LuongAttention(6, 6, "dot")(query, memory, MASK)[0], expected)
    general = LuongAttention(6, 6, "general")
    projected = query @ general.memory.weight
    expected = F.scaled_dot_product_attention(projected, memory, memory, attn_mask=MASK, scale=1.0)
    assert_close(general(query, memory, MASK)[0], expected)


@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**20))
@settings(max_examples=40, deadline=None)
def test_a_window_looks_around_its_centre_and_nowhere_else(query, key, window, seed):
    torch.manual_seed(seed)
    layer = LuongAttention(4, 6, window=window).double()
    queries, memory = 3 * torch.randn(query, 4).double(), torch.randn(key, 6).double()
    weights = layer(queries, memory)[1]
    centre = layer.centres(queries, torch.tensor([float(key)], dtype=torch.float64))
    away = (torch.arange(1, key + 1) - centre[:, None]).abs()
    assert ((centre >= 0) & (centre <= key)).all()
    assert torch.equal(weights > 0, away <= window)
    assert (weights.sum(-1) <= 1 + 1e-12).all() and (weights.sum(-1) > 0).all()


def test_an_endless_window_is_global_attention():
    local, whole = LuongAttention(4, 6, window=10**6), LuongAttention(4, 6)
    whole.load_state_dict({"memory.weight": local.memory.weight})
    query, memory = torch.randn(3, 4, 4), torch.randn(3, 5, 6)
    assert_close(local(query, memory, MASK)[1], whole(query, memory, MASK)[1])


def test_the_centre_can_be_learned():
    layer = LuongAttention(2, 9, "general", hidden=4, window=2)
    layer.memory.weight.data.zero_()  # only the place decides
    memory, query = torch.eye(9), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    optimiser = torch.optim.Adam([layer.place.weight, layer.place_vector], lr=0.05)
    for _ in range(150):
        _, weights = layer(query, memory)
        away = torch.arange(1.0, 10.0) - torch.tensor([[2.0], [7.0]])
        loss = (weights * away.square()).sum() / weights.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert layer(query, memory)[1].argmax(-1).tolist() == [1, 6]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="score = 'cosine', expected 'dot', 'general' or 'concat'"):
        LuongAttention(4, 4, "cosine")
    with pytest.raises(ValueError, match="score = 'dot' needs equal widths, got d_query = 4 and d_memory = 6"):
        LuongAttention(4, 6, "dot")
    with pytest.raises(ValueError, match="window = 0, expected at least 1"):
        LuongAttention(4, 4, window=0)
    with pytest.raises(ValueError, match="window = None: global attention has no centres"):
        LuongAttention(4, 4).centres(torch.randn(1, 4), torch.ones(1))


# In the encoder–decoder


def models(d_memory):
    for name, make in variants(16, d_memory):
        yield name + ", after", dict(attend="after", readout="tanh"), make
    yield "additive, before", dict(attend="before", readout="maxout"), lambda: AdditiveAttention(16, d_memory, 5)
    yield "local, before", dict(attend="before"), lambda: LuongAttention(16, d_memory, window=1)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize(("options", "make"), [pytest.param(o, m, id=name) for name, o, m in models(32)])
def test_the_decoder_attends_with_each_of_them(cell, options, make, device):
    model = EncoderDecoder(replace(Seq2SeqConfig.TINY, cell=cell, bidirectional=True, **options), make())
    model = model.eval().to(device)
    source, prefix = SOURCE.to(device), PREFIX.to(device)
    logits = model(source, source > 0, prefix)
    where = model.attend(source, source > 0, prefix)
    assert where.shape == (3, 3, 4) and (where.masked_select((source == 0)[:, None]) == 0).all()
    assert (where.sum(-1) <= 1 + 1e-5).all() and (where.sum(-1) > 0).all()
    for slope in gradients(logits, *model.parameters()):
        assert slope.isfinite().all() and slope.abs().sum() > 0
    for n in range(3):  # each name alone, without filler
        row = source[n : n + 1, : int((source[n] > 0).sum())]
        assert_close(model(row, row > 0, prefix[n : n + 1]), logits[n : n + 1])
    step = model.continuing(source, source > 0)
    first, state = step(prefix[:, :2])
    last, _ = step(prefix[:, 2:], state)
    assert_close(torch.cat([first, last], 1), logits)
    assert len(model.translate(source, source > 0, 5, beam=2)) == 3


def test_bahdanaus_step_written_out():
    config = replace(Seq2SeqConfig.TINY, cell="gru", bidirectional=True, attend="before")
    layer = AdditiveAttention(16, 32, hidden=5)
    model = EncoderDecoder(config, layer).eval()
    cell = nn.GRUCell(8 + 32, 16)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in model.decoder.layer.state_dict().items()})
    logits = model(SOURCE[:1], SOURCE[:1] > 0, PREFIX[:1])
    encoded = model.encoder(SOURCE[:1], SOURCE[:1] > 0)
    state, memory = encoded.state[0], encoded.memory[0]
    for t in range(3):
        weights = weights_by_hand(layer, state[0], memory, [True] * 4)
        context = (weights @ memory)[None]  # from the state *before* this step
        state = cell(torch.cat([model.decoder.embedding(PREFIX[:1, t]), context], dim=1), state)
        expected = model.decoder.readout(torch.cat([state, context], dim=1)[:, None])[:, 0]
        assert_close(logits[:, t], expected)


def test_luongs_step_written_out():
    config = replace(Seq2SeqConfig.TINY, cell="lstm", attend="after", readout="tanh")
    layer = LuongAttention(16, 16, "dot")
    model = EncoderDecoder(config, layer).eval()
    lstm = nn.LSTM(8, 16, batch_first=True)
    lstm.load_state_dict(model.decoder.layer.state_dict())
    encoded = model.encoder(SOURCE[:1], SOURCE[:1] > 0)
    outputs, _ = lstm(model.decoder.embedding(PREFIX[:1]), encoded.state)
    logits = model(SOURCE[:1], SOURCE[:1] > 0, PREFIX[:1])[0]
    for t in range(3):
        context = weights_by_hand(layer, outputs[0, t], encoded.memory[0], [True] * 4) @ encoded.memory[0]
        inner, last = model.decoder.readout.inner, model.decoder.readout.output
        combined = torch.tanh(inner(torch.cat([outputs[0, t], context])))  # the paper's h̃, its equation 5
        assert_close(logits[t], last(combined))


def test_with_attention_a_sequence_is_reversed_where_each_place_is_looked_up():
    config = Seq2SeqConfig(14, 14, d_model=16, hidden=24, cell="gru", bidirectional=True, attend="after")
    model = EncoderDecoder(config, LuongAttention(24, 48))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        source = torch.stack([4 + torch.randperm(10)[:5] for _ in range(32)])
        target = torch.cat([torch.full((32, 1), 2), source.flip(1)], 1)
        loss = F.cross_entropy(model(source, source > 0, target[:, :-1]).flatten(0, 1), target[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    where = model.attend(source, source > 0, target[:, :-1])
    share = (where.argmax(-1) == torch.arange(4, -1, -1)).float().mean()
    assert loss < 0.3 < math.log(10) and share > 0.7


def test_names_are_exported():
    assert {"AdditiveAttention", "LuongAttention"} <= set(attention.__all__)
