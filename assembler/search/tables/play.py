"""A sampler played on a table, as in a study, and several of them against each other over many seeds."""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import InputError
from assembler.graph import Graph
from assembler.recipe.choices import Choice, Pick
from assembler.search.moves import frozen
from assembler.search.samplers import Sampler, SearchSpec, Values, make
from assembler.search.study import run
from assembler.search.tables.table import Table

Wanted = str | Mapping[str, Any] | Callable[[SearchSpec], Sampler]
"""A sampler by name, by name and options, or what makes one."""
Graphs = Callable[[Choice], Graph]


@dataclass(frozen=True)
class Played:
    """One search: by query the value found, and the best so far in the metric and in the one that is reported.

    `seconds` is process time.
    """

    values: tuple[float, ...]
    best: tuple[float, ...]
    reported: tuple[float, ...]
    seconds: float


def play(
    table: Table,
    sampler: Wanted,
    metric: str,
    queries: int,
    seed: int,
    *,
    report: str = "",
    graph: Graphs | None = None,
    until: float | None = None,
) -> Played:
    """Search the table's `metric` with a sampler for so many distinct queries; choices asked for again are replayed.

    It ends early where a value as good as `until` is found. `report` is read at the choice that is best so far in
    `metric`, and plays no part in the search. `graph` is what the sampler sees of architectures: one that remembers
    them serves several searches.
    """
    for name in (metric, report or metric):
        table.column(name)  # what is wrong with it is told before a search is
    sees = graph or (graphs(table) if table.has_graphs else None)
    spec = SearchSpec(table.space, seed=seed, graph=sees)
    made = sampler(spec) if callable(sampler) else make(sampler, spec)
    sign = 1.0 if table.metrics[metric] == "maximize" else -1.0
    if until is not None:
        made = _Until(made, sign * until)
    start = time.process_time()
    study = run(table.space, lambda c: sign * table.evaluate(c, metric), made, queries, cost=table.costs)
    seconds = time.process_time() - start
    values, best, reported = [], list[float](), list[float]()
    top, chosen = -math.inf, Choice()
    for trial in study.trials:
        if trial.state not in ("complete", "failed"):
            continue
        values.append(math.nan if trial.value is None else sign * trial.value)
        if trial.value is not None and trial.value > top:
            top, chosen = trial.value, trial.choice
        best.append(sign * top if chosen else math.nan)
        told = table.known(chosen, report) if chosen and report else best[-1]
        reported.append(math.nan if told is None else told)
    return Played(tuple(values), tuple(best), tuple(reported), seconds)


class _Until(Sampler):
    """A sampler until it has found a value as good as that."""

    multi = moves = True

    def __init__(self, inner: Sampler, value: float) -> None:
        super().__init__(inner.spec)
        self._inner, self._value, self._found = inner, value, False

    def ask(self) -> Choice | None:
        return None if self._found else self._inner.ask()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._inner.tell(choice, values)
        self._found = self._found or (values is not None and values[0] >= self._value)

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return self._inner.renewed(choice)


def graphs(table: Table) -> Graphs:
    """The architectures of a table's choices, each built once."""
    built: dict[Any, Graph] = {}

    def graph(choice: Choice) -> Graph:
        key = frozen(choice)
        if key not in built:
            built[key] = table.graph(choice)
        return built[key]

    return graph


@dataclass(frozen=True)
class Line:
    """What came of one sampler: means over seeds, each with its standard deviation, by query and in the end."""

    sampler: str
    best: float
    spread: float
    reported: float
    reported_spread: float
    curve: tuple[float, ...]
    milliseconds: float


def compare(
    table: Table,
    samplers: Iterable[Wanted],
    metric: str,
    queries: int,
    seeds: Iterable[int],
    *,
    report: str = "",
) -> list[Line]:
    """Each sampler over the same seeds. `curve` is the mean of `report` (of the metric itself without one) by query."""
    graph = graphs(table) if table.has_graphs else None
    one = functools.partial(play, table, metric=metric, queries=queries, report=report, graph=graph)
    lines = []
    for sampler in samplers:
        played = [one(sampler, seed=seed) for seed in seeds]
        if not played:
            raise InputError("a comparison needs a seed or more")
        longest = max(len(p.reported) for p in played)
        ends, told = [p.best[-1] for p in played], [p.reported[-1] for p in played]
        curve = tuple(_mean([p.reported[min(i, len(p.reported) - 1)] for p in played]) for i in range(longest))
        spent = sum(p.seconds for p in played) / sum(len(p.values) for p in played) * 1e3
        means = _mean(ends), _spread(ends), _mean(told), _spread(told)
        lines.append(Line(_named(sampler), *means, curve, spent))
    return lines


def _named(sampler: Wanted) -> str:
    """A sampler and its options in a few words."""
    if isinstance(sampler, str):
        return sampler
    if callable(sampler):
        return getattr(sampler, "__name__", "sampler")
    return " ".join(str(value) if key == "name" else f"{key}={value}" for key, value in sampler.items())


def _mean(values: list[float]) -> float:
    """The mean of those that there are."""
    return statistics.fmean([v for v in values if math.isfinite(v)] or [math.nan])


def _spread(values: list[float]) -> float:
    there = [v for v in values if math.isfinite(v)]
    return statistics.stdev(there) if len(there) > 1 else 0.0
