"""Alignment, scores, pieces of words and losses against enumeration, sacrebleu, rapidfuzz, tokenizers and torch."""

import itertools
import json
import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ml_course import seq2seq
from ml_course.data import name_pairs, reference_text
from ml_course.seq2seq import BPE, Model1, bpe
from ml_course.text import Padded, pad, unpad, words

# IBM Model 1

sentences = st.lists(st.integers(0, 3), min_size=1, max_size=3)
corpora = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4)


def table_from(seed, sources=4, targets=4):
    table = np.random.default_rng(seed).random((sources, targets)) + 0.05
    return table / table.sum(axis=1, keepdims=True)


def every_alignment(table, source, target):
    """Each way to choose a source place for every target word, with its probability given the sentence."""
    for places in itertools.product(range(len(source)), repeat=len(target)):
        chance = math.prod(table[source[i], f] / len(source) for i, f in zip(places, target, strict=True))
        yield places, chance


@given(sentences, sentences, st.integers(0, 99))
def test_posterior_is_the_sum_over_all_alignments(source, target, seed):
    table = table_from(seed)
    found = seq2seq.alignment_posterior(table, np.array(source), np.array(target))
    expected, total = np.zeros((len(source), len(target))), 0.0
    for places, chance in every_alignment(table, source, target):
        total += chance
        for j, i in enumerate(places):
            expected[i, j] += chance
    np.testing.assert_allclose(found, expected / total, rtol=1e-10)


@given(corpora, st.integers(0, 99))
@settings(deadline=None)
def test_em_step_counts_as_enumeration_does(pairs, seed):
    table, counts = table_from(seed), np.zeros((4, 4))
    for source, target in pairs:
        ways = list(every_alignment(table, source, target))
        total = sum(chance for _, chance in ways)
        for places, chance in ways:
            for j, i in enumerate(places):
                counts[source[i], target[j]] += chance / total
    stands = counts.sum(1) > 0
    expected = np.where(stands[:, None], counts / np.where(stands, counts.sum(1), 1)[:, None], table)
    got = seq2seq.em_step([(np.array(e), np.array(f)) for e, f in pairs], table)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    assert not np.shares_memory(got, table)


@given(corpora, st.booleans())
@settings(deadline=None)
def test_model_1_takes_the_readable_steps_and_its_likelihood_never_falls(pairs, null):
    sources, targets = zip(*pairs, strict=True)
    model = Model1(sources, targets, null=null)
    numbered = [
        (
            np.array([0] * null + [model.source_numbers[word] for word in source]),
            np.array([model.target_numbers[word] for word in target]),
        )
        for source, target in pairs
    ]
    table = model.table()
    np.testing.assert_allclose(table.sum(1), 1)
    for _ in range(6):
        chance = sum(math.log(c) for e, f in numbered for c in [sum(c for _, c in every_alignment(table, e, f))])
        assert model.log_likelihood() == pytest.approx(chance, abs=1e-9)
        table = seq2seq.em_step(numbered, table)
        model.fit(1)
        np.testing.assert_allclose(model.table(), table, atol=1e-12)
    history = [*model.log_likelihoods, model.log_likelihood()]
    assert len(history) == 7 and all(b >= a - 1e-9 for a, b in pairwise(history))
    for source, target in pairs:
        e = np.array([0] * null + [model.source_numbers[word] for word in source])
        posterior = seq2seq.alignment_posterior(table, e, np.array([model.target_numbers[word] for word in target]))
        np.testing.assert_allclose(model.posterior(source, target), posterior, atol=1e-12)


def test_every_start_leads_to_the_same_likelihood():
    names = name_pairs(kinds=["scripts"]).train
    model = Model1([name.lower() for name in names.sources], [name.lower() for name in names.targets])
    ends = []
    for seed in range(3):
        drawn = np.random.default_rng(seed).random(len(model.weights)) + 0.01
        model.weights = drawn / np.bincount(model._source, drawn)[model._source]
        ends.append(model.fit(300).log_likelihood())
    assert np.ptp(ends) < 1e-3 * abs(ends[0])


def test_model_1_finds_words_and_letters_of_real_names():
    names = name_pairs().train
    model = Model1([name.lower().split() for name in names.sources], [name.lower().split() for name in names.targets])
    model.fit(30)
    assert model.translations("dollar")[0][0] == "доллар" and model.translations("islands")[0][0] == "о-ва"
    assert model.align(["english"], ["английский"]) == [0]
    assert model.align(["solomon", "islands"], ["соломоновы", "о-ва"]) == [0, 1]
    letters = Model1([name.lower() for name in names.sources], [name.lower() for name in names.targets]).fit(50)
    pairs = dict(zip("abdgklmoprtvz", "абдгклмопртвз", strict=True))
    assert {letter: letters.translations(letter, 1)[0][0] for letter in pairs} == pairs


def test_model_1_with_unknown_words_and_the_null_word():
    model = Model1(["a", "b", "c"], ["xn", "yn", "zn"]).fit(50)  # n stands everywhere: nobody's translation
    assert model.align("a", "xn") == [0, None] and set(model.source_numbers) == {seq2seq.NULL, "a", "b", "c"}
    assert model.posterior("b", "yn").shape == (2, 2) and model.posterior("a", "?").sum() == 0
    assert model.align("?", "x") == [None] and model.align("a", "?") == [None]
    without = Model1(["a", "b", "c"], ["xn", "yn", "zn"], null=False).fit(50)
    assert without.posterior("b", "yn").shape == (1, 2) and without.align("a", "xn") == [0, 0]
    with pytest.raises(KeyError):
        model.translations("?")


@pytest.mark.parametrize(
    ("sources", "targets", "said"),
    [
        (["a"], ["x", "y"], "sources has 1 sentences, targets 2"),
        ([], [], "sources has 0 sentences"),
        (["a", ""], ["x", "y"], "pair 1 has an empty side"),
    ],
)
def test_model_1_names_what_it_cannot_read(sources, targets, said):
    with pytest.raises(ValueError, match=said):
        Model1(sources, targets)


# distances and shares


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_edit_distance_equals_rapidfuzz(first, second):
    from rapidfuzz.distance import Levenshtein

    assert seq2seq.edit_distance(first, second) == Levenshtein.distance(first, second)


def test_error_rate_and_exact_match_by_hand():
    outputs, references = ["abc", "", "xy"], ["abd", "a", "xy"]
    assert seq2seq.error_rate(outputs, references) == pytest.approx(2 / 6)
    assert seq2seq.exact_match(outputs, references) == pytest.approx(1 / 3)
    assert seq2seq.error_rate(["aaaa"], ["b"]) == 4
    assert seq2seq.exact_match([["a", "b"]], [("a", "b")]) == 1
    for function in (seq2seq.error_rate, seq2seq.exact_match):
        with pytest.raises(ValueError, match="outputs has 1 entries, references 2"):
            function(["a"], ["a", "b"])
        with pytest.raises(ValueError, match="outputs has 0 entries"):
            function([], [])
    with pytest.raises(ValueError, match="references are all empty"):
        seq2seq.error_rate(["a"], [""])


# BLEU

few_words = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9)


def theirs(outputs, references, order=4):
    """sacrebleu's score of the same tokens, without smoothing; its references run the other way."""
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (extra `test`)")
    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True, max_ngram_order=order)
    most = max(map(len, references))
    streams = [[" ".join(row[k]) if k < len(row) else None for row in references] for k in range(most)]
    return metric.corpus_score([" ".join(output) for output in outputs], streams)


@given(st.lists(st.tuples(few_words, st.lists(few_words.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=5))
@settings(deadline=None)
def test_bleu_of_a_corpus_equals_sacrebleus(rows):
    outputs, references = zip(*rows, strict=True)
    ours, other = seq2seq.bleu(outputs, references), theirs(outputs, references)
    assert ours.output_length == other.sys_len and ours.reference_length == other.ref_len
    assert 100 * ours.score == pytest.approx(other.score, abs=1e-9)
    assert ours.brevity_penalty == pytest.approx(other.bp, abs=1e-12)
    # sacrebleu leaves the precisions of longer n-grams at 0 from the first order without a match on; ours goes on
    for mine, other_precision in zip(ours.precisions, other.precisions, strict=True):
        if other_precision:
            assert 100 * mine == pytest.approx(other_precision)


@given(few_words, few_words.filter(bool))
@settings(deadline=None)
def test_bleu_of_a_sentence_equals_sacrebleus(output, reference):
    sacrebleu = pytest.importorskip("sacrebleu", reason="sacrebleu is not installed (extra `test`)")
    options = dict(tokenize="none", smooth_method="none", use_effective_order=False)
    other = sacrebleu.sentence_bleu(" ".join(output), [" ".join(reference)], **options)
    assert 100 * seq2seq.sentence_bleu(output, [reference]) == pytest.approx(other.score, abs=1e-9)


def test_bleu_on_papinenis_examples():
    first = "It is a guide to action which ensures that the military always obeys the commands of the party"
    second = "It is to insure the troops forever hearing the activity guidebook that party direct"
    versions = (
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
    )
    references = [version.split() for version in versions]
    assert seq2seq.clipped_matches(first.split(), references, 1) == (17, 18)
    assert seq2seq.clipped_matches(second.split(), references, 1) == (8, 14)
    assert seq2seq.clipped_matches(first.split(), references, 2) == (10, 17)
    assert seq2seq.clipped_matches(second.split(), references, 2) == (1, 13)


def test_bleu_of_a_corpus_is_not_the_mean_and_names_what_is_missing():
    outputs, references = ["abcdefgh", "xa"], [["abcdefgh"], ["ab"]]
    corpus = seq2seq.bleu(outputs, references, order=2).score
    mean = np.mean([seq2seq.sentence_bleu(a, b, order=2) for a, b in zip(outputs, references, strict=True)])
    assert corpus == pytest.approx(math.sqrt(9 / 10 * 7 / 8)) and mean == 0.5
    assert seq2seq.bleu([""], [["a"]]).score == 0
    with pytest.raises(ValueError, match=r"references\[1\] is empty"):
        seq2seq.bleu(["a", "b"], [["a"], []])
    with pytest.raises(ValueError, match="outputs has 1 entries, references 2"):
        seq2seq.bleu(["a"], [["a"], ["b"]])
    with pytest.raises(ValueError, match="order = 0"):
        seq2seq.bleu(["a"], [["a"]], order=0)


# byte-pair encoding

word = st.text("abcdé", min_size=1, max_size=7)
counted = st.dictionaries(word, st.integers(1, 20), min_size=1, max_size=12)


def naive_merges(counts, number):
    """The same merges by counting everything anew for each."""
    spelled = {word: bpe.spell(word) for word in counts}
    age = {piece: n for n, piece in enumerate(sorted({piece for pieces in spelled.values() for piece in pieces}))}
    learned = []
    for _ in range(number):
        pairs = Counter()
        for word, pieces in spelled.items():
            for pair in pairwise(pieces):
                pairs[pair] += counts[word]
        if not pairs or max(pairs.values()) < 2:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], age[pair[0]], age[pair[1]]))
        learned.append((best, pairs[best], sorted(pairs.values())[-2:]))
        age.setdefault("".join(best), len(age))
        spelled = {word: bpe.merge(pieces, best) for word, pieces in spelled.items()}
    return learned


@given(counted, st.integers(0, 15))
@settings(deadline=None)
def test_merges_are_those_of_counting_anew(counts, number):
    assert list(BPE.train(counts, number).merges) == [pair for pair, *_ in naive_merges(counts, number)]


@given(counted, st.integers(0, 20), st.lists(st.text(min_size=1).filter(lambda text: bpe.END not in text)))
@settings(deadline=None)
def test_pieces_spell_the_words_and_come_from_the_merges(counts, number, more):
    trained = BPE.train(counts, number)
    for some in (more, list(counts)):
        pieces = trained.encode(some)
        assert trained.decode(pieces) == some
        assert sum(piece.endswith(bpe.END) for piece in pieces) == len(some)
    known = {a + b for a, b in trained.merges} | {piece for word in counts for piece in bpe.spell(word)}
    assert set(trained.encode(counts)) <= known
    more_merges = BPE.train(counts, number + 5)
    assert more_merges.merges[: len(trained.merges)] == trained.merges
    for text in counts:
        assert len(more_merges.pieces(text)) <= len(trained.pieces(text)) <= len(text)


def test_frequent_words_become_one_piece_and_unseen_ones_can_still_be_spelled():
    trained = BPE.train({"low": 5, "lower": 2, "newest": 6, "widest": 3}, merges=20)
    assert trained.pieces("newest") == ["newest</w>"] and trained.pieces("lowest") == ["lo", "w", "est</w>"]
    assert trained.pieces("ж") == ["ж</w>"]
    assert trained.decode(["new", "est</w>", "lo"]) == ["newest", "lo"]
    pieces = trained.pieces("newest")
    pieces.append("!")  # what is given out is a copy
    assert trained.pieces("newest") == ["newest</w>"]


def tokenizers_library():
    return pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra `test`)")


def test_merges_of_a_real_text_equal_those_of_tokenizers():
    """As long as no two pairs are equally frequent, when either choice is right."""
    library = tokenizers_library()
    counts = Counter(words(reference_text().lower()))
    counts = dict(counts.most_common(1000))
    learned = naive_merges(counts, 40)
    clear = next((n for n, (_, _, top) in enumerate(learned) if top[0] == top[1]), len(learned))
    assert clear >= 20
    tokenizer = library.Tokenizer(library.models.BPE(end_of_word_suffix=bpe.END))
    tokenizer.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    trainer = library.trainers.BpeTrainer(vocab_size=100_000, end_of_word_suffix=bpe.END, min_frequency=2)
    repeated = (" ".join([text] * min(count, 10**6)) for text, count in counts.items())
    tokenizer.train_from_iterator(repeated, trainer)
    theirs = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    assert list(BPE.train(counts, clear).merges) == theirs[:clear]


def test_pieces_equal_those_of_tokenizers_with_the_same_merges():
    library = tokenizers_library()
    counts = Counter(words(reference_text().lower()))
    trained = BPE.train(counts, 400)
    everything = {piece for text in counts for piece in bpe.spell(text)} | {
        letter for text in counts for letter in text
    }
    everything |= {a + b for a, b in trained.merges}
    vocabulary = {piece: number for number, piece in enumerate(sorted(everything))}
    model = library.models.BPE(vocab=vocabulary, merges=list(trained.merges), end_of_word_suffix=bpe.END)
    tokenizer = library.Tokenizer(model)
    chosen = random.Random(0).sample(sorted(counts), 500)
    mixed = [a[: len(a) // 2] + b[len(b) // 2 :] for a, b in pairwise(chosen)]
    for text in (*chosen, *mixed):
        assert trained.pieces(text) == tokenizer.encode(text).tokens


@pytest.mark.parametrize("text", ["", "a</w>b"])
def test_bpe_names_a_word_it_cannot_spell(text):
    for read in (BPE([]).pieces, lambda text: BPE.train({text: 1}, 1)):
        with pytest.raises(ValueError, match="word = "):
            read(text)
    with pytest.raises(ValueError, match="merges = -1"):
        BPE.train({"a": 1}, -1)


# losses


@dtypes
def test_masked_cross_entropy_in_both_forms_by_loops(dtype, device):
    logits = torch.randn(3, 5, 7, dtype=dtype, device=device).requires_grad_()
    target, mask = torch.randint(7, (3, 5), device=device), torch.rand(3, 5, device=device) > 0.4
    mask[0], mask[1] = True, False
    total = sum(
        -F.log_softmax(logits[n, t].double(), -1)[target[n, t]] for n in range(3) for t in range(5) if mask[n, t]
    )
    expected = (total / mask.sum()).to(dtype)
    for fused in (True, False):
        loss = seq2seq.masked_cross_entropy(logits, target, mask, fused=fused)
        assert loss.dtype == dtype
        assert_close(loss, expected)
        (slope,) = gradients(loss, logits)
        assert (slope[~mask] == 0).all() and slope.isfinite().all()


@pytest.mark.parametrize("fused", [True, False])
def test_filler_may_be_anything_and_nothing_real_costs_nothing(fused):
    logits, mask = torch.randn(1, 3, 4), torch.tensor([[True, True, False]])
    poisoned = logits.masked_fill(~mask[..., None], torch.nan)
    target, odd = torch.tensor([[1, 2, 0]]), torch.tensor([[1, 2, 3]])
    wanted = seq2seq.masked_cross_entropy(logits[:, :2], target[:, :2], mask[:, :2], fused=fused)
    assert_close(seq2seq.masked_cross_entropy(poisoned, odd, mask, fused=fused), wanted)
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    assert seq2seq.masked_cross_entropy(logits, target, nothing, fused=fused) == 0


@given(st.lists(st.lists(st.integers(4, 9), max_size=5), min_size=1, max_size=4))
def test_shift_pairs_every_token_with_the_next(rows):
    whole = [[2, *row, 3] for row in rows]
    reads, says, real = seq2seq.shift(*pad(whole))
    for n, row in enumerate(whole):
        assert reads[n, : len(row) - 1].tolist() == row[:-1]
    assert unpad(Padded(says, real)) == [row[1:] for row in whole]


def test_inverse_sigmoid_falls_from_one_to_zero():
    truth = seq2seq.inverse_sigmoid(20)
    shares = [truth(step) for step in range(0, 400, 20)]
    assert shares[0] == pytest.approx(20 / 21) and shares[-1] < 1e-5 and all(b < a for a, b in pairwise(shares))
    assert truth(round(20 * math.log(20))) == pytest.approx(0.5, abs=0.01)
    assert truth(10**9) < 1e-100
    with pytest.raises(ValueError, match=r"k = 0\.5"):
        seq2seq.inverse_sigmoid(0.5)
