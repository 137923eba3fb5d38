r"""Texts: plain, labelled, and in pairs; the files of public data sets, and any of the same form."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ml_course.data.published import MULTI30K, RT_POLARITY, TINYSHAKESPEARE
from ml_course.data.sources import locate


@dataclass(frozen=True)
class LabelledTexts:
    r"""Texts, each of one class."""

    texts: tuple[str, ...]
    labels: Int[np.ndarray, " samples"]  # 0 … classes − 1
    classes: tuple[str, ...] = ()  # name of each label

    def __len__(self) -> int:
        return len(self.texts)

    def rows(self, chosen: np.ndarray) -> LabelledTexts:
        r"""The samples at these numbers, or where these bools are True."""
        return replace(self, texts=_chosen(self.texts, chosen), labels=self.labels[chosen])

    def contents(self) -> np.ndarray:
        r"""What makes two samples the same, for `split`."""
        return np.array(self.texts)


@dataclass(frozen=True)
class Pairs:
    r"""Texts, each with what it shall become: `for source, target in pairs`."""

    sources: tuple[str, ...]
    targets: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.targets):
            raise ValueError(f"sources has {len(self.sources)} texts, targets {len(self.targets)}: expected as many")

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.sources, self.targets, strict=True)

    def rows(self, chosen: np.ndarray) -> Pairs:
        r"""The pairs at these numbers, or where these bools are True."""
        return Pairs(_chosen(self.sources, chosen), _chosen(self.targets, chosen))

    def contents(self) -> np.ndarray:
        r"""What makes two pairs the same, for `split`: their source."""
        return np.array(self.sources)


def text_file(path: str | os.PathLike, encoding: str = "utf-8") -> str:
    r"""All of a text file, plain or packed by gzip; every kind of line end becomes "\n".

    Raises: ValueError when gzip cannot unpack it, or its bytes are not text in this encoding.
    """
    path = Path(path)
    packed = path.read_bytes()
    try:
        text = (gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed).decode(encoding)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is truncated or altered: gzip cannot unpack it ({error}); fetch it anew") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not {encoding}: byte {error.object[error.start]:#04x} at {error.start:,}; name its encoding"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def labelled_sentences(files: Mapping[str, str | os.PathLike], encoding: str = "utf-8") -> LabelledTexts:
    r"""One sentence a line and one file a class; the classes are numbered in the order given.

    files   name of the class → its file; empty lines are left out
    Raises: ValueError as `text_file`.
    """
    texts, labels = [], []
    for label, path in enumerate(files.values()):
        sentences = [line.strip() for line in text_file(path, encoding).split("\n") if line.strip()]
        texts += sentences
        labels += [label] * len(sentences)
    return LabelledTexts(tuple(texts), np.array(labels, dtype=np.int64), tuple(files))


def parallel_text(
    source: str | os.PathLike, target: str | os.PathLike, encoding: str = "utf-8", limit: int | None = None
) -> Pairs:
    r"""Two files whose lines say the same in two languages, line by line.

    limit   how many pairs, from the first; all when None. Pairs with an empty side are left out after that.
    Raises: ValueError when the files differ in their number of lines, or as `text_file`.
    """
    sides = [text_file(path, encoding).removesuffix("\n").split("\n") for path in (source, target)]
    if len(sides[0]) != len(sides[1]):
        raise ValueError(
            f"{source} has {len(sides[0]):,} lines, {target} {len(sides[1]):,}: expected as many; fetch them anew"
        )
    pairs = [(a.strip(), b.strip()) for a, b in zip(*sides, strict=True)][:limit]
    kept = [pair for pair in pairs if all(pair)]
    return Pairs(tuple(a for a, _ in kept), tuple(b for _, b in kept))


def rt_polarity(folder: str | os.PathLike | None = None) -> LabelledTexts:
    r"""10,662 sentences from film reviews, half negative (0), half positive (1); tokens stand apart, in small letters.

    There is no official test part: `split` it, or take folds as kim2014convolutional did.
    folder   as `ml_course.data.sources` says; downloads 1.2 MB when None and nothing is here
    Raises: FileNotFoundError, ValueError as `locate`. Source: pang2005seeing.
    """
    files = {"negative": "rt-polarity.neg", "positive": "rt-polarity.pos"}
    return labelled_sentences({kind: locate(RT_POLARITY, file, folder) for kind, file in files.items()}, "latin-1")


def tinyshakespeare(folder: str | os.PathLike | None = None) -> str:
    r"""1.1 MB of Shakespeare's plays, the text on which small character language models are usually compared.

    folder   as `ml_course.data.sources` says
    Raises: FileNotFoundError, ValueError as `locate`. Source: karpathy2015unreasonable.
    """
    return text_file(locate(TINYSHAKESPEARE, "input.txt", folder))


def multi30k(
    folder: str | os.PathLike | None = None, source: str = "en", target: str = "de", limit: int | None = None
) -> dict[str, Pairs]:
    r"""Descriptions of photographs in English and German: 29,000 pairs "train", 1,014 "validation", 1,000 "test".

    source, target   "en" or "de"
    limit            how many pairs of the training part; all when None
    folder           as `ml_course.data.sources` says; downloads 1.3 MB when None and nothing is here
    Raises: ValueError for another language; FileNotFoundError, ValueError as `locate`. Source: elliott2016multi30k.
    """
    for name, language in (("source", source), ("target", target)):
        if language not in ("en", "de"):
            raise ValueError(f"{name} = {language!r}, expected 'en' or 'de'")

    def part(name: str, limit: int | None = None) -> Pairs:
        return parallel_text(*(locate(MULTI30K, f"{name}.{side}.gz", folder) for side in (source, target)), limit=limit)

    return {"train": part("train", limit), "validation": part("val"), "test": part("test_2016_flickr")}


def _chosen(texts: tuple[str, ...], chosen: np.ndarray) -> tuple[str, ...]:
    """What NumPy's indexing would take from an array of these, as a tuple of plain strings."""
    return tuple(texts[i] for i in np.arange(len(texts))[chosen].tolist())
