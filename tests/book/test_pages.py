"""The built pages in a real browser: formulas drawn, nothing overflows, nothing is fetched from another machine.

They need `make book`; a missing _build/html is built here first. Without a Chromium they are skipped, except where CI
or COURSE_REQUIRE_BROWSER is set. CHROMIUM may name the program, COURSE_SCREENSHOTS a folder for a picture of each.
"""

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from built import PAGES, PHONE, WIDE

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)

# Text a reader sees, folded parts included, without code and drawn formulas.
PLAIN_TEXT = """() => {
  const copy = document.querySelector("article").cloneNode(true);
  copy.querySelectorAll("pre, code, math, script, style").forEach(e => e.remove());
  return copy.textContent;
}"""
UNDRAWN = """() => [...document.querySelectorAll(".math")].filter(e => !e.querySelector("math"))
  .map(e => e.textContent)"""
BROKEN_FORMULAS = """() => [...document.querySelectorAll("merror")].map(e => e.outerHTML.slice(0, 200))"""
# Pictures come when they are near: here all are called at once.
ALL_IMAGES = """() => Promise.allSettled([...document.images].map(i => { i.loading = "eager"; return i.decode(); }))"""
BROKEN_IMAGES = """() => [...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.src)"""
WITHOUT_ALT = """() => [...document.querySelectorAll("article img")].filter(i => !i.alt.trim()).map(i => i.src)"""
# What sticks out on the right and cannot be scrolled to within a box of its own.
STICKING_OUT = """() => [...document.querySelectorAll("article *")].filter(e => {
  if (e.getBoundingClientRect().right <= window.innerWidth + 1 || !e.checkVisibility()) return false;
  for (let p = e; p && p.tagName != "ARTICLE"; p = p.parentElement)
    if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(p).overflowX) ||
        getComputedStyle(p).position == "absolute") return false;
  return true;
}).map(e => e.outerHTML.slice(0, 120))"""
# Formulas that are cut where they are too wide, and signs of a font for icons that is not sent along.
CUT_FORMULAS = """() => [...document.querySelectorAll("article .math")]
  .filter(e => ["hidden", "clip"].includes(getComputedStyle(e).overflowX)).map(e => e.outerHTML.slice(0, 120))"""
MISSING_SIGNS = r"""() => [...document.querySelectorAll("a, button, i, label, summary, .admonition-title")].filter(e =>
  ["::before", "::after"].map(p => getComputedStyle(e, p)).some(
    ({content, maskImage}) => /[\ue000-\uf8ff]/.test(content) && maskImage == "none"))
  .map(e => e.outerHTML.slice(0, 120))"""
RAW_FORMULA = re.compile(r"\\[(\[]|\$\$|\\(?:frac|sum|begin|text|sqrt|alpha)\b|(?<!\w)\$[^$\s][^$\n]*\$")
RAW_MYST = re.compile(r"\{[\w:-]+\}`|^:::|```|^\([\w-]+\)=\s*$|\{(?:cite|ref|numref|term|doc|eq)\b", re.MULTILINE)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1440", "390"])
@pytest.mark.parametrize("name", PAGES)
def test_page(visit, site, name, viewport, scheme):
    seen = visit(f"{site}/{name}.html", viewport, scheme)
    page = seen.page
    page.evaluate(ALL_IMAGES)
    if folder := os.environ.get("COURSE_SCREENSHOTS"):
        page.screenshot(path=Path(folder, f"{Path(name).name}-{viewport['width']}-{scheme}.png"), full_page=True)
    assert not seen.foreign, "asks another machine"
    assert not seen.complaints
    text = page.evaluate(PLAIN_TEXT)
    assert not RAW_FORMULA.findall(text)
    assert not RAW_MYST.findall(text)
    assert not page.evaluate(UNDRAWN)
    assert not page.evaluate(BROKEN_FORMULAS)
    assert not page.evaluate(CUT_FORMULAS)
    assert not page.evaluate(MISSING_SIGNS)
    assert not page.evaluate(BROKEN_IMAGES)
    assert not page.evaluate(WITHOUT_ALT)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert not page.evaluate(STICKING_OUT)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert brightness < 64 if scheme == "dark" else brightness > 192, f"{scheme} page on {background}"
    filters = page.evaluate("[...document.querySelectorAll('article img')].map(i => getComputedStyle(i).filter)")
    assert set(filters) <= {"none"}, "a figure is recoloured"
    frames = page.evaluate("[...document.querySelectorAll('.cell_output img')].map(i => getComputedStyle(i).padding)")
    assert set(frames) <= {"0px"}, "the theme frames a figure"


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1440", "390"])
@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_page_is_accessible(visit, site, name, viewport, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(f"{site}/{name}.html", viewport, scheme).page
    # Thousands of nodes: of the coloured code, one block stands for all.
    page.evaluate("document.querySelectorAll('.highlight').forEach((e, i) => i && e.classList.add('alike'))")
    found = axe.Axe().run(page, context={"exclude": [[".alike"]]}).response["violations"]
    assert not {fault["id"]: [node["html"][:120] for node in fault["nodes"][:3]] for fault in found}


# What a reader looks for, and the chapter that must be among the first three answers.
SOUGHT = {
    "broadcasting": "tensors",
    "computational graph": "backprop",
    "max pooling": "cnn",
    "vanishing gradients": "backprop",
    "truncated backpropagation": "rnn",
    "forget gate": "gated",
    "beam search": "seq2seq",
    "Nadaraya Watson": "attention",
    "residual connection": "transformer",
    "speculative decoding": "decoding",
}


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1440", "390"])
def test_search_finds_what_is_sought(visit, site, viewport):
    seen = visit(f"{site}/{PAGES[0]}.html", viewport)
    page = seen.page
    for phrase, topic in SOUGHT.items():
        page.keyboard.press("Control+k")
        page.keyboard.type(phrase)
        page.keyboard.press("Enter")
        page.wait_for_selector("#search-results li a")
        page.wait_for_function("document.querySelector('.search-summary')?.textContent.includes('found')")
        found = page.eval_on_selector_all("#search-results li > a", "links => links.map(a => a.pathname)")
        found = [Path(address).stem for address in found]
        assert topic in found[:3], phrase
        chapters_first = sorted(found, key=lambda stem: stem not in TOPICS)
        assert found == chapters_first, f"{phrase}: a page of the back matter stands before a chapter"
    assert not seen.foreign and not seen.complaints


# What can be used, each with a number, and the number of what has the keyboard now.
USABLE = """() => {
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
  const usable = all.filter(e => !e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}));
  usable.forEach((e, i) => { e.dataset.usable = i; });
  return usable.map(e => e.outerHTML.slice(0, 120));
}"""
HELD = "() => document.activeElement?.dataset.usable"


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1440", "390"])
@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_the_keyboard_reaches_everything(visit, site, name, viewport):
    page = visit(f"{site}/{name}.html", viewport).page
    usable, reached = page.evaluate(USABLE), set()
    for _ in range(len(usable) + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(HELD))
    assert not [usable[i] for i in range(len(usable)) if str(i) not in reached]


@pytest.mark.browser
def test_the_reader_can_choose_dark_and_light(visit, site):
    page = visit(f"{site}/{PAGES[0]}.html").page
    themes = set()
    for _ in range(3):
        page.click(".theme-switch-button >> visible=true")
        themes.add(page.evaluate("document.documentElement.dataset.theme"))
    assert themes == {"light", "dark"}


@pytest.mark.browser
@pytest.mark.parametrize("name", PAGES)
def test_page_opens_as_a_file(visit, html, name):
    seen = visit((html / f"{name}.html").as_uri())
    assert not seen.foreign
    # A browser gives a file no right to preload fonts; the page is drawn with those its style sheets name.
    assert not [complaint for complaint in seen.complaints if not re.search(r"font|ERR_FAILED|preload", complaint)]
    assert not seen.page.evaluate(UNDRAWN)
    seen.page.evaluate(ALL_IMAGES)
    assert not seen.page.evaluate(BROKEN_IMAGES)


class Links(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id"))
        if attributes.get("rel") != "canonical":  # the page's own address, where it is known
            self.links += [(tag, attributes[key]) for key in ("href", "src") if attributes.get(key)]


@pytest.fixture(scope="session")
def parsed(html) -> dict[Path, Links]:
    return {
        path: Links(path.read_text()) for path in [*(html / f"{name}.html" for name in PAGES), html / "search.html"]
    }


def test_every_link_within_the_book_leads_somewhere(parsed):
    broken = []
    for path, page in parsed.items():
        for _, link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not target.is_file() or (
                url.fragment and target in parsed and url.fragment not in parsed[target].anchors
            ):
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_no_page_names_a_script_or_style_of_another_site(parsed):
    for path, page in parsed.items():
        loaded = [link for tag, link in page.links if tag in ("script", "img", "link", "iframe") and "//" in link]
        assert not loaded, path.name


def test_every_chapter_offers_its_notebook(html, parsed):
    for topic in TOPICS:
        links = [link for _, link in parsed[html / "book" / f"{topic}.html"].links]
        assert f"../_downloads/{topic}.ipynb" in links
        built = (html / "_downloads" / f"{topic}.ipynb").read_text()
        assert built == chapters.notebook_file(topic, ROOT).read_text(), f"{topic}: `make notebooks`, or build the book"


@pytest.mark.parametrize("topic", TOPICS)
def test_the_notebook_counts_as_the_page_does(html, topic):
    """Figures, equations and exercises bear the same numbers in both, in the same order."""
    page = (html / "book" / f"{topic}.html").read_text()
    notebook = nbformat.read(chapters.notebook_file(topic, ROOT), as_version=4)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for in_page, in_notebook in [
        (r'caption-number">(Fig\. [\d.]+)', r"\*\*(Fig\. [\d.]+)\*\*"),
        (r'class="eqno">\(([\d.]+)\)', r"\\tag\{([\d.]+)\}"),
        (r'caption-number">(Exercise [\d.]+)', r"\*\*(Exercise [\d.]+)\*\*"),
    ]:
        assert re.findall(in_notebook, text) == re.findall(in_page, page)
    assert re.search(r'caption-number">Fig', page) and 'caption-number">Exercise' in page


def test_launch_buttons_are_right_or_absent(html, parsed):
    """A book built without COURSE_REPOSITORY has none; with it, each chapter's lead to its own notebook."""
    launching = re.compile(r"https://(?:colab\.research\.google|mybinder)\S*")
    for path, page in parsed.items():
        found = [link for _, link in page.links if launching.match(link)]
        if found:
            assert f"notebooks/chapters/{path.stem}.ipynb" in found[0]
            assert path.stem in TOPICS and len(found) == 3


def test_launch_buttons_open_notebooks(repository):
    group = repository.launch_group("owner/name", "main", "perceptron")
    chapter, homework, binder = [button["url"] for button in group["buttons"]]
    colab = "https://colab.research.google.com/github/owner/name/blob/main"
    assert chapter == f"{colab}/notebooks/chapters/perceptron.ipynb"
    assert homework == f"{colab}/notebooks/homework/perceptron/perceptron.ipynb"
    assert binder == "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/notebooks/chapters/perceptron.ipynb"


def test_repository_buttons_need_an_address(repository, monkeypatch):
    app, config = SimpleNamespace(), SimpleNamespace(html_theme_options={})
    monkeypatch.delenv("COURSE_REPOSITORY", raising=False)
    repository.add_repository(app, config)
    assert config.html_theme_options == {} and not hasattr(app, "course_repository")
    monkeypatch.setenv("COURSE_REPOSITORY", "https://github.com/owner/name.git")
    repository.add_repository(app, config)
    assert app.course_repository == "owner/name"
    assert config.html_theme_options["repository_url"] == "https://github.com/owner/name"
    monkeypatch.setenv("COURSE_REPOSITORY", "owner/name")
    with pytest.raises(Exception, match="COURSE_REPOSITORY = 'owner/name' is not of the form"):
        repository.add_repository(app, config)
