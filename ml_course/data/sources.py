r"""Where files of public data sets come from: a folder of yours, this machine's cache, or a mirror; always checked.

A file counts as itself only when its SHA-256 is the known one. What is missing is looked for, in this order, in the
folder given, or else below the one that the environment variable ML_COURSE_DATA names (`mnist/…`, `rt-polarity/…`), in
the cache (below ML_COURSE_CACHE, or the system's folder for caches), and on the mirrors. What a mirror sends goes into
the cache.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class File:
    r"""What a file must be: its length in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Source:
    r"""A public data set: its folder's name, its files, and the addresses below which they lie, best first."""

    name: str
    files: Mapping[str, File]
    mirrors: tuple[str, ...]


def locate(source: Source, file: str, folder: str | os.PathLike | None = None) -> Path:
    r"""Path of one of a source's files, checked; downloads it when no folder is given and it is not here yet.

    folder   holds the file, or holds a folder called as the source that does; nothing else is tried then

    Raises: FileNotFoundError when the file is nowhere and no mirror sends it; ValueError when it is here, but
    truncated or altered.
    """
    if path := found(source, file, folder):
        return check(path, source.files[file])
    if folder is not None:
        raise FileNotFoundError(f"{file} is not in {folder}, nor in {source.name}/ there: copy it there")
    from ml_course.data import mirrors  # its libraries take a tenth of a second to import, and are seldom needed

    return mirrors.download(source, file, cache())


def is_here(source: Source, file: str, folder: str | os.PathLike | None = None) -> bool:
    r"""Whether `locate` would find the file without a download."""
    return found(source, file, folder) is not None


def check(path: Path, expected: File) -> Path:
    r"""The path, if the file is what it must be.

    Raises: ValueError when its length or its SHA-256 differs; the line says what to do.
    """
    size = path.stat().st_size
    if size != expected.size:
        what = "truncated" if size < expected.size else "altered"
        raise ValueError(f"{path} is {what}: {size:,} bytes, expected {expected.size:,}; delete it and fetch it anew")
    with open(path, "rb") as opened:
        came = hashlib.file_digest(opened, "sha256").hexdigest()
    if came != expected.sha256:
        raise ValueError(
            f"{path} is altered: its SHA-256 is {came[:12]}…, expected {expected.sha256[:12]}…; "
            "delete it and fetch it anew"
        )
    return path


def cache() -> Path:
    r"""The folder where downloads are kept; the environment variable ML_COURSE_CACHE may name another."""
    return Path(os.environ.get("ML_COURSE_CACHE") or platformdirs.user_cache_dir("ml-course"))


def found(source: Source, file: str, folder: str | os.PathLike | None) -> Path | None:
    r"""Where a file of this name lies, unchecked: in the folder given, else in ML_COURSE_DATA or the cache."""
    if folder is not None:
        places = [Path(folder) / source.name, Path(folder)]
    else:
        places = [Path(place) / source.name for place in (os.environ.get("ML_COURSE_DATA"), cache()) if place]
    return next((place / file for place in places if (place / file).is_file()), None)
