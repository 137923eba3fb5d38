"""Ready-made softmax in a graded answer, through mending, cage and judge: what is caught, and what is known to escape.

The contract of an exercise asks for what a library call does not return, and in the cage the modules with the answers
are not there. What is left, the watch on calls, lives in a process that the student owns. It is no wall: the ways round
it that are known are listed here, each with a test that it still is one, so that this list stays true.
"""

import textwrap

import nbformat
import pytest
from hostile.kinds import TOPIC, filled, right, text_of

from autograder.exercise import find
from autograder.grading import cage
from autograder.grading.job import Job, grade
from autograder.homework import HOMEWORK

pytestmark = [
    pytest.mark.xdist_group("hostile"),
    pytest.mark.skipif(cage.offered() is None, reason="this machine offers no cage"),
]
EXERCISE = find("attention.stable_softmax")
RELEASED = (HOMEWORK / TOPIC / f"{TOPIC}.ipynb").read_text(encoding="utf-8")
WHOLE = "    return torch.nan_to_num(weights, nan=0.0)\n"
HEAD = "def stable_softmax(scores, dim=-1):\n"
CAUGHT = {
    "called": HEAD + "    weights = torch.softmax(scores, dim)\n" + WHOLE,
    "kept in an earlier cell": "kept = torch.Tensor.softmax\n" + HEAD + "    weights = kept(scores, dim)\n" + WHOLE,
    "torch.ops": HEAD + "    weights = torch.ops.aten._softmax(scores, dim, False)\n" + WHOLE,
    "another thread": HEAD
    + "    import threading\n    found = []\n"
    + "    one = threading.Thread(target=lambda: found.append(torch.softmax(scores, dim)))\n"
    + "    one.start(); one.join()\n    weights = found[0]\n"
    + WHOLE,
    "with the watch taken off": HEAD
    + "    import sys\n    sys.setprofile(None)\n    weights = torch.softmax(scores, dim)\n"
    + WHOLE,
}
ESCAPES = {
    "compiled in an earlier cell": "ready = torch.jit.script(torch.nn.Softmax(-1))\n"
    + HEAD
    + "    weights = ready(scores.movedim(dim, -1)).movedim(-1, dim)\n"
    + WHOLE,
    "a thread without the threading module": HEAD
    + "    import _thread, time\n    found = []\n"
    + "    _thread.start_new_thread(lambda: found.append(torch.softmax(scores, dim)), ())\n"
    + "    while not found: time.sleep(0.001)\n    weights = found[0]\n"
    + WHOLE,
    "the watch's own counts wiped": HEAD
    + "    import gc, sys\n    weights = torch.softmax(scores, dim)\n    sys.getprofile().clear()\n"
    + "    for each in gc.get_objects():\n"
    + "        if type(each) is set and torch.softmax in each: each.clear()\n"
    + WHOLE,
}


def asked(answer):
    """The verdict on this answer alone; all others are right."""
    notebook = filled(nbformat.reads(RELEASED, as_version=4), right)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == EXERCISE.answer_name:
            cell.source = textwrap.dedent(answer)
    result = grade(Job(TOPIC, "student", text_of(notebook), RELEASED, b"key", cage.chosen()))
    verdicts = {verdict["exercise"]: verdict for verdict in result.verdicts}
    others = [verdict for name, verdict in verdicts.items() if name != EXERCISE.name]
    assert all(verdict["points"] == verdict["max_points"] for verdict in others)
    return verdicts[EXERCISE.name]


def test_the_same_answer_without_a_forbidden_call_is_right():
    assert asked(right(EXERCISE.answer_name))["points"] == EXERCISE.points


@pytest.mark.parametrize("way", CAUGHT)
def test_a_forbidden_call_earns_nothing_and_is_named(way):
    verdict = asked(CAUGHT[way])
    assert verdict["points"] == 0 and verdict["called"], verdict


@pytest.mark.parametrize("way", ESCAPES)
def test_ways_round_the_watch_that_are_known(way):
    """When one of these fails, the watch has become better: move the way to those that are caught."""
    assert not asked(ESCAPES[way])["called"]
