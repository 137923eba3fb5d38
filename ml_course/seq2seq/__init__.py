r"""From sequence to sequence: alignment by counting, encoder and decoder, beam search, pieces of words, BLEU."""

from ml_course.seq2seq.beam import Beams, beam_search, length_normalised, times_over, translations
from ml_course.seq2seq.bleu import (
    Bleu,
    bleu,
    brevity_penalty,
    clipped_matches,
    edit_distance,
    error_rate,
    exact_match,
    ngrams,
    sentence_bleu,
)
from ml_course.seq2seq.bpe import BPE
from ml_course.seq2seq.decoder import Decoder, Readout
from ml_course.seq2seq.encoder import Encoder, Source
from ml_course.seq2seq.ibm import NULL, Model1, alignment_posterior, em_step
from ml_course.seq2seq.losses import inverse_sigmoid, masked_cross_entropy, shift
from ml_course.seq2seq.model import EncoderDecoder, Seq2SeqConfig

__all__ = [
    "BPE",
    "NULL",
    "Beams",
    "Bleu",
    "Decoder",
    "Encoder",
    "EncoderDecoder",
    "Model1",
    "Readout",
    "Seq2SeqConfig",
    "Source",
    "alignment_posterior",
    "beam_search",
    "bleu",
    "brevity_penalty",
    "clipped_matches",
    "edit_distance",
    "em_step",
    "error_rate",
    "exact_match",
    "inverse_sigmoid",
    "length_normalised",
    "masked_cross_entropy",
    "ngrams",
    "sentence_bleu",
    "shift",
    "times_over",
    "translations",
]
