"""Spares a search the choices that it has seen, under whatever name."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from assembler.errors import RecipeError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Unseen, frozen
from assembler.search.samplers.base import SearchSpec, Values
from assembler.search.samplers.wrapper import Wrapper

_ASKED = 20  # times in a row that a sampler may ask for what is known
_DRAWN = 1000  # choices in a row that may build what is known


@sampler("distinct")
class Distinct(Wrapper):
    """The sampler `of`, which is told at once what it asks for again.

    The same is a choice that builds the same architecture, where the study builds them, and else an equal choice. Where
    it asks for known ones only, a new one is drawn at random; the search ends where there is none.
    """

    def __init__(self, spec: SearchSpec, *, of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        self._known: dict[Any, Values | None] = {}
        self._unseen = Unseen(spec.space, random.Random(spec.seed))

    def ask(self) -> Choice | None:
        for _ in range(_ASKED):
            choice = super().ask()
            if choice is None:
                return None
            key = self._key(choice)
            if key not in self._known:
                return choice
            super().tell(choice, self._known[key])
        drawn = (self._unseen.draw() for _ in range(_DRAWN))
        return next((c for c in drawn if c is None or self._key(c) not in self._known), None)

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
        self._known[self._key(choice)] = values
        super().tell(choice, values)

    def _key(self, choice: Mapping[str, Pick]) -> Any:
        if self.spec.graph is None:
            return frozen(choice)
        try:
            return self.spec.graph(dict(choice)).fingerprint
        except RecipeError:
            return frozen(choice)
