"""Static vectors: pairs, losses and counts by brute force, minima by theory, neighbours by sorting, the made world."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from closeness import assert_close, dtypes, gradients
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import elmo
from ml_course.data import reference_topics
from ml_course.elmo import CBOW, GloVe, QuotedTexts, SkipGram
from ml_course.text import Vocabulary

SENTENCES = st.lists(st.lists(st.integers(1, 8), max_size=7), min_size=1, max_size=5).filter(any)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# pairs


def pairs_by_loops(sentences, window):
    return Counter(
        (word, sentence[j])
        for sentence in sentences
        for i, word in enumerate(sentence)
        for j in range(max(0, i - window), min(len(sentence), i + window + 1))
        if j != i
    )


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.integers(1, 4))
def test_pairs_by_loops(sentences, window):
    words, others = elmo.skipgram_pairs(sentences, window)
    assert Counter(zip(words.tolist(), others.tolist(), strict=True)) == pairs_by_loops(sentences, window)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.integers(1, 4), st.integers(0, 5))
def test_drawn_windows_leave_out_the_far_ones_of_each_word(sentences, window, seed):
    drawn = elmo.skipgram_pairs(sentences, window, generator(seed))
    found = Counter(zip(*(column.tolist() for column in drawn), strict=True))
    assert pairs_by_loops(sentences, 1) <= found <= pairs_by_loops(sentences, window)


def test_how_often_a_drawn_window_reaches_so_far():
    line = [list(range(200))] * 100
    words, others = elmo.skipgram_pairs(line, 4, generator())
    share = (others - words).abs().bincount()[1:] / (100 * 2 * 198)
    assert_close(share, torch.tensor([1.0, 0.75, 0.5, 0.25]), torch.bfloat16)


@settings(max_examples=60, deadline=None)
@given(SENTENCES, st.integers(1, 4))
def test_rows_of_words_around_by_loops(sentences, window):
    around, middle = elmo.cbow_contexts(sentences, window)
    rows = [
        ([sentence[j] for j in range(max(0, i - window), min(len(sentence), i + window + 1)) if j != i], word)
        for sentence in sentences
        for i, word in enumerate(sentence)
    ]
    expected = [(seen, word) for seen, word in rows if seen]
    assert around.shape == (len(expected), 2 * window)
    found = [([n for n in row if n], word) for row, word in zip(around.tolist(), middle.tolist(), strict=True)]
    assert found == expected


def test_pairs_and_rows_draw_the_same_windows():
    sentences = [[1, 2, 3, 4, 5, 6], [7, 8, 9]]
    words, others = elmo.skipgram_pairs(sentences, 3, generator(1))
    around, middle = elmo.cbow_contexts(sentences, 3, generator(1))
    rows = zip(around.tolist(), middle.tolist(), strict=True)
    rows = Counter((word, other) for row, word in rows for other in row if other)
    assert rows == Counter(zip(words.tolist(), others.tolist(), strict=True))


def test_wrong_windows_and_empty_texts_are_named():
    for make in (elmo.skipgram_pairs, elmo.cbow_contexts):
        with pytest.raises(ValueError, match="window = 0, expected at least 1"):
            make([[1, 2]], 0)
        with pytest.raises(ValueError, match="sentences has no word"):
            make([[], []], 2)
    with pytest.raises(ValueError, match="sentences has no word"):
        elmo.word_counts([[]], 4)
    with pytest.raises(ValueError, match=r"the word 5, expected numbers from 0 to vocab − 1 = 3"):
        elmo.word_counts([[5]], 4)


# frequencies


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=9).filter(any), st.sampled_from([0.0, 0.5, 0.75, 1.0]))
def test_noise_by_the_formula(counts, power):
    weights = [count**power if count else 0.0 for count in counts]
    found = elmo.noise_distribution(torch.tensor(counts), power)
    assert_close(found, torch.tensor([weight / sum(weights) for weight in weights]))


def test_noise_without_any_word_is_named():
    with pytest.raises(ValueError, match="counts is zero everywhere"):
        elmo.noise_distribution(torch.zeros(3, dtype=torch.long))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=9).filter(any), st.sampled_from([1e-5, 1e-3, 0.2]))
def test_kept_share_by_the_formula(counts, threshold):
    found = elmo.keep_probability(torch.tensor(counts), threshold).tolist()
    for count, kept in zip(counts, found, strict=True):
        expected = 1.0 if not count else min(1.0, math.sqrt(threshold * sum(counts) / count))
        assert kept == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="threshold = 0, expected a positive number"):
        elmo.keep_probability(torch.tensor(counts), 0)


def test_subsampling_keeps_order_and_share():
    sentences = [[0, 1, 2, 1, 0]] * 4000
    kept = elmo.subsample(sentences, torch.tensor([1.0, 0.25, 0.5]), generator())
    assert len(kept) == 4000 and all(row[0] == 0 and row[-1] == 0 for row in kept)
    assert all(row in ([0, *middle, 0] for middle in ([], [1], [2], [1, 2], [2, 1], [1, 1], [1, 2, 1])) for row in kept)
    counts = elmo.word_counts(kept, 3) / torch.tensor([8000, 8000, 4000])
    assert_close(counts, torch.tensor([1.0, 0.25, 0.5]), torch.bfloat16)
    assert elmo.subsample(sentences[:1], torch.ones(3)) == sentences[:1]


# word2vec


@dtypes
def test_loss_of_negative_sampling_by_loops(dtype, device):
    v, u = (torch.randn(6, 5, dtype=dtype, device=device).requires_grad_() for _ in range(2))
    negatives = torch.randn(6, 3, 5, dtype=dtype, device=device).requires_grad_()
    loss = elmo.negative_sampling_loss(v, u, negatives)
    assert loss.dtype == dtype
    total = 0.0
    for row in range(6):
        a, b = v[row].double(), u[row].double()
        total += math.log1p(math.exp(-(a @ b).item()))
        total += sum(math.log1p(math.exp((a @ n.double()).item())) for n in negatives[row])
    assert loss.item() == pytest.approx(total / 6, rel=3e-2 if dtype == torch.bfloat16 else 1e-5)


def test_loss_of_negative_sampling_has_the_right_gradient_and_survives_huge_products():
    tensors = [torch.randn(*shape, dtype=torch.float64).requires_grad_() for shape in ((4, 3), (4, 3), (4, 2, 3))]
    assert torch.autograd.gradcheck(elmo.negative_sampling_loss, tensors)
    v = torch.tensor([[1e3]]).requires_grad_()
    loss = elmo.negative_sampling_loss(v, torch.tensor([[-1.0]]), torch.tensor([[[1.0]]]))
    assert loss.item() == pytest.approx(2000) and torch.autograd.grad(loss, v)[0].item() == pytest.approx(2)


def test_skip_gram_learns_pmi_minus_log_k():
    """With as many numbers as words, and every word drawn as often as it is met, the minimum is known."""
    torch.manual_seed(2)
    met = torch.randint(1, 4, (4, 4))
    met = met + met.T
    pairs = int(met.sum())  # also the number of strangers: each column as often as it occurs
    each = torch.arange(16).repeat_interleave(met.flatten())
    rows, columns = each // 4, each % 4
    strangers = torch.arange(4).repeat_interleave(met.sum(0)).expand(pairs, pairs)
    model = SkipGram(4, 4).double()
    torch.nn.init.normal_(model.given.weight)
    torch.nn.init.normal_(model.asked.weight)
    optimiser = torch.optim.LBFGS(model.parameters(), max_iter=400, line_search_fn="strong_wolfe")

    def loss_of_all():
        optimiser.zero_grad()
        loss = model(rows, columns, strangers)
        loss.backward()
        return loss

    optimiser.step(loss_of_all)
    products = model.given.weight @ model.asked.weight.T
    expected = elmo.pointwise_mutual_information(met.double()) - math.log(pairs)
    torch.testing.assert_close(products.detach(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_at_first_nothing_is_known(kind):
    model = kind(10, 4)
    given_words = torch.randint(1, 10, (7, 3) if kind is CBOW else (7,))
    loss = model(given_words, torch.randint(10, (7,)), torch.randint(10, (7, 5)))
    assert loss.item() == pytest.approx(6 * math.log(2))
    assert model.vectors.shape == (10, 4) and model.vectors.abs().max() <= 0.125 and not model.vectors.requires_grad


def test_cbow_takes_the_mean_of_real_words_only():
    model = CBOW(10, 4).double()
    torch.nn.init.normal_(model.given.weight)
    torch.nn.init.normal_(model.asked.weight)
    around, asked, drawn = torch.tensor([[3, 0, 5, 0], [1, 2, 3, 4]]), torch.tensor([6, 7]), torch.tensor([[8], [9]])
    means = torch.stack([model.given.weight[[3, 5]].mean(0), model.given.weight[1:5].mean(0)])
    expected = elmo.negative_sampling_loss(means, model.asked.weight[asked], model.asked.weight[drawn])
    loss = model(around, asked, drawn)
    assert_close(loss, expected)
    filler = gradients(loss, model.given.weight)[0][0]
    assert (filler == 0).all()


@pytest.mark.parametrize("kind", [SkipGram, CBOW])
def test_words_used_alike_become_alike(kind):
    """Words 1 and 2 keep the company of 5 and 6, words 3 and 4 that of 7 and 8, never each other's."""
    rng = torch.Generator().manual_seed(3)
    sentences = []
    for _ in range(600):
        side = torch.randint(2, (1,), generator=rng).item()
        word = 1 + 2 * side + torch.randint(2, (1,), generator=rng).item()
        company = (5 + 2 * side + torch.randint(2, (2,), generator=rng)).tolist()
        sentences.append([company[0], word, company[1]])
    torch.manual_seed(0)
    model = kind(9, 8)
    options = {"epochs": 8, "window": 1, "threshold": 1.0, "size": 64}
    losses = elmo.learn_vectors(model, sentences, elmo.word_counts(sentences, 9), **options)
    agreement = elmo.cosine(model.vectors[1:5], model.vectors[1:5])
    assert agreement[0, 1] > agreement[0, 2:].max() + 0.5 and agreement[2, 3] > agreement[2, :2].max() + 0.5
    assert len(losses) == 8 and losses[-1] < losses[0]
    torch.manual_seed(0)
    again = kind(9, 8)
    assert elmo.learn_vectors(again, sentences, elmo.word_counts(sentences, 9), **options) == losses
    assert torch.equal(again.vectors, model.vectors)


# counts


@settings(max_examples=50, deadline=None)
@given(SENTENCES, st.integers(1, 4))
def test_counts_of_meetings_by_loops(sentences, window):
    expected = torch.zeros(9, 9)
    for sentence in sentences:
        for (i, word), (j, other) in itertools.permutations(enumerate(sentence), 2):
            if abs(i - j) <= window:
                expected[word, other] += 1 / abs(i - j)
    found = elmo.cooccurrences(sentences, 9, window)
    assert_close(found, expected)
    assert_close(found, found.T)
    pairs = pairs_by_loops(sentences, window)
    plain = elmo.cooccurrences(sentences, 9, window, by_distance=False)
    assert {pair: plain[pair].item() for pair in pairs} == pairs and plain.sum() == pairs.total()


def test_mutual_information_of_independent_words_is_zero_and_a_scale_changes_nothing():
    alone = torch.tensor([1.0, 2.0, 5.0])
    assert elmo.pointwise_mutual_information(alone[:, None] * alone).abs().max() < 1e-6
    met = torch.rand(4, 4) + 0.1
    assert_close(elmo.pointwise_mutual_information(met), elmo.pointwise_mutual_information(7 * met))
    share = met / met.sum()
    expected = math.log(share[1, 2] / (share[1].sum() * share[:, 2].sum()))
    assert elmo.pointwise_mutual_information(met)[1, 2].item() == pytest.approx(expected, rel=1e-4)


def test_glove_by_loops():
    model = GloVe(6, 3, most=10).double()
    for values in model.parameters():
        torch.nn.init.normal_(values)
    rows, columns, met = torch.tensor([0, 1, 5]), torch.tensor([2, 2, 4]), torch.tensor([1.0, 20.0, 5.0]).double()
    total = 0.0
    for i, j, x in zip(rows.tolist(), columns.tolist(), met.tolist(), strict=True):
        product = (model.given.weight[i] @ model.asked.weight[j]).item()
        error = product + model.given_bias[i].item() + model.asked_bias[j].item() - math.log(x)
        total += min(1.0, (x / 10) ** 0.75) * error**2
    assert model(rows, columns, met).item() == pytest.approx(total / 3)


def test_glove_reaches_the_logarithms_when_it_has_room():
    met = torch.randint(1, 30, (6, 6)).float()
    model = GloVe(6, 6)
    losses = elmo.learn_glove(model, met, epochs=500, rate=0.05)
    products = model.given.weight @ model.asked.weight.T + model.given_bias[:, None] + model.asked_bias
    assert losses[-1] < 1e-3 * losses[0]
    torch.testing.assert_close(products.detach(), met.log(), rtol=0.05, atol=0.05)
    assert_close(model.vectors, (model.given.weight + model.asked.weight).detach())


# neighbours


@dtypes
def test_cosine_by_torch(dtype, device):
    queries, keys = torch.randn(2, 3, 5, dtype=dtype, device=device), torch.randn(2, 4, 5, dtype=dtype, device=device)
    expected = torch.nn.functional.cosine_similarity(queries[:, :, None], keys[:, None], dim=-1)
    assert_close(elmo.cosine(queries, keys), expected)
    assert (elmo.cosine(torch.zeros_like(queries), keys) == 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_nearest_by_sorting(seed, count):
    torch.manual_seed(seed)
    vectors, queries, without = torch.randn(9, 4), torch.randn(3, 4), torch.randint(9, (3, 2))
    numbers, agreement = elmo.nearest(vectors, queries, count, without=without)
    for row in range(3):
        scored = [
            (torch.nn.functional.cosine_similarity(vectors[i], queries[row], dim=0).item(), i)
            for i in range(9)
            if i not in without[row].tolist()
        ]
        best = sorted(scored, reverse=True)[:count]
        assert numbers[row].tolist() == [i for _, i in best]
        assert agreement[row].tolist() == pytest.approx([score for score, _ in best], abs=1e-5)


def test_too_many_neighbours_are_named():
    with pytest.raises(ValueError, match="count = 9, expected 1 to 8, the number of words to choose from"):
        elmo.nearest(torch.randn(9, 2), torch.randn(1, 2), 9, without=torch.tensor([[0]]))
    with pytest.raises(ValueError, match="count = 0, expected 1 to 9"):
        elmo.nearest(torch.randn(9, 2), torch.randn(1, 2), 0)


def test_analogies_of_a_grid_and_what_excluding_does():
    """Sums of a role and a gender answer questions; where pairs are near, excluding c alone finds d."""
    torch.manual_seed(0)
    roles, genders = torch.randn(6, 8), torch.randn(2, 8)
    words = (roles[:, None] + genders).flatten(0, 1)
    a, b, c, d = torch.tensor([(2 * i, 2 * i + 1, 2 * j, 2 * j + 1) for i in range(6) for j in range(6) if i != j]).T
    lengths = words.norm(dim=1)
    assert (elmo.analogy(words / lengths[:, None], a, b, c) == d).float().mean() > 0.8
    near = (roles[:, None] + 0.05 * torch.randn(6, 2, 8)).flatten(0, 1)  # pairs are near, their steps unrelated
    assert (elmo.analogy(near, a, b, c) == d).all()
    honest = elmo.analogy(near, a, b, c, exclude=False)
    assert ((honest == c) | (honest == d)).all() and (honest == c).float().mean() > 0.7


# texts


def test_sentences_of_the_reference_lose_their_marks_and_nothing_else():
    parts = elmo.reference_sentences()
    text = " ".join(" ".join(reference_topics().values()).lower().replace('"', "").split())
    both = parts.train.sentences + parts.test.sentences
    assert 1500 < len(both) < 4000 and 0.05 < len(parts.test) / len(both) < 0.3
    squeezed = "".join(text.split()).replace("*", "")
    assert all("".join(sentence).replace("*", "") in squeezed for sentence in both)
    assert not any('"' in word for sentence in both for word in sentence)
    assert all(4 <= len(sentence) <= 60 for sentence in both)
    assert not set(parts.test.sentences) & set(parts.train.sentences) or len(set(both)) < len(both)


def test_quotation_marks_become_flags():
    words, flags = elmo.quoted_words('"x for y" is for "Z".')
    assert words == ("x", "for", "y", "is", "for", "z", ".")
    assert flags == (True, True, True, False, False, True, False)
    with pytest.raises(ValueError, match="sentence has 1 double quotation marks, expected an even number"):
        elmo.quoted_words('5" long')
    with pytest.raises(ValueError, match="quoted has 1 flags for 2 words"):
        QuotedTexts((("a", "b"),), ((True,),))


def test_places_and_examples_of_two_senses():
    data = QuotedTexts((("as", "if"), ("if", "if")), ((True, False), (True, False)))
    assert data.places("if") == [(0, 1, False), (1, 0, True), (1, 1, False)]
    assert list(elmo.sense_examples(data, ["as", "if"], least=1)) == ["if"]
    assert elmo.sense_examples(data, ["as", "if"], least=2) == {}
    rows = data.rows(np.array([1]))
    assert rows.sentences == (("if", "if"),) and rows.quoted == ((True, False),) and len(data) == 2


def test_the_made_world_is_what_it_says():
    told, untold = elmo.kingdom(6000, tell_senses=True), elmo.kingdom(6000)
    assert [[word.split("/")[0] for word in sentence] for sentence in told] == untold
    counts = Counter(word for sentence in told for word in sentence)
    for sense in ("ruler/person", "ruler/thing"):
        assert abs(counts[sense] / 6000 - 1 / 12) < 0.015
    # The word after a person depends on the role alone, the pronoun on the gender alone.
    for a, b, c, d in elmo.kingdom_questions():
        for one, other in ((a, b), (c, d)):
            follows = [{s[2] for s in untold if s[1] == word} for word in (one, other)]
            assert follows[0] == follows[1]
        pronouns = [{s[6] for s in untold if s[1] == word} for word in (a, b, c, d)]
        assert pronouns[0] == pronouns[2] != pronouns[1] == pronouns[3]
    assert elmo.kingdom(5, seed=1) == elmo.kingdom(5, seed=1) != elmo.kingdom(5, seed=2)
    with pytest.raises(ValueError, match="count = 0, expected at least 1"):
        elmo.kingdom(0)


def test_the_made_world_answers_its_questions():
    sentences = elmo.kingdom(6000)
    vocabulary = Vocabulary.from_texts(sentences)
    tokens = [vocabulary.encode(sentence) for sentence in sentences]
    model = SkipGram(len(vocabulary), 16)
    elmo.learn_vectors(model, tokens, elmo.word_counts(tokens, len(vocabulary)), epochs=3, threshold=0.01)
    a, b, c, d = torch.tensor([[vocabulary.number(word) for word in row] for row in elmo.kingdom_questions()]).T
    assert (elmo.analogy(model.vectors, a, b, c) == d).float().mean() > 0.5
