r"""Whisper: an encoder reads half a minute of sound, a decoder writes what was said, and the beginning says how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ml_course.attention import MultiHeadAttention, causal_mask
from ml_course.cnn import conv1d
from ml_course.rnn import generate
from ml_course.transformer import DecoderLayer, EncoderLayer, FeedForward, LearnedEmbedding, Stack


@dataclass(frozen=True)
class WhisperConfig:
    r"""Sizes of a Whisper. Build the published one with `torch.device("meta")` when only shapes matter.

    >>> WhisperConfig.PUBLISHED_TINY.d_model, WhisperConfig.TINY.frames
    (384, 80)
    """

    vocab: int = 51_865  # tokens of the decoder, tasks and languages among them
    mels: int = 80  # bands of a frame
    frames: int = 3000  # of a recording: 30 seconds, every 10 ms; the encoder has half as many positions
    d_model: int = 384  # width of a token
    heads: int = 6
    d_ff: int = 1536  # width inside the position-wise networks
    encoder_layers: int = 4
    decoder_layers: int = 4
    context: int = 448  # the longest text
    deviation: float = 0.02  # of the first vectors of tokens; narrow models learn sooner with more

    PUBLISHED_TINY: ClassVar[WhisperConfig]  # 37,184,640 parameters that learn
    TINY: ClassVar[WhisperConfig]  # what a page has time to train


WhisperConfig.PUBLISHED_TINY = WhisperConfig()
WhisperConfig.TINY = WhisperConfig(
    vocab=15,
    mels=40,
    frames=80,
    d_model=64,
    heads=4,
    d_ff=128,
    encoder_layers=1,
    decoder_layers=1,
    context=8,
    deviation=0.125,
)


def half_sinusoids(time: int, d_model: int) -> Float[Tensor, "time d_model"]:
    r"""Sinusoidal positions as Whisper has them: all sines, then all cosines.

    P[t, i] = sin(ωᵢ t),  P[t, i + d_model/2] = cos(ωᵢ t),  ωᵢ = 10000^(−i/(d_model/2 − 1)),  i = 0 … d_model/2 − 1

    The slowest frequency is 1/10000 exactly, where `sinusoidal_positions` stops just before.
    Raises: ValueError when d_model is odd or below 4. Source: radford2023robust's published code.

    >>> half_sinusoids(2, 4)
    tensor([[0.0000e+00, 0.0000e+00, 1.0000e+00, 1.0000e+00],
            [8.4147e-01, 1.0000e-04, 5.4030e-01, 1.0000e+00]])
    """
    if d_model < 4 or d_model % 2:
        raise ValueError(f"d_model = {d_model}, expected an even number from 4 on")
    i = torch.arange(d_model // 2, dtype=torch.float64)
    angle = torch.arange(time, dtype=torch.float64)[:, None] * 10_000 ** (-i / (d_model // 2 - 1))
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(torch.get_default_dtype())


def published_names(config: WhisperConfig) -> dict[str, str]:
    r"""The name of each parameter of `Whisper` → its name in the published files, as the library transformers has it.

    >>> published_names(WhisperConfig.TINY)["decoder.layers.0.cross_attention.sublayer.key.weight"]
    'model.decoder.layers.0.encoder_attn.k_proj.weight'
    """
    parts = {
        "sublayer.query": "q_proj",
        "sublayer.key": "k_proj",
        "sublayer.value": "v_proj",
        "sublayer.output": "out_proj",
    }
    inside = {f"attention.{ours}": f"self_attn.{theirs}" for ours, theirs in parts.items()}
    inside |= {f"cross_attention.{ours}": f"encoder_attn.{theirs}" for ours, theirs in parts.items()}
    inside |= {"attention.norm": "self_attn_layer_norm", "cross_attention.norm": "encoder_attn_layer_norm"}
    inside |= {"feed_forward.sublayer.wider": "fc1", "feed_forward.sublayer.narrower": "fc2"}
    inside |= {"feed_forward.norm": "final_layer_norm"}
    names = {
        "encoder.near": "encoder.conv1",
        "encoder.halve": "encoder.conv2",
        "encoder.encoder.norm": "encoder.layer_norm",
        "decoder.norm": "decoder.layer_norm",
    }
    for ours, theirs, count in (
        ("encoder.encoder", "encoder", config.encoder_layers),
        ("decoder", "decoder", config.decoder_layers),
    ):
        for layer in range(count):
            names |= {f"{ours}.layers.{layer}.{a}": f"{theirs}.layers.{layer}.{b}" for a, b in inside.items()}
    found = {"embedding.weight": "decoder.embed_tokens.weight", "embedding.positions": "decoder.embed_positions.weight"}
    with torch.device("meta"):
        own = [name for name, _ in Whisper(config).named_parameters()]
    for name in own:
        part, _, last = name.rpartition(".")
        if part in names:
            found[name] = f"{names[part]}.{last}"
    return {name: f"model.{found[name]}" for name in own}


class AudioEncoder(nn.Module):
    r"""A spectrogram as half as many vectors: two convolutions over the frames, positions, layers of a Transformer.

    h = gelu(conv(gelu(conv(S)), stride 2)) + P,  then pre-norm layers and a last norm

    Both filters see three; the second moves on by two. So a vector stands for two frames, and is made of five.
    There is no mask: what follows the words is silence, and silence is a sound.

    config   sizes
    Raises: ValueError when a spectrogram has another number of frames. Source: radford2023robust, section 2.2.

    >>> AudioEncoder(WhisperConfig.TINY)(torch.randn(2, 80, 40)).shape
    torch.Size([2, 40, 64])
    """

    def __init__(self, config: WhisperConfig):
        super().__init__()
        self.config, width = config, config.d_model
        # Made as torch's layers for their first weights; they are used as `ml_course.cnn.conv1d`.
        self.near = nn.Conv1d(config.mels, width, 3, padding=1)
        self.halve = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("positions", half_sinusoids(-(-config.frames // 2), width), persistent=False)
        layers = (
            EncoderLayer(width, _attention(config), _network(config), pre_norm=True)
            for _ in range(config.encoder_layers)
        )
        self.encoder = Stack(layers, width, final_norm=True)

    def forward(self, spectrogram: Float[Tensor, "batch frames mels"]) -> Float[Tensor, "batch time d_model"]:
        if spectrogram.shape[1] != self.config.frames:
            raise ValueError(
                f"spectrogram has {spectrogram.shape[1]} frames, expected {self.config.frames}: fill it up"
            )
        x = F.gelu(conv1d(spectrogram.mT, self.near.weight, self.near.bias, padding=1))
        x = F.gelu(conv1d(x, self.halve.weight, self.halve.bias, stride=2, padding=1))
        return self.encoder(x.mT + self.positions)


class Whisper(nn.Module):
    r"""Sound in, text out: P(y | S) = Π_t P(y_t | y_1 … y_{t−1}, S).

    The text begins with special tokens, which are given, not guessed: start, language, task (write down or translate),
    with or without times. So one model has many trades.

    config   sizes
    Keys have no bias: it would add the same number to all scores of a query, which the softmax takes out again. The
    last layer is the table of tokens. Raises: ValueError as `AudioEncoder`, and beyond the context.
    Cost: a layer takes O(time²·d_model + time·d_model·(d_model + d_ff)). Source: radford2023robust, figure 1.

    >>> model = Whisper(WhisperConfig.TINY)
    >>> model(torch.randn(2, 80, 40), torch.tensor([[2, 5, 4], [2, 7, 7]])).shape
    torch.Size([2, 3, 15])
    """

    def __init__(self, config: WhisperConfig = WhisperConfig.TINY):
        super().__init__()
        self.config, width = config, config.d_model
        self.encoder = AudioEncoder(config)
        self.embedding = LearnedEmbedding(config.vocab, width, config.context)
        nn.init.normal_(self.embedding.weight, std=config.deviation)
        layers = (
            DecoderLayer(width, _attention(config), _attention(config), _network(config), pre_norm=True)
            for _ in range(config.decoder_layers)
        )
        self.decoder = Stack(layers, width, final_norm=True)

    def decode(
        self, tokens: Int[Tensor, "batch time"], memory: Float[Tensor, "batch key d_model"]
    ) -> Float[Tensor, "batch time vocab"]:
        r"""Logits of the token after each of `tokens`; each sees those before it and all of the sound."""
        causal = causal_mask(tokens.shape[1], device=tokens.device)
        return self.decoder(self.embedding(tokens), memory, causal) @ self.embedding.weight.T

    def forward(
        self, spectrogram: Float[Tensor, "batch frames mels"], tokens: Int[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time vocab"]:
        return self.decode(tokens, self.encoder(spectrogram))

    @torch.no_grad()
    def transcribe(
        self,
        spectrogram: Float[Tensor, "batch frames mels"],
        prompt: Int[Tensor, "batch time"],
        steps: int,
        *,
        eos: int,
    ) -> Int[Tensor, "batch steps"]:
        r"""The likeliest next token, again and again, after the prompt; the end token to the last once it has come.

        The sound is read once. `ml_course.seq2seq.beam_search` with `continuing` looks further ahead.
        """
        written = generate(self.continuing(spectrogram), prompt, steps, eos=eos, filler=eos)[:, prompt.shape[1] :]
        return F.pad(written, (0, steps - written.shape[1]), value=eos)

    def continuing(self, spectrogram: Float[Tensor, "batch frames mels"]) -> Callable[[Tensor], Tensor]:
        r"""The language model of the text given these sounds, for `generate` and `beam_search`: tokens → logits.

        The rows of tokens are those of the sounds, each as many times in succession as a search asks.
        """
        memory = self.encoder(spectrogram)
        return lambda tokens: self.decode(tokens, memory.repeat_interleave(len(tokens) // len(memory), 0))


def _attention(config: WhisperConfig) -> MultiHeadAttention:
    attention = MultiHeadAttention(config.d_model, config.heads)
    attention.key.register_parameter("bias", None)
    return attention


def _network(config: WhisperConfig) -> FeedForward:
    return FeedForward(config.d_model, config.d_ff, activation=F.gelu)
