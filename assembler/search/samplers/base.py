"""What every sampler is: it is asked for choices and told what came of them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from assembler.graph import Graph
from assembler.recipe.choices import Choice, Pick, Space
from assembler.search.exact import Additive
from assembler.search.growth import Growth

Values = tuple[float, ...]
"""What a choice is worth, one number an objective. To a sampler more is always better."""


class Origin(NamedTuple):
    """Where a choice came from that was made from no single other one: in words, with the best one known then."""

    words: str
    best: Choice | None = None


@dataclass(frozen=True)
class SearchSpec:
    """What a sampler is made for: the space, the seed, how many objectives its choices are judged by.

    `graph` gives the architecture of a choice, for samplers that look at it; `additive` holds scores of trained parts;
    `growth` knows the moves that the graph of a choice allows. Each is None where there is none.
    """

    space: Space
    seed: int = 0
    objectives: int = 1
    graph: Callable[[Choice], Graph] | None = None
    additive: Additive | None = None
    growth: Growth | None = None


class Sampler(ABC):
    """Proposes choices of a space. Inside, more is always better: who minimises tells the negated value.

    A subclass is registered with `@sampler`; the keywords of its `__init__` after the `*` are its options. It may be
    told choices that it did not ask for (a study's history), and not be told some that it did; several may be open.
    """

    multi: ClassVar[bool] = False
    """Whether it searches for the front of several objectives; otherwise it is made for one alone."""
    moves: ClassVar[bool] = False
    """Whether it rewrites graphs, where the space has moves; otherwise it is given the space without them."""

    def __init__(self, spec: SearchSpec) -> None:
        self.spec = spec
        self.space = spec.space

    @abstractmethod
    def ask(self) -> Choice | None:
        """The next choice to evaluate; None when there is nothing left to ask."""

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:  # noqa: B027 - many need not listen
        """What a choice is worth, or None where it could not be evaluated or breaks a constraint."""

    def most(self) -> float:
        """How many choices it asks for at most that are to be evaluated: by itself, those of the space."""
        return math.inf if self.space.size is None else self.space.size

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        """Whether a choice that is known is to be evaluated again, because it was asked for once more on purpose."""
        return False

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        """The choice that one it asked for was made from by a change; None where it was made from nothing."""
        return None

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        """How a choice without a parent came about, where it was not drawn at random."""
        return None

    def estimate(self, choice: Mapping[str, Pick]) -> float | None:
        """The additive score of a choice, lower is better; None where there is none."""
        additive = self.spec.additive
        if additive is None:
            return None
        picks = {slot: pick for slot in additive.scores if isinstance(pick := choice.get(slot), int)}
        if len(picks) < len(additive.scores):
            return None
        score = additive.score(picks)
        return score if math.isfinite(score) else None
