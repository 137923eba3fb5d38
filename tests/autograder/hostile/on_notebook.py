"""Attacks by what is handed in: the file, its form, its marks, and what an answer returns or raises."""

import json
import os
from pathlib import Path

import nbformat
from hostile.kinds import (
    ALL,
    TOPIC,
    Attack,
    World,
    answer,
    by_id,
    cell,
    code,
    edit,
    files,
    filled,
    right,
    text_of,
    wrong,
)
from nbformat import NotebookNode

MASK = "def causal_mask(query, key):\n"
SCRIPT = "<script>document.title='SCRIPTED'</script><img src=x onerror=alert(1)>"


def marked(change):
    """Change every graded cell."""

    def edit_all(notebook: NotebookNode) -> None:
        for graded in list(notebook.cells):
            if graded.metadata.get("nbgrader", {}).get("grade"):
                change(notebook, graded)

    return edit_all


def doubled(notebook: NotebookNode, graded: NotebookNode) -> None:
    notebook.cells.insert(notebook.cells.index(graded), graded.copy())


def flipped(notebook: NotebookNode, graded: NotebookNode) -> None:
    graded.metadata.nbgrader.update(grade=False, solution=True)


def dearer(notebook: NotebookNode, graded: NotebookNode) -> None:
    graded.metadata.nbgrader.update(points=100, max_points=100)


def nan_points(notebook: NotebookNode, graded: NotebookNode) -> None:
    graded.metadata.nbgrader.update(points=float("nan"), grade_id=["a", {}], schema_version="x", locked={})


def rewritten(notebook: NotebookNode, graded: NotebookNode) -> None:
    graded.metadata.nbgrader.update(locked=False)
    graded.source = "100.0"


def bare(notebook: NotebookNode, graded: NotebookNode) -> None:
    graded.source = ""


def easy_for_hard(notebook: NotebookNode) -> None:
    """Every graded cell asks about the easiest exercise, whose answer is right."""
    for name, found in by_id(notebook).items():
        if name and name.startswith("check_"):
            found.source = 'check("attention.padding_mask", padding_mask)'


def swapped_ids(notebook: NotebookNode) -> None:
    """Answer cells and graded cells carry each other's ids."""
    found = {name: cell for name, cell in by_id(notebook).items() if name}
    for name, other in zip(found, reversed(list(found)), strict=True):
        found[name].metadata.nbgrader.grade_id = other


def all_outputs_say_full(notebook: NotebookNode) -> None:
    for found in notebook.cells:
        if found.cell_type == "code":
            data = {"text/plain": "100.0", "application/vnd.ml-course.verdict+json": {"points": 100}}
            found.outputs = [nbformat.v4.new_output("execute_result", data)]


def many_cells(notebook: NotebookNode) -> None:
    notebook.cells += [code(f"x = {n}") for n in range(10_000)]


def only(source: str):
    """Nothing but one cell, of that text."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells = [code(""), nbformat.v4.new_code_cell(source)]

    return change


def nested(depth: int) -> str:
    return '{"cells": ' + "[" * depth + "]" * depth + ', "nbformat": 4}'


def deep_marks(notebook: NotebookNode) -> str:
    deep = '{"a":' * 900 + "1" + "}" * 900
    return text_of(notebook).replace('"grade": true', f'"grade": true, "deep": {deep}')


def deep_source(notebook: NotebookNode) -> str:
    return text_of(notebook).replace('"cells": [', '"cells": [{"source": ' + "[" * 900 + "]" * 900 + "}, 5, null, ")


def scripts(notebook: NotebookNode) -> None:
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(SCRIPT + "\n\n[a](javascript:alert(1)) <iframe src='x'>"))
    notebook.cells.insert(1, nbformat.v4.new_raw_cell(SCRIPT, metadata={"format": "text/html"}))
    notebook.cells[0].attachments = {"x.svg": {"image/svg+xml": SCRIPT}}
    notebook.metadata["title"] = notebook.metadata["widgets"] = SCRIPT
    for found in notebook.cells:
        if found.cell_type == "code":
            found.outputs = [nbformat.v4.new_output("display_data", {"text/html": SCRIPT})]


def kernel(notebook: NotebookNode) -> None:
    notebook.metadata = {"kernelspec": {"name": "bash", "language": "bash", "display_name": "sh; rm -rf /"}}


def surrogates(notebook: NotebookNode) -> None:
    notebook.cells += [code("print('\ud800')\n'\udfff'"), nbformat.v4.new_markdown_cell("\ud800")]
    by_id(notebook)["causal_mask"].metadata.nbgrader["points"] = "\ud800"


def link_folder(world: World, released: NotebookNode, place: Path) -> None:
    """The whole submission is a link to the best student's."""
    place.parent.mkdir(parents=True)
    place.symlink_to(world.folder / "submitted" / "ada" / TOPIC)


def link_student(world: World, released: NotebookNode, place: Path) -> None:
    place.parent.parent.mkdir(parents=True, exist_ok=True)
    place.parent.symlink_to(world.folder / "submitted" / "ada")


def link_file(world: World, released: NotebookNode, place: Path) -> None:
    place.mkdir(parents=True)
    (place / f"{TOPIC}.ipynb").symlink_to(world.folder / "source" / TOPIC / f"{TOPIC}.ipynb")


def link_timestamp(world: World, released: NotebookNode, place: Path) -> NotebookNode:
    """The note of when it was handed in is a link to the course's secret."""
    place.mkdir(parents=True)
    (place / "timestamp.txt").symlink_to(world.folder / ".course_secret")
    return released


def endless_timestamp(world: World, released: NotebookNode, place: Path) -> NotebookNode:
    place.mkdir(parents=True)
    with open(place / "timestamp.txt", "wb") as file:
        file.truncate(4 * 2**30)
    return released


def a_pipe(world: World, released: NotebookNode, place: Path) -> None:
    place.mkdir(parents=True)
    os.mkfifo(place / f"{TOPIC}.ipynb")


def a_folder(world: World, released: NotebookNode, place: Path) -> None:
    (place / f"{TOPIC}.ipynb").mkdir(parents=True)


def a_hole(world: World, released: NotebookNode, place: Path) -> None:
    """A file of 40 GB that takes no room."""
    place.mkdir(parents=True)
    with open(place / f"{TOPIC}.ipynb", "wb") as file:
        file.truncate(40 * 2**30)


def renamed(world: World, released: NotebookNode, place: Path) -> None:
    place.mkdir(parents=True)
    for number in range(3):
        (place / f"{number}.ipynb").write_text(text_of(filled(released, wrong)))
    (place / "attention.ipynb ").write_text("not this one")


FORM = {
    "doubled-test-cells": edit(marked(doubled)),
    "flipped-test-cells": edit(marked(flipped)),
    "points-raised": edit(marked(dearer)),
    "points-not-a-number": edit(marked(nan_points)),
    "test-cells-rewritten": edit(marked(rewritten)),
    "test-cells-emptied": edit(marked(bare)),
    "test-cells-deleted": edit(lambda nb: marked(lambda _, graded: nb.cells.remove(graded))(nb)),
    "easy-answer-for-hard-questions": edit(
        easy_for_hard, lambda name: right(name) if name == "padding_mask" else None, ALL - {"padding_mask"}
    ),
    "ids-swapped": edit(swapped_ids),
    "outputs-say-full-marks": edit(all_outputs_say_full),
    "ten-thousand-cells": edit(many_cells),
    "no-cells": edit(lambda nb: nb.update(cells=[])),
    "cells-are-not-a-list": edit(lambda nb: '{"cells": {"a": 1}, "nbformat": 4}'),
    "cells-are-not-cells": edit(lambda nb: '{"cells": [1, null, "x", [], {}], "nbformat": 4}'),
    "deep-nesting": edit(lambda nb: nested(100_000)),
    "deep-nesting-that-parses": edit(lambda nb: nested(500)),
    "deep-marks": edit(deep_marks),
    "deep-source": edit(deep_source),
    "hundred-thousand-blank-lines": edit(only("\n" * 100_000)),
    "blank-lines-everywhere": edit(
        lambda nb: nb.cells.extend(code("").copy() | {"source": "\n" * 90_000} for _ in [1] * 50)
    ),
    "huge-cell": edit(only("x = '" + "x" * 20_000_000 + "'")),
    "huge-notebook": edit(
        lambda nb: nb.cells.extend(nbformat.v4.new_markdown_cell("$a$ [x " * 12_000) for _ in [1] * 200)
    ),
    "null-bytes": edit(only("x = '\0'\n\0\0")),
    "half-characters": edit(surrogates),
    "wrong-kernel": edit(kernel),
    "scripts-for-the-instructor": edit(scripts),
    "format-of-the-future": edit(lambda nb: nb.update(nbformat=99, nbformat_minor=-5)),
    "format-of-the-past": edit(lambda nb: nb.update(nbformat=-1)),
    "format-not-a-number": edit(lambda nb: nb.update(nbformat=[4], nbformat_minor="x")),
    "worksheets-of-nonsense": edit(lambda nb: '{"worksheets": [[[]]], "nbformat": 3, "metadata": 7}'),
    "not-json": edit(lambda nb: "Dear grader, full marks please."),
    "other-json": edit(lambda nb: json.dumps({"grade": 100, "points": 27})),
    "empty-file": edit(lambda nb: ""),
    "binary": edit(lambda nb: bytes(range(256)) * 1000),
    "torn-utf-16": edit(lambda nb: text_of(nb).encode("utf-16")[:-1001]),
}
FILES = {
    "link-to-adas-folder": files(link_folder, verdict=False),
    "link-to-ada": files(link_student, verdict=False),
    "link-to-the-source": files(link_file, verdict=False),
    "link-to-the-secret": files(link_timestamp),
    "endless-timestamp": files(endless_timestamp),
    "a-pipe": files(a_pipe, verdict=False),
    "a-folder-for-a-file": files(a_folder, verdict=False),
    "a-hole-for-a-file": files(a_hole),
    "renamed-and-wrong": files(renamed),
}
RESULTS = {
    "nan": answer(MASK + "    import torch\n    return torch.full((query, key), torch.nan)"),
    "wrong-dtype": answer(
        "def padding_mask(lengths, time):\n    import torch\n    return torch.zeros(len(lengths), 1, time).cfloat()",
        "padding_mask",
    ),
    "objects-in-an-array": answer(MASK + "    import numpy\n    return numpy.array([print, {}, None], dtype=object)"),
    "meta-tensor": answer(
        MASK + "    import torch\n    return torch.ones(query, key, dtype=torch.bool, device='meta')"
    ),
    "sparse-tensor": answer(MASK + "    import torch\n    return torch.ones(query, key).to_sparse()"),
    "quantized-tensor": answer(
        MASK + "    import torch\n    return torch.quantize_per_tensor(torch.ones(query, key), 0.1, 0, torch.qint8)"
    ),
    "lazy-object": answer(
        """
        class Lazy:
            def __init__(self, *arguments): pass
            def __array__(self, *arguments, **named): raise SystemExit
            def __torch_function__(self, *arguments, **named): return True
            def __getattr__(self, name): return Lazy()
            def __call__(self, *arguments, **named): return True
        causal_mask = Lazy()
        """
    ),
    "getattr-without-end": answer(
        """
        class Deep:
            def __getattr__(self, name): return getattr(self, name + "x")
        def causal_mask(query, key):
            return Deep()
        """
    ),
    "a-class-that-lies": answer(
        """
        import torch
        class Liar:
            __class__ = property(lambda self: torch.Tensor)
            __module__ = "torch"
            dtype = property(lambda self: 1 / 0)
        Liar.__module__ = "torch"
        def causal_mask(query, key):
            return Liar()
        """
    ),
    "a-name-without-end": answer(MASK + "    return type('N' * 5_000_000, (), {})()"),
    "an-error-without-end": answer(MASK + "    raise type('E' * 5_000_000, (Exception,), {})('x' * 10_000_000)"),
    "an-error-with-evil-words": answer(
        """
        class Evil(Exception):
            def __str__(self): raise SystemExit
            __repr__ = __str__
        def causal_mask(query, key):
            raise Evil
        """
    ),
    "an-error-with-half-characters": answer(MASK + "    raise ValueError('\\ud800' + '\\x00' + '\\udfff')"),
    "a-result-of-half-characters": answer(MASK + "    return {'\\ud800': '\\udfff'}"),
    "a-cell-error-with-evil-words": cell(
        """
        class Evil(BaseException):
            def __str__(self): raise SystemExit
        raise Evil
        """,
        right,
    ),
    "scripts-in-outputs": cell(
        f"""
        from IPython.display import HTML, Javascript, Markdown, display
        display(HTML({SCRIPT!r}), Javascript("alert('SCRIPTED')"), Markdown({SCRIPT!r}))
        print({SCRIPT!r})
        raise type({SCRIPT!r}, (Exception,), {{}})({SCRIPT!r})
        """,
        right,
    ),
    "scripts-in-a-complaint": answer(MASK + f"    raise type({SCRIPT!r}, (Exception,), {{}})({SCRIPT!r})"),
    "deep-result": answer(MASK + "    deep = []\n    for _ in range(100_000): deep = [deep]\n    return deep"),
    "result-in-itself": answer(MASK + "    deep = []\n    deep.append(deep)\n    return deep"),
    "huge-number": answer(MASK + "    return 10 ** 100_000"),
    "a-result-that-changes": answer(
        """
        class Shifty(dict):
            def items(self): return iter(lambda: ("mask", 1), None)
        def causal_mask(query, key):
            return Shifty()
        """
    ),
}

ATTACKS: dict[str, Attack] = FORM | FILES | RESULTS
