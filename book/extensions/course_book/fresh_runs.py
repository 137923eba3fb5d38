"""Runs a chapter anew when the course's code it imports has changed: the execution cache looks at its cells only."""

from ml_course.scripts import execution


def forget(app, config):
    app.stale_chapters = execution.forget_stale_runs()


def reread(app, env, added, changed, removed):
    return [f"book/{topic}" for topic in app.stale_chapters if f"book/{topic}" in env.found_docs]


def setup(app):
    app.connect("config-inited", forget)
    app.connect("env-get-outdated", reread)
