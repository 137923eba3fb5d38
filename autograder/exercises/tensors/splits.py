"""The exercise on a split without a leak: rows of one group never stand on both sides."""

import numpy as np

from autograder.exercise import Case, Exercise
from ml_course import tensors


def tested_rows(groups, test_share, seed):
    """The library's split as the homework asks for it: True where a row is set aside."""
    distinct = len(np.unique(groups))
    count = min(max(1, round(test_share * distinct)), distinct - 1)
    share = count / distinct
    test = np.zeros(len(groups), dtype=bool)
    test[tensors.grouped_split(groups, (1 - share, share), seed)[1]] = True
    return test


grouped_split = Exercise(
    "tensors.grouped_split",
    reference=tested_rows,
    facets={"no leak": 2, "size": 1, "seed": 1},
    difficulty=2,
    minutes=20,
    forbidden=("GroupShuffleSplit", "GroupKFold", "StratifiedGroupKFold", "LeavePGroupsOut"),
    equivalent_mutants={
        "count = min(max(count, 1), len(names) - 1) → "
        "count = min(max(1, count), len(names) - 1)": "the larger of two numbers, in either order",
        "count = min(max(count, 1), len(names) - 1) → "
        "count = min(len(names) - 1, max(count, 1))": "the smaller of two numbers, in either order",
    },
)


@grouped_split.cases
def grouped_split_cases(rng):
    def groups(count, samples):
        """Every group has a row; the first ones have most; numbers have gaps and rows stand in any order."""
        names = rng.choice(1000, size=count, replace=False)
        sizes = np.minimum(rng.geometric(0.25, size=samples) - 1, count - 1)
        return rng.permutation(names[np.concatenate([np.arange(count), sizes])])

    seed = int(rng.integers(1000))
    yield Case("a few groups", groups=groups(6, 20), test_share=0.5, seeds=[seed], checked="no leak")
    yield Case("many groups", groups=groups(15, 60), test_share=0.3, seeds=[seed, seed + 1], checked="no leak")
    yield Case("in order", groups=np.sort(groups(8, 30)), test_share=0.25, seeds=[seed + 2], checked="no leak")
    seeds = list(range(seed, seed + 12))
    yield Case("a quarter of 8 groups", "size", groups=groups(8, 40), test_share=0.25, seeds=seeds, checked="size")
    yield Case("two thirds of 9 groups", "size", groups=groups(9, 30), test_share=2 / 3, seeds=seeds, checked="size")
    yield Case("a tenth of 4: at least one", "size", groups=groups(4, 12), test_share=0.1, seeds=seeds, checked="size")
    yield Case("nine tenths of 4: not all", "size", groups=groups(4, 12), test_share=0.9, seeds=seeds, checked="size")
    # The first seed comes twice. With 40 seeds, a group of which half are tested is missed by chance once in 10¹².
    seeds = [seed, *range(seed, seed + 40)]
    yield Case(
        "one seed twice, then 39 others", "seed", groups=groups(6, 9), test_share=0.5, seeds=seeds, checked="seed"
    )


@grouped_split.probe
def ask_grouped_split(answer, groups, test_share, seeds, checked):
    import numpy as np

    return {f"split {i}": np.asarray(answer(groups.copy(), test_share, seed)) for i, seed in enumerate(seeds)}


@grouped_split.judge
def judge_splits(inputs, got, want):
    groups = inputs["groups"]
    distinct = np.unique(groups)
    tested = []
    for key in want:
        test = got.get(key)
        if not isinstance(test, np.ndarray) or test.dtype != bool or test.shape != groups.shape:
            came = f"{test.dtype} of shape {test.shape}" if isinstance(test, np.ndarray) else type(test).__name__
            yield key, f"expected an array of bool, one for each of the {len(groups)} rows, got {came}"
            return
        if test.all() or not test.any():
            yield key, f"all rows are {'tested' if test.all() else 'learned from'}: one part is empty"
            return
        inside = np.array([test[groups == group].any() for group in distinct])
        if inputs["checked"] == "no leak":
            for group in distinct:
                there = test[groups == group]
                if there.any() and not there.all():
                    yield (
                        key,
                        f"group {group} leaks: {there.sum()} of its {len(there)} rows are tested, the rest is not",
                    )
                    return
        wanted = len(np.unique(groups[want[key]]))
        if inputs["checked"] == "size" and inside.sum() != wanted:
            yield key, f"{inside.sum()} of {len(distinct)} groups are in the test part, expected {wanted}"
            return
        tested.append(inside)
    if inputs["checked"] == "seed":
        if not np.array_equal(tested[0], tested[1]):
            yield "split 1", "the same seed gave two different splits"
        elif np.all(np.array(tested) == tested[0]):
            yield "split 1", f"all {len(tested)} seeds give the same split: shuffle the groups, by the seed"
        elif not np.any(tested, axis=0).all():
            missed = distinct[~np.any(tested, axis=0)][0]
            yield "split 1", f"group {missed} is never tested, whatever the seed: shuffle the groups"


@grouped_split.alternative
def by_a_set_of_names(groups, test_share, seed):
    names = sorted(set(groups.tolist()))
    np.random.default_rng(seed).shuffle(names)
    count = min(max(round(test_share * len(names)), 1), len(names) - 1)
    chosen = set(names[:count])
    return np.array([group in chosen for group in groups.tolist()])


@grouped_split.alternative
def by_ranks_of_random_numbers(groups, test_share, seed):
    distinct, member = np.unique(groups, return_inverse=True)
    count = int(np.clip(round(test_share * len(distinct)), 1, len(distinct) - 1))
    order = np.random.RandomState(seed).rand(len(distinct)).argsort()
    chosen = np.zeros(len(distinct), dtype=bool)
    chosen[order[:count]] = True
    return chosen[member]


@grouped_split.alternative
def by_choosing_without_replacement(groups, test_share, seed):
    distinct = np.unique(groups)
    count = min(max(1, round(test_share * len(distinct))), len(distinct) - 1)
    chosen = np.random.default_rng(seed).choice(distinct, size=count, replace=False)
    return (groups[:, None] == chosen).any(axis=1)


def right_split(groups, test_share, seed):
    distinct = np.unique(groups)
    count = min(max(1, round(test_share * len(distinct))), len(distinct) - 1)
    chosen = np.random.default_rng(seed).permutation(distinct)[:count]
    return np.isin(groups, chosen)


@grouped_split.mistake(hint="What is dealt out to the two parts: rows, or groups?")
def rows_are_shuffled(groups, test_share, seed):
    """The rows are dealt out one by one, so that most groups stand on both sides."""
    test = np.zeros(len(groups), dtype=bool)
    test[np.random.default_rng(seed).permutation(len(groups))[: round(test_share * len(groups))]] = True
    return test


@grouped_split.mistake(hint="What happens to the group at your cut?")
def cut_through_the_rows(groups, test_share, seed):
    """The last rows are tested, wherever a group begins or ends, and the seed plays no part."""
    return np.arange(len(groups)) >= round((1 - test_share) * len(groups))


grouped_split.slip(
    "groups are not shuffled",
    right_split,
    "np.random.default_rng(seed).permutation(distinct)[:count]",
    "distinct[:count]",
    cause="The groups with the smallest numbers are tested, whatever the seed.",
    hint="Which of your arguments is never used?",
)
grouped_split.slip(
    "seed is not used",
    right_split,
    "np.random.default_rng(seed).permutation(distinct)",
    "np.random.permutation(distinct)",
    cause="The shuffle does not depend on the seed, so that nobody can repeat the split.",
    hint="Call your function twice with the same seed and compare.",
)
grouped_split.slip(
    "train and test exchanged",
    right_split,
    "np.isin(groups, chosen)",
    "~np.isin(groups, chosen)",
    cause="True stands where a row is learned from; it should stand where a row is tested.",
    hint="With test_share = 0.25, of how many rows should True be said?",
)
grouped_split.slip(
    "drawn with replacement",
    right_split,
    "np.random.default_rng(seed).permutation(distinct)[:count]",
    "np.random.default_rng(seed).choice(distinct, size=count)",
    cause="`choice` draws with replacement unless told otherwise, so a group can come twice, and too few are tested.",
    hint="Print the groups you chose for a few seeds. Are they all different?",
)
grouped_split.slip(
    "share of the rows",
    right_split,
    "round(test_share * len(distinct))",
    "round(test_share * len(groups))",
    cause="The share is taken of the number of rows, though groups are counted.",
    hint="How many groups are there, and what is the share of *that*?",
)
grouped_split.slip(
    "a part may be empty",
    right_split,
    "min(max(1, round(test_share * len(distinct))), len(distinct) - 1)",
    "round(test_share * len(distinct))",
    cause="A small share of few groups is rounded to none of them, a large one to all.",
    hint="What is round(0.1 * 4)?",
)


@grouped_split.mistake(hint="How many groups does your function test with different seeds? How many were asked for?")
def a_coin_for_each_group(groups, test_share, seed):
    """Each group is tested with this probability, so their number is left to chance."""
    distinct, member = np.unique(groups, return_inverse=True)
    coins = np.random.default_rng(seed).random(len(distinct)) < test_share
    return coins[member]


@grouped_split.mistake(hint="Asked for is one bool for each *row*.")
def one_bool_for_each_group(groups, test_share, seed):
    """The answer says which groups are tested, not which rows."""
    distinct = np.unique(groups)
    count = min(max(1, round(test_share * len(distinct))), len(distinct) - 1)
    return np.isin(distinct, np.random.default_rng(seed).permutation(distinct)[:count])


grouped_split.slip(
    "row numbers instead of bools",
    right_split,
    "return np.isin(groups, chosen)",
    "return np.flatnonzero(np.isin(groups, chosen))",
    cause="The numbers of the tested rows are returned; asked for is True or False for every row.",
    hint="How long should the result be?",
)
