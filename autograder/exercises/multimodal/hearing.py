"""The exercise on hearing: triangles that gather frequencies into bands of equal width to the ear."""

import math

import numpy as np
import torch

from autograder.exercise import DTYPE, SIDE_EFFECTS, Case, Exercise
from ml_course import multimodal


def bank_of_the_library(frequencies, mels, lowest, highest):
    """The reference under the homework's signature: the frequencies are those of a Fourier transform."""
    return multimodal.mel_filter_bank(
        mels, len(frequencies), 2 * float(frequencies[-1]), lowest=lowest, highest=highest, scale="htk",
        equal_area=False, dtype=frequencies.dtype,
    )  # fmt: skip


mel_filter_bank = Exercise(
    "multimodal.mel_filter_bank",
    reference=bank_of_the_library,
    facets={"values": 2, "lowest and highest": 1, DTYPE: 0.5, SIDE_EFFECTS: 0.5},
    difficulty=2,
    minutes=25,
    equivalent_mutants={
        "return torch.minimum(rising, falling).clamp(min=0).to(frequencies.dtype) → "
        "return torch.minimum(falling, rising).clamp(min=0).to(frequencies.dtype)": (
            "the smaller of two numbers, whichever is named first"
        ),
    },
)


@mel_filter_bank.cases
def bank_cases(rng):
    def case(label, facet=None, mels=6, bins=41, top=4000.0, lowest=0.0, highest=None, dtype=np.float64):
        frequencies = np.linspace(0, top, bins).astype(dtype)
        return Case(
            label, facet, frequencies=frequencies, mels=mels, lowest=lowest, highest=top if highest is None else highest
        )

    top = float(500 * rng.integers(6, 17))  # 3000 to 8000 Hz
    yield case("a few bands", None, int(rng.integers(5, 9)), 60, top)
    yield case("one band", None, 1, 30, top)
    yield case("two bands", None, 2, 33, top)
    yield case("many bands, many bins", None, 40, 401, top)
    yield case("more bands than bins: some stay empty", None, 24, 20, top)
    low, high = float(rng.uniform(150, 400)), float(rng.uniform(0.6, 0.8) * top)
    yield case("not from the bottom", "lowest and highest", 7, 60, top, lowest=low)
    yield case("not to the top", "lowest and highest", 7, 60, top, highest=high)
    yield case("a range in the middle", "lowest and highest", 5, 80, top, low, high)
    yield case("float32", DTYPE, 6, 50, top, dtype=np.float32)


@mel_filter_bank.probe
def ask_bank(answer, frequencies, mels, lowest, highest):
    import torch

    return {"bank": answer(torch.from_numpy(frequencies), mels, lowest, highest)}


@mel_filter_bank.alternative
def all_at_once(frequencies, mels, lowest, highest):
    first, last = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)
    corners = 700 * (10 ** ((first + (last - first) * steps) / 2595) - 1)
    corners = corners.to(frequencies.dtype)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising = (frequencies - left) / (top - left)
    falling = (right - frequencies) / (right - top)
    return torch.minimum(rising, falling).clamp(min=0)


@mel_filter_bank.alternative
def in_the_dtype_of_the_frequencies(frequencies, mels, lowest, highest):
    ends = 2595 * torch.log10(1 + torch.tensor([lowest, highest], dtype=frequencies.dtype) / 700)
    corners = 700 * (10 ** (torch.linspace(ends[0], ends[1], mels + 2, dtype=frequencies.dtype) / 2595) - 1)
    rising = (frequencies - corners[:-1, None]) / corners.diff()[:, None]
    return torch.minimum(rising[:-1], 1 - rising[1:]).clamp(min=0)


@mel_filter_bank.alternative
def number_by_number(frequencies, mels, lowest, highest):
    def mel(f):
        return math.log1p(f / 700)  # the factor of the scale cancels

    corners = [700 * math.expm1(mel(lowest) + i * (mel(highest) - mel(lowest)) / (mels + 1)) for i in range(mels + 2)]
    bank = torch.zeros(mels, len(frequencies), dtype=frequencies.dtype)
    for m in range(mels):
        left, top, right = corners[m : m + 3]
        for k, f in enumerate(frequencies.tolist()):
            if left < f <= top:
                bank[m, k] = (f - left) / (top - left)
            elif top < f < right:
                bank[m, k] = (right - f) / (right - top)
    return bank


@mel_filter_bank.alternative
def with_where(frequencies, mels, lowest, highest):
    ends = [1127 * math.log(1 + f / 700) for f in (lowest, highest)]
    corners = 700 * torch.expm1(torch.linspace(*ends, mels + 2, dtype=torch.float64) / 1127)
    f, bands = frequencies.double(), []
    for left, top, right in corners.unfold(0, 3, 1):
        side = torch.where(f < top, (f - left) / (top - left), (right - f) / (right - top))
        bands.append(torch.where((f > left) & (f < right), side, torch.zeros_like(f)))
    return torch.stack(bands).to(frequencies.dtype)


def wrong(label, old, new, cause, hint):
    """A slip in the formula."""
    mel_filter_bank.slip(label, all_at_once, old, new, cause=cause, hint=hint)


wrong(
    "linear in hertz",
    "corners = 700 * (10 ** ((first + (last - first) * steps) / 2595) - 1)",
    "corners = lowest + (highest - lowest) * steps",
    "The corners stand at equal distances in hertz; they should on the mel scale.",
    "Convert the ends to mel, take equal steps there, and go back.",
)
wrong(
    "not back to hertz",
    "corners = 700 * (10 ** ((first + (last - first) * steps) / 2595) - 1)",
    "corners = first + (last - first) * steps",
    "The corners are mels, but they are compared with frequencies in hertz.",
    "After equal steps in mel you need the inverse: hertz = 700 · (10^(mel / 2595) − 1).",
)
wrong(
    "natural logarithm",
    "math.log10(1 + f / 700)",
    "math.log(1 + f / 700)",
    "The logarithm is the natural one, but the way back is a power of 10.",
    "2595 belongs to log₁₀. Do you come back to `highest` when you convert it there and back?",
)
wrong(
    "no subtraction on the way back",
    "/ 2595) - 1)",
    "/ 2595))",
    "On the way back the 1 is not taken away again: all corners are 700 Hz too high.",
    "0 Hz is 0 mel. What does your inverse make of 0 mel?",
)
wrong(
    "too few steps",
    "steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)",
    "steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 2)",
    "The last corner is not `highest`: there are mels + 2 corners, so mels + 1 steps between them.",
    "How many gaps are there between ten posts of a fence?",
)
wrong(
    "below zero",
    ".clamp(min=0)",
    "",
    "Outside of its triangle a band has negative numbers; they should be 0.",
    "Both lines go on for ever. Where does the triangle end?",
)
wrong(
    "upper line",
    "torch.minimum(rising, falling)",
    "torch.maximum(rising, falling)",
    "Of the two lines the upper one is taken, so the bands are open to both sides.",
    "Under the roof of a house you are below both slopes.",
)
wrong(
    "equal area",
    "torch.minimum(rising, falling).clamp(min=0)",
    "torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)",
    "The triangles are scaled to equal area, as Whisper's are; here each has height 1.",
    "What should stand where a frequency is exactly a band's middle corner?",
)
wrong(
    "each band by its sum",
    "torch.minimum(rising, falling).clamp(min=0)",
    "torch.nn.functional.normalize(torch.minimum(rising, falling).clamp(min=0), p=1, dim=1)",
    "Every band is divided by its sum; here each triangle has height 1.",
    "What should stand where a frequency is exactly a band's middle corner?",
)
wrong(
    "bins first",
    "torch.minimum(rising, falling).clamp(min=0)",
    "torch.minimum(rising, falling).clamp(min=0).T",
    "The axes are exchanged: a row for each frequency. A row for each band is asked for.",
    "The shape should be (mels, bins).",
)
wrong(
    "range ignored",
    "for f in (lowest, highest))",
    "for f in (0.0, float(frequencies[-1])))",
    "The corners go over all frequencies, whatever `lowest` and `highest` say.",
    "Two of the arguments are not used.",
)
wrong(
    "lowest ignored",
    "for f in (lowest, highest))",
    "for f in (0.0, highest))",
    "The corners begin at 0 Hz, whatever `lowest` says.",
    "One of the arguments is not used.",
)
wrong(
    "highest ignored",
    "for f in (lowest, highest))",
    "for f in (lowest, float(frequencies[-1])))",
    "The corners go up to the last frequency, whatever `highest` says.",
    "One of the arguments is not used.",
)
wrong(
    "1 + forgotten on the way there",
    "math.log10(1 + f / 700)",
    "math.log10(f / 700)",
    "To mel, the 1 is not added before the logarithm is taken, and 0 Hz has none.",
    "0 Hz should be 0 mel. What is the logarithm of 0?",
)
wrong(
    "one corner too few",
    "steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)",
    "steps = torch.arange(mels + 1, dtype=torch.float64) / mels",
    "There is one corner too few, so there is one band too few.",
    "A band needs three corners, and each further band one more. How many are needed for `mels` bands?",
)
wrong(
    "always float32",
    "torch.minimum(rising, falling).clamp(min=0)",
    "torch.minimum(rising, falling).clamp(min=0).float()",
    "The result is float32 whatever the frequencies are.",
    "Convert the result to the dtype of the frequencies.",
)
wrong(
    "always float64",
    "corners = corners.to(frequencies.dtype)",
    "corners = corners.double()",
    "The result is float64 whatever the frequencies are.",
    "Tensors that you make yourself have a dtype of their own: give them that of the frequencies.",
)


@mel_filter_bank.mistake(hint="The lines are straight over hertz: convert the corners back before you draw them.")
def triangles_in_mel(frequencies, mels, lowest, highest):
    """The triangles are drawn over mels instead of hertz: their corners are right, but their sides are bent."""
    first, last = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    corners = torch.linspace(float(first), float(last), mels + 2, dtype=frequencies.dtype)
    at = 2595 * torch.log10(1 + frequencies / 700)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return torch.minimum((at - left) / (top - left), (right - at) / (right - top)).clamp(min=0)


@mel_filter_bank.mistake(hint="Neighbours overlap: a band falls to 0 only where the next one has its top.")
def side_by_side(frequencies, mels, lowest, highest):
    """The bands stand side by side, each from one corner to the next, instead of overlapping by half."""
    first, last = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    steps = torch.arange(mels + 1, dtype=torch.float64) / mels
    corners = (700 * (10 ** ((first + (last - first) * steps) / 2595) - 1)).to(frequencies.dtype)
    left, right = corners[:-1, None], corners[1:, None]
    top = (left + right) / 2
    return torch.minimum((frequencies - left) / (top - left), (right - frequencies) / (right - top)).clamp(min=0)


@mel_filter_bank.mistake(hint="The scale bends between two corners, too: the top is the corner itself.")
def top_in_the_middle(frequencies, mels, lowest, highest):
    """A band's top stands half way between its ends in hertz; it should stand at the corner between them."""
    first, last = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)
    corners = (700 * (10 ** ((first + (last - first) * steps) / 2595) - 1)).to(frequencies.dtype)
    left, right = corners[:-2, None], corners[2:, None]
    top = (left + right) / 2
    return torch.minimum((frequencies - left) / (top - left), (right - frequencies) / (right - top)).clamp(min=0)


@mel_filter_bank.mistake(hint="0 Hz should be 0 mel, and 0 mel 0 Hz. What do your two formulas make of 0?")
def no_1_in_either_formula(frequencies, mels, lowest, highest):
    """The 1 is missing on the way to mel and on the way back: the scale is a plain logarithm, which 0 Hz has not."""
    first, last = (2595 * math.log10(f / 700) for f in (lowest, highest))
    steps = torch.arange(mels + 2, dtype=torch.float64) / (mels + 1)
    corners = (700 * 10 ** ((first + (last - first) * steps) / 2595)).to(frequencies.dtype)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    return torch.minimum((frequencies - left) / (top - left), (right - frequencies) / (right - top)).clamp(min=0)


@mel_filter_bank.mistake(hint="Say `dtype=frequencies.dtype` where you make the corners.")
def corners_in_float32(frequencies, mels, lowest, highest):
    """The corners are float32, as torch makes them unless it is told otherwise: too coarse for float64 frequencies."""
    first, last = (2595 * math.log10(1 + f / 700) for f in (lowest, highest))
    corners = 700 * (10 ** (torch.linspace(first, last, mels + 2) / 2595) - 1)
    left, top, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - left) / (top - left), (right - frequencies) / (right - top)
    return torch.minimum(rising, falling).clamp(min=0).to(frequencies.dtype)
