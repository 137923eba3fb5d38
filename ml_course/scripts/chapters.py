"""Writes notebooks/chapters/<topic>.ipynb, what Colab, Binder and JupyterLab open, from book/<topic>.md.

python -m ml_course.scripts.chapters            writes every chapter's notebook
python -m ml_course.scripts.chapters --check    says which is stale and exits with 1; writes nothing

Text outputs come from the book's execution cache; a chapter that is not in it is run, once. Images are left out, and so
is every output of a cell tagged `nbval-ignore-output`: two runs give the same bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from tqdm import tqdm

from autograder.exercise import load
from autograder.install import install_cell, repository
from autograder.mistakes_page import book_label, mistakes_markdown
from ml_course.scripts import execution, markdown
from ml_course.scripts.bibliography import Bibliography

ROOT = execution.ROOT
BACK_MATTER = "Back matter"
LOOSE = "nbval-ignore-output"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
INSTALL_NOTE = (
    "*This notebook is made from a chapter of the course's book. Where the course is not installed yet, as in Colab, "
    "run the next cell first.*"
)


def parts(root: Path = ROOT) -> list[tuple[str, list[str]]]:
    """Parts of _toc.yml with their topics; the pages of the back matter are not topics."""
    toc = yaml.safe_load((Path(root) / "_toc.yml").read_text())
    return [
        (part["caption"], [Path(entry["file"]).name for entry in part["chapters"]])
        for part in toc["parts"]
        if part["caption"] != BACK_MATTER
    ]


def topics(root: Path = ROOT) -> list[str]:
    """The topics in the order of the book."""
    return [topic for _, found in parts(root) for topic in found]


def title(topic: str, root: Path = ROOT) -> str:
    """The heading of a topic's chapter."""
    return re.search(r"^# (.+)$", Path(root, "book", f"{topic}.md").read_text(), re.MULTILINE)[1].strip()


def module_file(topic: str, root: Path = ROOT) -> Path:
    """ml_course/<topic>.py, or the __init__.py of the package of that name."""
    package = Path(root) / "ml_course" / topic / "__init__.py"
    return package if package.is_file() else Path(root) / "ml_course" / f"{topic}.py"


def notebook_file(topic: str, root: Path = ROOT) -> Path:
    return Path(root) / "notebooks" / "chapters" / f"{topic}.ipynb"


def build(topic: str, root: Path = ROOT, *, run: bool = True) -> nbformat.NotebookNode:
    """The chapter's notebook; `run=False` leaves outputs out and runs nothing."""
    root = Path(root)
    source = execution.run_chapter(topic, root) if run else execution.read_chapter(topic, root)
    chapter = markdown.Chapter(
        topic=topic,
        number=topics(root).index(topic) + 1,
        root=root,
        mistakes=mistakes_markdown,
        bibliography=Bibliography(root / "book" / "references.bib"),
        raw_address=raw_address(),
    )
    chapter.names |= {book_label(exercise): f"`{exercise.answer_name}`" for exercise in load(topic).values()}
    text = "\n\n".join(cell.source for cell in source.cells if cell.cell_type == "markdown")
    markdown.collect_names(text, list(figure_labels(source)), chapter)

    cells: list[nbformat.NotebookNode] = []
    for cell in source.cells:
        if cell.cell_type == "code":
            cells.append(code_cell(cell))
            cells += [nbformat.v4.new_markdown_cell(caption) for caption in captions(cell, chapter)]
        elif cell.cell_type == "markdown" and (shown := markdown.render(cell.source, chapter)):
            cells.append(nbformat.v4.new_markdown_cell(shown))
    if chapter.cited:
        listed = chapter.bibliography.listed(sorted(set(chapter.cited)))
        cells.append(nbformat.v4.new_markdown_cell(f"## References\n\n{listed}"))
    title, *beginning = split_title(cells[0])
    install = [nbformat.v4.new_markdown_cell(INSTALL_NOTE), nbformat.v4.new_code_cell(install_cell())]
    cells[:1] = [title, *install, *beginning]

    for index, cell in enumerate(cells):
        cell.id = f"{topic}-{index:03d}"
    # A cell without a count looks as if it was never run, so they are counted as one clean run counts them.
    for count, cell in enumerate((cell for cell in cells if cell.cell_type == "code"), start=1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    notebook.nbformat_minor = 5
    return notebook


def split_title(cell: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The install cell stands right under the chapter's title, so the first cell is cut after its first line."""
    title, _, rest = cell.source.partition("\n")
    return [nbformat.v4.new_markdown_cell(text) for text in (title, rest.strip("\n")) if text]


def figure_labels(source: nbformat.NotebookNode) -> Iterator[str]:
    """The label of each captioned figure in the order of the page, of code cells and of directives alike."""
    for cell in source.cells:
        if cell.cell_type == "code":
            figure = cell.metadata.get("mystnb", {}).get("figure", {})
            if figure:
                yield figure.get("name", "")
        else:
            for options in re.findall(r"^\s*(?:`{3,}|:{3,})\{figure\}.*\n((?:\s*:.*\n)*)", cell.source, re.MULTILINE):
                name = re.search(r":name:\s*(\S+)", options)
                yield name[1] if name else ""


def captions(cell: nbformat.NotebookNode, chapter: markdown.Chapter) -> Iterator[str]:
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    if caption := figure.get("caption", ""):
        number = chapter.names.get(figure.get("name", ""), "Figure")
        yield f"**{number}** {markdown.render(' '.join(caption.split()), chapter)}"


def code_cell(cell: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The cell without what differs from run to run, and without images.

    What a cell with sliders shows is for the one who plays with it.
    """
    tags = set(cell.metadata.get("tags", []))
    tags = sorted(tags | {LOOSE} if execution.PLAYED in tags else tags)
    outputs = [] if LOOSE in tags else merged(text_output(output) for output in cell.outputs)
    made = nbformat.v4.new_code_cell(cell.source, outputs=[output for output in outputs if output])
    made.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    return made


def text_output(output: nbformat.NotebookNode) -> nbformat.NotebookNode | None:
    """What is kept of one output: its text."""
    if output.output_type == "stream":
        return nbformat.v4.new_output("stream", name=output.name, text=output.text)
    if output.output_type in ("display_data", "execute_result"):
        data = {kind: value for kind, value in output.data.items() if not kind.startswith("image/")}
        extra = {"execution_count": None} if output.output_type == "execute_result" else {}
        return nbformat.v4.new_output(output.output_type, data=data, **extra)
    raise ValueError(f"a chapter's cell has an output of type {output.output_type}")


def merged(outputs: Iterator[nbformat.NotebookNode | None]) -> list[nbformat.NotebookNode]:
    """One stream is one output: how many pieces it arrived in is an accident of timing."""
    kept: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = kept[-1] if kept else None
        if last and output and last.output_type == output.output_type == "stream" and last.name == output.name:
            last.text += output.text
        elif output:
            kept.append(output)
    return kept


def raw_address() -> str:
    """Where files of the public repository are served raw; empty while it has no address."""
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", repository())
    return f"https://raw.githubusercontent.com/{match[1]}/main/" if match else ""


def as_text(notebook: nbformat.NotebookNode) -> str:
    return nbformat.writes(notebook, indent=1) + "\n"


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_text(notebook))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Chapter notebooks from the book's sources.")
    parser.add_argument("--check", action="store_true", help="write nothing; name what is stale and exit with 1")
    check, stale = parser.parse_args(arguments).check, []
    wanted = {notebook_file(topic): topic for topic in topics()}
    for path, topic in tqdm(wanted.items(), desc="chapter notebooks", unit="chapter", disable=None):
        try:
            text = as_text(build(topic))
        except (ValueError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 2
        if not path.is_file() or path.read_text() != text:
            stale.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    leftover = sorted(set(ROOT.glob("notebooks/chapters/*.ipynb")) - wanted.keys())
    if not check:
        for path in leftover:
            path.unlink()
    for path in stale + leftover:
        print(f"{path.relative_to(ROOT)}: {'stale, run `make notebooks`' if check else 'written'}")
    return 1 if check and (stale or leftover) else 0


if __name__ == "__main__":
    sys.exit(main())
