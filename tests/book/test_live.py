"""The figures a reader can touch: their numbers in a real browser are those of `ml_course`, and keys move them."""

import itertools
import json
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ml_course.attention import attention_weights
from ml_course.backprop import Value
from ml_course.cnn import Conv2d
from ml_course.gated import LSTM
from ml_course.perceptron import Perceptron
from ml_course.rnn import ManyToOne
from ml_course.seq2seq import beam_search

WHERE = {
    "perceptron": "perceptron", "graph": "backprop", "digits": "cnn",
    "gates": "gated", "attention": "attention", "beam": "seq2seq",
}  # fmt: skip
pytestmark = pytest.mark.browser


@pytest.fixture
def touch(visit, site):
    """Opens a figure's page: its numbers, and a function that calls one of the figure's own."""

    def opened(figure):
        page = visit(f"{site}/book/{WHERE[figure]}.html").page
        box = f"document.querySelector('.live[data-figure={figure}]')"
        data = json.loads(page.evaluate(f"{box}.querySelector('script').textContent"))

        def call(function, *arguments):
            given = ", ".join(json.dumps(argument) for argument in arguments)
            return page.evaluate(f"{box}.live.{function}({given})")

        return data, call, page.locator(f".live[data-figure={figure}]")

    return opened


def close(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), atol=1e-4, rtol=0)


@pytest.mark.parametrize("figure", WHERE)
def test_the_figure_is_drawn_and_says_something(touch, figure):
    _, _, box = touch(figure)
    assert box.locator(".live-waiting").count() == 0
    assert box.locator("[role=status]").inner_text().strip()


def test_the_perceptron_learns_as_ours(touch):
    data, call, _ = touch("perceptron")
    points, labels = np.array(data["points"]), np.array(data["labels"])
    ours = Perceptron().fit(points, labels)
    while call("step"):
        pass
    state = call("state")
    close(state["weights"], ours.weights)
    close([state["bias"], state["mistakes"]], [ours.bias, ours.mistakes])


def test_a_point_can_be_moved_by_keys(touch):
    _, _, box = touch("perceptron")
    point = box.locator(".live-point").first
    before = point.get_attribute("aria-label")
    point.focus()
    for _ in range(3):
        point.press("ArrowRight")
    assert point.get_attribute("aria-label") != before


def test_the_graph_has_the_engine_s_gradients(touch):
    data, call, box = touch("graph")
    box.get_by_label("w", exact=True).fill("-1.7")
    nodes = {name: Value(-1.7 if name == "w" else data[name]) for name in "wxby"}
    loss = (nodes["w"] * nodes["x"] + nodes["b"] - nodes["y"]) ** 2
    loss.backward()
    found = call("computed")
    close(found["values"]["L"], loss.data)
    close([found["gradients"][name] for name in nodes], [node.grad for node in nodes.values()])


def test_the_network_reads_digits_as_torch_does(touch):
    data, call, _ = touch("digits")
    for sheet in data["examples"][:3]:
        x = torch.tensor(sheet)[None, None]
        for layer in data["layers"]:
            weight = torch.tensor(layer["weight"])
            convolution = Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            convolution.load_state_dict({"weight": weight, "bias": torch.tensor(layer["bias"])})
            x = F.max_pool2d(convolution(x).relu(), 2)
        scores = torch.tensor(data["weight"]) @ x.flatten() + torch.tensor(data["bias"])
        close(call("classify", sheet), scores.softmax(0).detach())


def test_the_gates_are_the_lstm_s(touch):
    data, call, _ = touch("gates")
    vocab, d_model = np.shape(data["embedding"])
    model = ManyToOne(vocab, d_model, len(data["weight_hh"][0]), len(data["classes"]), recurrent=LSTM)
    names = {"embedding": "embedding.weight", "output": "output.weight", "bias": "output.bias"}
    names |= {name: f"recurrent.{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    model.load_state_dict({theirs: torch.tensor(data[name]) for name, theirs in names.items()})
    text = data["text"]
    tokens = torch.tensor([[data["letters"].index(letter) for letter in text]])
    found = call("read", text)
    close(found["chances"], model(tokens, torch.tensor([len(text)])).softmax(-1)[0].detach())
    outputs = model.recurrent(model.embedding(tokens))[0][0].detach()
    close([step["state"] for step in found["steps"]], outputs)


@pytest.mark.parametrize(("heads", "causal", "temperature"), [(1, False, 1.0), (4, True, 0.5), (8, False, 3.0)])
def test_attention_s_weights_are_ours(touch, heads, causal, temperature):
    data, call, _ = touch("attention")
    words = data["sentence"].split()
    vectors = torch.tensor([data["vectors"][data["words"].index(word)] for word in words])
    mask = torch.ones(len(words), len(words), dtype=torch.bool)
    for head in range(heads):
        piece = vectors.chunk(heads, dim=1)[head]
        expected = attention_weights(piece / temperature, piece, mask.tril() if causal else mask)
        close(call("weights", data["sentence"], heads, head, causal, temperature), expected)


@pytest.mark.parametrize(("beam", "alpha"), itertools.product((1, 2, 5), (0.0, 0.7)))
def test_the_tree_finds_what_beam_search_finds(touch, beam, alpha):
    data, call, _ = touch("beam")
    end = len(data["letters"]) - 1
    table = torch.tensor([*data["table"], data["start"]])  # the row of the start last, in place of the end's
    expected = beam_search(
        lambda tokens: table[tokens], torch.tensor([[end]]), data["steps"], eos=end, beam=beam, alpha=alpha
    )
    found = call("search", beam, alpha)
    close([way["score"] for way in found], expected.score[0])
    assert found[0]["letters"] == expected.best()[0]


def test_every_figure_to_touch_has_its_page(html):
    found = {}
    for path in (html / "book").glob("*.html"):
        for figure in re.findall(r'class="live" data-figure="([\w-]+)"', path.read_text()):
            found[figure] = path.stem
    assert found == WHERE
