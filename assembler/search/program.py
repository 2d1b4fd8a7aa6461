"""One variant a slot, least total score, linear limits: the integer program, held by HiGHS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.errors import AssemblerError

_SPREAD = 1e3  # scores and costs are scaled to this, where the solver's absolute tolerances are relative ones of 1e-12
_TOLERANCE = 1e-9
_TINY = 1e-200  # numbers that differ by less count as equal


class Program:
    """An integer program that is solved again and again with assemblies excluded in between.

    `open_` are the usable variants of each slot; `scores` is minimised; `costs[name]` sums to `limits[name]` at most.
    """

    def __init__(
        self,
        open_: Mapping[str, tuple[int, ...]],
        scores: Mapping[str, tuple[float, ...]],
        costs: Mapping[str, Mapping[str, tuple[float, ...]]],
        limits: Mapping[str, float],
    ) -> None:
        self._columns = [(slot, i) for slot, variants in open_.items() for i in variants]
        self._index = {column: at for at, column in enumerate(self._columns)}
        self._slots = len(open_)
        self._solver = _solver()
        self._add_columns(scores)
        for slot, variants in open_.items():
            self._row(1.0, 1.0, [self._index[slot, i] for i in variants], [1.0] * len(variants))
        self._priced: dict[str, tuple[int, float]] = {}
        for name, cost in costs.items():
            self._priced[name] = (self._solver.getNumRow(), self._limit(cost, limits[name]))

    def solve(self) -> dict[str, int] | None:
        """The best assembly that is not excluded, or None where there is none."""
        import highspy

        self._solver.run()
        status = self._solver.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            raise AssemblerError(f"the solver gave up: {self._solver.modelStatusToString(status)}")
        picks = self._solver.getSolution().col_value
        return dict(column for column, pick in zip(self._columns, picks, strict=True) if pick > 0.5)

    def prices(self) -> dict[str, float]:
        """What one more unit of each limit would be worth in score, by the linear relaxation; 0 or more."""
        import highspy

        count = len(self._columns)
        self._solver.changeColsIntegrality(count, range(count), [highspy.HighsVarType.kContinuous] * count)
        self._solver.run()
        duals = self._solver.getSolution().row_dual
        self._solver.changeColsIntegrality(count, range(count), [highspy.HighsVarType.kInteger] * count)
        return {name: max(0.0, -duals[row] * scale / self._scale) for name, (row, scale) in self._priced.items()}

    def exclude(self, choice: Mapping[str, int], apart: int = 1) -> None:
        """Cut off the assemblies that differ from one in fewer than so many slots."""
        columns = [self._index[column] for column in choice.items()]
        self._row(-self._solver.inf, self._slots - float(apart), columns, [1.0] * len(columns))

    def _add_columns(self, scores: Mapping[str, tuple[float, ...]]) -> None:
        """The binaries; a slot's scores count from its best, and the widest spread is `_SPREAD`."""
        import highspy

        best: dict[str, float] = {}
        for slot, i in self._columns:
            best[slot] = min(best.get(slot, scores[slot][i]), scores[slot][i])
        above = [scores[slot][i] - best[slot] for slot, i in self._columns]
        self._scale = _scale(above)
        for value in above:
            self._solver.addCol(value * self._scale, 0.0, 1.0, 0, [], [])
        count = len(self._columns)
        self._solver.changeColsIntegrality(count, range(count), [highspy.HighsVarType.kInteger] * count)

    def _limit(self, cost: Mapping[str, tuple[float, ...]], limit: float) -> float:
        """Add a budget row and return its scale; a slot's costs count from its cheapest, which keeps numbers small."""
        least: dict[str, float] = {}
        for slot, i in self._columns:
            least[slot] = min(least.get(slot, cost[slot][i]), cost[slot][i])
        above = [cost[slot][i] - least[slot] for slot, i in self._columns]
        scale = _scale(above)
        room = (limit - sum(least.values())) * scale
        used = [(at, value * scale) for at, value in enumerate(above) if value]
        if room < -_TOLERANCE:
            used = []  # even the cheapest is over: 0 <= room cannot hold
        self._row(-self._solver.inf, room, [at for at, _ in used], [value for _, value in used])
        return scale

    def _row(self, low: float, high: float, columns: list[int], values: list[float]) -> None:
        self._solver.addRow(low, high, len(columns), columns, values)


def _scale(above: list[float]) -> float:
    widest = max(above, default=0.0)
    return _SPREAD / widest if widest > _TINY else 1.0


def _solver() -> Any:
    import highspy

    solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.silent()
    for option in ("mip_rel_gap", "mip_abs_gap"):
        solver.setOptionValue(option, 0.0)
    for option in ("mip_feasibility_tolerance", "primal_feasibility_tolerance"):
        solver.setOptionValue(option, _TOLERANCE)
    solver.setOptionValue("parallel", "off")
    solver.setOptionValue("mip_allow_restart", False)  # up to twice as fast on knapsacks of 24 x 32 and 48 x 64
    return solver
