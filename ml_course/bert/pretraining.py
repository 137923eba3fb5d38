r"""Pretraining in small: the two tasks of BERT, or RoBERTa's one, on the course's default text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ml_course.bert.corruption import Corrupted, corrupt, full_sentences, sentence_pairs
from ml_course.bert.heads import Pretraining
from ml_course.bert.model import Bert, BertConfig
from ml_course.bert.wordpiece import Inputs, WordPiece
from ml_course.data import reference_topics
from ml_course.data.splitting import position
from ml_course.training import History, fit, seed_everything

SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n\s*\n")
PARTS = 10  # of the training, each with a value in the history


class PretrainingBatch(NamedTuple):
    r"""Texts as they are, as they are shown, and whether the second of each pair follows the first."""

    inputs: Inputs
    corrupted: Corrupted
    following: Int[Tensor, " batch"] | None  # 0 = follows, 1 = does not; None where there are no pairs


def reference_documents(least: int = 4) -> dict[str, list[str]]:
    r"""The sentences of each topic of Python's reference, without those of fewer than `least` words.

    >>> reference_documents()["pass"][0][:26]
    '"pass" is a null operation'
    """
    documents = {}
    for name, text in reference_topics().items():
        sentences = [sentence.strip() for sentence in SENTENCE_END.split(text)]
        documents[name] = [sentence for sentence in sentences if len(sentence.split()) >= least]
    return {name: sentences for name, sentences in documents.items() if len(sentences) > 1}


@dataclass
class PretrainingBatches:
    r"""Batches for `fit`: pairs or stretches of text, in a new order on each pass, corrupted.

    documents       each a list of sentences, each a list of tokens
    tokenizer       whose special tokens are put around, and whose [MASK] is put in
    batch           texts in a batch
    length          tokens of a text, with the special ones
    next_sentence   pairs, half of them made up; else stretches of whole sentences, without a second segment
    masks           how many different corruptions of each text there are; pass p shows number p mod masks. None: new
                    ones on every pass, RoBERTa's dynamic masking. BERT's data held ten
    seed            of pairs, order and corruption
    Source: devlin2019bert, appendix A.2; liu2019roberta, sections 4.1 and 4.2.
    """

    documents: Sequence[Sequence[Sequence[int]]]
    tokenizer: WordPiece
    batch: int = 32
    length: int = 64
    next_sentence: bool = True
    masks: int | None = None
    seed: int = 0
    passes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        if self.next_sentence:
            pairs = sentence_pairs(self.documents, self.length - 3, rng)
            inputs = self.tokenizer.batch([pair.first for pair in pairs], [pair.second for pair in pairs])
            following = torch.tensor([int(not pair.follows) for pair in pairs])
        else:
            inputs, following = self.tokenizer.batch(full_sentences(self.documents, self.length - 2)), None
        self.inputs, self.following = inputs, following
        special = torch.tensor([self.tokenizer.cls, self.tokenizer.sep, self.tokenizer.pad])
        self.maskable = inputs.mask & ~torch.isin(inputs.tokens, special)
        generator = torch.Generator().manual_seed(self.seed)
        self.stored = [self._corrupt(generator) for _ in range(self.masks or 0)]
        self.generator = generator

    def __len__(self) -> int:
        return len(self.inputs.tokens) // self.batch

    def __iter__(self) -> Iterator[PretrainingBatch]:
        corrupted = self.stored[self.passes % len(self.stored)] if self.stored else self._corrupt(self.generator)
        order = torch.from_numpy(np.random.default_rng((self.seed, self.passes)).permutation(len(self.inputs.tokens)))
        self.passes += 1
        for rows in order[: len(self) * self.batch].split(self.batch):  # a last, smaller batch is left out
            longest = int(self.inputs.mask[rows].sum(1).max())
            yield PretrainingBatch(
                Inputs(*(part[rows, :longest] for part in self.inputs)),
                Corrupted(*(part[rows, :longest] for part in corrupted)),
                None if self.following is None else self.following[rows],
            )

    def _corrupt(self, generator: torch.Generator) -> Corrupted:
        return corrupt(
            self.inputs.tokens,
            self.maskable,
            mask=self.tokenizer.mask,
            vocab=len(self.tokenizer),
            first=self.tokenizer.mask + 1,
            generator=generator,
        )


def pretraining_loss(model: Pretraining, batch: PretrainingBatch) -> Float[Tensor, ""]:
    r"""Mean surprise at the chosen tokens plus, where there are pairs, at whether the second text follows, in nats.

    −1/|C| Σ_{t ∈ C} log P(x_t | corrupted x)  −  1/B Σ log P(follows | corrupted pair),  C the chosen tokens

    Source: devlin2019bert, appendix A.2.
    """
    words, following = model(*_shown(batch), chosen=batch.corrupted.chosen)
    loss = F.cross_entropy(words, batch.corrupted.labels[batch.corrupted.chosen])
    return loss if batch.following is None else loss + F.cross_entropy(following, batch.following)


class Scores(NamedTuple):
    r"""How well both tasks are done on texts that were not learned from."""

    nats: float  # mean surprise at a chosen token
    accuracy: float  # share of the chosen tokens that are guessed
    following: float  # share of the pairs judged rightly; NaN where there are none


@torch.no_grad()
def pretraining_scores(model: Pretraining, batches: PretrainingBatches) -> Scores:
    r"""`Scores` over one pass; put the model into evaluation mode first."""
    nats, right, chosen, judged, pairs = 0.0, 0, 0, 0, 0
    for batch in batches:
        words, following = model(*_shown(batch), chosen=batch.corrupted.chosen)
        labels = batch.corrupted.labels[batch.corrupted.chosen]
        nats += F.cross_entropy(words, labels, reduction="sum").item()
        right += int((words.argmax(1) == labels).sum())
        chosen += len(labels)
        if batch.following is not None:
            judged += int((following.argmax(1) == batch.following).sum())
            pairs += len(batch.following)
    return Scores(nats / chosen, right / chosen, judged / pairs if pairs else float("nan"))


class SmallBert(NamedTuple):
    r"""What `small_bert` returns; take it apart as `model, tokenizer, held_out, history = …`."""

    model: Pretraining  # trained, in evaluation mode; model.bert is the Bert
    tokenizer: WordPiece
    held_out: list[list[list[int]]]  # documents, as sentences of tokens, that were not learned from
    history: History  # history.loss: of `pretraining_loss`, for each tenth of the training


def small_bert(
    config: BertConfig | None = None,
    *,
    steps: int = 300,
    rate: float = 4e-3,
    batch: int = 32,
    next_sentence: bool = True,
    masks: int | None = None,
    tokenizer: WordPiece | None = None,
    seed: int = 0,
) -> SmallBert:
    r"""Pretrains a small BERT on Python's reference: model, tokenizer, held-out documents, history.

    config          sizes; `BertConfig.PAGE` when None. Its `vocab` is the tokenizer's to learn; the model gets what
                    the tokenizer came to have
    steps           batches to learn from, rounded down to tens
    rate            highest learning rate (AdamW): warmed up over the first tenth, then falling to zero
    next_sentence, masks   as of `PretrainingBatches`; False and None are RoBERTa's way
    tokenizer       one that is learned already; learned from the training documents when None
    seed            of weights, pairs, order and corruption; torch's seed is set to it
    A tenth of the topics, told by a hash of their names, is held out. The model begins with the right frequency of each
    piece, whatever the text around it.
    Raises: ValueError when steps is below 10. Cost: see `book/bert.md`.
    """
    config = BertConfig.PAGE if config is None else config
    if steps < PARTS:
        raise ValueError(f"steps = {steps}: expected at least {PARTS}")
    documents = reference_documents()
    learned = [sentences for name, sentences in documents.items() if position(name) >= 0.1]
    kept = [sentences for name, sentences in documents.items() if position(name) < 0.1]
    if tokenizer is None:
        tokenizer = WordPiece.train((sentence for document in learned for sentence in document), config.vocab)

    def encoded(some: Sequence[Sequence[str]]) -> list[list[list[int]]]:
        return [[tokenizer.encode(sentence) for sentence in document] for document in some]

    seed_everything(seed)
    model = Pretraining(Bert(replace(config, vocab=len(tokenizer), pad=tokenizer.pad)))
    known = encoded(learned)
    counts = torch.bincount(
        torch.tensor([token for document in known for sentence in document for token in sentence]),
        minlength=len(tokenizer),
    )
    # Frequencies need not be learned step by step: the bias of the last layer starts at them.
    model.words.bias.data.copy_(((counts + 1) / (counts + 1).sum()).log())
    batches = PretrainingBatches(known, tokenizer, batch, config.longest, next_sentence, masks, seed)
    optimiser = torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    in_all = steps // PARTS * PARTS

    def schedule(step: int) -> float:
        return rate * min(PARTS * step / in_all, (in_all - step + 1) / (in_all * (1 - 1 / PARTS)))

    history = fit(
        model,
        _Endless(batches, in_all // PARTS),
        pretraining_loss,
        optimiser,
        epochs=PARTS,
        schedule=schedule,
        clip=1.0,
    )
    return SmallBert(model, tokenizer, encoded(kept), history)


class _Endless:
    """As many batches at each pass as asked, going on where the last pass stopped."""

    def __init__(self, batches: PretrainingBatches, each: int):
        self.batches, self.each = batches, each
        self.running: Iterator[PretrainingBatch] = iter(())

    def __iter__(self) -> Iterator[PretrainingBatch]:
        for _ in range(self.each):
            following = next(self.running, None)
            if following is None:
                self.running = iter(self.batches)
                following = next(self.running)
            yield following


def _shown(batch: PretrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """What the model reads: the corrupted tokens, with segments and mask."""
    return batch.corrupted.tokens, batch.inputs.segments, batch.inputs.mask
