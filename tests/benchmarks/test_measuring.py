"""What is measured is what its name says: exponents, copies of weights, a million letters, a smaller book."""

import numpy as np
import pytest
import torch

from benchmarks import decoding, growth, rebuild, seq2seq
from ml_course.transformer import LMConfig, TransformerLM


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_of_a_power(power):
    sizes = growth.LENGTHS
    fit = growth.exponent(sizes, [3e-6 * size**power for size in sizes])
    assert fit == pytest.approx((power, power, power), abs=1e-9)


def test_what_is_constant_hardly_bends_the_exponent_of_the_upper_sizes():
    sizes = np.array(growth.LENGTHS)
    values = 1e5 + sizes.astype(float) ** 2
    upper, all_of_them = growth.exponent(sizes, values), np.polyfit(np.log(sizes), np.log(values), 1)[0]
    assert abs(upper.exponent - 2) < abs(all_of_them - 2) / 2


def test_the_interval_holds_the_exponent_as_often_as_it_says():
    draw = np.random.default_rng(0)
    fits = [
        growth.exponent(growth.LENGTHS, [size**1.5 * draw.lognormal(0, 0.05) for size in growth.LENGTHS])
        for _ in range(200)
    ]
    assert 0.9 < np.mean([fit.low <= 1.5 <= fit.high for fit in fits]) < 0.99


@pytest.mark.parametrize(("sizes", "values"), [((1, 2), (1, 2)), ((1, 2, 4), (1, 2))])
def test_too_few_sizes_have_no_exponent(sizes, values):
    with pytest.raises(ValueError, match=f"{len(sizes)} sizes and 2 values"):
        growth.exponent(sizes, values)


@pytest.mark.parametrize("name", growth.KINDS)
def test_memory_grows_with_the_length_as_theory_says(monkeypatch, name):
    """It needs no clock. At so small lengths what is constant still flattens the linear ones."""
    monkeypatch.setattr(growth, "ENOUGH", 0)
    row = growth.grown(name, "length", (256, 512, 1024))
    slope = row["exponents"]["memory"][0]
    assert 1.6 < slope < 2.2 if row["theory"]["memory"] == 2 else -0.1 < slope < 1.4
    assert len(row["seconds"]) == len(row["megabytes"]) == 3 and "theory" in row["told"]


@pytest.mark.parametrize("name", growth.KINDS)
def test_every_kind_takes_any_width(monkeypatch, name):
    monkeypatch.setattr(growth, "LENGTH", 256)
    for width in (16, 48):
        outputs = growth.KINDS[name].make(growth.LENGTH, width)()
        assert outputs.numel() == growth.LENGTH * width and outputs.isfinite().all()


def test_gpt2_with_our_weights_says_what_ours_says():
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    ours = TransformerLM(LMConfig(vocab=30, d_model=16, heads=4, d_ff=40, layers=3, context=20)).eval()
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases and norms that are not what they begin with
        tokens = torch.randint(30, (2, 20))
        torch.testing.assert_close(ours(tokens), decoding.as_gpt2(ours)(tokens).logits, rtol=1e-4, atol=1e-5)


def test_a_million_letters_are_that_many():
    letters = sum(map(len, seq2seq.million_letters()))
    assert seq2seq.LETTERS <= letters < 1.01 * seq2seq.LETTERS


def test_the_whole_book_is_copied_and_nothing_that_was_built(tmp_path):
    place = rebuild.copied(tmp_path / "course")
    assert (place / "_toc.yml").read_text() == (rebuild.ROOT / "_toc.yml").read_text()
    assert (place / "ml_course" / "cnn").is_dir() and (place / "book" / "cnn.md").is_file()
    assert not (place / "_build").exists()
