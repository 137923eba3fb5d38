r"""A small Ithaca, taught for longer than a page has time: `python -m ml_course.scripts.ithaca`.

Names with a quarter of their letters hidden: which letters, which language, which kind of thing? Beside it the counts
that it has to beat: of letters between neighbours, and of groups of one to three letters by naive Bayes. Settings are
of a handful tried by hand on the names that are reported, which flatters the network a little.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from ml_course.data import Split
from ml_course.multimodal import (
    Ithaca,
    IthacaConfig,
    Names,
    Neighbours,
    Reader,
    Scores,
    hide,
    ithaca_scores,
    names,
    restored_share,
    teach_ithaca,
)
from ml_course.training import seed_everything


def damaged(samples: Names, seed: int) -> list[str]:
    r"""The names with a quarter of their letters hidden."""
    rng = np.random.default_rng(seed)
    return [hide(text, rng) for text in samples.texts]


def counted(parts: Split[Names], seen: list[str], seed: int = 0) -> Scores:
    r"""What counting comes to: neighbours for the gaps, groups of one to three letters for language and kind."""
    counts = Neighbours().fit(parts.train.texts)
    groups = CountVectorizer(analyzer="char_wb", ngram_range=(1, 3))
    known, asked = groups.fit_transform(damaged(parts.train, seed)), groups.transform(seen)
    shares = (
        float(MultinomialNB(alpha=0.3).fit(known, learned).score(asked, right))
        for learned, right in ((parts.train.languages, parts.test.languages), (parts.train.kinds, parts.test.kinds))
    )
    return Scores(restored_share([counts.restore(text) for text in seen], parts.test, seen), *shares)


def taught(
    parts: Split[Names], seen: list[str], *, steps: int, width: int, layers: int, rate: float, seed: int
) -> Scores:
    r"""What the network comes to with one seed."""
    seed_everything(seed)
    reader = Reader.of(parts.train.texts)
    sizes = dict(letters=len(reader.letters), words=len(reader.words), d_model=width, d_ff=2 * width, layers=layers)
    model = Ithaca(IthacaConfig(**sizes), gap=reader.gap)
    teach_ithaca(model, reader, parts.train, steps=steps, rate=rate, seed=seed)
    return ithaca_scores(model, reader, parts.test, seen)


def main(arguments: list[str] | None = None) -> list[Scores]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--most", type=int, default=None, help="names to learn from, and to test, at most")
    given = parser.parse_args(arguments)
    parts = names()
    if given.most is not None:
        parts = Split(*(part.rows(np.arange(min(given.most, len(part)))) for part in (parts.train, parts.test)))
    print(f"{'':8} letters languages kinds")
    found = []
    for seed in range(given.seeds):
        seen, start = damaged(parts.test, 100 + seed), time.perf_counter()
        sizes = dict(steps=given.steps, width=given.width, layers=given.layers, rate=given.rate)
        rows = {"counted": counted(parts, seen, seed), "taught": taught(parts, seen, **sizes, seed=seed)}
        for name, scores in rows.items():
            print(f"{name:8} {scores.letters:7.1%} {scores.languages:9.1%} {scores.kinds:5.1%}", flush=True)
            found.append(scores)
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return found


if __name__ == "__main__":
    main()
