"""The exercises on convolution: by loops over the formula, and for a whole batch with one product."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.exercise import DTYPE, GRADIENTS, Case, Exercise
from ml_course import cnn

READY_MADE = (
    *("conv1d", "conv2d", "conv3d", "conv_transpose2d", "convolution", "mkldnn_convolution", "thnn_conv2d"),
    *("slow_conv2d_forward", "Conv2d", "correlate2d", "convolve2d", "correlate", "convolve", "fftconvolve"),
)


def loops_reference(picture, kernel, stride=1, padding=0):
    """The reference under the homework's signature: NumPy arrays, one channel."""
    x, weight = (torch.from_numpy(np.ascontiguousarray(array))[None, None] for array in (picture, kernel))
    return cnn.conv2d(x, weight, stride=stride, padding=padding)[0, 0].numpy()


cross_correlation = Exercise(
    "cnn.cross_correlation",
    reference=loops_reference,
    facets={"values": 2, "stride and padding": 1},
    difficulty=1,
    minutes=20,
    forbidden=READY_MADE,
)


@cross_correlation.cases
def cross_correlation_cases(rng):
    def inputs(height, width, rows, columns, stride=1, padding=0):
        return dict(
            picture=rng.normal(size=(height, width)),
            kernel=rng.normal(size=(rows, columns)),
            stride=stride,
            padding=padding,
        )

    yield Case("a square kernel", **inputs(5, 6, 3, 3))
    yield Case("a kernel that is not square", **inputs(6, 5, 2, 3))
    yield Case("random sizes", **inputs(*map(int, rng.integers(5, 9, size=2)), *map(int, rng.integers(1, 5, size=2))))
    yield Case("as wide as the picture", **inputs(4, 3, 2, 3))
    yield Case("one number", **inputs(3, 4, 1, 1))
    yield Case("a high and narrow picture", **inputs(9, 2, 3, 2))
    yield Case("stride 2", "stride and padding", **inputs(7, 9, 3, 2, stride=2))
    yield Case("a stride that leaves something over", "stride and padding", **inputs(8, 7, 3, 3, stride=3))
    yield Case("padding", "stride and padding", **inputs(4, 5, 3, 3, padding=1))
    yield Case("a kernel larger than the picture", "stride and padding", **inputs(2, 3, 4, 4, padding=2))
    yield Case("both", "stride and padding", **inputs(6, 7, 3, 4, stride=2, padding=2))


@cross_correlation.probe
def ask_cross_correlation(answer, picture, kernel, stride, padding):
    return {"map": answer(picture, kernel, stride, padding)}


@cross_correlation.alternative
def patch_by_patch(picture, kernel, stride=1, padding=0):
    padded = np.pad(picture, padding)
    rows, columns = kernel.shape
    return np.array(
        [
            [
                (padded[i : i + rows, j : j + columns] * kernel).sum()
                for j in range(0, padded.shape[1] - columns + 1, stride)
            ]
            for i in range(0, padded.shape[0] - rows + 1, stride)
        ]
    )


@cross_correlation.alternative
def shifted_pictures(picture, kernel, stride=1, padding=0):
    padded = np.pad(picture, padding)
    height, width = padded.shape[0] - len(kernel) + 1, padded.shape[1] - kernel.shape[1] + 1
    total = np.zeros((height, width))
    for (a, b), weight in np.ndenumerate(kernel):
        total += weight * padded[a : a + height, b : b + width]
    return total[::stride, ::stride]


def right_loops(picture, kernel, stride=1, padding=0):
    height, width = picture.shape
    rows, columns = kernel.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding))
    padded[padding : padding + height, padding : padding + width] = picture
    out_height = (padded.shape[0] - rows) // stride + 1
    out_width = (padded.shape[1] - columns) // stride + 1
    result = np.zeros((out_height, out_width))
    for i in range(out_height):
        for j in range(out_width):
            for a in range(rows):
                for b in range(columns):
                    result[i, j] += kernel[a, b] * padded[i * stride + a, j * stride + b]
    return result


cross_correlation.slip(
    "kernel flipped",
    right_loops,
    "kernel[a, b]",
    "kernel[rows - 1 - a, columns - 1 - b]",
    cause="The kernel is turned by half a circle: that is the convolution of mathematics, not cross-correlation.",
    hint="Which number of the kernel belongs to the upper left pixel of the window?",
)
cross_correlation.slip(
    "stride ignored",
    right_loops,
    "padded[i * stride + a, j * stride + b]",
    "padded[i + a, j + b]",
    cause="The output has the right size, but the windows still move by one pixel.",
    hint="Where does the second window begin when the stride is 2?",
)
cross_correlation.slip(
    "padding on one side",
    right_loops,
    "padded[padding : padding + height, padding : padding + width] = picture",
    "padded[:height, :width] = picture",
    cause="All zeros are added below and to the right; half of them belong above and to the left.",
    hint="Print your padded picture for a picture of ones.",
)
cross_correlation.slip(
    "overwritten instead of added up",
    right_loops,
    "result[i, j] +=",
    "result[i, j] =",
    cause="Each product overwrites the one before; only the last of the window is left.",
    hint="How many products does one output number sum up? Look at your `=`.",
)
cross_correlation.slip(
    "one row and column too few",
    right_loops,
    "stride + 1\n    out_width = (padded.shape[1] - columns) // stride + 1",
    "stride\n    out_width = (padded.shape[1] - columns) // stride",
    cause="The last window of each row and column is missing.",
    hint="How many places has a kernel that is as large as the picture?",
)


@cross_correlation.mistake(hint="Where may the last window begin? Does `range(n)` hold n itself?")
def the_last_window_left_out(picture, kernel, stride=1, padding=0):
    """The loops end one pixel early: a window that ends exactly at the edge fits, but is left out."""
    padded = np.pad(picture, padding)
    rows, columns = kernel.shape
    tops, lefts = range(0, padded.shape[0] - rows, stride), range(0, padded.shape[1] - columns, stride)
    result = np.zeros((len(tops), len(lefts)))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            result[i, j] = (padded[top : top + rows, left : left + columns] * kernel).sum()
    return result


# The same, vectorised.


def batch_reference(x, weight, bias, stride=1, padding=0, dilation=1):
    """The reference under the homework's signature."""
    return cnn.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)


conv2d = Exercise(
    "cnn.conv2d",
    reference=batch_reference,
    facets={"values": 2, "stride and padding": 1, "dilation": 1, GRADIENTS: 1, DTYPE: 1, "vectorised": 1},
    difficulty=3,
    minutes=30,
    forbidden=READY_MADE,
    seconds=10,
)


@conv2d.cases
def conv2d_cases(rng):
    def inputs(batch=2, channels=3, height=6, width=7, filters=4, rows=3, columns=2, dtype=np.float64, **options):
        shapes = dict(x=(batch, channels, height, width), weight=(filters, channels, rows, columns), bias=(filters,))
        arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        return arrays | dict(stride=1, padding=0, dilation=1) | options

    batch, channels, filters = (int(size) for size in rng.integers(2, 5, size=3))
    yield Case("random sizes", **inputs(batch, channels, filters=filters))
    yield Case("one channel, one filter, one picture", **inputs(1, 1, filters=1))
    yield Case("as many filters as channels", **inputs(3, 3, 5, 5, filters=3, rows=3, columns=3))
    yield Case("a kernel of one pixel", **inputs(rows=1, columns=1))
    yield Case("the kernel covers the picture", **inputs(height=3, width=2))
    yield Case("not contiguous", **(inputs() | {"x": rng.normal(size=(7, 6, 3, 2)).T}))
    yield Case("float32", **inputs(dtype=np.float32))
    yield Case("stride 2", "stride and padding", **inputs(height=8, width=9, stride=2))
    yield Case("a stride that leaves something over", "stride and padding", **inputs(height=9, width=7, stride=3))
    yield Case("padding", "stride and padding", **inputs(padding=1))
    yield Case("padding and stride", "stride and padding", **inputs(height=5, padding=2, stride=2))
    yield Case("dilation 2", "dilation", **inputs(height=7, width=7, dilation=2))
    yield Case("all at once", "dilation", **inputs(height=9, width=8, stride=2, padding=3, dilation=3))
    large = inputs(1, 2, 24, 20, 2, padding=1)
    yield Case("a larger picture: no loop over its places", "vectorised", **large)


@conv2d.probe
def ask_conv2d(answer, x, weight, bias, stride, padding, dilation):
    import torch
    from torch.overrides import TorchFunctionMode

    class Counting(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            Counting.calls += 1
            return function(*args, **(kwargs or {}))

    inputs = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    with Counting():
        y = answer(*inputs, stride, padding, dilation)
    if isinstance(y, torch.Tensor) and y.requires_grad:
        towards = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).reshape(y.shape)
        slopes = torch.autograd.grad((y * towards).sum(), inputs, allow_unused=True)
    else:
        slopes = ["none: the output does not depend on it any more"] * 3
    replies = {"y": y} | {
        f"gradient of {name}": slope for name, slope in zip(("x", "weight", "bias"), slopes, strict=True)
    }
    if x.shape[2] > 20:  # one call for each of the kernel's numbers is fine, one for each place is not
        replies["at most 200 calls of torch"] = Counting.calls <= 200
    return replies


@conv2d.alternative
def by_torch_unfold(x, weight, bias, stride=1, padding=0, dilation=1):
    batch, filters, (rows, columns) = len(x), len(weight), weight.shape[2:]
    height = (x.shape[2] + 2 * padding - dilation * (rows - 1) - 1) // stride + 1
    seen = F.unfold(x, (rows, columns), dilation=dilation, padding=padding, stride=stride)
    y = weight.reshape(filters, -1) @ seen + bias.reshape(1, -1, 1)
    return y.reshape(batch, filters, height, -1)


@conv2d.alternative
def kernel_pixel_by_kernel_pixel(x, weight, bias, stride=1, padding=0, dilation=1):
    x = F.pad(x, (padding,) * 4)
    rows, columns = weight.shape[2:]
    height = (x.shape[2] - dilation * (rows - 1) - 1) // stride + 1
    width = (x.shape[3] - dilation * (columns - 1) - 1) // stride + 1
    total = bias.reshape(1, -1, 1, 1)
    for a in range(rows):
        for b in range(columns):
            part = x[:, :, a * dilation :, b * dilation :][:, :, ::stride, ::stride][:, :, :height, :width]
            total = total + torch.einsum("nchw,fc->nfhw", part, weight[:, :, a, b])
    return total


@conv2d.alternative
def with_index_arrays(x, weight, bias, stride=1, padding=0, dilation=1):
    x = F.pad(x, (padding, padding, padding, padding))
    rows, columns = weight.shape[-2:]
    top = torch.arange(0, x.shape[2] - dilation * (rows - 1), stride)
    left = torch.arange(0, x.shape[3] - dilation * (columns - 1), stride)
    row = top[:, None] + dilation * torch.arange(rows)
    column = left[:, None] + dilation * torch.arange(columns)
    seen = x[:, :, row[:, None, :, None], column[None, :, None, :]]
    return torch.tensordot(seen, weight, dims=([1, 4, 5], [1, 2, 3])).permute(0, 3, 1, 2) + bias[:, None, None]


def right_batch(x, weight, bias, stride=1, padding=0, dilation=1):
    x = F.pad(x, (padding, padding, padding, padding))
    rows, columns = weight.shape[2:]
    seen = x.unfold(2, dilation * (rows - 1) + 1, stride).unfold(3, dilation * (columns - 1) + 1, stride)
    seen = seen[..., ::dilation, ::dilation]
    return torch.einsum("ncijab,fcab->nfij", seen, weight) + bias[:, None, None]


conv2d.slip(
    "kernel flipped",
    right_batch,
    "seen, weight)",
    "seen, weight.flip(2, 3))",
    cause="The kernels are turned by half a circle: asked for is cross-correlation, which does not flip.",
    hint="Put a single 1 in the upper left corner of a kernel. Which pixel of the window should come out?",
)
conv2d.slip(
    "padding on one side",
    right_batch,
    "(padding, padding, padding, padding)",
    "(0, 2 * padding, 0, 2 * padding)",
    cause="All zeros are added below and to the right; half of them belong above and to the left.",
    hint="F.pad wants (left, right, above, below). Print a padded picture of ones.",
)
conv2d.slip(
    "stride ignored",
    right_batch,
    "return torch.einsum",
    "height, width = seen.shape[2:4]\n"
    "    seen = x.unfold(2, dilation * (rows - 1) + 1, 1).unfold(3, dilation * (columns - 1) + 1, 1)\n"
    "    seen = seen[:, :, :height, :width, ::dilation, ::dilation]\n"
    "    return torch.einsum",
    cause="The output has the right size, but the windows still move by one pixel.",
    hint="Where does the second window begin when the stride is 2?",
)
conv2d.slip(
    "channels not summed",
    right_batch,
    '"ncijab,fcab->nfij", seen, weight)',
    '"nijab,fab->nfij", seen[:, 0], weight[:, 0])',
    cause="Only the first channel is read; a filter spans all channels and adds up what it finds in each.",
    hint="Which axis do picture and weight share besides the kernel's two? It has to be summed away.",
)
conv2d.slip(
    "channels averaged",
    right_batch,
    "seen, weight)",
    "seen, weight) / x.shape[1]",
    cause="What a filter finds in the channels is averaged; it should be summed.",
    hint="Compare with the formula: is there any division?",
)
conv2d.slip(
    "dilation taken for a stride",
    right_batch,
    "seen = x.unfold(2, dilation * (rows - 1) + 1, stride).unfold(3, dilation * (columns - 1) + 1, stride)\n"
    "    seen = seen[..., ::dilation, ::dilation]",
    "seen = x.unfold(2, rows, stride * dilation).unfold(3, columns, stride * dilation)",
    cause="The windows move by the dilation; it should spread the pixels *inside* a window instead.",
    hint="With dilation 2 and stride 1, where does the second window begin? Where is the first one's second pixel?",
)
conv2d.slip(
    "bias forgotten",
    right_batch,
    " + bias[:, None, None]",
    "",
    cause="The bias is not added.",
    hint="Which of your arguments is never used?",
)
conv2d.slip(
    "gradient cut off",
    right_batch,
    "seen, weight)",
    "seen.detach(), weight)",
    cause="The picture is cut out of the graph, so the layers below could never learn.",
    hint="detach, .data, .numpy() and torch.tensor(…) all forget where numbers came from.",
)


@conv2d.mistake(hint="Which axes of your loops grow with the picture? Replace those by one call for all places.")
def a_loop_over_the_places(x, weight, bias, stride=1, padding=0, dilation=1):
    """Each place of the output is computed by a call of its own, so a large picture takes thousands of calls."""
    x = F.pad(x, (padding,) * 4)
    rows, columns = (dilation * (size - 1) + 1 for size in weight.shape[2:])
    lines = []
    for i in range(0, x.shape[2] - rows + 1, stride):
        line = []
        for j in range(0, x.shape[3] - columns + 1, stride):
            seen = x[:, :, i : i + rows : dilation, j : j + columns : dilation]
            line.append(torch.einsum("ncab,fcab->nf", seen, weight) + bias)
        lines.append(torch.stack(line, dim=-1))
    return torch.stack(lines, dim=-2)


@conv2d.mistake(hint="`torch.zeros` makes float32 unless it is told otherwise: `x.new_zeros(…)` follows x.")
def always_float32(x, weight, bias, stride=1, padding=0, dilation=1):
    """The result is collected in a tensor of torch's default type, so float64 inputs give float32."""
    x = F.pad(x, (padding, padding, padding, padding))
    rows, columns = weight.shape[2:]
    seen = x.unfold(2, dilation * (rows - 1) + 1, stride).unfold(3, dilation * (columns - 1) + 1, stride)
    y = torch.zeros(len(x), len(weight), *seen.shape[2:4])
    return (
        y + (torch.einsum("ncijab,fcab->nfij", seen[..., ::dilation, ::dilation], weight) + bias[:, None, None]).float()
    )
