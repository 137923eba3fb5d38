"""What BERT is taught with and what is put on top: statistics, brute force, invariants; and that it learns."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from closeness import assert_close, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course import bert
from ml_course.bert import Bert, BertConfig, PretrainingBatches, SpanLogits, WordPiece
from ml_course.data import LabelledTexts
from ml_course.scripts import minilm

# Corruption


def test_shares_of_the_corruption_are_as_said(device):
    generator = torch.Generator(device).manual_seed(1)  # another stream than that of `maskable` below
    tokens = torch.randint(5, 1000, (2000, 60), device=device)
    maskable = torch.rand(tokens.shape, device=device) < 0.9
    tokens[~maskable] = 2
    corrupted, chosen, labels = bert.corrupt(tokens, maskable, mask=4, vocab=1000, first=5, generator=generator)
    assert not (chosen & ~maskable).any() and torch.equal(corrupted[~chosen], tokens[~chosen])
    assert torch.equal(labels[chosen], tokens[chosen]) and (labels[~chosen] == -100).all()
    wanted = (0.15 * maskable.sum(1) + 0.5).floor().clamp(min=1)
    assert torch.equal(chosen.sum(1), wanted.long())
    n = int(chosen.sum())
    hidden, kept = corrupted[chosen] == 4, corrupted[chosen] == tokens[chosen]
    for share, expected in ((hidden, 0.8), (kept, 0.1 + 0.1 / 995), (~hidden & ~kept, 0.1 - 0.1 / 995)):
        assert abs(share.float().mean() - expected) < 5 * math.sqrt(expected * (1 - expected) / n)
    replaced = corrupted[chosen][~hidden & ~kept]
    assert replaced.min() >= 5 and replaced.max() < 1000
    often = torch.bincount(replaced - 5, minlength=995).double()
    chi_square = ((often - often.mean()) ** 2 / often.mean()).sum()
    assert abs(chi_square - 994) < 5 * math.sqrt(2 * 994)
    places = chosen.double().sum(0) / maskable.double().sum(0)
    assert (places - places.mean()).abs().max() < 5 * math.sqrt(0.15 * 0.85 / 1700)


def test_a_generator_decides_and_dynamic_masking_differs_each_time():
    tokens = torch.randint(5, 100, (4, 30))
    options = dict(maskable=tokens > 0, mask=4, vocab=100)
    one, same = (bert.corrupt(tokens, **options, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    generator = torch.Generator().manual_seed(3)
    first, second = (bert.corrupt(tokens, **options, generator=generator) for _ in range(2))
    assert torch.equal(first.tokens, one.tokens) and not torch.equal(first.chosen, second.chosen)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 40), st.floats(0, 1), st.integers(0, 2**31))
def test_as_many_are_chosen_as_asked(time, maskable, share, seed):
    maskable = min(maskable, time)
    torch.manual_seed(seed)
    tokens = torch.randint(5, 50, (1, time))
    allowed = torch.arange(time)[None] < maskable
    found = bert.corrupt(tokens, allowed, mask=4, vocab=50, share=share, hidden=1.0, random=0.0)
    count = int(found.chosen.sum())
    if maskable == 0:
        assert count == 0
    else:
        assert 1 <= count <= maskable and abs(count - max(1.0, share * maskable)) < 0.5 + 1e-4
    assert torch.equal(found.tokens == 4, found.chosen)


def test_impossible_shares_are_refused():
    tokens = torch.ones(1, 4, dtype=torch.long)
    for wrong in (dict(share=1.5), dict(hidden=0.8, random=0.3), dict(hidden=-0.1)):
        with pytest.raises(ValueError, match=r"share = .*, hidden = .*, random = "):
            bert.corrupt(tokens, tokens > 0, mask=4, vocab=9, **wrong)


# Pairs and stretches

DOCUMENTS = st.lists(
    st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=2, max_size=5
).map(  # sentences of given lengths, each token told by document, sentence and place
    lambda lengths: [
        [[10_000 * (d + 1) + 100 * s + t for t in range(length)] for s, length in enumerate(document)]
        for d, document in enumerate(lengths)
    ]
)


@given(DOCUMENTS, st.integers(2, 20), st.integers(0, 2**32), st.sampled_from([0.0, 0.5, 1.0]))
def test_pairs_are_true_or_of_two_documents(documents, length, seed, share):
    pairs = bert.sentence_pairs(documents, length, np.random.default_rng(seed), share=share)
    flat = [[token for sentence in document for token in sentence] for document in documents]
    firsts = [token for pair in pairs for token in pair.first]
    for first, second, follows in pairs:
        assert first and second and len(first) + len(second) <= length
        assert second[0] % 100 == 0  # it begins with a sentence
        home, away = (part[0] // 10_000 - 1 for part in (first, second))
        for part, number in ((first, home), (second, away)):
            place = flat[number].index(part[0])
            assert flat[number][place : place + len(part)] == part
        behind = flat[home].index(first[-1]) + 1
        assert behind == len(flat[home]) or flat[home][behind] % 100 == 0  # the first ends with a sentence
        assert follows == (home == away)
        if follows:
            assert flat[home][behind] == second[0]
    assert len(set(firsts)) == len(firsts)  # no token is the first text's twice
    if share == 0:
        assert not any(pair.follows for pair in pairs)


def test_half_of_the_pairs_follow():
    documents = [[[d, s] for s in range(40)] for d in range(1, 60)]
    rng = np.random.default_rng(0)
    pairs = [pair for _ in range(10) for pair in bert.sentence_pairs(documents, 8, rng)]
    share = np.mean([pair.follows for pair in pairs])
    assert abs(share - 0.5) < 0.03  # a document's last sentence alone has no true second
    with pytest.raises(ValueError, match="documents has 1, length = 8: expected at least 2"):
        bert.sentence_pairs(documents[:1], 8, rng)
    with pytest.raises(ValueError, match="documents has an empty sentence"):
        bert.sentence_pairs([[[1]], [[]]], 8, rng)


@given(DOCUMENTS, st.integers(1, 20))
def test_stretches_hold_everything_in_order(documents, length):
    stretches = bert.full_sentences(documents, length)
    assert all(0 < len(stretch) <= length for stretch in stretches)
    if length >= 9:  # no sentence was cut
        everything = [token for document in documents for sentence in document for token in sentence]
        assert [token for stretch in stretches for token in stretch] == everything
    for one, following in itertools.pairwise(stretches):  # a stretch ends only where it must
        sentence = next(s for d in documents for s in d if s[0] == following[0])
        assert one[0] // 10_000 != following[0] // 10_000 or len(one) + len(sentence) > length


# Heads


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**31))
def test_best_spans_are_those_of_brute_force(time, longest, seed):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, 3, time, generator=generator)
    outside = torch.rand(3, time, generator=generator) < 0.3
    outside[:, 0] = False
    logits = SpanLogits(start.masked_fill(outside, -torch.inf), end.masked_fill(outside, -torch.inf))
    first, last = bert.best_spans(logits, longest)
    for row in range(3):
        score, best = max(
            (float(logits.start[row, i] + logits.end[row, j]), (i, j))
            for i in range(time)
            for j in range(i, min(i + longest, time))
        )
        assert (int(first[row]), int(last[row])) == best and math.isfinite(score)


def test_span_loss_is_the_mean_of_both_surprises_and_the_question_is_no_answer():
    model = bert.SpanFinder(Bert(BertConfig.TINY)).eval()
    tokens = torch.tensor([[2, 7, 3, 8, 9, 6, 3], [2, 7, 8, 3, 9, 3, 0]])
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0]])
    logits = model(tokens, segments, tokens > 0)
    inside = torch.tensor([[0, 0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0, 0]]).bool()
    assert torch.equal(logits.start.isfinite(), inside) and torch.equal(logits.end.isfinite(), inside)
    loss = bert.span_loss(logits, torch.tensor([3, 4]), torch.tensor([5, 4]))
    by_hand = -(logits.start.softmax(1)[[0, 1], [3, 4]].log() + logits.end.softmax(1)[[0, 1], [5, 4]].log()).mean() / 2
    assert_close(loss, by_hand)
    loss.backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    with pytest.raises(ValueError, match="longest = 0, expected at least 1"):
        bert.best_spans(logits, 0)


def test_classifiers_read_cls_or_the_mean_of_real_tokens():
    body = Bert(BertConfig.TINY)
    tokens = torch.tensor([[2, 7, 8, 3], [2, 9, 3, 0]])
    hidden = body.eval()(tokens, mask=tokens > 0)
    for pool, vector in (
        ("first", torch.tanh(hidden[:, 0] @ body.pooler.weight.T + body.pooler.bias)),
        ("mean", torch.stack([hidden[0].mean(0), hidden[1, :3].mean(0)])),
    ):
        model = bert.Classifier(body, 3, pool=pool).eval()
        found = model(tokens, mask=tokens > 0)
        assert_close(found, vector @ model.output.weight.T + model.output.bias)
    tagger = bert.Tagger(body, 5).eval()
    assert_close(tagger(tokens, mask=tokens > 0), hidden @ tagger.output.weight.T + tagger.output.bias)
    following = bert.NextSentence(body).eval()
    assert following(tokens).shape == (2, 2)
    with pytest.raises(ValueError, match="pool = 'max', expected 'first' or 'mean'"):
        bert.Classifier(body, 3, pool="max")


def test_the_table_of_pieces_is_read_both_ways():
    model = bert.MaskedLM(Bert(BertConfig.TINY))
    assert model.head.table is model.bert.embedding.token.weight
    assert sum(p.numel() for p in model.head.parameters()) == 8 * 8 + 8 + 16 + 20 + 20 * 8
    names = {name for name, _ in model.named_parameters()}  # each tensor once
    assert "head.table" not in names and "bert.embedding.token.weight" in names
    tokens, chosen = torch.tensor([[2, 7, 4, 3]]), torch.tensor([[False, False, True, False]])
    loss = F.cross_entropy(model(tokens, chosen=chosen), torch.tensor([8]))
    (slope,) = gradients(loss, model.head.table)
    assert slope[13].any()  # a piece that was not read is moved all the same, away from the answer


# Pretraining


@pytest.fixture(scope="module")
def corpus():
    documents = list(bert.reference_documents().values())[:60]
    tokenizer = WordPiece.train((sentence for document in documents for sentence in document), 300)
    return tokenizer, [[tokenizer.encode(sentence) for sentence in document] for document in documents]


@pytest.mark.parametrize("next_sentence", [True, False])
def test_batches_of_pretraining_hide_only_pieces(corpus, next_sentence):
    tokenizer, documents = corpus
    batches = PretrainingBatches(documents, tokenizer, batch=8, length=32, next_sentence=next_sentence)
    seen = 0
    for inputs, corrupted, following in batches:
        seen += 1
        asked = inputs.tokens[corrupted.chosen]
        assert inputs.tokens.shape == (8, inputs.mask.sum(1).max()) and inputs.tokens.shape[1] <= 32
        assert not torch.isin(asked, torch.tensor([tokenizer.cls, tokenizer.sep, tokenizer.pad])).any()
        assert torch.equal(torch.where(corrupted.chosen, corrupted.labels, corrupted.tokens), inputs.tokens)
        assert torch.equal(inputs.tokens != tokenizer.pad, inputs.mask)
        closing = (inputs.tokens == tokenizer.sep).sum(1)
        assert (closing == 1 + next_sentence).all() and inputs.segments.any() == next_sentence
        assert (following is None) != next_sentence
        if next_sentence:
            assert set(following.tolist()) <= {0, 1}
    assert seen == len(batches)


def test_static_masks_come_again_and_dynamic_ones_do_not(corpus):
    tokenizer, documents = corpus

    def passes(masks):
        batches = PretrainingBatches(documents, tokenizer, batch=4, length=32, masks=masks)
        batches.batch = len(batches.inputs.tokens)  # all in one batch
        rows = []
        for _ in range(4):
            (batch,) = batches
            order = batch.inputs.tokens.tolist()
            by_text = sorted(zip(order, batch.corrupted.chosen.tolist(), strict=True))
            rows.append([chosen for _, chosen in by_text])
        return rows

    static, two, dynamic = passes(1), passes(2), passes(None)
    assert static[0] == static[1] == static[2]
    assert two[0] == two[2] != two[1] == two[3]
    assert dynamic[0] != dynamic[1] != dynamic[2]


def test_a_small_bert_guesses_better_than_frequencies_do():
    config = replace(BertConfig.PAGE, d_model=32, heads=2, d_ff=64, layers=1, vocab=300, context=32)
    fresh = bert.small_bert(config, steps=10, rate=0.0, batch=2)  # knows how often each piece occurs, and nothing else
    tokenizer, held_out = fresh.tokenizer, fresh.held_out
    batches = PretrainingBatches(held_out, tokenizer, 16, 32, masks=1)
    blind = bert.pretraining_scores(fresh.model, batches)
    model, _, _, history = bert.small_bert(config, steps=150, rate=1e-2, batch=16, tokenizer=tokenizer)
    assert len(history.loss) == 10 and history.loss[-1] < history.loss[0] - 0.2 and not model.training
    scores = bert.pretraining_scores(model, PretrainingBatches(held_out, tokenizer, 16, 32, masks=1))
    assert scores.nats < blind.nats - 0.1 and scores.accuracy > blind.accuracy
    known = torch.tensor([token for document in held_out for sentence in document for token in sentence])
    share = torch.bincount(known, minlength=len(tokenizer)) / len(known)
    assert blind.nats > -(share[share > 0] * share[share > 0].log()).sum() - 0.3  # frequencies alone do no better
    same = bert.small_bert(config, steps=10, rate=5e-3, batch=16, next_sentence=False, tokenizer=tokenizer)
    again = bert.small_bert(config, steps=10, rate=5e-3, batch=16, next_sentence=False, tokenizer=tokenizer)
    assert all(torch.equal(a, b) for a, b in zip(same.model.parameters(), again.model.parameters(), strict=True))
    alone = PretrainingBatches(held_out, tokenizer, 16, 32, next_sentence=False)
    assert math.isnan(bert.pretraining_scores(same.model, alone).following)
    with pytest.raises(ValueError, match="steps = 9: expected at least 10"):
        bert.small_bert(config, steps=9)


# Fine-tuning


def test_the_script_fine_tunes_what_it_is_given(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    kinds = (["dull", "bad", "awful"], ["fine", "great", "lovely"])
    texts = [" ".join(["the", "film", "was", *rng.choice(kinds[i % 2], 2), "and", f"n{i}"]) for i in range(300)]
    data = LabelledTexts(tuple(texts), np.arange(300) % 2, ("negative", "positive"))
    tokenizer = WordPiece.train(texts, 150)
    tokenizer.save(tmp_path)
    Bert(replace(BertConfig.TINY, vocab=len(tokenizer), d_model=16, context=32)).save_pretrained(tmp_path)
    result = minilm.train(data, 0, folder=str(tmp_path), epochs=4, rate=1e-2, size=16)
    assert result["accuracy"] > 0.9 and result["losses"][-1] < 0.5 * result["losses"][0]
    monkeypatch.setattr(minilm, "rt_polarity", lambda where: data)
    monkeypatch.setattr(
        "sys.argv", ["minilm", "--data", "here", "--model", str(tmp_path), "--folds", "2", "--epochs", "1"]
    )
    minilm.main()
    said = capsys.readouterr().out
    assert "fold 0" in said and "fold 1" in said and "mean of 2 folds" in said
