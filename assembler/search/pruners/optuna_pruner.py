"""Optuna's pruners behind this package's interface: a study in memory that mirrors the reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assembler.search.pruners.base import Ended, Pruner, PruneSpec
from assembler.search.samplers.base import Values

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class OptunaPruner(Pruner):
    """Asks one of Optuna's pruners. Its study has a fixed name, of which Hyperband makes its draw of brackets."""

    def __init__(self, spec: PruneSpec, inner: BasePruner) -> None:
        import optuna

        super().__init__(spec)
        told = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", pruner=inner, study_name="assembler")
        optuna.logging.set_verbosity(told)
        self._trials: dict[int, Any] = {}

    def report(self, trial: int, step: int, values: Values) -> str:
        if trial not in self._trials:
            self._trials[trial] = self._study.ask()
        self._trials[trial].report(values[0], step)
        return super().report(trial, step, values)

    def reason(self, trial: int) -> str:
        if not self._trials[trial].should_prune():
            return ""
        return f"not among the best at step {self.curves[trial][-1][0]}, by {self.said}"

    said = "Optuna"

    def close(self, trial: int, how: Ended) -> None:
        import optuna

        super().close(trial, how)
        known = self._trials.pop(trial, None)
        if known is None:
            return
        states = {"pruned": optuna.trial.TrialState.PRUNED, "failed": optuna.trial.TrialState.FAIL}
        if how == "complete":
            self._study.tell(known, self.curves[trial][-1][1][0])
        else:
            self._study.tell(known, state=states[how])
