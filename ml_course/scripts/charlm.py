r"""Trains a language model of characters: `python -m ml_course.scripts.charlm --text FILE`.

Without `--text` it learns tinyshakespeare; `--reference` takes the text that every Python carries. The first nine
tenths are learned, the next twentieth says when to stop, the last one is for testing. Beside the network stand n-grams
with two smoothings, counted on the same nine tenths; all are measured in bits per character on the same test part.
"""

from __future__ import annotations

import argparse
import math
import time

import torch

from ml_course.data import reference_text, text_file, tinyshakespeare
from ml_course.rnn import CarriedLoss, CharLM, NGram, Windows, bits, generate, nats_per_token, sampling
from ml_course.rnn.ngrams import SMOOTHINGS
from ml_course.text import Vocabulary, characters
from ml_course.training import fit, seed_everything


def parts_of(text: str) -> tuple[Vocabulary, dict[str, torch.Tensor]]:
    r"""The characters of the learned part, and all three parts as numbers.

    Raises: ValueError when the text has fewer than 1,000 characters.
    """
    if len(text) < 1000:
        raise ValueError(f"text has {len(text)} characters, expected at least 1,000")
    first, second = int(0.9 * len(text)), int(0.95 * len(text))
    vocabulary = Vocabulary.from_texts([characters(text[:first])])
    cut = {"train": text[:first], "validation": text[first:second], "test": text[second:]}
    return vocabulary, {name: torch.tensor(vocabulary.encode(part)) for name, part in cut.items()}


def baselines(parts: dict[str, torch.Tensor], vocab: int, order: int = 5) -> dict[str, float]:
    r"""Bits per character of an n-gram with each smoothing, on the test part."""
    learned, test = parts["train"].numpy(), parts["test"].numpy()
    return {
        smoothing: bits(NGram(order, vocab, smoothing).fit(learned).nats_per_token(test)) for smoothing in SMOOTHINGS
    }


def train(
    parts: dict[str, torch.Tensor],
    vocab: int,
    *,
    epochs: int = 15,
    hidden: int = 512,
    layers: int = 1,
    batch: int = 64,
    window: int = 64,
    dropout: float = 0.1,
    rate: float = 2e-3,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> tuple[CharLM, dict[str, float]]:
    r"""The network with the best validation loss, and what it took: test bits, seconds, epochs, parameters.

    window   characters that the gradient goes back through; the state goes on
    rate     of Adam at the beginning; it falls to nothing along a half cosine
    """
    seed_everything(seed)
    model = CharLM(vocab, 64, hidden, layers=layers, dropout=dropout).to(device)
    windows = Windows(parts["train"].to(device), batch, window)
    held_out, test = parts["validation"].to(device), parts["test"].to(device)
    start, steps = time.perf_counter(), epochs * len(windows)
    history = fit(
        model,
        windows,
        CarriedLoss(),
        torch.optim.Adam(model.parameters(), rate),
        epochs=epochs,
        clip=1.0,
        schedule=lambda step: rate * (1 + math.cos(math.pi * step / (steps + 1))) / 2,
        validate=lambda model: nats_per_token(model, held_out),
        patience=3,
        progress=progress,
    )
    return model, {
        "bits": bits(nats_per_token(model, test)),
        "seconds": time.perf_counter() - start,
        "epochs": len(history.loss),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def written(model: CharLM, vocabulary: Vocabulary, begin: str, steps: int, seed: int = 0) -> str:
    r"""A text that goes on from `begin`, drawn from the nucleus of 0.9."""
    device = next(model.parameters()).device
    prompt = torch.tensor([vocabulary.encode(begin)], device=device)
    generator = torch.Generator(device).manual_seed(seed)
    tokens = generate(model.step, prompt, steps, choose=sampling(0.8, p=0.9), generator=generator, stateful=True)
    return "".join(vocabulary.decode(tokens[0], special=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a recurrent language model of characters, beside n-grams.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--text", help="a text file, plain or packed by gzip; tinyshakespeare when left out")
    which.add_argument("--reference", action="store_true", help="the reference of Python that every Python carries")
    parser.add_argument("--data", help="folder with tinyshakespeare's input.txt; downloaded once when left out")
    parser.add_argument("--epochs", type=int, default=15, help="at most")
    parser.add_argument("--hidden", type=int, default=512, help="length of the state")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--window", type=int, default=64, help="characters that gradients go back through")
    parser.add_argument("--seed", type=int, default=0, help="of weights, dropout and the sample")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    try:
        text = text_file(asked.text) if asked.text else reference_text() if asked.reference else None
        text = tinyshakespeare(asked.data) if text is None else text
        vocabulary, parts = parts_of(text)
    except (OSError, ValueError) as error:
        parser.exit(1, f"charlm: {error}\n")
    print(f"{len(text):,} characters, {len(vocabulary)} kinds; {len(parts['test']):,} for testing", flush=True)
    for smoothing, value in baselines(parts, len(vocabulary)).items():
        print(f"5-gram, {smoothing}: {value:.3f} bits per character", flush=True)
    model, result = train(
        parts,
        len(vocabulary),
        epochs=asked.epochs,
        hidden=asked.hidden,
        layers=asked.layers,
        window=asked.window,
        seed=asked.seed,
        device=asked.device,
        progress=True,
    )
    print(
        f"RNN ({result['parameters']:,} parameters): {result['bits']:.3f} bits per character after "
        f"{result['epochs']} epochs, {result['seconds']:.0f} s\n"
    )
    print(written(model, vocabulary, text[:20], 400, asked.seed))


if __name__ == "__main__":
    main()
