"""Every system of the course, read from book/systems.yml: its year, chapter, code, test and exercises."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path

import yaml

from autograder.exercise import load
from ml_course.scripts import chapters
from ml_course.scripts.bibliography import Bibliography

ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class Date:
    """What happened in a year; `label` is the section where the course tells it, empty where it does not."""

    name: str
    year: int
    source: str
    label: str


@dataclass(frozen=True)
class System(Date):
    """A system that runs in the course."""

    topic: str
    code: str
    exercises: tuple[str, ...]
    told: bool

    @cached_property
    def last_name(self) -> str:
        return self.code.rpartition(".")[2]

    def find(self) -> object:
        """The function, class or constant itself."""
        module, _, name = self.code.rpartition(".")
        return getattr(import_module(module), name)

    def test_file(self, root: Path = chapters.ROOT) -> Path | None:
        """The first test file that uses the code, its own module's before others."""
        own = self.code.split(".")[1]
        files = sorted(_tests(root).items(), key=lambda file: (own not in file[0].stem, file[0].name))
        wanted = {"ml_course", own, self.last_name}
        return next((path for path, words in files if wanted <= words), None)

    def graded(self) -> list:
        """Its exercises as the bank has them."""
        return [load(self.topic)[f"{self.topic}.{name}"] for name in self.exercises]


def systems(root: Path = chapters.ROOT) -> list[System]:
    """All systems of the topics in _toc.yml, in the order of the book."""
    declared, years = _declared(root)
    return [_system(topic, entry, years) for topic in chapters.topics(root) for entry in declared.get(topic, [])]


def named(name: str, root: Path = chapters.ROOT) -> System | None:
    """The system of that name, or None while its topic is not in _toc.yml; an unknown name is an error."""
    declared, years = _declared(root)
    known = {entry["name"]: (topic, entry) for topic, entries in declared.items() for entry in entries}
    if name not in known or known[name][0] == ELSEWHERE:
        raise KeyError(f"{name!r} is no system of book/systems.yml")
    topic, entry = known[name]
    return _system(topic, entry, years) if topic in chapters.topics(root) else None


def dates(root: Path = chapters.ROOT) -> list[Date]:
    """The dates of the timeline, in the order of the years, those of topics yet to come included."""
    declared, years = _declared(root)
    topics = chapters.topics(root)
    found = []
    for topic, entries in declared.items():
        for entry in entries:
            if topic == ELSEWHERE:
                told_in = entry.get("section", "").split("-")[0]
                label = entry["section"] if told_in in topics else ""
                found.append(Date(entry["name"], _year(entry, years), entry["source"], label))
            elif entry.get("told"):
                system = _system(topic, entry, years)
                runs = topic in topics
                found.append(system if runs else Date(system.name, system.year, system.source, ""))
    return sorted(found, key=lambda date: date.year)


@cache  # a page asks for each of its links
def _tests(root: Path) -> dict[Path, frozenset[str]]:
    """The names in each file of the library's tests."""
    files = Path(root, "tests/ml_course").glob("test_*.py")
    return {file: frozenset(re.findall(r"\w+", file.read_text())) for file in files}


@cache
def _declared(root: Path) -> tuple[dict[str, list[dict]], dict[str, int]]:
    book = Path(root) / "book"
    entries = Bibliography(book / "references.bib").entries
    years = {key: int(entry.fields["year"]) for key, entry in entries.items()}
    return yaml.safe_load((book / "systems.yml").read_text()), years


def _year(entry: dict, years: dict[str, int]) -> int:
    if entry["source"] not in years:
        raise KeyError(f"{entry['name']}: {entry['source']!r} is not a key of references.bib")
    return entry.get("year", years[entry["source"]])


def _system(topic: str, entry: dict, years: dict[str, int]) -> System:
    exercises = entry.get("exercise", [])
    code = entry["code"] if "." in entry["code"] else f"{topic}.{entry['code']}"
    return System(
        name=entry["name"],
        year=_year(entry, years),
        source=entry["source"],
        label=f"{topic}-{entry['section']}",
        topic=topic,
        code=f"ml_course.{code}",
        exercises=(exercises,) if isinstance(exercises, str) else tuple(exercises),
        told=entry.get("told", False),
    )
