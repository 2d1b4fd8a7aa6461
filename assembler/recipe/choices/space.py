"""All decisions of a recipe, and what can be said of them together: which are open, how many choices there are."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from assembler.errors import Problem, RecipeError, near
from assembler.recipe.choices.counting import Tree
from assembler.recipe.choices.decision import MOVES, Choice, Decision, Pick

if TYPE_CHECKING:
    from assembler.recipe.choices.feasible import Feasible
    from assembler.recipe.choices.where import Rule

_PICK = re.compile(r"\.\d+\[")
"""The place of one of several picks in the name of a decision inside it."""


@dataclass(frozen=True)
class Space:
    """Decisions in the order of the recipe, those inside a candidate right behind the one that picks it.

    `where` are the constraints on its choices, by decisions and by costs.
    """

    decisions: tuple[Decision, ...]
    where: tuple[Rule, ...] = field(default=())

    @cached_property
    def _tree(self) -> Tree:
        return Tree(self.decisions)

    @cached_property
    def _feasible(self) -> Feasible:
        from assembler.recipe.choices.feasible import Feasible  # few recipes are counted

        return Feasible(self._tree, self.where)

    def active(self, choice: Mapping[str, Pick]) -> list[Decision]:
        """The decisions that are open under what `choice` has already picked."""
        return [d for d, _ in self._tree.walk(lambda d: choice.get(d.name))]

    def made(self, pick: Callable[[Decision], Pick]) -> Choice:
        """The choice in which every decision that is open is picked by `pick`."""
        return {d.name: picked for d, picked in self._tree.walk(pick)}

    # -- how many ----------------------------------------------------------------------------------------------------

    @cached_property
    def size(self) -> int | None:
        """How many choices there are, whatever `where` says; None where a float or moves make them countless."""
        if any(d.size is None for d in self.decisions):
            return None
        return self._tree.total

    def count(self, most: int = 200_000) -> int | None:
        """How many choices meet those constraints that read decisions alone; exact, or None.

        None where the space is countless, and where more than `most` combinations of the decisions that the
        constraints tie together would have to be looked at.
        """
        return None if self.size is None else self._feasible.count(most)

    def contradiction(self, most: int = 200_000) -> Problem | None:
        """Which constraints on decisions leave no choice at all; None where some choice is left, or it is not known."""
        return self._feasible.contradiction(most)

    def refusal(self, choice: Mapping[str, Pick], costs: Mapping[str, float] | None = None) -> str:
        """Why a choice breaks `where`, naming the constraint; empty where it keeps to it.

        Without `costs` only the constraints that read decisions alone are looked at, with `costs` only the others.
        """
        for rule in self.where:
            if bool(rule.costs) is (costs is not None) and (reason := rule.refusal(choice, costs or {})):
                return reason
        return ""

    @property
    def costs(self) -> frozenset[str]:
        """The costs that `where` reads."""
        return frozenset(cost for rule in self.where for cost in rule.costs)

    # -- choices -----------------------------------------------------------------------------------------------------

    @property
    def first(self) -> Choice:
        """The choice of every first candidate."""
        return next(self.covering())

    def covering(self) -> Iterator[Choice]:
        """Choices that between them pick every candidate of every decision; the first is all first candidates.

        What is written once inside the candidates of several picks is one decision here, whichever pick it is in.
        """
        written = {d.name: _PICK.sub("[", d.name) for d in self.decisions}
        spread = {written[d.name]: d.spread() for d in self.decisions}
        waiting = {d.name: spread[written[d.name]] for d in self.decisions}
        while True:
            left = sum(map(len, spread.values()))
            choice = self.made(lambda d: waiting[d.name].pop(0) if waiting[d.name] else self._towards(d, waiting))
            if left and left == sum(map(len, spread.values())):
                return
            yield choice
            if not any(spread.values()):
                return

    def _towards(self, decision: Decision, waiting: Mapping[str, list[Pick]]) -> Pick:
        """The pick under which a decision still has picks waiting, or the first one."""
        for d in self.decisions:
            if waiting[d.name]:
                for name, condition in d.when:
                    if name == decision.name:
                        return decision.holding(condition)
        return decision.first

    def sample(self, rng: random.Random) -> Choice:
        """A choice with every open decision picked uniformly, so that rich candidates are as likely as poor ones."""
        return self.made(lambda d: d.sample(rng))

    def uniform(self, rng: random.Random, most: int = 200_000) -> Choice:
        """A choice, all that meet the constraints on decisions being equally likely; of floats each alone.

        Exact: candidates are weighted by how many choices lie under them, and so are the combinations of decisions
        that constraints tie together, up to `most`. Beyond that choices are drawn until one fits.
        Raises RecipeError where none is found, with the constraints that leave nothing if that can be told.
        """
        return self._feasible.draw(rng, most)

    def every(self, steps: int = 5) -> Iterator[Choice]:
        """Every choice that meets the constraints on decisions, the last decision changing fastest.

        Floats are taken at `steps` values, evenly spaced on their scale; no moves are made.
        """
        return (c for c in self._tree.every(steps) if not self.refusal(c))

    # -- what was picked ---------------------------------------------------------------------------------------------

    def check(self, choice: Mapping[str, Pick]) -> None:
        """Raise RecipeError unless `choice` picks an allowed value for every active decision and nothing else.

        Moves may be left out, which is to make none.
        """
        known = {d.name: d for d in self.active(choice)}
        problems = [
            Problem(f"there is no decision '{name}'", hint=near(name, known)) for name in choice if name not in known
        ]
        for name, d in known.items():
            if name not in choice:
                if d.kind != MOVES:
                    hint = f"candidates: {', '.join(d.labels)}"
                    problems.append(Problem(f"decision '{name}' is not made", hint=hint))
            elif not d.accepts(choice[name]):
                problems.append(Problem(f"decision '{name}' cannot be {choice[name]!r}"))
        if problems:
            raise RecipeError(problems)

    def named(self, choice: Mapping[str, Pick]) -> dict[str, str]:
        """The choice with labels in place of indexes, for tables and logs."""
        return {name: self._tree.by_name[name].label(pick) for name, pick in choice.items()}

    @property
    def moves(self) -> Decision | None:
        """The decision on rewrites of the graph, where the space has moves."""
        return next((d for d in self.decisions if d.kind == MOVES), None)

    @property
    def unmoved(self) -> Space:
        """This space without its moves."""
        return Space(tuple(d for d in self.decisions if d.kind != MOVES), self.where)
