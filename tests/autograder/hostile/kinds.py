"""What an attack is: a way to turn the released homework into a hostile submission, and what it may earn at most.

Attacks are data. `cell`, `answer`, `edit` and `files` make them; a group's own file lists them; `attacks.py` has all.
"""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder import sample_class
from autograder.exercise import load
from autograder.homework import answer_cells

TOPIC = "attention"
ALL = frozenset(exercise.answer_name for exercise in load(TOPIC).values())
LEAK = "LEAKED:"  # what a hostile cell prints when it got where it should not


@dataclass(frozen=True)
class World:
    """What an attacker could know of the machine it is graded on."""

    folder: Path  # the course
    canary: Path  # a file outside the course
    port: int  # TCP and UDP, on 127.0.0.1
    abstract: str  # name of an abstract unix socket
    grader: int  # the process that grades

    def fill(self, source: str) -> str:
        for name, value in (
            ("COURSE", str(self.folder)),
            ("CANARY", str(self.canary)),
            ("PORT", self.port),
            ("ABSTRACT", self.abstract),
            ("GRADER", self.grader),
        ):
            source = source.replace(f"«{name}»", repr(value))
        return source


Made = NotebookNode | str | bytes | None  # None: the attack has written its files itself


@dataclass(frozen=True)
class Attack:
    """`make(world, released, place)` gives the submission; `lost` are the exercises that must not earn anything.

    Every other exercise is answered rightly and must earn all its points: an attack costs what it attacks.
    """

    make: Callable[[World, NotebookNode, Path], Made]
    lost: frozenset[str] = ALL
    verdict: bool = True  # False: there is no file to judge, so the instructor is told instead

    @property
    def earns(self) -> float:
        return sum(exercise.points for exercise in load(TOPIC).values() if exercise.answer_name not in self.lost)


def nothing(name: str) -> str | None:
    """The answer cell stays as released."""
    return None


def right(name: str) -> str:
    return answer_cells(TOPIC)[f"{TOPIC}.{name}"]


def wrong(name: str) -> str:
    """An answer that is wrong for every case but raises nothing."""
    return f"def {name}(*arguments, **named):\n    import torch\n    return torch.zeros(())\n"


def filled(released: NotebookNode, answers: Callable[[str], str | None]) -> NotebookNode:
    return sample_class.fill_in(released, TOPIC, lambda index, exercise: answers(exercise.answer_name))


def code(source: str) -> NotebookNode:
    return nbformat.v4.new_code_cell(textwrap.dedent(source).strip("\n"))


def by_id(notebook: NotebookNode) -> dict[str, NotebookNode]:
    return {cell.metadata.get("nbgrader", {}).get("grade_id"): cell for cell in notebook.cells}


def cell(source: str, answers: Callable[[str], str | None] = nothing) -> Attack:
    """A hostile cell behind the imports. With right answers it must cost nothing, with others it must earn nothing."""

    def make(world: World, released: NotebookNode, place: Path) -> NotebookNode:
        notebook = filled(released, answers)
        notebook.cells.insert(3, code(world.fill(textwrap.dedent(source))))
        return notebook

    return Attack(make, frozenset() if answers is right else ALL)


def answer(source: str, name: str = "causal_mask") -> Attack:
    """A hostile answer to one question; all others are right and keep their points."""

    def make(world: World, released: NotebookNode, place: Path) -> NotebookNode:
        text = world.fill(textwrap.dedent(source).strip("\n"))
        return filled(released, lambda asked: text if asked == name else right(asked))

    return Attack(make, frozenset({name}))


def edit(
    change: Callable[[NotebookNode], Any], answers: Callable[[str], str | None] = nothing, lost: frozenset[str] = ALL
) -> Attack:
    """A notebook changed in place, or replaced by what the change returns."""

    def make(world: World, released: NotebookNode, place: Path) -> Made:
        notebook = filled(released, answers)
        changed = change(notebook)
        return notebook if changed is None else changed

    return Attack(make, lost)


def files(write: Callable[[World, NotebookNode, Path], Made], verdict: bool = True, lost=ALL) -> Attack:
    """A submission folder of any form: `write` gets the folder `submitted/NAME/attention`, not made yet."""
    return Attack(write, lost, verdict)


def text_of(notebook: NotebookNode) -> str:
    """A notebook's JSON without any check of its form."""
    return json.dumps(notebook, ensure_ascii=True)


def hand_in(world: World, released: NotebookNode, student: str, attack: Attack) -> None:
    """Write one attack's submission."""
    place = world.folder / "submitted" / student / TOPIC
    made = attack.make(world, copy.deepcopy(released), place)
    if made is None:
        return
    place.mkdir(parents=True, exist_ok=True)
    if isinstance(made, NotebookNode):
        made = text_of(made)
    (place / f"{TOPIC}.ipynb").write_bytes(made if isinstance(made, bytes) else made.encode())
