"""Regularised evolution on NAS-Bench-201, 1,000 trials: ours in a study against PyGlove's own in `pg.sample`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pyglove as pg

from assembler.recipe.choices import Choice
from assembler.search import SearchSpec, make, run
from benchmarks.measure import Figure, ratios, spread
from benchmarks.nas201_table import Bench, Mean, mean

TRIALS, FASTER = 1000, 100
METRIC, REPORT = "c10_val_e12", "c10_test_e200"
SIZES = {"population_size": 10, "tournament_size": 10}


def figures(quick: bool) -> list[Figure]:
    """Wall times of whole searches, taken in turns, and the test accuracy of what each found, in percent."""
    table = Bench().table
    test: dict[str, list[float]] = {"ours": [], "PyGlove's": []}

    def timed(name: str, search: Callable[[int], Choice]) -> Callable[[], float]:
        def one() -> float:
            start = time.perf_counter()
            best = search(len(test[name]))
            seconds = time.perf_counter() - start
            test[name].append(table.evaluate(best, REPORT))
            return seconds

        return one

    values = ratios(timed("PyGlove's", _peer(table)), timed("ours", _ours(table)), 2 if quick else 9)
    value = statistics.median(values)
    ours, peer = mean(test["ours"]), mean(test["PyGlove's"])
    gap, error = ours.value - peer.value, (ours.error**2 + peer.error**2) ** 0.5
    name = f"regularised evolution, {TRIALS:,} trials"
    return [
        Figure(
            f"{name}: PyGlove's wall time / ours", value, f">= {FASTER}", value >= FASTER, "PyGlove", spread(values)
        ),
        _accuracy(f"{name}: test %, ours", ours),
        _accuracy(f"{name}: test %, PyGlove's", peer),
        Figure(f"{name}: ours less PyGlove's, %", gap, ">= -2 standard errors", gap >= -2 * error, "PyGlove", error),
    ]


def _accuracy(name: str, told: Mean) -> Figure:
    return Figure(name, told.value, "reported", True, "", told.deviation, told.runs)


def _ours(table: Any) -> Callable[[int], Choice]:
    def search(seed: int) -> Choice:
        sampler = make({"name": "evolution", **SIZES}, SearchSpec(table.space, seed=seed))
        study = run(table.space, lambda choice: table.evaluate(choice, METRIC), sampler, TRIALS)
        assert study.best is not None
        return study.best.choice

    return search


def _peer(table: Any) -> Callable[[int], Choice]:
    """PyGlove as its documentation has it: a space of `pg.oneof`, `pg.sample`, a reward for each example."""

    def search(seed: int) -> Choice:
        space = pg.Dict({d.name.replace(".", "_"): pg.oneof(range(len(d.labels))) for d in table.space.decisions})
        names = {d.name.replace(".", "_"): d.name for d in table.space.decisions}
        algorithm = pg.evolution.regularized_evolution(seed=seed, **SIZES)
        best, top = Choice(), float("-inf")
        for example, feedback in pg.sample(space, algorithm, num_examples=TRIALS):
            choice = {names[key]: pick for key, pick in example.items()}
            value = table.evaluate(choice, METRIC)
            feedback(value)
            best, top = (choice, value) if value > top else (best, top)
        return best

    return search
