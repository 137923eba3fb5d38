r"""Downloads from mirrors: the first that sends the right bytes wins."""

from __future__ import annotations

from pathlib import Path

import pooch
import requests

from ml_course.data.sources import Source

# A server that packs what it sends would have it unpacked on the way, and .gz files changed.
AS_IT_IS = {"Accept-Encoding": "identity"}
SECONDS = 20  # without a sign of life from a mirror


def download(source: Source, file: str, cache: Path) -> Path:
    r"""The file, in a folder called as the source below `cache`; shows a progress bar.

    Each mirror is asked twice. What arrives is kept only when its SHA-256 is right; a broken download leaves nothing.
    Raises: FileNotFoundError when no mirror sends the right file; it says what each did, and what to do.
    """
    folder, expected, failures = cache / source.name, source.files[file], []
    pooch.get_logger().setLevel("WARNING")  # the progress bar says it all
    get = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, headers=AS_IT_IS, timeout=SECONDS)
    for mirror in source.mirrors:
        fetcher = pooch.create(folder, mirror, registry={file: f"sha256:{expected.sha256}"}, retry_if_failed=1)
        try:
            return Path(fetcher.fetch(file, downloader=get))
        except (OSError, ValueError, requests.RequestException) as error:
            failures.append(f"{mirror.split('/')[2]}: {_in_short(error)}")
    raise FileNotFoundError(
        f"{file} is not here and could not be downloaded ({'; '.join(failures)}): "
        f"put it into {folder}, or into a folder {source.name}/ and name the folder around it in ML_COURSE_DATA"
    )


def _in_short(error: Exception) -> str:
    """A few words for what requests and pooch say in whole paragraphs."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"answered {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "broke off"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, ValueError) and "hash" in str(error):
        return "sent an altered file"
    return f"{type(error).__name__}"
