"""The exercise on how many places a kernel finds along one axis."""

from autograder.exercise import Case, Exercise
from ml_course import cnn

output_size = Exercise(
    "cnn.output_size",
    reference=lambda size, kernel, stride=1, padding=0, dilation=1: cnn.output_size(
        size, kernel, stride, padding, dilation
    ),
    facets={"stride and padding": 1, "dilation": 1},
    difficulty=1,
    minutes=10,
)


@output_size.cases
def output_size_cases(rng):
    def fitting(dilation=1):
        kernel, stride, padding = int(rng.integers(2, 7)), int(rng.integers(2, 5)), int(rng.integers(1, 4))
        size = dilation * (kernel - 1) + 1 + int(rng.integers(6, 40))
        return dict(size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)

    plain = dict(stride=1, padding=0, dilation=1)
    yield Case("a kernel alone", size=int(rng.integers(20, 40)), kernel=int(rng.integers(2, 8)), **plain)
    yield Case("the kernel just fits", size=5, kernel=5, **plain)
    yield Case("a kernel of one", size=int(rng.integers(5, 20)), kernel=1, **plain)
    yield Case("padding keeps the size", size=int(rng.integers(10, 40)), kernel=5, stride=1, padding=2, dilation=1)
    yield Case("a stride that leaves something over", size=28, kernel=5, stride=3, padding=0, dilation=1)
    yield Case("a stride longer than what is left", size=7, kernel=3, stride=9, padding=1, dilation=1)
    yield Case("pooling", size=28, kernel=2, stride=2, padding=0, dilation=1)
    for _ in range(4):
        yield Case("random sizes", **fitting())
    yield Case("dilation alone", "dilation", size=int(rng.integers(20, 40)), kernel=3, stride=1, padding=0, dilation=4)
    yield Case("a kernel of one, dilated", "dilation", size=9, kernel=1, stride=1, padding=0, dilation=3)
    for _ in range(4):
        yield Case("everything at once", "dilation", **fitting(dilation=int(rng.integers(2, 5))))


@output_size.probe
def ask_output_size(answer, size, kernel, stride, padding, dilation):
    return {"places": answer(size, kernel, stride, padding, dilation)}


@output_size.alternative
def counted(size, kernel, stride=1, padding=0, dilation=1):
    places, start = 0, -padding
    while start + dilation * (kernel - 1) < size + padding:
        places, start = places + 1, start + stride
    return places


@output_size.alternative
def by_a_range(size, kernel, stride=1, padding=0, dilation=1):
    return len(range(0, size + 2 * padding - dilation * (kernel - 1), stride))


def right_size(size, kernel, stride=1, padding=0, dilation=1):
    reach = dilation * (kernel - 1) + 1
    return (size + 2 * padding - reach) // stride + 1


output_size.slip(
    "padding on one side only",
    right_size,
    "2 * padding",
    "padding",
    cause="The padding is counted once, but it is added on both sides.",
    hint="How many zeros does padding = 1 add to a row, in front and behind together?",
)
output_size.slip(
    "the first place forgotten",
    right_size,
    " // stride + 1",
    " // stride",
    cause="Only the steps are counted; the place the kernel starts from is missing.",
    hint="A kernel as large as the picture makes no step. How many places has it?",
)
output_size.slip(
    "one added before dividing",
    right_size,
    "- reach) // stride + 1",
    "- reach + 1) // stride",
    cause="One is added before the division by the stride instead of after it.",
    hint="Draw a row of 5, a kernel of 2, a stride of 2. How many places? What does your formula say?",
)
output_size.slip(
    "rounded up",
    right_size,
    "(size + 2 * padding - reach) // stride",
    "-(-(size + 2 * padding - reach) // stride)",
    cause="The steps are rounded up, so the last window hangs over the edge.",
    hint="What is left over after the last full stride is not read.",
)
output_size.slip(
    "dilation ignored",
    right_size,
    "dilation * (kernel - 1) + 1",
    "kernel",
    cause="The dilation is not used: a dilated kernel reaches further.",
    hint="How far apart are the first and the last number of a kernel of 3 with dilation 2?",
)
output_size.slip(
    "dilation times the kernel",
    right_size,
    "dilation * (kernel - 1) + 1",
    "dilation * kernel",
    cause="The kernel is taken to reach over dilation · kernel; there are only kernel − 1 gaps to widen.",
    hint="Three posts have two gaps between them.",
)
output_size.slip(
    "a fraction of a place",
    right_size,
    "// stride + 1",
    "/ stride + 1",
    cause="The division by the stride is not rounded down, and its result is no whole number.",
    hint="A window that fits only in part is no place. Which division of Python drops the rest?",
)
