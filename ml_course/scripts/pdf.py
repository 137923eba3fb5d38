r"""The whole book as one PDF: Sphinx writes it as one page, and Chromium prints that.

python -m ml_course.scripts.pdf [FILE]

Formulas are MathML and figures are there already, so nothing has to be awaited. Chapters and sections become bookmarks,
links within the book stay links, and the text carries its structure for screen readers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONE_PAGE = ROOT / "_build" / "singlehtml" / "index.html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
NUMBERED = (
    '<div style="width:100%;font-size:8px;text-align:center;color:#767677"><span class="pageNumber"></span></div>'
)
# A cover and a list of chapters and their sections, before the text; the page brings along what they say.
FRONT = """() => {
  const make = (name, className, text = "") =>
    Object.assign(document.createElement(name), { className, textContent: text });
  const words = (heading) => {
    const copy = heading.cloneNode(true);
    copy.querySelectorAll(".headerlink").forEach((link) => link.remove());
    return copy.textContent.trim();
  };
  const entry = (section) => {
    const item = make("li"), heading = section.querySelector("h1, h2, h3");
    item.append(Object.assign(make("a", "", words(heading)), { href: `#${section.id}` }));
    return item;
  };
  const cover = make("div", "cover"), title = document.querySelector(".book-title");
  cover.append(title.querySelector("img").cloneNode(), make("p", "cover-title", title.innerText.trim()),
    make("p", "colophon", document.querySelector(".colophon").textContent));
  const contents = make("ol", "contents");
  for (const start of document.querySelectorAll("article span[id^='document-']")) {
    const chapter = start.nextElementSibling, sections = make("ul");
    if (chapter?.tagName !== "SECTION") continue;
    sections.append(...[...chapter.children].filter((one) => one.tagName === "SECTION").map(entry));
    const item = entry(chapter);
    item.append(sections);
    contents.append(item);
    chapter.classList.add("chapter");
  }
  document.querySelector("article").prepend(cover, make("p", "contents-title", "Contents"), contents);
}"""
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}


def build_one_page() -> None:
    """From the cache of the chapters' runs, which `make book` has filled."""
    builder = str(Path(sys.executable).with_name("jupyter-book"))
    done = subprocess.run([builder, "build", ".", "--builder", "singlehtml", "-W", "--keep-going"], cwd=ROOT)
    if done.returncode:
        sys.exit("pdf: the book does not build; see above")


def print_page(target: Path) -> None:
    """Ends with one line where there is no browser to print with."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("pdf: needs playwright: pip install -e '.[test]'")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("pdf: needs Chromium: apt-get install chromium, or name the program in CHROMIUM")
    target.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(ONE_PAGE.as_uri())
        page.evaluate(FRONT)
        page.evaluate("document.fonts.ready.then(() => undefined)")
        page.pdf(
            path=target, format="A4", margin=MARGIN, outline=True, tagged=True, print_background=True,
            display_header_footer=True, header_template="<span></span>", footer_template=NUMBERED,
        )  # fmt: skip
        browser.close()


def main() -> None:
    reader = argparse.ArgumentParser(prog="python -m ml_course.scripts.pdf", description=__doc__.splitlines()[0])
    target = ROOT / "_build" / "pdf" / "book.pdf"
    reader.add_argument("file", metavar="FILE", nargs="?", type=Path, default=target, help=f"default: {target.name}")
    arguments = reader.parse_args()
    build_one_page()
    print_page(arguments.file)
    print(f"{arguments.file}: {arguments.file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
