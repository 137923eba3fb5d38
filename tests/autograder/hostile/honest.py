"""Honest but odd submissions: every one of them is right and has to get every point.

Each is a function that changes a notebook with right answers, or returns the bytes to hand in instead.
"""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable

import nbformat
from hostile.kinds import ALL, TOPIC, by_id, code, text_of
from nbformat import NotebookNode

Change = Callable[[NotebookNode], bytes | str | None]
ODD: dict[str, Change] = {}


def odd(change: Change) -> Change:
    ODD[change.__name__.replace("_", "-")] = change
    return change


def extra(source: str, where: int = 3) -> Change:
    """One more cell, behind the imports unless told otherwise."""

    def change(notebook: NotebookNode) -> None:
        notebook.cells.insert(where, code(source))

    return change


ODD |= {
    "prints": extra("print('hello')\nprint(torch.zeros(3))"),
    "warnings-on-stderr": extra("import sys, warnings\nwarnings.warn('careful')\nprint('oh', file=sys.stderr)"),
    "warnings-are-errors": extra("import warnings\nwarnings.simplefilter('error')"),
    "plots": extra("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()\nplt.gcf()"),
    "matplotlib-inline": extra("%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);"),
    "timeit": extra("%timeit -n 2 -r 2 sum(range(10))\n%time x = 1"),
    "cell-magics": extra("%%timeit -n 2 -r 2\nsum(range(10))"),
    "magics-that-load": extra("%load_ext autoreload\n%autoreload 2\n%config InlineBackend.figure_format = 'retina'"),
    "shell-commands": extra("!ls\nfiles = !ls /tmp\n!pip --version\n!git status"),
    "installs-a-package": extra("%pip install einops\n!pip install torch"),
    "top-level-await": extra("import asyncio\nawait asyncio.sleep(0.01)\nasync def f(): return 1\nx = await f()"),
    "own-event-loop": extra(
        "import asyncio\nasync def f(): return 1\nprint(asyncio.new_event_loop().run_until_complete(f()))"
    ),
    "russian-names": extra("# Проверка масок\nразмер = 5\nмаска = torch.ones(размер)\nprint('готово:', маска)"),
    "float64-everywhere": extra("torch.set_default_dtype(torch.float64)"),
    "no-gradients": extra("torch.set_grad_enabled(True)\nwith torch.no_grad(): torch.zeros(2)"),
    "own-seeds": extra("import random\nimport numpy as np\nrandom.seed(1)\nnp.random.seed(2)\ntorch.manual_seed(3)"),
    "two-threads": extra("torch.set_num_threads(2)\nx = torch.randn(400, 400)\nprint((x @ x).sum())"),
    "many-threads": extra(
        "import threading\nt = [threading.Thread(target=print) for _ in range(5)]\n[x.start() for x in t]"
    ),
    "files-in-tmp": extra(
        "open('/tmp/notes.txt', 'w').write('x')\nopen('here.txt', 'w').write('y')\nopen('here.txt').read()"
    ),
    "names-of-the-engine": extra(
        "channel = session = shell = request = reply = replies = question = answer = probe = inputs = 5\n"
        "Cell = Reply = Question = cage = judge = award = observe = plain = pack = unpack = case = seed = None"
    ),
    "names-of-builtins": extra("list = [1, 2]\nmax = 3\nsum = 0\nid = 7\ninput = None"),
    "underscores": extra("_ = 5\n__ = 6\nIn = Out = None\n_"),
    "an-error-of-their-own": extra("1 / 0"),
    "a-syntax-error-of-their-own": extra("for x in\n  print("),
    "asks-the-reader": extra("name = input('your name? ')"),
    "leaves-with-exit": extra("exit()", where=6),
    "quits": extra("import sys\nsys.exit(0)", where=6),
    "interrupts": extra("raise KeyboardInterrupt"),
    "long-output": extra("for n in range(5000): print(n, end=' ')"),
    "displays": extra(
        "from IPython.display import HTML, Markdown, display\ndisplay(HTML('<b>x</b>'), Markdown('# x'))\ntorch.eye(3)"
    ),
    "numpy-that-raises": extra("import numpy as np\nnp.seterr(all='raise')\nnp.set_printoptions(precision=2)"),
    "deep-recursion-allowed": extra("import sys\nsys.setrecursionlimit(5000)"),
    "own-processes": extra(
        "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout)"
    ),
    "a-process-pool": extra(
        "from concurrent.futures import ThreadPoolExecutor\nimport multiprocessing\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: print(pool.map(abs, [-1, 2]))\n"
        "with ThreadPoolExecutor(2) as pool: print(list(pool.map(abs, [-1])))"
    ),
    "a-data-loader": extra(
        "from torch.utils.data import DataLoader, TensorDataset\n"
        "print(len(list(DataLoader(TensorDataset(torch.zeros(8, 2)), batch_size=4, num_workers=1))))"
    ),
    "timer-of-their-own": extra(
        "import signal\nsignal.signal(signal.SIGALRM, lambda *_: None)\nsignal.alarm(1)\nsignal.alarm(0)"
    ),
    "logging": extra("import logging\nlogging.basicConfig(level=logging.DEBUG)\nlogging.getLogger().warning('hm')"),
    "trains-a-little": extra(
        "net = torch.nn.Linear(3, 1)\nstep = torch.optim.SGD(net.parameters(), 0.1)\n"
        "for _ in range(20):\n    loss = net(torch.randn(8, 3)).pow(2).mean()\n    step.zero_grad()\n"
        "    loss.backward()\n    step.step()\nprint(loss)"
    ),
}


def answers(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {name: cell for name, cell in by_id(notebook).items() if name in ALL}


@odd
def markdown_answers(notebook: NotebookNode) -> None:
    """Answers in words between the cells, and one answer cell turned to Markdown by a slip of the keyboard."""
    for number in (3, 9, 15):
        notebook.cells.insert(number, nbformat.v4.new_markdown_cell("Мой ответ: $a < b$, *because* of `x`."))
    cell = answers(notebook)["padding_mask"]
    place = notebook.cells.index(cell)
    notebook.cells[place] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata)


@odd
def helpers_in_other_cells(notebook: NotebookNode) -> None:
    cell = answers(notebook)["causal_mask"]
    cell.source = "def causal_mask(query, key):\n    return later(query, key)"
    helper = code("def later(query, key):\n    return torch.arange(key) <= torch.arange(query)[:, None] + key - query")
    notebook.cells.insert(3, helper)


@odd
def helper_between_answer_and_check(notebook: NotebookNode) -> None:
    """What the answer needs is written below it, above the graded cell."""
    cell = answers(notebook)["causal_mask"]
    cell.source = "def causal_mask(query, key):\n    return later(query, key)"
    helper = code("def later(query, key):\n    return torch.arange(key) <= torch.arange(query)[:, None] + key - query")
    notebook.cells.insert(notebook.cells.index(cell) + 1, helper)


@odd
def a_class_over_several_cells(notebook: NotebookNode) -> None:
    cell = answers(notebook)["merge_heads"]
    place = notebook.cells.index(cell)
    cell.source = "class merge_heads:\n    def __new__(cls, x):\n        return cls.put_together(x)"
    more = code(
        "def put_together(x):\n    return x.permute(0, 2, 1, 3).flatten(2)\n\nmerge_heads.put_together = put_together"
    )
    notebook.cells.insert(place + 1, more)


@odd
def an_answer_split_into_two_cells(notebook: NotebookNode) -> None:
    """As JupyterLab splits a cell: both halves carry the same marks."""
    cell = answers(notebook)["split_heads"]
    place = notebook.cells.index(cell)
    first = nbformat.v4.new_code_cell("def pieces_of(x, heads):\n    return x.unflatten(2, (heads, -1))")
    first.metadata = nbformat.from_dict(cell.metadata)
    cell.source = "def split_heads(x, heads):\n    return pieces_of(x, heads).permute(0, 2, 1, 3)"
    notebook.cells.insert(place, first)


@odd
def all_answers_in_one_cell(notebook: NotebookNode) -> None:
    found = answers(notebook)
    together = "\n\n\n".join(cell.source for cell in found.values())
    for cell in found.values():
        notebook.cells.remove(cell)
    notebook.cells.insert(3, code(together))


@odd
def a_check_below_the_answer(notebook: NotebookNode) -> None:
    """The graded line is tried in the answer's own cell too, with what it says kept."""
    for name, cell in answers(notebook).items():
        cell.source += f'\n\n\ncheck("{TOPIC}.{name}", {name})'
    notebook.cells.append(code(f'result = check("{TOPIC}.causal_mask", causal_mask)\nprint(result)'))


@odd
def checks_above_the_answers(notebook: NotebookNode) -> None:
    for name in ALL:
        notebook.cells.insert(3, code(f'check("{TOPIC}.{name}", {name})'))


@odd
def decorators_and_annotations(notebook: NotebookNode) -> None:
    notebook.cells.insert(
        3,
        code(
            """
            import functools
            from typing import Any

            def noted(function):
                @functools.wraps(function)
                def inner(*arguments: Any, **named: Any) -> Any:
                    return function(*arguments, **named)
                return inner
            """
        ),
    )
    for cell in answers(notebook).values():
        cell.source = "@noted\n" + cell.source
    answers(notebook)["causal_mask"].source = textwrap.dedent(
        """
        @noted
        @functools.lru_cache
        def causal_mask(query: int, key: int) -> "torch.Tensor":
            keys: torch.Tensor = torch.arange(key)
            return keys <= torch.arange(query)[:, None] + key - query
        """
    )


@odd
def lambdas(notebook: NotebookNode) -> None:
    found = answers(notebook)
    found["causal_mask"].source = "causal_mask = lambda q, k: torch.arange(k) <= torch.arange(q)[:, None] + k - q"
    found["merge_heads"].source = "merge_heads = lambda x: rearrange(x, 'b h t d -> b t (h d)')"


@odd
def an_answer_that_talks(notebook: NotebookNode) -> None:
    for cell in answers(notebook).values():
        lines = cell.source.splitlines()
        body = next(n for n, line in enumerate(lines) if line.startswith("    ") and not line.endswith(("(", ",")))
        lines.insert(body, "    import sys, warnings; print('here'); warnings.warn('hm'); print('!', file=sys.stderr)")
        cell.source = "\n".join(lines)


@odd
def two_versions_the_later_counts(notebook: NotebookNode) -> None:
    """A wrong try was kept above; the marked cell holds the right answer."""
    cell = answers(notebook)["causal_mask"]
    notebook.cells.insert(notebook.cells.index(cell), code("def causal_mask(query, key):\n    return None"))


@odd
def reordered(notebook: NotebookNode) -> None:
    """Questions done in another order; each answer still stands above its check."""
    opening, rest = notebook.cells[:3], notebook.cells[3:]
    pieces: list[list[NotebookNode]] = [[]]
    for cell in rest:
        pieces[-1].append(cell)
        if cell.metadata.get("nbgrader", {}).get("grade"):
            pieces.append([])
    random.Random(0).shuffle(pieces)
    notebook.cells = opening + [cell for piece in pieces for cell in piece]


@odd
def without_imports(notebook: NotebookNode) -> None:
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("import math")]


@odd
def imports_of_their_own(notebook: NotebookNode) -> None:
    cell = next(cell for cell in notebook.cells if cell.source.startswith("import math"))
    cell.source += "\nimport numpy as np, scipy, sklearn, einops\nfrom pathlib import Path\nfrom torch import *"


@odd
def without_text(notebook: NotebookNode) -> None:
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]


@odd
def without_checks(notebook: NotebookNode) -> None:
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("nbgrader", {}).get("grade")]


@odd
def without_marks(notebook: NotebookNode) -> None:
    """An editor that keeps no metadata."""
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()


@odd
def two_hundred_notes(notebook: NotebookNode) -> None:
    notebook.cells += [nbformat.v4.new_markdown_cell(f"note {n}: $x^{n}$") for n in range(200)]


@odd
def long_stories(notebook: NotebookNode) -> None:
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("Once upon a time there was a mask. " * 2000))


@odd
def pasted_html(notebook: NotebookNode) -> None:
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("<h1 style='color:red'>Me</h1><script>1</script>"))


@odd
def another_kernel(notebook: NotebookNode) -> None:
    notebook.metadata.kernelspec = {"name": "my-env", "display_name": "my env", "language": "python"}
    notebook.metadata.colab = {"provenance": []}


@odd
def format_3(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook, version=3)


@odd
def format_4_0(notebook: NotebookNode) -> None:
    notebook.nbformat_minor = 0
    for cell in notebook.cells:
        cell.pop("id", None)


@odd
def windows_lines(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.source = cell.source.replace("\n", "\r\n")


@odd
def saved_with_a_mark(notebook: NotebookNode) -> bytes:
    """An editor that puts a byte order mark before the first letter."""
    return text_of(notebook).encode("utf-8-sig")


@odd
def saved_as_utf_16(notebook: NotebookNode) -> bytes:
    return text_of(notebook).encode("utf-16")


@odd
def sources_as_lists(notebook: NotebookNode) -> None:
    for cell in notebook.cells:
        cell.source = cell.source.splitlines(keepends=True)


RENAMED = {
    "renamed-copy": "attention (1).ipynb",
    "renamed-by-name": "Иванов_homework.ipynb",
    "upper-case": "ATTENTION.ipynb",
}
