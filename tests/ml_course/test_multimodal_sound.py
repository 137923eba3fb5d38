"""Sound: spectrograms against torch's and transformers', made speech by its pitch and formants, Conformer, Whisper."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import Wav2Vec2ConformerConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers import WhisperConfig as TheirConfig
from transformers.audio_utils import mel_filter_bank as their_bank
from transformers.models.wav2vec2_conformer import modeling_wav2vec2_conformer as theirs_conformer

from ml_course import multimodal
from ml_course.attention import MultiHeadAttention
from ml_course.multimodal import ConformerBlock, Speaker, Whisper, WhisperConfig
from ml_course.objectives import RelativeAttention
from ml_course.seq2seq import beam_search

# Spectrogram


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("window", "hop", "samples"), [(400, 160, 1600), (64, 13, 500), (8, 8, 5)])
def test_stft_is_torchs(window, hop, samples, dtype, fused, device):
    sound = torch.randn(2, 3, samples, dtype=dtype, device=device)
    hann = torch.hann_window(window, dtype=dtype, device=device)
    theirs = torch.stft(sound.flatten(0, 1), window, hop, window=hann, return_complex=True).mT
    ours = multimodal.stft(sound, window, hop, fused=fused)
    assert ours.dtype == dtype.to_complex()
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(ours.flatten(0, 1), theirs, rtol=tolerance, atol=tolerance)


def test_frames_are_read_off_the_mirrored_sound():
    sound = torch.arange(10.0)
    frames = multimodal.frames_of(sound, window=6, hop=4)
    wanted = [[abs(4 * t + n - 3) if 4 * t + n - 3 < 10 else 18 - (4 * t + n - 3) for n in range(6)] for t in range(3)]
    assert frames.tolist() == wanted
    with pytest.raises(ValueError, match="sound has 3 samples, expected more than 3"):
        multimodal.frames_of(sound[:3], window=6)
    with pytest.raises(ValueError, match="window = 400, hop = 0"):
        multimodal.frames_of(sound, hop=0)


@given(st.floats(0, 20_000), st.sampled_from(["slaney", "htk"]))
@settings(deadline=None)
def test_mels_grow_and_go_back(hertz, scale):
    mel = multimodal.hertz_to_mel(hertz, scale)
    assert multimodal.mel_to_hertz(mel, scale) == pytest.approx(hertz, rel=1e-9, abs=1e-9)
    assert multimodal.hertz_to_mel(hertz + 1, scale) > mel
    assert multimodal.hertz_to_mel(torch.tensor([hertz], dtype=torch.float64), scale).item() == mel


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("equal_area", [True, False])
@pytest.mark.parametrize(
    ("mels", "bins", "rate", "lowest", "highest"), [(80, 201, 16_000, 0, None), (13, 65, 8000, 100, 3800)]
)
def test_the_filter_bank_is_that_of_transformers(mels, bins, rate, lowest, highest, scale, equal_area):
    wanted = their_bank(bins, mels, lowest, highest or rate / 2, rate, "slaney" if equal_area else None, scale).T
    ours = multimodal.mel_filter_bank(
        mels, bins, rate, lowest=lowest, highest=highest, scale=scale, equal_area=equal_area
    )
    np.testing.assert_allclose(ours.numpy(), wanted, rtol=1e-4, atol=1e-7)


def test_bands_of_equal_area_hear_white_noise_equally_and_fill_the_scale():
    """Between the first top and the last one, neighbouring triangles of height 1 add up to 1."""
    plain = multimodal.mel_filter_bank(20, 4001, equal_area=False)
    tops = plain.argmax(1)
    torch.testing.assert_close(plain.sum(0)[tops[0] : tops[-1]], torch.ones(int(tops[-1] - tops[0])))
    area = multimodal.mel_filter_bank(20, 4001).sum(1) * 8000 / 4000
    torch.testing.assert_close(area, torch.ones(20), rtol=1e-2, atol=0)


@pytest.mark.parametrize("seconds", [30, 29.99])
def test_log_mel_is_what_whisper_is_given(seconds):
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * 16_000)) / 16_000
    sound = np.sin(2 * np.pi * (300 + 50 * time) * time) * (time % 3 < 2) + 1e-3 * rng.normal(size=len(time))
    theirs = WhisperFeatureExtractor()(sound, sampling_rate=16_000, return_tensors="pt").input_features[0]
    padded = torch.zeros(480_000)
    padded[: len(sound)] = torch.from_numpy(sound)
    torch.testing.assert_close(multimodal.log_mel(padded), theirs.mT, rtol=0, atol=2e-4)
    assert multimodal.log_mel(padded).shape == (3000, 80)


def test_a_batch_is_its_sounds_and_loudness_is_a_shift():
    sound = torch.randn(2, 3, 4000, dtype=torch.float64)
    sound[0] *= 1e6  # so loud that all others would be silence beside it
    together = multimodal.log_mel(sound, 20)
    assert_close(together[1, 2], multimodal.log_mel(sound[1, 2], 20))
    assert_close(multimodal.log_mel(10 * sound, 20), together + 2 / 4)  # 20 decibel, two powers of ten of energy
    assert multimodal.log_mel(torch.zeros(4000), 20).eq((-10 + 4) / 4).all()
    sound.requires_grad_()
    assert gradients(multimodal.log_mel(sound, 20), sound)[0].isfinite().all()


def test_sizes_and_scales_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="scale = 'bark', expected one of slaney, htk"):
        multimodal.hertz_to_mel(1.0, "bark")
    with pytest.raises(ValueError, match="hertz has -1, expected 0 or more"):
        multimodal.hertz_to_mel(-1.0)
    with pytest.raises(ValueError, match="mels = 0, bins = 201"):
        multimodal.mel_filter_bank(0)
    with pytest.raises(ValueError, match=r"highest = 9000: expected 0 ≤ lowest < highest ≤ 8000"):
        multimodal.mel_filter_bank(10, highest=9000)


# Made speech


@pytest.mark.parametrize("pitch", [90, 150, 240])
def test_a_voice_has_its_pitch(pitch):
    """Measured by autocorrelation in the middle of a vowel: the sound repeats after 1/pitch seconds."""
    spoken = multimodal.say("aa", Speaker(pitch=pitch), np.random.default_rng(0))
    middle = spoken.sound[1000:2600]
    # The pitch falls over a word, from 1.1 to 0.9 times; the letters' loudness differs, so only one is looked at.
    lags = np.arange(16_000 // 400, 16_000 // 60)
    likeness = [
        middle[:-lag] @ middle[lag:] / np.linalg.norm(middle[:-lag]) / np.linalg.norm(middle[lag:]) for lag in lags
    ]
    first = next(lag for lag, like in zip(lags, likeness, strict=True) if like > 0.95 * max(likeness))
    assert 16_000 / first == pytest.approx(pitch, rel=0.13)


@pytest.mark.parametrize(("letter", "formants"), [("a", (730, 1090)), ("i", (270, 2290)), ("u", (300, 870))])
@pytest.mark.parametrize("tract", [1.0, 1.25])
def test_vowels_are_loudest_at_their_formants(letter, formants, tract):
    """The spectrum of a low voice, its saw's fall taken out and smoothed over one overtone, has its hills there."""
    low = Speaker(pitch=60, tract=tract, speed=0.4)
    sound = multimodal.say(letter, low, np.random.default_rng(1)).sound[800:3600]
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 16_000)) ** 2 * np.arange(8001.0) ** 2
    smooth = np.convolve(power, np.hanning(160), "same")
    for formant in formants:
        near = slice(int(formant * tract * 0.8), int(formant * tract * 1.2))
        assert abs(near.start + smooth[near].argmax() - formant * tract) < 70


def test_hisses_are_high_and_stops_begin_with_silence():
    voice, rng = Speaker(), np.random.default_rng(0)
    for letter, least in (("s", 4500), ("a", 0)):
        sound = multimodal.say(letter, voice, rng).sound
        power = np.abs(np.fft.rfft(sound)) ** 2
        middle = (power * np.fft.rfftfreq(len(sound), 1 / 16_000)).sum() / power.sum()
        assert middle > least and (letter == "s" or middle < 1500)
    stop = multimodal.say("t", voice, rng).sound
    assert np.abs(stop[:600]).max() < 0.01 * np.abs(stop).max()


def test_a_fast_voice_is_short_and_the_same_seed_says_the_same():
    slow, fast = (multimodal.say("kasimu", Speaker(speed=s), np.random.default_rng(3)) for s in (0.8, 1.6))
    assert len(slow.sound) == pytest.approx(2 * len(fast.sound), abs=8) and slow.ends[-1] == len(slow.sound)
    voices = multimodal.speakers(20, np.random.default_rng(0))
    words = multimodal.made_words(12, np.random.default_rng(0))
    first, again, other = (multimodal.record(words, voices, seed) for seed in (1, 1, 2))
    assert torch.equal(first.sounds, again.sounds) and not torch.equal(first.sounds, other.sounds)
    assert len(set(words)) == 12 and all(80 < voice.pitch < 260 and voice.tract < 1.3 for voice in voices)


def test_signs_say_when_each_letter_sounds():
    voices = multimodal.speakers(5, np.random.default_rng(0))
    speech = multimodal.record(["sikamo", "tufa"], voices, seed=4, lead=0.2, noise=(0.0, 0.0))
    energy = speech.sounds.unflatten(1, (-1, 160)).square().sum(2)
    for word, signs, loud in zip(speech.words, speech.signs, energy, strict=True):
        runs = "".join(multimodal.SIGNS[i] for i in torch.unique_consecutive(signs))
        assert runs.strip("–") == word
        silent = signs == 0
        assert loud[silent].sum() < 0.02 * loud.sum()
    assert speech.sounds.abs().max() <= 1


def test_what_nobody_can_say_is_refused():
    voices = [Speaker()]
    with pytest.raises(ValueError, match="word = 'xa', expected one or more of the letters"):
        multimodal.say("xa", voices[0], np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"'kasimu' takes 0\.\d+ s, more than seconds = 0.3"):
        multimodal.record(["kasimu"], voices, 0, seconds=0.3)
    with pytest.raises(ValueError, match="1 words and 0 voices"):
        multimodal.record(["ma"], [], 0)
    with pytest.raises(ValueError, match="expected positive numbers"):
        Speaker(pitch=0)
    with pytest.raises(ValueError, match="count = 31, expected 0 to 30"):
        multimodal.made_words(31, np.random.default_rng(0), syllables=(1,))


# Conformer


def conformers(relative: bool, dtype=torch.float64):
    """Ours, and the layer of transformers with the same weights."""
    config = Wav2Vec2ConformerConfig(
        hidden_size=16, num_attention_heads=2, intermediate_size=24, conv_depthwise_kernel_size=5, hidden_act="swish",
        position_embeddings_type="relative" if relative else None, attention_dropout=0.0, hidden_dropout=0.0,
        activation_dropout=0.0, conformer_conv_dropout=0.0,
    )  # fmt: skip
    config._attn_implementation = "eager"
    theirs = theirs_conformer.Wav2Vec2ConformerEncoderLayer(config).to(dtype)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.4)
    attention = RelativeAttention(16, 2) if relative else MultiHeadAttention(16, 2)
    ours = ConformerBlock(16, attention, d_ff=24, kernel=5).to(dtype)
    parts = {
        "first_norm": "ffn1_layer_norm", "first.wider": "ffn1.intermediate_dense",
        "first.narrower": "ffn1.output_dense", "attention_norm": "self_attn_layer_norm",
        "second_norm": "ffn2_layer_norm", "norm": "final_layer_norm",
        "second.wider": "ffn2.intermediate_dense", "second.narrower": "ffn2.output_dense",
        "convolution.norm": "conv_module.layer_norm", "convolution.batch_norm": "conv_module.batch_norm",
    }  # fmt: skip
    for here, there in parts.items():
        ours.get_submodule(here).load_state_dict(theirs.get_submodule(there).state_dict())
    with torch.no_grad():
        ours.convolution.gated.weight.copy_(theirs.conv_module.pointwise_conv1.weight[..., 0])
        ours.convolution.output.weight.copy_(theirs.conv_module.pointwise_conv2.weight[..., 0])
        ours.convolution.filters.copy_(theirs.conv_module.depthwise_conv.weight)
        for here, there in dict(query="linear_q", key="linear_k", value="linear_v", output="linear_out").items():
            linear = theirs.self_attn.get_submodule(there)
            attention.get_submodule(here).weight.copy_(linear.weight)
            if relative:
                linear.bias.zero_()
            else:
                attention.get_submodule(here).bias.copy_(linear.bias)
        if relative:  # theirs has sines and cosines in turns, ours all sines first
            turns = torch.arange(16).reshape(8, 2).T.flatten()
            attention.distance.weight.copy_(theirs.self_attn.linear_pos.weight[:, turns])
            attention.of_content.copy_(theirs.self_attn.pos_bias_u[:, None])
            attention.of_distance.copy_(theirs.self_attn.pos_bias_v[:, None])
    return ours, theirs, config


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("relative", [False, True])
def test_the_conformer_block_is_that_of_transformers(relative, training):
    ours, theirs, config = conformers(relative)
    ours.train(training), theirs.train(training)
    x = torch.randn(3, 9, 16, dtype=torch.float64, requires_grad=True)
    far = theirs_conformer.Wav2Vec2ConformerRelPositionalEmbedding(config).to(x)(x) if relative else None
    mine, other = ours(x), theirs(x, relative_position_embeddings=far)
    tolerance = 1e-4 if relative else 1e-10  # their sinusoids are float32
    torch.testing.assert_close(mine, other, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradients(mine, x), gradients(other, x), rtol=tolerance, atol=tolerance)
    statistics = ours.convolution.batch_norm, theirs.conv_module.batch_norm
    means = [norm.running_mean for norm in statistics]
    torch.testing.assert_close(*means, rtol=tolerance, atol=tolerance)
    assert bool((means[0] != 0).any()) == training


@dtypes
def test_filler_is_heard_by_nobody_and_the_filters_reach_as_far_as_they_should(dtype, device):
    block = ConformerBlock(8, MultiHeadAttention(8, 2), kernel=5).to(device, dtype).eval()
    x = torch.randn(2, 7, 8, dtype=dtype, device=device)
    mask = torch.arange(7, device=device) < torch.tensor([[7], [4]], device=device)
    y = block(x, mask)
    assert y.dtype == dtype
    alone = block(x[1:, :4])
    torch.testing.assert_close(y[1:, :4], alone, rtol=0.05 if dtype == torch.bfloat16 else 1e-5, atol=0.05)
    changed = x.clone()
    changed[1, 4:] = 9
    assert torch.equal(block(changed, mask)[1, :4], y[1, :4])
    module = block.convolution
    moved = x.clone()
    moved[0, 0, 3] += 2
    far = (module(moved) != module(x))[0].any(1)
    assert far.tolist() == [True] * 3 + [False] * 4
    with pytest.raises(ValueError, match="kernel = 4, expected an odd number"):
        ConformerBlock(8, MultiHeadAttention(8, 2), kernel=4)


# Whisper


def whispers(config: WhisperConfig):
    """Ours, and that of transformers with the same weights."""
    theirs = WhisperForConditionalGeneration(
        TheirConfig(
            vocab_size=config.vocab, num_mel_bins=config.mels, max_source_positions=config.frames // 2,
            max_target_positions=config.context, d_model=config.d_model, encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers, encoder_attention_heads=config.heads, encoder_ffn_dim=config.d_ff,
            decoder_attention_heads=config.heads, decoder_ffn_dim=config.d_ff, dropout=0.0, pad_token_id=0,
            bos_token_id=2, eos_token_id=3, decoder_start_token_id=2,
        )
    )  # fmt: skip
    ours, state = Whisper(config), theirs.state_dict()
    names = multimodal.published_names(config)
    assert set(names) == {name for name, _ in ours.named_parameters()}
    ours.load_state_dict({name: state[there] for name, there in names.items()})
    unused = set(state) - set(names.values())
    assert unused == {"model.encoder.embed_positions.weight", "proj_out.weight"}  # sinusoids; the table of tokens
    assert_close(ours.encoder.positions, state["model.encoder.embed_positions.weight"])
    return ours.double().eval(), theirs.double().eval()


def test_whisper_is_that_of_transformers():
    config = replace(
        WhisperConfig.TINY, frames=30, mels=10, d_model=16, heads=2, d_ff=20, decoder_layers=2, encoder_layers=2
    )
    ours, theirs = whispers(config)
    for parameter in [*ours.parameters()]:
        assert parameter.dtype == torch.float64
    sound, tokens = torch.randn(3, 30, 10, dtype=torch.float64), torch.randint(4, 15, (3, 6))
    mine = ours(sound, tokens)
    other = theirs(input_features=sound.mT, decoder_input_ids=tokens).logits
    torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)  # their sinusoids are float32
    prompt = tokens[:, :2]
    written, beams = (
        ours.transcribe(sound, prompt, 5, eos=3),
        beam_search(ours.continuing(sound), prompt, 5, eos=3, beam=1),
    )
    for row, best in zip(written.tolist(), beams.best(), strict=True):
        assert row[: len(best)] == best and set(row[len(best) :]) <= {3}
    step = theirs(input_features=sound.mT, decoder_input_ids=prompt).logits[:, -1].argmax(1)
    assert torch.equal(written[:, 0], step)


def test_the_published_size_is_counted_as_transformers_counts():
    with torch.device("meta"):
        ours, theirs = Whisper(WhisperConfig.PUBLISHED_TINY), WhisperForConditionalGeneration(TheirConfig())
    learning = {name: p.shape for name, p in theirs.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in ours.parameters()) == sum(map(math.prod, learning.values())) == 37_184_640
    names = multimodal.published_names(WhisperConfig.PUBLISHED_TINY)
    assert {names[name]: p.shape for name, p in ours.named_parameters()} == learning


def test_a_bias_of_keys_would_change_nothing():
    attention = MultiHeadAttention(8, 2)
    x = torch.randn(2, 5, 8)
    before = attention(x)
    nn.init.normal_(attention.key.bias, std=3)
    torch.testing.assert_close(attention(x), before, rtol=1e-5, atol=1e-5)
    nn.init.normal_(attention.query.bias, std=3)
    assert (attention(x) - before).abs().max() > 1e-3


def test_the_encoder_halves_and_a_vector_is_made_of_five_frames():
    encoder = multimodal.AudioEncoder(WhisperConfig.TINY).eval()
    encoder.encoder = nn.Identity()
    sound = torch.randn(1, 80, 40)
    changed = sound.clone()
    changed[0, 20] += 1
    places = (encoder(changed) != encoder(sound))[0].any(1).nonzero().flatten()
    assert encoder(sound).shape == (1, 40, 64) and places.tolist() == [9, 10, 11]
    with pytest.raises(ValueError, match="spectrogram has 79 frames, expected 80"):
        encoder(sound[:, 1:])
    with pytest.raises(ValueError, match="d_model = 5, expected an even number from 4 on"):
        multimodal.half_sinusoids(3, 5)


def test_what_has_ended_stays_ended_and_a_tiny_one_learns_its_words_by_heart():
    words = ("mi", "sa", "tu")
    speech = multimodal.record(words, [Speaker()], seed=0)
    sound = multimodal.log_mel(speech.sounds, 40)
    tokens = torch.tensor([[2, *(4 + "aeimnsfktou".index(c) for c in word), 3] for word in words])
    torch.manual_seed(0)
    model = Whisper(WhisperConfig.TINY)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(model(sound, tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimiser.zero_grad(), loss.backward(), optimiser.step()
    written = model.transcribe(sound, torch.full((3, 1), 2), 5, eos=3)
    assert torch.equal(written[:, :3], tokens[:, 1:]) and (written[:, 3:] == 3).all()
