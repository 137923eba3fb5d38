"""All boxes “The lecture says …” on one page: the directive `{lecture-boxes} 2` repeats those on lecture 2.

Each box in a chapter is a place that can be led to; which lecture and which number it corrects, its class says.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from ml_course.scripts import chapters, lectures


class LectureBoxes(SphinxDirective):
    required_arguments = 1

    def run(self):
        lecture, lines = int(self.arguments[0]), []
        for box in of_lecture(lecture, lectures.boxes(self.env.srcdir)):
            numbers = ", ".join(map(str, box.numbers(lecture)))
            told = f"{{ref}}`{box.said} <{box.label}>`"
            where = f"*{numbers + ', ' if numbers else ''}in* {{doc}}`/book/{box.topic}`"
            lines += [f"**{told}**", f"({where})", "", *box.text.splitlines(), ""]
        for topic in chapters.topics(self.env.srcdir):
            self.env.note_dependency(f"{self.env.srcdir}/book/{topic}.md")
        page = nodes.container(classes=["lecture-boxes"])
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, page)
        return [page]


def of_lecture(lecture, boxes):
    """Those on one lecture in the order of their numbers, remarks beside them last."""
    mine = [box for box in boxes if lecture in [mark[0] for mark in box.marks]]
    return sorted(mine, key=lambda box: box.numbers(lecture) or [999])


def label_boxes(app, doctree):
    """Gives every box of a chapter the label that the page leads to."""
    page = app.env.docname
    found = [box for box in doctree.findall(nodes.admonition) if lectures.marks_of(" ".join(box["classes"]))]
    for place, box in enumerate(found, start=1):
        label = lectures.label(page.removeprefix("book/"), place)
        box["ids"].append(label)
        app.env.get_domain("std").note_hyperlink_target(label, page, label, box.next_node(nodes.title).astext())


def setup(app):
    app.add_directive("lecture-boxes", LectureBoxes)
    app.connect("doctree-read", label_boxes)
