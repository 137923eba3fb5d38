"""From text to numbers and back without loss; batches that hold every sample once."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from ml_course.text import SPECIAL, Batches, Padded, Vocabulary, characters, pad, unpad, words

TOKENS = st.lists(st.text(max_size=4), max_size=20)
RAGGED = st.lists(st.lists(st.integers(1, 99), max_size=7), min_size=1, max_size=20)


@given(st.text())
def test_tokens_hold_all_of_the_text_but_white_space(text):
    assert "".join(characters(text)) == text
    assert "".join(words(text)) == "".join(text.split())
    assert all(word and not any(map(str.isspace, word)) for word in words(text))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't stop -- it's 3.14!", ["Don't", "stop", "-", "-", "it's", "3", ".", "14", "!"]),
        ("«Кот» ловит мышь…", ["«", "Кот", "»", "ловит", "мышь", "…"]),
        ("'quoted' rock 'n' roll", ["'", "quoted", "'", "rock", "'", "n", "'", "roll"]),
        ("", []),
    ],
)
def test_words_part_from_punctuation_but_keep_apostrophes(text, tokens):
    assert words(text) == tokens


@given(TOKENS, st.booleans(), st.booleans())
def test_known_tokens_come_back_as_they_went(tokens, bos, eos):
    tokens = [token for token in tokens if token not in SPECIAL]
    vocabulary = Vocabulary.from_texts([tokens])
    numbers = vocabulary.encode(tokens, bos=bos, eos=eos)
    assert len(numbers) == len(tokens) + bos + eos
    assert vocabulary.decode(numbers) == tokens
    assert vocabulary.decode(numbers, special=True) == ["<bos>"] * bos + tokens + ["<eos>"] * eos
    assert vocabulary.decode([*numbers, *[vocabulary.pad] * 3]) == tokens


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 5)), st.integers(4, 12), st.integers(1, 4))
def test_the_most_frequent_tokens_are_chosen(counts, size, least):
    vocabulary = Vocabulary.from_counts(counts, size=size, least=least)
    assert vocabulary.tokens[:4] == SPECIAL and len(vocabulary) <= size
    kept = vocabulary.tokens[4:]
    left = counts.keys() - set(vocabulary.tokens)
    assert all(counts[token] >= least for token in kept)
    if len(vocabulary) < size:
        assert all(counts[token] < least for token in left)
    assert all((-counts[a], a) < (-counts[b], b) for a in kept for b in left if counts[b] >= least)
    assert list(kept) == sorted(kept, key=lambda token: (-counts[token], token))


def test_a_text_cannot_speak_for_the_machinery():
    vocabulary = Vocabulary(["a"], special=["<mask>"])
    assert vocabulary.encode(["<pad>", "<eos>", "<mask>", "a", "b"]) == [1, 1, 1, 5, 1]
    assert vocabulary.number("<mask>") == 4 and "<mask>" in vocabulary and vocabulary[5] == "a"
    assert "<mask>" not in Vocabulary.from_counts({"<mask>": 3, "a": 1}, special=["<mask>"]).tokens[5:]


def test_decoding_stops_at_the_end_and_skips_what_is_no_text():
    vocabulary = Vocabulary("ab")
    assert vocabulary.decode([2, 4, 1, 5, 3, 4, 4, 0]) == ["a", "<unk>", "b"]
    assert vocabulary.decode(torch.tensor([4, 5])) == ["a", "b"]
    for number in (-1, 6):
        with pytest.raises(ValueError, match=rf"numbers has {number}, expected 0 to 5"):
            vocabulary.decode([number])


def test_a_vocabulary_refuses_what_would_be_ambiguous():
    with pytest.raises(ValueError, match="tokens has 'a' twice"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match="tokens has '<eos>' twice"):
        Vocabulary(["<eos>"])
    with pytest.raises(ValueError, match="size = 4 has no room for the 5 special tokens"):
        Vocabulary.from_counts({}, size=4, special=["<mask>"])
    with pytest.raises(KeyError):
        Vocabulary("ab").number("c")


@given(RAGGED, st.integers(-3, 0))
def test_padding_equals_that_of_torch_and_loses_nothing(sequences, filler):
    padded = pad(sequences, filler)
    wanted = pad_sequence([torch.tensor(s, dtype=torch.long) for s in sequences], True, padding_value=filler)
    assert torch.equal(padded.ids, wanted) and padded.ids.dtype == torch.long
    assert padded.mask.dtype == torch.bool and padded.lengths.tolist() == [len(s) for s in sequences]
    assert torch.equal(padded.mask, padded.ids > 0)
    assert unpad(padded) == sequences


def test_padding_to_a_length(device):
    padded = pad([torch.tensor([5, 6]), [7]], length=4).to(device)
    assert padded.ids.tolist() == [[5, 6, 0, 0], [7, 0, 0, 0]] and padded.mask.device.type == device.type
    with pytest.raises(ValueError, match="length = 1, but a sequence has 2 entries"):
        pad([[5, 6]], length=1)
    with pytest.raises(ValueError, match="sequences is empty"):
        pad([])


@settings(deadline=None)
@given(RAGGED, st.integers(1, 6), st.sampled_from([None, 0, 1]), st.booleans())
def test_every_pass_holds_every_sample_once_with_its_own_label(sequences, size, seed, by_length):
    labels = np.arange(len(sequences))
    batches = Batches(sequences, labels, torch.from_numpy(labels), size=size, seed=seed, by_length=by_length)
    for _ in range(2):
        seen = []
        for tokens, numbers, tensor in batches:
            assert isinstance(tokens, Padded) and isinstance(numbers, np.ndarray)
            assert len(numbers) <= size and tensor.tolist() == numbers.tolist()
            assert unpad(tokens) == [sequences[i] for i in numbers]
            seen += numbers.tolist()
        assert len(list(batches)) == len(batches) == -(-len(sequences) // size)
        assert sorted(seen) == labels.tolist()


def orders(batches: Batches, passes: int = 2) -> list[list[int]]:
    return [[i for (column,) in batches for i in column.tolist()] for _ in range(passes)]


def test_the_order_depends_on_the_seed_and_the_pass_alone():
    labels = np.arange(50)
    first, second = orders(Batches(labels, size=8, seed=1))
    torch.manual_seed(5)
    np.random.seed(5)
    assert orders(Batches(labels, size=8, seed=1)) == [first, second]
    assert first != second and first != orders(Batches(labels, size=8, seed=2))[0]
    assert orders(Batches(labels, size=8, seed=None)) == [list(range(50))] * 2


def test_a_shuffle_is_uniform():
    """Each of the six orders of three samples comes in a sixth of 1,200 passes (three standard deviations are 39)."""
    found = Counter(map(tuple, orders(Batches(np.arange(3), size=3), 1200)))
    assert len(found) == 6 and all(abs(count - 200) < 60 for count in found.values())


def test_by_length_leaves_little_filler_and_mixes_the_batches():
    lengths = np.random.default_rng(0).integers(1, 60, 640)
    sequences = [[7] * int(length) for length in lengths]

    def filler(by_length: bool) -> float:
        masks = [tokens.mask for (tokens,) in Batches(sequences, size=32, by_length=by_length)]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert filler(True) < 0.05 < 0.3 < filler(False)
    longest = [tokens.ids.shape[1] for (tokens,) in Batches(sequences, size=32, by_length=True)]
    assert longest != sorted(longest)
    in_order = [tokens.ids.shape[1] for (tokens,) in Batches(sequences, size=32, seed=None, by_length=True)]
    assert in_order == sorted(in_order)


def test_tensors_stay_on_their_device(device):
    column = torch.arange(5, device=device)
    assert all(batch.device.type == device.type for (batch,) in Batches(column, size=2))


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        (([1, 2], [1]), {"size": 1}, r"columns have \[2, 1\] samples"),
        (([],), {"size": 1}, r"columns have \[0\] samples"),
        ((), {"size": 1}, r"columns have \[\] samples"),
        (([[1]],), {"size": 0}, "size = 0, expected at least 1"),
        ((np.ones(3),), {"size": 1, "by_length": True}, "by_length = True needs a column of sequences"),
    ],
)
def test_batches_refuse(columns, options, says):
    with pytest.raises(ValueError, match=says):
        Batches(*columns, **options)
