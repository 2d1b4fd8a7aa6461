"""NAS-Bench-201: how many queries of the validation after 200 epochs it takes to find the best of 15,625 cells."""

from __future__ import annotations

from assembler.search.tables.play import Wanted
from benchmarks.measure import Figure
from benchmarks.nas201_table import OURS, SEEDS, SETS, Bench, enough, mean

GOALS = {"c10": 60, "c100": 45, "in16": 110}
MOST = 1000
"""Queries after which a search ends; it counts as having needed so many, which favours who needs more."""
PEERS: dict[str, tuple[Wanted, int]] = {
    "local search": ({"name": "local", "starts": 1}, 15_625),
    "our local search": ("local", 15_625),
    "our evolution": ("evolution", 15_625),
    "PyGlove evolution P=10 S=10": ({"name": "pyglove", "population_size": 10, "tournament_size": 10}, MOST),
    "Optuna TPE": ({"name": "optuna"}, 400),
}
"""Samplers and how many queries they get; those that learn from all trials again for each get fewer."""


def figures(quick: bool) -> list[Figure]:
    """Mean numbers of queries; `spread` is the standard deviation over searches."""
    bench, seeds = Bench(), 10 if quick else SEEDS
    found = []
    for data, name in SETS.items():
        ours = mean([_queries(bench, OURS, data, MOST, seed) for seed in range(seeds)])
        goal, value = GOALS[data], ours.value
        said = f"{name}: queries to the best cell, {OURS}"
        found.append(Figure(said, value, f"<= {goal}", value <= goal, "local search", ours.deviation, ours.runs))
        for peer, (sampler, most) in PEERS.items():
            told = enough(lambda seed, s=sampler, n=most, d=data: _queries(bench, s, d, n, seed), ours, seeds)
            said = f"{name}: queries to the best cell, {peer}" + (f" (at most {most})" if most < 15_625 else "")
            found.append(Figure(said, told.value, "reported", True, OURS, told.deviation, told.runs))
    return found


def _queries(bench: Bench, sampler: Wanted, data: str, most: int, seed: int) -> float:
    metric = f"{data}_val_e200"
    return len(bench.play(sampler, metric, most, seed, until=bench.best(metric)).values)
