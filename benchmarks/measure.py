"""Paired timing of commands and calls, and the one JSON line that a bench ends with."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value with its goal. `spread` is the interquartile range over the paired runs.

    `runs` says how many there were and `curve` how the value came about, where a bench has that to tell.
    """

    name: str
    value: float
    goal: str
    holds: bool
    peer: str
    spread: float
    runs: int = 0
    curve: tuple[float, ...] = ()


def command(arguments: Sequence[str]) -> Callable[[], float]:
    """A call that runs a command and returns its wall seconds."""

    def run() -> float:
        start = time.perf_counter()
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start

    return run


def ratios(ours: Callable[[], float], peer: Callable[[], float], runs: int) -> list[float]:
    """`ours` over `peer`, pair by pair, the two taking turns at going first."""
    found = []
    for i in range(runs):
        first, second = (ours, peer) if i % 2 == 0 else (peer, ours)
        a, b = first(), second()
        found.append(a / b if i % 2 == 0 else b / a)
    return found


def spread(values: Sequence[float]) -> float:
    """The interquartile range."""
    quarters = statistics.quantiles(values, n=4)
    return quarters[2] - quarters[0]


def line(bench: str, figures: Sequence[Figure]) -> str:
    """The JSON line of a bench."""
    versions = {name: version(name) for name in ("torch", "optuna", "pyglove")} | {"python": platform.python_version()}
    found: dict[str, Any] = {
        "bench": bench,
        "figures": [{k: v for k, v in asdict(f).items() if v or k not in ("runs", "curve")} for f in figures],
        "versions": versions,
        "threads": 1,
    }
    return json.dumps(found)
