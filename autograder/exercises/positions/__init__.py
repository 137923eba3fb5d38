"""The exercises on positions: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.positions import alibi, buckets, lengths, offsets, rotary

rotate = rotary.rotate
rotary_attention = rotary.rotary_attention
alibi_bias = alibi.alibi_bias
relative_buckets = buckets.relative_buckets
bucket_bias = buckets.bucket_bias
shaw_attention = offsets.shaw_attention
loss_by_length = lengths.loss_by_length
