"""Run every benchmark, print one table of ratios, write `benchmarks/results.json`.

python -m benchmarks [--large] [NAME…]
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import platform
from datetime import date
from pathlib import Path

import torch

import benchmarks

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    helpers = ("__main__", "ratios")
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in helpers]
    reader = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    reader.add_argument("names", metavar="NAME", nargs="*", help=f"of: {', '.join(names)} (default: all)")
    reader.add_argument("--large", action="store_true", help="also what takes many minutes")
    arguments = reader.parse_args()
    unknown = set(arguments.names) - set(names)
    if unknown:
        reader.error(f"no benchmark called {', '.join(sorted(unknown))}; there is: {', '.join(names)}")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    for name in arguments.names or names:
        rows = importlib.import_module(f"benchmarks.{name}").measure(arguments.large)
        width = max(len(row["what"]) for row in rows)
        print(f"\n{name}")
        for row in rows:
            print(f"  {row['what'].ljust(width)}  {row['told']}")
        kept[name] = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
            "rows": rows,
        }
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
