"""Vectors for words: learned from the company they keep, and computed from the sentence they stand in.

Words are numbered by `ml_course.text.Vocabulary`, whose number 0 is filler. Masks are bool, True = a real word.
"""

from ml_course.elmo.characters import CharacterCNN, Spelled, spell, spell_sentences
from ml_course.elmo.contexts import (
    Pairs,
    cbow_contexts,
    keep_probability,
    noise_distribution,
    skipgram_pairs,
    subsample,
    word_counts,
)
from ml_course.elmo.corpus import (
    QuotedTexts,
    kingdom,
    kingdom_questions,
    quoted_words,
    reference_sentences,
    sense_examples,
)
from ml_course.elmo.counting import (
    GloVe,
    cooccurrences,
    glove_weight,
    learn_glove,
    pointwise_mutual_information,
)
from ml_course.elmo.highway import Highway, highway
from ml_course.elmo.language import (
    BidirectionalLM,
    Sentences,
    Targets,
    language_model_batch,
    language_model_targets,
    nats_per_word,
)
from ml_course.elmo.mix import MixTagger, ScalarMix, scalar_mix
from ml_course.elmo.model import Elmo, ElmoConfig
from ml_course.elmo.neighbours import analogy, cosine, nearest, unit
from ml_course.elmo.tower import ProjectedLSTM, Tower
from ml_course.elmo.word2vec import CBOW, SkipGram, learn_vectors, negative_sampling_loss

__all__ = [
    "CBOW",
    "BidirectionalLM",
    "CharacterCNN",
    "Elmo",
    "ElmoConfig",
    "GloVe",
    "Highway",
    "MixTagger",
    "Pairs",
    "ProjectedLSTM",
    "QuotedTexts",
    "ScalarMix",
    "Sentences",
    "SkipGram",
    "Spelled",
    "Targets",
    "Tower",
    "analogy",
    "cbow_contexts",
    "cooccurrences",
    "cosine",
    "glove_weight",
    "highway",
    "keep_probability",
    "kingdom",
    "kingdom_questions",
    "language_model_batch",
    "language_model_targets",
    "learn_glove",
    "learn_vectors",
    "nats_per_word",
    "nearest",
    "negative_sampling_loss",
    "noise_distribution",
    "pointwise_mutual_information",
    "quoted_words",
    "reference_sentences",
    "scalar_mix",
    "sense_examples",
    "skipgram_pairs",
    "spell",
    "spell_sentences",
    "subsample",
    "unit",
    "word_counts",
]
