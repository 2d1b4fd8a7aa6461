"""Ends trials that are worse than the median of those before at the same step."""

from __future__ import annotations

from assembler.registry import pruner
from assembler.search.least import at_least
from assembler.search.pruners.base import PruneSpec
from assembler.search.pruners.optuna_pruner import OptunaPruner


@pruner("median")
class Median(OptunaPruner):
    """Optuna's median pruner: a trial ends where its best so far is below the median of the complete trials' at the
    same step (Golovin et al., 2017, section 3.1.1).

    None ends before `startup` trials are complete, and none before step `warmup` + 1.
    """

    said = "the median"

    def __init__(self, spec: PruneSpec, *, startup: int = 5, warmup: int = 0) -> None:
        import optuna

        for option, value in (("startup", startup), ("warmup", warmup)):
            at_least(0, "pruner 'median'", option, value)
        super().__init__(spec, optuna.pruners.MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup + 1))
