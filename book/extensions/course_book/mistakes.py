"""The directive `{mistakes} <topic>`: a chapter's section “Common mistakes”, written by the exercise bank itself.

Each exercise can be referred to by its label, `ex-attention-causal-mask`.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from autograder.errors import CourseError
from autograder.exercise import load
from autograder.mistakes_page import book_label, exercise_markdown


class Mistakes(SphinxDirective):
    required_arguments = 1

    def run(self):
        try:
            exercises = load(self.arguments[0]).values()
        except CourseError as error:
            raise self.error(str(error)) from None
        return [nodes.container("", *map(self.box, exercises), classes=["mistakes"])]

    def box(self, exercise):
        label = book_label(exercise)
        box = nodes.container(ids=[label])
        self.env.get_domain("std").note_hyperlink_target(label, self.env.docname, label, exercise.answer_name)
        self.env.note_dependency(exercise.module.__file__)
        text = StringList(exercise_markdown(exercise).splitlines(), self.get_source_info()[0])
        self.state.nested_parse(text, self.content_offset, box)
        return box


def setup(app):
    app.add_directive("mistakes", Mistakes)
