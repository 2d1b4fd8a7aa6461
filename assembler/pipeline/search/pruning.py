"""Trials that may be ended early: what a search sends along with one, and the watch that is kept over it.

A worker is told what the trials before came to. So it decides by itself, and any engine will do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.assemble.job import METRICS, Job
from assembler.assemble.product import Product
from assembler.assemble.task import Task
from assembler.errors import PrunedError, RecipeError
from assembler.search.pruners import Point, PruneSpec, make
from assembler.search.trial import Trial
from assembler.train.loop import Hooks, Record

Curve = tuple[Point, ...]
_SEEN = "validation"
"""The metric that is measured on the way; costs are known from the beginning."""


@dataclass
class Past:
    """The curves of a search's trials, for the pruner `said`; `steps` are the epochs that a trial comes to.

    What is `seen` is measured on the way, the `costs` are known from the beginning. `goals` are the objectives, each
    with 1 where it is to become more and -1 where less; a report is one vector of them. Raises RecipeError for
    objectives that nobody knows before a training has ended, InputError for a pruner that does not take as many.
    """

    said: str | Mapping[str, Any]
    goals: Mapping[str, int]
    costs: Sequence[str]
    steps: int | None = None
    seen: Sequence[str] = (_SEEN,)
    trials: list[tuple[int, str, Curve]] = field(default_factory=list)

    def __post_init__(self) -> None:
        unknown = next((name for name in self.goals if name not in (*self.seen, *self.costs)), "")
        if unknown:
            said = f"'{unknown}' is known when a training has ended, which is too late to prune by it"
            raise RecipeError(said, path="search.prune", hint=f"objectives: {', '.join((*self.seen, *self.costs))}")
        make(self.said, PruneSpec(len(self.goals), self.steps))

    def enter(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        if trial.curve and trial.state in ("complete", "pruned", "failed"):
            self.trials.append((trial.number, trial.state, self._signed(trial.curve)))

    def sent(self, task: Task, trial: Trial) -> Task:
        """The task of a trial, with what a worker needs to end it early."""
        return replace(task, beside={**task.beside, "prune": json.loads(json.dumps(self.told(trial)))})

    def told(self, trial: Trial) -> dict[str, Any]:
        """What a watch over a trial has to know."""
        return {
            "pruner": self.said,
            "steps": self.steps,
            "past": self.trials,
            "trial": trial.number,
            "goals": dict(self.goals),
            "seen": list(self.seen),
            "costs": {name: trial.costs[name] for name in self.goals if name not in self.seen},
        }

    def curve(self, trial: Trial, product: Product) -> Curve:
        """What a training came to at each validation, as its product tells: one number for each objective."""
        if METRICS not in product.files:
            return ()
        records = map(json.loads, product.file(METRICS).read_text(encoding="utf-8").splitlines())
        seen = [(math.ceil(r["epoch"]), r[_SEEN]) for r in records if r.get(_SEEN) is not None]
        return tuple((step, vector(self.goals, {_SEEN: value}, trial.costs)) for step, value in seen)

    def _signed(self, curve: Curve) -> Curve:
        signs = tuple(self.goals.values())
        return tuple((step, tuple(s * v for s, v in zip(signs, values, strict=True))) for step, values in curve)


def vector(goals: Iterable[str], seen: Mapping[str, float], costs: Mapping[str, float]) -> tuple[float, ...]:
    """The value of each goal: what was seen of it, else what it costs."""
    return tuple(float(seen[name] if name in seen else costs[name]) for name in goals)


class Watch:
    """Asks the pruner at every report of one trial; `told` is what `Past` tells of it."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._number: int = told["trial"]
        self._goals, self._seen, self._costs = told["goals"], told["seen"], told["costs"]
        self._pruner = make(told["pruner"], PruneSpec(len(self._goals), told["steps"]))
        self.curve: list[Point] = []
        for number, how, curve in told["past"]:
            self._pruner.recall(number, points(curve), how)

    @property
    def size(self) -> int:
        """How many values a report has."""
        return len(self._seen)

    def report(self, step: int, seen: Sequence[float]) -> None:
        """Take in what was measured at a step. Raises PrunedError where the trial is to end."""
        values = vector(self._goals, dict(zip(self._seen, seen, strict=True)), self._costs)
        self.curve.append((step, values))
        signed = tuple(sign * value for sign, value in zip(self._goals.values(), values, strict=True))
        if reason := self._pruner.report(self._number, step, signed):
            error = PrunedError(reason)
            error.curve = tuple(self.curve)
            raise error


def watched(job: Job, hooks: Hooks) -> Hooks:
    """The hooks of a training that may be ended early, where the job says so: then its log raises PrunedError."""
    if "prune" not in job.beside:
        return hooks
    watch = _Hooked(hooks, Watch(job.beside["prune"]))
    return replace(hooks, progress=watch.progress, log=watch.log)


class _Hooked:
    """Reports every validation but the last: what is trained to its end is complete."""

    def __init__(self, hooks: Hooks, watch: Watch) -> None:
        self._hooks = hooks
        self._watch = watch
        self._last = False

    def progress(self, step: int, steps: int, info: Record) -> None:
        self._last = step == steps
        if self._hooks.progress:
            self._hooks.progress(step, steps, info)

    def log(self, record: Record) -> None:
        if self._hooks.log:
            self._hooks.log(record)
        if _SEEN in record and not self._last:
            self._watch.report(math.ceil(record["epoch"]), (record[_SEEN],))


def points(written: Sequence[Sequence[Any]]) -> Curve:
    """A curve as it was written: pairs of a step and the values there."""
    return tuple((int(step), tuple(map(float, values))) for step, values in written)
