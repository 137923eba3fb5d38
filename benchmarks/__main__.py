"""Run every benchmark, print one table of ratios, write `benchmarks/results.json`.

python -m benchmarks [--large] [NAME…]

What fails is said and does not stop the others; results of other benchmarks stay as they were.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psutil
import torch
from tqdm import tqdm

import benchmarks
from benchmarks import ratios, targets

RESULTS = Path(__file__).with_name("results.json")
HELPERS = ("__main__", "ratios", "targets")
LONG = ("rebuild",)  # only when named, or with --large: about ten minutes
MORE = 6  # times as many seconds for each row with --large
NAMES = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in HELPERS]


def machine() -> str:
    """Processor, memory and versions, and the graphics card where there is one."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = psutil.virtual_memory().total / 2**30
    card = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    processor = f"{(names or [platform.processor()])[0] or 'processor'} ({platform.machine()}), {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}", f"torch {torch.__version__}"
    return ", ".join([processor, f"{memory:.0f} GB", *card, *versions])


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).is_file() else []


def run(name: str, large: bool) -> dict[str, Any]:
    """What is kept of a benchmark."""
    busy, began = os.getloadavg()[0], time.perf_counter()
    rows = importlib.import_module(f"benchmarks.{name}").measure(large)
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "command": f"python -m benchmarks{' --large' * large} {name}",
        "load": round(busy, 1),  # processes that waited or ran when it began, of this run's own last benchmark too
        "seconds": round(time.perf_counter() - began),
        "rows": rows,
    }


def stored() -> dict[str, Any]:
    """What was measured before. Raises: ValueError when the file is none of ours."""
    if not RESULTS.is_file():
        return {}
    try:
        return {name: entry for name, entry in json.loads(RESULTS.read_text(encoding="utf-8")).items() if name in NAMES}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{RESULTS} is not what `make bench` writes ({error}): delete it to begin anew") from error


def save(kept: dict[str, Any]) -> None:
    """All at once, so that an interrupted run leaves the old file or the new one."""
    beside = RESULTS.with_suffix(".new")
    beside.write_text(json.dumps(kept, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    beside.replace(RESULTS)


def main(given: Sequence[str] | None = None) -> int:
    reader = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    reader.add_argument(
        "names", metavar="NAME", nargs="*", help=f"of: {', '.join(NAMES)} (default: all but {', '.join(LONG)})"
    )
    reader.add_argument("--large", action="store_true", help="also what takes many minutes")
    arguments = reader.parse_args(given)
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        print(f"python -m benchmarks: no benchmark {', '.join(unknown)}; there is: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if arguments.large:
        ratios.BUDGET *= MORE
    try:
        kept = stored()
    except ValueError as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    names, failed = arguments.names or [name for name in NAMES if arguments.large or name not in LONG], []
    progress = tqdm(names, unit="benchmark")
    for name in progress:
        progress.set_description(name)
        try:
            measured = run(name, arguments.large)
        except Exception as error:  # the others shall not be lost for it
            failed.append(f"{name} failed: {type(error).__name__}: {error}")
            tqdm.write(traceback.format_exc(), file=sys.stderr)
            continue
        if not measured["rows"]:  # nothing to measure here, as without a graphics card: what another machine said stays
            continue
        kept[name] = measured
        save(kept)
        for row in targets.others(kept[name]["rows"], name):
            tqdm.write(f"{name}: {row['what']}: {row['told']}", file=sys.stdout)
    shown = set(arguments.names) or None  # a run of all shows also what an earlier one has found
    print(f"\n{targets.table(kept, shown)}\n\n{machine()}, {date.today()}; all rows are in {RESULTS.name}")
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
