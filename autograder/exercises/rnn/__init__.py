"""The exercises on recurrent networks: what they ask, accept, refuse and name. They stand in homework order."""

from autograder.exercises.rnn import clipping, forward, speech, through_time, writing

step = forward.step
sequence = forward.sequence
bptt = through_time.bptt
clip_gradients = clipping.clip_gradients
nucleus = writing.nucleus
perplexity = writing.perplexity
ctc_probability = speech.ctc_probability
