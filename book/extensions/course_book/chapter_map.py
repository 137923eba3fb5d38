"""The directive `{chapter-map}`: parts and chapters of _toc.yml, what a chapter's module says of it, and its times."""

import ast
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from course_book.reading import chapter_times
from ml_course.scripts import chapters


class ChapterMap(SphinxDirective):
    def run(self):
        root = Path(self.env.srcdir)
        self.env.note_dependency(str(root / "_toc.yml"))
        box = nodes.container(classes=["chapter-map"])
        for part, topics in chapters.parts(root):
            lines = [f"**{part}**", ""]
            for topic in topics:
                module = chapters.module_file(topic, root)
                for source in (module, root / "book" / f"{topic}.md"):
                    self.env.note_dependency(str(source))
                lines += [f"- {{doc}}`/book/{topic}`", "", f"  {summary(module)}", ""]
            self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
            for topic, item in zip(topics, box.children[-1].children, strict=True):
                item.append(nodes.paragraph("", "", chapter_times(topic=topic)))
        return [box]


def summary(module: Path) -> str:
    """First paragraph of the module's docstring, as one line."""
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def setup(app):
    app.add_directive("chapter-map", ChapterMap)
