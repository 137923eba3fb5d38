"""Mangled notebooks: what can be found is found, what is missing is said, and nobody honest is accused."""

import copy
import json
import time

import nbformat
import pytest

from autograder import sample_class
from autograder.exercise import load
from autograder.grading.mending import (
    LARGEST_FILE,
    LONGEST_CELL,
    LONGEST_PROSE,
    MOST_CELLS,
    Unreadable,
    decoded,
    mend,
    read,
)
from autograder.homework import HOMEWORK, answer_cells

TOPIC = "attention"
EXERCISES = load(TOPIC)
NAMES = [exercise.answer_name for exercise in EXERCISES.values()]
RELEASED = nbformat.read(HOMEWORK / TOPIC / f"{TOPIC}.ipynb", as_version=4)
MASK = "causal_mask"


@pytest.fixture
def notebook():
    """Right answers in the released notebook."""
    return sample_class.fill_in(RELEASED, TOPIC, sample_class.solution)


def right(name):
    return answer_cells(TOPIC)[f"{TOPIC}.{name}"]


def mended(handed_in):
    text = handed_in if isinstance(handed_in, str) else json.dumps(handed_in)
    return mend(text, copy.deepcopy(RELEASED), TOPIC)


def marked(notebook, grade_id):
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def order(report):
    """What is run: sources, with the names of exercises where they are asked."""
    return [cell.exercise.removeprefix(f"{TOPIC}.") or cell.source for cell in report.cells]


def everything_found(report):
    """Every answer is run before its question is put, once; the notebook is one nbgrader takes."""
    run = order(report)
    for name in NAMES:
        assert run.count(name) == 1
        at = next(n for n, source in enumerate(run) if source.strip().startswith(right(name).strip()[:40]))
        assert at < run.index(name)
    nbformat.validate(report.notebook)
    ids = [cell.metadata.nbgrader.grade_id for cell in report.notebook.cells if "nbgrader" in cell.metadata]
    assert sorted(ids) == sorted([*NAMES, *(f"check_{name}" for name in NAMES)])
    for name in NAMES:
        graded = marked(report.notebook, f"check_{name}")
        assert graded == marked(RELEASED, f"check_{name}") | {"id": graded.id}
    return report


def test_an_untouched_notebook_is_left_as_it_is(notebook):
    report = everything_found(mended(notebook))
    assert not report.notes and not report.tampering
    assert [cell.source for cell in report.notebook.cells] == [cell.source for cell in notebook.cells]


def test_an_empty_notebook_has_every_question_and_no_note():
    report = mended(RELEASED)
    assert not report.notes and not report.tampering
    assert {cell.exercise for cell in report.cells if cell.exercise} == set(EXERCISES)


# Ordinary edits: found, and nobody is accused.


def drop_all_marks(notebook):
    for cell in notebook.cells:
        cell.metadata = {}


def drop_ids(notebook):
    notebook.nbformat_minor = 0
    for cell in notebook.cells:
        del cell["id"]


def shuffle_questions(notebook):
    notebook.cells = notebook.cells[:3] + notebook.cells[:2:-1]
    for name in NAMES:  # each answer above its check again
        answer = marked(notebook, name)
        notebook.cells.remove(answer)
        notebook.cells.insert(notebook.cells.index(marked(notebook, f"check_{name}")), answer)


def copy_an_answer(notebook):
    notebook.cells.insert(3, copy.deepcopy(marked(notebook, MASK)))


def copy_an_empty_stub_below(notebook):
    notebook.cells.append(copy.deepcopy(marked(RELEASED, MASK)))


def rewrite_metadata(notebook):
    notebook.metadata = {"colab": {"name": "x"}, "kernelspec": {"name": "julia"}, "widgets": {"a": 1}}
    for cell in notebook.cells:
        cell.metadata.update(collapsed=True, id="Xz", colab={"base_uri": "x"}, editable=True)
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = 7, [{"output_type": "stream", "name": "stdout", "text": ["a\n"]}]


def points_as_fractions(notebook):
    for name in NAMES:
        cell = marked(notebook, f"check_{name}")
        cell.metadata.nbgrader.points = float(cell.metadata.nbgrader.points)


def blank_lines_around(notebook):
    for cell in notebook.cells:
        cell.source = "\n\n" + cell.source + "\n \n"


def try_it_in_the_answer_cell(notebook):
    marked(notebook, MASK).source += f'\n\ncheck("{TOPIC}.{MASK}", {MASK})\nprint("done")'


HONEST = {
    change.__name__: change
    for change in (
        drop_all_marks,
        drop_ids,
        shuffle_questions,
        copy_an_answer,
        rewrite_metadata,
        points_as_fractions,
        blank_lines_around,
        try_it_in_the_answer_cell,
        copy_an_empty_stub_below,
    )
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_edit_is_found_and_not_reported(notebook, name):
    HONEST[name](notebook)
    report = mended(notebook)
    assert not everything_found(report).tampering


def test_an_empty_copy_does_not_undo_the_answer(notebook):
    copy_an_empty_stub_below(notebook)
    report = mended(notebook)
    assert sum("raise NotImplementedError" in cell.source for cell in report.cells) == 0
    assert f"{MASK}: an empty copy of its cell was left out" in report.notes


def test_what_stands_between_answer_and_check_is_run_between_them(notebook):
    place = notebook.cells.index(marked(notebook, MASK))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(f"{MASK}.more = 1"))
    run = order(mended(notebook))
    answer = next(n for n, source in enumerate(run) if source.startswith(f"def {MASK}"))
    assert answer < run.index(f"{MASK}.more = 1") < run.index(MASK)


def test_a_check_above_its_answer_is_asked_below_it(notebook):
    graded = marked(notebook, f"check_{MASK}")
    notebook.cells.remove(graded)
    notebook.cells.insert(3, graded)
    everything_found(mended(notebook))


def test_a_later_answer_counts_where_the_marked_cell_is_empty(notebook):
    marked(notebook, MASK).source = marked(RELEASED, MASK).source
    notebook.cells.append(nbformat.v4.new_code_cell(right(MASK)))
    everything_found(mended(notebook))


def test_all_answers_in_one_cell(notebook):
    cells = [marked(notebook, name) for name in NAMES]
    together = "\n\n".join(cell.source for cell in cells)
    notebook.cells = [cell for cell in notebook.cells if not any(cell is one for one in cells)]
    notebook.cells.insert(3, nbformat.v4.new_code_cell(together))
    run = order(mended(notebook))
    assert all(run.index(together) < run.index(name) for name in NAMES)


def test_an_answer_of_another_type_is_taken_as_code(notebook):
    for kind in ("markdown", "raw"):
        changed = copy.deepcopy(notebook)
        cell = marked(changed, MASK)
        place = changed.cells.index(cell)
        new = getattr(nbformat.v4, f"new_{kind}_cell")
        changed.cells[place] = new(cell.source, metadata=cell.metadata)
        report = everything_found(mended(changed))
        assert any(f"of type {kind}, taken as code" in note for note in report.notes)
        assert report.tampering == [f"{MASK}: type {kind}, released as code"]


def test_imports_that_were_deleted_run_first(notebook):
    notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith("import math")]
    report = mended(notebook)
    assert report.cells[0].source.startswith("import math") and report.places[0] == -1


def test_a_missing_answer_is_said_and_shown_as_released(notebook):
    notebook.cells.remove(marked(notebook, MASK))
    report = mended(notebook)
    assert f"{MASK}: no cell defines it" in report.notes and f"the cell {MASK} was missing" in report.notes
    assert "it is shown as it was released" in marked(report.notebook, MASK).source
    assert MASK in order(report)


@pytest.mark.parametrize("version", [3, 4])
def test_older_formats_are_read(notebook, version):
    everything_found(mended(nbformat.writes(notebook, version=version)))


# Tampering: undone, and reported.


def change_marks(**changed):
    def change(notebook):
        marked(notebook, f"check_{MASK}").metadata.nbgrader.update(changed)

    return change


def rewrite_check(notebook):
    marked(notebook, f"check_{MASK}").source = "100.0"


def retype_check(notebook):
    cell = marked(notebook, f"check_{MASK}")
    place = notebook.cells.index(cell)
    notebook.cells[place] = nbformat.v4.new_markdown_cell(cell.source, metadata=cell.metadata)


TAMPERED = {
    "points": (change_marks(points=100), "points 100, released as 3"),
    "not a test": (change_marks(grade=False, solution=True), "graded False, released as True"),
    "unlocked": (change_marks(locked=False), "locked False, released as True"),
    "another id": (change_marks(grade_id="check_everything"), "unknown id 'check_everything'"),
    "rewritten": (rewrite_check, "the graded cell was rewritten"),
    "retyped": (retype_check, "type markdown, released as code"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_undone_and_reported(notebook, name):
    change, told = TAMPERED[name]
    change(notebook)
    report = everything_found(mended(notebook))
    assert any(told in line for line in report.tampering)


def test_double_and_missing_graded_cells_are_mended(notebook):
    notebook.cells.append(copy.deepcopy(marked(notebook, f"check_{MASK}")))
    notebook.cells.remove(marked(notebook, "check_split_heads"))
    report = everything_found(mended(notebook))
    assert f"the cell check_{MASK} stands 2 times" in report.notes
    assert "the cell check_split_heads was missing" in report.notes and not report.tampering


def test_the_questions_asked_are_the_released_ones(notebook):
    """An easy answer's check in every graded cell asks about nothing but itself."""
    for name in NAMES:
        marked(notebook, f"check_{name}").source = 'check("attention.padding_mask", padding_mask)'
    everything_found(mended(notebook))


# What is no notebook, or means harm.


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("full marks please", "not JSON"),
        ('{"cells": [', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1, 2]", "some other JSON"),
        ('{"points": 100}', "no cells"),
        ('{"cells": 5, "nbformat": 4}', "no cells"),
        ('{"worksheets": [[[]]], "nbformat": 3}', "old version"),
        (" " * (LARGEST_FILE + 1), "larger than 64 MB"),
    ],
)
def test_what_cannot_be_read_says_why(text, told):
    with pytest.raises(Unreadable, match=told):
        read(text)


@pytest.mark.parametrize("number", ["4", None, [4], 4.0, 99])
def test_a_strange_format_number_costs_nothing(notebook, number):
    everything_found(mended(notebook | {"nbformat": number}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_unicode_is_read(encoding):
    assert decoded('{"cells": ["Привет"]}'.encode(encoding)) == '{"cells": ["Привет"]}'


def test_bytes_of_any_kind_become_text():
    assert isinstance(decoded(bytes(range(256))), str)


def test_cells_that_are_no_cells_are_left_out(notebook):
    handed_in = json.loads(json.dumps(notebook))
    strange = [5, None, [], {}, {"cell_type": 7, "source": 7, "metadata": 7}, {"source": ["a", 5, "b"]}]
    deep: list = []
    for _ in range(400):
        deep = [deep]
    strange += [{"cell_type": "code", "source": deep, "metadata": {"nbgrader": {"grade_id": deep, "points": {}}}}]
    handed_in["cells"] = strange + handed_in["cells"]
    everything_found(mended(handed_in))


def test_half_characters_can_be_written(notebook):
    marked(notebook, MASK).source += "\n# \ud800"
    marked(notebook, f"check_{MASK}").metadata.nbgrader.points = "\udfff"
    report = mended(notebook)
    (nbformat.writes(report.notebook) + str(report.tampering)).encode()


def test_no_text_takes_long(notebook):
    drop_all_marks(notebook)  # so that everything has to be found by content
    began = time.monotonic()
    for text in ("\n" * LONGEST_CELL, "check(" * 20_000, "def\n" * 25_000, "[" * LONGEST_CELL, "x" * 10**6):
        for kind in (nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell):
            notebook.cells += [kind(text)] * 5
    report = mended(notebook)
    assert time.monotonic() - began < 60  # what would be wrong takes hours
    assert sum(len(cell.source) for cell in report.notebook.cells) < 3_000_000


def test_a_flood_of_cells_is_cut(notebook):
    notebook.cells += [nbformat.v4.new_code_cell("x = 1")] * 10_000
    assert len(everything_found(mended(notebook)).notebook.cells) <= MOST_CELLS + 2 * len(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](java&#115;cript:alert(1))",
        "[a](JavaScript\\:alert(1))",
        "```\n<b>\n````\n<script>",
        "x" * (LONGEST_PROSE + 1),
    ],
)
def test_text_that_could_act_in_a_browser_is_shown_as_typed(notebook, text):
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(text))
    shown = mended(notebook).notebook.cells[0].source
    fence = shown.split("text\n")[0]
    assert set(fence) == {"`"} and shown.endswith(f"\n{fence}") and fence not in text


def test_ordinary_text_stays_markdown(notebook):
    text = "My *answer*: $a < b$ and `x`, see [here](https://example.org); data 5 < 6."
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(text))
    assert mended(notebook).notebook.cells[0].source == text


def test_raw_cells_are_no_longer_raw(notebook):
    """nbconvert puts raw cells into a page as they are."""
    notebook.cells.insert(0, nbformat.v4.new_raw_cell("plain"))
    assert all(cell.cell_type != "raw" for cell in mended(notebook).notebook.cells)
