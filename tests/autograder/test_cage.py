"""The cage: what a student's process can see and do, for root and for an ordinary user, in each kind there is."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.errors import CourseError
from autograder.grading import cage
from autograder.seeds import SECRET

ROOT = Path(__file__).parents[2]
PROBES = {
    "sees the course": f"import os; print(os.path.exists({str(ROOT / 'solutions')!r}))",
    "sees the bank": "import autograder.exercises; print(True)",
    "sees the reference": "import importlib.util as u; print(u.find_spec('ml_course.attention') is not None)",
    "sees the ground floor": "import importlib.util as u; print(u.find_spec('ml_course.plots') is not None)",
    "sees home": "import os; print(os.path.exists('/home') or os.path.exists('/etc/passwd'))",
    "sees other processes": "import os; print(sum(name.isdigit() for name in os.listdir('/proc')) > 3)",
    "opens the network": "import socket; s = socket.socket(); print(s.connect_ex(('127.0.0.1', 9)) == 111)",
    "makes an internet socket": "import socket; socket.socket().close(); print(True)",
    "makes a local socket": "import socket; socket.socket(socket.AF_UNIX).close(); print(True)",
    "writes to /usr": "open('/usr/canary', 'w'); print(True)",
    "writes to /tmp": "print(open('/tmp/note', 'w').write('x') == 1)",
    "mounts": "import ctypes; libc = ctypes.CDLL(None, use_errno=True); "
    "libc.mount(b'none', b'/nowhere', b'tmpfs', 0, None); print(ctypes.get_errno() != 1)",
    "unshares": "import ctypes; print(ctypes.CDLL(None).unshare(0x10000000) == 0)",
    "traces": "import ctypes; print(ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0)",
    "signals all": "import os; os.kill(-1, 0); print(True)",
    "is root": "import os; print(os.getuid() == 0 and os.access('/proc/1/mem', os.W_OK) and bool(os.setgroups([])))",
    "forks": "import os; pid = os.fork() or os._exit(0); print(os.waitpid(pid, 0)[1] == 0)",
    "calculates": "import torch; print(float(torch.ones(3) @ torch.ones(3)) == 3)",
}
ALLOWED = {"sees the ground floor", "makes a local socket", "writes to /tmp", "forks", "calculates"}
EXAMINE = """
import json, sys
from autograder.grading.examiner import Cell, Examiner
probes, kind = json.loads(sys.argv[1]), sys.argv[2]
examiner = Examiner(kind)
found = examiner.examine([Cell(source) for source in probes.values()], b"key")
examiner.close()
told = {name: found.outputs.get(n, {}).get("stdout", "").strip() for n, name in enumerate(probes)}
print(json.dumps({name: text == "True" for name, text in told.items()}))
"""


def in_plain_sight() -> None:
    """In the child of a test run by root: an ordinary user who can reach this Python, wherever it lies."""
    base = Path(sys.base_prefix)
    cage.call("unshare", cage.NEWNS)
    cage.mount("none", "/", None, cage.MS_REC | cage.MS_PRIVATE)
    closed = next((folder for folder in [*reversed(base.parents), base] if not folder.stat().st_mode & 1), None)
    if closed:
        handle = os.open(base, os.O_PATH)
        cage.mount("tmpfs", closed, "tmpfs", 0, "mode=755")
        cage.bind(handle, base, folder=True)
    os.setgroups([])
    os.setresgid(12345, 12345, 12345)
    os.setresuid(12345, 12345, 12345)


def probe(kind: str, ordinary: bool, names: set[str] = frozenset(PROBES)) -> dict[str, bool]:
    chosen = {name: source for name, source in PROBES.items() if name in names}
    done = subprocess.run(
        [sys.executable, "-c", EXAMINE, json.dumps(chosen), kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        preexec_fn=in_plain_sight if ordinary else None,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


needs_cage = pytest.mark.skipif(cage.offered() is None, reason="this machine offers no cage")
needs_root = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="needs root to become another user")
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


@needs_cage
@pytest.mark.parametrize(
    ("kind", "ordinary"),
    [
        pytest.param("namespaces", False, id="namespaces"),
        pytest.param("namespaces", True, id="namespaces-ordinary-user", marks=needs_root),
        pytest.param("bubblewrap", False, id="bubblewrap", marks=needs_bwrap),
        pytest.param("bubblewrap", True, id="bubblewrap-ordinary-user", marks=[needs_bwrap, needs_root]),
    ],
)
def test_a_session_can_calculate_and_little_else(kind, ordinary):
    could = probe(kind, ordinary)
    allowed = ALLOWED | ({"signals all"} if kind == "bubblewrap" else set())  # its own template, which is replaced
    assert {name for name, done in could.items() if done} == allowed


def test_without_a_cage_the_same_session_sees_everything():
    harmless = {"sees the course", "sees home", "sees other processes", "makes an internet socket"}
    assert all(probe("none", False, harmless).values()), "the probes must be able to succeed"


def test_grading_refuses_to_start_without_a_cage(monkeypatch):
    monkeypatch.setattr(cage, "offered", lambda: None)
    with pytest.raises(CourseError, match="--unsafe"):
        cage.chosen()
    assert cage.chosen("none") == "none"
    with pytest.raises(CourseError, match="expected namespaces, bubblewrap or none"):
        cage.chosen("wishes")


def test_no_variable_and_no_secret_reaches_the_student(tmp_path, monkeypatch):
    from autograder.grading.examiner import Cell, Examiner

    monkeypatch.setenv("CANARY", "sings")
    (tmp_path / SECRET).write_text("00" * 32)
    monkeypatch.chdir(tmp_path)
    examiner = Examiner(cage.offered() or "none")
    try:
        source = "import os; print(dict(os.environ)); print(open('/proc/self/environ').read())"
        found = examiner.examine([Cell(source)], b"key")
    finally:
        examiner.close()
    assert "PATH" in found.outputs[0]["stdout"] and "CANARY" not in found.outputs[0]["stdout"]


ENDLESS = """
import sys

from autograder.grading.examiner import Cell, Examiner

Examiner(sys.argv[1]).examine([Cell("while True: pass")], b"key")
"""


def descendants(process: int) -> list[int]:
    """All processes below one, however deep."""
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in told.splitlines()}
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


@needs_cage
def test_nothing_outlives_a_grader_that_is_killed():
    grader = subprocess.Popen([sys.executable, "-c", ENDLESS, "namespaces"], cwd=ROOT, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while len(family := descendants(grader.pid)) < 3 and time.monotonic() < end:  # template, its fork, the session
        time.sleep(0.2)
    time.sleep(1)
    grader.kill()
    grader.wait()
    while (left := [one for one in family if Path(f"/proc/{one}").exists()]) and time.monotonic() < end:
        time.sleep(0.1)
    assert len(family) >= 3 and left == []
