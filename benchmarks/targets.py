"""The table: what is measured, against what, which ratio is to be reached, and for a row that misses it, why.

A row is found by the beginning of its name, so that one target may have several. What has no target is printed below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Target:
    """A line of the table."""

    what: str
    against: str
    benchmark: str  # that measures it
    rows: str  # how the names of its rows begin
    at_most: float | None = None
    at_least: float | None = None
    upper_end: bool = False  # of the interval has to reach it, else the ratio itself
    told: str = ""  # the bound in words, where a number reads badly
    missed: str = ""  # why a row that misses it does

    @property
    def bound(self) -> str:
        bound = f"≤ {self.at_most:g}" if self.at_least is None else f"≥ {self.at_least:g}"
        return (self.told or bound) + (", upper end" if self.upper_end else "")

    def reached_by(self, row: Mapping[str, Any]) -> bool:
        value = row["high"] if self.upper_end else row["ratio"]
        return value >= self.at_least if self.at_most is None else value <= self.at_most


TARGETS = (
    Target("array autodiff, digits MLP step", "torch", "backprop", "an epoch of steps on the digits", at_most=4),
    Target("array autodiff, digits MLP step", "our scalar engine", "backprop", "2 steps with", at_least=100),
    Target("convolution, forward and back", "F.conv2d", "cnn", "readable conv2d", at_most=3),
    Target("convolution, forward and back", "F.conv2d", "cnn", "conv2d by default", at_most=1.05),
    Target("LSTM, forward and back", "nn.LSTM", "gated", "LSTM", at_most=1.5),
    Target("GRU, forward and back", "nn.GRU", "gated", "GRU", at_most=1.5),
    Target(
        "scaled dot product attention",
        "F.scaled_dot_product_attention",
        "attention",
        "scaled dot product",
        at_most=1.05,
        upper_end=True,
        missed="Ours calls that very kernel after checking the shapes. The ratios are within 2 % of 1; at 4,096 tokens,"
        " where there is time for few rounds, it is the width of the interval that reaches beyond the bound.",
    ),
    Target(
        "multi-head attention",
        "nn.MultiheadAttention",
        "attention",
        "eight heads",
        at_most=1.05,
        upper_end=True,
        missed="At 4,096 tokens nearly all of the time is torch's kernel on either side, and there is time for few "
        "rounds: the interval is wide, the ratio itself about 1.",
    ),
    Target("Transformer training step", "nn.Transformer", "transformer", "training step", at_most=1.05),
    Target("BERT forward, ragged lengths", "transformers", "bert", "forward pass of MiniLM, 32", at_most=0.9),
    Target(
        "GPT decoding with cache",
        "transformers' GPT-2",
        "decoding",
        "GPT decoding with cache",
        at_most=0.8,
        missed="Most of our time (62 % by torch's profiler) goes into the products with the weights, which have to be "
        "read once for every token and cost the same on either side; attention's kernel takes 7 %, GELU 6 %, the rest "
        "are the calls of many small kernels. What is left to save is Python's share.",
    ),
    Target(
        "speculative decoding",
        "our cached decoding",
        "decoding",
        "speculation, greedy, draft counts of its own text",
        at_least=1.3,
    ),
    Target(
        "blockwise attention, peak memory",
        "naive attention",
        "longrange",
        "blockwise attention, peak memory",
        at_most=1 / 20,
        told="≤ 1/20",
    ),
    Target("WordPiece, 1 MB of text", "tokenizers (Rust)", "bert", "word pieces of 1 MB", at_most=15),
    Target("BPE, 1 MB of text", "tokenizers (Rust)", "seq2seq", "byte-pair encoding of 1 MB", at_most=15),
    Target("grading 200 submissions", "stock nbgrader", "grading", "throughput, 200 submissions", at_least=25),
    Target("book: rebuild, nothing changed", "cold build", "rebuild", "rebuild", at_most=1 / 20, told="≤ 1/20"),
)


@dataclass(frozen=True)
class Line:
    """A target and one row measured for it, or None while there is none."""

    target: Target
    row: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        return self.target.what if self.row is None else self.row["what"]

    @property
    def ratio(self) -> str:
        return "–" if self.row is None else _number(self.row["ratio"])

    @property
    def interval(self) -> str:
        if self.row is None or "low" not in self.row:
            return "–"
        number = "{:.3f}".format if self.target.upper_end else _number  # the third digit may be what decides
        return f"[{number(self.row['low'])}, {number(self.row['high'])}]"

    @property
    def missed(self) -> bool:
        return self.row is not None and not self.target.reached_by(self.row)

    @property
    def verdict(self) -> str:
        return "not measured" if self.row is None else "missed" if self.missed else "reached"


def lines(kept: Mapping[str, Any], names: set[str] | None = None) -> Iterator[Line]:
    """The table's lines from what is stored in results.json; `names` of the benchmarks, all when None."""
    for target in TARGETS:
        if names is None or target.benchmark in names:
            rows = kept.get(target.benchmark, {}).get("rows", [])
            found = [row for row in rows if row["what"].startswith(target.rows)]
            yield from (Line(target, row) for row in found or [None])


def others(rows: list[Mapping[str, Any]], benchmark: str) -> list[Mapping[str, Any]]:
    """Rows of a benchmark that have no target."""
    starts = tuple(target.rows for target in TARGETS if target.benchmark == benchmark)
    return [row for row in rows if not row["what"].startswith(starts)]


def table(kept: Mapping[str, Any], names: set[str] | None = None) -> str:
    """As the terminal shows it."""
    heads = ("what", "against", "ratio", "interval", "to reach", "")
    cells = [
        (line.name, line.target.against, line.ratio, line.interval, line.target.bound, line.verdict)
        for line in lines(kept, names)
    ]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *cells)]
    shown.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join([*map(str.rstrip, shown), *(f"\n{reason}" for reason in reasons(kept, names))])


def reasons(kept: Mapping[str, Any], names: set[str] | None = None) -> list[str]:
    """A sentence for each target that a row misses."""
    missed = dict.fromkeys(line.target for line in lines(kept, names) if line.missed)
    return [
        textwrap.fill(f"{target.what} against {target.against}: {target.missed or 'not explained yet'}", 120)
        for target in missed
    ]


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"
