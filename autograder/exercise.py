"""What an exercise is: its cases, probe, reference, facets, mistakes and alternatives, said in one place.

An exercise file reads like this:

    double = Exercise("topic.double", difficulty=1, minutes=5, reference=topic.double, facets={"values": 2})

    @double.cases
    def cases(rng):
        yield Case("a few numbers", x=rng.normal(size=5))

    @double.probe
    def probe(answer, x):
        return {"result": answer(x)}

    @double.alternative
    def by_adding(x):
        return x + x

    @double.mistake(hint="Read the formula aloud: two times x.")
    def squared_instead(x):
        \"\"\"The number is multiplied by itself.\"\"\"
        return x * x
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autograder import probes
from autograder.errors import CourseError

GRADIENTS, DTYPE, SIDE_EFFECTS = "gradients", "dtype", "no side effects"
AUTOGRAD = ("backward", "grad", "vjp", "jvp", "jacobian")  # what does the way back by itself


class Case:
    """One call of the answer: a label a student can read, the facet it tests, and plain inputs (arrays, numbers, text).

    `Case("length one", time=1)` belongs to the exercise's first facet;
    `Case("all masked", "masking", mask=...)` to the facet `masking`.
    """

    def __init__(self, label: str, facet: str | None = None, /, **inputs: Any):
        self.label, self.facet, self.inputs = label, facet, inputs

    def __repr__(self) -> str:
        return f"Case({self.label!r}, {self.facet!r}, {', '.join(self.inputs)})"


@dataclass(frozen=True)
class Version:
    """A way to write the answer: source that defines `name`, run beside the exercise file's own imports."""

    label: str
    source: str
    name: str
    module: ModuleType = field(repr=False)

    @cached_property
    def answer(self) -> Callable:
        """The function or class itself, made from the source."""
        return define(self.source, self.name, dict(vars(self.module)))

    def as_submitted(self, name: str) -> str:
        """The source as a student would hand it in: under the asked name, without decorator or docstring."""
        tree = ast.parse(self.source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == self.name:
                node.name = name
                node.decorator_list = []
                if ast.get_docstring(node) is not None and len(node.body) > 1:
                    node.body = node.body[1:]
            if isinstance(node, ast.Name) and node.id == self.name:
                node.id = name
        return ast.unparse(tree)


@dataclass(frozen=True)
class Mistake(Version):
    """A wrong version students really write: what went wrong and a hint that does not give the answer away."""

    cause: str = ""
    hint: str = ""


def define(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run `source` in `namespace` and return what it calls `name`; its lines can be shown in tracebacks."""
    exec(compile(source, f"<{name}>", "exec"), namespace)
    return namespace[name]


def undecorated(thing: Callable) -> str:
    """Source of a function or class without its decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
    lines = textwrap.dedent(inspect.getsource(thing)).splitlines()
    return "\n".join(lines[tree.body[0].lineno - 1 :]) + "\n"


class Exercise:
    """Everything about one exercise.

    name        `topic.answer`, where `answer` is what the student's function or class is called
    facets      named shares of the points; the first is the foundation: without it the others earn nothing.
                Three names have a meaning of their own wherever an exercise lists them:
                `gradients` takes every output whose key begins with "gradient";
                `dtype` takes complaints about a result's type (else they belong to the case's facet);
                `no side effects` asks that the inputs come back unchanged
    reference   a callable of the same contract, judged right by definition
    forbidden   last names of functions and classes that may not be called ("softmax", "MultiheadAttention");
                the topic's own module is always forbidden
    difficulty  1 to 3; minutes: what a student should expect
    results     names of the results where the answer returns several: ("outputs", "state")
    seconds, megabytes   limits when graded, for all cases together
    rtol        relative tolerance for float64 results (float32 and bfloat16 get their own, coarser one)
    equivalent_mutants   {changed line as the audit prints it: why no case can tell it from the solution}
    """

    def __init__(
        self,
        name: str,
        *,
        reference: Callable,
        facets: dict[str, float],
        difficulty: int,
        minutes: int,
        forbidden: tuple[str, ...] = (),
        results: tuple[str, ...] = (),
        seconds: float = 5.0,
        megabytes: int = 1024,
        rtol: float = 1e-6,
        equivalent_mutants: dict[str, str] | None = None,
    ):
        self.name, self.reference, self.facets = name, reference, facets
        self.difficulty, self.minutes = difficulty, minutes
        self.forbidden, self.results, self.rtol = forbidden, results, rtol
        self.seconds, self.megabytes = seconds, megabytes
        self.equivalent_mutants = equivalent_mutants or {}
        self.module = sys.modules[sys._getframe(1).f_globals["__name__"]]
        self.alternatives: list[Version] = []
        self.mistakes: list[Mistake] = []
        self.custom_judge: Callable | None = None

    # What it is called.

    @property
    def topic(self) -> str:
        return self.name.split(".")[0]

    @property
    def answer_name(self) -> str:
        return self.name.split(".")[1]

    @property
    def points(self) -> float:
        return sum(self.facets.values())

    @property
    def foundation(self) -> str:
        return next(iter(self.facets))

    # Decorators that fill it in.

    def cases(self, generate: Callable[[np.random.Generator], Iterator[Case]]) -> Callable:
        """A generator of cases from a random generator: sizes, masks, edge cases; never constants only."""
        self._cases = generate
        return generate

    def probe(self, function: Callable) -> Callable:
        """Calls the student's answer on one case and returns a dict of plain values, no judgement.

        Self-contained but for the functions of `autograder.probes` that it calls: their source goes with it.
        """
        named = map(function.__globals__.get, function.__code__.co_names)
        helpers = [each for each in named if inspect.isfunction(each) and each.__module__ == probes.__name__]
        self.probe_source = "\n\n".join(map(undecorated, [*helpers, function]))
        self.probe_name = function.__name__
        return function

    def judge(self, function: Callable) -> Callable:
        """Optional, where more than one output is right: `judge(inputs, got, want)` yields (key, complaint)."""
        self.custom_judge = function
        return function

    def alternative(self, answer: Callable) -> Callable:
        """A right version in another style."""
        label = answer.__name__.replace("_", " ")
        self.alternatives.append(Version(label, undecorated(answer), answer.__name__, self.module))
        return answer

    def mistake(self, *, hint: str) -> Callable[[Callable], Callable]:
        """A wrong version written out: its name is the mistake's, its docstring the cause."""

        def add(answer: Callable) -> Callable:
            label, cause = answer.__name__.replace("_", " "), inspect.getdoc(answer) or ""
            self.mistakes.append(Mistake(label, undecorated(answer), answer.__name__, self.module, cause, hint))
            return answer

        return add

    def slip(self, label: str, right: Callable, old: str, new: str, *, cause: str, hint: str) -> None:
        """A wrong version that differs from the right one in a few characters."""
        source = undecorated(right)
        if source.count(old) != 1:
            raise ValueError(f"{self.name}, slip {label!r}: {old!r} occurs {source.count(old)} times, not once")
        source = source.replace(old, new)
        self.mistakes.append(Mistake(label, source, right.__name__, self.module, cause, hint))

    # What it yields.

    def make_cases(self, seed: int) -> list[Case]:
        """The cases of one seed, each with its facet filled in."""
        made = list(self._cases(np.random.default_rng(seed)))
        for case in made:
            case.facet = case.facet or self.foundation
            if case.facet not in self.facets:
                raise ValueError(
                    f"{self.name}: case {case.label!r} names facet {case.facet!r}; facets: {list(self.facets)}"
                )
        return made


def files_of(module: Path) -> list[Path]:
    """The files of a module, given as its path without suffix: the one, or all of the package of that name."""
    return sorted(module.rglob("*.py")) or [module.with_suffix(".py")]


@cache
def topics() -> tuple[str, ...]:
    """Topics that have exercises."""
    package = importlib.import_module("autograder.exercises")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(package.__path__)))


@cache
def load(topic: str) -> dict[str, Exercise]:
    """The exercises of one topic by full name, in the order in which its file, or its package, names them."""
    if topic not in topics():
        raise CourseError(f"no homework called {topic!r}; there is: {', '.join(topics())}")
    module = importlib.import_module(f"autograder.exercises.{topic}")
    return {exercise.name: exercise for exercise in vars(module).values() if isinstance(exercise, Exercise)}


def find(name: str) -> Exercise:
    """The exercise of that full name, e.g. `attention.causal_mask`."""
    topic = name.split(".")[0]
    exercises = load(topic)
    if name not in exercises:
        raise CourseError(f"no exercise called {name!r}; {topic} has: {', '.join(exercises)}")
    return exercises[name]
