r"""Beyond text: pictures, sound, noise and gapped names, all as sequences of vectors for one and the same network."""

from ml_course.multimodal.codebook import Codebook
from ml_course.multimodal.counts import Neighbours
from ml_course.multimodal.diffusion import NoiseSchedule, denoise, diffusion_loss, guided, sample
from ml_course.multimodal.dit import AdaLNZero, DiT, DiTBlock, DiTConfig, modulate
from ml_course.multimodal.ithaca import Ithaca, IthacaConfig, Readings, ithaca_loss
from ml_course.multimodal.patches import PatchEmbedding, patchify, unpatchify
from ml_course.multimodal.perceiver import Perceiver, PerceiverConfig, latent_attention
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

# sound, spectrogram, conformer, whisper


__all__ = [
    "GAP",
    "LANGUAGES",
    "AdaLNZero",
    "Codebook",
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
    "ViT",
    "ViTConfig",
    "denoise",
    "diffusion_loss",
    "guided",
    "hide",
    "ithaca_loss",
    "latent_attention",
    "masked_picture_loss",
    "modulate",
    "names",
    "patchify",
    "random_mask",
    "sample",
    "still_masked",
    "unmask",
    "unmasking",
    "unpatchify",
]
