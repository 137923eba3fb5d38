"""The exercise on sparse attention: window, global and random blocks as one mask of tokens."""

import torch

from autograder.exercise import Case, Exercise
from ml_course import longrange


def mask_of_tokens(time, block, window, global_blocks, random_blocks):
    """The reference under the homework's signature."""
    chart = longrange.window_chart(len(random_blocks), window)
    chart[:global_blocks] = chart[:, :global_blocks] = True
    chart = chart.scatter(1, random_blocks, True)
    return longrange.expand_chart(chart, block, time, time)


sparse_mask = Exercise(
    "longrange.sparse_mask",
    reference=mask_of_tokens,
    facets={"window": 2, "global": 1, "random": 1},
    difficulty=2,
    minutes=25,
)


@sparse_mask.cases
def sparse_cases(rng):
    def case(label, facet, blocks, block, window, global_blocks=0, random=0, short=0):
        chosen = rng.integers(0, blocks, size=(blocks, random))
        time = blocks * block - short
        return Case(label, facet, time=time, block=block, window=window, global_blocks=global_blocks, chosen=chosen)

    blocks, block = int(rng.integers(5, 8)), int(rng.integers(2, 5))
    yield case("a window of three blocks", None, blocks, block, 3)
    yield case("a window of five blocks", None, blocks + 2, block, 5)
    yield case("only the own block", None, blocks, block, 1)
    yield case("blocks of one token", None, blocks, 1, 3)
    yield case("a last block that is not full", None, blocks, 4, 3, short=3)
    yield case("one block in all", None, 1, 3, 3)
    yield case("one global block", "global", blocks, block, 1, 1)
    yield case("two global blocks and a window", "global", blocks + 2, block, 3, 2)
    yield case("random blocks", "random", blocks + 2, block, 1, 0, 2)
    yield case("one random block a row", "random", 8, 3, 1, 0, 1)
    yield case("all three kinds", "random", 9, 2, 3, 1, 2, short=1)


@sparse_mask.probe
def ask_sparse_mask(answer, time, block, window, global_blocks, chosen):
    import torch

    return {"mask": answer(time, block, window, global_blocks, torch.from_numpy(chosen))}


@sparse_mask.alternative
def token_by_token(time, block, window, global_blocks, random_blocks):
    mask = torch.zeros(time, time, dtype=torch.bool)
    for i in range(time):
        for j in range(time):
            row, column = i // block, j // block
            near = abs(row - column) <= (window - 1) // 2
            known = row < global_blocks or column < global_blocks
            mask[i, j] = near or known or column in random_blocks[row].tolist()
    return mask


@sparse_mask.alternative
def by_comparing_numbers(time, block, window, global_blocks, random_blocks):
    number = torch.arange(time) // block
    rows, columns = number[:, None], number[None, :]
    near = (rows - columns).abs() * 2 < window
    known = torch.minimum(rows, columns) < global_blocks
    drawn = (random_blocks[number][:, :, None] == number).any(1)
    return near | known | drawn


@sparse_mask.alternative
def by_a_product(time, block, window, global_blocks, random_blocks):
    blocks = len(random_blocks)
    chart = torch.ones(blocks, blocks).tril(window // 2).triu(-(window // 2))
    chart[:global_blocks] = 1
    chart[:, :global_blocks] = 1
    for row, chosen in enumerate(random_blocks):
        chart[row, chosen] = 1
    return torch.kron(chart, torch.ones(block, block))[:time, :time] > 0


sparse_mask.slip(
    "window taken for a radius",
    by_comparing_numbers,
    "(rows - columns).abs() * 2 < window",
    "(rows - columns).abs() <= window",
    cause="`window` blocks are seen on each side; it counts all of them, the own one in the middle.",
    hint="With window = 3, how many blocks does a row in the middle see?",
)
sparse_mask.slip(
    "window of tokens",
    by_comparing_numbers,
    "near = (rows - columns).abs() * 2 < window",
    "place = torch.arange(time)\n    near = (place[:, None] - place).abs() * 2 < window",
    cause="The window is measured in tokens; here it is measured in blocks.",
    hint="Two tokens of one block always see each other, however large the block.",
)
sparse_mask.slip(
    "window to the left only",
    by_comparing_numbers,
    "(rows - columns).abs() * 2 < window",
    "((rows - columns) * 2 < window) & (rows >= columns)",
    cause="The window reaches back but not ahead.",
    hint="|i − j|: the distance has no sign.",
)
sparse_mask.slip(
    "global blocks see all but are not seen",
    by_comparing_numbers,
    "torch.minimum(rows, columns) < global_blocks",
    "(rows < global_blocks) & (columns >= 0)",
    cause="Global blocks see everybody, but nobody sees them: what they collect never gets back.",
    hint="Global means both: their rows and their columns.",
)
sparse_mask.slip(
    "global blocks are seen but do not see",
    by_comparing_numbers,
    "torch.minimum(rows, columns) < global_blocks",
    "(columns < global_blocks) & (rows >= 0)",
    cause="Everybody sees the global blocks, but they do not see everybody.",
    hint="Global means both: their rows and their columns.",
)
sparse_mask.slip(
    "one global block too many",
    by_comparing_numbers,
    "torch.minimum(rows, columns) < global_blocks",
    "torch.minimum(rows, columns) <= global_blocks",
    cause="One block more than asked is global.",
    hint="With global_blocks = 0, is any block global?",
)
sparse_mask.slip(
    "random blocks transposed",
    by_comparing_numbers,
    "drawn = (random_blocks[number][:, :, None] == number).any(1)",
    "drawn = (random_blocks[number][:, :, None] == number).any(1).T",
    cause="Random blocks are seen the wrong way round: row i of random_blocks says whom block i *sees*.",
    hint="A mask is (query, key). Which of the two is the row of random_blocks?",
)
sparse_mask.slip(
    "random blocks in both directions",
    by_comparing_numbers,
    "return near | known | drawn",
    "return near | known | drawn | drawn.T",
    cause="Whoever is seen by chance also sees back; only window and global blocks are mutual.",
    hint="Row i of random_blocks says whom block i sees, and nothing about who sees block i.",
)
sparse_mask.slip(
    "random tokens instead of blocks",
    by_comparing_numbers,
    "random_blocks[number][:, :, None] == number",
    "random_blocks[number][:, :, None] == torch.arange(time)",
    cause="random_blocks holds numbers of blocks, but they are used as numbers of tokens.",
    hint="How many tokens does a query gain with one random block of four tokens?",
)
