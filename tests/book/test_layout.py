"""The house's rules, read from the files themselves: who may import whom, and that every topic has all its rooms."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_file

from ml_course.scripts import chapters

ROOT = Path(__file__).resolve().parents[2]
TOPICS = chapters.topics(ROOT)
PACKAGES = ("ml_course", "autograder")

ROOMS = {
    "chapter": "book/{}.md",
    "homework with answers": "solutions/{}.py",
    "test": "tests/ml_course/test_{}.py",
    "chapter notebook": "notebooks/chapters/{}.ipynb",
    "homework notebook": "notebooks/homework/{0}/{0}.ipynb",
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Full dotted names of all that a file imports, wherever in it the import stands."""
    found = set()
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def of_package(path: Path, package: str) -> set[str]:
    """First names below `package` that a file imports: topics, ground floor, scripts."""
    return {name.split(".")[1] for name in imports(path) if name.startswith(f"{package}.")}


def topic_of(path: Path) -> str | None:
    stem = path.relative_to(ROOT / "ml_course").parts[0].removesuffix(".py")
    return stem if stem in TOPICS else None


@pytest.mark.parametrize("path", list(sources("ml_course")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_what_stands_below_it(path):
    if "scripts" in path.parts:
        pytest.skip("scripts may import anything")
    assert "autograder" not in {name.split(".")[0] for name in imports(path)}
    used = of_package(path, "ml_course")
    assert "scripts" not in used
    topic = topic_of(path)
    later = set(TOPICS[TOPICS.index(topic) + 1 :]) if topic else set(TOPICS)
    if path.name == "__init__.py" and path.parent == ROOT / "ml_course":
        later = set()
    assert not used & later, f"{path.name} imports {sorted(used & later)}, which come later"


@pytest.mark.parametrize("path", list(sources("ml_course")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_matplotlib_stays_in_plots(path):
    if path.name != "plots.py" and "scripts" not in path.parts:
        assert "matplotlib" not in {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("room", ROOMS)
def test_every_topic_has_every_room(topic, room):
    path = ROOT / ROOMS[room].format(topic)
    package = path.with_suffix("") / "__init__.py"  # a topic too long for a file is a package of the same name
    assert path.is_file() or package.is_file(), f"{topic} has no {room}: {path.relative_to(ROOT)}"


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("folder", ["ml_course", "autograder/exercises"])
def test_every_topic_has_its_modules(folder, topic):
    """Each a file, or a package of that name."""
    paths = [ROOT / folder / f"{topic}.py", ROOT / folder / topic / "__init__.py"]
    assert sum(path.is_file() for path in paths) == 1, f"not one of {[str(path.relative_to(ROOT)) for path in paths]}"


def test_no_room_without_a_topic():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    pages = {entry["file"] for part in toc["parts"] for entry in part["chapters"]} | {toc["root"]}
    strays = [path for path in (ROOT / "book").glob("*.md") if f"book/{path.stem}" not in pages]
    for pattern in ("solutions/*.py", "autograder/exercises/[!_]*", "notebooks/chapters/*.ipynb"):
        strays += [path for path in ROOT.glob(pattern) if path.stem not in TOPICS]
    strays += [path for path in ROOT.glob("autograder/exercises/*/*.py") if path.parent.name not in TOPICS]
    strays += [path for path in ROOT.glob("notebooks/homework/*/*.ipynb") if path.stem not in TOPICS]
    assert not strays, f"not in _toc.yml: {[path.relative_to(ROOT).as_posix() for path in strays]}"


def test_the_readme_lists_the_topics_of_the_book():
    """A row of its table links the chapter's source: | … | [title](book/<topic>.md) | … |."""
    readme = ROOT / "README.md"
    assert readme.is_file(), "README.md is missing"
    rows = [line for line in readme.read_text().splitlines() if line.startswith("|")]
    listed = [topic for row in rows for topic in re.findall(r"\]\(book/(\w+)\.md\)", row)[:1]]
    assert listed == TOPICS, f"README.md lists {listed}, _toc.yml {TOPICS}"


@cache
def bibliography() -> set[str]:
    return set(parse_file(str(ROOT / "book" / "references.bib")).entries)


def cited() -> set[str]:
    """Keys that a page of the book cites, or a system on its map."""
    found = {
        key.strip()
        for path in (ROOT / "book").glob("*.md")
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", path.read_text())
        for key in keys.split(",")
    }
    declared = yaml.safe_load((ROOT / "book" / "systems.yml").read_text())
    return found | {entry["source"] for topic in [*TOPICS, "elsewhere"] for entry in declared.get(topic, [])}


@cache
def named_in_docstrings() -> dict[str, set[str]]:
    """Keys in the docstrings of the package: they look like rosenblatt1958perceptron, a name, a year, a word."""
    found = {}
    for path in sources("ml_course"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                keys = set(re.findall(r"\b[a-z]+(?:1[89]|20)\d\d[a-z]+\d?\b", ast.get_docstring(node) or ""))
                found[f"{path.name}: {getattr(node, 'name', 'module')}"] = keys
    return found


def test_every_citation_has_its_entry():
    assert not cited() - bibliography(), "cited, but not in references.bib"


def test_every_source_of_a_docstring_has_its_entry():
    missing = {where: sorted(keys - bibliography()) for where, keys in named_in_docstrings().items()}
    assert not {where: keys for where, keys in missing.items() if keys}


def test_every_entry_is_cited():
    """One bibliography for chapters and docstrings, and nothing in it that nobody names."""
    assert not sorted(bibliography() - cited() - set().union(*named_in_docstrings().values()))


def test_every_entry_has_what_a_reader_needs():
    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    poor = {
        key
        for key, entry in entries.items()
        if not {"title", "year"} <= {field.lower() for field in entry.fields} or not entry.persons
    }
    assert not poor, f"without title, year or author: {sorted(poor)}"
    titles = [re.sub(r"\W", "", entry.fields["title"]).lower() for entry in entries.values()]
    assert len(titles) == len(set(titles)), f"twice: {sorted({title for title in titles if titles.count(title) > 1})}"


def tracked() -> list[Path]:
    """Files under version control, or, in a copy without it, all that is not hidden or built."""
    found = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if found.returncode == 0:
        return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).is_file()]
    built = re.compile(r"(^|/)(\.|_build|course/|__pycache__|[\w.-]+\.egg-info)")
    paths = (path for path in ROOT.rglob("*") if path.is_file())
    return [path for path in paths if not built.search(path.relative_to(ROOT).as_posix())]


def test_no_file_names_a_folder_of_somebodys_machine():
    """A path below a home or a temporary folder works on one machine only (`~/` and `/tmp` alone are everybody's)."""
    personal = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|workspace|mnt)/[\w.-]+")
    found = {}
    for path in tracked():
        if path.suffix in (".png", ".gz", ".safetensors", ".ico"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if personal.search(line):
                found[f"{path.relative_to(ROOT)}:{number}"] = personal.search(line)[0]
    assert not found


def test_files_are_of_a_size_one_can_read():
    long = {
        path.relative_to(ROOT).as_posix(): count
        for path in sources(*PACKAGES)
        if (count := len(path.read_text().splitlines())) > 400
    }
    assert not long, f"split by idea: {long}"
