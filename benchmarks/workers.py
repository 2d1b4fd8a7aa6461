"""Parts incubated with one worker against two, wall time, one thread each, in fresh parts stores."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Figure, ratios, spread

GOAL = 1.8
CHANGES = (
    "phases.search=null",
    "phases.assemble=null",
    "phases.compare=null",
    "phases.export=null",
    "phases.meta=null",
)


def figures(quick: bool) -> list[Figure]:
    """How many times faster two workers incubate the quickstart's parts than one does."""
    values = ratios(_run(1), _run(2), 1 if quick else 3)
    value = statistics.median(values)
    return [
        Figure(
            "one worker / two",
            value,
            f">= {GOAL}",
            value >= GOAL,
            "one worker",
            spread([*values, value]) if len(values) > 1 else 0.0,
        )
    ]


def _run(workers: int) -> Callable[[], float]:
    def run() -> float:
        import assembler

        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"ASSEMBLER_HOME": str(Path(folder) / "home"), "ASSEMBLER_RUNS": str(Path(folder) / "runs")}
            start = time.perf_counter()
            assembler.run("quickstart", *CHANGES, workers=workers)
            return time.perf_counter() - start

    return run
