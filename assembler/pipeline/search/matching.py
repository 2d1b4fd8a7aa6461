"""Which candidate of a space an ordinary recipe is."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

from assembler.errors import InputError, RecipeError
from assembler.graph.core import Graph
from assembler.graph.diff import Diff, diff
from assembler.pipeline.search.assemblies import Assemblies
from assembler.pipeline.search.candidates import Candidates
from assembler.recipe.choices import Choice
from assembler.recipe.choices.chosen import chosen
from assembler.recipe.choices.decision import MOVES
from assembler.recipe.document import Document
from assembler.search.moves import varied
from assembler.wiring.build import build

_HEAVY = 3  # how much another op weighs, against another argument
_SHOWN = 3


def choice_of(candidates: Candidates | Assemblies, recipe: Document) -> Choice:
    """The choice that builds the model of a recipe, by what is written where decisions are and by the graph.

    Decisions that are not told by the text are made one after another so that the graph comes nearer, and then moves.
    Raises InputError, with what the nearest candidate has otherwise, where none is found.
    """
    target, space = build(recipe.default, name=recipe.name), candidates.space
    said = chosen(candidates.model, space, recipe.default)
    choice = space.made(lambda d: said.get(d.name, d.first))
    search = _Nearer(candidates, target)
    choice = search.moved(search.decided(choice))
    if search.same(choice):
        return choice
    raise InputError(
        f"recipe '{recipe.name}' is no candidate of '{candidates.name}'",
        hint=f"of the nearest one it differs in {_listed(search.gap(choice))}",
    )


class _Nearer:
    """Changes a choice so that its graph comes nearer to a target."""

    def __init__(self, candidates: Candidates | Assemblies, target: Graph) -> None:
        self.candidates, self.target = candidates, target
        self._rng = random.Random(0)

    def decided(self, choice: Choice) -> Choice:
        """The nearest choice to be had by one decision after another."""
        before = None
        while choice != before and self.distance(choice):
            before = choice
            for d in self.candidates.space.decisions:
                nearest = None
                while nearest != choice:
                    nearest = choice
                    choice = self._nearest([choice, *varied(self.candidates.space, choice, d, self._rng)])
        return choice

    def moved(self, choice: Choice) -> Choice:
        """The nearest choice to be had by one move after another."""
        growth, before = self.candidates.growth, None
        while growth and choice != before and self.distance(choice):
            before, made = choice, choice.get(MOVES, ())
            assert isinstance(made, tuple)
            choice = self._nearest([choice, *({**choice, MOVES: (*made, m)} for m in growth.options(choice))])
        return choice

    def _nearest(self, choices: Iterable[Choice]) -> Choice:
        return min(choices, key=self.distance)

    def gap(self, choice: Choice) -> Diff:
        """The edits from a choice's graph to the target."""
        return diff(self.candidates.graph(choice), self.target)

    def distance(self, choice: Choice) -> float:
        """How much those edits weigh; infinite for what cannot be built."""
        try:
            found = self.gap(choice)
        except RecipeError:
            return math.inf
        whole = len(found.added) + len(found.removed)
        return (_HEAVY + 1) * whole + sum(_weight(what) for _, what in found.changed)

    def same(self, choice: Choice) -> bool:
        """Whether a choice builds the target, whatever its steps are called."""
        return self.distance(choice) == 0 or (
            self.distance(choice) < math.inf and self.candidates.fingerprint(choice) == self.target.fingerprint
        )


def _weight(what: str) -> float:
    """What a change weighs: another op more than another argument, a number that is near less than one that is far."""
    if what.startswith("op "):
        return _HEAVY
    try:
        before, after = (float(side.split()[-1]) for side in what.split(" -> "))
        gap = abs(before - after)
    except ValueError:
        return 1.0
    return 0.5 + 0.5 * gap / (1.0 + gap)


def _listed(gap: Diff) -> str:
    lines = str(gap).splitlines()
    return "; ".join(lines[:_SHOWN]) + (f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else "")
