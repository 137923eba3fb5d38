"""Under a chapter's title: how long it takes to read, and what its homework asks."""

import math

from docutils import nodes

from autograder.exercise import load
from ml_course.scripts import chapters

WORDS_A_MINUTE, LINES_A_MINUTE = 160, 12  # of technical prose, of code
ROUNDED_TO = 5  # minutes


def reading_minutes(doctree):
    """A guess: prose at the pace of a textbook, and a look at each line of code."""
    words = sum(len(text.astext().split()) for text in doctree.findall(nodes.paragraph))
    lines = sum(block.astext().count("\n") + 1 for block in doctree.findall(nodes.literal_block))
    minutes = words / WORDS_A_MINUTE + lines / LINES_A_MINUTE
    return max(1, math.ceil(minutes / ROUNDED_TO)) * ROUNDED_TO


def add_times(app, doctree, page):
    topic = page.removeprefix("book/")
    if topic not in chapters.topics(app.srcdir):
        return
    exercises = load(topic).values()
    told = (
        f"About {reading_minutes(doctree)} minutes to read; homework: {len(exercises)} exercises, "
        f"{sum(exercise.minutes for exercise in exercises)} minutes."
    )
    title = next(iter(doctree.findall(nodes.title)))
    title.parent.insert(title.parent.index(title) + 1, nodes.paragraph("", told, classes=["chapter-times"]))


def setup(app):
    app.connect("doctree-resolved", add_times)
