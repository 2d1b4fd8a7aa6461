"""The open choices of a recipe as checks know them, and searches among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from assembler.errors import RecipeError
from assembler.recipe.choices import TRAINED, Choice, Space, score
from assembler.recipe.document import Document
from assembler.search import SearchSpec, make, run
from assembler.search.study import Study

Score = Callable[[Choice], float]


@dataclass(frozen=True)
class Openings:
    """The choices of a recipe, and the `sampler` that it is searched with. `costs` gives some costs of candidates.

    `worth` is the validation of a choice that was trained, where all are.
    """

    document: Document
    sampler: str | Mapping[str, Any]
    costs: Callable[[Collection[str]], Callable[[Choice], dict[str, float]]]
    worth: Score | None = None

    @property
    def space(self) -> Space:
        """The decisions that are open."""
        return self.document.space

    def objective(self, said: str) -> Score:
        """An expression over decisions and costs as a function of a choice, or its worth. Raises RecipeError."""
        if said == TRAINED:
            if self.worth is None:
                hint = "arms: {random: {search.sampler: random}}, metric: {check: found, objective: validation}"
                raise RecipeError("choices are trained for the metric of arms alone", hint=hint)
            return self.worth
        rule = score(said, self.document.model, "objective")
        costs = self.costs(rule.costs) if rule.costs else lambda _: {}
        return lambda choice: float(rule.value(choice, costs(choice)))

    def search(self, objective: Score, trials: int, seed: int) -> Study:
        """A search with the recipe's sampler for so many choices; what breaks `where:` is refused."""
        sampler = make(self.sampler, SearchSpec(self.space, seed))
        cost = self.costs(self.space.costs) if self.space.costs else None
        return run(self.space, objective, sampler, trials, cost=cost, where=self.space.refusal)
