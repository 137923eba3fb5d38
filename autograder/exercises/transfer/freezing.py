"""The exercises on what learns: all but a few frozen, and blocks that thaw from the top."""

from autograder.exercise import Case, Exercise
from ml_course import transfer

# freeze_all_but

freeze_all_but = Exercise(
    "transfer.freeze_all_but",
    reference=transfer.freeze,
    facets={"what learns": 2, "whole names": 1, "count": 0.5},
    difficulty=1,
    minutes=15,
)

PARTS = ["embedding", "layers.0.first", "layers.0.second", "layers.1.first", "layers.1.second", "head"]


@freeze_all_but.cases
def freeze_cases(rng):
    def case(label, facet, names, parts=PARTS, asleep=()):
        sizes = rng.integers(2, 6, size=len(parts) + 1).tolist()
        return Case(label, facet, parts=parts, sizes=sizes, asleep=list(asleep), names=names, counted=facet == "count")

    yield case("all but the head", None, ["head"])
    yield case("two parts go on learning", None, ["layers.1", "head"])
    yield case("nothing learns", None, [])
    yield case("one bias alone", None, ["layers.0.second.bias"])
    yield case("the head was frozen before", None, ["head"], asleep=["head", "layers.0.first"])
    shuffled = [PARTS[i] for i in rng.permutation(len(PARTS))]
    yield case("some part in the middle", None, [shuffled[0]], parts=shuffled)
    yield case("another part's name begins alike", "whole names", ["head"], parts=[*PARTS, "head_of_before"])
    many = [f"layers.{i}" for i in range(12)]
    yield case("twelve layers: 1 is not 10", "whole names", ["layers.1"], parts=many)
    yield case("the name stands inside another", "whole names", ["first"], parts=["first", "layers.first", "x_first"])
    yield case("how many numbers", "count", ["embedding", "layers.1.first.weight"])


@freeze_all_but.probe
def ask_freeze(answer, parts, sizes, asleep, names, counted):
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Module()
    for i, part in enumerate(parts):
        inside, (*above, last) = model, part.split(".")
        for name in above:
            if not hasattr(inside, name):
                inside.add_module(name, nn.Module())
            inside = getattr(inside, name)
        inside.add_module(last, nn.Linear(sizes[i], sizes[i + 1]))
    for part in asleep:
        model.get_submodule(part).requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    count = answer(model, list(names))
    told = {"learns": {name: bool(parameter.requires_grad) for name, parameter in model.named_parameters()}}
    told["weights as before"] = all(map(torch.equal, before, model.parameters()))
    return told | {"returned": count} if counted else told


@freeze_all_but.alternative
def in_one_loop(model, names):
    count = 0
    for name, parameter in model.named_parameters():
        learns = any(name == kept or name.startswith(kept + ".") for kept in names)
        parameter.requires_grad_(learns)
        count += parameter.numel() if learns else 0
    return count


@freeze_all_but.alternative
def first_all_then_some(model, names):
    for parameter in model.parameters():
        parameter.requires_grad = False
    for name, parameter in model.named_parameters():
        above = name.split(".")
        for depth in range(1, len(above) + 1):
            if ".".join(above[:depth]) in names:
                parameter.requires_grad = True
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@freeze_all_but.alternative
def by_modules(model, names):
    model.requires_grad_(False)
    for kept in names:
        above, _, last = kept.rpartition(".")
        part = getattr(model.get_submodule(above), last)
        part.requires_grad_(True)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


freeze_all_but.slip(
    "the beginning of a name is enough",
    in_one_loop,
    'name.startswith(kept + ".")',
    "name.startswith(kept)",
    cause="A name that merely begins alike counts as the same: layers.1 takes layers.10 along.",
    hint="What comes behind layers.1 in the name of a parameter that is below it?",
)
freeze_all_but.slip(
    "anywhere in the name",
    in_one_loop,
    'name == kept or name.startswith(kept + ".")',
    "kept in name",
    cause="The name is looked for anywhere inside the parameter's; it has to be its beginning, whole.",
    hint="`kept in name` is also true for layers.10 and for a head_of_before.",
)
freeze_all_but.slip(
    "tensors counted instead of numbers",
    in_one_loop,
    "parameter.numel() if learns else 0",
    "1 if learns else 0",
    cause="The tensors are counted, not the numbers in them.",
    hint="A matrix of 3 × 4 has 12 numbers.",
)
freeze_all_but.slip(
    "all numbers counted",
    in_one_loop,
    "parameter.numel() if learns else 0",
    "parameter.numel()",
    cause="The frozen numbers are counted as well.",
    hint="Count only what learns.",
)
freeze_all_but.slip(
    "frozen ones stay frozen",
    in_one_loop,
    "parameter.requires_grad_(learns)",
    "parameter.requires_grad_(parameter.requires_grad and learns)",
    cause="What was frozen before the call stays frozen, though it is named.",
    hint="What should happen to the head if somebody had frozen it already?",
)
freeze_all_but.slip(
    "the wrong way round",
    in_one_loop,
    "parameter.requires_grad_(learns)",
    "parameter.requires_grad_(not learns)",
    cause="The named parts are frozen and the others learn: it is the other way round.",
    hint="“All but”: the names say what goes on learning.",
)


@freeze_all_but.mistake(hint="parameter.requires_grad is one word, and it belongs to the parameter, not to the module.")
def an_attribute_of_the_module(model, names):
    """requires_grad is set on the modules, where it is a new attribute that nobody reads."""
    model.requires_grad = False
    for name, part in model.named_modules():
        part.requires_grad = name in names
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@freeze_all_but.mistake(hint="Nothing is said about zeros: the frozen parts still have to compute what they did.")
def frozen_means_zero(model, names):
    """The frozen weights are set to zero; they should stay what they are and only stop learning."""
    count = 0
    for name, parameter in model.named_parameters():
        learns = any(name == kept or name.startswith(kept + ".") for kept in names)
        parameter.requires_grad_(learns)
        if not learns:
            parameter.data.zero_()
        count += parameter.numel() if learns else 0
    return count


# thaw


def thawed_by_the_library(blocks, step, every):
    """The reference under the homework's signature."""
    return transfer.GradualUnfreezing(blocks, every)(step)


thaw = Exercise(
    "transfer.thaw",
    reference=thawed_by_the_library,
    facets={"what learns": 2, "at the ends": 1, "count": 0.5},
    difficulty=2,
    minutes=15,
    equivalent_mutants={
        "opened = min(len(blocks), 1 + (step - 1) // every) → opened = min(1 + (step - 1) // every, len(blocks))": (
            "the smaller of two numbers, in either order"
        )
    },
)


@thaw.cases
def thaw_cases(rng):
    def case(label, facet, blocks, step, every, awake="none"):
        return Case(label, facet, count=blocks, step=step, every=every, awake=awake, counted=facet == "count")

    blocks, every = int(rng.integers(4, 8)), int(rng.integers(3, 6))
    yield case("the second has thawed", None, blocks, every + 2, every)
    yield case("the third has thawed", None, blocks, 2 * every + 2, every)
    yield case("every step one more", None, blocks, 3, 1)
    yield case("all learned before the call", None, blocks, every + 2, every, "all")
    yield case("the wrong ones learned before the call", None, blocks, every + 2, every, "bottom")
    yield case("the first step", "at the ends", blocks, 1, every)
    yield case("the last step of the first block", "at the ends", blocks, every, every)
    yield case("the first step of the second", "at the ends", blocks, every + 1, every)
    yield case("the last block opens", "at the ends", blocks, (blocks - 1) * every + 1, every)
    yield case("long after all are open", "at the ends", blocks, 100 * every, every)
    yield case("one block", "at the ends", 1, every + 3, every)
    yield case("how many are open", "count", blocks, every + 2, every)
    yield case("how many at most", "count", blocks, 100 * every, every)


@thaw.probe
def ask_thaw(answer, count, step, every, awake, counted):
    from torch import nn

    blocks = [nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)) for _ in range(count)]
    for i, block in enumerate(blocks):
        block.requires_grad_(awake == "all" or (awake == "bottom" and i == 0))
    opened = answer(blocks, step, every)
    told = {}
    for i, block in enumerate(blocks):
        learning = {bool(parameter.requires_grad) for parameter in block.parameters()}
        told[f"block {i} of {count} learns"] = learning.pop() if len(learning) == 1 else "in part"
    return told | {"returned": opened} if counted else told


@thaw.alternative
def number_by_number(blocks, step, every):
    opened = min(len(blocks), (step - 1) // every + 1)
    for i, block in enumerate(blocks):
        block.requires_grad_(i >= len(blocks) - opened)
    return opened


@thaw.alternative
def first_shut_then_open(blocks, step, every):
    opened = 0
    for i, block in enumerate(reversed(blocks)):
        learns = step > i * every
        opened += learns
        for parameter in block.parameters():
            parameter.requires_grad = learns
    return opened


thaw.slip(
    "from the bottom up",
    number_by_number,
    "i >= len(blocks) - opened",
    "i < opened",
    cause="The lowest block thaws first; the topmost should, for it is the one that fits the new task least.",
    hint="Which block knows most about the old task: the one that reads words, or the last?",
)
thaw.slip(
    "steps counted from 0",
    number_by_number,
    "(step - 1) // every + 1",
    "step // every + 1",
    cause="Each block opens a step too early: the steps count from 1.",
    hint="How many are open in step `every`? Still one.",
)
thaw.slip(
    "nothing open at first",
    number_by_number,
    "(step - 1) // every + 1",
    "(step - 1) // every",
    cause="In the first steps no block is open at all.",
    hint="What could learn in step 1?",
)
thaw.slip(
    "more blocks than there are",
    number_by_number,
    "min(len(blocks), (step - 1) // every + 1)",
    "(step - 1) // every + 1",
    cause="The number returned grows beyond the number of blocks.",
    hint="How many blocks can be open at most?",
)
thaw.slip(
    "only the newest",
    number_by_number,
    "i >= len(blocks) - opened",
    "i == len(blocks) - opened",
    cause="Only one block is open at a time; those above it should go on learning.",
    hint="Thawed is thawed: what opened once stays open.",
)


@thaw.mistake(hint="What if all blocks learn before your function is called for the first time?")
def nothing_is_shut(blocks, step, every):
    """The blocks that should be frozen are left as they were; they may have been learning."""
    opened = min(len(blocks), (step - 1) // every + 1)
    for block in blocks[len(blocks) - opened :]:
        block.requires_grad_(True)
    return opened
