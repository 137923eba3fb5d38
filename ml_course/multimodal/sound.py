r"""Made speech: words of an invented language, spoken by invented voices, so that every sound is known by heart.

A voice is a buzz, and breath is noise; the mouth is a filter that lets some frequencies pass, the *formants*. Letters
differ in their formants and in how much of buzz and noise they have. Real speech is far richer; what makes it hard is
here all the same: voices differ in pitch, in size and in speed, rooms hum, and no two say the same word alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ml_course.multimodal.spectrogram import HOP, RATE

FADE = 0.02  # seconds in which one letter gives way to the next


@dataclass(frozen=True)
class Letter:
    r"""How a letter sounds: frequencies the mouth lets pass, and what is filtered by them."""

    formants: tuple[int, ...]  # hertz, of a tall man
    bandwidth: int  # hertz: how far from a formant half of the power is left
    voice: float  # loudness of the buzz
    breath: float  # loudness of the noise
    seconds: float
    closed: float = 0.0  # seconds of silence before it, while the lips or the tongue hold the air


# Vowels: the means for men of peterson1952control, table II. Consonants: by ear, as textbooks describe them.
LETTERS = {
    "a": Letter((730, 1090, 2440), 90, 1.0, 0.02, 0.11),
    "e": Letter((530, 1840, 2480), 90, 1.0, 0.02, 0.11),
    "i": Letter((270, 2290, 3010), 90, 1.0, 0.02, 0.11),
    "o": Letter((570, 840, 2410), 90, 1.0, 0.02, 0.11),
    "u": Letter((300, 870, 2240), 90, 1.0, 0.02, 0.11),
    "m": Letter((250, 1000, 2200), 120, 0.4, 0.01, 0.07),
    "n": Letter((250, 1500, 2700), 120, 0.4, 0.01, 0.07),
    "s": Letter((5200, 6800), 900, 0.0, 0.30, 0.09),
    "f": Letter((1500, 4000, 7000), 2500, 0.0, 0.12, 0.09),
    "k": Letter((1900,), 300, 0.0, 0.60, 0.03, closed=0.05),
    "t": Letter((4200,), 900, 0.0, 0.45, 0.03, closed=0.05),
}
VOWELS, CONSONANTS = "aeiou", "mnsfkt"
SILENCE = "–"
SIGNS = SILENCE + "".join(LETTERS)  # what a moment of sound can be


@dataclass(frozen=True)
class Speaker:
    r"""A voice. Raises: ValueError when a number is not positive."""

    pitch: float | int = 120  # hertz: how often a second the vocal cords clap
    tract: float | int = 1  # factor of all formants: 1 for a tall man, about 1.2 for a woman, 1.3 for a child
    speed: float | int = 1  # letters are this much shorter

    def __post_init__(self) -> None:
        if min(self.pitch, self.tract, self.speed) <= 0:
            raise ValueError(f"{self}: expected positive numbers")


def speakers(count: int, rng: np.random.Generator) -> list[Speaker]:
    r"""Voices from low to high; short throats have high voices, mostly.

    >>> [round(voice.pitch) for voice in speakers(3, np.random.default_rng(0))]
    [175, 92, 169]
    """
    made = []
    for size, length, speed in rng.uniform(size=(count, 3)):
        pitch = 90 * 2 ** (1.5 * size)  # an octave and a half: 90 to 255 Hz
        made.append(Speaker(float(pitch), float(1 + 0.2 * size + 0.08 * (length - 0.5)), float(0.8 + 0.5 * speed)))
    return made


def made_words(count: int, rng: np.random.Generator, syllables: Sequence[int] = (2, 3)) -> list[str]:
    r"""Different words of the invented language: syllables of a consonant and a vowel.

    Raises: ValueError when there are not so many.

    >>> made_words(3, np.random.default_rng(0))
    ['finema', 'nufu', 'fukofi']
    """
    most = sum((len(VOWELS) * len(CONSONANTS)) ** length for length in set(syllables))
    if not 0 <= count <= most:
        raise ValueError(f"count = {count}, expected 0 to {most}, all words of {tuple(syllables)} syllables")
    found: dict[str, None] = {}
    while len(found) < count:
        length = int(rng.choice(syllables))
        found["".join(str(rng.choice([*part])) for _ in range(length) for part in (CONSONANTS, VOWELS))] = None
    return list(found)


class Spoken(NamedTuple):
    r"""A word as sound."""

    sound: Float[np.ndarray, " samples"]
    ends: tuple[int, ...]  # the sample at which each letter gives way to the next


def say(word: str, speaker: Speaker, rng: np.random.Generator, rate: int = RATE) -> Spoken:
    r"""The word in this voice; `rng` makes the breath, the wavering of the pitch and of the loudness.

    Each letter is a stretch of buzz and noise, multiplied in the frequency domain by the mouth's
    G(f) = Σᵢ 1/i · (1 + ((f − Fᵢ·tract)/bandwidth)²)^(−1/2), i counts the formants; neighbours are faded into each
    other.

    rate   samples a second
    Raises: ValueError for an empty word or a letter without a sound.

    >>> spoken = say("mi", Speaker(), np.random.default_rng(0))
    >>> len(spoken.sound), spoken.ends
    (2880, (1120, 2880))
    """
    strange = sorted(set(word) - set(LETTERS))
    if strange or not word:
        raise ValueError(f"word = {word!r}, expected one or more of the letters {''.join(LETTERS)}")
    letters = [LETTERS[letter] for letter in word]
    lengths = [int((letter.closed + letter.seconds) / speaker.speed * rate) for letter in letters]
    ends = np.cumsum(lengths).tolist()
    time = np.arange(ends[-1]) / rate
    # Pitch falls towards the end of a word and wavers a little; the buzz is a saw, rich in overtones.
    waver = 0.03 * np.sin(2 * np.pi * (5 * time + rng.uniform()))
    pitch = speaker.pitch * (1.1 - 0.2 * time / time[-1] + waver)
    phase = np.cumsum(pitch) / rate
    buzz, breath = 2 * (phase % 1) - 1, rng.normal(size=len(time))

    sound = np.zeros(len(time))
    fade = round(FADE * rate)
    for letter, end, length in zip(letters, ends, lengths, strict=True):
        begin = end - length + round(letter.closed / speaker.speed * rate)
        first, last = max(begin - fade // 2, 0), min(end + fade // 2, len(time))
        source = letter.voice * buzz[first:last] + letter.breath * breath[first:last]
        source *= rng.uniform(0.7, 1.3) * _ramps(last - first, fade)
        size = 1 << (last - first).bit_length()  # a power of two is quick, and its room keeps the end off the beginning
        gain = _mouth(np.fft.rfftfreq(size, 1 / rate), letter, speaker.tract)
        sound[first:last] += np.fft.irfft(np.fft.rfft(source, size) * gain, size)[: last - first]
    return Spoken(sound, tuple(ends))


class Speech(NamedTuple):
    r"""Recordings of equal length, and what is said in them when."""

    sounds: Float[Tensor, "batch samples"]
    signs: Int[Tensor, "batch frames"]  # numbers in `SIGNS`, one for each frame; 0 is silence
    words: tuple[str, ...]


def record(
    words: Sequence[str],
    voices: Sequence[Speaker],
    seed: int,
    *,
    seconds: float | int = 0.8,
    lead: float | int = 0.1,
    noise: tuple[float | int, float | int] = (0.01, 0.1),
) -> Speech:
    r"""Every word once, each in a voice drawn from `voices`, near the beginning of a recording in a hissing room.

    seconds   length of every recording; the rest is silence, as Whisper's is filled up to 30
    lead      the longest silence before the word, in seconds
    noise     the room's hiss, from … to, as a share of the word's loudness (root mean square)
    Raises: ValueError when a word does not fit in, or there is no word or no voice.

    >>> speech = record(["mi", "soka"], [Speaker()], seed=0)
    >>> speech.sounds.shape, "".join(SIGNS[i] for i in speech.signs[0, ::5])
    (torch.Size([2, 12800]), '–mmii–––––––––––')
    """
    if not len(words) or not len(voices):
        raise ValueError(f"{len(words)} words and {len(voices)} voices, expected at least one of each")
    rng, samples = np.random.default_rng(seed), round(seconds * RATE)
    sounds, signs = np.empty((len(words), samples)), np.zeros((len(words), samples // HOP), dtype=np.int64)
    for row, word in enumerate(words):
        spoken = say(word, voices[int(rng.integers(len(voices)))], rng)
        room = samples - len(spoken.sound)
        if room < 0:
            raise ValueError(f"{word!r} takes {len(spoken.sound) / RATE:.2f} s, more than seconds = {seconds}")
        start = int(rng.integers(min(room, round(lead * RATE)) + 1))
        loudness = float(np.sqrt(np.mean(spoken.sound**2)))
        sounds[row] = rng.uniform(*noise) * loudness * rng.normal(size=samples)
        sounds[row, start : start + len(spoken.sound)] += spoken.sound
        sounds[row] *= rng.uniform(0.3, 1.0) / np.abs(sounds[row]).max()
        begin = 0
        for letter, end in zip(word, spoken.ends, strict=True):
            frames = slice(-(-(start + begin) // HOP), -(-(start + end) // HOP))
            signs[row, frames], begin = SIGNS.index(letter), end
    return Speech(torch.from_numpy(sounds).float(), torch.from_numpy(signs), tuple(words))


def _mouth(f: np.ndarray, letter: Letter, tract: float | int) -> np.ndarray:
    """What the mouth lets pass of each frequency."""
    gain = np.zeros_like(f)
    for number, formant in enumerate(letter.formants, start=1):
        gain += 1 / number / np.sqrt(1 + ((f - formant * tract) / letter.bandwidth) ** 2)
    return gain


def _ramps(length: int, fade: int) -> np.ndarray:
    """One, but for a smooth rise at the beginning and a fall at the end: half a wave of a cosine each."""
    shape, fade = np.ones(length), min(fade, length // 2)
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(fade, 1))
    shape[:fade] *= rise
    shape[length - fade :] *= rise[::-1]
    return shape
