"""What an EPUB needs otherwise than a page: no script runs there, nothing is folded, and MathML has to be announced."""

import re
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode

from course_book.live import FIGURE

STYLES = ("epub.css", "pygments.css")
PAGE = re.compile(r'<item href="([^"]+\.xhtml)"')


def choose_cover(app, config):
    config.epub_cover = ("_static/logo.svg", "epub-cover.html")  # a pair, which YAML cannot write


def unfold(app, doctree, page):
    if app.builder.name != "epub":
        return
    for folded in list(doctree.findall(HideCodeCellNode)):
        folded.replace_self(folded.children)
    for raw in list(doctree.findall(nodes.raw)):
        if FIGURE.search(raw.astext()):
            raw.replace_self(nodes.paragraph("", "In the book's page on the web, here is a figure to touch."))


def keep_styles(app, pagename, templatename, context, doctree):
    """The style sheets of the extensions are for pages with scripts, and some are not even copied into an EPUB."""
    if app.builder.name == "epub":
        named = [(str(getattr(style, "filename", style)), style) for style in context["css_files"]]
        context["css_files"] = [style for name, style in named if Path(name).name in STYLES]


def announce_formulas(app, error):
    """Says in the list of contents which pages hold MathML, which Sphinx does not, and packs the book again."""
    if error or app.builder.name != "epub":
        return

    def announced(item):
        formulas = "<math" in Path(app.outdir, item[1]).read_text(encoding="utf-8")
        return f'{item[0]} properties="mathml"' if formulas else item[0]

    contents = Path(app.outdir, "content.opf")
    contents.write_text(PAGE.sub(announced, contents.read_text(encoding="utf-8")), encoding="utf-8")
    app.builder.build_epub()


def setup(app):
    app.connect("config-inited", choose_cover)
    app.connect("doctree-resolved", unfold)
    app.connect("html-page-context", keep_styles, priority=950)
    app.connect("build-finished", announce_formulas)
