"""The exercises on patches: a picture cut into squares, and the squares put together again."""

import numpy as np
import torch

from autograder.exercise import DTYPE, SIDE_EFFECTS, Case, Exercise
from ml_course import multimodal


def pixels(rng, batch, channels, height, width, dtype=np.float64):
    """Random pictures, no two numbers alike."""
    return rng.normal(size=(batch, channels, height, width)).astype(dtype)


# patchify


patchify = Exercise(
    "multimodal.patchify",
    reference=multimodal.patchify,
    facets={"values": 2, "channels": 1, "oblong": 1, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=15,
)


@patchify.cases
def patchify_cases(rng):
    def case(label, facet, batch, channels, height, width, patch, dtype=np.float64, by_column=False):
        pictures = pixels(rng, batch, channels, height, width, dtype)
        return Case(label, facet, pictures=pictures, patch=patch, by_column=by_column)

    side = int(rng.integers(2, 4))
    yield case("one grey picture", None, 1, 1, 2 * side, 2 * side, side)
    yield case("several grey pictures", None, 3, 1, 3 * side, 3 * side, side)
    yield case("the whole picture is one patch", None, 2, 1, 4, 4, 4)
    yield case("patches of one pixel", None, 2, 1, 3, 3, 1)
    yield case("three channels", "channels", 2, 3, 2 * side, 2 * side, side)
    yield case("two channels, one patch", "channels", 1, 2, 3, 3, 3)
    yield case("wider than high", "oblong", 2, 1, 2 * side, 4 * side, side)
    yield case("higher than wide", "oblong", 2, 1, 3 * side, 2 * side, side)
    yield case("columns side by side in memory", "oblong", 2, 3, 2 * side, 3 * side, side, by_column=True)
    yield case("float32", DTYPE, 2, 2, 4, 6, 2, np.float32)


@patchify.probe
def ask_patchify(answer, pictures, patch, by_column):
    import torch

    given = torch.from_numpy(pictures)
    if by_column:  # the same numbers, stored column by column
        given = given.mT.contiguous().mT
    return {"patches": answer(given, patch)}


@patchify.alternative
def patch_by_patch(pictures, patch):
    cut = []
    for top in range(0, pictures.shape[2], patch):
        for left in range(0, pictures.shape[3], patch):
            cut.append(pictures[:, :, top : top + patch, left : left + patch].flatten(1))
    return torch.stack(cut, dim=1)


@patchify.alternative
def axes_split_and_moved(pictures, patch):
    batch, channels, height, width = pictures.shape
    cut = pictures.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


@patchify.alternative
def by_unfold(pictures, patch):
    return torch.nn.functional.unfold(pictures, kernel_size=patch, stride=patch).transpose(1, 2)


def cut_wrongly(label, old, new, cause, hint, right=axes_split_and_moved):
    patchify.slip(label, right, old, new, cause=cause, hint=hint)


cut_wrongly(
    "channels last",
    "permute(0, 2, 4, 1, 3, 5)",
    "permute(0, 2, 4, 3, 5, 1)",
    "Inside a patch the channels of each pixel stand side by side; asked are all pixels of the first channel, then "
    "those of the next.",
    "With three channels, which pixel should the second number of a patch be?",
)
cut_wrongly(
    "grid transposed",
    "permute(0, 2, 4, 1, 3, 5)",
    "permute(0, 4, 2, 1, 3, 5)",
    "The patches come column by column; one reads from left to right, then the next row.",
    "Which patch should follow the first: the one on its right, or the one below?",
)
cut_wrongly(
    "patch transposed",
    "permute(0, 2, 4, 1, 3, 5)",
    "permute(0, 2, 4, 1, 5, 3)",
    "Each patch is turned about its diagonal: its pixels come column by column.",
    "Your patches are in the right order. Write down the four pixels of a 2 × 2 patch, and compare.",
)
cut_wrongly(
    "only reshaped",
    "permute(0, 2, 4, 1, 3, 5).",
    "",
    "The numbers were only counted off, in the order in which they lie in memory: your rows are strips, no squares.",
    "A reshape never moves a number. Split the axes of height and width, then bring them into order.",
)
cut_wrongly(
    "every p-th pixel",
    "height // patch, patch, width // patch, patch)\n    return cut.permute(0, 2, 4, 1, 3, 5)",
    "patch, height // patch, patch, width // patch)\n    return cut.permute(0, 3, 5, 1, 2, 4)",
    "A patch holds pixels that lie far apart: the axis was split into (inside, number) where it is (number, inside).",
    "Row 5 of a picture is in which patch, and which row there, if a patch has 4 rows? Which of the two runs faster?",
)
cut_wrongly(
    "channels as further patches",
    "permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)",
    "permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, patch * patch)",
    "Each channel was cut by itself: there are more patches than places. A patch holds all channels of its place.",
    "How many patches should there be? Count the squares on the picture.",
)
cut_wrongly(
    "always float32",
    "cut = pictures.reshape",
    "cut = pictures.float().reshape",
    "The result is float32 whatever came in.",
    "Nothing is computed here, so nothing needs to be converted.",
)
cut_wrongly(
    "channels before the grid",
    "permute(0, 2, 4, 1, 3, 5)",
    "permute(0, 1, 2, 4, 3, 5)",
    "The channel runs slower than the place: the first rows hold all patches of the first channel.",
    "A patch holds all channels of its place, so which must come first: the places or the channels?",
)
cut_wrongly(
    "height and width exchanged",
    "batch, channels, height, width = pictures.shape",
    "batch, channels, width, height = pictures.shape",
    "The width was taken for the height: right for square pictures only.",
    "In which order does the shape of `pictures` name its axes?",
)
cut_wrongly(
    "features before the patches",
    ".transpose(1, 2)",
    "",
    "The last two axes are exchanged: unfold gives each patch as a column, asked is a row.",
    "The shape should be (batch, patches, channels · patch²).",
    by_unfold,
)
cut_wrongly(
    "patches before the batch",
    "dim=1",
    "dim=0",
    "The first axis counts the patches; it should count the pictures.",
    "Along which axis should the patches be stacked, so that the batch stays first?",
    patch_by_patch,
)


# unpatchify


unpatchify = Exercise(
    "multimodal.unpatchify",
    reference=multimodal.unpatchify,
    facets={"values": 2, "channels": 1, "oblong": 1, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=15,
)


@unpatchify.cases
def unpatchify_cases(rng):
    def case(label, facet, batch, channels, height, width, patch, dtype=np.float64, by_column=False):
        count, features = height * width // patch**2, channels * patch**2
        patches = rng.normal(size=(batch, count, features)).astype(dtype)
        return Case(label, facet, patches=patches, height=height, width=width, patch=patch, by_column=by_column)

    side = int(rng.integers(2, 4))
    yield case("one grey picture", None, 1, 1, 2 * side, 2 * side, side)
    yield case("several grey pictures", None, 3, 1, 3 * side, 3 * side, side)
    yield case("one patch is the whole picture", None, 2, 1, 4, 4, 4)
    yield case("patches of one pixel", None, 2, 1, 3, 3, 1)
    yield case("three channels", "channels", 3, 3, 2 * side, 2 * side, side)
    yield case("two channels, one patch", "channels", 1, 2, 3, 3, 3)
    yield case("wider than high", "oblong", 2, 1, 2 * side, 4 * side, side)
    yield case("higher than wide", "oblong", 2, 1, 3 * side, 2 * side, side)
    yield case("stored the other way round", "oblong", 2, 3, 2 * side, 3 * side, side, by_column=True)
    yield case("float32", DTYPE, 2, 2, 4, 6, 2, np.float32)


@unpatchify.probe
def ask_unpatchify(answer, patches, height, width, patch, by_column):
    import torch

    given = torch.from_numpy(patches)
    if by_column:
        given = given.mT.contiguous().mT
    return {"pictures": answer(given, height, width, patch)}


@unpatchify.alternative
def axes_split_and_moved_back(patches, height, width, patch):
    batch, rows, columns = len(patches), height // patch, width // patch
    cut = patches.reshape(batch, rows, columns, -1, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)


@unpatchify.alternative
def patch_after_patch(patches, height, width, patch):
    batch, _, features = patches.shape
    pictures = patches.new_zeros(batch, features // patch**2, height, width)
    columns = width // patch
    for number in range(patches.shape[1]):
        top, left = number // columns * patch, number % columns * patch
        square = patches[:, number].reshape(batch, -1, patch, patch)
        pictures[:, :, top : top + patch, left : left + patch] = square
    return pictures


@unpatchify.alternative
def by_fold(patches, height, width, patch):
    return torch.nn.functional.fold(patches.transpose(1, 2), (height, width), kernel_size=patch, stride=patch)


def joined_wrongly(label, old, new, cause, hint, right=axes_split_and_moved_back):
    unpatchify.slip(label, right, old, new, cause=cause, hint=hint)


joined_wrongly(
    "channels last",
    "-1, patch, patch)\n    return cut.permute(0, 3, 1, 4, 2, 5)",
    "patch, patch, patches.shape[2] // patch**2)\n    return cut.permute(0, 5, 1, 3, 2, 4)",
    "The numbers of a patch were read pixel by pixel with the channels side by side; they stand channel by channel.",
    "With three channels, the first patch² numbers of a patch belong to one channel.",
)
joined_wrongly(
    "grid transposed",
    "reshape(batch, rows, columns, -1, patch, patch)\n    return cut.permute(0, 3, 1, 4, 2, 5)",
    "reshape(batch, columns, rows, -1, patch, patch)\n    return cut.permute(0, 3, 2, 4, 1, 5)",
    "The patches were laid column by column; they come from left to right, then the next row.",
    "Where should the second patch lie: on the right of the first, or below it?",
)
joined_wrongly(
    "rows and columns exchanged",
    "reshape(batch, rows, columns, -1",
    "reshape(batch, columns, rows, -1",
    "The grid was read with as many rows as it has columns: right for square pictures only.",
    "How many rows of patches has a picture of 2 × 4 pixels, with patches of 1?",
)
joined_wrongly(
    "patch transposed",
    "permute(0, 3, 1, 4, 2, 5)",
    "permute(0, 3, 1, 5, 2, 4)",
    "Each patch was turned about its diagonal before it was laid down.",
    "A patch comes row by row: its second number is on the right of the first.",
)
joined_wrongly(
    "only reshaped",
    "permute(0, 3, 1, 4, 2, 5).",
    "",
    "The numbers were only counted off: those of one patch became parts of rows, no square.",
    "A reshape never moves a number. Which axes must stand side by side, before two of them can become the height?",
)
joined_wrongly(
    "interlaced",
    "permute(0, 3, 1, 4, 2, 5)",
    "permute(0, 3, 4, 1, 5, 2)",
    "Neighbouring pixels came to lie far apart: inside and number of a patch were joined in the wrong order.",
    "Which runs faster as one goes down the picture: the row inside a patch, or the number of the patch?",
)
joined_wrongly(
    "always float32",
    "cut = patches.reshape",
    "cut = patches.float().reshape",
    "The result is float32 whatever came in.",
    "Nothing is computed here, so nothing needs to be converted.",
)
joined_wrongly(
    "patches one below the other",
    "permute(0, 3, 1, 4, 2, 5)",
    "permute(0, 3, 1, 2, 4, 5)",
    "The channels were put in front, but inside each channel the patches were counted off one after the other.",
    "A row of the picture goes through several patches. Which axes must stand side by side to become the width?",
)
joined_wrongly(
    "height and width exchanged",
    "-1, height, width)",
    "-1, width, height)",
    "The last two axes are exchanged: right for square pictures only.",
    "In which order should the shape of a picture name its height and its width?",
)
joined_wrongly(
    "counted by rows",
    "columns = width // patch",
    "columns = height // patch",
    "The patches are counted with as many to a row as there are rows: right for square pictures only.",
    "After how many patches does the next row begin: is that a matter of the height or of the width?",
    patch_after_patch,
)
