"""Loads the scripts of the figures a reader can touch, on the pages that have some: `ml_course.plots.live`."""

import re

FIGURE = re.compile(r'<div class="live" data-figure="([\w-]+)">')


def add_scripts(app, pagename, templatename, context, doctree):
    figures = list(dict.fromkeys(FIGURE.findall(context.get("body", ""))))
    for name in ["live", *figures] if figures else []:
        app.add_js_file(f"live/{name}.js", loading_method="defer")


def setup(app):
    app.connect("html-page-context", add_scripts)
