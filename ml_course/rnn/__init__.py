"""Recurrent networks: a state that is carried from step to step, how it learns, what it forgets, what it can write.

Shapes: inputs `batch time features`, outputs `batch time hidden`, states `layers·directions batch hidden`.
"""

from ml_course.rnn.bptt import Gradients, backward_through_time, unroll
from ml_course.rnn.ctc import collapse, ctc_log_likelihood, greedy_labels
from ml_course.rnn.dynamics import graph_steps, influence, saved_bytes, spectral_radius, with_spectral_radius
from ml_course.rnn.elman import RNN, RNNCell
from ml_course.rnn.generation import generate, greedy, sampling, temperature, top_k, top_p
from ml_course.rnn.language import CarriedLoss, CharLM, Window, Windows, bits, nats_per_token, perplexity
from ml_course.rnn.moods import mood_sentences
from ml_course.rnn.ngrams import NGram
from ml_course.rnn.scan import add_weights, each, real_steps, scan, scan_layers, weights_of
from ml_course.rnn.shapes import ManyToMany, ManyToOne, OneToMany, OneToOne

__all__ = [
    "RNN",
    "CarriedLoss",
    "CharLM",
    "Gradients",
    "ManyToMany",
    "ManyToOne",
    "NGram",
    "OneToMany",
    "OneToOne",
    "RNNCell",
    "Window",
    "Windows",
    "add_weights",
    "backward_through_time",
    "bits",
    "collapse",
    "ctc_log_likelihood",
    "each",
    "generate",
    "graph_steps",
    "greedy",
    "greedy_labels",
    "influence",
    "mood_sentences",
    "nats_per_token",
    "perplexity",
    "real_steps",
    "sampling",
    "saved_bytes",
    "scan",
    "scan_layers",
    "spectral_radius",
    "temperature",
    "top_k",
    "top_p",
    "unroll",
    "weights_of",
    "with_spectral_radius",
]
