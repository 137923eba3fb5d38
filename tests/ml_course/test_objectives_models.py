"""The models: against `transformers` and brute force over all orders, published counts; fine-tuning and preferences."""

import math
from dataclasses import replace
from itertools import permutations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ml_course import objectives
from ml_course.attention import MultiHeadAttention
from ml_course.bert import IGNORED
from ml_course.objectives import T5, Layout, OneStack, RMSNorm, Rows, T5Config, XLNet, XLNetConfig
from ml_course.transformer import LMConfig, TransformerLM

SMALL_T5 = T5Config(vocab=40, d_model=24, heads=3, d_ff=40, layers=3, buckets=8, max_distance=16)
SMALL_XLNET = XLNetConfig(vocab=40, d_model=24, heads=3, d_ff=40, layers=3)
LAYOUT = Layout(ordinary=30, sentinels=8)
TINY = replace(LMConfig.TINY, vocab=LAYOUT.vocab, layers=2)


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed (extra `test`)")


def stir(model):
    """Makes every parameter random, so that a swapped or forgotten one is seen."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model.eval()


# Counts


def test_published_sizes_have_their_published_numbers_of_parameters():
    with torch.device("meta"):
        assert objectives.count(TransformerLM(objectives.GPT2_SMALL)) == 124_439_808
        assert objectives.count(TransformerLM(objectives.GPT2_XL)) == 1_557_611_200
        assert objectives.count(TransformerLM(objectives.GPT3)) == 174_604_259_328
        assert objectives.count(T5(T5Config.SMALL)) == 60_506_624
        assert objectives.count(XLNet(XLNetConfig.BASE)) == 116_718_336
    assert objectives.parameter_count(objectives.GPT3) == 174_604_259_328
    assert objectives.parameter_count(objectives.GPT2_XL) == 1_557_611_200


def test_counts_by_transformers_are_the_same(transformers):
    with torch.device("meta"):
        gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config())
        first = transformers.OpenAIGPTLMHeadModel(transformers.OpenAIGPTConfig())
        sizes = dict(vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8)
        t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes))
        xlnet = transformers.XLNetModel(
            transformers.XLNetConfig(vocab_size=32000, d_model=768, n_layer=12, n_head=12, d_inner=3072)
        )
    assert objectives.count(gpt2) == 124_439_808 == objectives.parameter_count(objectives.GPT2_SMALL)
    last_norm = 2 * 768  # of pre-norm layers, which the first GPT did not have
    assert objectives.count(first) == 116_534_784 == objectives.parameter_count(objectives.GPT) - last_norm
    assert objectives.count(t5) == 60_506_624 and objectives.count(xlnet) == 116_718_336


@pytest.mark.parametrize("config", [LMConfig.TINY, LMConfig.PAGE, replace(LMConfig.TINY, d_ff=20, layers=3)])
def test_the_formula_counts_what_the_model_has(config):
    model = TransformerLM(config)
    assert objectives.parameter_count(config) == objectives.count(model)
    tables = (config.vocab + config.context) * config.d_model
    assert objectives.without_embeddings(model) == objectives.count(model) - tables


# T5


def copied_t5(theirs, config):
    """Our model with the library's weights."""
    ours, stored = T5(config), theirs.state_dict()
    named = {"embedding.weight": stored["shared.weight"]}
    ff = {"wider": "DenseReluDense.wi", "narrower": "DenseReluDense.wo"}
    attention = {"query": "q", "key": "k", "value": "v", "output": "o"}
    for side, parts in (
        ("encoder", [("attention", "SelfAttention"), ("feed_forward", None)]),
        ("decoder", [("attention", "SelfAttention"), ("cross_attention", "EncDecAttention"), ("feed_forward", None)]),
    ):
        named[f"{side}.norm.weight"] = stored[f"{side}.final_layer_norm.weight"]
        bias = stored[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].T
        for i in range(config.layers):
            named[f"{side}.layers.{i}.attention.sublayer.attend.attend.bias.weight"] = bias
            for number, (part, kind) in enumerate(parts):
                mine, other = f"{side}.layers.{i}.{part}", f"{side}.block.{i}.layer.{number}"
                named[f"{mine}.norm.weight"] = stored[f"{other}.layer_norm.weight"]
                pairs = ff if kind is None else {name: f"{kind}.{short}" for name, short in attention.items()}
                for name, place in pairs.items():
                    named[f"{mine}.sublayer.{name}.weight"] = stored[f"{other}.{place}.weight"]
    ours.load_state_dict(named)
    return ours.eval()


def test_t5_equals_that_of_transformers(transformers):
    c = SMALL_T5
    sizes = dict(vocab_size=c.vocab, d_model=c.d_model, d_kv=c.d_model // c.heads, d_ff=c.d_ff, num_layers=c.layers)
    config = transformers.T5Config(
        **sizes, num_heads=c.heads, relative_attention_num_buckets=c.buckets, dropout_rate=0.0,
        relative_attention_max_distance=c.max_distance,
    )  # fmt: skip
    theirs = stir(transformers.T5ForConditionalGeneration(config))
    ours = copied_t5(theirs, c)
    source, target = torch.randint(1, 40, (3, 30)), torch.randint(1, 40, (3, 12))
    mask = torch.arange(30) < torch.tensor([30, 11, 1])[:, None]
    with torch.no_grad():
        output = theirs(input_ids=source, attention_mask=mask.long(), decoder_input_ids=target)
        found, memory = ours(source, mask, target), ours.encode(source, mask)
    torch.testing.assert_close(memory[mask], output.encoder_last_hidden_state[mask], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, output.logits, rtol=1e-4, atol=1e-4)


def test_t5_shares_one_table_of_offsets_and_sees_no_future(device):
    model = T5(replace(SMALL_T5, dropout=0.2)).to(device).eval()
    biases = {id(layer.attention.sublayer.attend.attend.bias) for layer in model.encoder.layers}
    assert len(biases) == 1
    source = torch.randint(1, 40, (2, 7), device=device)
    target = torch.randint(1, 40, (2, 6), device=device)
    changed = target.clone()
    changed[:, 4:] = 1
    mask = torch.ones_like(source, dtype=torch.bool)
    with torch.no_grad():
        first, second = model(source, mask, target), model(source, mask, changed)
    torch.testing.assert_close(first[:, :4], second[:, :4])
    assert not torch.allclose(first[:, 4:], second[:, 4:])


def test_rms_norm_is_torchs():
    ours, theirs, x = stir(RMSNorm(6)), nn.RMSNorm(6, eps=1e-6), torch.randn(2, 3, 6)
    theirs.weight = ours.weight
    torch.testing.assert_close(ours(x), theirs(x))


# XLNet


def copied_xlnet(theirs, config):
    """Our model with the library's weights."""
    ours, stored, d = XLNet(config), theirs.state_dict(), config.d_model
    named = {"embedding.weight": stored["word_embedding.weight"], "asking": stored["mask_emb"].flatten()}
    for i in range(config.layers):
        mine, other = f"layers.{i}", f"layer.{i}"
        for name, short in {"query": "q", "key": "k", "value": "v", "distance": "r", "output": "o"}.items():
            weight = stored[f"{other}.rel_attn.{short}"].reshape(d, d)
            named[f"{mine}.attention.sublayer.{name}.weight"] = weight if name == "output" else weight.T
        for name, place in {"of_content": "r_w_bias", "of_distance": "r_r_bias", "of_segment": "r_s_bias"}.items():
            named[f"{mine}.attention.sublayer.{name}"] = stored[f"{other}.rel_attn.{place}"][:, None]
        named[f"{mine}.attention.sublayer.segment"] = stored[f"{other}.rel_attn.seg_embed"].transpose(0, 1)
        for kind in ("weight", "bias"):
            named[f"{mine}.attention.norm.{kind}"] = stored[f"{other}.rel_attn.layer_norm.{kind}"]
            named[f"{mine}.feed_forward.norm.{kind}"] = stored[f"{other}.ff.layer_norm.{kind}"]
            named[f"{mine}.feed_forward.sublayer.wider.{kind}"] = stored[f"{other}.ff.layer_1.{kind}"]
            named[f"{mine}.feed_forward.sublayer.narrower.{kind}"] = stored[f"{other}.ff.layer_2.{kind}"]
    ours.load_state_dict(named)
    return ours.eval()


def test_xlnet_equals_that_of_transformers(transformers):
    c = SMALL_XLNET
    sizes = dict(vocab_size=c.vocab, d_model=c.d_model, n_layer=c.layers, n_head=c.heads, d_inner=c.d_ff)
    theirs = stir(transformers.XLNetModel(transformers.XLNetConfig(**sizes, dropout=0.0)))
    ours = copied_xlnet(theirs, c)
    tokens, segments = torch.randint(40, (3, 9)), (torch.arange(9) > 5).long().expand(3, 9)
    ranks = objectives.random_ranks(3, 9, predicted=0.5)
    masks = objectives.permutation_masks(ranks)
    asked = ranks > 0
    # The library wants one mask, and lets every content see itself; who is asked for is not to see itself in it.
    sees = masks.content & ~(torch.eye(9, dtype=torch.bool) & asked[:, None])
    with torch.no_grad():
        output = theirs(
            tokens, token_type_ids=segments, perm_mask=(~sees).float(),
            target_mapping=torch.eye(9).expand(3, 9, 9),
        ).last_hidden_state  # fmt: skip
        found = ours(tokens, ranks, segments)
        logits = output @ theirs.word_embedding.weight.T
        torch.testing.assert_close(found[asked], logits[asked], rtol=1e-4, atol=1e-4)
        read = ours.read(tokens, torch.ones_like(asked), segments)
        torch.testing.assert_close(
            read, theirs(tokens, token_type_ids=segments).last_hidden_state, rtol=1e-4, atol=1e-4
        )


def alone(layer, x, places, mask, heads):
    """One post-norm layer with relative attention over rows that stand at these places, as the formula says."""
    attention, d_head = layer.attention.sublayer, x.shape[1] // heads
    far = objectives.sinusoids((places[:, None] - places[None]).flatten(), x.shape[1]) @ attention.distance.weight.T
    far = far.reshape(len(x), len(x), -1)
    q, k, v = (x @ linear.weight.T for linear in (attention.query, attention.key, attention.value))
    outputs = []
    for head in range(heads):
        part = slice(head * d_head, (head + 1) * d_head)
        scores = torch.full((len(x), len(x)), -math.inf)
        for i in range(len(x)):
            for j in range(len(x)):
                if mask[i, j]:
                    by_content = (q[i, part] + attention.of_content[head, 0]) @ k[j, part]
                    by_distance = (q[i, part] + attention.of_distance[head, 0]) @ far[i, j, part]
                    scores[i, j] = (by_content + by_distance) / d_head**0.5
        outputs.append(scores.softmax(1).nan_to_num() @ v[:, part])
    x = layer.attention.norm(x + torch.cat(outputs, 1) @ attention.output.weight.T)
    return layer.feed_forward(x)


@torch.no_grad()
def test_two_streams_of_xlnet_equal_every_order_read_one_after_another():
    """24 orders of four tokens; each token is guessed by a plain causal model that reads the earlier ones in order."""
    model, tokens = stir(XLNet(replace(SMALL_XLNET, d_model=12, heads=2, layers=2))), torch.tensor([7, 3, 7, 9])
    for order in permutations(range(4)):
        ranks = torch.empty(1, 4, dtype=torch.long)
        ranks[0, list(order)] = torch.arange(4)
        logits = model(tokens[None], ranks)[0]
        for step, place in enumerate(order):
            places = torch.tensor([*order[:step], place])
            x = torch.cat([model.embedding(tokens[places[:-1]]), model.asking[None]])
            mask = torch.ones(step + 1, step + 1, dtype=torch.bool).tril()
            mask[-1, -1] = False  # who asks does not look at itself
            for layer in model.layers:
                x = alone(layer, x, places, mask, heads=2)
            torch.testing.assert_close(x[-1] @ model.embedding.weight.T, logits[place], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_two_streams_of_the_one_stack_equal_every_order_too():
    # Attention that knows no distances, so that tokens can be put in another order with their positions.
    model, tokens = stir(OneStack(TINY, MultiHeadAttention)), torch.tensor([7, 3, 7, 9])
    lm, total, ours = model.lm, 0.0, 0.0
    for order in permutations(range(4)):
        ranks = torch.empty(1, 4, dtype=torch.long)
        ranks[0, list(order)] = torch.arange(4)
        found = model.logits(model.two_streams(tokens[None], ranks))[0].log_softmax(-1)
        ours += found[torch.arange(4), tokens].sum().item() / 24
        for step, place in enumerate(order):
            places = torch.tensor([*order[:step], place])
            x = (
                torch.cat([lm.embedding.weight[tokens[places[:-1]]], model.asking[None]])
                + lm.embedding.positions[places]
            )
            mask = torch.ones(step + 1, step + 1, dtype=torch.bool).tril()
            mask[-1, -1] = False
            said = lm.output(lm.decoder(x[None], mask))[0, -1].log_softmax(-1)
            torch.testing.assert_close(said, found[place], rtol=1e-4, atol=1e-4)
            total += said[tokens[place]].item() / 24
    assert math.isclose(total, ours, rel_tol=1e-5)  # the objective itself: the mean over all orders


@pytest.mark.parametrize("make", [lambda: XLNet(SMALL_XLNET), lambda: OneStack(TINY)])
def test_a_query_does_not_see_its_own_token_and_nothing_later(make, device):
    model = stir(make()).to(device)
    tokens = torch.randint(30, (1, 6), device=device)
    ranks = torch.tensor([[3, 0, 5, 1, 4, 2]], device=device)

    def ask(tokens):
        return model(tokens, ranks) if isinstance(model, XLNet) else model.two_streams(tokens, ranks)

    with torch.no_grad():
        before = ask(tokens)
        for place in range(6):
            changed = tokens.clone()
            changed[0, place] = (changed[0, place] + 1) % 30
            same = (ask(changed) - before).abs().amax(-1)[0] < 1e-6
            assert torch.equal(same, ranks[0] <= ranks[0, place])


def test_relative_attention_names_a_wrong_number_of_heads():
    with pytest.raises(ValueError, match="d_model = 8 is not divisible by heads = 3"):
        objectives.RelativeAttention(8, 3)


# One stack


@torch.no_grad()
def test_with_a_causal_mask_the_stack_is_the_language_model():
    model, tokens = stir(OneStack(TINY)), torch.randint(30, (2, 9))
    task = objectives.causal_task(tokens, LAYOUT, torch.Generator())
    torch.testing.assert_close(model.answers(task), model.lm(tokens[:, :-1]).flatten(0, 1))
    loss = F.cross_entropy(model.lm(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(objectives.objective_loss(model, task), loss)
    ranks = torch.arange(9).expand(2, 9)  # in the order of the text two streams are a causal model as well
    assert model.two_streams(tokens, ranks).shape == (2, 9, 8)
    with pytest.raises(ValueError, match="positions = 'none', expected 'learned'"):
        OneStack(replace(TINY, positions="none"))


@pytest.mark.parametrize("objective, length", [("gpt", 32), ("bert", 32), ("t5", 64), ("xlnet", 32)])
def test_every_objective_learns_a_text_by_heart(objective, length):
    text = torch.arange(8).repeat(40)
    corpus = objectives.Corpus(None, LAYOUT, text, text)
    config = replace(LMConfig.TINY, d_model=32, heads=4, d_ff=64, layers=2, context=96)
    model, history = objectives.pretrain(objective, corpus, config, steps=80, batch=16, length=length, rate=1e-2)
    assert history.loss[-1] < 0.4 * history.loss[0]
    if (
        objective == "t5"
    ):  # whose gaps take longer; of its 14 targets 4 are sentinels, and 10 would be ln 8 if unlearned
        assert history.loss[-1] < 0.9 < math.log(8) * 10 / 14
        return
    nats = objectives.cloze_nats(model, objective, text, LAYOUT, length=length)
    assert len(nats) == 320 // length and nats.mean() < 0.5 < math.log(8)


def test_a_model_is_asked_in_batches_as_at_once_and_the_middle_is_the_default():
    model, text = stir(OneStack(TINY)), torch.randint(30, (100,))
    for objective in objectives.OBJECTIVES:
        found = [objectives.cloze_nats(model, objective, text, LAYOUT, length=9, batch=size) for size in (3, 50)]
        assert len(found[0]) == 11 and abs(found[0] - found[1]).max() < 1e-4
        middle = objectives.cloze_nats(model, objective, text, LAYOUT, length=9, place=4)
        assert abs(middle - found[0]).max() < 1e-4


def test_a_batch_depends_on_its_number_alone():
    rows = Rows(torch.arange(500), batch=8, length=16, seed=3)
    assert torch.equal(rows.at(7), rows.at(7)) and not torch.equal(rows.at(7), rows.at(8))
    assert (rows.at(7).diff(dim=1) == 1).all()
    layout = Layout(ordinary=500)
    first, again = (rows.task("bert", layout, 7) for _ in range(2))
    assert torch.equal(first.tokens, again.tokens) and torch.equal(first.labels, again.labels)
    other = Rows(torch.arange(500), batch=8, length=16, seed=4)
    assert not torch.equal(rows.at(7), other.at(7))
    starts = torch.cat([Rows(torch.arange(20), 64, 16).at(step)[:, 0] for step in range(9)])
    assert set(starts.tolist()) == set(range(5))  # the last place too
    with pytest.raises(ValueError, match="tokens has 3, expected at least length = 16"):
        Rows(torch.arange(3), batch=8, length=16)
    with pytest.raises(ValueError, match="objective = 'elmo', expected one of gpt"):
        rows.task("elmo", layout, 0)
    with pytest.raises(ValueError, match="steps = 9: expected at least 10"):
        objectives.pretrain("gpt", objectives.Corpus(None, LAYOUT, torch.arange(30), torch.arange(30)), steps=9)


def test_objectives_work_on_every_device(device):
    model, tokens = OneStack(replace(TINY, context=20)).to(device), torch.randint(30, (2, 14))
    for name, make in objectives.OBJECTIVES.items():
        task = make(tokens, LAYOUT, torch.Generator().manual_seed(0)).to(device)
        loss = objectives.objective_loss(model, task)
        loss.backward()
        assert math.isfinite(loss.item()) and loss.device.type == device.type
        assert model.asking.grad is None or name == "xlnet"
    task = objectives.span_task(torch.randint(30, (2, 19)), LAYOUT, torch.Generator()).to(device)
    with pytest.raises(ValueError, match="places go to 24, expected below context = 20"):
        model.answers(task)


# Supervised fine-tuning


def test_only_the_answers_are_learned():
    batch = objectives.conversation([[5, 6, 7], [8]], [[9], [10, 11]], end=1)
    assert batch.tokens.tolist() == [[5, 6, 7, 9, 1], [8, 10, 11, 1, 0]]
    assert batch.answer.int().tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 1, 0]]
    logits = torch.randn(2, 4, 12, dtype=torch.float64, requires_grad=True)
    loss = objectives.sft_loss(lambda tokens: logits, batch)
    said = [(0, 2, 9), (0, 3, 1), (1, 0, 10), (1, 1, 11), (1, 2, 1)]
    nats = [-logits[row, time].log_softmax(-1)[token] for row, time, token in said]
    torch.testing.assert_close(loss, torch.stack(nats).mean())
    (slope,) = torch.autograd.grad(loss, logits)
    learned = slope.abs().amax(-1) > 0
    assert learned.int().tolist() == [[0, 0, 1, 1], [1, 1, 1, 0]]
    found = objectives.answer_log_probability(lambda tokens: logits, batch)
    torch.testing.assert_close(found.double(), -torch.stack([sum(nats[:2]), sum(nats[2:])]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="prompts has 2, answers 1: expected one answer a prompt, and none empty"):
        objectives.conversation([[5], [6]], [[7]], end=1)
    with pytest.raises(ValueError, match="none empty"):
        objectives.conversation([[]], [[7]], end=1)


# Preferences


def drawn(rows=5):
    return [torch.randn(rows, dtype=torch.float64, requires_grad=True) for _ in range(4)]


@pytest.mark.parametrize("beta", [0.1, 1.0, 3])
def test_dpo_by_hand(beta):
    chosen, rejected, reference_chosen, reference_rejected = given = drawn()
    loss = objectives.dpo_loss(*given, beta=beta)
    ratio = (chosen.exp() / reference_chosen.exp()) / (rejected.exp() / reference_rejected.exp())
    torch.testing.assert_close(loss, -(ratio**beta / (1 + ratio**beta)).log().mean())
    assert torch.autograd.gradcheck(lambda *some: objectives.dpo_loss(*some, beta=beta), given)
    weight = objectives.dpo_step_weight(*given, beta=beta)
    slopes = torch.autograd.grad(loss, (chosen, rejected))
    torch.testing.assert_close(slopes[0], -weight / 5)
    torch.testing.assert_close(slopes[1], weight / 5)


def test_dpo_in_the_limits():
    chosen, rejected, reference_chosen, reference_rejected = given = [x.detach() for x in drawn()]
    same = objectives.dpo_loss(chosen, rejected, chosen, rejected, beta=7)
    torch.testing.assert_close(same, torch.tensor(math.log(2), dtype=torch.float64))
    torch.testing.assert_close(objectives.dpo_loss(*given, beta=1e-9), same)
    assert objectives.dpo_loss(chosen + 1e4, rejected, reference_chosen, reference_rejected, beta=1.0) == 0
    far = objectives.dpo_loss(chosen - 1e4, rejected, reference_chosen, reference_rejected, beta=1.0)
    margin = (chosen - 1e4 - reference_chosen) - (rejected - reference_rejected)
    torch.testing.assert_close(far, -margin.mean())
    # What both models say more often by the same factor counts for nothing.
    moved = objectives.dpo_loss(chosen + 3, rejected - 2, reference_chosen + 3, reference_rejected - 2, beta=0.5)
    torch.testing.assert_close(moved, objectives.dpo_loss(*given, beta=0.5))
    for beta in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match=f"beta = {beta}, expected above 0"):
            objectives.dpo_loss(*given, beta=beta)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_dpo_finds_the_best_policy_under_a_penalty(beta):
    """Preferences drawn by known rewards r; the optimum is π ∝ π_ref exp(r / β), rafailov2023direct eq. 4."""
    reward = torch.tensor([0.0, math.log(3), math.log(6)], dtype=torch.float64)
    wins = {(1, 0): 3, (0, 1): 1, (2, 0): 6, (0, 2): 1, (2, 1): 2, (1, 2): 1}  # odds e^(r_a − r_b)
    pairs = torch.tensor([pair for pair, times in wins.items() for _ in range(times)])
    reference = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log()
    logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14)

    def step():
        optimiser.zero_grad()
        log_policy = logits.log_softmax(0)
        loss = objectives.dpo_loss(log_policy[pairs[:, 0]], log_policy[pairs[:, 1]], *reference[pairs.T], beta=beta)
        loss.backward()
        return loss

    optimiser.step(step)
    expected = (reference + reward / beta).softmax(0)
    torch.testing.assert_close(logits.softmax(0).detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_reward_model_learns_who_wins():
    chosen, rejected = drawn()[:2]
    loss = objectives.bradley_terry_loss(chosen, rejected)
    torch.testing.assert_close(loss, -torch.sigmoid(chosen - rejected).log().mean())
    assert torch.autograd.gradcheck(objectives.bradley_terry_loss, (chosen, rejected))


def test_labels_outside_the_questions_are_ignored():
    task = objectives.cloze_task("bert", torch.randint(30, (3, 9)), 4, LAYOUT)
    model = OneStack(TINY)
    assert objectives.surprise(model, task).shape == (3,) and int((task.labels == IGNORED).sum()) == 24
