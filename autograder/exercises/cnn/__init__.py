"""The exercises on convolutional networks: what each asks, accepts, refuses and diagnoses; in homework order."""

from autograder.exercises.cnn import convolution, matrix, pooling, reach, residual, sizes, text

output_size = sizes.output_size
cross_correlation = convolution.cross_correlation
convolution_matrix = matrix.convolution_matrix
conv2d = convolution.conv2d
max_pool = pooling.max_pool
receptive_field = reach.receptive_field
phrase_features = text.phrase_features
residual_block = residual.residual_block
