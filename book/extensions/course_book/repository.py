"""A page's links to the notebook it offers; and to Colab, Binder and the repository where its address is known.

COURSE_REPOSITORY   address of the repository, e.g. https://github.com/owner/name; without it those buttons are absent
COURSE_BRANCH       the branch they lead to, `main` where not given
Colab and Binder open the generated notebooks: they cannot open the .md the pages are made from.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

from sphinx.errors import ExtensionError
from sphinx.util import logging

from ml_course.scripts import chapters

logger = logging.getLogger(__name__)
GITHUB = re.compile(r"https://github\.com/(?P<path>[\w.-]+/[\w.-]+?)(?:\.git)?/?")


def add_repository(app, config):
    address = os.environ.get("COURSE_REPOSITORY", "").strip()
    if not address:
        return
    match = GITHUB.fullmatch(address)
    if not match:
        raise ExtensionError(f"COURSE_REPOSITORY = {address!r} is not of the form https://github.com/owner/name")
    app.course_repository = match["path"]
    app.course_branch = os.environ.get("COURSE_BRANCH", "").strip() or "main"
    config.html_theme_options |= {
        "repository_url": f"https://github.com/{match['path']}",
        "repository_branch": app.course_branch,
        "use_repository_button": True,
    }


def add_buttons(app, pagename, templatename, context, doctree):
    topic = pagename.removeprefix("book/")
    buttons = context.get("header_buttons", [])
    # The page's own source is a MyST text: of no use to a reader, so its download gives way to the notebook.
    for group in buttons:
        if group.get("label") == "download-buttons":
            group["buttons"] = [button for button in group["buttons"] if button["label"] != "download-source-button"]
            if topic in app.course_topics:
                group["buttons"].insert(0, notebook_button(context["pathto"](f"_downloads/{topic}.ipynb", 1)))
    known = getattr(app, "course_repository", None)
    if topic in app.course_topics and known:
        buttons.insert(0, launch_group(known, app.course_branch, topic))
    context["page_links"] = page_links(known, app.course_branch, pagename) if known and doctree else []


def page_links(repository, branch, page):
    """At the page's foot: how a reader mends it, or asks us to."""
    title = quote(f"A mistake in {page}")
    return [
        ("Edit this page", f"https://github.com/{repository}/edit/{branch}/{page}.md"),
        ("Report a mistake", f"https://github.com/{repository}/issues/new?title={title}"),
    ]


def notebook_button(url):
    return {"type": "link", "url": url, "text": ".ipynb", "icon": "fas fa-code",
            "tooltip": "Download this chapter as a notebook", "label": "download-notebook-button"}  # fmt: skip


def launch_group(repository, branch, topic):
    chapter, homework = f"notebooks/chapters/{topic}.ipynb", f"notebooks/homework/{topic}/{topic}.ipynb"
    colab = f"https://colab.research.google.com/github/{repository}/blob/{branch}"
    buttons = [
        ("Colab", f"{colab}/{chapter}", "Open this chapter in Colab", "_static/images/logo_colab.png"),
        ("Homework", f"{colab}/{homework}", "Open the homework in Colab", "_static/images/logo_colab.png"),
        ("Binder", f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{chapter}",
         "Open this chapter in Binder", "_static/images/logo_binder.svg"),
    ]  # fmt: skip
    links = [
        {"type": "link", "text": text, "url": url, "tooltip": tooltip, "icon": icon}
        for text, url, tooltip, icon in buttons
    ]
    return {"type": "group", "tooltip": "Run this chapter", "icon": "fas fa-rocket", "buttons": links,
            "label": "launch-buttons"}  # fmt: skip


def find_topics(app, config):
    app.course_topics = chapters.topics(app.srcdir)


def write_notebooks(app, env):
    """The notebooks the download buttons give: made from the runs that this build has just cached."""
    if app.builder.name != "html":
        return
    for topic in app.course_topics:
        try:
            notebook = chapters.build(topic, app.srcdir)
        except ValueError as error:
            logger.warning("no notebook of this chapter: %s", error, location=f"book/{topic}")
        else:
            chapters.write(notebook, Path(app.outdir) / "_downloads" / f"{topic}.ipynb")


def setup(app):
    app.connect("config-inited", add_repository, priority=100)
    app.connect("config-inited", find_topics)
    app.connect("html-page-context", add_buttons, priority=900)
    app.connect("env-updated", write_notebooks)
