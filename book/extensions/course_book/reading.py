"""How long a chapter takes: told in its box of goals, and beside its name in the map of the course."""

import math

from docutils import nodes

from autograder.exercise import load
from ml_course.scripts import chapters

WORDS_A_MINUTE, LINES_A_MINUTE = 160, 12  # of technical prose, of code
ROUNDED_TO = 5  # minutes


class chapter_times(nodes.inline):
    """Stands in the map of the course until all chapters are read; `topic` says whose times it will tell."""


def reading_minutes(doctree):
    """A guess: prose at the pace of a textbook, and a look at each line of code."""
    words = sum(len(text.astext().split()) for text in doctree.findall(nodes.paragraph))
    lines = sum(block.astext().count("\n") + 1 for block in doctree.findall(nodes.literal_block))
    minutes = words / WORDS_A_MINUTE + lines / LINES_A_MINUTE
    return max(1, math.ceil(minutes / ROUNDED_TO)) * ROUNDED_TO


def times(topic, doctree):
    exercises = load(topic).values()
    minutes = sum(exercise.minutes for exercise in exercises)
    return f"about {reading_minutes(doctree)} minutes to read; homework: {len(exercises)} exercises, {minutes} minutes"


def add_times(app, doctree, page):
    for place in list(doctree.findall(chapter_times)):
        told = times(place["topic"], app.env.get_doctree(f"book/{place['topic']}"))
        place.replace_self(nodes.inline("", told, classes=["chapter-times"]))
    topic = page.removeprefix("book/")
    if topic in chapters.topics(app.srcdir):
        goals = next(iter(doctree.findall(nodes.admonition)))
        # Read anew: here the tree is about to be written, with references resolved that the map's count has not seen.
        told = f"Time: {times(topic, app.env.get_doctree(page))}."
        goals.append(nodes.paragraph("", told, classes=["chapter-times"]))


def setup(app):
    app.add_node(chapter_times)
    app.connect("doctree-resolved", add_times)
