"""BLEU and byte-pair encoding against the libraries people use; beam search with and without its memory; Multi30k.

`--large` also trains on all pairs of Multi30k (about 10 minutes). Where it is is said by ML_COURSE_DATA, or it is
downloaded; without it its row says so.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import sacrebleu
import tokenizers
import torch

from benchmarks import ratios
from ml_course import seq2seq
from ml_course.data import multi30k, reference_text
from ml_course.scripts import translate
from ml_course.seq2seq import BPE, EncoderDecoder, Seq2SeqConfig, bpe
from ml_course.text import words

ROUNDS, LETTERS = 15, 1_000_000
BESIDE = Path(__file__).parents[2] / "shared" / "data"


def folder() -> str | None:
    """Where the public files are, if somebody put them beside the course; else the loaders look for themselves."""
    return str(BESIDE) if BESIDE.is_dir() and "ML_COURSE_DATA" not in os.environ else None


def bleu() -> dict[str, Any]:
    """BLEU of 1,000 sentences, each compared with the next but one."""
    text = words(reference_text())
    sentences = [text[start : start + 20] for start in range(0, 20_040, 20)]
    outputs, references = sentences[:1000], [[a[:10] + b[10:]] for a, b in zip(sentences, sentences[2:], strict=False)]
    references = references[:1000]
    lines, right = [" ".join(row) for row in outputs], [[" ".join(row[0]) for row in references]]
    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True)
    assert abs(100 * seq2seq.bleu(outputs, references).score - metric.corpus_score(lines, right).score) < 1e-9
    runs = {
        "ours": lambda: seq2seq.bleu(outputs, references),
        "theirs": lambda: metric.corpus_score(lines, right),
    }
    seconds = ratios.interleaved(runs, ROUNDS)
    return ratios.row("BLEU of 1,000 sentences", seconds["ours"], seconds["theirs"], "× sacrebleu")


def byte_pairs() -> Iterator[dict[str, Any]]:
    """The reference text cut into pieces by 1,000 merges: a million letters of it, and every different word once."""
    counts = Counter(words(reference_text().lower()))
    merges = BPE.train(counts, 1000).merges
    known = {piece for word in counts for piece in (*word, *bpe.spell(word))} | {a + b for a, b in merges}
    numbers = {piece: number for number, piece in enumerate(sorted(known))}
    model = tokenizers.models.BPE(numbers, list(merges), end_of_word_suffix=bpe.END, cache_capacity=0)
    library, distinct = tokenizers.Tokenizer(model), sorted(counts)
    assert [BPE(merges).pieces(word) for word in distinct] == [library.encode(word).tokens for word in distinct]
    seconds = ratios.interleaved(
        {"ours": lambda: BPE(merges).encode(distinct), "theirs": lambda: [library.encode(word) for word in distinct]},
        ROUNDS,
    )
    what = f"byte-pair encoding of {len(distinct):,} words, each new"
    yield ratios.row(what, seconds["ours"], seconds["theirs"], "× tokenizers (in Rust)")

    lines = million_letters()
    model = tokenizers.models.BPE(numbers, list(merges), end_of_word_suffix=bpe.END)  # remembers words, as ours does
    library = tokenizers.Tokenizer(model)
    library.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()

    def run_ours() -> list[str]:
        own = BPE(merges)
        return [piece for line in lines for piece in own.encode(line.split())]

    def run_theirs() -> list[str]:
        return [piece for found in library.encode_batch(lines) for piece in found.tokens]

    if run_ours() != run_theirs():
        raise AssertionError("the two cut the text into different pieces")
    seconds = ratios.interleaved({"ours": run_ours, "theirs": run_theirs}, ROUNDS // 3)
    yield ratios.row("byte-pair encoding of 1 MB of text", seconds["ours"], seconds["theirs"], "× tokenizers (in Rust)")


def million_letters() -> list[str]:
    """Lines of 200 words of the reference text, from its beginning again at its end, a million letters in all."""
    text = words(reference_text().lower())
    lines = [" ".join(text[start : start + 200]) for start in range(0, len(text), 200)]
    several = lines * (1 + LETTERS // sum(map(len, lines)))
    enough = np.searchsorted(np.cumsum([len(line) for line in several]), LETTERS)
    return several[: int(enough) + 1]


def search() -> dict[str, Any]:
    """Beam search that goes on from the decoder's state, and one that reads the whole prefix at every step."""
    torch.manual_seed(0)
    model = EncoderDecoder(Seq2SeqConfig(2000, 2000, d_model=128, hidden=256)).eval()
    source = torch.randint(4, 2000, (16, 12))
    step, prompt = model.continuing(source, source > 0), torch.full((16, 1), 2)
    options = dict(steps=30, eos=3, beam=5)
    with torch.no_grad():
        ways = {
            "whole": lambda: seq2seq.beam_search(lambda tokens: step(tokens)[0], prompt, **options),
            "state": lambda: seq2seq.beam_search(step, prompt, **options, stateful=True),
        }
        assert torch.equal(ways["whole"]().tokens, ways["state"]().tokens)
        seconds = ratios.interleaved(ways, 5)
    return ratios.row("beam search that reads the whole prefix", seconds["whole"], seconds["state"], "× from the state")


def translation() -> dict[str, Any]:
    """German → English, the long training."""
    parts = multi30k(folder(), "de", "en")
    found = translate.train(parts)
    both = f"sacrebleu {found['beam']['sacrebleu']:.2f}, ours {found['beam']['bleu']:.2f}"
    told = f"{len(parts['train']):,} pairs, beam 5: {both}; training {found['seconds']:.0f} s"
    return {"what": "German → English, Multi30k", "bleu": found["beam"]["bleu"], "told": told}


def rows(large: bool) -> Iterator[dict[str, Any]]:
    yield bleu()
    yield from byte_pairs()
    yield search()
    if large:
        try:
            yield translation()
        except FileNotFoundError as error:
            yield {"what": "German → English, Multi30k", "told": f"not measured: {error}"}


def measure(large: bool) -> list[dict[str, Any]]:
    with ratios.threads(1):
        return list(rows(large))
