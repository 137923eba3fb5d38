"""Writing with caches against writing without, shared heads against all heads, speculation against cached steps.

Every pair is checked to write the same tokens first. The target of the speculation is trained here, on the characters
of Python's reference (minutes); so are its drafts: a Transformer of one narrow layer, counts of what follows five
characters in that text, and counts of what the target itself has written. Times are ours alone: the rivals differ in
one thing each.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import ratios
from ml_course import decoding
from ml_course.data import reference_text
from ml_course.decoding import GroupedQueryAttention, KVCache, ModelDraft, NGramDraft, distribution
from ml_course.rnn import NGram, generate, sampling
from ml_course.transformer import LMConfig, TransformerLM, small_language_model

NEW, ROUNDS, THREADS = 512, 3, 2
TEXTS_AND_THREADS = (1, 1), (1, 2), (4, 1)


def cached_rows(large: bool) -> list[dict[str, Any]]:
    """512 tokens of the model of width 256 with four layers, with and without caches."""
    torch.manual_seed(0)
    model, prompts, rows = TransformerLM(LMConfig.SMALL).eval(), torch.randint(256, (4, 8)), []
    exact = copy.deepcopy(model).double()
    if not torch.equal(generate(exact, prompts, 64), generate(decoding.cached(exact), prompts, 64, stateful=True)):
        raise AssertionError("with caches the model writes something else")
    step = decoding.cached(model, NEW + 8)
    for texts, threads in TEXTS_AND_THREADS:
        torch.set_num_threads(threads)
        prompt = prompts[:texts]
        seconds = ratios.interleaved(
            {
                "again": partial(generate, model, prompt, NEW),
                "cached": partial(generate, step, prompt, NEW, stateful=True),
            },
            3 * ROUNDS if large else ROUNDS,
        )
        several = f"{texts} text{'s' * (texts > 1)}, {threads} thread{'s' * (threads > 1)}"
        what = f"{NEW} tokens, width 256, 4 layers, {several}: without by with cache"
        rows.append(ratios.row(what, seconds["again"], seconds["cached"], "× as long"))
    torch.set_num_threads(THREADS)
    return rows


@torch.no_grad()
def sharing_rows(large: bool) -> list[dict[str, Any]]:
    """One step of 32 texts after 512 tokens each, by how many heads share keys and values."""
    runs, tokens = {}, torch.zeros(32, 1, dtype=torch.long)
    for kv_heads in (4, 2, 1):
        model = TransformerLM(LMConfig.SMALL, lambda width, heads, kv=kv_heads: GroupedQueryAttention(width, heads, kv))
        caches = tuple(KVCache(600) for _ in range(4))
        for cache in caches:
            cache.append(*torch.randn(2, 32, kv_heads, NEW, 64))

        def step(model: nn.Module = model, caches: tuple[KVCache, ...] = caches) -> None:
            model(tokens, caches)
            for cache in caches:
                cache.rewind(NEW)

        runs[kv_heads] = step
    seconds = ratios.interleaved(runs, 60 if large else 20, warm_up=3)
    return [
        ratios.row(f"a step of 32 texts after 512 tokens: 4 by {few} heads", seconds[4], seconds[few], "× as long")
        for few in (2, 1)
    ]


def speculation_rows(large: bool) -> list[dict[str, Any]]:
    """300 characters by a trained target with caches, alone and with each draft."""
    config = replace(LMConfig.SMALL, context=512)
    target, vocabulary, held_out, _ = small_language_model(
        config, steps=2000 if large else 300, batch=16, length=64, rate=1e-3
    )
    narrow = LMConfig(d_model=64, heads=2, d_ff=128, layers=1, context=512)
    small = decoding.grouped(small_language_model(narrow, steps=2000 if large else 600, batch=16, length=64)[0])
    target = decoding.grouped(target)
    learned = torch.tensor(vocabulary.encode(reference_text()))[: -len(held_out)].numpy()
    counts = NGram(6, len(vocabulary)).fit(learned)
    step, prompt, rows = decoding.cached(target, 400), held_out[:50], []
    for name, degree in (("greedy", 0), ("temperature 0.7", 0.7)):
        choosing, own = distribution(degree), own_counts(step, held_out, degree, len(vocabulary))
        drafts: dict[str, Callable[[], decoding.Draft]] = {
            "one narrow layer": partial(ModelDraft, small, choosing),
            "counts of six": partial(NGramDraft, counts, choosing),
            "counts of its own text": partial(NGramDraft, own, choosing),
        }
        chance = {"choose": sampling(degree)} if degree else {}
        alone = partial(generate, step, prompt[None], 300, stateful=True, **chance)
        for what, draft in drafts.items():
            for ahead in (2, 4):
                told: list[decoding.Speculated] = []
                guessing = partial(guessed, told, target, draft, prompt, ahead, choosing)
                seconds = ratios.interleaved({"alone": alone, "guessed": guessing}, 15 if large else 5)
                if not degree and not torch.equal(told[0].tokens, alone()[0]):
                    raise AssertionError(f"with {what} as a draft the target writes something else")
                kept = sum(result.acceptance for result in told) / len(told)
                label = f"{name}, draft {what}, {ahead} ahead, {kept:.2f} kept: cached steps by speculation"
                rows.append(ratios.row(label, seconds["alone"], seconds["guessed"], "× as long"))
    return rows


def guessed(told: list, target: nn.Module, draft: Callable, prompt: Tensor, ahead: int, choosing: Callable) -> None:
    """One text with a fresh draft, which has to read the prompt as the target has."""
    told.append(decoding.speculate(target, draft(), prompt, 300, ahead=ahead, choosing=choosing))


@torch.no_grad()
def own_counts(step: Any, held_out: Tensor, degree: float, vocab: int) -> NGram:
    """Counts of what the target itself writes from many places: the cheapest student it can have."""
    starts = torch.stack([held_out[i : i + 20] for i in range(60, 60 + 128 * 40, 40)])
    texts = generate(step, starts, 150, choose=sampling(degree or 0.3), stateful=True)
    return NGram(5, vocab).fit(texts.flatten().numpy())


def measure(large: bool) -> list[dict[str, Any]]:
    before = torch.get_num_threads()
    try:
        return cached_rows(large) + sharing_rows(large) + speculation_rows(large)
    finally:
        torch.set_num_threads(before)


if __name__ == "__main__":
    for entry in measure(False):
        print(entry["what"], entry["told"])
