"""The exercise on the residual block: two convolutions that only have to find the difference."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import GRADIENTS, Case, Exercise
from ml_course import cnn


def block_reference(x, first_weight, second_weight, shortcut_weight=None, stride=1):
    """The reference under the homework's signature, without normalisation."""
    change = cnn.conv2d(cnn.conv2d(x, first_weight, stride=stride, padding=1).relu(), second_weight, padding=1)
    kept = x if shortcut_weight is None else cnn.conv2d(x, shortcut_weight, stride=stride)
    return (change + kept).relu()


residual_block = Exercise(
    "cnn.residual_block",
    reference=block_reference,
    facets={"values": 1, "shortcut": 1, GRADIENTS: 1},
    difficulty=2,
    minutes=15,
)


@residual_block.cases
def residual_block_cases(rng):
    def inputs(batch=2, channels=3, size=(5, 6), filters=None, stride=1, dtype=np.float64):
        change = filters is not None
        filters = filters or channels
        arrays = dict(
            x=rng.normal(size=(batch, channels, *size)),
            first_weight=rng.normal(size=(filters, channels, 3, 3)) / 5,
            second_weight=rng.normal(size=(filters, filters, 3, 3)) / 5,
            shortcut_weight=rng.normal(size=(filters, channels, 1, 1)) if change else None,
        )
        return {name: None if a is None else a.astype(dtype) for name, a in arrays.items()} | {"stride": stride}

    yield Case("as many channels as before", **inputs(*map(int, rng.integers(1, 4, size=2))))
    yield Case("one pixel", **inputs(size=(1, 1)))
    yield Case("float32", **inputs(dtype=np.float32))
    negative = inputs(channels=2)
    negative["x"] -= 2.0
    yield Case("mostly negative inputs", **negative)
    yield Case("more channels", "shortcut", **inputs(filters=5))
    yield Case("as many channels, but a shortcut with weights", "shortcut", **inputs(filters=3))
    yield Case("half the size", "shortcut", **inputs(size=(6, 8), filters=int(rng.integers(4, 7)), stride=2))
    yield Case("half of an odd size", "shortcut", **inputs(size=(5, 7), filters=4, stride=2))


@residual_block.probe
def ask_residual_block(answer, x, first_weight, second_weight, shortcut_weight, stride):
    import torch

    names, inputs = ["x", "first_weight", "second_weight"], [x, first_weight, second_weight]
    if shortcut_weight is not None:
        names, inputs = [*names, "shortcut_weight"], [*inputs, shortcut_weight]
    inputs = [torch.from_numpy(array).requires_grad_() for array in inputs]
    y = answer(*inputs, *([None] if shortcut_weight is None else []), stride)
    if isinstance(y, torch.Tensor) and y.requires_grad:
        towards = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
        slopes = torch.autograd.grad((y * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * len(inputs)
    return {"y": y} | {f"gradient of {name}": slope for name, slope in zip(names, slopes, strict=True)}


def right_block(x, first_weight, second_weight, shortcut_weight=None, stride=1):
    inside = F.relu(F.conv2d(x, first_weight, stride=stride, padding=1))
    change = F.conv2d(inside, second_weight, padding=1)
    if shortcut_weight is not None:
        x = F.conv2d(x, shortcut_weight, stride=stride)
    return F.relu(change + x)


@residual_block.alternative
def shortcut_by_einsum(x, first_weight, second_weight, shortcut_weight=None, stride=1):
    y = torch.conv2d(x, first_weight, None, stride, 1).clamp(min=0)
    y = torch.conv2d(y, second_weight, None, 1, 1)
    if shortcut_weight is None:
        return (y + x).clamp(min=0)
    kept = x[:, :, ::stride, ::stride]
    return (y + torch.einsum("nchw,fc->nfhw", kept, shortcut_weight[:, :, 0, 0])).clamp(min=0)


@residual_block.alternative
def padded_by_hand(x, first_weight, second_weight, shortcut_weight=None, stride=1):
    def three(z, weight, step):
        return F.conv2d(F.pad(z, (1, 1, 1, 1)), weight, stride=step)

    shortcut = x if shortcut_weight is None else F.conv2d(x, shortcut_weight, stride=(stride, stride))
    total = three(torch.relu(three(x, first_weight, stride)), second_weight, 1) + shortcut
    return torch.where(total > 0, total, torch.zeros_like(total))


residual_block.slip(
    "nothing added",
    right_block,
    "F.relu(change + x)",
    "F.relu(change)",
    cause="The input is not added: this is two plain convolutions, without the shortcut.",
    hint="What should come out if both kernels are zero and x is positive?",
)
residual_block.slip(
    "added after the ReLU",
    right_block,
    "F.relu(change + x)",
    "F.relu(change) + x",
    cause="The input is added after the last ReLU, so the block can only ever raise it.",
    hint="Read the formula from the outside in: what is the very last step?",
)
residual_block.slip(
    "no ReLU at the end",
    right_block,
    "F.relu(change + x)",
    "change + x",
    cause="The last ReLU is missing.",
    hint="Read the formula from the outside in: what is the very last step?",
)
residual_block.slip(
    "no ReLU between",
    right_block,
    "F.relu(F.conv2d(x, first_weight, stride=stride, padding=1))",
    "F.conv2d(x, first_weight, stride=stride, padding=1)",
    cause="Between the convolutions there is no ReLU, so the two are together no more than one larger linear map.",
    hint="Two linear maps in a row are one. What has to stand between them?",
)
residual_block.slip(
    "shortcut around the first convolution",
    right_block,
    "change = F.conv2d(inside, second_weight, padding=1)",
    "change = F.conv2d(inside, second_weight, padding=1)\n    x = inside if shortcut_weight is None else x",
    cause="What is added is the output of the first convolution, not the input of the block.",
    hint="Follow the arrow in the formula: around how many convolutions does x travel?",
)
residual_block.slip(
    "stride in both convolutions",
    right_block,
    "F.conv2d(inside, second_weight, padding=1)",
    "F.conv2d(inside, second_weight, stride=stride, padding=1)",
    cause="Both convolutions step by the stride, so the size is divided twice and cannot be added to the shortcut's.",
    hint="Only the first convolution changes the size. Compare the shapes of the two things you add.",
)
residual_block.slip(
    "shortcut not strided",
    right_block,
    "F.conv2d(x, shortcut_weight, stride=stride)",
    "F.conv2d(x, shortcut_weight)[:, :, : change.shape[2], : change.shape[3]]",
    cause="The shortcut does not step by the stride: a corner of the picture is added instead of the whole.",
    hint="Which pixels of x does the first convolution look at? The shortcut should look at the same ones.",
)
residual_block.slip(
    "shortcut through a ReLU",
    right_block,
    "x = F.conv2d(x, shortcut_weight, stride=stride)",
    "x = F.relu(F.conv2d(x, shortcut_weight, stride=stride))",
    cause="The shortcut goes through a ReLU of its own; it should stay linear.",
    hint="Count the ReLUs of the formula.",
)
residual_block.slip(
    "a ReLU before the addition",
    right_block,
    "F.relu(change + x)",
    "F.relu(F.relu(change) + x)",
    cause="The second convolution goes through a ReLU before the addition, so the block can never lower a number.",
    hint="Count the ReLUs of the formula, and look what each encloses.",
)
