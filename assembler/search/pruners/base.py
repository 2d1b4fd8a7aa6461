"""What every pruner is: it hears what trials report on their way and says which are to end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from assembler.search.samplers.base import Values

Point = tuple[int, Values]
"""A step, counted from 1 (of a training the epochs so far), and the values then."""
Ended = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class PruneSpec:
    """What a pruner is made for: how many objectives, the last step that a trial may come to where that is known."""

    objectives: int = 1
    steps: int | None = None


class Pruner(ABC):
    """Ends trials early. Inside, more is always better: who minimises reports the negated values.

    A subclass is registered with `@pruner`; the keywords of its `__init__` after the `*` are its options. The same
    reports and ends in the same order give the same answers, so that a study's past can be told to a new one.
    """

    multi: ClassVar[bool] = False
    """Whether it takes reports of several objectives; otherwise it is made for one alone."""

    def __init__(self, spec: PruneSpec) -> None:
        self.spec = spec
        self.curves: dict[int, list[Point]] = {}
        self.ended: dict[int, Ended] = {}

    def report(self, trial: int, step: int, values: Values) -> str:
        """Take in what a trial has come to; why it is to end here, or "" if it may go on."""
        self.curves.setdefault(trial, []).append((step, values))
        return self.reason(trial)

    def close(self, trial: int, how: Ended) -> None:
        """Take in that a trial has ended."""
        self.ended[trial] = how

    def recall(self, trial: int, curve: Sequence[Point], how: Ended) -> None:
        """Take in a trial of the past; what it would have been told is not asked."""
        for step, values in curve:
            self.report(trial, step, values)
        self.close(trial, how)

    @abstractmethod
    def reason(self, trial: int) -> str:
        """Why a trial is to end at its latest report, or ""."""

    def at(self, trial: int, step: int) -> Values | None:
        """What a trial had come to at a step: its last report until then."""
        return next((values for s, values in reversed(self.curves.get(trial, ())) if s <= step), None)
