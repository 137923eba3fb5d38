r"""The whole book in one file: a PDF, printed by Chromium, or an EPUB.

python book/one_file FILE …     each ends in .pdf or .epub

Both are made of the pages of `make book`: the same formulas, numbers and figures. Chromium opens each page, lets its
figures to touch draw themselves, and page.js hands the page over as XHTML. The EPUB holds these pages;
for the PDF they are joined to one. Chapters and sections become bookmarks, and links within the book stay links.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import re
import shutil
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
HTML, SOURCE, FIGURES = ROOT / "_build" / "html", Path(__file__).parent, ROOT / "book" / "figures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
COVER = "from-line-to-attention.svg"
STYLES = ("code.css", "book.css")
LIGHT = 'html[data-theme="light"] '
# What paper would cut off, and pictures that are not there.
FAULTS = """() => {
  const within = document.documentElement.clientWidth + 1, all = [...document.querySelectorAll("body *")];
  const wide = all.filter(e => !(e instanceof SVGElement) && e.getBoundingClientRect().right > within);
  return [...wide, ...all.filter(e => e.localName === "img" && !(e.complete && e.naturalWidth))]
    .map(e => e.outerHTML.slice(0, 200));
}"""
# In the table of contents, behind each entry its page.
NUMBER = """places => {
  for (const link of document.querySelectorAll("nav a"))
    link.dataset.page = places[link.getAttribute("href").slice(1)] ?? "";
}"""
TEXT_WIDTH = 658  # pixels: 174 mm, what the margins in print.css leave of A4
KINDS = {
    ".xhtml": "application/xhtml+xml",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
}


@contextmanager
def browser() -> Iterator[Any]:
    """Ends with one line where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("one_file: needs playwright: pip install -e '.[test]'")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        sys.exit("one_file: needs Chromium: apt-get install chromium, or name the program in CHROMIUM")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        started = playwright.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()


class Book:
    """The pages as XHTML, and the folder where they lie with all they show."""

    def __init__(self, chromium: Any, folder: Path):
        self.chromium, self.folder = chromium, folder
        config = yaml.safe_load((ROOT / "_config.yml").read_text())
        self.title, self.author = config["title"], config["author"]
        toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
        self.parts = [
            (part.get("caption"), [Path(entry["file"]).name for entry in part["chapters"]])
            for part in [{"chapters": [{"file": toc["root"]}]}, *toc["parts"]]
        ]
        names = [name for _, part in self.parts for name in part]
        sheet = (HTML / "_static" / "themes.css").read_text().splitlines()[0]
        self.colours = dict(re.findall(r"(--fig-[\w-]+):(#\w+)", sheet))  # of the light page: for paper
        tab, script = chromium.new_page(color_scheme="light"), (SOURCE / "page.js").read_text()
        self.pages = {}
        for name in names:
            tab.goto((HTML / "book" / f"{name}.html").as_uri())
            self.pages[name] = tab.evaluate(script, names)
        tab.close()
        self.copy_what_is_shown()
        for name, page in self.pages.items():
            page["body"] = self.coloured(page["body"])
            self.write(f"{name}.xhtml", page["title"], page["body"])
        self.check_links()

    def copy_what_is_shown(self) -> None:
        static, images = HTML / "_static", self.folder / "images"
        images.mkdir(parents=True)
        code = (static / "pygments.css").read_text().splitlines()
        light = [line.replace(LIGHT, "") for line in code if line.startswith(LIGHT)]
        (self.folder / "code.css").write_text("\n".join(light) + "\n")
        for file in (static / "fonts" / "stix-two-math.woff2", *SOURCE.glob("*.css")):
            shutil.copy(file, self.folder)
        shown = {HTML / "_images" / image for page in self.pages.values() for image in page["images"]}
        for file in (*shown, FIGURES / COVER, static / "logo.svg"):
            if file.suffix == ".svg":
                (images / file.name).write_text(self.coloured(file.read_text()))
            else:
                shutil.copy(file, images)

    def coloured(self, text: str) -> str:
        """With colours for their names, which readers of EPUB may not know, and no other colours in the dark."""
        text = re.sub(r"<style>:root\{--fig-.*?</style>", "", text, flags=re.DOTALL)
        text = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", text)  # matplotlib gives equal pictures equal ids
        return re.sub(r"var\((--fig-[\w-]+)\)", lambda found: self.colours[found[1]], text)

    def write(self, name: str, title: str, body: str, styles: Iterable[str] = STYLES) -> Path:
        links = "".join(f'<link rel="stylesheet" type="text/css" href="{style}"/>' for style in styles)
        text = (SOURCE / "page.xhtml").read_text().format(title=html.escape(title), styles=links, body=body)
        (self.folder / name).write_text(text, encoding="utf-8")
        return self.folder / name

    def check_links(self) -> None:
        known = set()
        for name, page in self.pages.items():
            known |= {f"{name}.xhtml#{mark}" for mark in re.findall(r' id="([^"]+)"', page["body"])}
        for name, page in self.pages.items():
            for link in re.findall(r' href="([\w-]+\.xhtml[^"]*)"', page["body"]):
                if link not in known:
                    sys.exit(f"one_file: in {name}, the link {link} leads nowhere")

    def cover(self) -> str:
        colophon = next(iter(self.pages.values()))["colophon"]
        return (
            f'<section class="cover"><img class="cover-mark" src="images/logo.svg" alt=""/>'
            f'<p class="cover-title">{html.escape(self.title)}</p>'
            f'<img src="images/{COVER}" alt=""/><p>{html.escape(colophon)}</p></section>'
        )

    def contents(self) -> str:
        lines = []
        for caption, names in self.parts:
            chapters = "".join(self.entry(self.pages[name], name) for name in names)
            lines.append(f"<li><span>{html.escape(caption)}</span><ol>{chapters}</ol></li>" if caption else chapters)
        return f'<nav epub:type="toc" id="contents"><h1>Contents</h1><ol>{"".join(lines)}</ol></nav>'

    def entry(self, page: dict, name: str) -> str:
        def link(title: str, mark: str) -> str:
            return f'<a href="{name}.xhtml#{mark}">{html.escape(title)}</a>'

        sections = "".join(f"<li>{link(*section)}</li>" for section in page["sections"])
        return f"<li>{link(page['title'], name)}{f'<ol>{sections}</ol>' if sections else ''}</li>"

    def print_to(self, target: Path) -> None:
        """All pages as one, printed twice: where each section begins is known after the first time."""
        bodies = [self.cover(), self.contents(), *(page["body"] for page in self.pages.values())]
        joined = re.sub(r' href="[\w-]+\.xhtml#', ' href="#', "\n".join(bodies))
        rules = [
            f"@page {name} {{ @top-center {{ content: {json.dumps(page['title'], ensure_ascii=False)} }} }}\n"
            f"#{name} {{ page: {name} }}\n"
            for name, page in self.pages.items()
        ]
        (self.folder / "chapters.css").write_text("".join(rules), encoding="utf-8")
        whole = self.write("whole.xhtml", self.title, joined, (*STYLES, "print.css", "chapters.css"))
        tab = self.chromium.new_page(viewport={"width": TEXT_WIDTH, "height": 1000})
        tab.emulate_media(media="print")
        tab.goto(whole.as_uri())
        tab.evaluate("document.fonts.ready.then(() => undefined)")
        if faults := tab.evaluate(FAULTS):
            sys.exit("one_file: does not fit on the paper, or is missing:\n" + "\n".join(faults))
        draft = PdfReader(io.BytesIO(tab.pdf(prefer_css_page_size=True)))
        places = {
            name.lstrip("/"): draft.get_destination_page_number(place) + 1
            for name, place in draft.named_destinations.items()
        }
        tab.evaluate(NUMBER, places)
        tab.pdf(path=target, prefer_css_page_size=True, outline=True, tagged=True, print_background=True)
        tab.close()

    def pack_to(self, target: Path) -> None:
        tab = self.chromium.new_page(viewport={"width": 800, "height": 1120})
        tab.goto(self.write("cover.xhtml", self.title, self.cover()).as_uri())
        tab.screenshot(path=self.folder / "images" / "cover.png")
        tab.close()
        self.write("contents.xhtml", "Contents", self.contents())
        texts = ["cover", "contents", *self.pages]
        files = [*(f"{name}.xhtml" for name in texts), *STYLES, "stix-two-math.woff2"]
        files += sorted(f"images/{file.name}" for file in (self.folder / "images").iterdir())
        first = next(iter(self.pages.values()))
        frame = (SOURCE / "content.opf").read_text()
        package = frame.format(
            identifier=uuid.uuid5(uuid.NAMESPACE_URL, self.title),
            title=html.escape(self.title),
            author=html.escape(self.author),
            description=html.escape(first["lead"]),
            day=first.get("day") or "2000-01-01",
            manifest="\n".join(map(self.item, files)),
            spine="\n".join(f'<itemref idref="{name}.xhtml"/>' for name in texts),
        )
        with zipfile.ZipFile(target, "w") as packed:

            def pack(name: str, content: str | bytes, way: int = zipfile.ZIP_DEFLATED) -> None:
                packed.writestr(zipfile.ZipInfo(name), content, way)  # without the time: same sources, same bytes

            pack("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
            pack("META-INF/container.xml", (SOURCE / "container.xml").read_text())
            pack("book/content.opf", package)
            for file in files:
                pack(f"book/{file}", (self.folder / file).read_bytes())

    def item(self, file: str) -> str:
        """A line of the list of files, which has to announce what a page holds."""
        text = (self.folder / file).read_text(encoding="utf-8") if file.endswith(".xhtml") else ""
        told = [word for word, sign in (("mathml", "<math"), ("svg", "<svg"), ("nav", "<nav")) if sign in text]
        told += ["cover-image"] if file == "images/cover.png" else []
        properties = f' properties="{" ".join(told)}"' if told else ""
        mark = re.sub(r"[^\w.-]", "-", file)
        mark = mark if mark[0].isalpha() else f"i{mark}"
        return f'<item id="{mark}" href="{file}" media-type="{KINDS[Path(file).suffix]}"{properties}/>'


def main() -> None:
    reader = argparse.ArgumentParser(prog="python book/one_file", description=__doc__.splitlines()[0])
    reader.add_argument("files", metavar="FILE", nargs="+", type=Path, help="ends in .pdf or .epub")
    files = reader.parse_args().files
    with browser() as chromium, tempfile.TemporaryDirectory() as folder:
        book = Book(chromium, Path(folder))
        for file in files:
            {".pdf": book.print_to, ".epub": book.pack_to}[file.suffix](file)
            print(f"{file}: {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
