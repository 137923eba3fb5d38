"""Byte-level BPE against `tokenizers`; spans, permutations and tasks against brute force and each other."""

import json
import math
import unicodedata
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import objectives
from ml_course.bert import IGNORED
from ml_course.data import reference_text
from ml_course.objectives import ByteBPE, Layout, corrupt_spans, random_spans, restore_spans
from ml_course.transformer import family_mask

HARD = [
    "naïve 🐌🐌 can't we'll  x\n\n y\t z²Ⅷ½ 北京 ١٢٣ é \u200b\x1c \x85\u3000\u00a0 a_b's I'M 'sx '''s  ",
    "👩‍👩‍👧 Das ist gut.\r\n\tif x==1:\n        return  -1 # 100%",
    "",
    " ",
    "'",
    "\x00\x7f\ud7ff\U0010ffff",
]


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra `test`)")


@pytest.fixture(scope="module")
def learned():
    return ByteBPE.train([reference_text(), *HARD], 500)


def byte_level(library, ours):
    """The library's tokenizer with our merges."""
    vocabulary = {token: number for number, token in enumerate(ours.tokens)}
    tokenizer = library.Tokenizer(library.models.BPE(vocab=vocabulary, merges=list(ours.merges)))
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


# Byte-level BPE


def test_merges_and_numbers_are_those_the_tokenizers_library_learns(library, learned):
    theirs = library.Tokenizer(library.models.BPE())
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = library.pre_tokenizers.ByteLevel.alphabet()
    assert set(objectives.byte_characters()) == set(alphabet)
    trainer = library.trainers.BpeTrainer(
        vocab_size=256 + 500, min_frequency=2, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([reference_text(), *HARD], trainer)
    merges = [tuple(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert list(learned.merges) == merges
    assert theirs.get_vocab() == {token: number for number, token in enumerate(learned.tokens)}


def test_every_text_gets_the_librarys_numbers(library, learned):
    theirs = byte_level(library, learned)
    for text in [reference_text()[:60_000], *HARD]:
        numbers = learned.encode(text)
        assert numbers == theirs.encode(text).ids
        assert learned.decode(numbers) == text


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(max_codepoint=0x33FF, exclude_categories=["Cs", "Cn"]), max_size=30))
def test_any_text_is_cut_as_the_published_pattern_cuts_it(text):
    regex = pytest.importorskip("regex", reason="regex is not installed (extra `test`)")
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    ours = objectives.split_text(text)
    assert "".join(ours) == text
    # The library's table of characters and Python's are of different years: what they read differently is no fault.
    if all(bool(regex.fullmatch(r"\p{L}", c)) == (unicodedata.category(c)[0] == "L") for c in text):
        assert ours == regex.findall(pattern, text)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_bytes_spell_every_text(text):
    plain = ByteBPE([])
    assert plain.decode(plain.encode(text)) == text
    assert len(plain.encode(text)) == len(text.encode())


def test_special_tokens_come_last_and_no_text_speaks_for_them():
    bpe, layout = Layout.learned(["low lower lowest"], 3, sentinels=2)
    assert bpe.tokens[layout.mask :] == ["<mask>", "<end>", "<X0>", "<X1>"] and len(bpe) == layout.vocab
    assert layout.sentinel == (bpe.number("<X0>"), bpe.number("<X1>")) and layout.end == bpe.number("<end>")
    assert max(bpe.encode("<mask><end><X0>")) < layout.ordinary
    assert bpe.decode([*bpe.encode("low"), layout.sentinel[0]]) == "low<X0>"
    assert ByteBPE([]).decode([255]) == "�"
    with pytest.raises(ValueError, match=r"special = \['a'\] has a token twice, or one that a text can produce"):
        ByteBPE([], special=["a"])
    with pytest.raises(IndexError, match="numbers has 256, expected 0 to 255"):
        ByteBPE([]).decode([256])
    with pytest.raises(KeyError):
        ByteBPE([]).number("<mask>")


# Spans


def test_the_lectures_example_of_sentinels():
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    gone = [word in ("for", "inviting", "last") for word in words]
    number = {word: i for i, word in enumerate(words)}
    signs = {100: "<X>", 101: "<Y>", 102: "<Z>"} | {i: word for word, i in number.items()}
    pair = corrupt_spans([number[word] for word in words], gone, [100, 101, 102])
    assert " ".join(signs[i] for i in pair.inputs) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(signs[i] for i in pair.targets) == "<X> for inviting <Y> last <Z>"


spans = st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=40)


@given(spans)
def test_what_was_taken_out_can_be_put_back(pairs):
    tokens, taken = [token for token, _ in pairs], [gone for _, gone in pairs]
    sentinels = range(100, 141)
    found = corrupt_spans(tokens, taken, sentinels)
    assert restore_spans(*found, sentinels) == tokens
    used = [token for token in found.inputs if token >= 100]
    assert used == list(sentinels[: len(used)])
    assert [token for token in found.targets if token >= 100] == [*used, sentinels[len(used)]]
    assert len(found.inputs) + len(found.targets) == len(tokens) + 2 * len(used) + 1


def test_a_target_a_model_made_is_read_as_far_as_it_goes():
    assert restore_spans([1, 90, 4, 91], [7, 90, 2, 92, 5], [90, 91, 92]) == [1, 2, 4]
    assert restore_spans([1, 90], [], [90]) == [1]


@settings(deadline=None)
@given(st.integers(2, 200), st.floats(0.01, 0.99), st.floats(1, 8), st.integers(0, 99))
def test_random_spans_have_the_lengths_asked_for(length, share, mean, seed):
    gone = random_spans(3, length, share=share, mean=mean, generator=torch.Generator().manual_seed(seed))
    taken = min(max(round(share * length), 1), length - 1)
    starts = gone[:, 0] + (gone[:, 1:] & ~gone[:, :-1]).sum(1)
    assert gone.shape == (3, length) and (gone.sum(1) == taken).all()
    assert (starts == min(max(round(taken / mean), 1), taken, length - taken + 1)).all()


def test_every_way_to_cut_is_as_likely():
    rows = random_spans(12_000, 6, share=0.5, mean=1.5, generator=torch.Generator().manual_seed(0))
    ways, counts = rows.unique(dim=0, return_counts=True)
    # Three tokens go, in two pieces, so one before two or two before one; between these, at least one stays:
    # three ways to lay two pieces with a gap of 1, two with 2, one with 3.
    assert len(ways) == 2 * (3 + 2 + 1) and (counts / 1000 - 1).abs().max() < 0.12


def test_spans_complain_of_what_is_wrong():
    with pytest.raises(ValueError, match="taken has 2 entries, expected 3, as tokens has"):
        corrupt_spans([1, 2, 3], [True, False], [90, 91])
    with pytest.raises(ValueError, match="sentinels has 2, expected 3: one a span, and one for the end"):
        corrupt_spans([1, 2, 3], [True, False, True], [90, 91])
    with pytest.raises(ValueError, match="tokens has 90, which is a sentinel"):
        corrupt_spans([1, 90], [True, False], [90, 91])
    for wrong in (dict(length=1), dict(length=9, share=0.0), dict(length=9, mean=0.5)):
        with pytest.raises(ValueError, match=f"length = {wrong['length']}, share = "):
            random_spans(2, **wrong)


def test_tasks_are_texts_that_name_themselves():
    said = objectives.text_to_text("acceptability", sentence="The course is jumping well.")
    assert said == "cola sentence: The course is jumping well."
    with pytest.raises(ValueError, match="task = 'poetry', expected one of acceptability, translation, summary"):
        objectives.text_to_text("poetry", sentence="")
    with pytest.raises(ValueError, match="task = 'translation' needs the field 'source'"):
        objectives.text_to_text("translation", sentence="")


# Permutations


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_masks_let_each_see_what_came_before_it_in_the_order(order):
    ranks = torch.empty(1, 4, dtype=torch.long)
    for when, place in enumerate(order):
        ranks[0, place] = when
    masks = objectives.permutation_masks(ranks)
    for i in range(4):
        for j in range(4):
            earlier = order.index(j) < order.index(i)
            assert bool(masks.query[0, i, j]) == earlier
            assert bool(masks.content[0, i, j]) == (earlier or i == j)


def test_in_the_order_of_the_text_they_are_causal_masks():
    masks = objectives.permutation_masks(torch.arange(5)[None])
    assert torch.equal(masks.content[0], family_mask("decoder-only", 0, 5))
    assert torch.equal(masks.query[0], family_mask("decoder-only", 0, 5) & ~torch.eye(5, dtype=torch.bool))


def test_random_ranks_are_permutations_and_each_is_as_likely(device):
    generator = torch.Generator(device).manual_seed(0)
    ranks = objectives.random_ranks(6000, 3, generator=generator, device=device)
    assert ranks.device.type == device.type
    _, counts = ranks.unique(dim=0, return_counts=True)
    assert len(counts) == 6 and (counts / 1000 - 1).abs().max() < 0.12
    some = objectives.random_ranks(500, 12, predicted=1 / 6, generator=generator, device=device)
    assert ((some == 0).sum(1) == 10).all() and (some.amax(1) == 2).all()
    asked = (some > 0).float().mean(0)
    assert (asked - 1 / 6).abs().max() < 0.06
    assert (objectives.random_ranks(3, 2, predicted=0.1).sum(1) == 1).all()
    everything = objectives.random_ranks(3, 4, predicted=1.0)
    assert sorted(everything[0].tolist()) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"predicted = 0.*expected a share above 0"):
        objectives.random_ranks(1, 4, predicted=0.0)


# Tasks

LAYOUT = Layout(ordinary=50)


def tasks_of(objective, tokens, seed=0):
    return objectives.OBJECTIVES[objective](tokens, LAYOUT, torch.Generator().manual_seed(seed))


def test_each_objective_asks_for_what_the_text_holds():
    tokens = torch.randint(50, (4, 32))
    reads, says = objectives.causal_shift(tokens)
    assert torch.equal(reads[:, 1:], says[:, :-1]) and torch.equal(says, tokens[:, 1:])
    gpt, bert, t5, xlnet = (tasks_of(name, tokens) for name in ("gpt", "bert", "t5", "xlnet"))
    assert torch.equal(gpt.labels, says) and torch.equal(gpt.tokens, reads)
    asked = bert.labels != IGNORED
    assert (asked.sum(1) == 5).all() and torch.equal(bert.labels[asked], tokens[asked]) and bert.sees is None
    assert torch.equal(bert.tokens[~asked], tokens[~asked]) and (bert.tokens[asked] == LAYOUT.mask).float().mean() > 0.5
    asked = xlnet.labels != IGNORED
    assert (asked.sum(1) == 5).all() and torch.equal(xlnet.labels[asked], tokens[asked])
    assert torch.equal(asked, xlnet.ranks > 0) and torch.equal(xlnet.tokens, tokens)
    for row, label, text in zip(t5.tokens.tolist(), t5.labels.tolist(), tokens.tolist(), strict=True):
        target = [token for token in label if token != IGNORED]
        source = row[: len(row) - len(target) + 1]
        assert restore_spans(source, target, LAYOUT.sentinel) == text
        assert row == source + target[:-1]  # each place reads what the place before it was to say
        assert t5.places.tolist() == [*range(len(source)), *range(32, 32 + len(target) - 1)]
        assert torch.equal(t5.sees, family_mask("encoder-decoder", len(source), len(target) - 1))


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
def test_tasks_follow_the_generator_and_leave_the_tokens_alone(objective):
    tokens = torch.randint(50, (3, 32))
    before = tokens.clone()
    first, again, other = (tasks_of(objective, tokens, seed) for seed in (0, 0, 1))
    assert torch.equal(tokens, before) and torch.equal(first.tokens, again.tokens)
    assert torch.equal(first.labels, again.labels)
    assert objective == "gpt" or not torch.equal(first.labels, other.labels)
    some = first.rows(slice(1, 3))
    assert torch.equal(some.tokens, first.tokens[1:]) and torch.equal(some.labels, first.labels[1:])


@pytest.mark.parametrize("objective", objectives.OBJECTIVES)
@pytest.mark.parametrize("place", [1, 4, 7])
def test_a_cloze_asks_for_one_token_and_does_not_show_it(objective, place):
    tokens = torch.arange(24).reshape(3, 8)
    task = objectives.cloze_task(objective, tokens, place, LAYOUT)
    asked = task.labels != IGNORED
    assert (asked.sum(1) == 1).all() and torch.equal(task.labels[asked], tokens[:, place])
    if objective != "xlnet":  # which keeps it in the content stream, where the query does not see it
        assert not torch.isin(tokens[:, place], task.tokens).any()
    if objective != "gpt":
        others = torch.cat([tokens[:, :place], tokens[:, place + 1 :]], 1)
        assert torch.isin(others, task.tokens).all()
    with pytest.raises(ValueError, match="place = 0, expected 1 to 7"):
        objectives.cloze_task(objective, tokens, 0, LAYOUT)


def test_tasks_complain_of_what_is_wrong():
    with pytest.raises(ValueError, match="objective = 'elmo', expected one of gpt, bert, t5, xlnet"):
        objectives.cloze_task("elmo", torch.zeros(1, 4, dtype=torch.long), 2, LAYOUT)
    with pytest.raises(ValueError, match="tokens has 1 in a row, expected at least 2"):
        objectives.causal_shift(torch.zeros(3, 1, dtype=torch.long))


# Scaling laws


def test_a_power_law_is_found_again():
    sizes = np.array([1e3, 1e4, 1e5, 1e6])
    law = objectives.PowerLaw(0.076, 8.8e13)
    found = objectives.fit_power_law(sizes, law(sizes))
    assert math.isclose(found.exponent, law.exponent, rel_tol=1e-9)
    assert math.isclose(found.scale, law.scale, rel_tol=1e-6) and found.floor == 0
    sizes = 10 ** np.linspace(3, 7, 9)
    law = objectives.PowerLaw(0.34, 406.4 ** (1 / 0.34), 1.69)
    found = objectives.fit_power_law_with_floor(sizes, law(sizes), steps=5000)
    assert abs(found.floor - 1.69) < 0.01 and abs(found.exponent - 0.34) < 0.005
    np.testing.assert_allclose(found(sizes), law(sizes), rtol=1e-3)


def test_noise_does_not_bend_a_line_much():
    rng = np.random.default_rng(0)
    sizes = 10 ** np.linspace(3, 6, 12)
    found = objectives.fit_power_law(sizes, 20 * sizes**-0.1 * np.exp(0.01 * rng.normal(size=12)))
    assert abs(found.exponent - 0.1) < 0.01


@pytest.mark.parametrize(
    "sizes, losses", [([1.0], [2.0]), ([1.0, 1.0], [2.0, 3.0]), ([1.0, 2.0], [2.0]), ([1.0, 2.0], [2.0, 0.0])]
)
def test_too_few_points_are_refused(sizes, losses):
    with pytest.raises(ValueError, match="expected two or more, one loss each, all above 0"):
        objectives.fit_power_law(sizes, losses)


def test_published_scaling_numbers():
    assert round(objectives.chinchilla_loss(70e9, 1.4e12), 2) == 1.94
    assert objectives.chinchilla_loss(280e9, 300e9) > objectives.chinchilla_loss(70e9, 1.4e12)  # Gopher, Chinchilla
    assert objectives.training_flops(2, 3) == 36
    with pytest.raises(ValueError, match="sizes has 2 different ones, expected three or more"):
        objectives.fit_power_law_with_floor([1, 2], [3, 2])
