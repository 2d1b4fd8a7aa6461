"""Equal budgets: how many steps each phase of an arm takes, so that all arms spend the training FLOPs of the first.

What a step costs is measured by training for one step and for two, so that teachers, turns, averages and frozen parts
count for what they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from assembler.errors import InputError
from assembler.pipeline.spec import Phase, RunSpec
from assembler.train.data.core import load
from assembler.train.spec import FitSpec

_PROBES = (1, 2)


@dataclass(frozen=True)
class Price:
    """What the training of a phase costs: `fixed` FLOPs, and those of `each` sample; `steps` are the recipe's own.

    An epoch has `count` samples in batches of `batch`, the last of which may be smaller.
    """

    fixed: float
    each: float
    steps: int
    count: int
    batch: int

    @property
    def samples(self) -> int:
        """The samples that are seen in the recipe's own steps."""
        epochs, rest = divmod(self.steps, math.ceil(self.count / self.batch))
        return epochs * self.count + rest * min(self.batch, self.count)

    @property
    def total(self) -> float:
        """FLOPs of the training as the recipe has it."""
        return self.fixed + self.each * self.samples

    def scaled(self, ratio: float) -> int:
        """The steps in which `ratio` times the samples are seen, as nearly as whole batches allow."""
        epochs, rest = divmod(ratio * self.samples, self.count)
        return max(1, round(epochs * math.ceil(self.count / self.batch) + rest / self.batch))


def trains(phase: Phase) -> bool:
    """Whether a phase trains a whole model, for as many steps as its settings say."""
    kind, options = phase.entry.name, phase.options
    if kind == "rewrite":
        return options.get("train") is not None or options.get("objective") is not None
    return kind in ("meta", "train", "tune") or (kind == "teacher" and not options.get("weights"))


def with_steps(spec: RunSpec, steps: Mapping[str, int], **more: Any) -> RunSpec:
    """The run with so many steps in each of its phases, and `more` settings in them."""

    def told(phase: Phase) -> Phase:
        if phase.name not in steps:
            return phase
        train = {**(phase.options.get("train") or {}), "steps": steps[phase.name], **more}
        return replace(phase, options={**phase.options, "train": train})

    return replace(spec, phases=tuple(map(told, spec.phases)))


def probes(spec: RunSpec) -> tuple[RunSpec, ...]:
    """The runs whose FLOPs tell what the phases of a run cost."""
    names = [phase.name for phase in spec.phases if trains(phase)]
    return tuple(with_steps(spec, dict.fromkeys(names, n), validate_every=0) for n in _PROBES)


def prices(spec: RunSpec, spent: tuple[Mapping[str, float], ...]) -> dict[str, Price]:
    """The price of every phase that trains, given what each phase of the probes spent; others have none."""
    found = {}
    for phase in spec.phases:
        if not trains(phase) or phase.name not in spent[0]:
            continue
        count = len(load(spec.purpose_of(phase).data).train)
        settings = FitSpec.from_spec({**spec.train, **(phase.options.get("train") or {})})
        first = min(settings.batch, count)
        second = min(settings.batch, count - first) or first
        each = (spent[1][phase.name] - spent[0][phase.name]) / second
        steps = settings.total_steps(math.ceil(count / settings.batch))
        found[phase.name] = Price(spent[0][phase.name] - each * first, each, steps, count, settings.batch)
    return found


def equal_steps(arms: Mapping[str, dict[str, Price]]) -> dict[str, dict[str, int]]:
    """How many steps each phase of each arm takes, all scaled alike, to spend what the first arm does.

    An arm that spends as much already keeps its own. Raises InputError for one whose fixed part alone costs more.
    """
    target = sum(price.total for price in next(iter(arms.values())).values())
    found = {}
    for arm, held in arms.items():
        fixed, growing = sum(p.fixed for p in held.values()), sum(p.each * p.samples for p in held.values())
        if target <= fixed or not growing:
            what = (
                f"arm '{arm}' cannot train for the FLOPs of the first arm" if growing else f"arm '{arm}' trains nothing"
            )
            raise InputError(what, hint="budget: steps takes the recipe's own lengths")
        ratio = (target - fixed) / growing
        found[arm] = {name: price.scaled(ratio) for name, price in held.items()}
    return found
