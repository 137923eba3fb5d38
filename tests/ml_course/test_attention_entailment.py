"""Decomposable attention against the paper's sums, and its made language against all worlds it can speak of."""

import itertools

import pytest
import torch
from closeness import assert_close, dtypes, gradients

from ml_course.attention import DecomposableAttention, entailment

PREMISE = torch.tensor([[4, 5, 6, 7], [7, 8, 0, 0]])
HYPOTHESIS = torch.tensor([[6, 9, 0], [4, 5, 8]])


def judge(model, premise=PREMISE, hypothesis=HYPOTHESIS):
    return model(premise, premise > 0, hypothesis, hypothesis > 0)


def test_attend_compare_aggregate_by_loops():
    model = DecomposableAttention(vocab=10, d_model=5, hidden=7).double()
    logits = judge(model)
    to_hypothesis, to_premise = model.align(PREMISE, PREMISE > 0, HYPOTHESIS, HYPOTHESIS > 0)
    for n in range(2):
        a, b = (model.embedding(tokens[n][tokens[n] > 0]) for tokens in (PREMISE, HYPOTHESIS))
        e = torch.stack([torch.stack([model.attend(x) @ model.attend(y) for y in b]) for x in a])
        of_a, of_b = torch.zeros(2, 7, dtype=torch.float64)
        for i in range(len(a)):
            power = e[i].exp()
            assert_close(to_hypothesis[n, i, : len(b)], power / power.sum())
            beta = sum(power[j] / power.sum() * b[j] for j in range(len(b)))
            of_a = of_a + model.compare(torch.cat([a[i], beta]))
        for j in range(len(b)):
            power = e[:, j].exp()
            assert_close(to_premise[n, j, : len(a)], power / power.sum())
            alpha = sum(power[i] / power.sum() * a[i] for i in range(len(a)))
            of_b = of_b + model.compare(torch.cat([b[j], alpha]))
        assert_close(logits[n], model.aggregate(torch.cat([of_a, of_b])))


@dtypes
def test_filler_has_no_part_and_any_dtype_will_do(dtype, device):
    model = DecomposableAttention(vocab=12, d_model=5, hidden=7, dropout=0.5).to(device, dtype).eval()
    premise, hypothesis = PREMISE.to(device), HYPOTHESIS.to(device)
    logits = judge(model, premise, hypothesis)
    assert logits.dtype == dtype and logits.isfinite().all()
    filled = [tokens.masked_fill(tokens == 0, 11) for tokens in (premise, hypothesis)]
    assert torch.equal(model(filled[0], premise > 0, filled[1], hypothesis > 0), logits)
    assert_close(judge(model, premise[1:, :2], hypothesis[1:]), logits[1:])
    empty = model(premise, premise > 0, hypothesis, hypothesis < 0)  # a hypothesis without any word
    assert empty.isfinite().all()
    for slope in gradients(judge(model, premise, hypothesis), *model.parameters()):
        assert slope.isfinite().all()


def test_the_order_of_the_words_plays_no_part_but_the_order_of_the_sentences_does():
    model = DecomposableAttention(vocab=10, d_model=5, hidden=7).double()
    logits = judge(model)
    assert_close(judge(model, PREMISE[:, [2, 0, 3, 1]], HYPOTHESIS[:, [1, 0, 2]]), logits)
    assert not torch.allclose(judge(model, HYPOTHESIS, PREMISE), logits)


# The made language


def worlds():
    """Every way things can be: of each slot one of its most special words is true."""
    slots = entailment.LEXICON.values()
    return set(itertools.product(*([word for words in groups.values() for word in words] for groups in slots)))


def is_true(sentence, world):
    """Whether all that is said holds in this world; words that name nothing ("the", "in") say nothing."""
    for fact, groups in zip(world, entailment.LEXICON.values(), strict=True):
        for general, words in groups.items():
            if (general in sentence and fact not in words) or any(w in sentence and w != fact for w in words):
                return False
    return True


def test_labels_are_what_holds_in_all_worlds():
    everything = worlds()
    assert len(everything) == 6**4
    for premise, hypothesis, label in entailment.inference_pairs(120, seed=5):
        holds = [is_true(hypothesis, world) for world in everything if is_true(premise, world)]
        expected = "entails" if all(holds) else "neutral" if any(holds) else "contradicts"
        assert holds and label == expected, (premise, hypothesis)


def test_pairs_are_different_balanced_and_the_same_for_the_same_seed():
    pairs = entailment.inference_pairs(300, seed=1)
    assert len({pair[:2] for pair in pairs}) == 300
    assert [pair.label for pair in pairs] == list(entailment.LABELS) * 100
    assert pairs == entailment.inference_pairs(300, seed=1) != entailment.inference_pairs(300, seed=2)
    assert pairs[:50] == entailment.inference_pairs(50, seed=1) and entailment.inference_pairs(0) == []
    words = {word for pair in pairs for word in (*pair.premise, *pair.hypothesis)}
    lexicon = {w for groups in entailment.LEXICON.values() for g, below in groups.items() for w in (g, *below)}
    assert words == lexicon | {"the", "in"}
    with pytest.raises(ValueError, match="samples = -1, expected 0 to 20,000"):
        entailment.inference_pairs(-1)
