"""Convolutional networks: one small set of weights looks at every place of a picture, or of a sentence.

Pictures are (batch, channels, height, width), sequences (batch, channels, time).
`engine_conv` holds the convolution for the autodiff engine of `backprop`.
"""

from ml_course.cnn.alexnet import AlexNet, AlexNetConfig
from ml_course.cnn.convolution import conv1d, conv2d, convolution_matrix, flip, output_size, windows
from ml_course.cnn.equivariance import equivariance_error, shift
from ml_course.cnn.layers import Conv2d, ResidualBlock
from ml_course.cnn.lenet import LeNet5, LeNet5Config
from ml_course.cnn.pooling import avg_pool2d, max_over_time, max_pool2d
from ml_course.cnn.receptive import influence, layers_to_span, measured_receptive_field, receptive_field
from ml_course.cnn.textcnn import TextCNN

__all__ = [
    "AlexNet",
    "AlexNetConfig",
    "Conv2d",
    "LeNet5",
    "LeNet5Config",
    "ResidualBlock",
    "TextCNN",
    "avg_pool2d",
    "conv1d",
    "conv2d",
    "convolution_matrix",
    "equivariance_error",
    "flip",
    "influence",
    "layers_to_span",
    "max_over_time",
    "max_pool2d",
    "measured_receptive_field",
    "output_size",
    "receptive_field",
    "shift",
    "windows",
]
