"""Gives a choice whose evaluation failed another chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.least import at_least
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import SearchSpec, Values
from assembler.search.samplers.wrapper import Wrapper


@sampler("retry")
class Retry(Wrapper):
    """Asks again, `times` times at most, for a choice of the sampler `of` that had no value, before it is told so."""

    def __init__(self, spec: SearchSpec, *, times: int = 1, of: str | dict[str, Any] = "evolution") -> None:
        super().__init__(spec, of)
        self._times = at_least(1, "sampler 'retry'", "times", times)
        self._again: deque[Choice] = deque()
        self._failed: dict[Frozen, int] = {}

    def ask(self) -> Choice | None:
        return self._again.popleft() if self._again else super().ask()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        key = frozen(choice)
        if values is None and self._failed.get(key, 0) < self._times:
            self._failed[key] = self._failed.get(key, 0) + 1
            self._again.append(dict(choice))
            return
        self._failed.pop(key, None)
        super().tell(choice, values)

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return frozen(choice) in self._failed or super().renewed(choice)
