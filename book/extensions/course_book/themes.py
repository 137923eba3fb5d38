"""Figures that follow the page's theme: in each SVG the palette of `ml_course.plots` gets names with two values.

A browser takes the dark values where the image's `color-scheme` is dark, which is what the page's switch sets. The
figure brings its own ground along, so it can be read wherever it is shown.
"""

import html
import re
from pathlib import Path

from docutils import nodes

from course_book.translation import drawing_of, translated
from ml_course import plots

# Each colour of the light page and what stands for it on the dark one: the same hues, lighter.
COLOURS = {
    "card": (plots.CARD, "#16181D"),
    "ink": (plots.INK, "#E4E4E7"),
    "grid": (plots.GRID, "#33363D"),
    "pale": (plots.PALE, "#4A4D55"),
    "grey": (plots.GREY, "#9B9CA3"),
    "blue": (plots.BLUE, "#4DA8E0"),
    "orange": (plots.ORANGE, "#F2B33D"),
    "green": (plots.GREEN, "#3CC79E"),
    "pink": (plots.PINK, "#E2A0C6"),
    "red": (plots.RED, "#F58B4C"),
    "sky": (plots.SKY, "#8FD0F5"),
    "yellow": (plots.YELLOW, "#F5EC7A"),
    "black": (plots.BLACK, "#FAFAFA"),
    # Deep shades and tints of hand-drawn figures.
    "green-deep": ("#00795A", "#3CC79E"),
    "red-deep": ("#B35900", "#F58B4C"),
    "pink-deep": ("#A8487F", "#E2A0C6"),
    "blue-tint": ("#CDE6F5", "#17384D"),
    "green-tint": ("#CFEADF", "#153D31"),
    "orange-tint": ("#FBEBC8", "#46361A"),
}
NAMES = {light.lower(): name for name, (light, _) in COLOURS.items()}
KNOWN = re.compile(rf"({'|'.join(NAMES)})\b", re.IGNORECASE)
LIGHT, DARK = ("".join(f"--fig-{name}:{pair[i]};" for name, pair in COLOURS.items()) for i in (0, 1))
HEAD = re.compile(r"<svg\b[^>]*>")
SIZE = re.compile(r'<svg\b[^>]*?\bwidth="([\d.]+)pt" height="([\d.]+)pt"')
VIEW = re.compile(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ')
PICTURE = re.compile(r'<img (?=[^>]*src="[./]*_images/([\w-]+\.svg)")')
PIXELS_A_POINT = 96 / 72


def named(svg):
    """The picture with the colours of the light page replaced by their names."""
    return KNOWN.sub(lambda found: f"var(--fig-{NAMES[found[0].lower()]})", svg)


def themed(svg):
    """The picture as a file of its own: with names for colours, and a style sheet that says what they are."""
    head = HEAD.search(svg)
    if head is None or "--fig-card:" in svg:
        return svg
    # matplotlib leaves out what is black, so black is what is inherited.
    sheet = f"<style>:root{{{LIGHT}fill:var(--fig-black)}}@media(prefers-color-scheme:dark){{:root{{{DARK}}}}}</style>"
    return svg[: head.end()] + sheet + named(svg[head.end() :])


def inlined(svg, alt, prefix):
    """A drawing as part of the page, so that its words are found and read, in the colours of the page's sheet."""
    head = HEAD.search(svg)
    body = re.sub(r"<title>.*?</title>", "", svg[head.end() :], flags=re.DOTALL)
    body = re.sub(r'\bid="|url\(#|href="#', lambda found: f"{found[0]}{prefix}-", body)  # ids are the whole page's
    opening = re.sub(r' role="[^"]*"', "", head[0])[:-1]
    return f'{opening} role="group" aria-label="{html.escape(alt)}">{named(body)}'


def inline_drawings(app, doctree, page):
    if app.builder.format != "html":
        return
    for node in list(doctree.findall(nodes.image)):
        if path := drawing_of(node, app.srcdir):
            words = translated(path.read_text(encoding="utf-8"), app, page)
            svg = inlined(words, node.get("alt", ""), path.stem)
            style = f"--width:{VIEW.search(svg)[1]}px"
            style += f";max-width:{node['width']}" if node.get("width") else ""
            node.replace_self(nodes.raw("", f'<div class="drawing" style="{style}">{svg}</div>', format="html"))


def size_pictures(app, pagename, templatename, context, doctree):
    """Says how large each picture is: it may come when it is near, the page does not jump, a phone makes it no stamp.

    A chapter's pictures are documents of their own, half of the time to its first word when all come at once.
    """
    sources = {name: path for path, name in app.builder.images.items()}

    def sized(found):
        size = SIZE.search(Path(app.srcdir, sources[found[1]]).read_text(encoding="utf-8"))
        if size is None:
            return found[0]
        width, height = (round(float(points) * PIXELS_A_POINT) for points in size.groups())
        return f'<img loading="lazy" width="{width}" height="{height}" style="--width:{width}px" '

    if "body" in context:
        context["body"] = PICTURE.sub(sized, context["body"])


def write_sheet(app):
    """The same names and values for what is part of the pages."""
    if app.builder.format == "html":
        folder = Path(app.outdir, "_static")
        folder.mkdir(parents=True, exist_ok=True)
        sheet = f"html{{{LIGHT}}}\nhtml[data-theme=dark]{{{DARK}}}\n"
        (folder / "themes.css").write_text(sheet, encoding="utf-8")


def theme_pictures(app, error):
    """Every SVG picture that the chapters' code has drawn."""
    if error or app.builder.format != "html":
        return
    for path in Path(app.outdir, "_images").glob("*.svg"):
        path.write_text(themed(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app):
    app.connect("builder-inited", write_sheet)
    app.connect("doctree-resolved", inline_drawings)
    app.connect("html-page-context", size_pictures)
    app.connect("build-finished", theme_pictures)
    app.add_css_file("themes.css")
