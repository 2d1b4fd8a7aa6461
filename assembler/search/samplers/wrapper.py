"""What samplers around a sampler have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from assembler.recipe.choices import Choice, Pick
from assembler.search.samplers import make
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values


class Wrapper(Sampler):
    """Passes everything on to the sampler `of`, a name or a mapping with its options; subclasses change one thing."""

    multi: ClassVar[bool] = True
    moves: ClassVar[bool] = True

    def __init__(self, spec: SearchSpec, of: str | Mapping[str, Any]) -> None:
        super().__init__(spec)
        self.inner = make(of, spec)

    def ask(self) -> Choice | None:
        return self.inner.ask()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self.inner.tell(choice, values)

    def most(self) -> float:
        return self.inner.most()

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return self.inner.renewed(choice)

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self.inner.parent(choice)

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self.inner.origin(choice)

    def estimate(self, choice: Mapping[str, Pick]) -> float | None:
        return self.inner.estimate(choice)
