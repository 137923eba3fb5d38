"""The exercises beyond text: what each asks, accepts, refuses and diagnoses. They stand in homework order."""

from autograder.exercises.multimodal import hearing, latents, making, seeing, unmasking

patchify, unpatchify = seeing.patchify, seeing.unpatchify
latent_attention = latents.latent_attention
mel_filter_bank = hearing.mel_filter_bank
adaln_zero = making.adaln_zero
unmask = unmasking.unmask
