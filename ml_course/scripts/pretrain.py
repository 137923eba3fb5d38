r"""Pretrains a language model by one of four objectives: `python -m ml_course.scripts.pretrain --folder FOLDER`.

The model is `ml_course.objectives.OneStack`; the text is Python's reference, or a file of one's own. In FOLDER lie the
settings, the tokenizer and the newest checkpoint (safetensors). The same command again goes on from there, also after
a `kill -9`, and ends with the same weights as if nothing had happened: which rows a step reads, what is hidden in them
and what dropout drops depend on the seed and the step alone.

On several processes or cards: `torchrun --nproc-per-node 2 -m ml_course.scripts.pretrain …`. Each takes its share of
every batch, so the losses are those of one process. On a card that has it, bfloat16 is used where it is safe.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from ml_course.data import text_file
from ml_course.objectives import (
    OBJECTIVES,
    PAGE,
    ByteBPE,
    Corpus,
    Layout,
    OneStack,
    Rows,
    Task,
    cloze_nats,
    count,
    objective_loss,
    reference_corpus,
    warmup_and_decay,
)
from ml_course.transformer import LMConfig

CHECKPOINT, SETTINGS, TOKENIZER = "checkpoint.safetensors", "settings.json", "tokenizer.json"
SIZES = dict(d_model="d_model", heads="heads", d_ff="d_ff", layers="layers", length="context", dropout="dropout")
KEPT = ("objective", "merges", "batch", "steps", "rate", "seed", *SIZES)  # what a run may not change on its way


class Loss(nn.Module):
    """A batch goes in and its loss comes out, so that torch's wrapper for several processes sees one forward pass."""

    def __init__(self, model: OneStack):
        super().__init__()
        self.model = model

    def forward(self, task: Task) -> Tensor:
        return objective_loss(self.model, task)


class Processes:
    """How many processes share the work, which of them this is, and what they say to each other."""

    def __init__(self, device: str):
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"--device {device}: torch sees no CUDA device here")
        if self.world > 1 and device == "cuda":
            device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        self.device = torch.device(device)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        if self.world > 1:
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        return module if self.world == 1 else DistributedDataParallel(module)

    def mean(self, number: Tensor) -> float:
        """The mean of a number that each process has one of."""
        if self.world > 1:
            dist.all_reduce(number := number.clone())
        return number.item() / self.world

    def wait(self) -> None:
        if self.world > 1:
            dist.barrier()

    def leave(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


def load_corpus(text: str | None, merges: int) -> Corpus:
    r"""The course's default text, or a file whose last tenth is held out."""
    if text is None:
        return reference_corpus(merges)
    whole = text_file(text)
    cut = len(whole) - len(whole) // 10
    return Corpus.of(whole[:cut], whole[cut:], merges)


def fingerprint(corpus: Corpus) -> str:
    r"""What tells two corpora apart."""
    return hashlib.sha256(torch.cat([corpus.learned, corpus.held_out]).numpy().tobytes()).hexdigest()[:16]


def replace_file(path: Path, content: bytes | None = None, *, made: Path | None = None) -> None:
    r"""Puts a file in its place at once: whoever looks, also after a crash, sees the old one or the new one, whole."""
    if made is None:
        made = path.with_name(path.name + ".new")
        made.write_bytes(content)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(made, path)


def save(folder: Path, model: OneStack, optimiser: torch.optim.Optimizer, losses: list[float]) -> None:
    r"""Writes the checkpoint after len(losses) steps: weights, both moments of each, and the losses so far."""
    tensors = {f"model.{name}": tensor for name, tensor in unique_parameters(model).items()}
    for name, parameter in unique_parameters(model).items():
        for kind, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{kind}.{name}"] = value
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    made = folder / (CHECKPOINT + ".new")
    save_file(tensors, made)
    replace_file(folder / CHECKPOINT, made=made)


def load(folder: Path, model: OneStack, optimiser: torch.optim.Optimizer) -> list[float]:
    r"""Reads the checkpoint into model and optimiser; returns the losses of the steps that were made.

    Raises: ValueError when the file is damaged or of another model.
    """
    try:
        with safe_open(folder / CHECKPOINT, "pt") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        for name, parameter in unique_parameters(model).items():
            with torch.no_grad():
                parameter.copy_(stored[f"model.{name}"])
            state = {}
            for kind in ("step", "exp_avg", "exp_avg_sq"):
                if f"optimiser.{kind}.{name}" in stored:
                    state[kind] = stored[f"optimiser.{kind}.{name}"].to(parameter.device)
            if state:
                optimiser.state[parameter] = state
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"{folder / CHECKPOINT} cannot be read ({error}); remove it to begin anew") from None
    return stored["losses"].tolist()


def unique_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    r"""Name → parameter, one that is used twice under its first name."""
    return dict(model.named_parameters())


def agree(folder: Path, asked: dict[str, Any]) -> None:
    r"""Writes the settings of a new run, or compares them with those of the run that lies there.

    Raises: ValueError when they differ.
    """
    path = folder / SETTINGS
    if not path.exists():
        replace_file(path, json.dumps(asked, indent=2).encode())
        return
    try:
        there = json.loads(path.read_text())
    except ValueError:
        raise ValueError(f"{path} is damaged; remove the folder to begin anew") from None
    for name in asked:
        if there.get(name) != asked[name]:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{folder} holds a run with {option} {there.get(name)}, asked is {asked[name]}: "
                "give the same, or another --folder"
            )


def train(options: argparse.Namespace, processes: Processes) -> dict[str, Any]:
    r"""Trains, or goes on where the checkpoint stopped; returns the losses, the model, and held-out cloze nats.

    Raises: ValueError for settings that contradict each other or the folder; FloatingPointError when a loss is not
    finite.
    """
    if options.batch % processes.world:
        raise ValueError(f"--batch {options.batch} cannot be shared by {processes.world} processes")
    folder, device = Path(options.folder), processes.device
    if options.precision == "auto":
        capable = device.type == "cuda" and torch.cuda.is_bf16_supported()
        options.precision = "bfloat16" if capable else "float32"
    corpus = load_corpus(options.text, options.merges)
    sizes = {field: getattr(options, option) for option, field in SIZES.items()}
    # T5's question is longer than the text by two sentinels a span and one more.
    sizes["context"] = 2 * options.length + 2
    config = replace(PAGE, **sizes, vocab=corpus.layout.vocab)
    rows = Rows(corpus.learned, options.batch, options.length, options.seed)

    if processes.first:
        folder.mkdir(parents=True, exist_ok=True)
        kept = {name: getattr(options, name) for name in KEPT}
        agree(folder, kept | {"precision": options.precision, "text": fingerprint(corpus)})
        replace_file(folder / TOKENIZER, json.dumps(dict(merges=corpus.tokenizer.merges)).encode())
    processes.wait()

    torch.manual_seed(options.seed)
    model = OneStack(config).to(device)
    model.asking.requires_grad_(options.objective == "xlnet")  # nobody else asks with it
    optimiser = torch.optim.AdamW(model.parameters(), options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    losses = load(folder, model, optimiser) if (folder / CHECKPOINT).exists() else []
    begun = len(losses)
    loss_of, schedule = processes.wrap(Loss(model)), warmup_and_decay(options.rate, options.steps)
    share = options.batch // processes.world
    mine = slice(processes.rank * share, (processes.rank + 1) * share)
    low = torch.autocast(device.type, torch.bfloat16) if options.precision == "bfloat16" else nullcontext()

    model.train()
    bar = tqdm(total=options.steps, initial=begun, unit="step", disable=options.quiet or not processes.first)
    for step in range(begun, options.steps):
        task = rows.task(options.objective, corpus.layout, step).rows(mine).to(device)
        torch.manual_seed(int(np.random.default_rng((options.seed, step, 2, processes.rank)).integers(2**62)))
        for group in optimiser.param_groups:
            group["lr"] = schedule(step + 1)
        with low:
            loss = loss_of(task)
        losses.append(processes.mean(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss is {losses[-1]} at step {step + 1}: choose a smaller --rate")
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        bar.update()
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        last = step + 1 == options.steps
        if processes.first and (last or (step + 1) % options.save_every == 0):
            save(folder, model, optimiser, losses)
    bar.close()
    processes.wait()
    model.eval()
    nats = float("nan")
    if len(corpus.held_out) >= options.length:
        held_out = corpus.held_out.to(device)
        nats = cloze_nats(model, options.objective, held_out, corpus.layout, length=options.length).mean()
    return dict(losses=losses, begun=begun, model=model, nats=float(nats), layout=corpus.layout)


def read_model(folder: str | os.PathLike) -> tuple[OneStack, ByteBPE, Layout]:
    r"""The model of a folder that this script wrote, in evaluation mode, with its tokenizer and layout.

    Raises: FileNotFoundError when there is none; ValueError when it is damaged.
    """
    folder = Path(folder)
    settings = json.loads((folder / SETTINGS).read_text())
    merges = [(first, second) for first, second in json.loads((folder / TOKENIZER).read_text())["merges"]]
    layout = Layout(len(ByteBPE(merges)))
    sizes = {field: settings[option] for option, field in SIZES.items()} | {"context": 2 * settings["length"] + 2}
    model = OneStack(LMConfig(vocab=layout.vocab, **sizes))
    load(folder, model, torch.optim.AdamW(model.parameters()))
    return model.eval(), ByteBPE(merges, layout.names()), layout


def positive(number: str) -> int:
    """A whole number from 1 on, for argparse."""
    value = int(number)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{number}: expected at least 1")
    return value


def parse(arguments: list[str] | None = None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(
        prog="pretrain", description="Pretrain a language model; the same command again goes on where it stopped."
    )
    parser.add_argument("--folder", required=True, help="where settings, tokenizer and checkpoint lie")
    parser.add_argument("--objective", choices=tuple(OBJECTIVES), default="gpt")
    parser.add_argument("--text", help="a text file to learn from; Python's reference when left out")
    parser.add_argument("--merges", type=int, default=744, help="of the byte-level encoding")
    for name, value in (("d-model", 64), ("heads", 4), ("d-ff", 256), ("layers", 2)):
        parser.add_argument(f"--{name}", type=positive, default=value)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--length", type=positive, default=32, help="tokens in a row")
    parser.add_argument("--batch", type=positive, default=32, help="rows in a batch, of all processes together")
    parser.add_argument("--steps", type=positive, default=1000)
    parser.add_argument("--rate", type=float, default=3e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save-every", type=positive, default=100, help="steps between two checkpoints")
    parser.add_argument("--device", default="auto", help="cpu, cuda … ; the first card there is when left out")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    if options.merges < 0 or not 0 <= options.dropout < 1 or not options.rate > 0 or options.seed < 0:
        parser.error(
            f"--merges {options.merges} --dropout {options.dropout} --rate {options.rate} --seed {options.seed}: "
            "expected at least 0, from 0 to below 1, above 0, at least 0"
        )
    if options.d_model % options.heads:
        parser.error(f"--d-model {options.d_model} is not divisible by --heads {options.heads}")
    if options.length < 8:
        parser.error(f"--length {options.length}: expected at least 8")
    return parser, options


def main(arguments: list[str] | None = None) -> None:
    parser, options = parse(arguments)
    processes = None
    try:
        processes = Processes(options.device)
        found = train(options, processes)
        if processes.first:
            went_on = f" (went on from step {found['begun']:,})" if found["begun"] else ""
            print(
                f"{options.objective}: {count(found['model']):,} parameters, {options.steps:,} steps{went_on}, "
                f"loss {np.mean(found['losses'][-10:]):.4f}, held-out cloze {found['nats']:.4f} nats; {options.folder}"
            )
    except (ValueError, OSError, FloatingPointError) as error:
        parser.exit(2, f"pretrain: error: {' '.join(str(error).split())}\n")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the last checkpoint")
    finally:
        if processes is not None:
            processes.leave()


if __name__ == "__main__":
    main()
