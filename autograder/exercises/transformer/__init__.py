"""The exercises on the Transformer: what each asks, accepts, refuses and diagnoses. They stand in homework order."""

from autograder.exercises.transformer import decoder, encoder, learning, norm, positions

positional_encoding = positions.positional_encoding
shift_matrix = positions.shift_matrix
layer_norm = norm.layer_norm
encoder_layer = encoder.encoder_layer
decoder_layer = decoder.decoder_layer
learning_rate = learning.learning_rate
smoothed_loss = learning.smoothed_loss
