"""What a search is made of: trials, and the study that they add up to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from assembler.recipe.choices import Choice, Pick
from assembler.search.samplers.base import Values

State = Literal["running", "complete", "pruned", "infeasible", "failed", "duplicate"]
Stop = Literal["trials", "exhausted", "timeout", "idle", "stopped"]


class Inherited(NamedTuple):
    """The trial whose weights another began with, and what became of each tensor, in words."""

    trial: int
    account: str


@dataclass(frozen=True)
class Trial:
    """One candidate: what was chosen, what came of it, and why if nothing did.

    `estimate` is the additive score (lower is better) where there is one; `key` the identity that duplicates share;
    `labels` is the choice in words; a trial of another space has labels and the text of its `recipe`, but no choice.
    `repeat` counts how often the same was evaluated before. A failed trial was begun `again` as another one where
    nothing but its worker was at fault. `parent` is the number of the trial that the sampler made its choice from.
    """

    number: int
    choice: Choice
    values: Values | None
    state: State
    costs: dict[str, float] = field(default_factory=dict)
    estimate: float | None = None
    reason: str = ""
    key: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    repeat: int = 0
    again: bool = False
    recipe: str = ""
    parent: int | None = None
    curve: tuple[tuple[int, Values], ...] = ()
    """What it had come to at each step that it reported."""
    origin: str = ""
    """How its sampler came to propose it, where it was neither drawn nor made from a parent."""
    best_known: int | None = None
    """The number of the best trial that the sampler knew then."""
    inherited: Inherited | None = None

    @property
    def value(self) -> float | None:
        """The first objective."""
        return self.values[0] if self.values else None

    @property
    def counts(self) -> bool:
        """Whether it is one of the evaluations that a search is given."""
        return self.state in ("complete", "pruned", "failed") and not self.again


@dataclass(frozen=True)
class Study:
    """All trials in order, the best complete one, how many were evaluated, and what ended the search.

    `best` is the best in the first objective; `front` the complete ones that no other dominates, it first. `final` is
    what it came to on validation when it was trained in the end, where no trial was a training, and `product` where
    that lies. `refused` candidates did not pass the screen.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    evaluated: int
    space_size: int | None
    stopped: Stop
    front: tuple[Trial, ...] = ()
    final: float | None = None
    product: str = ""
    refused: int = 0


def identity(choice: Mapping[str, Pick]) -> str:
    """A choice as one line of JSON, whatever order it was made in."""
    return json.dumps(dict(choice), sort_keys=True)
