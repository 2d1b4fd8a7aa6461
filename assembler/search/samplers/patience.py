"""Stops a search that no longer finds anything better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.pareto import front
from assembler.search.samplers.base import SearchSpec, Values
from assembler.search.samplers.wrapper import Wrapper


@sampler("patience")
class Patience(Wrapper):
    """The sampler `of`, until `trials` choices in a row were told and none was better than all before.

    Of several objectives a choice is better if no earlier one dominates or equals it. What had no value is not better.
    """

    def __init__(self, spec: SearchSpec, *, trials: int = 20, of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        self._trials = at_least(1, "sampler 'patience'", "trials", trials)
        self._waited = 0
        self._best: list[Values] = []

    def ask(self) -> Choice | None:
        return super().ask() if self._waited < self._trials else None

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        super().tell(choice, values)
        self._waited += 1
        if values is None or values in self._best:
            return
        points = [*self._best, values]
        kept = [points[i] for i in front(points, ["maximize"] * len(values))]
        if values in kept:
            self._best, self._waited = kept, 0
