"""The exercises on attention: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.attention import additive, dot_product, heads, masks, multi_head, softmax

stable_softmax = softmax.stable_softmax
scaled_dot_product = dot_product.scaled_dot_product
padding_mask = masks.padding_mask
causal_mask = masks.causal_mask
additive_score = additive.additive_score
split_heads = heads.split_heads
merge_heads = heads.merge_heads
multi_head_attention = multi_head.multi_head_attention
