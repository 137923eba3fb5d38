"""What this machine has and what is missing, a line each."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST_PYTHON = (3, 11)
EXTRAS = {
    "book": ("jupyter_book", "jupytext", "jupyter_cache"),
    "grade": ("nbgrader", "nbclient", "jupytext", "tqdm"),
    "test": ("pytest", "hypothesis", "beartype", "playwright"),
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True)
class Finding:
    """One line: `bad` findings make `autograder doctor` exit with 1, others only inform."""

    name: str
    told: str
    bad: bool = False


def examine() -> int:
    """Print every finding; 0 when nothing is bad, else 1."""
    findings = list(all_findings())
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'✗' if finding.bad else '✓'} {finding.name.ljust(width)}  {finding.told}")
    return 1 if any(finding.bad for finding in findings) else 0


def all_findings() -> Iterator[Finding]:
    yield python()
    yield from accelerator()
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        told = f"missing {', '.join(missing)}: pip install -e '.[{extra}]'" if missing else "installed"
        yield Finding(f"extra {extra}", told)
    yield cage()
    found = browser()
    yield Finding("Chromium", found or "none: the tests of the pages will be skipped")
    yield from pinned()
    yield stranger()


def python() -> Finding:
    told = f"{platform.python_version()} on {platform.system()}, {os.cpu_count()} cores"
    if sys.version_info < LEAST_PYTHON:
        return Finding("Python", f"{told}; at least 3.11 is needed", bad=True)
    return Finding("Python", told)


def accelerator() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        yield Finding("torch", "not installed: pip install -e .", bad=True)
        return
    import torch

    devices = ["cpu"]
    devices += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    yield Finding("torch", f"{torch.__version__}; devices: {', '.join(devices)}")


def cage() -> Finding:
    """What locks a student's process in when it is graded."""
    try:
        from autograder.grading import cage as walls
    except ImportError:
        return Finding("cage", "cannot tell: pip install -e '.[grade]'")
    kind = walls.offered()
    if kind is None:
        return Finding("cage", "none: grading refuses to start unless told --unsafe (Linux has one)")
    more = [f"Landlock ABI {walls.landlock_version()}"] if walls.landlock_version() else []
    more += ["seccomp"] if walls.prepare_filter() else []
    return Finding("cage", " + ".join([kind, *more]))


def browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def constraints(path: Path = ROOT / "constraints.txt") -> dict[str, str]:
    """The exact versions everything was tested with."""
    if not path.is_file():
        return {}
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==", 1) for line in lines if "==" in line)


def pinned() -> Iterator[Finding]:
    wanted = constraints()
    if not wanted:
        yield Finding("versions", "no constraints.txt here: run this in a clone of the course to compare")
        return
    other = []
    for name, version in wanted.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed.split("+")[0] != version:
            other.append(f"{name} {installed} (tested: {version})")
    yield Finding("versions", f"differ from constraints.txt: {', '.join(other)}" if other else "as in constraints.txt")


def stranger() -> Finding:
    """PyPI has an unrelated distribution called `autograder`; ours is `ml-course`."""
    names = {
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        for distribution in importlib.metadata.distributions()
    }
    if "autograder" in names:
        return Finding(
            "autograder", "a stranger's package of that name is installed: pip uninstall autograder", bad=True
        )
    return Finding("autograder", "ours (distribution ml-course)" if "ml-course" in names else "run from its folder")
