"""NAS-Bench-201 for the benches: searches of it by ours and by peers, as many as a comparison needs."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assembler.search.tables import Played, Table, open_table, play
from assembler.search.tables.play import Graphs, Wanted, graphs

NAME = "nas_bench_201"
SETS = {"c10": "CIFAR-10", "c100": "CIFAR-100", "in16": "ImageNet16-120"}
OURS = "bayes"
SEEDS = 200
_BATCH = 20  # searches of a peer between two looks at whether they are enough


@dataclass(frozen=True)
class Mean:
    """A mean over searches, their standard deviation, and how many there were."""

    value: float
    deviation: float
    runs: int

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.deviation / math.sqrt(self.runs)


def mean(values: Sequence[float]) -> Mean:
    """The mean of some values."""
    return Mean(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


class Bench:
    """The table, with the architectures that it built so far."""

    def __init__(self) -> None:
        self.table: Table = open_table(NAME)
        self._graphs: Graphs = graphs(self.table)
        self.best = functools.cache(lambda metric: self.table.best(metric)[1])

    def play(
        self, sampler: Wanted, metric: str, queries: int, seed: int, *, report: str = "", until: float | None = None
    ) -> Played:
        """One search, which ends early where it finds a value as good as `until`."""
        return play(self.table, sampler, metric, queries, seed, report=report, graph=self._graphs, until=until)


def enough(one: Callable[[int], float], ours: Mean, most: int) -> Mean:
    """A peer's mean over so many seeds that its standard error is below a third of the gap to ours, `most` at most."""
    found: list[float] = []
    while len(found) < most:
        found += [one(seed) for seed in range(len(found), min(len(found) + _BATCH, most))]
        told = mean(found)
        if told.error < abs(told.value - ours.value) / 3:
            break
    return mean(found)
