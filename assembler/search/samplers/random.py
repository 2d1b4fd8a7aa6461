"""Random search that does not repeat itself."""

from __future__ import annotations

import random
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick, Space
from assembler.registry import sampler
from assembler.search.exact import Additive
from assembler.search.moves import Unseen
from assembler.search.samplers.base import Sampler


@sampler("random")
class Random(Sampler):
    """Every decision uniformly at random; in a finite space no choice twice, and all of them in the end."""

    def __init__(self, space: Space, *, seed: int = 0, additive: Additive | None = None) -> None:
        super().__init__(space, seed=seed, additive=additive)
        self._unseen = Unseen(space, random.Random(seed))

    def ask(self) -> Choice | None:
        return self._unseen.draw()

    def tell(self, choice: Mapping[str, Pick], value: float | None) -> None:
        self._unseen.add(choice)
