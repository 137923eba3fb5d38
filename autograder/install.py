"""The first code cell of every generated notebook: in Colab it installs the course, elsewhere it does nothing."""

import importlib.metadata
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"

FROM_ADDRESS = """\
# Installs the course where it is missing (Colab, for instance); does nothing where it is there already.
try:
    import ml_course
except ImportError:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "git+{address}"], check=True)
"""

FROM_CLONE = """\
# Looks whether the course is installed.
try:
    import ml_course
except ImportError:
    raise ModuleNotFoundError(
        "the package ml_course is missing: run `pip install -e .` in your clone of the course, then restart the kernel"
    ) from None
"""


def repository(pyproject: Path = PYPROJECT) -> str:
    """Address of the repository from `[project.urls]`; empty while it has none."""
    if pyproject.is_file():
        return tomllib.loads(pyproject.read_text()).get("project", {}).get("urls", {}).get("Repository", "").rstrip("/")
    urls = importlib.metadata.metadata("ml-course").get_all("Project-URL") or []
    return next((url.split(", ", 1)[1].rstrip("/") for url in urls if url.startswith("Repository, ")), "")


def install_cell(address: str | None = None) -> str:
    """Source of the cell. Plain Python, no magics, so that it runs in any process that runs cells.

    >>> print(install_cell("https://example.org/course").splitlines()[-1].strip())
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "git+https://example.org/course"], check=True)
    """
    address = repository() if address is None else address
    return (FROM_ADDRESS.format(address=address) if address else FROM_CLONE).rstrip("\n")
