"""Caches and shared heads: equal to what is computed without them, in every form the models call them."""

import copy

import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ml_course import decoding
from ml_course.attention import MultiHeadAttention, attention_weights, causal_mask, scaled_dot_product_attention
from ml_course.decoding import GroupedQueryAttention, KVCache
from ml_course.rnn import generate, sampling
from ml_course.seq2seq import beam_search
from ml_course.transformer import LMConfig, Transformer, TransformerConfig, TransformerLM

CONFIG = LMConfig(vocab=13, d_model=16, heads=4, d_ff=24, layers=3, context=64)


def language_model(positions="learned", **options):
    """In float64, with weights large enough that what it says depends on all it has read."""
    model = TransformerLM(LMConfig(**(vars(CONFIG) | {"positions": positions})), **options).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6 if parameter.ndim > 1 else 1)
    model.output.weight = nn.Parameter(torch.randn(CONFIG.vocab, CONFIG.d_model).double())  # tied, it repeats itself
    return model


# The cache.


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.integers(0, 5), st.sampled_from(["rewind", "rows"])), max_size=12), st.integers(1, 9))
def test_cache_holds_what_concatenation_would(actions, capacity):
    generator = torch.Generator().manual_seed(len(actions))
    cache = KVCache(capacity)
    keys, values = torch.zeros(3, 2, 0, 4), torch.zeros(3, 2, 0, 5)
    for action in actions:
        if action == "rewind":
            length = int(torch.randint(len(cache) + 1, (1,), generator=generator))
            cache.rewind(length)
            keys, values = keys[:, :, :length], values[:, :, :length]
        elif action == "rows":
            chosen = torch.randint(3, (3,), generator=generator)
            before = cache
            cache = before.rows(chosen)
            keys, values = keys[chosen], values[chosen]
            before.append(torch.full((3, 2, 1, 4), 9.0), torch.full((3, 2, 1, 5), 9.0))  # the old one is another
        else:
            new_keys = torch.randn(3, 2, action, 4, generator=generator)
            new_values = torch.randn(3, 2, action, 5, generator=generator)
            keys, values = torch.cat([keys, new_keys], 2), torch.cat([values, new_values], 2)
            all_keys, all_values = cache.append(new_keys, new_values)
            assert torch.equal(all_keys, keys) and torch.equal(all_values, values)
        assert len(cache) == keys.shape[2] <= max(cache.capacity, capacity)


def test_cache_grows_by_doubling_and_counts_its_bytes():
    cache, room = KVCache(), []
    for _ in range(100):
        cache.append(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4))
        room.append(cache.capacity)
    assert sorted(set(room)) == [1, 2, 4, 8, 16, 32, 64, 128]  # 7 copies, not 99
    assert cache.nbytes == 100 * 2 * 2 * 4 * 4
    assert KVCache(50).capacity == 50 and KVCache().nbytes == 0
    cache.append(torch.zeros(1, 2, 500, 4), torch.zeros(1, 2, 500, 4))
    assert cache.capacity == len(cache) == 600


def test_cache_keeps_a_copy_and_no_graph():
    keys = torch.zeros(1, 1, 2, 3, requires_grad=True)
    values = torch.zeros(1, 1, 2, 3)
    cache = KVCache()
    stored = cache.append(keys, values)
    values.add_(1)
    assert not stored[0].requires_grad and (cache.contents()[1] == 0).all()


def test_cache_names_what_is_wrong():
    with pytest.raises(ValueError, match="capacity = 0, expected at least 1"):
        KVCache(0)
    cache = KVCache()
    with pytest.raises(ValueError, match="no contents before the first append"):
        cache.contents()
    cache.append(torch.zeros(2, 4, 3, 8), torch.zeros(2, 4, 3, 8))
    with pytest.raises(ValueError, match="length = 4, expected 0 to 3"):
        cache.rewind(4)
    with pytest.raises(ValueError, match="length = -1"):
        cache.rewind(-1)
    for wrong in (
        torch.zeros(3, 4, 1, 8),
        torch.zeros(2, 2, 1, 8),
        torch.zeros(2, 4, 1, 9),
        torch.zeros(2, 4, 1, 8).double(),
    ):
        with pytest.raises(ValueError, match=r"keys have shape .* expected \(2, 4, 'time', 8\), torch.float32 on cpu"):
            cache.append(wrong, wrong)
    with pytest.raises(ValueError, match="values have shape"):
        cache.append(torch.zeros(2, 4, 1, 8), torch.zeros(2, 4, 1, 7))
    assert len(cache) == 3


# Shared heads.


def by_loops(layer, x, memory, mask):
    """Grouped attention head by head, row by row."""
    width = x.shape[-1] // layer.heads
    queries, keys, values = layer.query(x), layer.key(memory), layer.value(memory)
    answers = torch.empty_like(queries)
    for batch in range(len(x)):
        for head in range(layer.heads):
            shared = head * layer.kv_heads // layer.heads
            mine, theirs = slice(head * width, (head + 1) * width), slice(shared * width, (shared + 1) * width)
            weights = attention_weights(
                queries[batch, :, mine], keys[batch, :, theirs], None if mask is None else mask[batch]
            )
            answers[batch, :, mine] = weights @ values[batch, :, theirs]
    return layer.output(answers)


@pytest.mark.parametrize("kv_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("cross", [False, True])
def test_grouped_attention_equals_loops_in_values_and_gradients(kv_heads, cross):
    layer = GroupedQueryAttention(12, 6, kv_heads, d_memory=5 if cross else None).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 4, 12, dtype=torch.float64, requires_grad=True)
    memory = torch.randn(2, 7, 5, dtype=torch.float64) if cross else x
    mask = torch.rand(2, 4, memory.shape[1]) > 0.3
    mask[..., 0] = True
    for given_mask in (None, mask, mask[:, :1]):
        expected = by_loops(layer, x, memory, None if given_mask is None else given_mask.expand_as(mask))
        output = layer(x, memory if cross else None, given_mask)
        assert_close(output, expected)
        for mine, other in zip(
            gradients(output, x, *layer.parameters()), gradients(expected, x, *layer.parameters()), strict=True
        ):
            assert_close(mine, other)
    pair = layer.keys_values(memory)
    assert_close(layer(x, pair, mask), layer(x, memory, mask))
    # Another `attend` sees a key and a value for every head.
    layer.attend = lambda q, k, v, m: scaled_dot_product_attention(q, k, v, m, fused=False)
    assert_close(layer(x, memory if cross else None, mask), by_loops(layer, x, memory, mask))


def test_grouped_attention_equals_torchs_own():
    layer = GroupedQueryAttention(24, 6, 2).double()
    x = torch.randn(2, 5, 24).double()
    queries = layer.query(x).unflatten(-1, (6, 4)).transpose(1, 2)
    keys, values = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in (layer.key(x), layer.value(x)))
    answers = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
    assert_close(layer(x, mask=causal_mask(5)), layer.output(answers.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("bias", [True, False])
def test_with_all_heads_it_is_multi_head_attention(bias):
    full = MultiHeadAttention(12, 3, bias=bias).double()
    same = GroupedQueryAttention(12, 3, bias=bias).double()
    same.load_state_dict(full.state_dict())
    x, mask = torch.randn(2, 5, 12).double(), causal_mask(5)
    assert_close(same(x, mask=mask), full(x, mask=mask))
    assert_close(GroupedQueryAttention.from_multi_head(full)(x, mask=mask), full(x, mask=mask))
    for kv_heads, weights in ((1, 2 * 144 + 2 * 48), (3, 4 * 144)):
        layer = GroupedQueryAttention(12, 3, kv_heads, bias=False)
        assert sum(p.numel() for p in layer.parameters()) == weights


def test_pooling_averages_whole_heads():
    full = MultiHeadAttention(12, 6).double()
    for parameter in full.parameters():
        nn.init.normal_(parameter)
    pooled = GroupedQueryAttention.from_multi_head(full, 2)
    x = torch.randn(2, 5, 12).double()
    for name in ("key", "value"):
        each = getattr(full, name)(x).unflatten(-1, (6, 2))
        expected = torch.stack([each[..., :3, :].mean(-2), each[..., 3:, :].mean(-2)], dim=-2).flatten(-2)
        assert_close(getattr(pooled, name)(x), expected)
    assert torch.equal(pooled.query.weight, full.query.weight) and torch.equal(pooled.output.bias, full.output.bias)
    # Heads that agree lose nothing: pooling their copies gives the same function.
    with torch.no_grad():
        for layer in (full.key, full.value):
            for parameter in layer.parameters():
                heads = parameter.unflatten(0, (2, 3, 2))
                heads.copy_(heads[:, :1].expand_as(heads).clone())
    assert_close(GroupedQueryAttention.from_multi_head(full, 2)(x), full(x))
    again = GroupedQueryAttention.from_multi_head(pooled, 1)
    assert again.kv_heads == 1 and again.heads == 6
    assert_close(again.key.weight, decoding.pool_heads(pooled.key.weight, 2, 1))


@dtypes
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_grouped_attention_and_cache_on_any_device_and_dtype(dtype, device, kv_heads):
    layer = GroupedQueryAttention(16, 4, kv_heads).to(device, dtype)
    x = torch.randn(2, 6, 16, device=device, dtype=dtype)
    whole, cache = layer(x, mask=causal_mask(6, device=device)), KVCache()
    parts = []
    for start, stop in ((0, 3), (3, 4), (4, 6)):
        parts.append(layer(x[:, start:stop], mask=causal_mask(stop - start, stop, device=device), cache=cache))
    assert whole.dtype == dtype
    assert_close(torch.cat(parts, 1), whole)
    assert cache.nbytes == 2 * 2 * kv_heads * 4 * 6 * x.element_size()


def test_a_query_that_sees_nothing_gets_zeros():
    layer = GroupedQueryAttention(8, 4, 2, bias=False)
    mask = torch.tensor([[True, True], [False, False]])
    assert (layer(torch.randn(1, 2, 8), mask=mask)[0, 1] == 0).all()


def test_grouped_attention_names_what_is_wrong():
    with pytest.raises(ValueError, match="d_model = 30 is not divisible by heads = 4"):
        GroupedQueryAttention(30, 4)
    for kv_heads in (3, 0, 8):
        with pytest.raises(ValueError, match=f"heads = 4 is not divisible by kv_heads = {kv_heads}"):
            GroupedQueryAttention(8, 4, kv_heads)
        with pytest.raises(ValueError, match=f"heads = 4 is not divisible by kv_heads = {kv_heads}"):
            decoding.grouped(TransformerLM(CONFIG), kv_heads)
    with pytest.raises(ValueError, match="model is a Linear without MultiHeadAttention"):
        decoding.grouped(nn.Linear(2, 2))


# Whole models.


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
def test_cached_writing_equals_uncached_token_for_token(positions):
    model = language_model(positions)
    prompt = torch.randint(13, (3, 4))
    step = decoding.cached(model)
    slow, fast = generate(model, prompt, 50), generate(step, prompt, 50, stateful=True)
    assert torch.equal(slow, fast) and len(set(slow[0].tolist())) > 3  # and not the same token for ever
    choose = sampling(0.8)
    drawn = [
        generate(run, prompt, 50, choose=choose, generator=torch.Generator().manual_seed(1), stateful=stateful)
        for run, stateful in ((model, False), (step, True))
    ]
    assert torch.equal(*drawn)


def test_cached_logits_equal_uncached_however_the_text_is_cut():
    model, tokens = language_model(), torch.randint(13, (2, 12))
    step, state, parts = decoding.cached(model, capacity=5), None, []
    for piece in tokens.split([1, 4, 2, 5], dim=1):
        logits, state = step(piece, state)
        parts.append(logits)
    assert_close(torch.cat(parts, 1), model(tokens))
    assert all(len(cache) == 12 for cache in state) and len(state) == 3


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_cached_models_with_shared_heads(kv_heads):
    model = language_model(attention=lambda d_model, heads: GroupedQueryAttention(d_model, heads, kv_heads))
    prompt = torch.randint(13, (2, 3))
    step = decoding.cached(model)
    assert torch.equal(generate(model, prompt, 40), generate(step, prompt, 40, stateful=True))
    state = step(prompt)[1]
    assert sum(c.nbytes for c in state) == 2 * 3 * decoding.cache_bytes_per_token(3, kv_heads, 4, bytes_per_number=8)


def test_caches_follow_the_beams():
    model, prompt = language_model(), torch.randint(4, 13, (3, 2))
    for beam in (1, 4):
        slow = beam_search(model, prompt, 20, eos=3, beam=beam)
        fast = beam_search(decoding.cached(model), prompt, 20, eos=3, beam=beam, stateful=True)
        assert torch.equal(slow.tokens, fast.tokens)
        assert_close(slow.log_probability, fast.log_probability)


def test_custom_attention_can_be_cached():
    """A position scheme as the chapter before has them: the queries are the last of the keys."""

    def with_distances(queries, keys, values, mask=None):
        place = torch.arange(keys.shape[-2])
        away = place[-queries.shape[-2] :, None] - place
        slopes = torch.linspace(0.1, 0.5, queries.shape[-3])[:, None, None]
        scores = queries @ keys.mT / queries.shape[-1] ** 0.5 - slopes * away
        if mask is not None:  # a single newest token comes without one
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(-1) @ values

    model = language_model("none", attention=lambda d, h: MultiHeadAttention(d, h, attend=with_distances))
    prompt = torch.randint(13, (2, 3))
    assert torch.equal(generate(model, prompt, 30), generate(decoding.cached(model), prompt, 30, stateful=True))
    pooled = decoding.grouped(model, 2)
    assert_close(decoding.cached(pooled)(prompt)[0], pooled(prompt))


@pytest.mark.parametrize("pre_norm", [False, True])
def test_cached_translation_equals_uncached(pre_norm):
    config = TransformerConfig(
        20, 17, d_model=16, heads=4, d_ff=24, encoder_layers=2, decoder_layers=2, pre_norm=pre_norm
    )
    model = Transformer(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2 if parameter.ndim > 1 else 1)
    source = torch.randint(4, 20, (3, 6))
    mask = torch.arange(6) < torch.tensor([[6], [3], [5]])
    prompt = torch.full((3, 1), 2)
    step = decoding.cached_translation(model, source, mask)
    slow = generate(model.continuing(source, mask), prompt, 20)
    assert torch.equal(slow, generate(step, prompt, 20, stateful=True))
    for beam in (1, 4):
        slow = beam_search(model.continuing(source, mask), prompt, 15, eos=3, beam=beam)
        fast = beam_search(step, prompt, 15, eos=3, beam=beam, stateful=True)
        assert torch.equal(slow.tokens, fast.tokens)
        assert_close(slow.log_probability, fast.log_probability)
    with pytest.raises(ValueError, match="tokens has 4 rows, expected a multiple of the 3 sources"):
        step(torch.zeros(4, 1, dtype=torch.long))


def test_grouped_copies_leave_the_model_alone():
    model = TransformerLM(CONFIG).eval()
    before = copy.deepcopy(model.state_dict())
    made = decoding.grouped(model, 1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert made.output.weight is made.embedding.weight and not made.training
    assert all(isinstance(layer.attention.sublayer, MultiHeadAttention) for layer in model.decoder.layers)


# Costs.


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("batch, new, remembered", [(1, 1, 0), (1, 1, 9), (3, 5, 0), (2, 3, 7)])
def test_flops_are_those_torch_counts(kv_heads, batch, new, remembered):
    model = language_model(attention=lambda d_model, heads: GroupedQueryAttention(d_model, heads, kv_heads))
    caches = tuple(KVCache() for _ in range(3))
    if remembered:
        model(torch.zeros(batch, remembered, dtype=torch.long), caches)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(torch.zeros(batch, new, dtype=torch.long), caches)
    cost = decoding.pass_cost(CONFIG, new, remembered, batch=batch, kv_heads=kv_heads, bytes_per_number=8)
    assert cost.flops == counter.get_total_flops()
    assert cost.cache_bytes == sum(cache.nbytes for cache in caches)
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embedding" not in name]
    assert cost.weight_bytes == sum(8 * p.numel() for p in matrices)
    assert cost.intensity == cost.flops / (cost.weight_bytes + cost.cache_bytes)


def test_memory_a_token_takes_at_published_sizes():
    per_token = {
        name: decoding.cache_bytes_per_token(sizes.layers, sizes.kv_heads, sizes.d_head)
        for name, sizes in decoding.PUBLISHED.items()
    }
    assert per_token["GPT-3 175B"] == 4.5 * 2**20  # MiB: two bytes for each of 2 · 96 · 12,288 numbers
    assert per_token["Llama 2 70B"] == 320 * 2**10 and per_token["Mistral 7B"] == 128 * 2**10
    for wrong in ({"layers": 0}, {"kv_heads": 0}, {"d_head": -1}, {"bytes_per_number": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} = .*, expected at least 1"):
            decoding.cache_bytes_per_token(**({"layers": 1, "kv_heads": 1, "d_head": 1} | wrong))
    for wrong in ({"new": 0}, {"new": 1, "remembered": -1}, {"new": 1, "batch": 0}):
        with pytest.raises(ValueError, match="expected at least 1, 1 and 0"):
            decoding.pass_cost(CONFIG, **wrong)
    with pytest.raises(ValueError, match="heads = 4 is not divisible by kv_heads = 3"):
        decoding.pass_cost(CONFIG, 1, kv_heads=3)


def test_a_model_that_has_written_with_caches_can_still_learn():
    """Steps run in inference mode; what a model keeps of them, as a longer table of positions, must take part later."""
    reader = decoding.grouped(Transformer())
    source = torch.tensor([[4, 5, 6]])
    step, tokens = decoding.cached_translation(reader, source, source > 0), torch.tensor([[2]])
    generate(step, tokens, 40, stateful=True)
    loss = reader(source, source > 0, source.new_full((1, 30), 3)).square().mean()
    loss.backward()
    assert all(weight.grad is not None for weight in reader.parameters())
