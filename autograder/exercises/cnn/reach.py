"""The exercise on how far an output sees: the receptive field of a stack of layers."""

from autograder.exercise import Case, Exercise
from ml_course import cnn

receptive_field = Exercise(
    "cnn.receptive_field",
    reference=lambda layers: cnn.receptive_field([tuple(layer) for layer in layers]),
    facets={"one after another": 1, "stride": 1, "dilation": 1},
    difficulty=2,
    minutes=20,
)


@receptive_field.cases
def receptive_field_cases(rng):
    def stack(depth, strides=(1,), dilations=(1,)):
        return [[int(rng.integers(2, 6)), int(rng.choice(strides)), int(rng.choice(dilations))] for _ in range(depth)]

    yield Case("one layer", layers=stack(1))
    yield Case("no layer", layers=[])
    yield Case("two of width 3", layers=[[3, 1, 1], [3, 1, 1]])
    yield Case("several layers", layers=stack(int(rng.integers(3, 6))))
    yield Case("a layer of width 1 between", layers=[[3, 1, 1], [1, 1, 1], [4, 1, 1]])
    yield Case("convolution, pooling, convolution", "stride", layers=[[5, 1, 1], [2, 2, 1], [5, 1, 1]])
    yield Case("a stride in the last layer", "stride", layers=[[3, 1, 1], [4, 2, 1]])
    yield Case("strides of 3 and 2", "stride", layers=[[3, 3, 1], [2, 2, 1], [4, 1, 1]])
    yield Case("random strides", "stride", layers=stack(4, strides=(2, 3)))
    yield Case("dilations that double", "dilation", layers=[[3, 1, 1], [3, 1, 2], [3, 1, 4], [3, 1, 8]])
    yield Case("random strides and dilations", "dilation", layers=stack(4, strides=(1, 2, 3), dilations=(2, 3, 4)))


@receptive_field.probe
def ask_receptive_field(answer, layers):
    return {"pixels": answer([tuple(layer) for layer in layers])}


@receptive_field.alternative
def from_the_output_back(layers):
    size = 1
    for kernel, stride, dilation in reversed(layers):
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
    return size


@receptive_field.alternative
def by_marking_inputs(layers):
    seen = {0}
    for kernel, stride, dilation in reversed(layers):
        seen = {place * stride + a * dilation for place in seen for a in range(kernel)}
    return max(seen) - min(seen) + 1


def right_field(layers):
    size, jump = 1, 1
    for kernel, stride, dilation in layers:
        size += dilation * (kernel - 1) * jump
        jump *= stride
    return size


receptive_field.slip(
    "kernels added up",
    right_field,
    "(kernel - 1)",
    "kernel",
    cause="Each layer adds kernel places; one of them was seen already, so it adds kernel − 1.",
    hint="Two layers of width 3: draw five inputs, three hidden places, one output.",
)
receptive_field.slip(
    "begins with zero",
    right_field,
    "size, jump = 1, 1",
    "size, jump = 0, 1",
    cause="Without any layer an output is its own input: the count begins with 1, not 0.",
    hint="How many inputs does a layer of width 1 see?",
)
receptive_field.slip(
    "strides ignored",
    right_field,
    "jump *= stride",
    "jump *= 1",
    cause="The strides are not used: behind a stride of 2, neighbours lie two inputs apart.",
    hint="After a pooling by 2, how far apart in the picture do two neighbouring numbers lie?",
)
receptive_field.slip(
    "own stride counted",
    right_field,
    "size += dilation * (kernel - 1) * jump\n        jump *= stride",
    "jump *= stride\n        size += dilation * (kernel - 1) * jump",
    cause="A layer's own stride is counted for its own kernel; it only spreads what the *next* layers see.",
    hint="How many inputs does one output of a single layer see, kernel 3, stride 2?",
)
receptive_field.slip(
    "strides added",
    right_field,
    "jump *= stride",
    "jump += stride - 1",
    cause="The strides are added up; they multiply, since each layer steps in units of the one before.",
    hint="After two poolings by 3, how far apart in the picture do neighbours lie: 5 or 9?",
)
receptive_field.slip(
    "dilation ignored",
    right_field,
    "dilation * (kernel - 1)",
    "(kernel - 1)",
    cause="The dilation is not used: it widens the gaps inside a kernel.",
    hint="How far does a kernel of 3 with dilation 4 reach?",
)
receptive_field.slip(
    "dilation taken for a stride",
    right_field,
    "size += dilation * (kernel - 1) * jump\n        jump *= stride",
    "size += (kernel - 1) * jump\n        jump *= stride * dilation",
    cause="The dilation is treated like a stride; it spreads this layer's own kernel and nothing after it.",
    hint="How many inputs does one layer alone see, kernel 3, dilation 4?",
)


@receptive_field.mistake(hint="Two layers, kernel 3 each, the second with a stride of 2: draw them and count.")
def all_seen_stretched_by_each_stride(layers):
    """What is seen so far is multiplied by each stride; a stride changes how far apart the *next* kernels are."""
    size = 1
    for kernel, stride, dilation in layers:
        size = size * stride + dilation * (kernel - 1)
    return size


@receptive_field.mistake(
    hint="Try convolution, pooling, convolution by hand. Does a stride change what was seen before it?"
)
def strides_of_the_layers_before(layers):
    """What is seen so far is multiplied by each stride; that is right from the output back, not from the input on."""
    size = 1
    for kernel, stride, dilation in layers:
        size = (size - 1) * stride + dilation * (kernel - 1) + 1
    return size
