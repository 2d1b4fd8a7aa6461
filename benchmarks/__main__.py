"""`python -m benchmarks [NAME ...] [--quick]`: a JSON line a bench; the last full results are in results.json."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import line

NAMES = ("quickstart", "parity", "build", "startup", "workers", "scale")
RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the benches named, all of them by default."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], help="benches to run; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer runs; the results are not kept")
    given = parser.parse_args()
    if len(given.names) != 1:  # each in a process of its own, so that none leaves a full heap to the next
        for name in given.names or NAMES:
            options = ["--quick"] if given.quick else []
            subprocess.run([sys.executable, "-m", "benchmarks", name, *options], check=True)
        return
    kept = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in given.names:
        said = line(name, importlib.import_module(f"benchmarks.{name}").figures(given.quick))
        print(said, flush=True)
        kept[name] = json.loads(said)
    if not given.quick:
        ordered = {name: kept[name] for name in (*NAMES, *sorted(kept)) if name in kept}
        RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    main()
