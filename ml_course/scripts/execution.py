"""Runs chapters through the book's own execution cache, so that a chapter runs once however many readers it has.

The cache (jupyter-cache, in _build/.jupyter_cache) knows a chapter by the text of its cells alone. A fingerprint of the
course's code that the chapter imports is kept beside it, and a run made with other code is forgotten.

python -m ml_course.scripts.execution    runs every chapter that is not in the cache, as many at once as there are cores
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from functools import cache
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from jupyter_cache.executors.utils import single_nb_execution
from myst_nb.core.read import read_myst_markdown_notebook
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[2]
SECONDS_A_CELL = 300
OURS = ("ml_course", "benchmarks")
PLAYED = "skip-execution"  # tag of a cell with sliders: the book's builder would skip it, a notebook's reader runs it


def read_chapter(topic: str, root: Path = ROOT) -> nbformat.NotebookNode:
    """The chapter as a notebook, cell for cell as the book's builder reads it; its Markdown is still MyST."""
    return read_myst_markdown_notebook((root / "book" / f"{topic}.md").read_text())


def run_chapter(topic: str, root: Path = ROOT) -> nbformat.NotebookNode:
    """The chapter with its outputs: from the cache where they are in it, else it is run, in book/, and cached."""
    found = cached_chapter(topic, root)
    if found is not None:
        return found
    forget_stale_runs(root)
    return _keep(*_run(topic, root), root)


def run_all(root: Path = ROOT) -> None:
    """Runs the chapters that are not in the cache, as many at once as there are cores.

    Raises: RuntimeError with the cell that does not run and its traceback.
    """
    forget_stale_runs(root)
    waiting = [path.stem for path in chapter_files(root) if cached_chapter(path.stem, root) is None]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # the work is done in the kernels, which are processes
        runs = [pool.submit(_run, topic, root) for topic in waiting]
        try:
            for run in tqdm(as_completed(runs), "chapters run", len(runs), disable=not runs):
                _keep(*run.result(), root)
        finally:
            pool.shutdown(cancel_futures=True)


def _run(topic: str, root: Path) -> tuple[Path, nbformat.NotebookNode, float]:
    """Runs the chapter, in book/. Cells with sliders are run, too, and what they show is left out."""
    path, notebook = root / "book" / f"{topic}.md", read_chapter(topic, root)
    options = dict(skip_cells_with_tag="no cell is skipped", extra_arguments=["--log-level=ERROR"])
    result = single_nb_execution(notebook, str(path.parent), SECONDS_A_CELL, allow_errors=False, **options)
    if result.err is not None:
        raise RuntimeError(f"book/{topic}.md does not run:\n{result.exc_string}")
    for cell in notebook.cells:
        if PLAYED in cell.metadata.get("tags", []):
            cell.outputs, cell.execution_count = [], None
    return path, notebook, result.time


def _keep(path: Path, notebook: nbformat.NotebookNode, seconds: float, root: Path) -> nbformat.NotebookNode:
    bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": seconds})
    _cache(root).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return notebook


def cached_chapter(topic: str, root: Path = ROOT) -> nbformat.NotebookNode | None:
    """The chapter with its outputs if a run with today's code is in the cache, else nothing."""
    kept = kept_fingerprints(root).get(topic)
    if not cache_folder(root).is_dir() or kept != fingerprint(topic, root):
        return None
    with suppress(KeyError):
        return _cache(root).merge_match_into_notebook(read_chapter(topic, root))[1]
    return None


def forget_stale_runs(root: Path = ROOT) -> list[str]:
    """Drops cached runs made with other code than today's and returns their topics."""
    kept, stale = kept_fingerprints(root), []
    current = {path.stem: fingerprint(path.stem, root) for path in chapter_files(root)}
    for topic, mark in current.items():
        if kept.get(topic) != mark:
            stale.append(topic)
            with suppress(KeyError):
                record = _cache(root).match_cache_notebook(read_chapter(topic, root))
                _cache(root).remove_cache(record.pk)
    if stale or kept.keys() != current.keys():
        cache_folder(root).mkdir(parents=True, exist_ok=True)
        _fingerprint_file(root).write_text(json.dumps(current, indent=1, sort_keys=True) + "\n")
    return stale


def chapter_files(root: Path = ROOT) -> list[Path]:
    """Sources in book/ that are executed: those whose header names a kernel."""
    return [path for path in sorted((root / "book").glob("*.md")) if "kernelspec:" in path.read_text()[:1000]]


def fingerprint(topic: str, root: Path = ROOT) -> str:
    """A hash of every file of ours that the chapter's cells import, directly or through another, or name as "../…"."""
    cells = [cell.source for cell in read_chapter(topic, root).cells if cell.cell_type == "code"]
    waiting = ["\n".join(cells)]
    named = (root / "book" / name for name in re.findall(r'"(\.\./[\w./-]+)"', waiting[0]))
    seen = {path.resolve() for path in named if path.is_file()}
    while waiting:
        for path in _imported_files(waiting.pop(), root) - seen:
            seen.add(path)
            waiting.append(path.read_text())
    digest = hashlib.sha256()
    for path in sorted(seen):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def cache_folder(root: Path = ROOT) -> Path:
    return root / "_build" / ".jupyter_cache"


def _cache(root: Path) -> JupyterCacheBase:
    return get_cache(cache_folder(root))


def _fingerprint_file(root: Path) -> Path:
    return cache_folder(root) / "fingerprints.json"


def kept_fingerprints(root: Path = ROOT) -> dict[str, str]:
    """Of each chapter, the code that its cached run was made with."""
    with suppress(FileNotFoundError, ValueError):
        return json.loads(_fingerprint_file(root).read_text())
    return {}


def _tree(source: str) -> ast.AST:
    """Syntax tree; cells may hold magics, which Python cannot parse, so those lines go."""
    return ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines()))


@cache  # every chapter is looked at for every other, and most of them import the same files
def _imported_files(source: str, root: Path) -> frozenset[Path]:
    names = set()
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    files = set()
    for name in names:
        if name.split(".")[0] in OURS:
            path = root.joinpath(*name.split("."))
            inside = path.glob("*.py") if path.parent != root else [path / "__init__.py"]
            files |= {file for file in [path.with_suffix(".py"), *inside] if file.is_file()}
    return frozenset(files)


if __name__ == "__main__":
    try:
        run_all()
    except RuntimeError as error:
        sys.exit(str(error))
