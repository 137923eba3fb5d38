r"""BERT and RoBERTa: word pieces, an encoder that reads both ways, what it is taught with, and what is put on top."""

from ml_course.bert.corruption import IGNORED, Corrupted, Pair, corrupt, full_sentences, sentence_pairs
from ml_course.bert.heads import (
    Classifier,
    MaskedLM,
    NextSentence,
    Pretraining,
    SpanFinder,
    SpanLogits,
    Tagger,
    VocabularyHead,
    best_spans,
    first_pieces,
    span_loss,
)
from ml_course.bert.learning import join_pieces, learn_pieces, log_likelihood, spell_pieces
from ml_course.bert.model import Bert, BertConfig, BertEmbedding, mean_over_text, sentence_embeddings
from ml_course.bert.normaliser import normalise, split_words
from ml_course.bert.pretrained import pretrained_folder
from ml_course.bert.pretraining import (
    PretrainingBatch,
    PretrainingBatches,
    Scores,
    SmallBert,
    pretraining_loss,
    pretraining_scores,
    reference_documents,
    small_bert,
)
from ml_course.bert.wordpiece import SPECIAL, Inputs, WordPiece, join, longest_match, shorten

__all__ = [
    "IGNORED",
    "SPECIAL",
    "Bert",
    "BertConfig",
    "BertEmbedding",
    "Classifier",
    "Corrupted",
    "Inputs",
    "MaskedLM",
    "NextSentence",
    "Pair",
    "Pretraining",
    "PretrainingBatch",
    "PretrainingBatches",
    "Scores",
    "SmallBert",
    "SpanFinder",
    "SpanLogits",
    "Tagger",
    "VocabularyHead",
    "WordPiece",
    "best_spans",
    "corrupt",
    "first_pieces",
    "full_sentences",
    "join",
    "join_pieces",
    "learn_pieces",
    "log_likelihood",
    "longest_match",
    "mean_over_text",
    "normalise",
    "pretrained_folder",
    "pretraining_loss",
    "pretraining_scores",
    "reference_documents",
    "sentence_embeddings",
    "sentence_pairs",
    "shorten",
    "small_bert",
    "span_loss",
    "spell_pieces",
    "split_words",
]
