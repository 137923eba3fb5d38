"""The directive `{chapter-map}`: parts and chapters of _toc.yml, each with what its module says of itself."""

import ast
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from ml_course.scripts import chapters


class ChapterMap(SphinxDirective):
    def run(self):
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        lines = []
        for part, topics in chapters.parts(root):
            lines += [f"**{part}**", ""] if topics else []
            for topic in topics:
                module = chapters.module_file(topic, root)
                self.env.note_dependency(str(module))
                lines += [f"- {{doc}}`/book/{topic}`  ", f"  {summary(module)}"]
            lines.append("")
        box = nodes.container(classes=["chapter-map"])
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
        return [box]


def summary(module: Path) -> str:
    """First paragraph of the module's docstring, as one line."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def setup(app):
    app.add_directive("chapter-map", ChapterMap)
