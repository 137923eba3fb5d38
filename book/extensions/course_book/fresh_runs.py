"""Runs a chapter anew when the course's code it imports has changed: the execution cache looks at its cells only."""

from ml_course.scripts import execution


def forget(app, config):
    execution.forget_stale_runs()


def reread(app, env, added, changed, removed):
    """The pages that were made from runs with other code, whoever has run their chapters since."""
    made, current = getattr(env, "chapter_fingerprints", {}), execution.kept_fingerprints()
    env.chapter_fingerprints = current  # kept with all else that Sphinx knows of the pages
    pages = {f"book/{topic}" for topic, mark in current.items() if made.get(topic) != mark}
    return sorted(pages & env.found_docs)


def setup(app):
    app.connect("config-inited", forget)
    app.connect("env-get-outdated", reread)
