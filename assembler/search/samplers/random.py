"""Random search that does not repeat itself."""

from __future__ import annotations

import random
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Unseen
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("random")
class Random(Sampler):
    """Every decision uniformly at random; in a finite space no choice twice, and all of them in the end."""

    multi = True

    def __init__(self, spec: SearchSpec) -> None:
        super().__init__(spec)
        self._unseen = Unseen(spec.space, random.Random(spec.seed))

    def ask(self) -> Choice | None:
        return self._unseen.draw()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
