"""Every place that is known to be wrong in a lecture is corrected in a box of its chapter, and stands on one page."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from ml_course.scripts import chapters, lectures

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
BOXES = lectures.boxes(ROOT)
LAST = (11, 22, 49, 57, 65)  # the number of the last place in each lecture
OF_TOPIC = {"objectives": {7, 8, 35}, "transfer": {11}, "multimodal": {34, 45, 46, 47}}  # told nowhere else


def test_every_known_place_is_corrected():
    told = {number for box in BOXES for _, number in box.marks if number}
    waiting = set().union(*(numbers for topic, numbers in OF_TOPIC.items() if topic not in TOPICS))
    assert told >= set(range(1, LAST[-1] + 1)) - waiting
    assert told <= set(range(1, LAST[-1] + 1))


def test_a_number_belongs_to_its_lecture():
    for box in BOXES:
        for lecture, number in box.marks:
            first = LAST[lecture - 1] + 1 if lecture else 1
            assert number is None or first <= number <= LAST[lecture], f"{box.topic}: {box.said}"


@pytest.mark.parametrize("topic", TOPICS)
def test_no_box_is_overlooked(topic):
    """A title that is worded otherwise would not be found."""
    titles = (ROOT / "book" / f"{topic}.md").read_text().lower().count("{admonition} the lecture")
    assert titles == sum(box.topic == topic for box in BOXES)


def test_a_box_without_a_mark_is_refused(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "_toc.yml").write_text("parts: [{caption: I, chapters: [{file: book/first}]}]")
    chapter = tmp_path / "book" / "first.md"
    box = ":::{{admonition}} The lecture says: “no”\n:class: warning{}\nYes.\n\nYes!\n:::\n"
    chapter.write_text(box.format(" lecture-1-12 lecture-0"))
    (read,) = lectures.boxes(tmp_path)
    assert (read.said, read.text, read.marks) == ("“no”", "Yes.\n\nYes!", ((1, 12), (0, None)))
    assert read.label == "says-first-1" and read.numbers(1) == [12] and read.numbers(0) == []
    chapter.write_text(box.format(""))
    with pytest.raises(ValueError, match="has no class lecture-"):
        lectures.boxes(tmp_path)


def test_the_page_repeats_every_box_and_leads_back(html):
    page = BeautifulSoup((html / "book" / "errata.html").read_text(), "html.parser").find("article")
    links = {link["href"] for link in page.find_all("a", href=True)}
    for box in BOXES:
        assert f"{box.topic}.html#{box.label}" in links, box.said
        chapter = BeautifulSoup((html / "book" / f"{box.topic}.html").read_text(), "html.parser")
        place = chapter.find(id=box.label)
        assert place is not None and "The lecture" in place.get_text()
