"""The chapters' notebooks are what their sources say, and plain Markdown through and through."""

import ast
import importlib
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest

from autograder.exercise import load
from autograder.install import install_cell
from autograder.mistakes_page import book_label, mistakes_markdown
from ml_course.scripts import chapters, execution, markdown
from ml_course.scripts.bibliography import Bibliography

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
DIRECTIVE = re.compile(
    r"^\s*(?:`{3,}|:{3,}|~{3,})\s*\{[\w:-]+\}|^:{3,}|^\s*:(?:class|label|name|alt|tags):\s", re.MULTILINE
)
ROLE = re.compile(r"\{[\w:-]+\}`[^`]")
TARGET = re.compile(r"^\([\w:.-]+\)=\s*$", re.MULTILINE)


def saved(topic: str) -> nbformat.NotebookNode:
    path = chapters.notebook_file(topic, ROOT)
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing: run `make notebooks`"
    return nbformat.read(path, as_version=4)


def without_code(text: str) -> str:
    """Markdown without its code, where braces and backticks mean themselves."""
    text = re.sub(r"^( *)(`{3,})(?!\{)[^\n]*\n.*?^\1\2\s*$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<![`}])(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("topic", TOPICS)
def test_cells_are_those_of_the_source(topic):
    found, wanted = saved(topic), chapters.build(topic, ROOT, run=False)
    for notebook in (found, wanted):
        for cell in notebook.cells:
            cell.pop("outputs", None)
    assert found == wanted, f"notebooks/chapters/{topic}.ipynb is stale: run `make notebooks`"


@pytest.mark.parametrize("topic", TOPICS)
def test_outputs_are_those_of_the_last_run(topic):
    if execution.cached_chapter(topic, ROOT) is None:
        pytest.skip("the book has not been built here with today's code (`make book`)")
    path = chapters.notebook_file(topic, ROOT)
    assert path.read_text() == chapters.as_text(chapters.build(topic, ROOT)), f"{path.name} is stale: `make notebooks`"


@pytest.mark.parametrize("topic", TOPICS)
def test_no_myst_is_left(topic):
    for cell in saved(topic).cells:
        if cell.cell_type == "markdown":
            plain = without_code(cell.source)
            for what in (DIRECTIVE, ROLE, TARGET):
                assert not what.search(plain), f"{cell.id}: {what.search(plain)[0]!r}"


@pytest.mark.parametrize("topic", TOPICS)
def test_no_answer_is_shown(topic):
    text = json.dumps(saved(topic))
    assert "BEGIN SOLUTION" not in text and "END SOLUTION" not in text


@pytest.mark.parametrize("topic", TOPICS)
def test_nothing_differs_from_run_to_run(topic):
    notebook = saved(topic)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert notebook.metadata.keys() == {"kernelspec"} and notebook.metadata.kernelspec.name == "python3"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        assert cell.execution_count == count and cell.metadata.keys() <= {"tags"}
        for output in cell.outputs:
            assert not [kind for kind in output.get("data", {}) if kind.startswith("image/")]
        assert not ("nbval-ignore-output" in cell.metadata.get("tags", []) and cell.outputs)


@pytest.mark.parametrize("topic", TOPICS)
def test_the_first_code_cell_installs(topic):
    code = [cell.source for cell in saved(topic).cells if cell.cell_type == "code"]
    assert code[0] == install_cell()


@pytest.mark.parametrize("topic", TOPICS)
def test_no_cell_ends_with_a_semicolon(topic):
    """It hides a value in the book but not where cells run without history: end with `plt.show()`."""
    for cell in execution.read_chapter(topic, ROOT).cells:
        assert not (cell.cell_type == "code" and cell.source.rstrip().endswith(";")), cell.source[-80:]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_figure_says_what_is_seen_and_what_to_see(topic):
    source = execution.read_chapter(topic, ROOT)
    for cell in source.cells:
        figure = cell.metadata.get("mystnb", {}) if cell.cell_type == "code" else {}
        if figure:
            assert len(figure.get("image", {}).get("alt", "")) > 20, f"no alt text: {cell.source[:60]}"
            assert figure.get("figure", {}).get("caption"), f"no caption: {cell.source[:60]}"


@pytest.mark.parametrize("topic", TOPICS)
def test_a_mistake_s_words_are_no_html(topic):
    """“After <X> comes <Y>” would be two elements that nobody sees, and that EPUB's checker refuses."""
    text = re.sub(r"`[^`]*`", "", mistakes_markdown(topic))
    assert set(re.findall(r"<[^>]*>", text)) <= {
        f"<{end}{tag}>" for tag in ("details", "summary", "code") for end in ("", "/")
    }


@pytest.mark.parametrize("topic", TOPICS)
def test_the_mistakes_of_every_exercise_are_in_the_chapter(topic):
    text = "\n".join(cell.source for cell in saved(topic).cells if cell.cell_type == "markdown")
    for exercise in load(topic).values():
        for mistake in exercise.mistakes:
            assert " ".join(mistake.cause.split()) in text


@pytest.mark.parametrize("topic", TOPICS)
def test_a_book_exercise_has_another_label_than_a_graded_one(topic):
    labels = re.findall(r"^:label:\s*(\S+)", (ROOT / "book" / f"{topic}.md").read_text(), re.MULTILINE)
    assert not set(labels) & {book_label(exercise) for exercise in load(topic).values()}


# The renderer itself, on small pieces.


@pytest.fixture
def chapter(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "ml_course").mkdir()
    (tmp_path / "ml_course" / "ladder.py").write_text(
        "import math\n\n\n@math.curious\ndef step(x):\n    return x + 1\n"
    )
    (tmp_path / "book" / "other.md").write_text("---\nkernelspec:\n  name: python3\n---\n\n# Another chapter\n")
    (tmp_path / "book" / "glossary.md").write_text("# Glossary\n")
    references = tmp_path / "book" / "references.bib"
    references.write_text(
        "@article{one1958, author={Rosenblatt, Frank}, title={A}, journal={J}, year={1958}}\n"
        "@book{two1969, author={Minsky, Marvin and Papert, Seymour}, title={B}, publisher={MIT}, year={1969}}\n"
        "@article{three2017, author={Vaswani, A. and Shazeer, N. and Parmar, N.}, title={C}, journal={J}, year=2017}\n"
    )
    return markdown.Chapter(
        topic="ladder", number=3, root=tmp_path, mistakes=lambda topic: f"(mistakes of {topic})",
        bibliography=Bibliography(references),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        (":::{note}\nMind *this*.\n:::", "> **Note**\n>\n> Mind *this*."),
        (":::{seealso}\nThere.\n:::", "> **See also**\n>\n> There."),
        (
            ":::{admonition} Why `x`?\n:class: dropdown\nBecause.\n:::",
            "<details>\n<summary>Why <code>x</code>?</summary>\n\nBecause.\n\n</details>",
        ),
        (
            "::::{tip}\n:::{note}\nInner.\n:::\n::::",
            "> **Tip**\n>\n> > **Note**\n> >\n> > Inner.",
        ),
        (":::{tip}\n:::{note}\nInner.\n:::\n:::\nAfter.", "> **Tip**\n>\n> > **Note**\n> >\n> > Inner.\nAfter."),
        ("```{math}\n:label: eq-a\nx = 1\n```", "$$\nx = 1\n\\tag{3.1}\n$$"),
        ("$$\nx = 1\n$$ (eq-a)", "$$\nx = 1\n\\tag{3.1}\n$$"),
        ("$$\ny = 2\n$$\n\nand\n\n$$\nx = 1\n$$ (eq-a)", "$$\ny = 2\n$$\n\nand\n\n$$\nx = 1\n\\tag{3.1}\n$$"),
        ("$$ x = 1 $$ (eq-a)\n\nBy {eq}`eq-a`.", "$$\nx = 1\n\\tag{3.1}\n$$\n\nBy (3.1)."),
        ("(here)=\n## A title", "## A title"),
        ("% a comment\nText.", "Text."),
        ("A `{dict}` and `b`, {term}`axes <axis>`, {term}`axis`.", "A `{dict}` and `b`, axes, axis."),
        ("{cite:t}`one1958` and {cite:p}`two1969,three2017`",
         "Rosenblatt (1958) and (Minsky and Papert, 1969; Vaswani et al., 2017)"),
        ("{doc}`other`, {doc}`glossary`", "[Another chapter](other.ipynb), Glossary"),
        ("[words](other.md)", "[words](other.ipynb)"),
        ("{download}`this <../notebooks/homework/a/a.ipynb>`", "[this](../homework/a/a.ipynb)"),
        ("{ref}`words <somewhere>`", "words"),
        ("```python\n:::{note}\n```", "```python\n:::{note}\n```"),
        ("```{literalinclude} ../ml_course/ladder.py\n:pyobject: step\n:language: python\n```",
         "From `ml_course/ladder.py`:\n\n```python\n@math.curious\ndef step(x):\n    return x + 1\n```"),
        ("```{mistakes} ladder\n```", "(mistakes of ladder)"),
        ("- item\n\n  ```{math}\n  a\n  ```", "- item\n\n  $$\n  a\n  $$"),
        ("```{figure} figures/a.svg\n:alt: A line.\n:name: fig-a\nIt *rises*.\n```",
         "![A line.](../../book/figures/a.svg)\n\n**Fig. 3.1** It *rises*."),
    ],
)  # fmt: skip
def test_myst_becomes_markdown(chapter, source, plain):
    markdown.collect_names(source, ["fig-a"] if "{figure}" in source else [], chapter)
    assert markdown.render(source, chapter) == plain


def test_exercise_and_solution(chapter):
    source = "```{exercise} Sums\n:label: ex-sum\nAdd.\n```\n\n```{solution} ex-sum\nDone.\n```\n\nSee {ref}`ex-sum`."
    markdown.collect_names(source, [], chapter)
    plain = markdown.render(source, chapter)
    assert "**Exercise 3.1** (Sums)\n\nAdd." in plain
    assert "<summary>Solution to Exercise 3.1</summary>\n\nDone." in plain
    assert plain.endswith("See Exercise 3.1.")


@pytest.mark.parametrize("source", ["```{mermaid}\na-->b\n```", "{kbd}`x`", "{ref}`nowhere`", ":::\nnothing\n:::"])
def test_what_is_not_known_is_refused(chapter, source):
    with pytest.raises(markdown.UnknownSyntax, match=r"book/ladder\.md"):
        markdown.render(source, chapter)


def test_the_install_cell_is_plain_python():
    for address in ("", "https://example.org/owner/name"):
        ast.parse(install_cell(address))
    assert "git+https://example.org/owner/name" in install_cell("https://example.org/owner/name")
    assert "pip install -e ." in install_cell("")


def test_a_change_of_imported_code_makes_a_run_stale(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "ml_course").mkdir()
    (tmp_path / "ml_course" / "__init__.py").write_text("")
    (tmp_path / "ml_course" / "ground.py").write_text("level = 0\n")
    (tmp_path / "ml_course" / "topic.py").write_text("from ml_course import ground\n")
    (tmp_path / "ml_course" / "other.py").write_text("")
    text = "---\nkernelspec:\n  name: python3\n---\n\n# Title\n\n```{code-cell}\nfrom ml_course import topic\n```\n"
    (tmp_path / "book" / "topic.md").write_text(text)
    assert execution.forget_stale_runs(tmp_path) == ["topic"]
    assert execution.forget_stale_runs(tmp_path) == []
    (tmp_path / "ml_course" / "other.py").write_text("unused = 1\n")
    assert execution.forget_stale_runs(tmp_path) == []
    (tmp_path / "ml_course" / "ground.py").write_text("level = 1\n")
    assert execution.forget_stale_runs(tmp_path) == ["topic"]


def test_a_page_made_from_an_older_run_is_read_again(monkeypatch):
    """Also where the chapter was run before the builder began, as `make book` does."""
    monkeypatch.syspath_prepend(str(ROOT / "book" / "extensions"))
    fresh_runs = importlib.import_module("course_book.fresh_runs")
    marks = {"first": "a", "second": "b", "waiting": "c"}
    monkeypatch.setattr(execution, "kept_fingerprints", lambda: dict(marks))
    env = SimpleNamespace(found_docs={"book/first", "book/second", "book/map"})
    assert fresh_runs.reread(None, env, set(), set(), set()) == ["book/first", "book/second"]
    assert fresh_runs.reread(None, env, set(), set(), set()) == []
    marks["second"] = "new"
    assert fresh_runs.reread(None, env, set(), set(), set()) == ["book/second"]


def test_a_change_of_a_file_that_cells_name_makes_a_run_stale(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "results.json").write_text("1")
    text = '---\nkernelspec:\n  name: python3\n---\n\n# Title\n\n```{code-cell}\nopen("../results.json")\n```\n'
    (tmp_path / "book" / "page.md").write_text(text)
    assert execution.forget_stale_runs(tmp_path) == ["page"]
    assert execution.forget_stale_runs(tmp_path) == []
    (tmp_path / "results.json").write_text("2")
    assert execution.forget_stale_runs(tmp_path) == ["page"]


CHAPTER = """---
kernelspec:
  name: python3
---

# {topic}

```{{code-cell}}
print(6 * 7)
```

```{{code-cell}}
:tags: [skip-execution]
print(1 / {divisor})
```
"""


def test_chapters_run_once_and_cells_with_sliders_with_them(tmp_path):
    (tmp_path / "book").mkdir()
    for topic in ("first", "second"):
        (tmp_path / "book" / f"{topic}.md").write_text(CHAPTER.format(topic=topic, divisor=2))
    assert execution.cached_chapter("first", tmp_path) is None
    execution.run_all(tmp_path)
    for topic in ("first", "second"):
        shown, played = (c for c in execution.cached_chapter(topic, tmp_path).cells if c.cell_type == "code")
        assert shown.outputs[0].text == "42\n" and played.outputs == []
    (tmp_path / "book" / "second.md").write_text(CHAPTER.format(topic="second", divisor=0))
    with pytest.raises(RuntimeError, match=r"book/second.md does not run(.|\n)*ZeroDivisionError"):
        execution.run_all(tmp_path)


def test_a_cell_with_sliders_is_kept_without_output():
    played = nbformat.v4.new_code_cell("play()", metadata={"tags": ["skip-execution"]})
    assert chapters.code_cell(played).metadata.tags == ["nbval-ignore-output", "skip-execution"]
    assert chapters.code_cell(played).source == "play()" and chapters.code_cell(played).outputs == []
    assert "tags" not in chapters.code_cell(nbformat.v4.new_code_cell("1")).metadata
