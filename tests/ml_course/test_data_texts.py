"""Data that needs no file: the reference text, names and dates from the CLDR, made series, photographs."""

import datetime
import hashlib
import re
import sys
from collections import Counter
from itertools import pairwise
from pydoc_data.topics import topics

import babel
import numpy as np
import pytest
from babel.dates import format_date
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from ml_course import data
from ml_course.data import names, reference
from ml_course.data.splitting import position


@pytest.fixture
def fresh():
    """The reference cleaned anew in this test, and again after it."""
    yield
    reference.reference_topics.cache_clear()
    reference.reference_text.cache_clear()


def cleaned(monkeypatch, **pages: str) -> dict[str, str]:
    monkeypatch.setattr(reference, "topics", pages)
    reference.reference_topics.cache_clear()
    return reference.reference_topics()


@pytest.mark.usefixtures("fresh")
def test_the_reference_loses_typography_tables_rulers_history_and_repetitions(monkeypatch):
    page = (
        "A title\n*******\n\nIt’s “so” – here…\n\nNew in version 3.5: this.\n\nAdded in version 3.14.\n\n"
        "+---+\n| a |\n+---+\n\n   x ::= y\n         | z\n\nNew things in the world.\n\nßtraße\n\nThe same\nwords.\n"
    )
    found = cleaned(monkeypatch, b=page, c="The same words.\n", a="Changed in version 3.2: all.\n")
    assert found == {
        "b": 'A title\n\nIt\'s "so" - here...\n\n   x ::= y\n         | z\n\n'
        "New things in the world.\n\nThe same\nwords."
    }


def test_the_reference_keeps_the_words_of_what_it_keeps():
    """Every paragraph that is kept stands in its topic, but for typography."""
    found = data.reference_topics()
    assert list(found) == sorted(found) and set(found) <= set(topics)
    for name in ("if", "assert", "operator-summary"):
        original = " ".join(topics[name].translate(reference.TYPOGRAPHY).split())
        for paragraph in found.get(name, "").split("\n\n")[1:]:
            assert " ".join(paragraph.split()) in original
    paragraphs = [" ".join(p.split()) for text in found.values() for p in text.split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))  # what is kept for testing is new


@pytest.mark.usefixtures("fresh")
def test_another_build_of_python_is_told_of(monkeypatch, capsys):
    text = data.reference_text()
    published = hashlib.sha256(text.encode()).hexdigest() == reference.PUBLISHED_SHA256
    reference.reference_text.cache_clear()
    capsys.readouterr()
    data.reference_text()
    assert (capsys.readouterr().out == "") is published
    cleaned(monkeypatch, only="Another text.")
    reference.reference_text.cache_clear()
    assert data.reference_text() == "Another text.\n"
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "expect somewhat other numbers" in said and "(14 characters" in said


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the published figures come from Python 3.11.7")
def test_the_published_sum():
    text = data.reference_text()
    assert hashlib.sha256(text.encode()).hexdigest() == reference.PUBLISHED_SHA256 and len(text) == 327_632


# Names.


@pytest.mark.skipif(not babel.__version__.startswith("2.18"), reason="the published count is that of Babel 2.18")
def test_english_to_russian_has_as_many_pairs_as_published():
    parts = data.name_pairs()
    assert len(parts.train) + len(parts.test) == 1318


def test_name_pairs_are_those_of_the_cldr():
    parts = data.name_pairs("en", "de", kinds=["territories"])
    english, german = babel.Locale("en").territories, babel.Locale("de").territories
    both = Counter((english[code], german[code]) for code in english if code in german)
    assert Counter([*parts.train, *parts.test]) == both


def test_names_for_testing_are_chosen_by_the_name_alone():
    parts, less = data.name_pairs(), data.name_pairs(kinds=["currencies"], target="fr")
    plain = [re.sub(r" \(.*", "", name).lower() for name in (*parts.train.sources, *parts.test.sources)]
    assert not set(plain[: len(parts.train)]) & set(plain[len(parts.train) :])  # years in brackets keep together
    assert not set(parts.train.sources) & set(less.test.sources) and not set(parts.test.sources) & set(
        less.train.sources
    )
    assert 0.07 < len(parts.test) / len(plain) < 0.13


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kinds": ["planets"]}, "kinds names 'planets', expected some of territories, languages"),
        ({"target": "klingon"}, "'klingon' is no language of the CLDR"),
        ({"test_share": 1.0}, "test_share = 1.0 is not between 0 and 1"),
    ],
)
def test_name_pairs_refuse(arguments, says):
    with pytest.raises(ValueError, match=says):
        data.name_pairs(**arguments)


def test_names_by_language_name_one_language_each():
    parts = data.names_by_language()
    texts = (*parts.train.texts, *parts.test.texts)
    assert len(texts) == len(set(texts)) and parts.train.classes == names.LATIN
    for text, label in list(zip(parts.test.texts, parts.test.labels.tolist(), strict=True))[::40]:
        holders = [
            language
            for language in names.LATIN
            for kind in ("territories", "languages")
            if text in getattr(babel.Locale(language), kind).values()
        ]
        assert set(holders) == {names.LATIN[label]}
    assert 0.15 < len(parts.test) / len(texts) < 0.25
    assert np.bincount(parts.train.labels).min() > 200


def test_a_place_is_learned_in_all_languages_or_in_none():
    parts = data.names_by_language(["de", "ru"])
    german, russian = babel.Locale("de").territories, babel.Locale("ru").territories
    known = [(german[code], russian[code]) for code in german if code in russian]
    assert len(known) > 250
    for one, other in known:
        assert (one in parts.train.texts) == (other in parts.train.texts)
        assert (one in parts.test.texts) == (other in parts.test.texts)


@pytest.mark.parametrize("languages", [["de"], ["de", "de", "en"]])
def test_names_by_language_needs_two(languages):
    with pytest.raises(ValueError, match=r"languages = .*expected at least two, each once"):
        data.names_by_language(languages)


@given(st.text())
def test_positions_are_fixed_and_in_their_range(key):
    assert position(key) == int(hashlib.sha256(key.encode()).hexdigest()[:16], 16) / 2**64 and 0 <= position(key) < 1


def test_positions_are_spread_evenly():
    found = np.sort([position(str(i)) for i in range(2000)])
    assert np.abs(found - np.linspace(0, 1, 2000)).max() < 0.05  # Kolmogorov's bound at one in 100,000


# Dates.


def test_dates_are_written_as_the_locale_writes_them():
    parts = data.dates(300, locales=["ru", "en"], styles=["long"], seed=1)
    pairs = [*parts.train, *parts.test]
    assert len(pairs) == 300 and not set(parts.train.targets) & set(parts.test.targets)
    for written, iso in pairs:
        day = datetime.date.fromisoformat(iso)
        ways = {" ".join(format_date(day, "long", locale).split()) for locale in ("ru", "en")}
        assert written in ways and 1900 <= day.year < 2100
    assert list(data.dates(300, ["ru", "en"], ["long"], seed=1).train) == list(parts.train)
    assert list(data.dates(300, ["ru", "en"], ["long"], seed=2).train) != list(parts.train)


def test_long_dates_say_all_and_their_days_are_new_in_the_test():
    """No text stands for two days, so the task can be learned."""
    parts, meanings = data.dates(20_000), {}
    for written, iso in parts.train:
        assert meanings.setdefault(written, iso) == iso
    assert len(set(parts.train.targets)) < len(parts.train) - 1000  # many a day is there twice
    assert not set(parts.train.targets) & set(parts.test.targets)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"count": 0}, "count = 0, expected at least 1"),
        ({"styles": ["tiny"]}, "styles names 'tiny'"),
        ({"locales": ["xx_YY"]}, "'xx_YY' is no language"),
    ],
)
def test_dates_refuse(arguments, says):
    with pytest.raises(ValueError, match=says):
        data.dates(**arguments)


# Series and photographs.


def test_sine_waves_obey_their_equation():
    """x_{t+1} + x_{t−1} = 2 cos(2π/p) x_t: one number per wave, and it belongs to a period from 8 to 24."""
    waves = data.sine_waves(20, 80, seed=3)
    inner, sums = waves[:, 1:-1], waves[:, 2:] + waves[:, :-2]
    slope = (inner * sums).sum(axis=1) / (inner**2).sum(axis=1)
    assert np.allclose(sums, slope[:, None] * inner)
    period = 2 * np.pi / np.arccos(slope / 2)
    assert period.min() >= 8 and period.max() <= 24 and np.ptp(period) > 5
    assert np.abs(waves).max() <= 1.5
    noisy = data.sine_waves(20, 80, noise=0.1, seed=3)
    assert 0.09 < (noisy - waves).std() < 0.11


def test_sunspot_like_cycles_last_about_eleven_years():
    series = data.sunspot_like(1000, noise=0.0)
    assert series.shape == (1000,) and series.min() >= 0
    minima = np.flatnonzero((series[1:-1] <= series[:-2]) & (series[1:-1] < series[2:]))
    assert np.diff(minima).min() >= 9 and np.diff(minima).max() <= 13 and 10 < np.diff(minima).mean() < 12
    rises = [int(np.argmax(series[a + 1 : b + 1])) + 1 for a, b in pairwise(minima)]
    assert np.mean(rises) < np.diff(minima).mean() / 2  # up fast, down slowly
    assert data.sunspot_like(50, seed=1).min() >= 0
    assert np.array_equal(data.sunspot_like(50), data.sunspot_like(50))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: data.sine_waves(0), "samples = 0"),
        (lambda: data.sine_waves(1, 0), "length = 0"),
        (lambda: data.sunspot_like(0), "years = 0"),
    ],
)
def test_series_refuse_nothing(make, says):
    with pytest.raises(ValueError, match=f"{says}, expected at least 1"):
        make()


def test_photographs_are_those_of_scikit_learn():
    found = data.sample_photographs()
    assert list(found) == ["temple", "flower"]
    for picture, original in zip(found.values(), load_sample_images().images, strict=True):
        assert picture.dtype == np.float32
        assert np.array_equal((picture * 255).round(), np.moveaxis(original, -1, 0))
