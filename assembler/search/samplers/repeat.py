"""Evaluates every choice several times, for values that are noisy."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import SearchSpec, Values
from assembler.search.samplers.wrapper import Wrapper, at_least_one


@sampler("repeat")
class Repeat(Wrapper):
    """Asks for each choice of the sampler `of` `times` times and tells it the mean, once all of them are told.

    Evaluations without a value do not count; a choice that never has one has none. Each evaluation is a trial.
    """

    def __init__(self, spec: SearchSpec, *, times: int = 3, of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        self._times = at_least_one("repeat", "times", times)
        self._again: deque[Choice] = deque()
        self._told: dict[Frozen, list[Values | None]] = {}

    def ask(self) -> Choice | None:
        if not self._again:
            choice = super().ask()
            if choice is None:
                return None
            self._told[frozen(choice)] = []
            self._again.extend([choice] * self._times)
        return dict(self._again.popleft())

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        told = self._told.get(frozen(choice))
        if told is None:
            super().tell(choice, values)
            return
        told.append(values)
        if len(told) == self._times:
            del self._told[frozen(choice)]
            found = [v for v in told if v is not None]
            means = tuple(sum(column) / len(found) for column in zip(*found, strict=True))
            super().tell(choice, means if found else None)

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return bool(self._told.get(frozen(choice))) or super().renewed(choice)
