"""The perceptron's exercises: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.perceptron import activations, learning, networks, neuron, softmax_regression

neuron_output = neuron.neuron_output
learning_step = learning.learning_step
fit = learning.fit
leaky_relu = activations.leaky_relu
two_layer_forward = networks.two_layer_forward
xor_network = networks.xor_network
softmax_regression_gradient = softmax_regression.softmax_regression_gradient
