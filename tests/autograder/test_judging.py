"""The judge: facets, complaints and diagnoses on a toy exercise."""

import contextlib
import time

import numpy as np
import pytest
import torch
from toy import by_matmul, by_sum, centre, centred, mean_of_everything

from autograder.exercise import Mistake
from autograder.judging import ask_here, difference, judge, same
from autograder.wire import plain


def verdict_on(answer, seed=0):
    return judge(centred, ask_here(answer), seed)


def lost(answer):
    return {facet.name for facet in verdict_on(answer).facets if facet.points == 0}


@pytest.mark.parametrize("answer", [centre, by_matmul, by_sum])
@pytest.mark.parametrize("seed", range(5))
def test_right_answers_get_everything(answer, seed):
    verdict = verdict_on(answer, seed)
    assert verdict.passed and verdict.points == 6 and not verdict.mistake


def test_a_known_mistake_is_called_by_its_name():
    verdict = verdict_on(mean_of_everything)
    assert (verdict.points, verdict.mistake, verdict.hint) == (0, "mean of everything", "Over which axis?")


def test_a_slip_is_an_edit_of_a_right_version():
    (slip,) = (mistake for mistake in centred.mistakes if mistake.label == "n − 1 for n")
    verdict = verdict_on(slip.answer)
    assert not verdict.passed and verdict.mistake == "n − 1 for n"


def test_an_edit_that_does_not_fit_is_an_error():
    with pytest.raises(ValueError, match="occurs 0 times"):
        centred.slip("never", by_sum, "not in there", "", cause="", hint="")


def test_partial_credit_by_facet():
    assert lost(lambda x: centre(x) if x.shape[-1] > 1 else x) == {"length one"}
    assert lost(lambda x: centre(x.double())) == {"dtype"}
    assert lost(lambda x: centre(x.detach()) + 0 * x) == {"gradients"}


def test_changing_the_argument_costs_its_facet():
    def changes_its_argument(x):
        result = centre(x)
        with torch.no_grad():
            x += 1
        return result

    assert lost(changes_its_argument) == {"no side effects"}


def test_without_the_foundation_nothing_counts():
    assert lost(lambda x: 0 * x) == set(centred.facets)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: None, "NoneType"),
        (lambda x: x[0], "expected shape"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: x * float("nan"), "NaN"),
        (lambda: 0, "takes 0 positional arguments"),
    ],
)
def test_complaints_say_what_happened(answer, said):
    assert said in verdict_on(answer).facets[0].complaint


def test_the_line_of_an_error_is_the_students_own():
    def answer(x):
        return torch.zeros(2) @ torch.zeros(3)

    assert "torch.zeros(2) @ torch.zeros(3)" in verdict_on(answer).facets[0].complaint


def test_not_written_is_not_wrong():
    def stub(x):
        raise NotImplementedError

    assert verdict_on(stub).summary == "not written yet"


def test_a_loop_that_never_ends_is_stopped():
    def forever(x):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    began = time.monotonic()
    verdict = verdict_on(forever)
    assert verdict.points == 0 and "never ends" in verdict.facets[0].complaint
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_an_exit_is_an_ordinary_fault(error):
    def leaves(x):
        raise error

    assert verdict_on(leaves).points == 0


def test_equality_of_the_students_making_convinces_nobody():
    class Yes(np.ndarray):
        def __eq__(self, other):
            return True

    class Always(int):
        def __eq__(self, other):
            return True

    assert difference("x", plain(np.zeros(3).view(Yes)), plain(np.ones(3)))
    assert difference("x", plain(Always(3)), plain(4))


def test_differences_name_shape_place_numbers_and_type():
    want = plain(np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert difference("x", want, want) is None
    assert "[1, 0]" in difference("x", plain(np.array([[1.0, 2.0], [9.0, 4.0]])), want).text
    assert "expected shape (2, 2), got (4,)" in difference("x", plain(np.arange(4.0)), want).text
    assert difference("x", plain(want.data.astype(np.float32)), want).dtype_only
    assert "expected 2 items" in difference("x", ["a"], ["a", "b"]).text
    assert difference("x", ["a", "c"], ["a", "b"]).text == "x[1]: expected 'b', got 'c'"
    assert difference("x", True, 1) is not None


def test_a_wrong_number_is_told_before_a_wrong_type():
    got, want = [np.zeros(1, np.float32), np.ones(1)], [np.zeros(1), np.zeros(1)]
    assert difference("x", plain(got), plain(want)).text.startswith("x[1]")


@pytest.mark.parametrize(
    "answer",
    [lambda x: mean_of_everything(x).double(), lambda x: mean_of_everything(x.detach()) + 0 * x],
    ids=["in another type", "without gradients"],
)
def test_a_known_mistake_is_recognised_in_another_type_and_without_gradients(answer):
    assert verdict_on(answer).mistake == "mean of everything"


def test_a_known_mistake_is_recognised_beside_a_fault_where_it_is_right():
    (slip,) = (mistake for mistake in centred.mistakes if mistake.label == "n − 1 for n")
    assert verdict_on(lambda x: slip.answer(x) if x.shape[-1] > 1 else 1 / 0).mistake == "n − 1 for n"


def test_what_a_mistake_hardly_explains_is_not_called_by_its_name(monkeypatch):
    source = "def left_alone(x):\n    return x + 0 if x.shape[-1] == 1 else x - x.mean(-1, keepdim=True)\n"
    left_alone = Mistake("left alone", source, "left_alone", centred.module)
    monkeypatch.setattr(centred, "mistakes", [left_alone])
    assert verdict_on(left_alone.answer).mistake == "left alone"
    assert not verdict_on(lambda x: x + 0).mistake


def test_changed_lists_are_side_effects():
    assert same(plain({"a": [1, np.ones(2)]}), plain({"a": [1, np.ones(2)]}))
    assert not same(plain({"a": [1, np.ones(2)]}), plain({"a": [1, np.zeros(2)]}))
    assert not same(plain([1, 2]), plain([1])) and not same(plain({"a": 1}), plain({"b": 1}))


@pytest.mark.parametrize(("end", "said"), [(SystemExit, "SystemExit"), (None, "no result")])
def test_cases_after_the_end_are_not_run_and_say_so(end, said):
    def answer(x):
        if x.dtype == torch.float64:
            return centre(x)
        while end is None:
            pass
        raise end

    values, length_one, *_ = verdict_on(answer).facets
    assert said in values.complaint and values.case == "float32"
    assert length_one.complaint.startswith("not run") and said not in length_one.complaint


def test_a_gradient_that_is_not_there_says_why():
    said = difference("gradient of x", "none: it is cut off", plain(np.ones(2))).text
    assert said == "no gradient of x: it is cut off"


def test_numbers_are_told_in_as_many_digits_as_matter():
    assert difference("x", 2 / 3, 1 / 3).text == "x: expected 0.33333333, got 0.66666667"
    assert difference("x", 2, 2.0).text == "x: expected 2.0, got 2"
