"""Distillation, forgetting, memory, the six ways: against formulas by hand, torch's counts, and its allocator."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ml_course import transfer
from ml_course.bert import Bert, BertConfig, Classifier, WordPiece
from ml_course.data import LabelledTexts, Split
from ml_course.scripts import transfer as script

# Distillation


@given(st.integers(1, 5), st.integers(2, 6), st.floats(0.2, 30), st.floats(0, 1), st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_distillation_is_the_formula_in_values_and_slopes(batch, classes, temperature, alpha, seed):
    torch.manual_seed(seed)
    student, teacher = torch.randn(2, batch, classes, dtype=torch.float64)
    student.requires_grad_(), teacher.requires_grad_()
    labels = torch.randint(classes, (batch,))
    p, q = ((z / temperature).exp() / (z / temperature).exp().sum(1, keepdim=True) for z in (teacher, student))
    soft = (p * (p.log() - q.log())).sum(1).mean()
    hard = -student.log_softmax(1)[range(batch), labels].mean()
    loss = transfer.distillation_loss(student, teacher, labels, temperature=temperature, alpha=alpha)
    torch.testing.assert_close(loss, alpha * hard + (1 - alpha) * temperature**2 * soft, rtol=1e-9, atol=1e-9)
    by_hand = alpha * (student.softmax(1) - F.one_hot(labels, classes)) + (1 - alpha) * temperature * (q - p)
    slope, none = torch.autograd.grad(loss, [student, teacher], allow_unused=True)
    torch.testing.assert_close(slope, by_hand / batch, rtol=1e-9, atol=1e-9)
    assert none is None  # the teacher learns nothing from it
    assert_close(transfer.soft_targets(teacher, temperature), p)


def test_at_high_temperature_it_compares_the_logits_themselves():
    student, teacher = torch.randn(2, 4, 5, dtype=torch.float64)
    teacher, student = (z - z.mean(1, keepdim=True) for z in (teacher, student))
    loss = transfer.distillation_loss(student, teacher, alpha=0, temperature=1e4)
    expected = (student - teacher).square().sum(1).mean() / (2 * 5)  # hinton2015distilling, eq. 4
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)
    assert transfer.distillation_loss(100 * student, 100 * teacher, alpha=0, temperature=0.1).isfinite()


def test_distillation_refuses_what_makes_no_sense():
    z = torch.randn(2, 3)
    for wrong in (dict(temperature=0), dict(alpha=-0.1), dict(alpha=1.1)):
        with pytest.raises(ValueError, match="expected positive, and 0 to 1"):
            transfer.distillation_loss(z, z, torch.zeros(2, dtype=torch.long), **wrong)
    with pytest.raises(ValueError, match=r"alpha = 0.5 needs labels"):
        transfer.distillation_loss(z, z)
    with pytest.raises(ValueError, match="temperature = 0, expected a positive number"):
        transfer.soft_targets(z, 0)
    with pytest.raises(ValueError, match="d_model = 20 is not divisible by d_head = 16"):
        transfer.student_config(BertConfig.TINY, vocab=9, d_model=20, layers=1)


@pytest.mark.parametrize(
    "config", [BertConfig.TINY, BertConfig.MINILM, BertConfig.BASE, BertConfig.LARGE, BertConfig.ROBERTA_BASE]
)
def test_parameters_are_those_of_the_model(config):
    with torch.device("meta"):
        model = Bert(config)
    assert transfer.bert_parameters(config) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("time", [1, 7])
def test_operations_are_those_torch_counts(time):
    config = transfer.student_config(BertConfig.TINY, vocab=30, d_model=32, layers=2)
    model = Bert(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(5, 30, (3, time)))
    counted = counter.get_total_flops()
    ours = transfer.bert_flops(config, time, batch=3)
    scores = 3 * config.layers * 4 * time * time * config.d_model  # a fused kernel on the processor is not counted
    assert counted in (ours, ours - scores)


def test_the_sizes_of_the_lecture_are_narrow_berts():
    for width, heads in ((48, 3), (96, 6), (192, 12)):
        config = transfer.student_config(BertConfig.BASE, vocab=4928, d_model=width, layers=12)
        assert (config.heads, config.d_ff, config.context) == (heads, 4 * width, 512)


# Forgetting


def test_forgetting_by_hand():
    matrix = [[0.9, 0.1, 0.1], [0.6, 0.8, 0.2], [0.7, 0.5, 0.95]]
    assert transfer.forgetting(matrix) == pytest.approx(((0.9 - 0.7) + (0.8 - 0.5)) / 2)
    assert transfer.average_accuracy(matrix) == pytest.approx((0.7 + 0.5 + 0.95) / 3)
    assert transfer.backward_transfer(matrix) == pytest.approx(((0.7 - 0.9) + (0.5 - 0.8)) / 2)
    better = [[0.5, 0.0], [0.8, 0.9]]  # the second task helps the first
    assert transfer.forgetting(better) == pytest.approx(-0.3) == -transfer.backward_transfer(better)
    for wrong in ([[1.0]], [1.0, 2.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="accuracies has shape"):
            transfer.forgetting(wrong)


def test_an_anchor_pulls_back_to_where_it_was_made():
    layer = nn.Linear(3, 2)
    start = [p.detach().clone() for p in layer.parameters()]
    anchor = transfer.Anchor(layer.parameters(), strength=0.7)
    assert anchor().item() == 0
    with torch.no_grad():
        for p in layer.parameters():
            p += torch.randn_like(p)
    for slope, p, origin in zip(
        torch.autograd.grad(anchor(), list(layer.parameters())), layer.parameters(), start, strict=True
    ):
        assert_close(slope, 0.7 * (p - origin).detach())
    way = math.sqrt(sum((p - o).square().sum().item() for p, o in zip(layer.parameters(), start, strict=True)))
    length = math.sqrt(sum(float(o.square().sum()) for o in start))
    assert transfer.moved(start, list(layer.parameters())) == pytest.approx(way / length, rel=1e-5)
    with pytest.raises(ValueError, match="strength = -1"):
        transfer.Anchor(layer.parameters(), strength=-1)


# Memory


@pytest.mark.parametrize("method", ["full", "lora", "adapters"])
def test_memory_is_what_torchs_allocator_hands_out(method):
    config = replace(BertConfig.TINY, vocab=300, d_model=32, d_ff=64, layers=3)
    bert = Bert(config)
    tokens, labels = torch.randint(5, 300, (4, 9)), torch.tensor([0, 1, 2, 0])
    models = []
    held = transfer.held_bytes(lambda: models.append(transfer.prepare(method, bert, 3, rank=2, bottleneck=4)))
    (model,) = models
    counted = transfer.training_memory(model, lambda: model(tokens))
    assert counted.parameters == held == 4 * sum(p.numel() for p in model.parameters())
    optimiser = torch.optim.AdamW(p for p in model.parameters() if p.requires_grad)
    outputs = []
    waiting = transfer.held_bytes(lambda: outputs.append(model(tokens)))
    # The scores come beside what waits. A table that learns keeps its tokens, which were there already.
    assert waiting == counted.activations + outputs[0].nbytes - tokens.nbytes * (method == "full")
    loss = F.cross_entropy(outputs.pop(), labels)
    loss.backward()
    gradients_held = sum(p.grad.numel() * 4 for p in model.parameters() if p.grad is not None)
    assert counted.gradients == gradients_held
    assert counted.optimiser == transfer.held_bytes(optimiser.step)
    assert counted.total == counted.parameters + counted.gradients + counted.optimiser + counted.activations


def test_plain_descent_keeps_nothing_and_meta_models_count():
    with torch.device("meta"):
        model = Bert(BertConfig.LARGE)
    counted = transfer.training_memory(model, moments=0)
    assert counted.parameters == counted.gradients == 4 * 335_141_888 and counted.optimiser == counted.activations == 0
    full = transfer.training_memory(model)
    transfer.add_lora(model, rank=4)
    thin = transfer.training_memory(model)
    learned = transfer.lora_parameters([(1024, 1024)] * 48, 4)
    assert thin.gradients == 4 * learned and thin.parameters == full.parameters + thin.gradients
    assert thin.optimiser == 8 * learned + 4 * 96


# Sentences and ways


def test_topics_do_not_leak_and_few_are_balanced_and_nested():
    parts = transfer.topic_sentences()
    assert not set(parts.train.texts) & set(parts.test.texts)
    assert np.bincount(parts.train.labels).min() >= 64 and set(parts.test.labels) == set(range(8))
    chosen = {count: transfer.few(parts.train.labels, count, seed=3) for count in (8, 12, 64, 512)}
    for count, rows in chosen.items():
        counts = np.bincount(parts.train.labels[rows], minlength=8)
        assert len(set(rows)) == count and counts.max() - counts.min() <= 1
    assert set(chosen[8]) < set(chosen[12]) < set(chosen[64]) < set(chosen[512])
    assert not np.array_equal(chosen[64], transfer.few(parts.train.labels, 64, seed=4))
    with pytest.raises(ValueError, match="count = 7 for 8 classes"):
        transfer.few(parts.train.labels, 7)
    with pytest.raises(ValueError, match="count = 10 for 2 classes, the smallest of 2 samples: expected 2 to 4"):
        transfer.few(np.array([0, 0, 0, 1, 1]), 10)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Texts of two kinds that a tiny model can tell apart, with a folder that holds the model."""
    rng = np.random.default_rng(0)
    kinds = (["dull", "bad", "awful"], ["fine", "great", "lovely"])
    texts = [" ".join(["the", "film", "was", *rng.choice(kinds[i % 2], 2), f"n{i}"]) for i in range(120)]
    data = LabelledTexts(tuple(texts), np.arange(120) % 2, ("negative", "positive"))
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = WordPiece.train(texts, 120)
    tokenizer.save(folder)
    torch.manual_seed(0)
    Bert(replace(BertConfig.TINY, vocab=len(tokenizer), d_model=16, layers=2, context=32)).save_pretrained(folder)
    return Split(data.rows(np.arange(80)), data.rows(np.arange(80, 120))), folder


@pytest.mark.parametrize("method", list(transfer.RECIPES))
def test_every_way_learns_what_it_may(task, method):
    parts, folder = task
    tokenizer, bert = WordPiece.from_file(folder), Bert.from_pretrained(folder)
    texts, labels = tokenizer.batch(parts.train.texts), torch.from_numpy(parts.train.labels)
    model = transfer.prepare(method, bert, 2, rank=4, bottleneck=4, seed=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    recipe = transfer.Recipe(2e-2, 1e-2, 0.7)
    transfer.teach(method, model, texts, labels, steps=80, recipe=recipe)
    assert transfer.accuracy(model(*texts), labels) > 0.9 and not model.training
    moved = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    if method in ("full", "scratch", "gradual"):
        assert len(moved) == len(before) - 2  # all but the pooler's weight and bias
    if method == "lora":
        assert all(name.endswith((".a", ".b")) or name.startswith("output") for name in moved)
    if method == "adapters":
        assert all("norm" in name or ".1." in name or name.startswith("output") for name in moved)
    same = (before["bert.embedding.token.weight"] == bert.embedding.token.weight).all()
    assert same == (method != "scratch")
    with pytest.raises(ValueError, match="method = 'magic', expected one of scratch"):
        transfer.prepare("magic", bert, 2)


def test_a_frozen_head_is_scikit_learns_in_any_number_of_classes():
    from sklearn.linear_model import LogisticRegression

    x = torch.randn(60, 5)
    for classes in (2, 3):
        labels = (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long() * (classes - 2)
        head = transfer.frozen_head(x, labels, penalty=0.5)
        theirs = LogisticRegression(C=2, max_iter=1000).fit(x.numpy(), labels.numpy())
        found = head(x).softmax(1).numpy()
        np.testing.assert_allclose(found, theirs.predict_proba(x.numpy()), atol=1e-4)


def test_features_are_the_means_of_real_tokens(task):
    parts, folder = task
    tokenizer, bert = WordPiece.from_file(folder), Bert.from_pretrained(folder)
    batch = tokenizer.batch(parts.test.texts)
    found = transfer.features_of(bert, batch, size=7)
    alone = torch.stack([bert(row[m][None])[0].mean(0) for row, m in zip(batch.tokens, batch.mask, strict=True)])
    assert_close(found, alone.detach())
    model = Classifier(bert, 2, pool="mean").eval()
    assert_close(F.linear(found, model.output.weight, model.output.bias), model(*batch))


def test_the_script_writes_goes_on_and_draws(task, tmp_path, monkeypatch, capsys):
    parts, folder = task
    monkeypatch.setattr(script, "load", lambda data, where: parts)
    log, figure = tmp_path / "log", tmp_path / "curves.svg"
    command = ["transfer", "--model", str(folder), "--log", str(log), "--sizes", "8", "16", "--seeds", "2"]
    short = ["--methods", "frozen", "lora", "full", "--rank", "1", "2", "--steps", "3", "--figure", str(figure)]
    monkeypatch.setattr("sys.argv", command + short)
    script.main()
    first = capsys.readouterr().out
    assert len(log.read_text().splitlines()) == 2 * 2 * 4 and "lora 2" in first and "<svg" in figure.read_text()
    script.main()
    again = capsys.readouterr().out
    assert len(log.read_text().splitlines()) == 16 and again.strip() == first[first.index(" " * 10) :].strip()
    assert "frozen" in again and "seed 0" not in again


def test_reviews_are_split_without_leak(monkeypatch):
    data = LabelledTexts(tuple(f"text {i % 900}" for i in range(1200)), np.arange(1200) % 2, ("no", "yes"))
    monkeypatch.setattr(script, "rt_polarity", lambda folder: data)
    parts = script.load("rt-polarity")
    assert not set(parts.train.texts) & set(parts.test.texts) and len(parts.test) <= script.TESTED


def test_paragraphs_come_once():
    assert transfer.paragraphs(["a b\nc\n\nd e f", "a  b c\r\n\r\nx"], shortest=4) == ["a b c", "d e f"]
