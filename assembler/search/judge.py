"""What can be told of a candidate before it is evaluated: its identity, its costs, and what it breaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assembler.errors import AssemblerError, InputError, RecipeError, near, placed
from assembler.recipe.choices import Choice, Space
from assembler.search.exact import number
from assembler.search.trial import Trial, identity

Refuse = Callable[[Choice, Mapping[str, float] | None], str]
"""Why a choice breaks a constraint, before its graph is looked at (without costs) or after; empty where it keeps it."""


@dataclass
class Judge:
    """Makes the trial of a choice: still running, or infeasible (failed, where nobody foresaw it) with the reason.

    `bans` are choices, by label, that are refused together with all that contain them.
    """

    space: Space
    cost: Callable[[Choice], dict[str, float]] | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    key: Callable[[Choice], str] | None = None
    where: Refuse | None = None
    bans: Sequence[Mapping[str, str]] = ()

    def trial(self, choice: Choice, estimate: float | None = None) -> Trial:
        """The trial of a choice, not numbered yet."""
        trial = Trial(-1, choice, None, "running", estimate=estimate, key=identity(choice))
        trial = replace(trial, labels=self.space.named(choice))
        refused = self._banned(trial.labels) or (self.where(choice, None) if self.where else "")
        if refused:
            return replace(trial, state="infeasible", reason=refused)
        try:
            trial = replace(trial, key=self.key(choice) if self.key else trial.key)
            trial = replace(trial, costs=self.cost(choice) if self.cost else {})
        except RecipeError as error:
            return replace(trial, state="infeasible", reason=say(error))
        except Exception as error:
            return replace(trial, state="failed", reason=say(error))
        over = self._over(trial.costs) or (self.where(choice, trial.costs) if self.where else "")
        return replace(trial, state="infeasible", reason=over) if over else trial

    def _banned(self, labels: Mapping[str, str]) -> str:
        for ban in self.bans:
            if all(labels.get(name) == label for name, label in ban.items()):
                return "banned: " + ", ".join(f"{name}={label}" for name, label in ban.items())
        return ""

    def _over(self, costs: Mapping[str, float]) -> str:
        for name in self.budget:
            if name not in costs:
                known = near(name, costs) or f"costs: {', '.join(costs) or 'none'}"
                raise InputError(f"the budget names '{name}', which is no cost", hint=known)
        over = [n for n, limit in self.budget.items() if not costs[n] <= limit]
        return ", ".join(f"{n} {number(costs[n])} > {number(self.budget[n])}" for n in over)


def say(error: Exception) -> str:
    """An error as a trial's reason; one that is not ours with the place that raised it."""
    return str(error).strip() if isinstance(error, AssemblerError) else placed(error)
