"""The README's first command in a fresh parts store: how long it takes, and what its table says."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import assembler
from benchmarks.measure import Figure

GOAL = 180.0


def figures(quick: bool) -> list[Figure]:
    """Wall seconds with two workers, and the test accuracy of the assembled model, the teacher and every baseline."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ASSEMBLER_HOME": str(Path(folder) / "home"), "ASSEMBLER_RUNS": str(Path(folder) / "runs")}
        start = time.perf_counter()
        _, found = assembler.run("quickstart", *(["seeds=[0]"] if quick else []), workers=2)
        seconds = time.perf_counter() - start
    rows = [Figure("wall seconds, two workers", seconds, f"<= {GOAL:g}", seconds <= GOAL, "", 0.0)]
    result, teacher = found["result"], found["models"]["teacher"]
    rows.append(_accuracy("assembled", result["test"], result["test_std"], "end_to_end_total"))
    rows.append(_accuracy("teacher", teacher["test"], teacher["test_std"], ""))
    return rows + [_accuracy(b["name"], b["test_mean"], b["test_std"], "assembled") for b in found["baselines"]]


def _accuracy(name: str, mean: float, std: float | None, peer: str) -> Figure:
    """A reported figure: it has no goal, so it holds whatever it is."""
    return Figure(f"{name}: test accuracy, %", 100 * mean, "reported", True, peer, 100 * (std or 0.0))
