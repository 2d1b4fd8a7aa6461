"""Trainings that may be ended early: what a search sends along with one, and the watch that the worker keeps.

A worker is told what the trials before came to. So it decides by itself, and any engine will do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
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

    `goals` are the objectives, each with 1 where it is to become more and -1 where less; a report is one vector of
    them. Raises RecipeError for objectives that nobody knows before a training has ended, InputError for a pruner that
    does not take as many.
    """

    said: str | Mapping[str, Any]
    goals: Mapping[str, int]
    costs: Sequence[str]
    steps: int | None = None
    trials: list[tuple[int, str, Curve]] = field(default_factory=list)

    def __post_init__(self) -> None:
        unknown = next((name for name in self.goals if name not in (_SEEN, *self.costs)), "")
        if unknown:
            said = f"'{unknown}' is known when a training has ended, which is too late to prune by it"
            raise RecipeError(said, path="search.prune", hint=f"objectives: {', '.join((_SEEN, *self.costs))}")
        make(self.said, PruneSpec(len(self.goals), self.steps))

    def enter(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        if trial.curve and trial.state in ("complete", "pruned", "failed"):
            self.trials.append((trial.number, trial.state, self._signed(trial.curve)))

    def sent(self, task: Task, trial: Trial) -> Task:
        """The task of a trial, with what a worker needs to end it early."""
        prune = {
            "pruner": self.said,
            "steps": self.steps,
            "past": self.trials,
            "trial": trial.number,
            "goals": dict(self.goals),
            "costs": {name: trial.costs[name] for name in self.goals if name != _SEEN},
        }
        return replace(task, beside={**task.beside, "prune": json.loads(json.dumps(prune))})

    def curve(self, trial: Trial, product: Product) -> Curve:
        """What a training came to at each validation, as its product tells: one number for each objective."""
        if METRICS not in product.files:
            return ()
        records = map(json.loads, product.file(METRICS).read_text(encoding="utf-8").splitlines())
        seen = [(math.ceil(r["epoch"]), r[_SEEN]) for r in records if r.get(_SEEN) is not None]
        return tuple((step, _vector(self.goals, value, trial.costs)) for step, value in seen)

    def _signed(self, curve: Curve) -> Curve:
        signs = tuple(self.goals.values())
        return tuple((step, tuple(s * v for s, v in zip(signs, values, strict=True))) for step, values in curve)


def _vector(goals: Mapping[str, int], seen: float, costs: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(float(seen if name == _SEEN else costs[name]) for name in goals)


def watched(job: Job, hooks: Hooks) -> Hooks:
    """The hooks of a training that may be ended early, where the job says so: then its log raises PrunedError."""
    if "prune" not in job.beside:
        return hooks
    watch = _Watch(hooks, job.beside["prune"])
    return replace(hooks, progress=watch.progress, log=watch.log)


class _Watch:
    """Asks the pruner at every validation but the last: what is trained to its end is complete."""

    def __init__(self, hooks: Hooks, told: Mapping[str, Any]) -> None:
        self._hooks = hooks
        self._number: int = told["trial"]
        self._goals, self._costs = told["goals"], told["costs"]
        self._pruner = make(told["pruner"], PruneSpec(len(self._goals), told["steps"]))
        self._curve: list[Point] = []
        self._last = False
        for number, how, curve in told["past"]:
            self._pruner.recall(number, points(curve), how)

    def progress(self, step: int, steps: int, info: Record) -> None:
        self._last = step == steps
        if self._hooks.progress:
            self._hooks.progress(step, steps, info)

    def log(self, record: Record) -> None:
        if self._hooks.log:
            self._hooks.log(record)
        if _SEEN not in record or self._last:
            return
        step, values = math.ceil(record["epoch"]), _vector(self._goals, record[_SEEN], self._costs)
        self._curve.append((step, values))
        signed = tuple(sign * value for sign, value in zip(self._goals.values(), values, strict=True))
        if reason := self._pruner.report(self._number, step, signed):
            error = PrunedError(reason)
            error.curve = tuple(self._curve)
            raise error


def points(written: Sequence[Sequence[Any]]) -> Curve:
    """A curve as it was written: pairs of a step and the values there."""
    return tuple((int(step), tuple(map(float, values))) for step, values in written)
