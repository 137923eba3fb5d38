"""The exercises beyond text: what each asks, accepts, refuses and diagnoses. They stand in homework order."""

# patchify, unpatchify, latent_attention (seeing, latents)

# mel_filter_bank (hearing)

# adaln_zero (making), unmask (unmasking)
