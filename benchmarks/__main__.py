"""`python -m benchmarks [NAME ...] [--quick]`: a JSON line a bench; the last full results are in results.json."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

from assembler.resources import data_home
from benchmarks.measure import line

TABLES = ("nas201", "nas201_optimum", "evolution", "overhead")
NEEDS = {
    **dict.fromkeys(TABLES, "nas_bench_201/nasbench201.npz"),
    "cheaper": "fashion_mnist",
    "incubation": "fashion_mnist",
    "incubation_deep": "fashion_mnist",
    "parts": "fashion_mnist",
}
"""What must be there for some benches, under $ASSEMBLER_DATA; they are left out of `make bench` where it is not."""
NAMES = (
    "quickstart",
    "parity",
    "build",
    "startup",
    "workers",
    "scale",
    "hotloop",
    "assembly",
    "cheaper",
    "incubation",
    "incubation_deep",
    "parts",
    *TABLES,
)
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the benches named, all of them by default."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="benches to run; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer runs; the results are not kept")
    given = parser.parse_args()
    if len(given.names) != 1:  # each in a process of its own, so that none leaves a full heap to the next
        for name in given.names or [name for name in NAMES if _has_data(name)]:
            options = ["--quick"] if given.quick else []
            subprocess.run([sys.executable, "-m", "benchmarks", name, *options], check=True)
        return
    benches = {name: importlib.import_module(f"benchmarks.{name}") for name in given.names}
    said = {name: line(name, bench.figures(given.quick)) for name, bench in benches.items()}
    print(*said.values(), sep="\n", flush=True)
    if not given.quick:
        kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        kept |= {name: json.loads(found) for name, found in said.items()}
        ordered = {name: kept[name] for name in (*NAMES, *sorted(kept)) if name in kept}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


def _has_data(name: str) -> bool:
    home = data_home()
    return name not in NEEDS or (home is not None and (home / NEEDS[name]).exists())


if __name__ == "__main__":
    main()
