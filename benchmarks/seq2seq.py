"""BLEU and byte-pair encoding against the libraries people use; beam search with and without its memory; Multi30k.

Where Multi30k is is said by ML_COURSE_DATA, or it is downloaded; without it its row says so. `--large` trains on all of
its pairs (about 10 minutes), else on the first 2,000 for one epoch, which says how long a step takes and nothing else.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sacrebleu
import tokenizers
import torch

from benchmarks import ratios
from ml_course import seq2seq
from ml_course.data import multi30k, reference_text
from ml_course.scripts import translate
from ml_course.seq2seq import BPE, EncoderDecoder, Seq2SeqConfig, bpe
from ml_course.text import words

ROUNDS = 15
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


def byte_pairs() -> dict[str, Any]:
    """Every different word of the reference text, cut into pieces by 1,000 merges, nothing remembered."""
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
    return ratios.row(what, seconds["ours"], seconds["theirs"], "× tokenizers (in Rust)")


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


def translation(large: bool) -> dict[str, Any]:
    """German → English; BLEU only says something after the long training."""
    parts = multi30k(folder(), "de", "en", None if large else 2000)
    found = translate.train(parts, **({} if large else {"epochs": 1}))
    both = f"sacrebleu {found['beam']['sacrebleu']:.2f}, ours {found['beam']['bleu']:.2f}"
    told = f"{len(parts['train']):,} pairs, beam 5: {both}; training {found['seconds']:.0f} s"
    return {"what": "German → English, Multi30k", "bleu": found["beam"]["bleu"], "told": told}


def rows(large: bool) -> Iterator[dict[str, Any]]:
    yield bleu()
    yield byte_pairs()
    yield search()
    try:
        yield translation(large)
    except FileNotFoundError as error:
        yield {"what": "German → English, Multi30k", "told": f"not measured: {error}"}


def measure(large: bool) -> list[dict[str, Any]]:
    if os.environ.get("OMP_NUM_THREADS") != "1":
        raise SystemExit("benchmark seq2seq: set OMP_NUM_THREADS=1, so that all sides have one thread")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return list(rows(large))
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"])
