"""Turns a chapter's MyST into plain Markdown, for the notebook that Colab, Binder and JupyterLab open.

Included code becomes a code fence, admonitions block quotes, folded ones <details>, citations author and year,
references plain words. What is not known here is refused by name, so that no reader meets a directive in its place.
"""

from __future__ import annotations

import ast
import posixpath
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from ml_course.scripts.bibliography import Bibliography

INCLUDE_OPTIONS = {"pyobject", "dedent", "language", "lines", "caption", "name", "linenos", "emphasize-lines"}
FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,}|:{3,}|~{3,})(?P<info>.*)$")
DIRECTIVE = re.compile(r"^\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)$")
TARGET = re.compile(r"^\((?P<label>[\w:.-]+)\)=\s*$")
# A code span is matched as well, from left to right, so that what looks like a role inside one is left alone.
CODE_OR_ROLE = re.compile(r"(?:\{(?P<name>[\w:-]+)\})?(?P<ticks>`+)(?P<text>.+?)(?<!`)(?P=ticks)(?!`)", re.DOTALL)
DOLLARS = re.compile(r"^\$\$(?P<body>(?:(?!\$\$).)*)\$\$[ \t]*\((?P<label>[\w:.-]+)\)[ \t]*$", re.DOTALL | re.MULTILINE)
PAGE_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<page>[\w/]+)\.md(?:#[^)]*)?\)")
WITH_TARGET = re.compile(r"^(?P<text>.*?)\s*<(?P<target>[^<>]+)>$", re.DOTALL)
NAMED_BOXES = ("note", "tip", "hint", "important", "warning", "caution", "attention", "danger", "error", "seealso")


class UnknownSyntax(ValueError):
    """A directive, role, label or key that this renderer does not know: teach it here, or write the chapter plainly."""


@dataclass
class Chapter:
    """What rendering one chapter needs to know, and what it counts on the way."""

    topic: str
    number: int
    root: Path
    mistakes: Callable[[str], str]
    bibliography: Bibliography
    raw_address: str = ""  # where files of the repository can be fetched, if it is public
    names: dict[str, str] = field(default_factory=dict)  # label -> what a reference to it says
    cited: list[str] = field(default_factory=list)

    def error(self, problem: str) -> UnknownSyntax:
        return UnknownSyntax(
            f"book/{self.topic}.md: {problem}; teach ml_course/scripts/markdown.py or write it plainly"
        )

    def link(self, path: str) -> str:
        """Address, seen from notebooks/chapters/, of a file that the chapter names relative to book/."""
        inside = posixpath.normpath(posixpath.join("book", path))
        return self.raw_address + inside if self.raw_address else posixpath.relpath(inside, "notebooks/chapters")


def collect_names(source: str, figures: list[str], chapter: Chapter) -> None:
    """First pass: numbers of figures, equations and exercises as the book gives them, titles of labelled sections.

    `figures` are the labels (empty where there is none) of the figures in the order of the page.
    """
    for count, label in enumerate(figures, start=1):
        chapter.names[label] = f"Fig. {chapter.number}.{count}"
    equations = re.findall(
        r"^\s*:label:\s*([\w:.-]+)\s*$|\$\$[ \t]*\(([\w:.-]+)\)[ \t]*$", _only(source, "math"), re.MULTILINE
    )
    for count, labels in enumerate(equations, start=1):
        chapter.names["".join(labels)] = f"({chapter.number}.{count})"
    exercises = re.findall(r"^(?:`{3,}|:{3,})\{exercise\}.*\n((?::.*\n)*)", source, re.MULTILINE)
    for count, options in enumerate(exercises, start=1):
        label = re.search(r":label:\s*(\S+)", options)
        chapter.names[label[1] if label else f"exercise {count}"] = f"Exercise {chapter.number}.{count}"
    for label, title in re.findall(r"^\(([\w:.-]+)\)=\s*\n+#+\s+(.+)$", source, re.MULTILINE):
        chapter.names[label] = title.strip()


def render(source: str, chapter: Chapter) -> str:
    """One Markdown cell, or the body of a directive, as plain Markdown."""
    lines, out, text = source.splitlines(), [], []

    def flush():
        if text:
            out.append(_inline("\n".join(text), chapter))
            text.clear()

    position = 0
    while position < len(lines):
        line = lines[position]
        opening = FENCE.match(line)
        if TARGET.match(line) or line.startswith("% "):
            position += 1
        elif opening:
            flush()
            body, position = _fenced(lines, position, opening)
            out.append(_indent(_block(opening["info"].strip(), body, opening["mark"], chapter), opening["indent"]))
        else:
            text.append(line)
            position += 1
    flush()
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip("\n")


def _fenced(lines: list[str], start: int, opening: re.Match) -> tuple[list[str], int]:
    """Lines of a fenced block and the position after it; a block may hold others with as many marks, as `:::` does."""
    mark, indent, depth, body = opening["mark"], len(opening["indent"]), 1, []
    for position in range(start + 1, len(lines)):
        line = lines[position]
        inner = FENCE.match(line)
        if inner and inner["mark"][0] == mark[0] and len(inner["mark"]) >= len(mark):
            if not inner["info"].strip():
                depth -= 1
            elif mark[0] == ":":
                depth += 1
            if depth == 0:
                return body, position + 1
        body.append(line[indent:] if line[:indent].isspace() else line)
    return body, len(lines)


def _block(info: str, body: list[str], mark: str, chapter: Chapter) -> str:
    directive = DIRECTIVE.match(info)
    if not directive:
        if mark[0] == ":":
            raise chapter.error(f"holds a {mark} block without a directive: {info!r}")
        return "\n".join([f"{mark}{info}", *body, mark])
    name, argument = directive["name"], directive["argument"].strip()
    options, body = _options(body)
    inner = "\n".join(body).strip("\n")
    if name in ("admonition", "dropdown", *NAMED_BOXES):
        if name in NAMED_BOXES and argument:
            inner, argument = f"{argument}\n\n{inner}".strip(), ""
        title = argument or {"seealso": "See also"}.get(name, name.capitalize())
        folded = name == "dropdown" or "dropdown" in options.get("class", "")
        return (_details if folded else _quote)(_inline(title, chapter), render(inner, chapter))
    if name == "exercise":
        label = options.get("label", "")
        title = f" ({_inline(argument, chapter)})" if argument else ""
        return f"**{chapter.names.get(label, 'Exercise')}**{title}\n\n{render(inner, chapter)}\n"
    if name == "solution":
        return _details(f"Solution to {chapter.names.get(argument, 'the exercise')}", render(inner, chapter))
    if name == "math":
        return _display(f"{argument}\n{inner}".strip(), chapter.names.get(options.get("label", ""), ""))
    if name in ("figure", "image"):
        number = f"**{chapter.names[options['name']]}** " if options.get("name") in chapter.names else ""
        picture = f"![{options.get('alt', '')}]({chapter.link(argument)})"
        return f"{picture}\n\n{number}{render(inner, chapter)}".rstrip()
    if name == "literalinclude":
        return _included(argument, options, chapter)
    if name == "code-block":
        return "\n".join([f"```{argument}", *body, "```"])
    if name == "mistakes":
        return chapter.mistakes(argument)
    raise chapter.error(f"holds the directive {{{name}}}, which the notebook renderer does not know")


def _options(body: list[str]) -> tuple[dict[str, str], list[str]]:
    """`:key: value` lines, or a YAML block between `---`, at the head of a directive."""
    if body and body[0].strip() == "---":
        end = next(index for index, line in enumerate(body[1:], start=1) if line.strip() == "---")
        return {key: str(value) for key, value in yaml.safe_load("\n".join(body[1:end])).items()}, body[end + 1 :]
    options, position = {}, 0
    while position < len(body) and (match := re.match(r"^:([\w-]+):\s*(.*)$", body[position])):
        options[match[1]] = match[2].strip("\"'")
        position += 1
    return options, body[position:]


def _included(path: str, options: dict[str, str], chapter: Chapter) -> str:
    file = (chapter.root / "book" / path).resolve()
    source = file.read_text()
    if unknown := options.keys() - INCLUDE_OPTIONS:
        raise chapter.error(
            f"gives literalinclude the option {sorted(unknown)}, which the notebook renderer does not know"
        )
    if "pyobject" in options:
        source = _object(source, options["pyobject"].split("."))
    if "lines" in options:
        first, _, last = options["lines"].partition("-")
        source = "\n".join(source.splitlines()[int(first) - 1 : int(last or first)])
    if "dedent" in options:
        source = textwrap.dedent(source)
    shown = file.relative_to(chapter.root.resolve()).as_posix()
    return f"From `{shown}`:\n\n```{options.get('language', 'python')}\n{source.rstrip()}\n```"


def _object(source: str, path: list[str]) -> str:
    """Source lines of a function or class, decorators included."""
    node = ast.parse(source)
    for name in path:
        node = next(child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def _display(body: str, number: str) -> str:
    if "\\\\" in body and "\\begin{" not in body:
        body = f"\\begin{{split}}\n{body}\n\\end{{split}}"
    tag = f"\n\\tag{{{number.strip('()')}}}" if number else ""
    return f"$$\n{body}{tag}\n$$"


def _quote(title: str, body: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in [f"**{title}**", "", *body.splitlines()])


def _details(title: str, body: str) -> str:
    return f"<details>\n<summary>{_summary(title)}</summary>\n\n{body}\n\n</details>\n"


def _summary(title: str) -> str:
    """A summary is HTML: code in backticks and emphasis are written as tags."""
    title = re.sub(r"`([^`]+)`", r"<code>\1</code>", title)
    return re.sub(r"\*\*?([^*]+)\*\*?", r"<em>\1</em>", title)


def _indent(text: str, indent: str) -> str:
    return "\n".join(indent + line if line else line for line in text.splitlines()) if indent else text


def _inline(text: str, chapter: Chapter) -> str:
    text = DOLLARS.sub(lambda m: _display(m["body"].strip(), chapter.names.get(m["label"], "")), text)
    text = CODE_OR_ROLE.sub(
        lambda m: _role(m["name"], " ".join(m["text"].split()), chapter) if m["name"] else m[0], text
    )
    return PAGE_LINK.sub(lambda m: _role("doc", f"{m['text']} <{m['page']}>", chapter), text)


def _role(name: str, text: str, chapter: Chapter) -> str:
    titled = WITH_TARGET.match(text)
    words, target = (titled["text"], titled["target"]) if titled else ("", text)
    if name in ("cite:t", "cite:p", "cite"):
        keys = [key.strip() for key in text.split(",")]
        if missing := [key for key in keys if key not in chapter.bibliography.entries]:
            raise chapter.error(f"cites {', '.join(missing)}, which book/references.bib does not list")
        chapter.cited += keys
        return chapter.bibliography.cite(keys, textual=name == "cite:t")
    if name in ("ref", "numref", "eq"):
        if target not in chapter.names and not words:
            raise chapter.error(
                f"refers to {target!r}, which the chapter does not label; give it words: `words <{target}>`"
            )
        found = chapter.names.get(target, "")
        return words.replace("%s", re.sub(r"^\D*|\)$", "", found)) if words else found
    if name == "term":
        return words or target
    if name == "doc":
        page = posixpath.basename(target)
        source = chapter.root / "book" / f"{page}.md"
        heading = re.search(r"^# (.+)$", source.read_text(), re.MULTILINE)
        words = words or (heading[1] if heading else page)
        return f"[{words}]({page}.ipynb)" if "kernelspec:" in source.read_text()[:1000] else words
    if name == "download":
        return f"[{words or posixpath.basename(target)}]({chapter.link(target)})"
    raise chapter.error(f"holds the role {{{name}}}, which the notebook renderer does not know")


def _only(source: str, name: str) -> str:
    """The text with every directive's options dropped but those of the named one, so that labels can be told apart."""
    kept, inside = [], ""
    for line in source.splitlines():
        fence = FENCE.match(line)
        if fence and fence["info"].strip():
            directive = DIRECTIVE.match(fence["info"].strip())
            inside = directive["name"] if directive else ""
        if not line.lstrip().startswith(":label:") or inside == name:
            kept.append(line)
    return "\n".join(kept)
