r"""What people call places, languages, money, scripts and days, from the Unicode CLDR that the package Babel carries.

Small real data that needs no download. The figures in the course come from Babel 2.18; another release of the CLDR has
some more names, but what is for testing stays for testing: that depends on each name alone.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from babel import Locale, UnknownLocaleError
from babel.dates import format_date

from ml_course.data.splitting import Split, split_by_key
from ml_course.data.texts import LabelledTexts, Pairs

KINDS = ("territories", "languages", "currencies", "scripts")
# Languages in Latin letters: the alphabet alone does not give them away.
LATIN = ("cs", "de", "en", "es", "fi", "fr", "hu", "it", "pl", "tr")
DATE_LOCALES = ("cs", "da", "de", "el", "en", "en_GB", "es", "fi", "fr", "it", "nl", "pl", "pt", "ru", "sv", "tr", "uk")


def name_pairs(
    source: str = "en", target: str = "ru", kinds: Sequence[str] = KINDS, test_share: float = 0.1
) -> Split[Pairs]:
    r"""Names of places, languages, currencies and scripts in two languages: 1,318 pairs English → Russian.

    source, target   language codes, as "en", "ru", "de"
    kinds            any of KINDS
    test_share       about this share is for testing. Names that differ only in what stands in brackets, as
                     "Afghan Afghani (1927–2002)", stay together.

    A few names stand in the list twice: "Arabic" is a language and a script, and in Russian these are two words.
    Raises: ValueError for an unknown language or kind.

    >>> names = name_pairs()
    >>> len(names.train) + len(names.test), dict(names.train)["New Zealand"]
    (1318, 'Новая Зеландия')
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kinds names {kind!r}, expected some of {', '.join(KINDS)}")
    left, right = _locale(source), _locale(target)
    found = []
    for kind in kinds:
        ours, theirs = getattr(left, kind), getattr(right, kind)
        found += [(ours[code], theirs[code]) for code in sorted(ours.keys() & theirs.keys())]
    pairs = Pairs(tuple(a for a, _ in found), tuple(b for _, b in found))
    return split_by_key(pairs, [_without_brackets(name) for name in pairs.sources], test_share)


def names_by_language(languages: Sequence[str] = LATIN, test_share: float = 0.2) -> Split[LabelledTexts]:
    r"""Names of places and languages, labelled with the language they are written in: which is it?

    languages    codes; by default ten that share the Latin alphabet
    test_share   about this share of *places and languages* is for testing, in all languages at once, so that no place
                 is known from its name in another language

    A name that two of the languages share, as "Malta", is left out.
    Raises: ValueError for an unknown language, or fewer than two.

    >>> names = names_by_language()
    >>> names.train.classes[:3], len(names.train) > 4000
    (('cs', 'de', 'en'), True)
    """
    if len(set(languages)) < 2 or len(set(languages)) < len(languages):
        raise ValueError(f"languages = {tuple(languages)}, expected at least two, each once")
    found: dict[tuple[str, int], str] = {}
    for label, language in enumerate(languages):
        for kind in ("territories", "languages"):
            for code, name in sorted(getattr(_locale(language), kind).items()):
                found.setdefault((name, label), f"{kind}.{code}")  # Palau is a place first, then a language
    uses = Counter(name for name, _ in found)
    kept = {both: code for both, code in found.items() if uses[both[0]] == 1}
    labels = np.array([label for _, label in kept], dtype=np.int64)
    return split_by_key(
        LabelledTexts(tuple(name for name, _ in kept), labels, tuple(languages)), list(kept.values()), test_share
    )


def dates(
    count: int = 10_000,
    locales: Sequence[str] = DATE_LOCALES,
    styles: Sequence[str] = ("medium", "long", "full"),
    seed: int = 0,
    test_share: float = 0.1,
) -> Split[Pairs]:
    r"""Days as people write them, and as ISO 8601 does: "3 марта 2015 г." → "2015-03-03".

    count        how many pairs, of days from 1900 to 2099 drawn at random
    locales      whose ways of writing are drawn from
    styles       of Babel's "short", "medium", "long", "full"; "short" is ambiguous: 3/4/15 is in March or in April
    test_share   about this share of *days* is for testing: no way of writing such a day is learned
    Raises: ValueError for an unknown locale or style, or a count below 1.

    >>> parts = dates(100, locales=["en"], styles=["long"])
    >>> next(iter(parts.train))
    ('February 15, 2070', '2070-02-15')
    """
    if count < 1:
        raise ValueError(f"count = {count}, expected at least 1")
    for style in styles:
        if style not in ("short", "medium", "long", "full"):
            raise ValueError(f"styles names {style!r}, expected some of 'short', 'medium', 'long', 'full'")
    ways = [(_locale(name), style) for name in locales for style in styles]
    rng, first = np.random.default_rng(seed), datetime.date(1900, 1, 1)
    span = (datetime.date(2100, 1, 1) - first).days
    days = [first + datetime.timedelta(days=int(day)) for day in rng.integers(span, size=count)]
    chosen = [ways[i] for i in rng.integers(len(ways), size=count)]
    written = tuple(_plain_spaces(format_date(day, style, way)) for day, (way, style) in zip(days, chosen, strict=True))
    iso = tuple(day.isoformat() for day in days)
    return split_by_key(Pairs(written, iso), list(iso), test_share)


def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name)
    except (UnknownLocaleError, ValueError):
        raise ValueError(f"{name!r} is no language of the CLDR, expected a code as 'en', 'ru' or 'pt_BR'") from None


def _without_brackets(name: str) -> str:
    return re.sub(r"\s*[(\[].*?[)\]]", "", name).strip().lower()


def _plain_spaces(text: str) -> str:
    """The CLDR's no-break spaces, wide and narrow, as ordinary ones."""
    return " ".join(text.split())
