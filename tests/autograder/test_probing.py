"""The student's side: whatever an answer does, a reply of plain values comes back; forbidden calls are seen."""

import importlib
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Perceptron

from autograder.probes import with_gradients
from autograder.probing import Question, Reply, TimeUp, deadline, observe
from autograder.wire import Array

PROBE = "def probe(answer, x, **rest):\n    return {'y': answer(x)}\n"
X = torch.arange(6.0).reshape(2, 3)
KEPT = torch.softmax


def ask(answer, forbidden=("softmax",), topic="toy", x=None):
    return observe(Question(PROBE, "probe", {"x": np.ones(3) if x is None else x}, topic, list(forbidden)), answer)


def test_questions_and_replies_survive_the_wire():
    question = Question(PROBE, "probe", {"x": np.arange(3), "name": "a", "none": None}, "toy", ["softmax"], 7)
    back = Question.unpack(question.pack())
    assert back.probe == PROBE and back.forbidden == ["softmax"] and back.inputs["name"] == "a"
    assert (back.inputs["x"].data == np.arange(3)).all()
    assert observe(back, lambda x: x + 1).outputs["y"].data.tolist() == [1, 2, 3]


def test_an_error_comes_back_as_words():
    def answer(x):
        return x.no_such_thing

    reply = ask(answer)
    assert isinstance(reply, Reply) and reply.error == "AttributeError" and "no_such_thing" in reply.line


def test_changes_of_the_inputs_are_reported_and_do_not_leak():
    x = np.ones(3)

    def answer(x):
        x += 1
        return x

    reply = ask(answer, x=x)
    assert reply.after["x"].data.tolist() == [2, 2, 2] and x.tolist() == [1, 1, 1]


def test_a_result_that_is_too_large_is_an_error():
    assert "larger than" in ask(lambda x: np.zeros(9 * 2**20)).message


def test_every_answer_meets_the_same_random_numbers():
    assert ask(lambda x: np.random.rand()).outputs == ask(lambda x: np.random.rand()).outputs
    assert ask(lambda x: torch.rand(1)).outputs["y"].data == ask(lambda x: torch.rand(1)).outputs["y"].data


def local_import(_):
    from torch import softmax as harmless

    return harmless(X, 0)


def through_a_class(_):
    class Mine(torch.nn.Module):
        def forward(self, x):
            return torch.nn.Softmax(-1)(x)

    return Mine()(X)


WAYS = {
    "plain": lambda _: torch.softmax(X, 0),
    "alias kept earlier": lambda _: KEPT(X, 0),
    "getattr": lambda _: getattr(torch, "soft" + "max")(X, 0),
    "importlib": lambda _: importlib.import_module("torch").softmax(X, 0),
    "sys.modules": lambda _: sys.modules["torch"].softmax(X, 0),
    "local import": local_import,
    "method": lambda _: X.softmax(0),
    "unbound method": lambda _: torch.Tensor.softmax(X, 0),
    "functional": lambda _: F.softmax(X, 0),
    "module": lambda _: torch.nn.Softmax(0)(X),
    "own class": through_a_class,
    "torch.ops": lambda _: torch.ops.aten.softmax.int(X, 0),
    "private operator": lambda _: torch.ops.aten._softmax(X, 0, False),
    "private module": lambda _: torch._C._VariableFunctions.softmax(X, 0),
    "special": lambda _: torch.special.softmax(X, 0),
    "vmap": lambda _: torch.vmap(KEPT, in_dims=(0, None))(X, 0),
    "eval": lambda _: eval("torch.softmax(X, 0)"),
    "map": lambda _: next(map(lambda x: KEPT(x, 0), [X])),
    "vars": lambda _: vars(torch)["softmax"](X, 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_forbidden_function_is_seen_however_it_is_reached(way):
    assert "softmax" in ask(WAYS[way]).called


def test_classes_of_other_libraries_are_seen():
    def answer(x):
        return Perceptron().fit([[0.0], [1.0]], [0, 1]).coef_

    assert ask(answer, ["Perceptron"]).called == ["Perceptron"]


def test_compiling_and_silencing_the_watch_are_seen():
    assert "torch.jit" in ask(lambda _: torch.jit.script(torch.nn.Softmax(0))(X)).called
    assert "sys.setprofile" in ask(lambda _: sys.setprofile(None) or KEPT(X, 0)).called


def test_ones_own_function_of_that_name_is_fine():
    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    reply = ask(softmax)
    assert not reply.called and isinstance(reply.outputs["y"], Array)


def test_the_topics_own_module_is_always_forbidden():
    attention = importlib.import_module("ml_course.attention")
    assert ask(lambda _: attention.causal_mask(3, 3), [], "attention").called == ["ml_course.attention"]


def test_the_profiler_that_was_there_is_put_back():
    before = sys.getprofile()
    ask(lambda x: x)
    assert sys.getprofile() is before


def test_the_deadline_rings_again_when_it_is_swallowed():
    with pytest.raises(TimeUp), deadline(0.1):
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass


def several(answer, results=("a", "b")):
    probe = "def probe(answer):\n    a, b = answer()\n    return {'a': a, 'b': b}\n"
    return observe(Question(probe, "probe", {}, "toy", results=list(results)), answer)


@pytest.mark.parametrize("returned", [(1, 2), [1, 2]])
def test_as_many_results_as_asked_for_are_taken(returned):
    assert several(lambda: returned).outputs == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("returned", "got"), [((1, 2, 3), "got 3"), (None, "got None"), (torch.zeros(2), "got one Tensor"), ([1], "got 1")]
)
def test_another_number_of_results_is_told_plainly(returned, got):
    reply = several(lambda: returned)
    assert reply.error == "TypeError" and "expected 2 results, `return a, b`" in reply.message
    assert reply.message.endswith(got) and not reply.line


def test_lists_and_tables_are_copies_and_their_changes_reported():
    x = {"rows": [[1, 2], [np.ones(2)]]}

    def answer(x):
        x["rows"][0].append(3)
        x["rows"][1][0] += 1
        return 0

    reply = ask(answer, x=x)
    assert reply.after["x"]["rows"][0] == [1, 2, 3] and reply.after["x"]["rows"][1][0].data.tolist() == [2, 2]
    assert x["rows"][0] == [1, 2] and x["rows"][1][0].tolist() == [1, 1]


def gradients_of(answer):
    def call(x, y):
        return {"z": answer(x, y)}

    return with_gradients(call, x=np.array([1.0, 2.0]), y=np.array([3.0, 4.0]))


def test_gradients_come_beside_the_values():
    told = gradients_of(lambda x, y: x * y)
    assert told["z"].tolist() == [3, 8] and not told["z"].requires_grad
    assert told["gradient of x"].tolist() == [-3, 8] and told["gradient of y"].tolist() == [-1, 4]


def written_into(x, y):
    x[0] = 5.0
    return x * y


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x, y: (x * y).detach(), "do not depend on it"),
        (lambda x, y: x.detach() * y, "do not depend on it"),
        (written_into, "write into a tensor"),
    ],
)
def test_an_answer_without_gradients_has_its_values_all_the_same(answer, said):
    told = gradients_of(answer)
    assert told["z"].shape == (2,) and said in told["gradient of x"]
