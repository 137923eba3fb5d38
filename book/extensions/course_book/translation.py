"""Catalogues of every sentence for translators, and the words of the drawings in the reader's language.

`make gettext` writes a catalogue for each page into _build/gettext. Its translation stands in
locales/LANGUAGE/LC_MESSAGES/book/PAGE.po, and `language` in _config.yml chooses it. The words of a drawing in
book/figures are in the catalogue of each page that shows it.
"""

import html
import re
from pathlib import Path

from docutils import nodes
from sphinx.builders.gettext import MessageCatalogBuilder, MsgOrigin
from sphinx.locale import init as load_catalogue
from sphinx.util.i18n import docname_to_domain
from sphinx.util.nodes import is_translatable

LABEL = re.compile(r"(?<=>)[^<>]*[^\W\d_]{2}[^<>]*(?=</text>)")  # of two letters or more: no names of variables


def drawing_of(node, root):
    """The file of a drawing that stands in the page as text, or nothing: other pictures come from code."""
    path = Path(root, node["uri"])
    return path if path.suffix == ".svg" and path.parent.name == "figures" else None


class Catalogues(MessageCatalogBuilder):
    """Sphinx's own, written out of the chapters as they were read for the pages."""

    versioning_method = "none"  # as for the pages: with another method all chapters would be read anew

    def write_doc(self, docname, doctree):
        for node in doctree.findall(is_translatable):
            node.uid = docname  # Sphinx leaves out what has none
        super().write_doc(docname, doctree)
        catalogue = self.catalogs[docname_to_domain(docname, self.config.gettext_compact)]
        for path in filter(None, (drawing_of(node, self.srcdir) for node in doctree.findall(nodes.image))):
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                for label in LABEL.findall(line):
                    catalogue.add(html.unescape(label), MsgOrigin(str(path), number))


def translated(svg, app, page):
    """The drawing with its labels in the book's language, where that is not English."""
    folders = [Path(app.srcdir, folder) for folder in app.config.locale_dirs]
    catalogue, found = load_catalogue(folders, app.config.language, docname_to_domain(page, app.config.gettext_compact))
    if not found:
        return svg
    return LABEL.sub(lambda label: html.escape(catalogue.gettext(html.unescape(label[0])), quote=False), svg)


def setup(app):
    app.add_builder(Catalogues, override=True)
