"""The exercises on BERT: what each asks, accepts, refuses and diagnoses. They stand in homework order."""

from autograder.exercises.bert import corruption, heads, inputs, pairs, pieces

word_pieces = pieces.word_pieces
build_inputs = inputs.build_inputs
embed_inputs = inputs.embed_inputs
corrupt_tokens = corruption.corrupt_tokens
masked_loss = corruption.masked_loss
sentence_pairs = pairs.sentence_pairs
classify = heads.classify
best_span = heads.best_span
