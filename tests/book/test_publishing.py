"""What stands around the pages: colophon, a page for lost readers, and, where the address is known, map and cards."""

import json
import re
import struct
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET

import pytest
import yaml
from built import PAGES, ROOT

from ml_course.scripts import chapters

ADDRESS = "https://owner.github.io/name/"
TOPICS = [f"book/{topic}" for topic in chapters.topics(ROOT)]
CONF = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["course_book.publishing"]
project = "A Book"
html_theme = "basic"
"""


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    """A book of two pages, built as the workflow builds ours: with the repository's address."""
    root = tmp_path_factory.mktemp("small")
    (root / "conf.py").write_text(CONF.format(extensions=str(ROOT / "book" / "extensions")))
    (root / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    (root / "index.rst").write_text("Front\n=====\n\nFirst words.\n\n.. toctree::\n\n   one\n")
    (root / "one.rst").write_text("One\n===\n\nA neuron draws a line.\n")
    environment = {
        "COURSE_REPOSITORY": "https://github.com/Owner/name",
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    command = [sys.executable, "-m", "sphinx", "-W", "-q", str(root), str(root / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return root / "out"


def test_the_map_for_search_engines_has_every_page(small_site):
    found = [place.text for place in ET.parse(small_site / "sitemap.xml").findall(".//{*}loc")]
    assert sorted(found) == [f"{ADDRESS}index.html", f"{ADDRESS}one.html"]
    assert f"Sitemap: {ADDRESS}sitemap.xml" in (small_site / "robots.txt").read_text()


def test_a_link_to_a_page_shows_a_card(small_site):
    page = (small_site / "one.html").read_text()
    card = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)"', page))
    assert card["title"] == "One" and card["url"] == f"{ADDRESS}one.html"
    assert card["description"] == "A neuron draws a line."
    picture = (small_site / card["image"].removeprefix(ADDRESS)).read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert 1.5 < width / height < 2.5


def test_the_page_for_the_lost_finds_its_style_from_anywhere(small_site):
    styles = re.findall(r'<link rel="stylesheet"[^>]* href="([^"]+)"', (small_site / "404.html").read_text())
    assert styles and all(style.startswith("/name/_static/") for style in styles)


def test_without_an_address_nothing_invents_one(html):
    if (html / "sitemap.xml").exists():
        pytest.skip("this book was built for a known address")
    assert (html / "robots.txt").read_text() == "User-agent: *\nAllow: /\n"
    assert 'property="og:' not in (html / f"{PAGES[0]}.html").read_text()


@pytest.mark.browser
def test_a_lost_reader_finds_back(visit, site):
    seen = visit(f"{site}/404.html")
    assert not seen.foreign and not seen.complaints
    seen.page.get_by_role("link", name="Glossary").first.click()
    assert seen.page.url.endswith("/book/glossary.html")


@pytest.mark.parametrize("name", [*PAGES, "search", "404"])
def test_every_page_has_the_book_s_sign(html, name):
    sign = re.search(r'<link rel="icon" href="([^"]+)"|<link rel="shortcut icon" href="([^"]+)"', page_text(html, name))
    path = next(filter(None, sign.groups()))
    assert (html / f"{name}.html").parent.joinpath(path).is_file() or (html / path.lstrip("/")).is_file()


def page_text(html, name):
    return (html / f"{name}.html").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_where_the_repository_is_known_a_reader_can_mend_a_page(repository, name):
    links = dict(repository.page_links("owner/name", "main", name))
    file = links["Edit this page"].removeprefix("https://github.com/owner/name/edit/main/")
    assert (ROOT / file).is_file()
    assert links["Report a mistake"].startswith("https://github.com/owner/name/issues/new?title=A%20mistake%20in%20")


def test_links_to_mend_a_page_are_right_or_absent(html):
    """A book built without COURSE_REPOSITORY has none."""
    for name in PAGES:
        foot = re.search(r'<p class="colophon">(.*?)</p>', page_text(html, name), re.DOTALL)[1]
        links = re.findall(r'href="([^"]+)"', foot)
        assert not links or [f"/edit/main/{name}.md" in links[0], "/issues/new?" in links[1]] == [True, True]


def test_the_workflow_tests_publishes_and_previews():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "course.yml").read_text())
    jobs, events = workflow["jobs"], workflow[True]  # YAML reads `on` as a truth
    assert events["push"]["branches"] == ["main"] and "closed" in events["pull_request"]["types"]
    assert "bash .ci/run" in [step.get("run") for step in jobs["test"]["steps"]]
    assert "COURSE_REPOSITORY" in jobs["test"]["env"] and "COURSE_SCREENSHOTS" in jobs["test"]["env"]
    kept = [step["with"] for step in jobs["test"]["steps"] if "upload-artifact" in step.get("uses", "")]
    assert {one["name"]: one["path"] for one in kept} == {"book": "_build/html", "screenshots": "_build/screenshots"}
    assert workflow["permissions"] == {"contents": "read"}
    for name in ("publish", "preview"):
        job = jobs[name]
        assert job["needs"] == "test" and job["permissions"]["contents"] == "write"
        assert job["concurrency"] == "gh-pages", "two jobs would write the branch at once"
        fetched = next(step for step in job["steps"] if "download-artifact" in step.get("uses", ""))
        given = job["steps"][-1]["with"]
        assert fetched["with"]["path"] == given.get("folder", given.get("source-dir"))
    previews = jobs["preview"]["steps"][-1]["with"]
    assert jobs["publish"]["steps"][-1]["with"]["clean-exclude"] == previews["umbrella-dir"]


@pytest.mark.parametrize("name", PAGES)
def test_the_foot_tells_version_and_day(html, name):
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    foot = re.search(r'<p class="colophon">(.*?)</p>', (html / f"{name}.html").read_text(), re.DOTALL)[1]
    assert f"version {version}" in foot
    assert re.search(r"<time>\d{4}-\d\d-\d\d</time>", foot) or not (ROOT / ".git").exists()


def test_the_map_of_the_course_tells_every_chapter_s_times(html):
    front = (html / f"{PAGES[0]}.html").read_text()
    course = front[front.index('class="chapter-map') :]
    told = re.findall(r"about (\d+) minutes to read; homework: (\d+) exercises, (\d+) minutes", course)
    assert len(told) == len(TOPICS)
    for topic, times in zip(TOPICS, told, strict=True):
        page = (html / f"{topic}.html").read_text()
        here = re.search(r"Time: about (\d+) minutes to read; homework: (\d+) exercises, (\d+) minutes\.", page)
        assert here and here.groups() == times, topic


@pytest.mark.browser
def test_the_browser_remembers_which_questions_are_known(visit, site):
    page = visit(f"{site}/book/rnn.html").page
    asked = page.locator("#questions-to-check-yourself .admonition.dropdown")
    asked.first.locator("button.toggle-button").click()
    asked.first.get_by_role("button", name="I knew it").click()
    told = f"Questions: 1 of {asked.count()} known."
    assert page.locator(".chapter-times a").inner_text() == told
    page.reload()
    assert page.locator(".chapter-times a").inner_text() == told
    kept = page.evaluate("JSON.stringify(localStorage)")
    assert json.loads(json.loads(kept)["course:questions:rnn"])["0"] is True
