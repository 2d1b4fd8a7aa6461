"""A sampler that asks for some choices before it goes on with another's."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from assembler.recipe.choices import Choice, Pick
from assembler.search.moves import frozen
from assembler.search.samplers.base import Origin, Sampler, Values


class First(Sampler):
    """Asks for `choices`, but those that it was told of, then for what `inner` asks for."""

    def __init__(self, inner: Sampler, choices: Iterable[Choice]) -> None:
        super().__init__(inner.spec)
        self.inner = inner
        self._choices = deque(choices)

    def ask(self) -> Choice | None:
        return self._choices.popleft() if self._choices else self.inner.ask()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._choices = deque(c for c in self._choices if frozen(c) != frozen(choice))
        self.inner.tell(choice, values)

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self.inner.parent(choice)

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self.inner.origin(choice)

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return self.inner.renewed(choice)

    def estimate(self, choice: Mapping[str, Pick]) -> float | None:
        return self.inner.estimate(choice)
