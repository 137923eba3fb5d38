"""The exercises on pretraining objectives: what each asks, accepts, refuses and diagnoses, in homework order."""

from autograder.exercises.objectives import merging, permuting, preferring, shifting, spans

causal_shift = shifting.causal_shift
corrupt_spans = spans.corrupt_spans
restore_spans = spans.restore_spans
permutation_masks = permuting.permutation_masks
two_streams = permuting.two_streams
merge_once = merging.merge_once
dpo_loss = preferring.dpo_loss
