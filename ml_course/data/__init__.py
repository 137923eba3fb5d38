r"""Data for every chapter: small real sets that need no network, loaders of public files, ways to split them."""

from ml_course.data.images import Images, fashion_mnist, mnist, read_idx, sample_photographs
from ml_course.data.listops import listops
from ml_course.data.names import dates, name_pairs, names_by_language
from ml_course.data.points import Dataset, breast_cancer, digits, iris
from ml_course.data.reference import reference_text, reference_topics
from ml_course.data.series import sine_waves, sunspot_like
from ml_course.data.splitting import Split, split, split_by_key, standardise
from ml_course.data.texts import (
    LabelledTexts,
    Pairs,
    labelled_sentences,
    multi30k,
    parallel_text,
    rt_polarity,
    text_file,
    tinyshakespeare,
)

__all__ = [
    "Dataset",
    "Images",
    "LabelledTexts",
    "Pairs",
    "Split",
    "breast_cancer",
    "dates",
    "digits",
    "fashion_mnist",
    "iris",
    "labelled_sentences",
    "listops",
    "mnist",
    "multi30k",
    "name_pairs",
    "names_by_language",
    "parallel_text",
    "read_idx",
    "reference_text",
    "reference_topics",
    "rt_polarity",
    "sample_photographs",
    "sine_waves",
    "split",
    "split_by_key",
    "standardise",
    "sunspot_like",
    "text_file",
    "tinyshakespeare",
]
