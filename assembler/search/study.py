"""The search loop: ask a sampler, drop what does not fit, replay what is known, evaluate the rest, tell."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from assembler.errors import AssemblerError, InputError, RecipeError, TaskError, near
from assembler.recipe.choices import Choice, Space
from assembler.search.exact import BudgetError, number
from assembler.search.moves import Frozen, frozen
from assembler.search.pareto import Direction, front
from assembler.search.samplers.base import Sampler, Values

State = Literal["complete", "infeasible", "failed", "duplicate"]
Stop = Literal["trials", "exhausted", "timeout", "idle"]

_IDLE = 1000  # candidates in a row that were over the budget or known already, after which a search gives up


@dataclass(frozen=True)
class Trial:
    """One candidate: what was chosen, what came of it, and why if nothing did.

    `estimate` is the additive score (lower is better) where there is one; `key` the identity that duplicates share;
    `labels` is the choice in words.
    """

    number: int
    choice: Choice
    values: Values | None
    state: State
    costs: dict[str, float] = field(default_factory=dict)
    estimate: float | None = None
    reason: str = ""
    key: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None


@dataclass(frozen=True)
class Study:
    """All trials in order, the best complete one, how many were evaluated, and what ended the search.

    `best` is the best in the first objective; `front` the complete ones that no other dominates.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    evaluated: int
    space_size: int | None
    stopped: Stop
    front: tuple[Trial, ...] = ()


def run(
    space: Space,
    evaluate: Callable[[Choice], float | Sequence[float]],
    sampler: Sampler,
    trials: int,
    *,
    cost: Callable[[Choice], dict[str, float]] | None = None,
    budget: Mapping[str, float] | None = None,
    key: Callable[[Choice], str] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    where: Callable[[Choice, Mapping[str, float] | None], str] | None = None,
    directions: Sequence[Direction] = ("maximize",),
    history: Sequence[Trial] = (),
    timeout: float | None = None,
) -> Study:
    """Search until `trials` candidates have been evaluated, those in `history` included.

    A candidate whose `cost` exceeds the `budget`, or that `cost` or `key` refuses with a RecipeError, is infeasible;
    so is one for which `where` has a reason, before its graph is looked at (it is given no costs) or after. One whose `key` (an architecture's fingerprint; the choice itself by default) is known gets the known value. Neither
    is evaluated nor uses up a trial. `evaluate` raising, or returning what is not finite, fails that trial alone.
    `timeout` is in seconds and is looked at between trials; `on_trial` sees each new trial.

    Raises BudgetError where nothing fits and TaskError where every evaluation failed.
    """
    if budget and cost is None:
        raise InputError("a budget needs costs to hold against it")
    search = _Search(evaluate, sampler, cost, dict(budget or {}), key, where, tuple(directions))
    for trial in history:
        search.enter(trial)
    stopped = search.loop(space, trials, timeout, on_trial)
    done = [t for t in search.trials if t.state == "complete"]
    best = max(done, key=lambda t: search.told(t)[0], default=None)
    if best is None and search.trials:
        raise _nothing(search.trials, dict(budget or {}))
    best_of_all = tuple(done[i] for i in front([t.values or () for t in done], search.directions))
    return Study(tuple(search.trials), best, search.evaluated, space.size, stopped, best_of_all)


@dataclass
class _Search:
    evaluate: Callable[[Choice], float | Sequence[float]]
    sampler: Sampler
    cost: Callable[[Choice], dict[str, float]] | None
    budget: dict[str, float]
    key: Callable[[Choice], str] | None
    where: Callable[[Choice, Mapping[str, float] | None], str] | None
    directions: tuple[Direction, ...]
    trials: list[Trial] = field(default_factory=list)
    evaluated: int = 0
    known: dict[str, Trial] = field(default_factory=dict)
    seen: set[Frozen] = field(default_factory=set)

    def loop(self, space: Space, trials: int, timeout: float | None, on_trial: Callable[[Trial], None] | None) -> Stop:
        end, idle = None if timeout is None else time.monotonic() + timeout, 0
        while self.evaluated < trials:
            if end is not None and time.monotonic() >= end:
                return "timeout"
            if idle >= _IDLE:
                return "idle"
            choice = self.sampler.ask() if len(self.seen) != space.size else None
            if choice is None:
                return "exhausted"
            trial = replace(self.judge(choice), labels=space.named(choice))
            idle = idle + 1 if trial.state in ("infeasible", "duplicate") else 0
            self.enter(trial)
            if on_trial:
                on_trial(trial)
        return "trials"

    def enter(self, trial: Trial) -> None:
        """Record a trial and tell the sampler."""
        self.trials.append(trial)
        self.seen.add(frozen(trial.choice))
        if trial.state in ("complete", "failed"):
            self.evaluated += 1
            self.known.setdefault(trial.key, trial)
        self.sampler.tell(trial.choice, None if trial.values is None else self.told(trial))

    def judge(self, choice: Choice) -> Trial:
        """The trial of a choice: known or unfit if that can be told beforehand, else evaluated."""
        count = max((t.number for t in self.trials[-1:]), default=-1) + 1
        trial = Trial(count, choice, None, "failed", estimate=self.sampler.estimate(choice), key=identity(choice))
        if self.where and (reason := self.where(choice, None)):
            return replace(trial, state="infeasible", reason=reason)
        try:
            trial = replace(trial, key=self.key(choice) if self.key else trial.key)
            trial = replace(trial, costs=self.cost(choice) if self.cost else {})
        except Exception as error:
            return replace(
                trial, state="infeasible" if isinstance(error, RecipeError) else "failed", reason=_say(error)
            )
        over = self._over(trial.costs) or (self.where(choice, trial.costs) if self.where else "")
        if over:
            return replace(trial, state="infeasible", reason=over)
        if trial.key in self.known:
            first = self.known[trial.key]
            again = f"same as trial {first.number}" + (f": {first.reason}" if first.reason else "")
            return replace(trial, state="duplicate", values=first.values, reason=again)
        try:
            found = self.evaluate(choice)
            values = tuple(map(float, found)) if isinstance(found, Sequence) else (float(found),)
        except Exception as error:
            return replace(trial, reason=_say(error))
        if len(values) != len(self.directions):
            said = f"the objective gave {len(values)} values"
            raise InputError(said, hint=f"give {len(values)} directions, not {len(self.directions)}")
        if not all(map(math.isfinite, values)):
            said = str(values[0]) if len(values) == 1 else str(values)
            return replace(trial, reason=f"the value is {said}")
        return replace(trial, state="complete", values=values)

    def told(self, trial: Trial) -> Values:
        """The values of a trial as samplers hear them, more is better."""
        return tuple(v if d == "maximize" else -v for v, d in zip(trial.values or (), self.directions, strict=True))

    def _over(self, costs: Mapping[str, float]) -> str:
        for name in self.budget:
            if name not in costs:
                known = near(name, costs) or f"costs: {', '.join(costs) or 'none'}"
                raise InputError(f"the budget names '{name}', which is no cost", hint=known)
        over = [n for n, limit in self.budget.items() if not costs[n] <= limit]
        return ", ".join(f"{n} {number(costs[n])} > {number(self.budget[n])}" for n in over)


def identity(choice: Choice) -> str:
    """A choice as one line of JSON, whatever order it was made in."""
    return json.dumps(choice, sort_keys=True)


def _say(error: Exception) -> str:
    text = str(error).strip()
    return text if isinstance(error, AssemblerError) else f"{type(error).__name__}: {text}".rstrip(": ")


def _nothing(trials: Sequence[Trial], budget: Mapping[str, float]) -> AssemblerError:
    """Why no trial is complete: the most frequent reason, or how far from the budget the nearest candidate was."""
    failed = [t for t in trials if t.state == "failed"]
    over = [t for t in trials if t.state == "infeasible" and t.costs]
    broken = Counter(t.reason for t in trials if t.state == "infeasible" and t.reason.startswith("where: "))
    if broken and not failed:
        listed = "; ".join(f"'{reason.removeprefix('where: ')}' {count:,}" for reason, count in broken.most_common())
        return BudgetError(f"none of {len(trials):,} candidates meets where, which refused, by constraint: {listed}")
    if failed or not over:
        named = failed or [t for t in trials if t.state == "infeasible"]
        kinds = Counter(_kind(t.reason) for t in named)
        kind, count = kinds.most_common(1)[0]
        example = next(t.reason for t in named if _kind(t.reason) == kind)
        what = "evaluations failed" if failed else "candidates are invalid"
        return TaskError(f"all {len(named)} {what}; {count} of them with: {example}")
    nearest = min(over, key=lambda t: max(t.costs[n] / limit if limit > 0 else math.inf for n, limit in budget.items()))
    return BudgetError(f"none of {len(over)} candidates fits the budget; the nearest has {nearest.reason}")


def _kind(reason: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", reason)
