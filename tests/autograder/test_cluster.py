"""The same grades from a Dask cluster and in PostgreSQL, both real: separate processes on this machine."""

import importlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import small_class
from small_class import ROOT, TOPIC

from autograder.cli import main
from autograder.grading import batch

pytestmark = pytest.mark.xdist_group("looking_back")
TEMPLATES = "__import__('autograder.grading.job', fromlist=['examiner']).examiner.cache_info().currsize"
REQUIRED = bool(os.environ.get("CI"))


def missing(reason):
    pytest.fail(reason) if REQUIRED else pytest.skip(reason)


def needed(module):
    try:
        importlib.import_module(module)
    except ImportError:
        missing(f"{module} is not installed: pip install -e '.[cluster]'")


def one_line(capsys):
    error = capsys.readouterr().err.strip()
    assert error.startswith("autograder: ") and "\n" not in error, error
    return error


def free_port():
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


# Dask.


@pytest.fixture(scope="module")
def dask():
    """Start processes of Dask's; end them, and them alone, afterwards."""
    needed("distributed")
    started = []

    def start(*words):
        command = [sys.executable, "-m", "dask", *words]
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(subprocess.Popen(command, cwd=tempfile.gettempdir(), env=small_class.environment(), **quiet))
        return started[-1]

    yield start
    for process in reversed(started):
        process.terminate()
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="module")
def scheduler(dask, tmp_path_factory):
    note = tmp_path_factory.mktemp("dask") / "scheduler.json"
    process = dask("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(note))
    end = time.monotonic() + 60
    while not (note.is_file() and note.stat().st_size):
        assert process.poll() is None and time.monotonic() < end, "the scheduler did not start"
        time.sleep(0.05)
    return json.loads(note.read_text())["address"]


def test_a_scheduler_without_workers_is_one_line(graded, scheduler, monkeypatch, capsys):
    monkeypatch.setattr(batch, "WORKER_SECONDS", 1)
    assert main(["grade", TOPIC, "--course", str(graded), "--force", "--no-feedback", "--dask", scheduler]) == 2
    assert f"the Dask scheduler at {scheduler} has no workers" in capsys.readouterr().err.splitlines()[-1]


def test_no_scheduler_is_one_line(graded, monkeypatch, capsys):
    needed("distributed")
    monkeypatch.setattr(batch, "SCHEDULER_SECONDS", 1)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert main(["grade", TOPIC, "--course", str(graded), "--force", "--no-feedback", "--dask", address]) == 2
    assert f"no Dask scheduler at {address}" in capsys.readouterr().err.splitlines()[-1]


def test_two_workers_give_the_same_grades_as_this_machine(ungraded, graded_once, dask, scheduler, capsys):
    from distributed import Client

    for threads in ("1", "3"):  # one of them with threads: it must take one submission at a time nevertheless
        dask("worker", scheduler, "--nthreads", threads, "--no-dashboard", "--local-directory", tempfile.gettempdir())
    with Client(scheduler, timeout=60) as client:
        client.wait_for_workers(2, timeout=120)
        assert main(["grade", TOPIC, "--course", str(ungraded), "--no-feedback", "--dask", scheduler]) == 2
        templates = client.run(eval, TEMPLATES)
    said = capsys.readouterr()
    assert "viktor: unreadable" in said.err and "Traceback" not in said.err
    assert list(templates.values()) == [1, 1], "each worker has examined, with a template of its own"
    assert small_class.verdicts(ungraded) == small_class.verdicts(graded_once)
    assert small_class.in_gradebook(ungraded) == small_class.in_gradebook(graded_once)
    assert set(small_class.lines_per_student(ungraded).values()) == {1}


def test_a_worker_that_is_killed_on_the_way_costs_nothing(ungraded, graded_once, dask, scheduler):
    """Its submission goes to the other one; nobody is graded twice or lost."""
    from distributed import Client

    words = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory", tempfile.gettempdir())
    doomed = dask("worker", scheduler, "--name", "doomed", *words)
    with Client(scheduler, timeout=60) as client:
        while not any(worker["name"] == "doomed" for worker in client.scheduler_info()["workers"].values()):
            time.sleep(0.1)
        others = [
            address for address, worker in client.scheduler_info()["workers"].items() if worker["name"] != "doomed"
        ]
        client.retire_workers(others)  # all begin with the one that will be killed
    asked = small_class.command("grade", TOPIC, "--course", ungraded, "--no-feedback", "--dask", scheduler)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    grading = subprocess.Popen(asked, env=small_class.environment(), cwd=ROOT, **pipes)
    end = time.monotonic() + 120
    while len(small_class.journal(ungraded)) < 2 and grading.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    doomed.kill()
    dask("worker", scheduler, *words)
    _, error = grading.communicate(timeout=300)
    assert grading.returncode == 2 and "viktor: unreadable" in error and "Traceback" not in error, error
    assert small_class.verdicts(ungraded) == small_class.verdicts(graded_once)
    assert set(small_class.lines_per_student(ungraded).values()) == {1}


def test_a_worker_with_threads_takes_one_submission_at_a_time(monkeypatch):
    """A template, its clocks and its channel have one owner."""
    from concurrent.futures import ThreadPoolExecutor

    from autograder.grading import job

    inside, most = [], []

    def grade(number):
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.02)
        inside.remove(number)

    monkeypatch.setattr(job, "grade", grade)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(job.grade_in_thread, range(8)))
    assert most == [1] * 8


# PostgreSQL.


@pytest.fixture(scope="module")
def postgres():
    """A server of our own in a temporary folder, as a user without rights. Yields an address without database."""
    needed("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(programs[-1]) if programs else shutil.which("initdb")
    if found is None:
        missing("no PostgreSQL server here: `apt-get install postgresql`")
    initdb, pg_ctl = Path(found).resolve(), Path(found).resolve().with_name("pg_ctl")
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path must be short
    who = {}
    if os.getuid() == 0:  # PostgreSQL refuses to be root
        names = {account.pw_name for account in pwd.getpwall()}
        account = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(folder, account.pw_uid, account.pw_gid)
        who = dict(user=account.pw_uid, group=account.pw_gid, extra_groups=[])

    def call(*words):
        clean = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder)}
        done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True, timeout=120, **who)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"

    data = folder / "data"
    call(initdb, "-D", data, "-U", "grader", "--auth=trust", "--encoding=UTF8", "--no-sync")
    options = f"-F -c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    call(pg_ctl, "-D", data, "-l", folder / "log", "-o", options, "-w", "start")
    yield f"postgresql://grader@127.0.0.1:{port}"
    call(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def database(postgres):
    """A fresh database and its address."""
    import psycopg

    name = f"grades_{time.monotonic_ns()}"
    server = psycopg.connect(f"{postgres}/postgres")
    server.autocommit = True
    server.cursor().execute(f"CREATE DATABASE {name}")
    server.close()
    return f"{postgres}/{name}"


def test_the_same_grades_in_postgresql(ungraded, graded_once, database, capsys):
    """Released and graded there from the beginning, forced once more, exported: as in SQLite."""
    assert main(["release", TOPIC, "--course", str(ungraded), "--db", database]) == 0
    arguments = ["grade", TOPIC, "--course", str(ungraded), "--no-feedback", "--workers", "1", "--db", database]
    assert main(arguments) == 2  # viktor's file is torn
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    wanted = small_class.in_gradebook(graded_once)
    assert small_class.verdicts(ungraded) == small_class.verdicts(graded_once)
    assert small_class.in_gradebook(ungraded, database) == wanted
    assert small_class.in_gradebook(ungraded) == {}, "nothing went into the SQLite file"
    assert main(["export", "--course", str(ungraded), "--db", database, str(ungraded / "all.csv")]) == 0
    assert len((ungraded / "all.csv").read_text().splitlines()) == 1 + len(wanted)
    assert main(["report", TOPIC, "--course", str(ungraded), "--db", database]) == 0


def test_a_class_moves_to_postgresql_without_being_graded_again(graded, database, capsys):
    """What the journal holds is written to a gradebook that does not have it."""
    assert main(["grade", TOPIC, "--course", str(graded), "--no-feedback", "--db", database]) == 2
    assert "run `autograder release perceptron`" in one_line(capsys)
    assert main(["release", TOPIC, "--course", str(graded), "--db", database]) == 0
    main(["grade", TOPIC, "--course", str(graded), "--no-feedback", "--db", database])
    assert small_class.in_gradebook(graded, database) == small_class.in_gradebook(graded)
    assert set(small_class.lines_per_student(graded).values()) == {1}


def test_a_locked_database_is_one_line_and_then_goes_on(graded, database, monkeypatch, capsys):
    import psycopg

    assert main(["release", TOPIC, "--course", str(graded), "--db", database]) == 0
    capsys.readouterr()
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=500ms")
    arguments = ["grade", TOPIC, "--course", str(graded), "--no-feedback", "--db", database]
    other = psycopg.connect(database)
    other.cursor().execute("LOCK TABLE submitted_assignment IN EXCLUSIVE MODE")
    assert main(arguments) == 2
    assert "lock timeout" in one_line(capsys)
    other.close()
    main(arguments)
    assert small_class.in_gradebook(graded, database) == small_class.in_gradebook(graded)


@pytest.mark.parametrize("command", ["grade", "release", "report", "export"])
def test_a_wrong_address_is_one_line(graded, postgres, command, capsys):
    words = {"export": [str(graded / "all.csv")]}.get(command, [TOPIC])
    for address, said in (
        (f"{postgres}/nowhere", 'database "nowhere" does not exist'),
        (f"postgresql://grader:secret@127.0.0.1:{free_port()}/x", "Connection refused"),
        ("postgres", "Could not parse"),
    ):
        assert main([command, *words, "--course", str(graded), "--db", address]) == 2
        error = one_line(capsys)
        assert said in error and "secret" not in error


def test_no_silent_server_or_lock_holds_everything_up():
    """PostgreSQL's library is told when to give up, unless whoever runs us has said so already."""
    show = "import autograder.environment, os; print(os.environ['PGOPTIONS'], os.environ['PGCONNECT_TIMEOUT'])"
    for said, told in (({}, "-c lock_timeout=30s 10"), ({"PGOPTIONS": "x", "PGCONNECT_TIMEOUT": "1"}, "x 1")):
        clean = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **said}
        done = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, env=clean)
        assert done.stdout.strip() == told, done.stderr


def test_the_line_of_a_log_that_names_the_error():
    from autograder.homework import last_error

    log = "[ERROR] There was an error\nTraceback (most recent call last):\n  File x\n{}\n[ERROR] Please see above\n"
    for line in (
        "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked",
        "ModuleNotFoundError: No module named 'psycopg'",
    ):
        assert last_error(log.format(line)) == line
    assert last_error("one\ntwo\n") == "two" and last_error("") == "it did not say why"
