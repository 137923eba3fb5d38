"""The exercises on LoRA: the layer, and the merging of its change."""

import numpy as np
import torch
from torch import nn

from autograder.exercise import DTYPE, GRADIENTS, SIDE_EFFECTS, Case, Exercise
from autograder.probes import with_gradients
from ml_course import transfer

# lora_linear


class OfTheLibrary(transfer.LoraLinear):
    """The reference under the homework's signature."""

    def __init__(self, linear, rank, alpha):
        super().__init__(linear, rank, alpha=alpha)


lora_linear = Exercise(
    "transfer.LoraLinear",
    reference=OfTheLibrary,
    facets={"values": 2, "at the start": 2, "what learns": 1, GRADIENTS: 1},
    difficulty=3,
    minutes=30,
)


@lora_linear.cases
def lora_cases(rng):
    def case(label, facet=None, inputs=5, outputs=4, rank=2, alpha=4.0, batch=(3,), bias=True, dtype=np.float64):
        shapes = dict(weight=(outputs, inputs), a=(rank, inputs), b=(outputs, rank), x=(*batch, inputs))
        made = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        made["bias"] = rng.normal(size=outputs).astype(dtype) if bias else None
        return Case(label, facet, **made, rank=rank, alpha=alpha, asked=facet)

    inputs, outputs = (int(size) for size in rng.integers(4, 8, size=2))
    alpha = float(rng.uniform(3, 9))
    for facet, label in (
        (None, "a few vectors"),
        ("at the start", "it begins as the layer"),
        ("what learns", "a and b learn"),
    ):
        yield case(label, facet, inputs, outputs + 1, rank=3, alpha=alpha)
    yield case("as many inputs as outputs", None, 6, 6, rank=2, alpha=alpha)
    yield case("rank 1", None, inputs, outputs, rank=1, alpha=alpha)
    yield case("full rank", None, 4, 4, rank=4, alpha=alpha)
    yield case("texts of tokens", None, inputs, outputs, rank=2, alpha=alpha, batch=(2, 3))
    yield case("no bias", None, inputs, outputs, rank=2, alpha=alpha, bias=False)
    yield case("float32", "at the start", inputs, outputs, rank=2, alpha=alpha, dtype=np.float32)


@lora_linear.probe
def ask_lora(answer, weight, bias, a, b, x, rank, alpha, asked):
    import torch
    from torch import nn

    torch.manual_seed(1)
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, dtype=torch.from_numpy(x).dtype)
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        if bias is not None:
            linear.bias.copy_(torch.from_numpy(bias))
    x = torch.from_numpy(x)
    layer = answer(linear, rank, alpha)
    if asked == "at the start":
        with torch.no_grad():
            return {
                "shape of a": list(layer.a.shape),
                "shape of b": list(layer.b.shape),
                "b is all zeros": bool((layer.b == 0).all()),
                "a has no zeros": bool((layer.a != 0).all()),
                "result as that of the layer": bool(torch.equal(layer(x), linear(x))),
                "type of a": str(layer.a.dtype),
                "type of b": str(layer.b.dtype),
            }
    if asked == "what learns":
        inside = {id(linear.weight): "weight", id(linear.bias): "bias", id(layer.a): "a", id(layer.b): "b"}
        learning = [inside.get(id(p), "another") for p in layer.parameters() if p.requires_grad]
        return {"learning": sorted(learning), "linear is frozen": not any(p.requires_grad for p in linear.parameters())}
    given = {"a": a, "b": b}

    def call(x, a, b):
        for name, value in (("a", a), ("b", b)):
            if isinstance(getattr(layer, name), nn.Parameter):
                delattr(layer, name)
            setattr(layer, name, value)
        return {"result": layer(x)}

    return with_gradients(call, x=x.numpy(), **given)


@lora_linear.alternative
class AsTheFormulaSays(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        for parameter in linear.parameters():
            parameter.requires_grad = False
        outputs, inputs = linear.weight.shape
        self.a = nn.Parameter(torch.randn(rank, inputs, dtype=linear.weight.dtype) / inputs**0.5)
        self.b = nn.Parameter(torch.zeros(outputs, rank, dtype=linear.weight.dtype))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.a.T @ self.b.T)


@lora_linear.alternative
class OneMatrix(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        linear.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.a = nn.Parameter(linear.weight.new_empty(rank, linear.in_features).uniform_(0.1, 0.5))
        self.b = nn.Parameter(linear.weight.new_zeros(linear.out_features, rank))

    def forward(self, x):
        change = self.alpha / self.rank * torch.einsum("or,ri->oi", self.b, self.a)
        return self.linear(x) + nn.functional.linear(x, change)


def wrong(label, old, new, cause, hint):
    """A slip in the plain alternative."""
    lora_linear.slip(label, AsTheFormulaSays, old, new, cause=cause, hint=hint)


wrong(
    "b begins at random",
    "torch.zeros(outputs, rank",
    "torch.randn(outputs, rank",
    "b is random at the start, so the model is disturbed before it has learned anything.",
    "What must b be, that the change is nothing at first?",
)
wrong(
    "both begin at zero",
    "torch.randn(rank, inputs",
    "torch.zeros(rank, inputs",
    "a and b are both zero: then both gradients are zero too, and nothing will ever learn.",
    "The gradient of b is a product with a. What is it if a is zero?",
)
wrong(
    "alpha over rank forgotten",
    "self.scale = linear, alpha / rank",
    "self.scale = linear, 1",
    "The change is not scaled by α/r.",
    "Two of the arguments belong in a factor before the product.",
)
wrong(
    "alpha not divided",
    "self.scale = linear, alpha / rank",
    "self.scale = linear, alpha",
    "The change is scaled by α; it is α divided by the rank.",
    "With twice the rank, should the change be twice as loud?",
)
wrong(
    "divided by the root of the rank",
    "self.scale = linear, alpha / rank",
    "self.scale = linear, alpha / rank**0.5",
    "The change is scaled by α/√r, as a later variant does; here it is α/r.",
    "Read the formula again: is there a root?",
)
wrong(
    "the base learns too",
    "parameter.requires_grad = False",
    "parameter.requires_grad = True",
    "The base layer's weights learn too: that is full fine-tuning with something added.",
    "Which parameters have requires_grad, when your layer is made?",
)
wrong(
    "the change alone",
    "self.linear(x) + self.scale",
    "self.scale",
    "Only the change is returned; it is added to what the layer gives.",
    "What should come out while b is zero?",
)
wrong(
    "no parameters",
    "self.b = nn.Parameter(torch.zeros(outputs, rank, dtype=linear.weight.dtype))",
    "self.b = torch.zeros(outputs, rank, dtype=linear.weight.dtype)",
    "b is a plain tensor: no optimiser will find it among the parameters.",
    "`nn.Parameter` makes a tensor one that learns.",
)
wrong(
    "always float32",
    "torch.zeros(outputs, rank, dtype=linear.weight.dtype)",
    "torch.zeros(outputs, rank)",
    "b is float32 whatever the layer is.",
    "linear.weight.dtype is the type that a and b should have.",
)


@lora_linear.mistake(hint="The bias belongs to the frozen layer as much as the weight does.")
class BiasLearns(nn.Module):
    """The weight is frozen, but the bias goes on learning."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear, self.scale = linear, alpha / rank
        linear.weight.requires_grad_(False)
        outputs, inputs = linear.weight.shape
        self.a = nn.Parameter(torch.randn(rank, inputs, dtype=linear.weight.dtype))
        self.b = nn.Parameter(torch.zeros(outputs, rank, dtype=linear.weight.dtype))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.a.T @ self.b.T)


# merge


def merged_by_the_library(weight, changes):
    """The reference: one layer after the other, each with the weight that the last one gave."""
    for a, b, alpha in changes:
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight)
        layer = transfer.LoraLinear(linear, a.shape[0], alpha=alpha)
        layer.a, layer.b = nn.Parameter(a), nn.Parameter(b)
        weight = weight + layer.change()
    return weight.clone()


merge = Exercise(
    "transfer.merge",
    reference=merged_by_the_library,
    facets={"values": 2, "several changes": 1, SIDE_EFFECTS: 0.5, DTYPE: 0.5},
    difficulty=1,
    minutes=15,
)


@merge.cases
def merge_cases(rng):
    def case(label, facet=None, inputs=5, outputs=4, ranks=(2,), dtype=np.float64, alpha=None):
        made = {"weight": rng.normal(size=(outputs, inputs)).astype(dtype)}
        for i, rank in enumerate(ranks):
            made[f"a{i}"] = rng.normal(size=(rank, inputs)).astype(dtype)
            made[f"b{i}"] = rng.normal(size=(outputs, rank)).astype(dtype)
        alphas = [float(x) for x in rng.uniform(2.5, 7, size=len(ranks))] if alpha is None else [alpha] * len(ranks)
        return Case(label, facet, alphas=alphas, **made)

    inputs, outputs = int(rng.integers(3, 6)), int(rng.integers(6, 9))
    yield case("one change", None, inputs, outputs, (3,))
    yield case("as many inputs as outputs", None, 5, 5, (2,))
    yield case("rank 1", None, inputs, outputs, (1,))
    yield case("the rank is the width", None, 4, 4, (4,))
    yield case("two changes of different rank", "several changes", inputs, outputs, (2, 3))
    yield case("three changes", "several changes", outputs, inputs, (1, 2, 3))
    yield case("no change at all", "several changes", inputs, outputs, ())
    yield case("float32", DTYPE, inputs, outputs, (2,), np.float32)


@merge.probe
def ask_merge(answer, weight, alphas, a0=None, b0=None, a1=None, b1=None, a2=None, b2=None):
    import torch

    pairs = [(a0, b0), (a1, b1), (a2, b2)]
    base = torch.from_numpy(weight)
    changes = [(torch.from_numpy(a), torch.from_numpy(b), alpha) for (a, b), alpha in zip(pairs, alphas, strict=False)]
    with torch.no_grad():
        merged = answer(base, changes)
        told = {"merged": merged.clone() if isinstance(merged, torch.Tensor) else merged}
        if isinstance(merged, torch.Tensor):
            merged += 1  # whoever goes on with it should not change the base
    return told


@merge.alternative
def one_after_the_other(weight, changes):
    merged = weight.clone()
    for a, b, alpha in changes:
        merged = merged + alpha / len(a) * (b @ a)
    return merged


@merge.alternative
def thin_matrices_side_by_side(weight, changes):
    if not changes:
        return weight.clone()
    wide = torch.cat([alpha / a.shape[0] * b for a, b, alpha in changes], dim=1)
    return weight + wide @ torch.cat([a for a, _, _ in changes])


@merge.alternative
def number_by_number(weight, changes):
    merged = weight.clone()
    for a, b, alpha in changes:
        for i in range(weight.shape[0]):
            for j in range(weight.shape[1]):
                merged[i, j] += alpha / a.shape[0] * (b[i] * a[:, j]).sum()
    return merged


merge.slip(
    "alpha over rank forgotten",
    one_after_the_other,
    "alpha / len(a) * (b @ a)",
    "b @ a",
    cause="The change is not scaled by α/r: the merged layer is not the one that learned.",
    hint="The same factor as in the layer.",
)
merge.slip(
    "alpha not divided",
    one_after_the_other,
    "alpha / len(a)",
    "alpha",
    cause="The change is scaled by α; it is α divided by the rank.",
    hint="How many rows has a?",
)
merge.slip(
    "divided by the width",
    one_after_the_other,
    "len(a)",
    "a.shape[1]",
    cause="α is divided by the number of inputs, not by the rank.",
    hint="Which side of a is the rank?",
)
merge.slip(
    "merged twice",
    one_after_the_other,
    "        merged = merged + alpha / len(a) * (b @ a)\n",
    "        merged = merged + alpha / len(a) * (b @ a)\n        merged = merged + alpha / len(a) * (b @ a)\n",
    cause="Each change is added twice.",
    hint="What is the difference between your result and the weight, compared with one change?",
)
merge.slip(
    "only the last change",
    one_after_the_other,
    "merged = merged + alpha",
    "merged = weight + alpha",
    cause="Each change is added to the first weight again, so only the last one is left.",
    hint="Two styles at once: the second is added to what the first gave.",
)
merge.slip(
    "the base changed",
    one_after_the_other,
    "weight.clone()",
    "weight",
    cause="With no change to merge, the very weight is handed back: who writes into it writes into the base.",
    hint="Return a new tensor, always.",
)
merge.slip(
    "the change alone",
    one_after_the_other,
    "weight.clone()",
    "torch.zeros_like(weight)",
    cause="The changes are summed, but not added to the weight.",
    hint="With no change at all, the weight should come out.",
)


@merge.mistake(hint="x += y writes into the tensor called x, whoever else holds it. Begin with a copy.")
def in_place(weight, changes):
    """The changes are written into the weight that was given: the base model is lost."""
    for a, b, alpha in changes:
        weight += alpha / a.shape[0] * (b @ a)
    return weight.clone()


@merge.mistake(hint="`.float()` and float32 constants change the type of everything behind them.")
def always_double(weight, changes):
    """The result is float64 whatever came in."""
    merged = weight.double().clone()
    for a, b, alpha in changes:
        merged = merged + alpha / len(a) * (b.double() @ a.double())
    return merged
