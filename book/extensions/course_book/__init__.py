"""What this book adds to Jupyter Book: loaded through `sphinx: local_extensions` in _config.yml."""

from importlib import import_module

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


def setup(app):
    for part in PARTS:
        import_module(f"course_book.{part}").setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
