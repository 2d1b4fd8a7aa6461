"""Ends trials that others dominate at the same step, in all objectives together."""

from __future__ import annotations

from typing import ClassVar

from assembler.errors import InputError
from assembler.registry import pruner
from assembler.search.least import at_least
from assembler.search.pruners.base import Pruner, PruneSpec
from assembler.search.samplers.base import Values


@pruner("dominance")
class Dominance(Pruner):
    """Ends a trial where at least the share `share` of the complete trials dominates it at the same step: as good in
    every objective and better in one.

    For any number of objectives; for one it is median pruning at 0.5. None ends before `startup` trials are complete,
    and none before step `warmup` + 1.
    """

    multi: ClassVar[bool] = True

    def __init__(self, spec: PruneSpec, *, share: float = 0.5, startup: int = 5, warmup: int = 0) -> None:
        if not 0 < share <= 1:
            raise InputError(f"'share' of pruner 'dominance' is above 0 and up to 1, not {share}")
        for option, value in (("startup", startup), ("warmup", warmup)):
            at_least(0, "pruner 'dominance'", option, value)
        super().__init__(spec)
        self._share, self._startup, self._warmup = share, startup, warmup

    def reason(self, trial: int) -> str:
        step, values = self.curves[trial][-1]
        done = [t for t, how in self.ended.items() if how == "complete" and t != trial]
        if len(done) < max(1, self._startup) or step <= self._warmup:
            return ""
        there = [at for t in done if (at := self.at(t, step)) is not None]
        above = sum(dominates(other, values) for other in there)
        if not above or above < self._share * len(there):
            return ""
        return f"{above} of {len(there)} trials dominate it at step {step}"


def dominates(a: Values, b: Values) -> bool:
    """Whether `a` is as good as `b` everywhere and better somewhere."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b
