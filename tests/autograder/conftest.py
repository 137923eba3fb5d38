"""One small class, released once and graded once, for all tests that look back on graded work or break grading off.

They share the xdist group `looking_back`, so that one process makes it.
"""

import shutil

import pytest
import small_class

from autograder import course


@pytest.fixture(scope="session")
def released_once(tmp_path_factory):
    place = small_class.make(tmp_path_factory.mktemp("released") / "course")
    torn = place / "submitted" / "viktor" / small_class.TOPIC / f"{small_class.TOPIC}.ipynb"
    torn.parent.mkdir(parents=True)
    torn.write_text("{torn", encoding="utf-8")
    return place


@pytest.fixture(scope="session")
def graded_once(released_once, tmp_path_factory):
    place = shutil.copytree(released_once, tmp_path_factory.mktemp("graded") / "course")
    outcome = course.grade(place, small_class.TOPIC, course.Options(workers=1, feedback=False))
    assert {row.student: row.points for row in outcome.rows}["ada"] == outcome.max_points
    return place


@pytest.fixture
def ungraded(released_once, tmp_path):
    """A copy of the course with everything handed in and nothing graded."""
    return shutil.copytree(released_once, tmp_path / "course")


@pytest.fixture
def graded(graded_once, tmp_path):
    """A copy of the graded course that a test may do anything to. It has the same secret, so the same cases."""
    return shutil.copytree(graded_once, tmp_path / "course")
