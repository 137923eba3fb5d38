"""What was graded stays graded: killed, out of disk space or locked out, the same command finishes the rest."""

import contextlib
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import small_class
from small_class import TOPIC

from autograder import course
from autograder.cli import main
from autograder.grading import batch, scratch
from autograder.grading.journal import Journal

pytestmark = [
    pytest.mark.xdist_group("looking_back"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes and limits as Linux has them"),
]
EVERYBODY = {*small_class.STUDENTS, "viktor"}


def start(place, **more):
    """A grading process of its own, one worker."""
    asked = small_class.command("grade", TOPIC, "--course", place, "--workers", 1, "--no-feedback")
    told = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen(asked, env=small_class.environment(), cwd=small_class.ROOT, **told, **more)


def finish(place):
    """The same command once more: everybody is graded, nobody twice, as if nothing had happened."""
    done = small_class.run("grade", TOPIC, "--course", place, "--workers", 1, "--no-feedback")
    assert done.returncode == 2 and "viktor: unreadable" in done.stderr, done.stderr
    return done


def as_if_nothing_had_happened(place, graded_once):
    assert small_class.lines_per_student(place) == dict.fromkeys(EVERYBODY, 1)
    assert small_class.verdicts(place) == small_class.verdicts(graded_once)
    assert small_class.in_gradebook(place) == small_class.in_gradebook(graded_once)
    for student in EVERYBODY:
        name = Path("autograded") / student / TOPIC / f"{TOPIC}.ipynb"
        assert (place / name).is_file()
    assert not list(place.rglob("*.new")), "no half-written file is left"


def wait_until(true, seconds=120.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def processes():
    """Parent, start time and command of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                found[int(folder.name)] = int(fields[1]), fields[19], (folder / "cmdline").read_text()
    return found


def descendants(of):
    """Process id, start time and command of all that descend from a process."""
    everything, found, fresh = processes(), {}, {of}
    while fresh:
        fresh = {process for process, (parent, _, _) in everything.items() if parent in fresh} - found.keys()
        found.update({process: everything[process][1:] for process in fresh})
    return found


def alive(them):
    now = processes()
    return [process for process, told in them.items() if process in now and now[process][1:] == told]


def is_worker(command, process):
    """A judge's process: a child of the fork server, and not that server itself."""
    return "forkserver" in command and "forkserver" in processes()[processes()[process][0]][2]


def test_killed_in_the_middle(ungraded, graded_once):
    grading = start(ungraded)
    wait_until(lambda: len(small_class.journal(ungraded)) >= 2 or grading.poll() is not None)
    family = descendants(grading.pid)
    assert any("autograder.grading.template" in command for _, command in family.values())
    grading.send_signal(signal.SIGKILL)
    grading.wait()
    before = small_class.lines_per_student(ungraded)
    assert 2 <= len(before) < len(EVERYBODY), "it was to be killed in the middle"
    wait_until(lambda: not alive(family), seconds=20)  # nobody is left behind
    finish(ungraded)
    as_if_nothing_had_happened(ungraded, graded_once)


def test_a_killed_worker_costs_nothing(ungraded, graded_once):
    grading = start(ungraded)
    wait_until(lambda: len(small_class.journal(ungraded)) >= 1 or grading.poll() is not None)
    workers = [process for process, (_, command) in descendants(grading.pid).items() if is_worker(command, process)]
    for process in workers:
        os.kill(process, signal.SIGKILL)
    assert workers and len(small_class.journal(ungraded)) < len(EVERYBODY)
    _, error = grading.communicate(timeout=300)
    assert grading.returncode == 2 and "Traceback" not in error, error
    assert [line for line in error.splitlines() if line.startswith("autograder: ")] == [
        "autograder: viktor: unreadable: it is not JSON; ask for the file again"
    ]
    as_if_nothing_had_happened(ungraded, graded_once)


def test_a_full_disk(ungraded, graded_once):
    """Files may not grow beyond a size that lets the journal have one line and a half more."""
    journal = Journal(ungraded / ".autograder" / f"{TOPIC}.jsonl")
    line = (graded_once / ".autograder" / f"{TOPIC}.jsonl").stat().st_size // len(EVERYBODY)
    largest = 2 * (ungraded / "gradebook.db").stat().st_size
    journal.path.parent.mkdir()
    journal.path.write_text(("x" * 99 + "\n") * ((largest - line * 3 // 2) // 100))  # lines that say nothing
    most = (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    grading = start(ungraded, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, most))
    _, error = grading.communicate(timeout=300)
    assert grading.returncode == 2, error
    (said,) = [line for line in error.splitlines() if line.startswith("autograder: ")]
    assert f"cannot write {journal.path}: File too large" in said and "run the same command again" in said
    assert "Traceback" not in error
    assert 0 < len(small_class.journal(ungraded)) < len(EVERYBODY)
    finish(ungraded)
    as_if_nothing_had_happened(ungraded, graded_once)


@pytest.mark.skipif(not shutil.which("unshare"), reason="no `unshare` to mount a small disk of our own with")
def test_a_disk_that_is_really_full(released_once, graded_once, tmp_path):
    """A small file system, seen by this grader alone, fills in the middle; with more room the same command goes on."""
    place, size = tmp_path / "small", sum(path.stat().st_size for path in released_once.rglob("*") if path.is_file())
    place.mkdir()
    grade = f"{sys.executable} -m autograder grade {TOPIC} --course {place}/course --workers 1 --no-feedback --unsafe"
    script = f"""
        mount -t tmpfs -o size={size // 1024 + 200}k tmpfs {place} && cp -a {released_once} {place}/course || exit 9
        {grade}; echo "first $?"; wc -l {place}/course/.autograder/{TOPIC}.jsonl
        mount -o remount,size=64m {place}; {grade}; echo "second $?"; cp -a {place}/course {tmp_path}/after
    """
    asked = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(asked, env=small_class.environment(), cwd=small_class.ROOT, capture_output=True, text=True)
    if done.returncode == 9 or "unshare" in done.stderr:
        pytest.skip(f"no small disk can be mounted here: {done.stderr[:200]}")
    assert "first 2" in done.stdout and "second 2" in done.stdout, done.stdout + done.stderr
    assert "cannot write" in done.stderr or "disk is full" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    as_if_nothing_had_happened(tmp_path / "after", graded_once)


def test_a_second_grader_is_one_line_and_goes_on_when_the_first_has_ended(ungraded, graded_once, capsys):
    arguments = ["grade", TOPIC, "--course", str(ungraded), "--no-feedback"]
    hold = "import sys; from autograder.grading.batch import alone; from pathlib import Path\n"
    hold += "with alone(Path(sys.argv[1])): print(flush=True); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", hold, ungraded],
        env=small_class.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    first.stdout.readline()
    assert main(arguments) == 2
    told = f"autograder: another grader is at work in {ungraded}: wait until it is done, or end it"
    assert capsys.readouterr().err.strip() == told and not small_class.journal(ungraded)
    first.kill()
    first.communicate()
    assert main(arguments) == 2 and "viktor: unreadable" in capsys.readouterr().err
    as_if_nothing_had_happened(ungraded, graded_once)


def test_a_file_that_cannot_be_read_costs_nobody_else(graded, monkeypatch):
    read = batch.handed_in

    def handed_in(path):
        if path.parts[-3] == "boris":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(batch, "handed_in", handed_in)
    troubles = {}
    found = batch.find_submissions(graded, TOPIC, troubles)
    assert {one.student for one in found} == EVERYBODY - {"boris"}
    told = f"submitted/boris/{TOPIC} cannot be read: Permission denied; see to its permissions"
    assert troubles == {"boris": told}
    gone = batch.Submission("boris", graded / "submitted" / "boris" / TOPIC / "x.ipynb", "")
    work = course.prepare(graded, TOPIC, course.Options(cage="none"))
    assert batch.as_job(work, gone, "").submitted == ""


def test_what_a_killed_grader_left_in_the_temporary_folder_goes_with_the_next(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    owner = "from autograder.grading.scratch import Scratch; s = Scratch(); print(s.path, flush=True); input()"
    asked = [sys.executable, "-c", owner]
    where = {**small_class.environment(), "TMPDIR": str(tmp_path)}
    killed = subprocess.Popen(asked, env=where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    left = Path(killed.stdout.readline().strip())
    (tmp_path / "autograder-of-somebody").mkdir()
    living = scratch.Scratch()
    assert left.is_dir() and living.path.is_dir(), "both are in use"
    killed.kill()
    killed.communicate()
    assert left.is_dir()
    scratch.Scratch().close()
    assert not left.exists() and living.path.is_dir()
    living.close()
    assert [path.name for path in tmp_path.iterdir()] == ["autograder-of-somebody"]


def forget(place):
    """The gradebook as after a stop between the journal and it."""
    with contextlib.closing(sqlite3.connect(place / "gradebook.db")) as gradebook, gradebook:
        gradebook.execute("UPDATE grade SET auto_score = NULL")


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_gradebook(graded, graded_once, lock, capsys):
    """Nobody may read (EXCLUSIVE) or nobody may write (IMMEDIATE): a line, and the next run writes what is missing."""
    forget(graded)
    arguments = ["grade", TOPIC, "--course", str(graded), "--no-feedback"]
    with contextlib.closing(sqlite3.connect(graded / "gradebook.db", isolation_level=None)) as other:
        other.execute(f"BEGIN {lock}")
        assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("autograder: the gradebook sqlite:") and "database is locked" in error and "\n" not in error
    assert main(arguments) == 2
    assert capsys.readouterr().err.strip() == "autograder: viktor: unreadable: it is not JSON; ask for the file again"
    as_if_nothing_had_happened(graded, graded_once)


def test_what_is_journalled_reaches_a_gradebook_that_has_older_points(graded, capsys):
    """Stopped between journal and gradebook while grading again: the points there are old ones, not missing ones."""
    journal = Journal(graded / ".autograder" / f"{TOPIC}.jsonl")
    newer = journal.latest()["ada"]
    lost = newer["verdicts"][0]
    newer["verdicts"][0] = {**lost, "points": 0}
    before = small_class.in_gradebook(graded)["ada"]
    journal.append(newer)
    main(["grade", TOPIC, "--course", str(graded), "--no-feedback"])
    assert small_class.in_gradebook(graded)["ada"] == before - lost["points"]


def test_a_torn_line_is_one_submission_to_grade_again(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append({"student": "ada"})
    with open(journal.path, "a") as torn:
        torn.write('{"student": "bor')
    journal.append({"student": "emil"})
    assert list(journal.latest()) == ["ada", "emil"]


@pytest.mark.parametrize("left", [0, 3])
def test_a_submission_that_kills_its_grader_is_left_out_and_costs_nobody_else(monkeypatch, left):
    """Whoever was in work beside it, or had not begun, is graded; twice dead alone, it is for a person to see."""
    pools = []

    def on_pools(work, todo, released, workers, ahead):
        pools.append((list(todo), workers, ahead))
        for number, submission in enumerate(todo):
            if submission.student == "killer":
                begun = todo[number : number + ahead]
                return begun, todo[number + len(begun) :]
            yield submission, "graded"
        return [], []

    monkeypatch.setattr(batch, "on_pools", on_pools)
    monkeypatch.setattr(batch.Batch, "released", "")
    names = ["first", "killer", *(f"later {number}" for number in range(left))]
    submissions = [batch.Submission(name, Path(name), "") for name in names]
    work = batch.Batch(Path(), TOPIC, "", b"", "none", workers=1)
    found = {submission.student: result for submission, result in batch.examine_all(work, submissions)}
    assert isinstance(found.pop("killer"), RuntimeError)
    assert found == dict.fromkeys([name for name in names if name != "killer"], "graded")
    assert all(workers == ahead == 1 for _, workers, ahead in pools[1:3])
