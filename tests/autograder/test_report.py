"""The instructor's report: right numbers, a page that asks nothing of anybody, no student's text taken for code."""

import ast
import csv
import io
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import small_class
from small_class import TOPIC

from autograder import sample_class
from autograder.cli import main
from autograder.exercise import load
from autograder.grading import report, similarity
from autograder.grading.journal import Journal
from autograder.homework import answer_cells, stub

pytestmark = pytest.mark.xdist_group("looking_back")
HOSTILE = "<img src=x onerror=alert(1)>"


def entry_of(student, shares, **more):
    """A journal entry in which each exercise earns a share of its points, foundation first."""
    verdicts = []
    for exercise, share in zip(load(TOPIC).values(), shares, strict=True):
        facets = [{"name": name, "points": share * most, "max_points": most} for name, most in exercise.facets.items()]
        points = sum(facet["points"] for facet in facets)
        told = {"summary": "", "mistake": "", "cause": "", "points": points, "max_points": exercise.points}
        verdicts.append({"exercise": exercise.name, "facets": facets, **told})
    rest = {"student": student, "notes": [], "tampering": [], "unreadable": "", "seconds": 1.0}
    return {**rest, "verdicts": verdicts, **more}


def of_class(shares):
    entries = {f"s{number:02d}": entry_of(f"s{number:02d}", row) for number, row in enumerate(shares)}
    nothing_alike = similarity.Likeness([], [], float("nan"))
    return report.Report(TOPIC, entries, {student: 1.0 for student in entries}, {}, nothing_alike)


# Numbers.


def test_difficulty_and_discrimination_are_what_their_formulas_say():
    shares = np.random.default_rng(1).integers(0, 2, (20, len(load(TOPIC)))).astype(float)
    shares[:, 1] = shares[:, 0]
    points = shares * [exercise.points for exercise in load(TOPIC).values()]
    for number, item in enumerate(of_class(shares).items()):
        rest = points.sum(1) - points[:, number]
        assert item.mean_share == pytest.approx(shares[:, number].mean())
        assert item.discrimination == pytest.approx(np.corrcoef(points[:, number], rest)[0, 1])
        assert item.right == shares[:, number].sum()
        assert {earned for _, _, earned in item.facets} == {item.right}


def test_too_few_and_no_spread_are_said_instead_of_a_number():
    few = of_class(np.random.default_rng(1).integers(0, 2, (9, len(load(TOPIC)))).astype(float))
    assert {item.discrimination for item in few.items()} == {None}
    assert "n = 9 is too small, 10 are needed" in few.html()
    same = of_class(np.ones((12, len(load(TOPIC)))))
    assert {item.discrimination for item in same.items()} == {None} and "no spread to compare" in same.html()


def test_histogram_counts_everybody_once():
    bars = report.bars([0, 1, 9.9, 10], 0, 10)
    assert sum(bar.count for bar in bars) == 4 and bars[-1].count == 2 and bars[-1].stop == 10


def test_the_class_as_it_was_graded(graded):
    made = report.gather(graded, TOPIC)
    points = {
        student: sum(verdict["points"] for verdict in entry["verdicts"]) for student, entry in made.entries.items()
    }
    assert points == small_class.journalled(graded)
    assert made.scores == {**points, "viktor": 0} and "viktor" not in made.readable
    mistakes = {(exercise, mistake): who for exercise, mistake, _, who in made.mistakes()}
    first = next(iter(load(TOPIC).values()))
    assert mistakes[first.answer_name, first.mistakes[0].label] == ["greta"]
    assert mistakes[first.answer_name, first.mistakes[1].label] == ["hugo"]
    untouched = {item.exercise.answer_name: item.untouched for item in made.items()}
    assert sum(untouched.values()) == len(load(TOPIC)) - len(load(TOPIC)) // 2, "what emil has not written"


def test_csv_has_a_row_a_student_and_nothing_a_spreadsheet_would_run(graded):
    journal = Journal(graded / ".autograder" / f"{TOPIC}.jsonl")
    shares = [1.0] * len(load(TOPIC))
    journal.append(entry_of("=1+1", shares, notes=["@SUM(A1)", "-2"], tampering=["+cmd|' /C calc'!A0"]))
    assert main(["report", TOPIC, "--course", str(graded), "--csv", str(graded / "table.csv")]) == 0
    assert not (graded / "reports").exists(), "only what was asked for is written"
    rows = list(csv.DictReader(io.StringIO((graded / "table.csv").read_text(encoding="utf-8"))))
    by_student = {row["student"]: row for row in rows}
    assert set(by_student) == {"'=1+1", "ada", "boris", "emil", "greta", "hugo", "viktor"}
    for row in rows:
        assert not any(cell[:1] in tuple("=+@\t\r") for cell in row.values())
    for student, points in small_class.journalled(graded).items():
        row = by_student[report.harmless(student)]
        assert float(row["graded_points"]) == points
        for exercise in load(TOPIC).values():
            facets = sum(float(row[f"{exercise.answer_name}: {facet}"]) for facet in exercise.facets)
            assert float(row[exercise.answer_name]) == facets
    first = next(iter(load(TOPIC).values()))
    assert f"{first.answer_name}: {first.mistakes[0].label}" in by_student["greta"]["mistakes"]
    assert by_student["viktor"]["unreadable"] == "it is not JSON"


def test_what_is_not_graded_is_listed(graded):
    small_class.hand_in(graded, {"ada": sample_class.first_half, "zoe": sample_class.solution})
    (graded / "submitted" / "wanda" / TOPIC).mkdir(parents=True)
    made = report.gather(graded, TOPIC)
    assert made.ungraded["ada"] == "handed in again since it was graded"
    assert made.ungraded["zoe"] == "handed in, not graded yet"
    assert made.ungraded["wanda"].startswith("no perceptron.ipynb") and len(made.ungraded) == 3


def test_nothing_graded_is_one_line(graded, capsys):
    shutil.rmtree(graded / ".autograder")
    assert main(["report", TOPIC, "--course", str(graded)]) == 2
    assert capsys.readouterr().err.startswith(f"autograder: nothing of {TOPIC} is graded yet")


# The page.


class Tags(HTMLParser):
    """Every tag with its attributes, and whether any asks for something from elsewhere."""

    def __init__(self):
        super().__init__()
        self.seen, self.asks = set(), []

    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "action", "data", "srcset", "poster") and not (value or "").startswith(
                ("#", "data:")
            ):
                self.asks.append((tag, name, value))
            if name.startswith("on"):
                self.asks.append((tag, name, value))


@pytest.fixture
def hostile_page(graded):
    """A report on a class in which one student has put markup wherever text is taken from."""
    shares = [0.5] * len(load(TOPIC))
    hostile = entry_of(HOSTILE, shares, notes=[f"</td></table>{HOSTILE}"], tampering=["</li><script>alert(2)</script>"])
    hostile["verdicts"][0].update(mistake=f"</th>{HOSTILE}", cause="<style>*{display:none}</style>")
    unreadable = entry_of("<b>bold", shares, unreadable="<iframe src=//example.org>")
    journal = Journal(graded / ".autograder" / f"{TOPIC}.jsonl")
    journal.append(hostile)
    journal.append(unreadable)
    place = graded / "submitted" / "<svg onload=alert(3)>" / TOPIC
    place.mkdir(parents=True)
    (path,) = report.write(graded, TOPIC, html=graded / "report.html")
    return path


def test_the_page_is_self_contained_and_escaped(hostile_page):
    text = hostile_page.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    assert not tags.asks
    assert not tags.seen & {"script", "iframe", "img", "link", "object", "embed", "form", "base"}
    assert "default-src 'none'" in text and "@import" not in text and not re.search(r"url\(", text)
    assert HOSTILE not in text and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert text.count("<style>") == 1


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(hostile_page, browser, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(hostile_page.as_uri())
    assert asked == [hostile_page.as_uri()] and not said
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert brightness < 64 if scheme == "dark" else brightness > 192
    assert page.get_by_text(HOSTILE, exact=True).count() >= 1
    bars = page.evaluate("[...document.querySelectorAll('#scores rect')].map(bar => +bar.getAttribute('height'))")
    assert max(bars) == 125
    found = axe.Axe().run(page).response["violations"]
    assert not {fault["id"]: [node["html"][:120] for node in fault["nodes"][:3]] for fault in found}
    page.close()


# Likeness.


def renamed(source):
    """The same code under other names, in another layout, with a comment."""
    tree = ast.parse(source)
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in stored:
            node.id = f"my_{node.id}"
    return f"# all my own work\n{ast.unparse(tree)}\n"


def written(answers):
    """A submission as the comparison gets it: a source for each exercise."""
    return {
        exercise.name: answers(index, exercise) or stub(answer_cells(TOPIC)[exercise.name])
        for index, exercise in enumerate(load(TOPIC).values())
    }


@pytest.fixture(scope="module")
def compared():
    boris = written(sample_class.alternative(0))
    return similarity.likeness(
        TOPIC,
        {
            "ada": written(sample_class.solution),
            "boris": boris,
            "bella": {name: renamed(source) for name, source in boris.items()},
            "chen": written(sample_class.alternative(1)),
            "dana": written(lambda index, exercise: None),
            "dora": written(lambda index, exercise: None),
        },
    )


def test_a_renamed_copy_is_found_and_honest_work_is_not(compared):
    assert [(pair.first, pair.second) for pair in compared.pairs] == [("bella", "boris")]
    (pair,) = compared.pairs
    assert pair.alike > 0.98 and pair.identical == pair.answers == len(load(TOPIC))
    assert compared.median < similarity.ALIKE


def test_only_the_solution_is_like_the_solution(compared):
    assert [(pair.first, pair.alike) for pair in compared.with_solution] == [("ada", 1.0)]


def test_released_code_is_not_likeness():
    for source in answer_cells(TOPIC).values():
        released = stub(source)
        assert similarity.tokens(released, released, names=False) == ()
        assert similarity.tokens(f"{released}\n    return 1", released, names=False) == ("return", "1")


def test_blocks_of_rows_give_the_same_pairs_as_one(monkeypatch):
    class_ = {f"s{n}": written(sample_class.mistake(n)) for n in range(6)} | {"t": written(sample_class.mistake(2))}
    whole = similarity.likeness(TOPIC, class_)
    monkeypatch.setattr(similarity, "ROWS_AT_ONCE", 2)
    assert similarity.likeness(TOPIC, class_) == whole
    assert ("s2", "t") in {(pair.first, pair.second) for pair in whole.pairs}
