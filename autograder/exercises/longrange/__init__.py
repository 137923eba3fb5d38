"""The exercises on long inputs: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.longrange import aft, blocks, features, merging, reformer, sparse

merge_parts = merging.merge_parts
blockwise_attention = blocks.blockwise_attention
sparse_mask = sparse.sparse_mask
hash_buckets = reformer.hash_buckets
invert_layer = reformer.invert_layer
linear_recurrence = features.linear_recurrence
positive_features = features.positive_features
aft_full = aft.aft_full
