r"""LSTM or GRU, on little and on much data: `python -m ml_course.scripts.lstm_or_gru --data FOLDER`.

Language models of characters learn pieces of tinyshakespeare of different length; `--reference` takes the text that
every Python carries. For each length and seed an LSTM and a GRU of equally many parameters learn the same piece, cut
out at another place for each seed. Each is trained once at every learning rate, and the training with the best
validation counts; both are tested on the same text. What is reported is the difference in bits per character, seed by
seed, with a 95 % interval of its mean.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from ml_course.data import reference_text, tinyshakespeare
from ml_course.gated import GRU, LSTM
from ml_course.rnn import CarriedLoss, CharLM, Windows, bits
from ml_course.scripts.charlm import parts_of
from ml_course.training import fit, seed_everything

KINDS: dict[str, Callable[..., nn.Module]] = {"LSTM": LSTM, "GRU": GRU}
RATES = (3e-3,)  # of Adam; with several, each training keeps the one with the best validation
D_MODEL = 32  # length of an embedding
STREAMS = 100  # texts for validation and testing are read in so many pieces side by side
HELD_OUT = {"validation": 20_000, "test": 60_000}  # characters of each, at most
# Student's t, by how many seeds there are: two-sided, 95 %.
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def widths(hidden: int) -> dict[str, int]:
    r"""State of an LSTM, and of the GRU whose layer has as nearly as may be as many parameters.

    >>> widths(96)
    {'LSTM': 96, 'GRU': 113}
    """

    def size(gates: int, hidden: int) -> int:
        return gates * hidden * (D_MODEL + hidden + 2)

    wanted = size(4, hidden)
    return {"LSTM": hidden, "GRU": min(range(hidden, 2 * hidden), key=lambda wide: abs(size(3, wide) - wanted))}


@torch.no_grad()
def bits_per_character(model: CharLM, tokens: torch.Tensor) -> float:
    r"""Mean surprise over a text cut into streams, each of which begins with a state of zeros."""
    loss_of, total, count = CarriedLoss(), 0.0, 0
    for window in Windows(tokens, batch=min(STREAMS, len(tokens) // 2), length=200):
        total += loss_of(model, window).item() * window.inputs.numel()
        count += window.inputs.numel()
    return bits(total / count)


def train(
    kind: str,
    parts: dict[str, torch.Tensor],
    vocab: int,
    amount: int,
    seed: int,
    *,
    hidden: int = 96,
    rate: float = RATES[-1],
    epochs: int = 40,
    device: str = "cpu",
    progress: bool = False,
) -> dict[str, float]:
    r"""One network on one piece of `amount` characters: test and validation bits, epochs, seconds, size.

    It stops after three epochs in a row without a better validation, and keeps the weights of the best. The seed
    decides which piece it is, the same for both kinds, and the weights.
    Raises: ValueError when the learned part has fewer characters.
    """
    if not 64 <= amount <= len(parts["train"]):
        raise ValueError(f"amount = {amount}, expected 64 to {len(parts['train'])}, the characters there are to learn")
    start = int(np.random.default_rng(seed).integers(len(parts["train"]) - amount + 1))
    piece = parts["train"][start : start + amount].to(device)
    held_out, test = (parts[part][:most].to(device) for part, most in HELD_OUT.items())
    seed_everything(seed)
    model = CharLM(vocab, D_MODEL, widths(hidden)[kind], recurrent=KINDS[kind]).to(device)
    begin = time.perf_counter()
    history = fit(
        model,
        Windows(piece, batch=32 if amount >= 50_000 else 8, length=50),
        CarriedLoss(),
        torch.optim.Adam(model.parameters(), rate),
        epochs=epochs,
        clip=1.0,
        validate=lambda model: bits_per_character(model, held_out),
        patience=3,
        progress=progress,
    )
    return {
        "bits": bits_per_character(model, test),
        "validation": float(history.validation.min()),
        "rate": rate,
        "epochs": len(history.loss),
        "seconds": time.perf_counter() - begin,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def best_rate(*arguments, rates: Sequence[float] = RATES, **options) -> dict[str, float]:
    r"""As `train`, at each of the rates: the result of the one with the best validation; the seconds of all."""
    tried = [train(*arguments, rate=rate, **options) for rate in rates]
    return min(tried, key=lambda result: result["validation"]) | {"seconds": sum(one["seconds"] for one in tried)}


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    r"""Mean of a few differences, and the ends of its 95 % interval after Student.

    x̄ ± t·s/√n, the differences taken as drawn from one normal distribution

    Raises: ValueError when there are fewer than 2 or more than 10.

    >>> [round(value, 3) for value in interval(np.array([1.0, 2.0, 3.0]))]
    [2.0, -0.484, 4.484]
    """
    count = len(differences)
    if count not in STUDENT:
        raise ValueError(f"differences has {count} entries, expected 2 to 10")
    half = STUDENT[count] * differences.std(ddof=1) / count**0.5
    return float(differences.mean()), float(differences.mean() - half), float(differences.mean() + half)


def main() -> None:
    parser = argparse.ArgumentParser(description="LSTM or GRU, by bits per character on little and on much text.")
    parser.add_argument("--data", help="folder with tinyshakespeare's input.txt; downloaded once when left out")
    parser.add_argument("--reference", action="store_true", help="learn the reference that every Python carries")
    parser.add_argument("--amounts", type=int, nargs="+", default=[10_000, 300_000], help="characters to learn from")
    parser.add_argument("--seeds", type=int, choices=sorted(STUDENT), default=5)
    parser.add_argument("--hidden", type=int, default=96, help="length of the LSTM's state; the GRU's is longer")
    parser.add_argument("--rates", type=float, nargs="+", default=list(RATES), help="learning rates to choose from")
    parser.add_argument("--epochs", type=int, default=40, help="at most")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    try:
        vocabulary, parts = parts_of(reference_text() if asked.reference else tinyshakespeare(asked.data))
        for amount in asked.amounts:
            found: dict[str, list[float]] = {kind: [] for kind in KINDS}
            for seed in range(asked.seeds):
                for kind in KINDS:
                    options = {"hidden": asked.hidden, "epochs": asked.epochs, "device": asked.device}
                    result = best_rate(
                        kind, parts, len(vocabulary), amount, seed, rates=asked.rates, progress=True, **options
                    )
                    found[kind].append(result["bits"])
                    print(
                        f"{amount:,} characters, seed {seed}, {kind} ({result['parameters']:,} parameters): "
                        f"{result['bits']:.3f} bits at rate {result['rate']:g} after {result['epochs']} epochs, "
                        f"{result['seconds']:.0f} s",
                        flush=True,
                    )
            means = ", ".join(f"{kind} {np.mean(values):.3f}" for kind, values in found.items())
            mean, low, high = interval(np.array(found["LSTM"]) - np.array(found["GRU"]))
            verdict = "GRU better" if low > 0 else "LSTM better" if high < 0 else "undecided"
            print(
                f"{amount:,} characters, {asked.seeds} seeds: {means}; LSTM minus GRU {mean:+.3f} "
                f"[{low:+.3f}, {high:+.3f}] bits: {verdict}",
                flush=True,
            )
    except (OSError, ValueError) as error:
        parser.exit(1, f"lstm_or_gru: {error}\n")


if __name__ == "__main__":
    main()
