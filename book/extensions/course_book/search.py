"""The order of what the search finds: search.js has it, and Sphinx puts that into the search page's script."""

from pathlib import Path


def name_scorer(app, config):
    config.html_search_scorer = str(Path(__file__).with_suffix(".js"))  # Sphinx would look from where one stands


def setup(app):
    app.connect("config-inited", name_scorer)
