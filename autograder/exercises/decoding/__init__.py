"""The exercises on fast generation: what they ask, accept, refuse and name. They stand in homework order."""

from autograder.exercises.decoding import counting, guessing, remembering, sharing, writing

cache_bytes = counting.cache_bytes
append = remembering.append
cached_attention = remembering.cached_attention
grouped_attention = sharing.grouped_attention
accept = guessing.accept
residual_distribution = guessing.residual_distribution
speed_up = counting.speed_up
greedy_speculation = writing.greedy_speculation
