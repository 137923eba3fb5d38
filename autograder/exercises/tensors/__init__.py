"""The exercises on tools: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.tensors import arrays, intervals, measures, splits, surprise

batched_matmul = arrays.batched_matmul
squared_distances = arrays.squared_distances
log_sum_exp = surprise.log_sum_exp
cross_entropy = surprise.cross_entropy
precision_recall = measures.precision_recall
grouped_split = splits.grouped_split
bootstrap_interval = intervals.bootstrap_interval
