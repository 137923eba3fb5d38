"""The built book, served from here, and a browser that looks at it."""

import fcntl
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from built import HTML, PAGES, ROOT, WIDE


@pytest.fixture(scope="session")
def html() -> Path:
    """The built book; a lock keeps parallel workers from building it twice."""
    (ROOT / "_build").mkdir(exist_ok=True)
    with open(ROOT / "_build" / ".book.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (HTML / f"{PAGES[-1]}.html").is_file():
            command = [str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-W", "--keep-going"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"the book does not build:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return HTML


@pytest.fixture(scope="session")
def site(html) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def visit(browser):
    """Opens an address in a fresh page and returns the page with what it complained of and asked for."""
    contexts = []

    def open_page(address: str, viewport=WIDE, scheme="light"):
        home = f"{urlsplit(address).scheme}://{urlsplit(address).netloc}"
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        contexts.append(context)
        page, complaints, foreign = context.new_page(), [], []

        def only_home(route):
            url = route.request.url
            if url.startswith((home, "data:", "blob:")):
                route.continue_()
            else:
                foreign.append(url)
                route.abort()

        context.route("**/*", only_home)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda r: complaints.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return SimpleNamespace(page=page, complaints=complaints, foreign=foreign)

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def repository(monkeypatch):
    """The extension that knows where the book's sources are kept."""
    monkeypatch.syspath_prepend(ROOT / "book" / "extensions")
    return pytest.importorskip("course_book.repository")
