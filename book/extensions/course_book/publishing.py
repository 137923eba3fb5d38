"""What a published book needs besides its pages: a map for search engines, cards for links, a page for the lost.

COURSE_ADDRESS   where the book will be read, e.g. https://owner.github.io/name; where it is not given, the address that
                 GitHub Pages gives to COURSE_REPOSITORY. sitemap.xml and the cards need it and are left out without.

The footer tells the version and the day of the last commit, not of the build: the same sources give the same pages.
"""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

from ml_course import plots

LOST = {
    "title": "Not here",
    "body": "<h1>This page is not here</h1><p>It may have moved, or the address has a slip of the pen. "
    "The search and the list of chapters are where they always are.</p>",
}


def address():
    """Where the book will be read, with a slash at the end; empty where nobody has said so."""
    given = os.environ.get("COURSE_ADDRESS", "").strip()
    repository = re.fullmatch(
        r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", os.environ.get("COURSE_REPOSITORY", "").strip()
    )
    if not given and repository:
        given = f"https://{repository[1].lower()}.github.io/{repository[2]}"
    return f"{given.rstrip('/')}/" if given else ""


def configure(app, config):
    app.colophon = colophon(app.srcdir)
    config.version = config.release = app.colophon["course_version"]
    config.notfound_context = LOST
    config.notfound_urls_prefix = urlsplit(address()).path or "/"
    if address():
        config.html_baseurl = config.ogp_site_url = address()
        config.sitemap_url_scheme = "{link}"
        config.sitemap_excludes = ["search.html", "genindex.html", "404.html"]
        config.ogp_site_name = config.project
        config.ogp_social_cards = {"line_color": plots.BLUE}


def colophon(root):
    """The course's version, and the day of the last commit where git knows it."""
    version = tomllib.loads((Path(root) / "pyproject.toml").read_text())["project"]["version"]
    asked = ["git", "log", "-1", "--format=%cs"]
    date = subprocess.run(asked, cwd=root, capture_output=True, text=True).stdout.strip() if shutil.which("git") else ""
    return {"course_version": version, "course_date": date}


def sign(app, pagename, templatename, context, doctree):
    context.update(app.colophon)


def write_robots(app, error):
    if not error and app.builder.name == "html":
        lines = ["User-agent: *", "Allow: /", *([f"Sitemap: {address()}sitemap.xml"] if address() else [])]
        Path(app.outdir, "robots.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    app.setup_extension("notfound.extension")
    if address():
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", configure)
    app.connect("html-page-context", sign)
    app.connect("build-finished", write_robots)
