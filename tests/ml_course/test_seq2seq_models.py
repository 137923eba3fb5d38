"""Encoder–decoders against torch's own layers, themselves step by step, and what they must be able to learn."""

from dataclasses import replace

import pytest
import torch
from closeness import assert_close, gradients
from torch import nn

from ml_course import seq2seq
from ml_course.rnn.generation import generate
from ml_course.seq2seq import Decoder, Encoder, EncoderDecoder, Readout, Seq2SeqConfig

SOURCE = torch.tensor([[4, 5, 6, 7], [7, 8, 0, 0], [9, 4, 5, 0]])
PREFIX = torch.tensor([[2, 9, 4], [2, 4, 5], [2, 6, 6]])


class Averaging(nn.Module):
    """Attends to all that the mask allows alike, and notes how it was called."""

    def __init__(self):
        super().__init__()
        self.shapes = []

    def forward(self, query, memory, mask):
        self.shapes.append((tuple(query.shape), tuple(memory.shape), tuple(mask.shape)))
        weights = (mask / mask.sum(-1, keepdim=True)).to(memory.dtype).expand(-1, query.shape[1], -1)
        return weights @ memory, weights


class Dotting(nn.Module):
    """Attention by plain dot products, so that the query matters."""

    def forward(self, query, memory, mask):
        weights = (query @ memory.mT).masked_fill(~mask, -torch.inf).softmax(-1)
        return weights @ memory, weights


def tiny(attention=None, **changed):
    return EncoderDecoder(replace(Seq2SeqConfig.TINY, **changed), attention).eval()


def variants():
    yield "lstm", tiny()
    yield "reversed", tiny(reverse=True, layers=2)
    yield "gru, both ways", tiny(cell="gru", bidirectional=True, layers=2)
    yield "cho", tiny(cell="gru", summary=True, readout="maxout", d_readout=6)
    yield "before", tiny(Dotting(), cell="gru", readout="maxout")
    yield "before, two layers", tiny(Dotting(), layers=2)
    yield "after", tiny(Dotting(), attend="after", readout="tanh", d_readout=5)


every_variant = pytest.mark.parametrize("model", [pytest.param(model, id=name) for name, model in variants()])


def test_published_sizes():
    def count(config):
        with torch.device("meta"):
            parameters = dict(EncoderDecoder(config).named_parameters())
        assert all(parameter.is_meta for parameter in parameters.values())
        return sum(parameter.numel() for parameter in parameters.values())

    assert count(replace(Seq2SeqConfig.SUTSKEVER_2014, bias=False)) == 384_000_000
    assert count(Seq2SeqConfig.SUTSKEVER_2014) == 384_144_000
    assert count(replace(Seq2SeqConfig.CHO_2014, bias=False)) == 24_200_000


@pytest.mark.parametrize(("cell", "layer"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@pytest.mark.parametrize("reverse", [False, True])
def test_an_encoder_decoder_is_two_of_torchs_layers(cell, layer, reverse, device):
    model = tiny(cell=cell, layers=2, reverse=reverse).to(device)
    encoder, decoder = (layer(8, 16, num_layers=2, batch_first=True).to(device) for _ in range(2))
    encoder.load_state_dict(model.encoder.layer.state_dict())
    decoder.load_state_dict(model.decoder.layer.state_dict())
    source, prefix = SOURCE.to(device), PREFIX.to(device)
    logits = model(source, source > 0, prefix)
    for n in range(3):
        row = source[n][source[n] > 0]
        read = row.flip(0) if reverse else row
        outputs, state = encoder(model.encoder.embedding(read)[None])
        said, _ = decoder(model.decoder.embedding(prefix[n])[None], state)
        expected = said @ model.decoder.readout.output.weight.T + model.decoder.readout.output.bias
        torch.testing.assert_close(logits[n], expected[0], rtol=1e-5, atol=1e-5)
        memory = model.encoder(source, source > 0).memory[n, : len(row)]
        torch.testing.assert_close(memory.flip(0) if reverse else memory, outputs[0], rtol=1e-5, atol=1e-5)


def test_both_directions_make_one_state_and_stand_side_by_side_in_the_memory():
    encoder = tiny(cell="gru", bidirectional=True, layers=2).encoder
    twin = nn.GRU(8, 16, num_layers=2, bidirectional=True, batch_first=True)
    twin.load_state_dict(encoder.layer.state_dict())
    row = SOURCE[2:, :3]
    memory, last = twin(encoder.embedding(row))
    found = encoder(row, row > 0)
    assert_close(found.memory, memory)
    for layer in range(2):  # torch lays them out as forward, backward of the first layer, then of the second
        both = torch.cat([last[2 * layer], last[2 * layer + 1]], dim=-1)
        assert_close(found.state[layer], torch.tanh(encoder.bridge(both)))


def test_cho_reads_the_summary_at_every_step():
    model = tiny(cell="gru", summary=True, readout="maxout", d_readout=6)
    encoder, decoder = model.encoder, model.decoder
    twin = nn.GRU(8, 16, batch_first=True)
    twin.load_state_dict(encoder.layer.state_dict())
    _, last = twin(encoder.embedding(SOURCE[:1]))
    summary = torch.tanh(encoder.summary(last[0]))
    state = torch.tanh(encoder.first_state(summary))
    cell = nn.GRUCell(24, 16)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in decoder.layer.state_dict().items()})
    for t in range(3):
        embedded = decoder.embedding(PREFIX[:1, t])
        state = cell(torch.cat([embedded, summary], 1), state)
        pairs = decoder.readout.inner(torch.cat([state, summary, embedded], 1)).reshape(1, 6, 2)
        expected = decoder.readout.output(torch.maximum(pairs[..., 0], pairs[..., 1]))
        assert_close(model(SOURCE[:1], SOURCE[:1] > 0, PREFIX[:1])[:, t], expected)


@every_variant
def test_filler_and_neighbours_change_nothing(model):
    together = model(SOURCE, SOURCE > 0, PREFIX)
    poisoned = SOURCE.masked_fill(SOURCE == 0, 13)
    assert_close(model(poisoned, SOURCE > 0, PREFIX), together)
    for n in range(3):
        row = SOURCE[n : n + 1, : int((SOURCE[n] > 0).sum())]
        assert_close(model(row, row > 0, PREFIX[n : n + 1]), together[n : n + 1])


@every_variant
def test_no_token_sees_those_after_it_but_each_sees_the_source(model):
    logits = model(SOURCE, SOURCE > 0, PREFIX)
    changed = PREFIX.clone()
    changed[:, 2] = 11
    assert torch.equal(model(SOURCE, SOURCE > 0, changed)[:, :2], logits[:, :2])
    other = SOURCE.clone()
    other[:, 0] = 12
    assert (model(other, SOURCE > 0, PREFIX) != logits).flatten(1).any(1).all()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for slope in gradients(logits, *parameters):
        assert slope.isfinite().all() and slope.abs().sum() > 0


@every_variant
def test_going_on_from_a_state_equals_reading_the_whole_prefix(model):
    whole = model(SOURCE, SOURCE > 0, PREFIX)
    step = model.continuing(SOURCE, SOURCE > 0)
    first, state = step(PREFIX[:, :2])
    last, _ = step(PREFIX[:, 2:], state)
    assert_close(torch.cat([first, last], 1), whole)
    thrice, _ = step(PREFIX.repeat_interleave(3, 0))
    assert_close(thrice, whole.repeat_interleave(3, 0))
    with pytest.raises(ValueError, match="tokens has 4 rows, expected a multiple of the 3 sources"):
        step(PREFIX[[0, 0, 1, 2]])


@every_variant
def test_beam_and_greedy_search_are_those_of_the_whole_prefix(model):
    step, prompt = model.continuing(SOURCE, SOURCE > 0), PREFIX[:, :1]
    with torch.no_grad():
        slow = seq2seq.beam_search(lambda tokens: step(tokens)[0], prompt, 6, eos=3, beam=3, alpha=0.5)
        fast = seq2seq.beam_search(step, prompt, 6, eos=3, beam=3, alpha=0.5, stateful=True)
        assert torch.equal(slow.tokens, fast.tokens)
        torch.testing.assert_close(slow.score, fast.score)
        assert model.translate(SOURCE, SOURCE > 0, 6, beam=3, alpha=0.5) == [
            [token for token in row if token != 3] for row in slow.best()
        ]
        greedy = generate(step, prompt, 6, eos=3, stateful=True)[:, 1:]
    rows = [row[: row.index(3)] if 3 in row else row for row in greedy.tolist()]
    assert model.translate(SOURCE, SOURCE > 0, 6) == rows


def test_an_attention_is_called_as_promised_and_its_weights_come_out():
    averaging = Averaging()
    model = tiny(averaging, cell="gru", bidirectional=True)
    weights = model.attend(SOURCE, SOURCE > 0, PREFIX)
    assert averaging.shapes == [((3, 1, 16), (3, 4, 32), (3, 1, 4))] * 3
    assert_close(weights, ((SOURCE > 0) / (SOURCE > 0).sum(1, keepdim=True))[:, None].expand(3, 3, 4).float())
    averaging.shapes.clear()
    tiny(averaging, attend="after").attend(SOURCE, SOURCE > 0, PREFIX)
    assert averaging.shapes == [((3, 3, 16), (3, 4, 16), (3, 1, 4))]
    with pytest.raises(ValueError, match="no attention"):
        tiny().attend(SOURCE, SOURCE > 0, PREFIX)


def test_the_query_before_is_the_state_of_the_step_before():
    seen = []

    class Spy(Dotting):
        def forward(self, query, memory, mask):
            seen.append(query)
            return super().forward(query, memory, mask)

    model = tiny(Spy(), layers=2)
    encoded = model.encoder(SOURCE, SOURCE > 0)
    _, state, _ = model.decoder(PREFIX[:, :2], encoded)
    assert_close(seen[0][:, 0], encoded.state[0][-1])  # h of the upper layer, not c
    model.decoder(PREFIX[:, 2:], encoded, state)
    assert_close(seen[2][:, 0], state[0][-1])


@every_variant
def test_scheduled_sampling_reads_the_truth_or_its_own_words(model):
    logits = model(SOURCE, SOURCE > 0, PREFIX)
    own = model(SOURCE, SOURCE > 0, PREFIX, truth=0.0, generator=torch.Generator().manual_seed(1))
    assert_close(own[:, 0], logits[:, 0])  # nothing was drawn yet
    chance = own[:, 0].softmax(-1)
    drawn = torch.multinomial(chance.detach(), 1, generator=torch.Generator().manual_seed(1))
    assert_close(own[:, 1], model(SOURCE, SOURCE > 0, torch.cat([PREFIX[:, :1], drawn], 1))[:, 1])
    nearly = model(SOURCE, SOURCE > 0, PREFIX, truth=1 - 1e-9, generator=torch.Generator().manual_seed(1))
    assert_close(nearly, logits)
    for truth in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"truth = {truth}"):
            model(SOURCE, SOURCE > 0, PREFIX, truth=truth)


def test_scheduled_sampling_mixes_by_the_asked_share():
    model = tiny()
    model.decoder.readout.output.weight.data.zero_()
    model.decoder.readout.output.bias.data = torch.full((20,), -50.0)
    model.decoder.readout.output.bias.data[19] = 50.0  # it always says 19
    fed = []
    model.decoder.embedding.register_forward_hook(lambda layer, inputs, output: fed.append(inputs[0]))
    many = torch.full((400, 1), 5)
    model(many, many > 0, torch.full((400, 11), 7), truth=0.7, generator=torch.Generator().manual_seed(0))
    read = torch.cat(fed, 1)[:, 1:]
    assert set(read.unique().tolist()) == {7, 19}
    assert (read == 7).float().mean().item() == pytest.approx(0.7, abs=0.03)


def test_it_learns_to_reverse_and_beam_finds_what_is_at_least_as_likely():
    torch.manual_seed(0)
    model = EncoderDecoder(Seq2SeqConfig(8, 8, d_model=16, hidden=48))
    optimiser = torch.optim.Adam(model.parameters(), 2e-2)
    for _ in range(120):
        text = torch.randint(4, 8, (48, 3))
        target = torch.cat([torch.full((48, 1), 2), text.flip(1), torch.full((48, 1), 3)], 1)
        reads, says, real = seq2seq.shift(target, torch.ones_like(target, dtype=torch.bool))
        loss = seq2seq.masked_cross_entropy(model(text, text > 0, reads), says, real)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    text = torch.randint(4, 8, (100, 3))
    right = [a == b for a, b in zip(model.translate(text, text > 0, 8), text.flip(1).tolist(), strict=True)]
    assert sum(right) > 90
    step, prompt = model.continuing(text, text > 0), torch.full((100, 1), 2)
    with torch.no_grad():
        one, five = (seq2seq.beam_search(step, prompt, 8, eos=3, beam=beam, stateful=True) for beam in (1, 5))
    assert (five.score[:, 0] >= one.score[:, 0] - 1e-5).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_take_other_types(dtype):
    model = tiny(Dotting(), cell="gru").to(dtype)
    logits = model(SOURCE, SOURCE > 0, PREFIX)
    assert logits.dtype == dtype and logits.isfinite().all()


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Encoder(9, 4, 4, cell="rnn"), "cell = 'rnn', expected 'lstm' or 'gru'"),
        (lambda: Encoder(9, 4, 4, reverse=True, bidirectional=True), "reverse = True and bidirectional = True"),
        (lambda: Encoder(9, 4, 4, summary=True), "summary = True needs one layer of 'gru'"),
        (lambda: Decoder(9, 4, 4, attend="beside"), "attend = 'beside'"),
        (lambda: Readout("softmax", 4, 9, 4), "readout = 'softmax'"),
        (lambda: tiny(Dotting(), cell="gru", summary=True), "summary = True and an attention"),
    ],
)
def test_contradictions_are_named(build, said):
    with pytest.raises(ValueError, match=said):
        build()
