"""The book built a second time with nothing changed, against a cold build: every chapter run, every page made.

Both are `jupyter-book build` on a copy of the course, each in a new process, start-up included; the cold one once, for
it takes about ten minutes. `make book` does not even begin a second build: it compares dates of files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import ratios

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["book", "ml_course", "autograder", "solutions", "benchmarks", "tests"]
SETTINGS = ["_config.yml", "_toc.yml", "pyproject.toml"]
AGAIN = 5


def copied(place: Path) -> Path:
    """The sources of the book in a new folder, without anything that a build has left."""
    for name in [*SOURCES, *SETTINGS]:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place / name)
    return place


def building(place: Path) -> Callable[[], Any]:
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", "."]
    surroundings = os.environ | {"PYTHONPATH": str(place)}

    def build() -> None:
        done = subprocess.run(command, cwd=place, env=surroundings, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"the copy of the book does not build:\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}")

    return build


def measure(large: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        build = building(copied(Path(folder) / "course"))
        cold = ratios.wall(build)
        again = ratios.interleaved({"again": build}, AGAIN, warm_up=0)["again"]
    return [ratios.row("rebuild with nothing changed", again, [cold] * len(again), "of a cold build")]
