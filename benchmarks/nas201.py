"""NAS-Bench-201: 100 queries of the validation after 12 epochs, the test accuracy after 200 of the best cell found."""

from __future__ import annotations

from assembler.search.tables import Played
from assembler.search.tables.play import Wanted
from benchmarks.measure import Figure
from benchmarks.nas201_table import OURS, SEEDS, SETS, Bench, Mean, enough, mean
from benchmarks.reinforce import Reinforce

QUERIES = 100
GOALS = {"c10": 94.07, "c100": 72.23, "in16": 45.80}
"""What regularised evolution (P = 10, S = 10) reaches on this table."""
TPE = "Optuna TPE"
PEERS: dict[str, Wanted] = {
    TPE: {"name": "optuna"},
    "Optuna random": {"name": "optuna", "algorithm": "random"},
    "PyGlove evolution P=10 S=10": {"name": "pyglove", "population_size": 10, "tournament_size": 10},
    "PyGlove evolution P=50 S=10": {"name": "pyglove", "population_size": 50, "tournament_size": 10},
    "random": "random",
    "local search": {"name": "local", "starts": 1},
    "REINFORCE": Reinforce,
    "our evolution": "evolution",
    "our local search": "local",
    "our smbo": "smbo",
    "our mcts": "mcts",
}


def figures(quick: bool) -> list[Figure]:
    """Mean test accuracies in percent; `spread` is the standard deviation over searches, `curve` the mean by query.

    Curves have every fifth query.
    """
    bench, seeds = Bench(), 10 if quick else SEEDS
    found = []
    for data, name in SETS.items():
        curve = _Curve()
        ours = mean([curve.add(_play(bench, OURS, data, seed)) for seed in range(seeds)])
        value, goal = ours.value, GOALS[data]
        said = f"{name}: test %, {OURS}"
        found.append(Figure(said, value, f"> {goal}", value > goal, "evolution", ours.deviation, ours.runs, curve.mean))
        for peer, sampler in PEERS.items():
            found += _against(bench, peer, sampler, data, ours, seeds)
    return found


def _against(bench: Bench, peer: str, sampler: Wanted, data: str, ours: Mean, seeds: int) -> list[Figure]:
    curve, name = _Curve(), SETS[data]
    told = enough(lambda seed: curve.add(_play(bench, sampler, data, seed)), ours, seeds)
    figure = Figure(
        f"{name}: test %, {peer}", told.value, "reported", True, OURS, told.deviation, told.runs, curve.mean
    )
    if peer != TPE:
        return [figure]
    gap = ours.value - told.value
    error = (ours.error**2 + told.error**2) ** 0.5
    return [figure, Figure(f"{name}: {OURS} less {TPE}, %", gap, "> 0", gap > 0, TPE, error, told.runs)]


def _play(bench: Bench, sampler: Wanted, data: str, seed: int) -> Played:
    return bench.play(sampler, f"{data}_val_e12", QUERIES, seed, report=f"{data}_test_e200")


class _Curve:
    """The mean of searches by query."""

    def __init__(self) -> None:
        self._sums, self._count = [0.0] * QUERIES, 0

    def add(self, played: Played) -> float:
        """Take a search in; where it ended."""
        self._count += 1
        for i in range(QUERIES):
            self._sums[i] += played.reported[min(i, len(played.reported) - 1)]
        return played.reported[-1]

    @property
    def mean(self) -> tuple[float, ...]:
        return tuple(round(total / self._count, 3) for total in self._sums[4::5])
