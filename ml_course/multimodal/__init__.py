r"""Beyond text: pictures, sound, noise and gapped names, all as sequences of vectors for one and the same network."""

from ml_course.multimodal.patches import PatchEmbedding, patchify, unpatchify
from ml_course.multimodal.perceiver import Perceiver, PerceiverConfig, latent_attention
from ml_course.multimodal.vit import ViT, ViTConfig

# sound, spectrogram, conformer, whisper

# diffusion, dit, unmasking

__all__ = [
    "PatchEmbedding",
    "Perceiver",
    "PerceiverConfig",
    "ViT",
    "ViTConfig",
    "latent_attention",
    "patchify",
    "unpatchify",
]
