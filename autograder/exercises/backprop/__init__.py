"""Backpropagation's exercises: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.backprop import (
    broadcasting,
    checking,
    graph,
    losses,
    optimising,
    regularising,
    rules,
    starting,
)

rule = rules.rule
unbroadcast = broadcasting.unbroadcast
topological_order = graph.topological_order
softmax_cross_entropy = losses.softmax_cross_entropy
gradient_check = checking.gradient_check
adam_step = optimising.adam_step
he_normal = starting.he_normal
dropout = regularising.dropout
batch_norm_backward = regularising.batch_norm_backward
