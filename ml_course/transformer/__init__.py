r"""The Transformer: layers of attention and position-wise networks, as encoder, as decoder, and as both."""

from ml_course.transformer.counting import activation_bytes, flops, parameters, training_bytes
from ml_course.transformer.embedding import Embedding, LearnedEmbedding
from ml_course.transformer.encoder import FAMILIES, TransformerEncoder, family_mask
from ml_course.transformer.exchange import stacks_from_torch, stacks_to_torch
from ml_course.transformer.induction import (
    attention_maps,
    prefix_matching_score,
    previous_token_score,
    repeated_sequences,
    second_half_loss,
)
from ml_course.transformer.language import LMConfig, TransformerLM, next_token_loss, windowed_nats
from ml_course.transformer.layers import (
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LayerNorm,
    Residual,
    Stack,
    SwiGLU,
    layer_norm,
    pre_norm_stack,
)
from ml_course.transformer.learning import noam, smoothed_cross_entropy, smoothed_targets
from ml_course.transformer.model import Transformer, TransformerConfig
from ml_course.transformer.positions import convolution_matrix, frequencies, shift_matrix, sinusoidal_positions
from ml_course.transformer.recipe import SmallLanguageModel, small_language_model

__all__ = [
    "FAMILIES",
    "DecoderLayer",
    "Embedding",
    "EncoderLayer",
    "FeedForward",
    "LMConfig",
    "LayerNorm",
    "LearnedEmbedding",
    "Residual",
    "SmallLanguageModel",
    "Stack",
    "SwiGLU",
    "Transformer",
    "TransformerConfig",
    "TransformerEncoder",
    "TransformerLM",
    "activation_bytes",
    "attention_maps",
    "convolution_matrix",
    "family_mask",
    "flops",
    "frequencies",
    "layer_norm",
    "next_token_loss",
    "noam",
    "parameters",
    "pre_norm_stack",
    "prefix_matching_score",
    "previous_token_score",
    "repeated_sequences",
    "second_half_loss",
    "shift_matrix",
    "sinusoidal_positions",
    "small_language_model",
    "smoothed_cross_entropy",
    "smoothed_targets",
    "stacks_from_torch",
    "stacks_to_torch",
    "training_bytes",
    "windowed_nats",
]
