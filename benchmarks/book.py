"""The built book: what a page weighs, and how soon its text is there.

Weights are as a server that compresses would send them, without the page's own figures. The text's time is the first
contentful paint from a server on this machine, the processor slowed four times. Needs `make book` and a Chromium.
"""

from __future__ import annotations

import functools
import gzip
import http.server
import os
import shutil
import statistics
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright
from tqdm import tqdm

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
COMPRESSED = (".html", ".css", ".js", ".svg", ".json")  # fonts and pictures are already
SLOWED, VISITS = 4, 3
PAINT = "performance.getEntriesByName('first-contentful-paint')"


def sent(path: Path) -> int:
    data = path.read_bytes()
    return len(gzip.compress(data, 6)) if path.suffix in COMPRESSED else len(data)


def visit(browser: Browser, address: str) -> tuple[float, set[Path]]:
    """Milliseconds to the first text, and the files of the book that were asked for."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
    asked: set[Path] = set()
    page.on("request", lambda request: asked.add(HTML / urlsplit(request.url).path.lstrip("/")))
    page.goto(address, wait_until="networkidle")
    page.wait_for_function(f"{PAINT}.length")  # it is noted a moment after it was painted
    painted = page.evaluate(f"{PAINT}[0].startTime")
    context.close()
    return painted, {path for path in asked if path.is_file() and "_images" not in path.parts}


def pages() -> list[dict[str, Any]]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=HTML)
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    rows = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, sync_playwright() as playwright:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for topic in tqdm(chapters.topics(ROOT), "pages", leave=False):
            address = f"http://127.0.0.1:{server.server_port}/book/{topic}.html"
            visits = [visit(browser, address) for _ in range(VISITS)]
            weight = sum(map(sent, set.union(*(asked for _, asked in visits))))
            painted = statistics.median(time for time, _ in visits)
            told = f"{weight / 1000:.0f} kB, its text after {painted:.0f} ms"
            rows.append({"what": f"page book/{topic}", "told": told, "bytes": weight, "milliseconds": round(painted)})
        browser.close()
        server.shutdown()
    return rows


def measure(large: bool) -> list[dict[str, Any]]:
    if not HTML.is_dir():
        raise FileNotFoundError(f"{HTML.relative_to(ROOT)} is missing, expected the built book: run `make book`")
    return pages()
