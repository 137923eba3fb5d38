"""What book/systems.yml says, on pages: the directive `{systems}` lists all, the role `{system}` leads to one.

{system}`Perceptron` and {system}`a neuron of 1958 <Perceptron>` lead to the section where it runs; while its topic is
not in _toc.yml they are plain words.
"""

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.util.docutils import ReferenceRole, SphinxDirective

from autograder.mistakes_page import book_label
from ml_course.scripts import chapters, systems

DECLARATION, SOURCES = "book/systems.yml", "book/references.bib"


class Systems(SphinxDirective):
    def run(self):
        root = self.env.srcdir
        for file in (DECLARATION, SOURCES, "_toc.yml"):
            self.env.note_dependency(f"{root}/{file}")
        found = systems.systems(root)
        return [
            self.section(part, [self.topic(topic, [each for each in found if each.topic == topic]) for topic in topics])
            for part, topics in chapters.parts(root)
        ]

    def section(self, words, content):
        section = nodes.section("", nodes.title(words, words), *content, names=[nodes.fully_normalize_name(words)])
        self.state.document.note_implicit_target(section, section)
        return section

    def topic(self, topic, found):
        """The chapter's name, a link to it, and a list of its systems."""
        root = self.env.srcdir
        lines = [f"Chapter {{doc}}`/book/{topic}`", ""]
        lines += [line for system in found for line in item(system, root)]
        box = nodes.container()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
        box.children[-1]["classes"].append("systems")
        return self.section(chapters.title(topic, root), box.children)


def item(system, root):
    """Year and name, that leads to its section; then source, code, test and exercises.

    Raises: ValueError when no test of the library uses the code.
    """
    test = system.test_file(root)
    if test is None:
        raise ValueError(f"{system.name}: no file of tests/ml_course uses {system.code}: write one or mend systems.yml")
    graded = ", ".join(f"{{ref}}`{task.answer_name} <{book_label(task)}>`" for task in system.graded())
    facts = [f"{{cite:t}}`{system.source}`", f"`{system.code}`", f"`{test.name}`"]
    facts += [f"exercise {graded}"] if graded else []
    return [f"- **{system.year}** {{ref}}`{system.name} <{system.label}>`", "", f"  {' · '.join(facts)}", ""]


class SystemRole(ReferenceRole):
    def run(self):
        root = self.env.srcdir
        for file in (DECLARATION, "_toc.yml"):
            self.env.note_dependency(f"{root}/{file}")
        try:
            system = systems.named(self.target, root)
        except KeyError as error:
            return [], [self.inliner.reporter.error(str(error), line=self.lineno)]
        words = nodes.inline("", self.title)
        if system is None:
            return [words], []
        place = addnodes.pending_xref(
            "", words, refdomain="std", reftype="ref", reftarget=system.label, refexplicit=True, refwarn=True,
            refdoc=self.env.docname,
        )  # fmt: skip
        return [place], []


def setup(app):
    app.add_directive("systems", Systems)
    app.add_role("system", SystemRole())
