"""A class in which everybody but one attacks: nobody gains, nothing outside is touched, and the class gets graded."""

import contextlib
import json
import os
import re
import tempfile
import time
from html.parser import HTMLParser
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from hostile import on_notebook
from hostile.attacks import ATTACKS
from hostile.kinds import LEAK, TOPIC, World, filled, hand_in, right
from hostile.watch import Listener, Sampler, fingerprint

from autograder import course
from autograder.exercise import load
from autograder.grading import cage
from autograder.grading.examiner import Patience

pytestmark = [
    pytest.mark.xdist_group("hostile"),
    pytest.mark.skipif(cage.offered() is None, reason="this machine offers no cage"),
]
WRITTEN = ("autograded", "feedback", ".autograder", "grades.csv", "gradebook.db", "listener")
CAGE = os.environ.get("HOSTILE_CAGE", "")
PATIENCE = Patience(cell=1, answer=1, submission=60)
AT_MOST = 240  # seconds for the whole class on two cores; every attack that hangs costs its limit
PAGES = {name for name, attack in on_notebook.FORM.items() if attack.verdict} | {
    name
    for name in ATTACKS
    if name.startswith(("scripts-", "forged-pages", "an-error-", "endless-print", "link-to-the-secret"))
}
MEMORY = 10 * 2**30  # bytes the class may take from the machine at any moment


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def page(folder, name):
    """A student's feedback, and how long it took to make."""
    began = time.monotonic()
    course.make_feedback(folder, TOPIC, name, "")
    path = folder / "feedback" / name / TOPIC / f"{TOPIC}.html"
    return path.read_text(encoding="utf-8"), time.monotonic() - began


def still_running(earlier: set[psutil.Process]) -> list[str]:
    """Commands of the processes we started that do not end within some seconds, but for those that all pools share."""
    _, alive = psutil.wait_procs(set(psutil.Process().children(recursive=True)) - earlier, timeout=5)
    commands = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):  # also a zombie: it ran no more
            command = " ".join(process.cmdline())
            ours = process.ppid() == os.getpid() and ("resource_tracker" in command or "forkserver" in command)
            commands += [] if ours else [command]  # those two are multiprocessing's own and end with us
    return commands


@pytest.fixture(scope="module")
def class_(tmp_path_factory, monkeypatch_module):
    """Everybody hands in and is graded; what could be seen of it from outside."""
    monkeypatch = monkeypatch_module
    top = tmp_path_factory.mktemp("hostile")
    folder, canary = top / "course", top / "canary"
    course.init(folder)
    course.release(folder, [TOPIC])
    canary.write_text("alive")
    released = nbformat.read(folder / "release" / TOPIC / f"{TOPIC}.ipynb", as_version=4)
    listener = Listener(folder)
    world = World(folder, canary, listener.port, listener.abstract, os.getpid())
    course.homework.write_notebook(filled(released, right), folder / "submitted" / "ada" / TOPIC / f"{TOPIC}.ipynb")
    chosen = re.compile(os.environ.get("HOSTILE", ""))  # HOSTILE=fork-bomb tries some of them alone
    attacks = {name: attack for name, attack in ATTACKS.items() if chosen.search(name)}
    for name, attack in attacks.items():
        hand_in(world, released, name, attack)
    before = fingerprint(folder, WRITTEN)
    temporary = top / "temporary"
    temporary.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    sampler = Sampler()
    sampler.start()
    began = time.monotonic()
    outcome = course.grade(folder, TOPIC, course.Options(patience=PATIENCE, cage=CAGE, feedback=False))
    seconds = time.monotonic() - began
    sampler.stop.set()
    pages = {name: page(folder, name) for name in attacks if name in PAGES}
    journal = (folder / ".autograder" / f"{TOPIC}.jsonl").read_text(encoding="utf-8").splitlines()
    yield SimpleNamespace(
        folder=folder,
        canary=canary,
        attacks=attacks,
        rows={row.student: row for row in outcome.rows},
        entries={entry["student"]: entry for entry in map(json.loads, journal)},
        lines=journal,
        seconds=seconds,
        pages=pages,
        before=before,
        after=fingerprint(folder, WRITTEN),
        reached=listener.reached(),
        sampler=sampler,
        left=sampler.left_behind(),
        children=still_running(sampler.earlier),
        temporary=[name for name in os.listdir(temporary) if not name.startswith("pymp-")],  # of the fork server
    )
    listener.close()


def test_there_are_many_attacks():
    assert len(ATTACKS) >= 60


def test_nobody_gets_what_was_not_earned(class_):
    gained = {
        name: (class_.rows[name].points, attack.earns)
        for name, attack in class_.attacks.items()
        if (class_.rows[name].points or 0) > attack.earns
    }
    assert not gained, "attack: (points got, points earned)"


def test_an_attack_costs_only_what_it_attacks(class_):
    lost = {
        name: (class_.rows[name].points, attack.earns, class_.rows[name].notes)
        for name, attack in class_.attacks.items()
        if attack.verdict and class_.rows[name].points != attack.earns
    }
    assert not lost, "attack: (points got, points earned, notes)"


def test_the_honest_student_among_them_gets_everything(class_):
    total = sum(exercise.points for exercise in load(TOPIC).values())
    assert class_.rows["ada"].points == total
    assert class_.entries["ada"]["seconds"] < 20, "the others slow her down"


def test_everybody_has_a_verdict_or_the_instructor_a_reason(class_):
    missing = [
        name
        for name, attack in class_.attacks.items()
        if (class_.rows[name].points is None) == attack.verdict or (name in class_.entries) != attack.verdict
    ]
    assert not missing
    assert all(class_.rows[name].notes for name, attack in class_.attacks.items() if not attack.verdict)


def test_nothing_of_the_course_was_touched(class_):
    assert class_.after == class_.before
    assert class_.canary.read_text() == "alive" and sorted(os.listdir(class_.canary.parent)) == [
        "canary",
        "course",
        "temporary",
    ]


def test_no_cell_got_where_it_should_not(class_):
    told = {}
    for name in class_.entries:
        path = class_.folder / "autograded" / name / TOPIC / f"{TOPIC}.ipynb"
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                text = output.get("text", "") + "".join(output.get("data", {}).get("text/plain", ""))
                if LEAK in text:
                    told[name] = text[:300]
    assert not told


def test_the_secret_is_in_no_other_file(class_):
    secret = (class_.folder / ".course_secret").read_bytes().strip()
    written = [path for top in WRITTEN[:3] for path in (class_.folder / top).rglob("*") if path.is_file()]
    assert len(written) > len(class_.attacks)
    assert not [path for path in written if secret in path.read_bytes()]


def test_nobody_was_spoken_to(class_):
    assert not class_.reached


def test_no_process_is_left(class_):
    assert class_.sampler.houses, "the sampler saw no cage: this test would see nothing"
    assert not class_.left and not class_.children


def test_no_temporary_folder_is_left(class_):
    assert not class_.temporary


def test_the_class_ends_in_time_and_in_memory(class_):
    print(f"{len(class_.attacks)} attacks in {class_.seconds:.0f} s")
    print(f"at most {(class_.sampler.before - class_.sampler.least) / 2**30:.1f} GB")
    assert class_.seconds < AT_MOST
    assert class_.sampler.before - class_.sampler.least < MEMORY
    assert max(map(len, class_.lines)) < 200_000, "an attack writes the journal full"
    slow = {name: entry["seconds"] for name, entry in class_.entries.items() if entry["seconds"] > 70}
    assert not slow


class Scripts(HTMLParser):
    """Collects what would run in the reader's browser."""

    def __init__(self):
        super().__init__()
        self.inside, self.found = False, []

    def handle_starttag(self, tag, attributes):
        self.inside = tag == "script"
        self.found += [f"{name}={value}" for name, value in attributes if name.startswith("on")]
        self.found += [f"{tag} {value}" for _, value in attributes if (value or "").startswith("javascript:")]
        self.found += [tag] if tag in ("iframe", "object", "embed") else []

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside and "SCRIPTED" in data:
            self.found.append(data[:200])


def test_the_feedback_is_made_and_carries_no_script_of_a_students(class_):
    told = {}
    for name, (text, seconds) in class_.pages.items():
        parser = Scripts()
        parser.feed(text)
        if parser.found or len(text) > 2**20 or seconds > 20:
            told[name] = (parser.found[:3], len(text), seconds)
    assert not told
