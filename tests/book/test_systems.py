"""Every system on the map has section, code, test, source and exercise; drawings and timeline are current."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from autograder.exercise import load
from ml_course.scripts import chapters, drawings, systems
from ml_course.scripts.bibliography import Bibliography

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
SYSTEMS = systems.systems(ROOT)
HISTORY = (ROOT / "book" / "history.md").read_text()


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_systems(topic):
    assert [system for system in SYSTEMS if system.topic == topic], f"book/systems.yml has nothing under {topic}"


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: f"{system.topic}: {system.name}")
def test_a_system_has_code_section_test_and_exercises(system):
    assert system.find() is not None
    assert f"({system.label})=\n" in (ROOT / "book" / f"{system.topic}.md").read_text(), f"no section {system.label}"
    assert system.test_file(ROOT), f"no file of tests/ml_course mentions {system.last_name}"
    assert all(exercise.topic == system.topic for exercise in system.graded())


def test_every_exercise_belongs_to_one_system():
    """What the homework asks for is on the map."""
    asked = Counter(f"{system.topic}.{name}" for system in SYSTEMS for name in system.exercises)
    homework = {name for topic in TOPICS for name in load(topic)}
    assert asked.keys() == homework
    assert not [name for name, count in asked.items() if count > 1]


def test_names_tell_systems_apart():
    names = Counter(system.name for system in SYSTEMS)
    assert not [name for name, count in names.items() if count > 1]


def test_no_year_is_later_than_its_source():
    entries = Bibliography(ROOT / "book" / "references.bib").entries
    for date in [*SYSTEMS, *systems.dates(ROOT)]:
        assert date.year <= int(entries[date.source].fields["year"]), date.name


@pytest.mark.parametrize("name", [drawings.TIMELINE, drawings.MAP])
def test_a_drawing_is_current(name):
    drawn = {drawings.TIMELINE: drawings.timeline, drawings.MAP: drawings.course_map}[name](ROOT)
    assert (ROOT / name).read_text(encoding="utf-8") == drawn, "stale: run `python -m ml_course.scripts.drawings`"


def test_the_readme_shows_the_map():
    assert f"]({drawings.MAP})" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("date", systems.dates(ROOT), ids=lambda date: date.name)
def test_the_history_tells_every_date_of_the_timeline(date):
    """Under its year, with its source and, where it runs, the way there."""
    told = re.search(rf"^\*\*{date.year}\.\*\*(?:(?!^\*\*\d|^## ).*\n?)*", HISTORY, re.MULTILINE)
    assert told, f"history.md has no {date.year}"
    assert date.source in told[0]
    if isinstance(date, systems.System):
        assert re.search(rf"\{{system\}}`[^`]*<{re.escape(date.name)}>`", told[0])
    elif date.label:
        assert f"<{date.label}>`" in told[0] or date.label.split("-")[0] in told[0]


def test_what_is_said_of_the_timeline_is_true():
    """Two thirds of the rows belong to the last fifth of the axis, which begins in 2012."""
    years = [date.year for date in systems.dates(ROOT)]
    assert "from 2012 on" in HISTORY and "two thirds of all rows belong to the last fifth" in HISTORY
    assert sum(year >= 2012 for year in years) / len(years) == pytest.approx(2 / 3, abs=0.07)
    assert (years[-1] - 2012) / (years[-1] - years[0]) == pytest.approx(1 / 5, abs=0.02)


def test_an_unknown_name_is_refused():
    with pytest.raises(KeyError, match="'Perceptrons' is no system"):
        systems.named("Perceptrons", ROOT)


def test_a_topic_that_has_not_landed_waits(tmp_path):
    """A made course of one topic of two: the other is on the timeline as told, and on the map not at all."""
    book = tmp_path / "book"
    book.mkdir()
    entry = "@article{{{0}, author={{A, B}}, title={{{0}}}, journal={{J}}, year={{{1}}}}}\n"
    (book / "references.bib").write_text(entry.format("one1958", 1958) + entry.format("two1990", 1991))
    toc = {"format": "jb-book", "root": "x", "parts": [{"caption": "I", "chapters": [{"file": "book/first"}]}]}
    (tmp_path / "_toc.yml").write_text(yaml.safe_dump(toc))
    one = {"name": "One", "source": "one1958", "section": "a", "code": "f", "told": True}
    two = {"name": "Two", "source": "two1990", "year": 1990, "section": "b", "code": "data.g", "told": True}
    (book / "systems.yml").write_text(yaml.safe_dump({"first": [one], "second": [two], "elsewhere": []}))
    found, dates = systems.systems(tmp_path), systems.dates(tmp_path)
    assert [(system.name, system.code, system.label) for system in found] == [("One", "ml_course.first.f", "first-a")]
    assert [(date.name, date.year, date.label) for date in dates] == [("One", 1958, "first-a"), ("Two", 1990, "")]
    assert systems.named("Two", tmp_path) is None and systems.named("One", tmp_path).year == 1958


def test_the_built_map_leads_to_every_section_and_exercise(html):
    page = BeautifulSoup((html / "book" / "map.html").read_text(), "html.parser").find("article")
    links = {link["href"] for link in page.find_all("a", href=True)}
    for system in SYSTEMS:
        assert f"{system.topic}.html#{system.label}" in links, system.name
        for name in system.exercises:
            assert any(link.endswith(f"#ex-{system.topic}-{name.lower().replace('_', '-')}") for link in links), name
    assert len(page.select(".systems > li")) == len(SYSTEMS)
