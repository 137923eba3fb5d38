"""Formulas as MathML, made while the book is built: nothing is fetched, nothing jumps, and it can be read aloud.

pandoc turns the TeX of all pages into MathML in one run. What it cannot read is a warning, so the build fails.
"""

import html
import re

import pypandoc
from docutils import nodes
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

logger = logging.getLogger(__name__)
RULE = "\n\n-----\n\n"
MATHML = re.compile(r"<math\b.*</math>", re.DOTALL)
# After the name of a function comes a thin space, unless a bracket does, or an index or power of the name itself.
BASE = "".join(f"(?<!<{name}>)" for name in ("msub", "msup", "msubsup", "munder", "mover", "munderover"))
NAMED = re.compile(rf"({BASE}<mrow><mi\b[^>]*>[^<]*</mi><mo>&#8289;</mo></mrow>)(?!</mrow>|<mo\b)")
WORD = r'<mi mathvariant="normal">[A-Za-z]{2,}</mi>'
NAME = rf"(?:{WORD}|<mrow>{WORD}<mo>&#8289;</mo></mrow>)"
INDEX = r"(?:<(?:mi|mn|mo)\b[^>]*>[^<]*</(?:mi|mn|mo)>|<mrow>(?:(?!</?mrow).)*</mrow>)"
# … and behind the name with its index.
INDEXED = re.compile(rf"(<(msub|munder)>{NAME}{INDEX}</\2>)(?=<m(?:i|n|row|sub|sup|subsup|frac|sqrt|text)\b)")
SOURCE = re.compile(r"</?semantics>|<annotation .*?</annotation>", re.DOTALL)  # the TeX, a third of the size


def formula_of(node):
    """The TeX of a node in one line, as pandoc's Markdown needs it, and whether it is displayed."""
    tex = re.sub(r"\s*\n\s*", " ", node.astext().strip())
    if r"\\" in tex and not tex.startswith(r"\begin"):
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    return tex, isinstance(node, nodes.math_block)


def to_mathml(formulas):
    """The MathML of each formula; None where pandoc cannot read it."""
    if not formulas:
        return []
    marked = [f"$${tex}$$" if alone else f"${tex}$" for tex, alone in formulas]
    made = pypandoc.convert_text(RULE.join(marked), "html", "markdown", ["--mathml", "--quiet"]).split("<hr />")
    found = [MATHML.search(one) for one in made]
    return [spaced(SOURCE.sub("", one[0])) if one else None for one in found]


def spaced(mathml):
    mathml = NAMED.sub(r'\1<mspace width="0.167em"/>', mathml)
    return INDEXED.sub(r'\1<mspace width="0.167em"/>', mathml)


def convert_all(app, env):
    """Every formula of the book, before any page is written."""
    if app.builder.format != "html":
        return
    places = {}
    for page in sorted(env.found_docs):
        for node in env.get_doctree(page).findall(lambda node: isinstance(node, nodes.math | nodes.math_block)):
            places.setdefault(formula_of(node), page)
    app.formulas = dict(zip(places, to_mathml(list(places)), strict=True))
    for (tex, _), page in places.items():
        if app.formulas[tex, _] is None:
            logger.warning("pandoc cannot read the formula %s", tex, location=page)


def drawn(writer, node):
    return writer.builder.app.formulas.get(formula_of(node)) or f"<code>{html.escape(node.astext())}</code>"


def visit_inline(writer, node):
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    writer.body.append(f"{drawn(writer, node)}</span>")
    raise nodes.SkipNode


def visit_displayed(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate nohighlight"))
    writer.body.append(drawn(writer, node))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_displayed, None))
    app.connect("env-updated", convert_all)
