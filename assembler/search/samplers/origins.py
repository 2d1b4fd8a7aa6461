"""What a sampler's model proposed its choices from."""

from __future__ import annotations

import math
from collections.abc import Mapping

from assembler.recipe.choices import Choice, Pick
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Origin, Values


class Origins:
    """Of each choice that a sampler's model proposed, how many values it knew then, and of which choice the best was.

    `name` is the sampler's. Best is what is best in the first objective.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._known = 0
        self._best: Choice | None = None
        self._value = -math.inf
        self._found: dict[Frozen, Origin] = {}

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        """Take in what a choice is worth."""
        if values is not None:
            self._known += 1
            if values[0] > self._value:
                self._value, self._best = values[0], dict(choice)

    def propose(self, choice: Mapping[str, Pick], what: str = "it", more: str = "") -> None:
        """Note that the model proposes a choice now, or only `what` of it."""
        said = f"{self._name} proposed {what} from the values of {self._known} trials{more}"
        self._found[frozen(choice)] = Origin(said, self._best)

    def of(self, choice: Mapping[str, Pick]) -> Origin | None:
        """Where a choice came from; None where the model did not propose it."""
        return self._found.get(frozen(choice))
