"""The exercise on WordPiece: one word, cut greedily into the longest pieces of a vocabulary."""

from autograder.exercise import Case, Exercise
from ml_course import bert


def pieces_of_the_library(word, vocabulary, longest=100):
    """The reference under the homework's signature."""
    return bert.longest_match(word, vocabulary, longest=longest)


word_pieces = Exercise(
    "bert.word_pieces",
    reference=pieces_of_the_library,
    facets={"pieces": 2, "unknown words": 1, "long words": 0.5},
    difficulty=2,
    minutes=20,
)


@word_pieces.cases
def word_cases(rng):
    letters = [str(c) for c in rng.permutation(list("abcdefgh"))]
    a, b, c, d = letters[:4]
    alphabet = [*letters, *("##" + x for x in letters)]
    some = [str(x) for x in rng.choice(letters, size=9)]
    word = "".join(some)

    def case(label, word, vocabulary, facet=None, longest=100):
        order = rng.permutation(len(vocabulary))  # which piece stands first in the vocabulary must not matter
        return Case(label, facet, word=word, vocabulary=[vocabulary[i] for i in order], longest=longest)

    yield case("the example", "unaffable", ["un", "##aff", "##able", "u", "##n", "##a", "##f"])
    yield case("a word that is a piece", word, [*alphabet, word, word[:4]])
    yield case("character by character", word, alphabet)
    yield case("the longer piece wins", word, [*alphabet, word[:2], word[:5], "##" + word[5:7], "##" + word[5:8]])
    yield case("a piece of the same letters, with and without ##", word, [*alphabet, word[:3], "##" + word[:3]])
    yield case(
        "what begins a word, inside one", a + b + c + b + c, [*alphabet, b + c, "##" + b + c + b, a + b + c + b + c + a]
    )
    yield case("one letter", a, [*alphabet, a + b])
    yield case("the longest piece is the whole rest", a + b + c + d, [*alphabet, "##" + b + c + d, "##" + b + c])
    yield case("no beginning", a + b, [b, "##" + b, "##" + a + b], "unknown words")
    yield case("no way on", a + b + c, [a + b, "##" + a, "##" + b, c], "unknown words")
    yield case("a shorter first piece would do", a + b + c, [a + b, a, "##" + b + c], "unknown words")
    yield case("an unknown letter in the middle", a + b + "z" + c + d, alphabet, "unknown words")
    longest = int(rng.integers(4, 9))
    yield case("just as long as allowed", word[:longest], alphabet, "long words", longest)
    yield case("one letter too long", word[: longest + 1], alphabet, "long words", longest)
    yield case("too long, though a piece", word[: longest + 1], [*alphabet, word[: longest + 1]], "long words", longest)
    yield case("the usual limit", a * 101, alphabet, "long words")


@word_pieces.probe
def ask_word_pieces(answer, word, vocabulary, longest):
    return {"pieces": answer(word, set(vocabulary), longest)}


@word_pieces.alternative
def eating_the_rest(word, vocabulary, longest=100):
    if len(word) > longest:
        return ["[UNK]"]
    pieces, rest = [], word
    while rest:
        fitting = [rest[:n] for n in range(1, len(rest) + 1) if ("##" if pieces else "") + rest[:n] in vocabulary]
        if not fitting:
            return ["[UNK]"]
        pieces.append(("##" if pieces else "") + fitting[-1])
        rest = rest[len(fitting[-1]) :]
    return pieces


@word_pieces.alternative
def by_recursion(word, vocabulary, longest=100):
    def cut(rest):
        if rest in ("", "##"):
            return []
        for stop in range(len(rest), 0, -1):
            if rest[:stop] in vocabulary and rest[:stop] != "##":
                following = cut("##" + rest[stop:])
                return None if following is None else [rest[:stop], *following]
        return None

    return (None if len(word) > longest else cut(word)) or ["[UNK]"]


@word_pieces.alternative
def counting_down(word, vocabulary, longest=100):
    pieces, start, stop = [], 0, len(word)
    while len(word) <= longest and start < stop:
        piece = word[start:stop] if start == 0 else "##" + word[start:stop]
        if piece in vocabulary:
            pieces.append(piece)
            start, stop = stop, len(word)
        else:
            stop -= 1
    return pieces if start == len(word) and pieces else ["[UNK]"]


word_pieces.slip(
    "no ## inside the word",
    eating_the_rest,
    'if ("##" if pieces else "") + rest[:n] in vocabulary',
    "if rest[:n] in vocabulary",
    cause="Inside a word the piece is looked up without ##, as if a new word began there.",
    hint="Which pieces may follow the first one? Read the vocabulary of the example.",
)
word_pieces.slip(
    "## for the first piece too",
    counting_down,
    'word[start:stop] if start == 0 else "##" + word[start:stop]',
    '"##" + word[start:stop]',
    cause="The first piece is looked up with ## as well; only pieces inside a word have it.",
    hint="What does ## say about where a piece stands?",
)
word_pieces.slip(
    "the shortest piece",
    eating_the_rest,
    "fitting[-1])\n        rest = rest[len(fitting[-1]) :]",
    "fitting[0])\n        rest = rest[len(fitting[0]) :]",
    cause="The shortest piece that fits is taken; it should be the longest.",
    hint="Of all prefixes of the rest that are pieces, which one?",
)
word_pieces.slip(
    "pieces kept before the unknown rest",
    eating_the_rest,
    '            return ["[UNK]"]\n        pieces',
    '            return [*pieces, "[UNK]"]\n        pieces',
    cause="When the rest has no piece, the pieces found so far are kept; the whole word is unknown then.",
    hint="One [UNK] stands for the word, and nothing else of it remains.",
)
word_pieces.slip(
    "long words are cut as well",
    eating_the_rest,
    '    if len(word) > longest:\n        return ["[UNK]"]\n',
    "",
    cause="The argument `longest` is not used: long words are cut into pieces like all others.",
    hint="Call it with a word of 5 letters and longest=4.",
)
word_pieces.slip(
    "the limit itself is too long",
    eating_the_rest,
    "len(word) > longest",
    "len(word) >= longest",
    cause="A word of exactly `longest` characters is taken for unknown; only longer ones are.",
    hint="More than `longest`, or at least `longest`?",
)


@word_pieces.mistake(hint="Take the longest piece, once and for all. What if the word then cannot be finished?")
def trying_again(word, vocabulary, longest=100):
    """When the longest piece leads nowhere, a shorter one is tried; WordPiece never goes back."""
    if len(word) > longest:
        return ["[UNK]"]

    def cut(start):
        if start == len(word):
            return []
        for stop in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:stop]
            if piece in vocabulary:
                following = cut(stop)
                if following is not None:
                    return [piece, *following]
        return None

    return cut(0) or ["[UNK]"]


@word_pieces.mistake(hint="A letter without a piece spoils the word, not only its own place.")
def unknown_letter_by_letter(word, vocabulary, longest=100):
    """A letter that no piece covers becomes [UNK] by itself and the rest is cut on; the whole word is unknown then."""
    if len(word) > longest:
        return ["[UNK]"]
    pieces, start = [], 0
    while start < len(word):
        for stop in range(len(word), start, -1):
            if ("##" if start else "") + word[start:stop] in vocabulary:
                pieces.append(("##" if start else "") + word[start:stop])
                start = stop
                break
        else:
            pieces.append("[UNK]")
            start += 1
    return pieces
