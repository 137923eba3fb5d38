r"""Beyond text: pictures, sound, noise and gapped names, all as sequences of vectors for one and the same network."""

from ml_course.multimodal.codebook import Codebook
from ml_course.multimodal.conformer import ConformerBlock, ConvolutionModule
from ml_course.multimodal.counts import Neighbours
from ml_course.multimodal.diffusion import NoiseSchedule, denoise, diffusion_loss, guided, sample
from ml_course.multimodal.dit import AdaLNZero, DiT, DiTBlock, DiTConfig, modulate
from ml_course.multimodal.ithaca import Ithaca, IthacaConfig, Readings, ithaca_loss
from ml_course.multimodal.patches import PatchEmbedding, patchify, unpatchify
from ml_course.multimodal.perceiver import Perceiver, PerceiverConfig, latent_attention
from ml_course.multimodal.restoring import Scores, ithaca_scores, restored_share, teach_ithaca
from ml_course.multimodal.sound import LETTERS, SIGNS, Speaker, Speech, Spoken, made_words, record, say, speakers
from ml_course.multimodal.spectrogram import (
    HOP,
    RATE,
    WINDOW,
    frames_of,
    hertz_to_mel,
    log_mel,
    mel_filter_bank,
    mel_to_hertz,
    stft,
)
from ml_course.multimodal.text import GAP, LANGUAGES, Gapped, Names, Reader, hide, names
from ml_course.multimodal.unmasking import (
    MaskedPicture,
    MaskedPictureConfig,
    masked_picture_loss,
    random_mask,
    still_masked,
    unmask,
    unmasking,
)
from ml_course.multimodal.vit import ViT, ViTConfig
from ml_course.multimodal.whisper import AudioEncoder, Whisper, WhisperConfig, half_sinusoids, published_names

__all__ = [
    "GAP",
    "HOP",
    "LANGUAGES",
    "LETTERS",
    "RATE",
    "SIGNS",
    "WINDOW",
    "AdaLNZero",
    "AudioEncoder",
    "Codebook",
    "ConformerBlock",
    "ConvolutionModule",
    "DiT",
    "DiTBlock",
    "DiTConfig",
    "Gapped",
    "Ithaca",
    "IthacaConfig",
    "MaskedPicture",
    "MaskedPictureConfig",
    "Names",
    "Neighbours",
    "NoiseSchedule",
    "PatchEmbedding",
    "Perceiver",
    "PerceiverConfig",
    "Reader",
    "Readings",
    "Scores",
    "Speaker",
    "Speech",
    "Spoken",
    "ViT",
    "ViTConfig",
    "Whisper",
    "WhisperConfig",
    "denoise",
    "diffusion_loss",
    "frames_of",
    "guided",
    "half_sinusoids",
    "hertz_to_mel",
    "hide",
    "ithaca_loss",
    "ithaca_scores",
    "latent_attention",
    "log_mel",
    "made_words",
    "masked_picture_loss",
    "mel_filter_bank",
    "mel_to_hertz",
    "modulate",
    "names",
    "patchify",
    "published_names",
    "random_mask",
    "record",
    "restored_share",
    "sample",
    "say",
    "speakers",
    "stft",
    "still_masked",
    "teach_ithaca",
    "unmask",
    "unmasking",
    "unpatchify",
]
