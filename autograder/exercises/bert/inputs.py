"""The exercises on what BERT reads: texts in a row with segments and mask, and the sum of three tables."""

import numpy as np
import torch

from autograder.exercise import DTYPE, GRADIENTS, SIDE_EFFECTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import bert, text

# build_inputs


def built_by_the_library(firsts, seconds, cls, sep, pad):
    """The reference under the homework's signature."""
    seconds = [None] * len(firsts) if seconds is None else seconds
    rows = [bert.join(a, b, cls=cls, sep=sep) for a, b in zip(firsts, seconds, strict=True)]
    tokens, mask = text.pad([tokens for tokens, _ in rows], filler=pad)
    return tokens, text.pad([segments for _, segments in rows], filler=0).ids, mask


build_inputs = Exercise(
    "bert.build_inputs",
    reference=built_by_the_library,
    facets={"one text": 1, "pairs": 1, "padding": 1, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=1,
    minutes=20,
    results=("tokens", "segments", "mask"),
)


@build_inputs.cases
def build_cases(rng):
    def texts(*lengths):
        return [[int(x) for x in rng.integers(200, 900, size=length)] for length in lengths]

    cls, sep, pad = (int(x) for x in rng.permutation(np.arange(1, 100))[:3])

    def case(label, facet, firsts, seconds=None, pad=pad):
        return Case(label, facet, firsts=firsts, seconds=seconds, cls=cls, sep=sep, pad=pad)

    length = int(rng.integers(2, 6))
    yield case("one text", None, texts(length))
    yield case("texts of the same length", None, texts(length, length, length))
    yield case("an empty text", None, texts(0))
    yield case("one pair", "pairs", texts(length), texts(length + 2))
    yield case("pairs of one token each", "pairs", texts(1, 1), texts(1, 1))
    yield case("a long first text", "pairs", texts(7), texts(2))
    yield case("an empty second text", "pairs", texts(3), texts(0))
    yield case("texts of different length", "padding", texts(*(int(n) for n in rng.permutation([1, 3, 6, 4]))))
    yield case(
        "pairs of different length", "padding", texts(*(int(n) for n in rng.permutation([1, 5, 2]))), texts(4, 2, 7)
    )
    yield case("the filler is 0", "padding", texts(2, 5), texts(3, 3), pad=0)


@build_inputs.probe
def ask_build_inputs(answer, firsts, seconds, cls, sep, pad):
    tokens, segments, mask = answer(firsts, seconds, cls, sep, pad)
    return {"tokens": tokens, "segments": segments, "mask": mask}


@build_inputs.alternative
def rows_and_filler(firsts, seconds, cls, sep, pad):
    token_rows, segment_rows = [], []
    for i, first in enumerate(firsts):
        row = [cls, *first, sep]
        segment = [0] * len(row)
        if seconds is not None:
            row = row + seconds[i] + [sep]
            segment = segment + [1] * (len(seconds[i]) + 1)
        token_rows.append(row)
        segment_rows.append(segment)
    longest = max(len(row) for row in token_rows)
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in token_rows])
    segments = torch.tensor([row + [0] * (longest - len(row)) for row in segment_rows])
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in token_rows])
    return tokens, segments, mask


@build_inputs.alternative
def by_counting(firsts, seconds, cls, sep, pad):
    rows = [[cls, *first, sep] for first in firsts]
    first_lengths = torch.tensor([len(row) for row in rows])[:, None]
    if seconds is not None:
        rows = [[*row, *second, sep] for row, second in zip(rows, seconds, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])[:, None]
    place = torch.arange(int(lengths.max()))
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], True, pad)
    return tokens, ((place >= first_lengths) & (place < lengths)).long(), place < lengths


@build_inputs.alternative
def filled_in_place(firsts, seconds, cls, sep, pad):
    parts = [[first] if seconds is None else [first, seconds[i]] for i, first in enumerate(firsts)]
    time = max(1 + sum(len(part) + 1 for part in row) for row in parts)
    tokens = torch.full((len(parts), time), pad)
    segments, mask = torch.zeros_like(tokens), torch.zeros(len(parts), time, dtype=torch.bool)
    for i, row in enumerate(parts):
        tokens[i, 0], place = cls, 1
        for number, part in enumerate(row):
            stop = place + len(part)
            tokens[i, place:stop] = torch.tensor(part, dtype=torch.long)
            tokens[i, stop] = sep
            segments[i, place : stop + 1] = number
            place = stop + 1
        mask[i, :place] = True
    return tokens, segments, mask


build_inputs.slip(
    "the first [SEP] in segment 1",
    rows_and_filler,
    "        segment = [0] * len(row)\n",
    "        segment = [0] * len(row) if seconds is None else [0] * (len(row) - 1) + [1]\n",
    cause="The [SEP] between the texts is given to segment 1; it closes the first text and belongs to segment 0.",
    hint="Count the zeros: [CLS], the first text, and what follows it.",
)
build_inputs.slip(
    "the last [SEP] in segment 0",
    rows_and_filler,
    "[1] * (len(seconds[i]) + 1)",
    "[1] * len(seconds[i]) + [0]",
    cause="The last [SEP] is given to segment 0; it closes the second text and belongs to segment 1.",
    hint="Each [SEP] belongs to the text it closes.",
)
build_inputs.slip(
    "no [SEP] at the end",
    rows_and_filler,
    "row + seconds[i] + [sep]\n            segment = segment + [1] * (len(seconds[i]) + 1)",
    "row + seconds[i]\n            segment = segment + [1] * len(seconds[i])",
    cause="The second text is not closed by a [SEP].",
    hint="There are as many [SEP] as texts.",
)
build_inputs.slip(
    "[CLS] before the second text too",
    rows_and_filler,
    "row + seconds[i] + [sep]\n            segment = segment + [1] * (len(seconds[i]) + 1)",
    "row + [cls] + seconds[i] + [sep]\n            segment = segment + [1] * (len(seconds[i]) + 2)",
    cause="The second text gets a [CLS] of its own; there is one, at the very beginning.",
    hint="[CLS] stands for the whole input. How many inputs are there?",
)
build_inputs.slip(
    "filler in segment 1",
    rows_and_filler,
    "row + [0] * (longest - len(row)) for row in segment_rows",
    "row + [1] * (longest - len(row)) for row in segment_rows",
    cause="The filler is given to segment 1; the exercise asks for 0 there.",
    hint="What are the segments behind a row's end?",
)
build_inputs.slip(
    "mask inverted",
    rows_and_filler,
    "[True] * len(row) + [False] * (longest - len(row))",
    "[False] * len(row) + [True] * (longest - len(row))",
    cause="The mask is True at the filler. In this course True means: may be attended to.",
    hint="True = real.",
)
build_inputs.slip(
    "filled with 0 whatever pad is",
    rows_and_filler,
    "row + [pad] * (longest - len(row))",
    "row + [0] * (longest - len(row))",
    cause="The argument `pad` is not used: the filler is always 0.",
    hint="RoBERTa's filler has the number 1.",
)
build_inputs.slip(
    "mask from the token's number",
    rows_and_filler,
    "    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in token_rows])\n",
    "    mask = tokens != sep\n",
    cause="The mask hides the [SEP] tokens instead of the filler.",
    hint="Which tokens were not in the texts and mean nothing?",
)


@build_inputs.mistake(hint="`append`, `insert` and `+=` change the list they are called on. Build a new one.")
def texts_changed(firsts, seconds, cls, sep, pad):
    """The lists that were given get the special tokens put in; the caller still needs them as they were."""
    segments = []
    for i, first in enumerate(firsts):
        first.insert(0, cls)
        first.append(sep)
        segments.append([0] * len(first))
        if seconds is not None:
            first += [*seconds[i], sep]
            segments[i] += [1] * (len(seconds[i]) + 1)
    longest = max(len(row) for row in firsts)
    mask = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in firsts])
    tokens = torch.tensor([row + [pad] * (longest - len(row)) for row in firsts])
    return tokens, torch.tensor([row + [0] * (longest - len(row)) for row in segments]), mask


# embed_inputs


def embedded_by_the_library(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12):
    """The reference under the homework's signature."""
    config = bert.BertConfig(
        len(token_table), token_table.shape[1], heads=1, context=len(position_table), segments=len(segment_table),
        dropout=0.0,
    )  # fmt: skip
    layer = bert.BertEmbedding(config)
    layer.norm.epsilon = epsilon
    tables = {
        "token.weight": token_table, "position.weight": position_table, "segment.weight": segment_table,
        "norm.weight": scale, "norm.bias": shift,
    }  # fmt: skip
    return torch.func.functional_call(layer, tables, (tokens, segments))


embed_inputs = Exercise(
    "bert.embed_inputs",
    reference=embedded_by_the_library,
    facets={"values": 2, "segments": 1, DTYPE: 0.5, GRADIENTS: 0.5},
    difficulty=1,
    minutes=15,
)


@embed_inputs.cases
def embed_cases(rng):
    def case(label, facet=None, batch=2, time=4, d_model=6, vocab=9, context=None, dtype=np.float64, **more):
        shapes = dict(
            token_table=(vocab, d_model), position_table=(context or time + 3, d_model), segment_table=(2, d_model),
            scale=(d_model,), shift=(d_model,),
        )  # fmt: skip
        given = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        tokens = rng.integers(0, vocab, size=(batch, time))
        segments = np.zeros((batch, time), dtype=np.int64)
        return Case(label, facet, **(dict(tokens=tokens, segments=segments, epsilon=1e-12) | given | more))

    batch, time, width = (int(x) for x in rng.integers(2, 6, size=3))
    yield case("one text each", None, batch, time, width + 1)
    yield case("one token", None, 1, 1, width + 1)
    yield case("as many tokens as the table of positions has", None, 1, time, width + 1, context=time)
    yield case("as many rows as tokens and features", None, 4, 4, 4, 4, 4)
    yield case("a larger ε", None, batch, time, width + 1, epsilon=float(rng.uniform(0.5, 2)))
    two = np.sort(rng.integers(0, 2, size=(3, 6)), axis=1)
    two[0] = [0, 0, 0, 1, 1, 1]
    yield case("two texts", "segments", 3, 6, segments=two)
    yield case("two texts, then filler", "segments", 1, 6, segments=np.array([[0, 0, 1, 1, 0, 0]]))
    yield case("two texts, float32", "segments", 3, 6, segments=two, dtype=np.float32)


@embed_inputs.probe
def ask_embed_inputs(answer, tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon):
    import torch

    def call(token_table, position_table, segment_table, scale, shift):
        numbers = torch.from_numpy(tokens), torch.from_numpy(segments)
        return {"result": answer(*numbers, token_table, position_table, segment_table, scale, shift, epsilon)}

    tables = dict(token_table=token_table, position_table=position_table, segment_table=segment_table)
    return with_gradients(call, **tables, scale=scale, shift=shift)


@embed_inputs.alternative
def written_out(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12):
    x = token_table[tokens] + position_table[torch.arange(tokens.shape[1])] + segment_table[segments]
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    return centred / torch.sqrt(variance + epsilon) * scale + shift


@embed_inputs.alternative
def with_torchs_norm(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12):
    x = token_table[tokens] + segment_table.index_select(0, segments.flatten()).view(*segments.shape, -1)
    x = x + position_table[: tokens.size(1)].unsqueeze(0)
    return torch.nn.functional.layer_norm(x, scale.shape, scale, shift, epsilon)


@embed_inputs.alternative
def by_one_hot(tokens, segments, token_table, position_table, segment_table, scale, shift, epsilon=1e-12):
    def look_up(numbers, table):
        return torch.nn.functional.one_hot(numbers, len(table)).to(table.dtype) @ table

    places = torch.arange(tokens.shape[1]).expand_as(tokens)
    x = look_up(tokens, token_table) + look_up(places, position_table) + look_up(segments, segment_table)
    return (x - x.mean(-1, keepdim=True)) * (x.var(-1, unbiased=False, keepdim=True) + epsilon).rsqrt() * scale + shift


embed_inputs.slip(
    "positions forgotten",
    written_out,
    " + position_table[torch.arange(tokens.shape[1])]",
    "",
    cause="The table of positions is not used: the encoder would not know in which order the tokens stand.",
    hint="Three tables are summed.",
)
embed_inputs.slip(
    "segments forgotten",
    written_out,
    " + segment_table[segments]",
    "",
    cause="The table of segments is not used.",
    hint="One text gets a vector too: that of segment 0.",
)
embed_inputs.slip(
    "always segment 0",
    written_out,
    "segment_table[segments]",
    "segment_table[0]",
    cause="Every token gets the vector of segment 0, those of the second text too.",
    hint="The argument `segments` is not used.",
)
embed_inputs.slip(
    "no norm",
    written_out,
    "    centred = x - x.mean(-1, keepdim=True)\n    variance = (centred * centred).mean(-1, keepdim=True)\n"
    "    return centred / torch.sqrt(variance + epsilon) * scale + shift",
    "    return x * scale + shift",
    cause="The sum is scaled and shifted, but not normalised before.",
    hint="Mean 0 and variance 1 first, for each token by itself.",
)
embed_inputs.slip(
    "each table normalised by itself",
    with_torchs_norm,
    "    x = token_table[tokens] + segment_table.index_select(0, segments.flatten()).view(*segments.shape, -1)\n"
    "    x = x + position_table[: tokens.size(1)].unsqueeze(0)\n"
    "    return torch.nn.functional.layer_norm(x, scale.shape, scale, shift, epsilon)",
    "    parts = (token_table[tokens], segment_table[segments], position_table[: tokens.size(1)])\n"
    "    return sum(torch.nn.functional.layer_norm(part, scale.shape, scale, shift, epsilon) for part in parts)",
    cause="Each of the three vectors is normalised by itself, then they are summed; the norm comes after the sum.",
    hint="There is one norm, with one scale and one shift.",
)
embed_inputs.slip(
    "positions by the token's number",
    written_out,
    "position_table[torch.arange(tokens.shape[1])]",
    "position_table[tokens % len(position_table)]",
    cause="The vector of the position is looked up by the token's number, not by where it stands.",
    hint="The first token of every row stands at position 0.",
)
embed_inputs.slip(
    "positions from 1",
    written_out,
    "position_table[torch.arange(tokens.shape[1])]",
    "position_table[(torch.arange(tokens.shape[1]) + 1).clamp(max=len(position_table) - 1)]",
    cause="The first token gets the second row of the table of positions.",
    hint="Positions count from 0.",
)
embed_inputs.slip(
    "epsilon outside the root",
    written_out,
    "torch.sqrt(variance + epsilon)",
    "(torch.sqrt(variance) + epsilon)",
    cause="ε is added to the deviation; it belongs under the root, to the variance.",
    hint="Try it with a large ε, as 1.",
)
embed_inputs.slip(
    "divided by one less",
    written_out,
    "(centred * centred).mean(-1, keepdim=True)",
    "(centred * centred).sum(-1, keepdim=True) / (x.shape[-1] - 1)",
    cause="The variance is divided by d_model − 1; the norm divides by d_model.",
    hint="torch's `var` corrects for a sample unless told otherwise.",
)
