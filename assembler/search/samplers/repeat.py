"""Evaluates every choice several times, for values that are noisy."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import SearchSpec, Values
from assembler.search.samplers.wrapper import Wrapper


@sampler("repeat")
class Repeat(Wrapper):
    """Asks for each choice of the sampler `of` `times` times and tells it the mean, once all of them are told.

    Evaluations without a value do not count; a choice that never has one has none. Each evaluation is a trial. What it
    asks for again later has the mean that is known.
    """

    def __init__(self, spec: SearchSpec, *, times: int = 3, of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        self._times = at_least(1, "sampler 'repeat'", "times", times)
        self._again: deque[Choice] = deque()
        self._asked: Counter[Frozen] = Counter()
        self._told: dict[Frozen, list[Values | None]] = {}
        self._means: dict[Frozen, Values | None] = {}

    def ask(self) -> Choice | None:
        if not self._again:
            choice = super().ask()
            if choice is None:
                return None
            if frozen(choice) in self._means or frozen(choice) in self._told:
                return choice
            self._told[frozen(choice)] = []
            self._again.extend([choice] * self._times)
        choice = dict(self._again.popleft())
        self._asked[frozen(choice)] += 1
        return choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        told = self._told.get(frozen(choice))
        if told is None:
            super().tell(choice, self._means.get(frozen(choice), values))
            return
        told.append(values)
        if len(told) == self._times:
            del self._told[frozen(choice)], self._asked[frozen(choice)]
            found = [v for v in told if v is not None]
            means = tuple(sum(column) / len(found) for column in zip(*found, strict=True))
            self._means[frozen(choice)] = means if found else None
            super().tell(choice, self._means[frozen(choice)])

    def most(self) -> float:
        return self._times * super().most()

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return self._asked[frozen(choice)] > 1 or super().renewed(choice)
