"""The judge: facets, complaints and diagnoses on a toy exercise."""

import contextlib
import time

import numpy as np
import pytest
import torch
from toy import by_matmul, by_sum, centre, centred, mean_of_everything

from autograder.judging import ask_here, difference, judge
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
