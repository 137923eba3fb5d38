"""The exercises on sequences to sequences: what each asks, accepts, refuses and diagnoses, in homework order."""

from autograder.exercises.seq2seq import alignment, distance, learning, overlap, search

em_step = alignment.em_step
teacher_forcing = learning.teacher_forcing
masked_cross_entropy = learning.masked_cross_entropy
beam_search = search.beam_search
clipped_matches = overlap.clipped_matches
bleu_score = overlap.bleu_score
character_error_rate = distance.character_error_rate
