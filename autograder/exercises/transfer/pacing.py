"""The exercise on parameter groups: rates that fall with depth, and no decay for vectors."""

from autograder.exercise import Case, Exercise
from ml_course import transfer


def groups_of_the_library(blocks, rate, factor, decay):
    """The reference under the homework's signature."""
    return transfer.parameter_groups(blocks, rate, factor=factor, decay=decay)


parameter_groups = Exercise(
    "transfer.parameter_groups",
    reference=groups_of_the_library,
    facets={"rates": 2, "decay": 1, "frozen ones": 1},
    difficulty=2,
    minutes=25,
)


@parameter_groups.cases
def group_cases(rng):
    def case(label, facet=None, count=3, factor=0.5, decay=0.01, asleep=(), embedding=False):
        rate = float(rng.uniform(1e-4, 1e-2))
        return Case(
            label, facet, count=count, rate=rate, factor=factor, decay=decay, asleep=list(asleep), embedding=embedding,
            decayed=facet == "decay",
        )  # fmt: skip

    count = int(rng.integers(3, 6))
    yield case("a few blocks", count=count, factor=float(rng.uniform(0.2, 0.9)))
    yield case("one block", count=1)
    yield case("two blocks", count=2, factor=float(rng.uniform(0.2, 0.9)))
    yield case("one rate for all", count=count, factor=1.0)
    yield case("decay of matrices alone", "decay", count=count, decay=float(rng.uniform(0.05, 0.3)))
    yield case("a table of embeddings decays, too", "decay", count=2, decay=0.1, embedding=True)
    yield case("no decay at all", "decay", decay=0.0)
    yield case("the lowest block is frozen", "frozen ones", count=count, asleep=[0])
    yield case("a block in the middle is frozen", "frozen ones", count=4, asleep=[1, 2])
    yield case("only the top learns", "frozen ones", count=2, asleep=[0])


@parameter_groups.probe
def ask_groups(answer, count, rate, factor, decay, asleep, embedding, decayed):
    import torch
    from torch import nn

    blocks = [nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)) for _ in range(count)]
    if embedding:
        blocks[0] = nn.Embedding(5, 3)
    for i in asleep:
        blocks[i].requires_grad_(False)
    groups = answer(blocks, rate, factor, decay)
    optimiser = torch.optim.AdamW(groups)  # which takes them, or says why not
    found = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            found.setdefault(id(parameter), []).append((group["lr"], group["weight_decay"]))
    times, rates, decays = {}, {}, {}
    for i, block in enumerate(blocks):
        for name, parameter in block.named_parameters():
            what, given = f"{name} of block {i} of {count}", found.get(id(parameter), [])
            times[what] = len(given)
            rates[what], decays[what] = map(float, given[0]) if given else (None, None)
    return {"in how many groups": times, "lr": rates} | ({"weight_decay": decays} if decayed else {})


@parameter_groups.alternative
def a_group_for_each_parameter(blocks, rate, factor, decay):
    groups, own = [], rate
    for block in reversed(blocks):
        for parameter in block.parameters():
            if parameter.requires_grad:
                kind = decay if parameter.ndim >= 2 else 0.0
                groups.append({"params": [parameter], "lr": own, "weight_decay": kind})
        own = own * factor
    return groups


@parameter_groups.alternative
def two_groups_for_each_block(blocks, rate, factor, decay):
    groups = []
    for k, block in enumerate(blocks):
        learning = [p for p in block.parameters() if p.requires_grad]
        own = rate * factor ** (len(blocks) - 1 - k)
        matrices, vectors = [p for p in learning if p.dim() > 1], [p for p in learning if p.dim() < 2]
        if matrices:
            groups.append(dict(params=matrices, lr=own, weight_decay=decay))
        if vectors:
            groups.append(dict(params=vectors, lr=own, weight_decay=0))
    return groups


parameter_groups.slip(
    "the lowest learns fastest",
    two_groups_for_each_block,
    "factor ** (len(blocks) - 1 - k)",
    "factor ** k",
    cause="The lowest block has the full rate; the topmost should, and those below less.",
    hint="Blocks come from the bottom up. Which of them should move least?",
)
parameter_groups.slip(
    "one factor too many",
    two_groups_for_each_block,
    "len(blocks) - 1 - k",
    "len(blocks) - k",
    cause="Even the topmost block is slowed down.",
    hint="What is the exponent for the last block? It learns with `rate` itself.",
)
parameter_groups.slip(
    "factor times depth",
    two_groups_for_each_block,
    "rate * factor ** (len(blocks) - 1 - k)",
    "rate * (1 - (1 - factor) * (len(blocks) - 1 - k))",
    cause="The rates fall by a difference; each should be `factor` times the one above.",
    hint="With factor 0.5 and four blocks: 1, ½, ¼, ⅛ of the rate.",
)
parameter_groups.slip(
    "one rate everywhere",
    two_groups_for_each_block,
    "rate * factor ** (len(blocks) - 1 - k)",
    "rate",
    cause="All blocks have the same rate.",
    hint="One of the arguments is not used.",
)
parameter_groups.slip(
    "everything decays",
    two_groups_for_each_block,
    "weight_decay=0)",
    "weight_decay=decay)",
    cause="Norms and biases decay as well; they should not.",
    hint="Look at the number of axes: who has one?",
)
parameter_groups.slip(
    "torch's own decay",
    two_groups_for_each_block,
    "dict(params=vectors, lr=own, weight_decay=0)",
    "dict(params=vectors, lr=own)",
    cause="The groups of vectors say nothing about decay, and AdamW's default is not 0 but 0.01.",
    hint="What does a group without `weight_decay` get? Ask help(torch.optim.AdamW).",
)
parameter_groups.slip(
    "frozen ones in a group",
    two_groups_for_each_block,
    "[p for p in block.parameters() if p.requires_grad]",
    "[p for p in block.parameters()]",
    cause="Frozen parameters are handed to the optimiser, too.",
    hint="parameter.requires_grad says who learns.",
)
parameter_groups.slip(
    "depth counted among those that learn",
    two_groups_for_each_block,
    "    groups = []\n",
    "    groups = []\n    blocks = [b for b in blocks if any(p.requires_grad for p in b.parameters())][-2:]\n",
    cause="Some blocks are left out, or the depth counts only a few of them.",
    hint="The rate depends on the block's place among all blocks, frozen or not.",
)


@parameter_groups.mistake(hint="A bias has one axis, a matrix two: parameter.ndim.")
def by_the_name(blocks, rate, factor, decay):
    """Only what is called bias is spared; the scales of norms are called weight, and are vectors all the same."""
    groups = []
    for k, block in enumerate(blocks):
        for name, p in block.named_parameters():
            if p.requires_grad:
                own = rate * factor ** (len(blocks) - 1 - k)
                groups.append({"params": [p], "lr": own, "weight_decay": 0.0 if "bias" in name else decay})
    return groups
