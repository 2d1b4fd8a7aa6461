"""Trials of studies as models: found by reference, their recipes built, the best within a budget picked."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from assembler.errors import InputError, RecipeError, near
from assembler.graph.core import Graph
from assembler.graph.diff import Diff, diff
from assembler.pipeline.search.assemblies import PARTS, Assemblies
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.costs import costs_of
from assembler.pipeline.search.matching import choice_of
from assembler.recipe.document import Document, load, parse
from assembler.search.exact import BudgetError, number
from assembler.search.lineage import Link, lineage
from assembler.search.records import drawn, worded
from assembler.search.shared import OPEN
from assembler.search.status import Status, status
from assembler.search.storage import load_study, storage_url
from assembler.search.trial import Trial
from assembler.wiring.build import build

BEST = "best"


@dataclass(frozen=True)
class Searched:
    """A study read from its storage: how it stands, and the recipe with its choices open as it was searched last.

    `parts` are the facts that say what was put together, where that was searched.
    """

    status: Status
    text: str
    parts: Mapping[str, Any] | None = None

    @cached_property
    def candidates(self) -> Candidates | Assemblies | None:
        """The candidates of the recipe; None where an older version has not kept it."""
        if not self.text:
            return None
        found = Candidates(parse(self.text, self.status.name).model, self.status.name)
        return found if self.parts is None else Assemblies.read(found, self.parts)

    @cached_property
    def seed(self) -> dict[str, str]:
        """The choice of all first candidates, by label."""
        found = self.candidates
        return found.space.named(found.space.first) if found else {}

    @cached_property
    def seed_costs(self) -> dict[str, float]:
        """What the choice of all first candidates costs; nothing where it cannot be built."""
        found = self.candidates
        try:
            return found.cost(found.space.first) if found else {}
        except RecipeError:
            return {}

    def trial(self, which: str) -> Trial:
        """The trial of a number, or the best one. Raises InputError where there is none."""
        trials = {str(t.number): t for t in self.status.trials}
        if which == BEST and self.status.best:
            return self.status.best
        if which not in trials:
            what = "has no complete trial" if which == BEST else f"has no trial '{which}'"
            last = f"trials 0 to {len(trials) - 1}, or best" if trials else "it has none at all"
            raise InputError(f"study '{self.status.name}' {what}", hint=last)
        return trials[which]

    def chain(self, trial: Trial) -> tuple[Link, ...]:
        """The edits that lead to a trial."""
        return lineage(self.status.trials, trial, self.seed)

    def values(self, trial: Trial) -> dict[str, float]:
        """What a trial came to, by objective."""
        return dict(zip(self.status.objectives, trial.values or (), strict=False))

    def pick(self, budget: Mapping[str, float]) -> Trial:
        """The complete trial that is best in the first objective of those within the budget.

        Raises InputError for what was not recorded, BudgetError where nothing fits, with the nearest.
        """
        done = [t for t in self.status.trials if t.state == "complete" and t.values]
        known = dict.fromkeys(name for t in done for name in self.recorded(t))
        for name in budget:
            if name not in known:
                hint = near(name, known) or f"recorded: {', '.join(known) or 'nothing'}"
                raise InputError(f"no trial has a '{name}'", hint=hint)
        fitting = [t for t in done if all(self.recorded(t).get(n, math.inf) <= most for n, most in budget.items())]
        if not fitting:
            raise self._nothing(done, budget)
        sign = 1.0 if self.status.directions[0] == "maximize" else -1.0
        return max(fitting, key=lambda t: (sign * (t.values or (0.0,))[0], -t.number))

    def words(self, recipe: Document) -> dict[str, Any]:
        """The choice that builds the model of a recipe, by label. Raises InputError where none does."""
        found = self.candidates
        if found is None:
            hint = "run the search once more with this version, or give decisions: {mix: pool}"
            raise InputError(f"study '{self.status.name}' has not kept its recipe", hint=hint)
        return worded(found.space, choice_of(found, recipe))

    def allow(self, words: Mapping[str, Any]) -> None:
        """Raise InputError where every choice that has these decisions, by label, breaks a constraint on decisions."""
        refusal = drawn(self.candidates.space, words, random.Random(0))[2] if self.candidates else ""
        if refusal:
            said = ", ".join(f"{name}={label}" for name, label in words.items())
            raise InputError(f"no candidate with {said} meets the constraints of the space: {refusal}")

    def recorded(self, trial: Trial) -> dict[str, float]:
        """All numbers that are known of a trial: its costs, and its values by objective."""
        return {**self.values(trial), **trial.costs}

    def _nothing(self, done: list[Trial], budget: Mapping[str, float]) -> InputError:
        if not done:
            return InputError(f"study '{self.status.name}' has no complete trial")

        def over(trial: Trial) -> float:
            found = self.recorded(trial)
            return max(found.get(n, math.inf) / most if most > 0 else math.inf for n, most in budget.items())

        nearest = min(done, key=over)
        has = self.recorded(nearest)
        said = ", ".join(f"{n} {number(has[n])} > {number(most)}" for n, most in budget.items() if has[n] > most)
        return BudgetError(
            f"none of {len(done):,} trials fits the budget; the nearest, trial {nearest.number}, has {said}"
        )


@dataclass(frozen=True)
class Model:
    """A model that was named: its graph and costs; with what it came to, where it is a trial."""

    name: str
    graph: Graph
    costs: Mapping[str, float]
    values: Mapping[str, float]


def searched(where: str, study: str | None = None) -> Searched:
    """The study in a storage, a journal or the folder of a search. Raises InputError where there is none."""
    found = load_study(storage_url(where), study)
    facts = found.facts
    return Searched(status(found), str(facts.get(OPEN, "")), facts if PARTS in facts else None)


def recipe_of(trial: Trial) -> Document:
    """The recipe of a trial. Raises InputError where none was kept, since it was never built."""
    if not trial.recipe:
        why = f": {trial.reason}" if trial.reason else ""
        raise InputError(f"of trial {trial.number}, which is {trial.state}{why}, no recipe was kept")
    return parse(trial.recipe, f"trial {trial.number}")


def named(ref: str, study: str | None = None) -> Model:
    """The model of a recipe, or of a trial as `WHERE#NUMBER` (`runs/mine/latest#12`, `journal:///study.log#best`).

    Raises InputError or RecipeError where there is none.
    """
    where, sign, which = ref.rpartition("#")
    if sign and (which.isdigit() or which == BEST):
        found = searched(where, study)
        trial = found.trial(which)
        graph, values = _graph(recipe_of(trial)), found.values(trial)
        return Model(f"trial {trial.number}", graph, trial.costs or costs_of(graph), values)
    document = load(ref)
    graph = _graph(document)
    return Model(document.name, graph, costs_of(graph), {})


def compared(a: Model, b: Model) -> tuple[Diff, dict[str, tuple[float | None, float | None]]]:
    """What differs between two models: the edits of the graph, and every number that is known of either."""
    both = [{**one.values, **one.costs} for one in (a, b)]
    return diff(a.graph, b.graph), {n: (both[0].get(n), both[1].get(n)) for n in dict.fromkeys([*both[0], *both[1]])}


def _graph(document: Document) -> Graph:
    return build(document.default, name=document.name)
