"""How a page arrives: what it weighs, in its colours from the first word, without a jump; and where no script runs."""

import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from built import PAGES, PHONE, WIDE

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
COMPRESSED = (".html", ".css", ".js", ".svg")  # a server compresses these; fonts and pictures are already
MOST_BYTES, MOST_SHIFT = 600_000, 0.1  # of a chapter without its own figures; what Web Vitals call good
SHIFT = """() => new Promise(resolve => {
  let sum = 0;
  new PerformanceObserver(list => list.getEntries().forEach(entry => { sum += entry.value; }))
    .observe({type: "layout-shift", buffered: true});
  setTimeout(() => resolve(sum), 300);
})"""
GROUND = "() => getComputedStyle(document.querySelector('.bd-header-article')).backgroundColor"

pytestmark = pytest.mark.browser


def sent(path: Path) -> int:
    data = path.read_bytes()
    return len(gzip.compress(data)) if path.suffix in COMPRESSED else len(data)


@pytest.mark.parametrize("topic", TOPICS)
def test_a_chapter_is_light_and_does_not_jump(browser, html, site, topic):
    with browser.new_context(viewport=PHONE) as context:
        page, asked = context.new_page(), set()
        page.on("request", lambda request: asked.add(html / urlsplit(request.url).path.lstrip("/")))
        page.goto(f"{site}/book/{topic}.html", wait_until="networkidle")
        files = {path for path in asked if "_images" not in path.parts}
        assert html / "book" / f"{topic}.html" in files
        weights = {path.name: sent(path) for path in files if path.is_file()}
        assert sum(weights.values()) <= MOST_BYTES, weights
        assert page.evaluate(SHIFT) < MOST_SHIFT
        last = page.evaluate("[...document.querySelectorAll('article img')].at(-1).src")
        assert html / urlsplit(last).path.lstrip("/") not in asked, "a figure far below is fetched before it is needed"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_word_is_in_the_readers_colours(browser, site, scheme):
    """The theme's own script comes at the page's end: here it does not come at all."""
    with browser.new_context(color_scheme=scheme) as context:
        context.route("**/pydata-sphinx-theme.js*", lambda route: route.abort())
        page = context.new_page()
        page.goto(f"{site}/{PAGES[0]}.html")
        assert page.evaluate("document.documentElement.dataset.theme") == scheme


@pytest.fixture
def without_scripts(browser, site):
    contexts = []

    def opened(name, viewport=WIDE):
        contexts.append(browser.new_context(viewport=viewport, java_script_enabled=False))
        page = contexts[-1].new_page()
        page.goto(f"{site}/{name}.html")
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["1440", "390"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_without_scripts(without_scripts, name, viewport):
    page = without_scripts(name, viewport)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    *_, opacity = re.findall(r"[\d.]+", page.evaluate(GROUND)) if "rgba" in page.evaluate(GROUND) else ["1"]
    assert float(opacity) > 0.9, "text shows through the head of the page"
    hidden = page.evaluate(
        "() => [...document.querySelectorAll('.admonition.dropdown > section, .admonition.dropdown > p')]"
        ".filter(e => !e.checkVisibility()).length"
    )
    assert not hidden, "an answer is folded, and no script can unfold it"


@pytest.mark.parametrize("name", [page for page in PAGES if page.removeprefix("book/") in TOPICS])
def test_a_figure_to_touch_names_one_that_stands_still(without_scripts, name):
    page = without_scripts(name)
    for box in page.locator(".live").all():
        assert "where scripts run" in box.inner_text()
        # The cell that draws the figure, and the words above it.
        words = page.locator(".cell", has=box).locator("xpath=preceding-sibling::p[1]")
        still = words.locator("a[href^='#fig-']").first.get_attribute("href")
        assert page.locator(still).locator("img, svg").first.is_visible()
        assert box.bounding_box()["height"] < 200
