r"""Draws the learning curves of transfer: `python -m ml_course.scripts.transfer --log FILE --figure FILE`.

How well are texts classified after 8 … 512 labelled examples: with all of MiniLM's sizes but none of what it learned
(scratch), with its features (frozen), and with six ways to go on from its weights? `--data topics` asks for the topic
of a sentence of Python's reference, `--data rt-polarity` whether a film review is positive; the sentences that are
tested are never learned from. Each result is written to the log at once, and what stands there is not computed
again, so the command may be stopped and repeated. With `--rank 1 2 …` LoRA is tried at several ranks as well.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml_course.bert import Bert, WordPiece, pretrained_folder
from ml_course.data import LabelledTexts, Split, rt_polarity, split
from ml_course.transfer import (
    RECIPES,
    accuracy,
    features_of,
    few,
    frozen_head,
    prepare,
    remembered,
    teach,
    topic_sentences,
    trainable,
)

METHODS = ("scratch", "frozen", *(name for name in RECIPES if name != "scratch"))
CONTEXT = 32  # tokens of a text
TESTED = 1000  # reviews at most


def steps_for(count: int) -> int:
    r"""Batches of 16 that a fine-tuning takes: 30 for eight examples, ten more each time they double.

    >>> [steps_for(count) for count in (8, 64, 512)]
    [30, 60, 90]
    """
    return round(10 * math.log2(count))


def load(data: str, folder: str | None = None) -> Split[LabelledTexts]:
    r"""The sentences of a task: "topics" or "rt-polarity", the latter from this folder or downloaded."""
    if data == "topics":
        return topic_sentences()
    parts = split(rt_polarity(folder), test_share=0.25)
    return Split(parts.train, parts.test.rows(np.random.default_rng(0).permutation(len(parts.test))[:TESTED]))


def results(
    parts: Split[LabelledTexts],
    bert: Bert,
    tokenizer: WordPiece,
    *,
    methods: Iterable[str] = METHODS,
    sizes: Iterable[int] = (8, 32, 128, 512),
    seeds: Iterable[int] = (0, 1, 2),
    ranks: Iterable[int] = (8,),
    done: Iterable[tuple[str, int, int, int]] = (),
    steps: int | None = None,
    device: str = "cpu",
) -> Iterator[dict[str, Any]]:
    r"""One line of results after the other: method, examples, seed, rank, accuracy, numbers that learned, seconds.

    done    (method, examples, seed, rank) of what need not be computed
    steps   of every fine-tuning; `steps_for` the examples when None
    """
    bert, classes, done = bert.to(device), len(parts.train.classes), set(done)
    tests = tuple(part.to(device) for part in tokenizer.batch(parts.test.texts, context=CONTEXT))
    wanted = torch.from_numpy(parts.test.labels).to(device)
    features = None
    for seed in seeds:
        for count in sizes:
            rows = few(parts.train.labels, count, seed)
            labels = torch.from_numpy(parts.train.labels[rows]).to(device)
            chosen = [parts.train.texts[i] for i in rows]
            texts = tuple(part.to(device) for part in tokenizer.batch(chosen, context=CONTEXT))
            for method in methods:
                for rank in ranks if method == "lora" else (0,):
                    if (method, count, seed, rank) in done:
                        continue
                    start = time.process_time()
                    if method == "frozen":
                        features = features_of(bert, tests) if features is None else features
                        scores = frozen_head(features_of(bert, texts), labels)(features)
                        learned = classes * (bert.config.d_model + 1)
                    else:
                        model = prepare(method, bert, classes, rank=rank or 8, seed=seed).to(device)
                        learned = trainable(model)
                        teach(method, model, texts, labels, steps=steps or steps_for(count), seed=seed)
                        scores = remembered(model, *tests)
                    yield {
                        "method": method,
                        "examples": count,
                        "seed": seed,
                        "rank": rank,
                        "accuracy": accuracy(scores, wanted),
                        "learned": learned,
                        "seconds": time.process_time() - start,
                    }


def table(lines: Iterable[dict[str, Any]]) -> str:
    r"""The means over seeds, with how many there are: a row for each way, a column for each number of examples."""
    found = defaultdict(list)
    for line in lines:
        found[line["method"] + (f" {line['rank']}" if line["rank"] else ""), line["examples"]].append(line["accuracy"])
    sizes = sorted({count for _, count in found})
    rows = [f"{'':10}" + "".join(f"{count:>16}" for count in sizes)]
    for name in dict.fromkeys(name for name, _ in found):
        cells = [found.get((name, count), []) for count in sizes]
        shown = [f"{np.mean(some):.3f} ± {np.std(some):.3f} ({len(some)})" if some else "" for some in cells]
        rows.append(f"{name:10}" + "".join(f"{cell:>19}" for cell in shown))
    return "\n".join(rows)


def draw(lines: Iterable[dict[str, Any]], path: str | Path, rank: int = 8) -> None:
    r"""The learning curves as an SVG in the book's colours: the median of the seeds, and from the worst to the best."""
    from ml_course import plots  # its libraries take a second to import

    plots.use_style()
    found = defaultdict(dict)
    for line in lines:
        if line["rank"] in (0, rank):
            found[line["method"]].setdefault(line["examples"], []).append(line["accuracy"])
    sizes = sorted({count for of_method in found.values() for count in of_method})
    seeds = min(len(some) for of_method in found.values() for some in of_method.values())
    curves = {
        method: np.array([found[method][count][:seeds] for count in sizes]).T for method in METHODS if method in found
    }
    axis = plots.learning_curve(
        None, curves, steps=sizes, xlabel="labelled examples", ylabel="accuracy on new sentences"
    )
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [str(count) for count in sizes])
    axis.figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="Learning curves of transfer with MiniLM.")
    parser.add_argument("--data", choices=("topics", "rt-polarity"), default="topics")
    parser.add_argument("--folder", help="folder with rt-polarity's files; downloaded once when left out")
    parser.add_argument("--model", help="folder with MiniLM; found as ml_course.bert.pretrained_folder says")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[8, 32, 128, 512], help="labelled examples")
    parser.add_argument("--seeds", type=int, default=3, help="how many: of choice, head, order and dropout")
    parser.add_argument("--rank", nargs="+", type=int, default=[8], help="of LoRA's changes")
    parser.add_argument("--steps", type=int, help="of every fine-tuning; grows with the examples when left out")
    parser.add_argument("--log", help="file for the results, one a line; read first, so that nothing is done twice")
    parser.add_argument("--figure", help="file for the curves, as SVG")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    log = Path(asked.log) if asked.log else None
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    folder = pretrained_folder(asked.model)
    found = results(
        load(asked.data, asked.folder),
        Bert.from_pretrained(folder),
        WordPiece.from_file(folder),
        methods=asked.methods,
        sizes=asked.sizes,
        seeds=range(asked.seeds),
        ranks=asked.rank,
        done=[(line["method"], line["examples"], line["seed"], line["rank"]) for line in lines],
        steps=asked.steps,
        device=asked.device,
    )
    for line in found:
        lines.append(line)
        print(
            f"{line['method']:9} {line['examples']:4} examples, seed {line['seed']}: {line['accuracy']:.3f} "
            f"({line['learned']:,} numbers learned, {line['seconds']:.0f} s)",
            flush=True,
        )
        if log:
            with log.open("a") as file:
                file.write(json.dumps(line) + "\n")
    print(table(lines))
    if asked.figure:
        draw(lines, asked.figure, asked.rank[0])


if __name__ == "__main__":
    main()
