"""Writing with caches against the transformers library's GPT-2 and against writing without, shared heads against all
heads, speculation against cached steps.

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
    for texts, count in TEXTS_AND_THREADS if large else TEXTS_AND_THREADS[:1]:
        prompt = prompts[:texts]
        ways = {
            "again": partial(generate, model, prompt, NEW),
            "cached": partial(generate, step, prompt, NEW, stateful=True),
        }
        with ratios.threads(count):
            seconds = ratios.interleaved(ways, 3 * ROUNDS if large else ROUNDS)
        several = f"{texts} text{'s' * (texts > 1)}, {count} thread{'s' * (count > 1)}"
        what = f"{NEW} tokens, width 256, 4 layers, {several}: without by with cache"
        rows.append(ratios.row(what, seconds["again"], seconds["cached"], "× as long"))
    return rows


def gpt2_rows(large: bool) -> list[dict[str, Any]]:
    """512 tokens by our cached steps, and by the library's GPT-2 of the same size with the same weights."""
    sizes = {"width 256, 4 layers": (LMConfig.SMALL, NEW, 3 * ROUNDS)}
    if large:
        sizes["the size of GPT-2, 124 million weights"] = LMConfig(50_257, 768, 12, 3072, 12, context=1024), NEW, ROUNDS
    rows = []
    for name, (config, new, rounds) in sizes.items():
        torch.manual_seed(0)
        model, prompt = TransformerLM(config).eval(), torch.randint(config.vocab, (1, 8))
        theirs, step = as_gpt2(model), decoding.cached(model, new + 8)
        told = dict(max_new_tokens=new, do_sample=False, use_cache=True, pad_token_id=0)
        ways = {
            "ours": partial(generate, step, prompt, new, stateful=True),
            "theirs": partial(theirs.generate, prompt, attention_mask=torch.ones_like(prompt), **told),
        }
        tokens = {way: write() for way, write in ways.items()}
        if not torch.equal(*tokens.values()):
            raise AssertionError(f"{name}: GPT-2 with the same weights writes something else")
        seconds = ratios.interleaved(ways, rounds)
        what = f"GPT decoding with cache, {new} tokens, {name}"
        rows.append(ratios.row(what, seconds["ours"], seconds["theirs"], "× transformers"))
    return rows


@torch.no_grad()
def as_gpt2(model: TransformerLM) -> nn.Module:
    """The transformers library's GPT-2 with our weights; it keeps a matrix as (input, output), and q, k, v as one."""
    from transformers import GPT2Config, GPT2LMHeadModel

    size = model.config
    config = GPT2Config(
        vocab_size=size.vocab, n_positions=size.context, n_embd=size.d_model, n_layer=size.layers, n_head=size.heads,
        n_inner=size.d_ff, activation_function="gelu", bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    made = GPT2LMHeadModel(config).eval()

    def turned(parameter: Tensor) -> Tensor:
        return parameter.T if parameter.ndim == 2 else parameter

    weights = {"transformer.wte.weight": model.embedding.weight, "transformer.wpe.weight": model.embedding.positions}
    weights |= {f"transformer.ln_f.{name}": value for name, value in model.decoder.norm.named_parameters()}
    for number, layer in enumerate(model.decoder.layers):
        attention, network = layer.attention.sublayer, layer.feed_forward.sublayer
        read = [attention.query, attention.key, attention.value]
        for kind in ("weight", "bias"):
            own = {
                "ln_1": getattr(layer.attention.norm, kind),
                "ln_2": getattr(layer.feed_forward.norm, kind),
                "attn.c_attn": torch.cat([turned(getattr(part, kind)) for part in read], -1),
                "attn.c_proj": turned(getattr(attention.output, kind)),
                "mlp.c_fc": turned(getattr(network.wider, kind)),
                "mlp.c_proj": turned(getattr(network.narrower, kind)),
            }
            weights |= {f"transformer.h.{number}.{name}.{kind}": value for name, value in own.items()}
    weights["lm_head.weight"] = model.embedding.weight
    made.load_state_dict(weights)
    return made


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
    kinds = ("greedy", 0, 4), ("temperature 0.7", 0.7, 2)
    for name, degree, ahead in kinds if large else kinds[:1]:
        choosing, own = distribution(degree), own_counts(step, held_out, degree, len(vocabulary))
        drafts: dict[str, Callable[[], decoding.Draft]] = {
            "counts of its own text": partial(NGramDraft, own, choosing),
            "counts of six": partial(NGramDraft, counts, choosing),
            "one narrow layer": partial(ModelDraft, small, choosing),
        }
        chance = {"choose": sampling(degree)} if degree else {}
        alone = partial(generate, step, prompt[None], 300, stateful=True, **chance)
        for what, draft in drafts.items():
            told: list[decoding.Speculated] = []
            guessing = partial(guessed, told, target, draft, prompt, ahead, choosing)
            seconds = ratios.interleaved({"alone": alone, "guessed": guessing}, 15 if large else 7)
            if not degree and not torch.equal(told[0].tokens, alone()[0]):
                raise AssertionError(f"with {what} as a draft the target writes something else")
            kept = sum(result.acceptance for result in told) / len(told)
            label = f"speculation, {name}, draft {what}, {ahead} ahead"
            row = ratios.row(label, seconds["alone"], seconds["guessed"], "× as fast as cached steps")
            rows.append(row | {"told": f"{row['told']}, {kept:.2f} kept"})
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
    with ratios.threads(THREADS):
        return gpt2_rows(large) + cached_rows(large) + sharing_rows(large) + speculation_rows(large)
