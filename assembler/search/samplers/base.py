"""What every sampler is: it is asked for choices and told their values."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick, Space
from assembler.search.exact import Additive


class Sampler(ABC):
    """Proposes choices of a space. Inside, more is always better: who minimises tells the negated value.

    A subclass is registered with `@sampler`; the keywords of its `__init__` after `additive` are its options. It may be
    told choices that it did not ask for (a study's history), and not be told some that it did.
    """

    def __init__(self, space: Space, *, seed: int = 0, additive: Additive | None = None) -> None:
        self.space = space
        self.seed = seed
        self.additive = additive

    @abstractmethod
    def ask(self) -> Choice | None:
        """The next choice to evaluate; None when there is nothing left to ask."""

    def tell(self, choice: Mapping[str, Pick], value: float | None) -> None:  # noqa: B027 - many need not listen
        """The value of a choice, or None where it could not be evaluated or does not fit the budget."""

    def estimate(self, choice: Mapping[str, Pick]) -> float | None:
        """The additive score of a choice, lower is better; None where there is none."""
        if self.additive is None:
            return None
        picks = {slot: pick for slot in self.additive.scores if isinstance(pick := choice.get(slot), int)}
        if len(picks) < len(self.additive.scores):
            return None
        score = self.additive.score(picks)
        return score if math.isfinite(score) else None
