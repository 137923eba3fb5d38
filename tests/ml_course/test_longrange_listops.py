"""ListOps against an evaluator of its own, and the script that learns it, at a size that says nothing."""

import re
import sys

import numpy as np
import pytest
import torch

from ml_course.data import listops
from ml_course.scripts import listops as script


def value_of(expression):
    """By rewriting: as long as there is a list without a list inside, put its value in its place."""
    rules = {
        "MIN": min,
        "MAX": max,
        "MED": lambda values: int(np.median(values)),
        "SM": lambda values: sum(values) % 10,
    }
    innermost = re.compile(r"\[(\w+)((?: \d)+) \]")
    while match := innermost.search(expression):
        value = rules[match[1]]([int(digit) for digit in match[2].split()])
        expression = expression[: match.start()] + str(value) + expression[match.end() :]
    return int(expression)


def depth_of(expression):
    depth = deepest = 0
    for token in expression.split():
        depth += token.startswith("[") - (token == "]")
        deepest = max(deepest, depth)
    assert depth == 0
    return deepest


@pytest.mark.parametrize(
    "sizes",
    [
        {"shortest": 4, "longest": 12, "depth": 1, "arguments": 9},
        {"shortest": 10, "longest": 50, "depth": 3, "arguments": 4},
        {"shortest": 4, "longest": 30, "depth": 6, "arguments": 2, "nested": 0.5},
        {},
    ],
    ids=str,
)
def test_expressions_have_their_values_and_keep_to_their_sizes(sizes):
    made = listops(60, **sizes, seed=3)
    assert len(made) == len(set(made.texts)) == 60
    assert made.labels.tolist() == [value_of(text) for text in made.texts]
    sizes = {"shortest": 500, "longest": 2000, "depth": 10, "arguments": 10} | sizes
    for text in made.texts:
        assert sizes["shortest"] <= len(text.split()) <= sizes["longest"] and depth_of(text) <= sizes["depth"]
        assert len(re.findall(r"\[SM|\[MIN|\[MAX|\[MED", text)) == text.count("[")
    assert listops(60, **({} if sizes["shortest"] == 500 else sizes), seed=3).texts == made.texts
    assert max(map(depth_of, made.texts)) > 1 or sizes["depth"] == 1


def test_all_operators_and_numbers_of_arguments_occur():
    flat = [text.split() for text in listops(400, shortest=4, longest=7, depth=1, arguments=5).texts]
    assert {row[0] for row in flat} == {"[MIN", "[MAX", "[MED", "[SM"}
    assert {len(row) - 2 for row in flat} == {2, 3, 4, 5}


def test_what_cannot_be_made_is_named():
    with pytest.raises(ValueError, match="arguments = 1"):
        listops(1, arguments=1)
    with pytest.raises(ValueError, match=r"only \d+ of 5 expressions of 900 to 901 tokens were found"):
        listops(5, shortest=900, longest=901, depth=1)


def test_the_script_learns_a_little_and_says_what(monkeypatch, capsys):
    arguments = ["--samples", "200", "--steps", "3", "--width", "16", "--layers", "1", "--longest", "16"]
    monkeypatch.setattr(sys, "argv", ["listops", "linear", "AFT-full", "no mixing", *arguments])
    script.main()
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("200 expressions of 10 to 16 tokens; always the same: 1")
    assert [line.split(":")[0] for line in told[1:]] == ["linear", "AFT-full", "no mixing"]
    assert all(
        re.search(r"all [\d.]+%, MIN [\d.]+%, MAX [\d.]+%, MED [\d.]+%, SM [\d.]+% \(", line) for line in told[1:]
    )
    monkeypatch.setattr(sys, "argv", ["listops", "softmin"])
    with pytest.raises(SystemExit):
        script.main()
    assert "no form called softmin; there is: softmax, LSH" in capsys.readouterr().err


def test_every_form_of_the_script_runs_on_padded_batches():
    tokens, mask = torch.randint(16, (2, 12)), torch.arange(12) < torch.tensor([[12], [5]])
    config = script.ClassifierConfig(d_model=16, heads=2, d_ff=16, layers=1, context=12)
    for attention in script.forms(12).values():
        model = script.SequenceClassifier(config, attention)
        assert model(tokens, mask).isfinite().all()


def test_accuracy_counts_by_operator():
    texts = listops(40, shortest=4, longest=10, depth=1)
    vocabulary = script.Vocabulary.from_texts(text.split() for text in texts.texts)
    examples = script.Examples(texts, vocabulary)
    answers = dict(zip(map(tuple, examples.inputs.ids.tolist()), texts.labels, strict=True))

    def perfect_on_minima(ids, mask):
        minimum = vocabulary.number("[MIN")
        right = [
            answers[tuple(row + [0] * (examples.inputs.ids.shape[1] - len(row)))] if row[0] == minimum else -1
            for row in ids.tolist()
        ]
        return torch.nn.functional.one_hot(torch.tensor(right) + 1, 11)[:, 1:].float()

    found = script.accuracy(perfect_on_minima, examples)
    # Elsewhere all logits are equal, and argmax says 0.
    minima = np.array([text.startswith("[MIN") for text in texts.texts])
    assert found["MIN"] == 1 and found["all"] == pytest.approx((minima | (texts.labels == 0)).mean())
