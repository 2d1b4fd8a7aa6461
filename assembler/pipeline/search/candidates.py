"""The candidates of a search: the graph, fingerprint and costs of a choice, made once while it is looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from assembler.errors import RecipeError
from assembler.graph.core import Graph
from assembler.graph.text import to_text
from assembler.infer.parts import variant_cost
from assembler.pipeline.search.costs import BUDGETED, costs_of
from assembler.recipe.choices import Choice, Pick, Space, decide, space
from assembler.recipe.choices.decision import MOVES
from assembler.recipe.values import Leaf, Map, plain
from assembler.recipe.write import to_yaml
from assembler.search.growth import Growth
from assembler.wiring.variants import Variant, Variants

_KEPT = 64


class Candidates:
    """The candidates of a model's open choices. `costs` are reckoned beside those that the space's `where` reads.

    What two candidates have in common is laid out, wired, verified and measured once; `steps` is a table of latencies.
    """

    def __init__(
        self,
        model: Map,
        name: str,
        costs: Collection[str] = BUDGETED,
        steps: dict[str, float] | None = None,
    ) -> None:
        self.model, self.name = model, name
        self.space: Space = space(model)
        self.wanted = {*costs, *self.space.costs}
        self.growth = _growth(model, self.space, self._built)
        self._variants = Variants(model, self.space, name)
        self._kept: dict[tuple[tuple[str, Pick], ...], Variant] = {}
        self._steps: dict[str, float] = {} if steps is None else steps

    def begin(self) -> None:
        """Raise RecipeError where constraints on decisions leave no choice at all, with those that do."""
        if problem := self.space.contradiction():
            raise RecipeError(problem)

    def graph(self, choice: Choice) -> Graph:
        """The graph of a choice, verified. Raises RecipeError where it cannot be built."""
        return self._variant(choice).graph

    def fingerprint(self, choice: Choice) -> str:
        """What equal graphs share."""
        return self._variant(choice).fingerprint

    def cost(self, choice: Choice) -> dict[str, float]:
        """The costs of a choice by name."""
        variant = self._variant(choice)
        if self.wanted <= {"params", "flops"}:
            cost = variant_cost(variant)
            return {name: float(getattr(cost, name)) for name in BUDGETED if name in self.wanted}
        return costs_of(variant.graph, self.wanted, self._steps)

    def refusal(self, choice: Choice, costs: Mapping[str, float] | None = None) -> str:
        """Why a choice breaks a constraint, by decisions or, with `costs`, by what it costs; empty where none does."""
        return self.space.refusal(choice, costs)

    def recipe(self, choice: Choice) -> str:
        """The recipe of a choice as text, from which the same graph can be built."""
        return to_yaml(recipe_of(self.model, choice, self.name))

    @property
    def text(self) -> str:
        """The recipe with its choices open, as text."""
        return to_yaml(self.model.drop("set"))

    @property
    def facts(self) -> dict[str, Any]:
        """What else is to be known of a study of them."""
        return {}

    def _variant(self, choice: Choice) -> Variant:
        key = tuple(choice.items())
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            made = Variant(self.growth.graph(choice)) if self.growth else self._variants.variant(choice)
            self._kept[key] = made
        return self._kept[key]

    def _built(self, choice: Choice) -> Graph:
        return self._variants.variant(choice).graph


def recipe_of(model: Map, choice: Mapping[str, Pick], name: str) -> Map:
    """The recipe of a choice, without what was there to be chosen; after moves one whose graph is written as text."""
    recipe = decide(model, choice).drop("where", MOVES, "set")
    if not choice.get(MOVES):
        return recipe
    graph = Candidates(model, name).graph(dict(choice))
    kept = [(key, recipe.get(key)) for key in ("kind", "name", "doc") if key in recipe]
    return Map((*kept, ("graph", Leaf(to_text(graph)))))


def _growth(model: Map, found: Space, built: Any) -> Growth | None:
    if found.moves is None:
        return None
    section = plain(model.get(MOVES))
    return Growth(tuple(section["of"] if isinstance(section, dict) else section), built, found.moves.k)
