"""Every choice of a space, in order."""

from __future__ import annotations

from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.moves import Frozen, every, frozen
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("grid")
class Grid(Sampler):
    """All choices, the last decision changing fastest; a float takes `steps` values, evenly spaced on its scale."""

    multi = True

    def __init__(self, spec: SearchSpec, *, steps: int = 5) -> None:
        super().__init__(spec)
        self._left = every(spec.space, at_least(1, "sampler 'grid'", "steps", steps))
        self._told: set[Frozen] = set()

    def ask(self) -> Choice | None:
        return next((c for c in self._left if frozen(c) not in self._told), None)

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._told.add(frozen(choice))
