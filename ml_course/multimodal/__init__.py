r"""Beyond text: pictures, sound, noise and gapped names, all as sequences of vectors for one and the same network."""

# patches, vit, perceiver, text, ithaca

# sound, spectrogram, conformer, whisper

# diffusion, dit, unmasking

__all__ = []
