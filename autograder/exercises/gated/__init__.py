"""The exercises on gated networks: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.gated import counting, directions, flow, sequences, steps

count_parameters = counting.count_parameters
memory_bias = counting.memory_bias
lstm_step = steps.lstm_step
gru_step = steps.gru_step
carry_state = sequences.carry_state
both_directions = directions.both_directions
cell_gradients = flow.cell_gradients
