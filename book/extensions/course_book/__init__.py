"""What this book adds to Jupyter Book: loaded through `sphinx: local_extensions` in _config.yml."""

import hashlib
from importlib import import_module
from pathlib import Path

PARTS = (
    "bibliography",
    "chapter_map",
    "formulas",
    "fresh_runs",
    "lectures",
    "live",
    "mistakes",
    "no_third_parties",
    "publishing",
    "reading",
    "repository",
    "search",
    "systems",
    "themes",
    "translation",
    "accessible",
)


def digest():
    """Of these very files: the pages they have made are made again when one of them changes."""
    sources = sorted(Path(__file__).parent.glob("*.*"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def setup(app):
    for part in PARTS:
        import_module(f"course_book.{part}").setup(app)
    app.add_config_value("course_book_digest", digest(), "env")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
