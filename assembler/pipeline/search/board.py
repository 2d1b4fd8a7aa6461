"""What a search has come to so far, for those who watch it: the best, the front, its pace, what failed and why."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from assembler.report.numbers import figure
from assembler.search.pareto import Direction, front
from assembler.search.trial import Trial

_SHOWN = 3
_STATES = ("pruned", "failed", "infeasible", "duplicate")


@dataclass
class Board:
    """Trials as they end. `goals` are the objectives and what is to become of them; `wanted` evaluations are to be.

    Of those `evaluated` so many were `here`, which the pace goes by.
    """

    goals: Mapping[str, Direction]
    wanted: int
    name: str = "search"
    begin: float = field(default_factory=time.monotonic)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    front: list[Trial] = field(default_factory=list)
    evaluated: int = 0
    here: int = 0

    @property
    def best(self) -> Trial | None:
        """The best in the first objective."""
        return self.front[0] if self.front else None

    def enter(self, trial: Trial, *, here: bool = True) -> bool:
        """Take a trial in that has ended; whether it is on the front now, of one objective whether it is the best."""
        self.states[trial.state] += 1
        self.evaluated += trial.counts
        self.here += trial.counts and here
        if trial.reason and trial.state in ("failed", "infeasible", "pruned"):
            self.reasons[trial.state, trial.reason] += 1
        if trial.state != "complete" or not trial.values:
            return False
        known = [*self.front, trial]
        points = [t.values or () for t in known]
        kept = [known[i] for i in front(points, list(self.goals.values()))]
        if len(self.goals) == 1:
            kept = kept[:1]
        new = trial in kept
        self.front = kept
        return new

    def lines(self) -> list[tuple[str, str]]:
        """What is to be seen at once: a head and words each."""
        found = []
        if self.best:
            found.append(("best so far", self.said(self.best)))
        if len(self.goals) > 1 and self.front:
            points = "; ".join(", ".join(f"{v:.4g}" for v in t.values or ()) for t in self.front[:_SHOWN])
            more = f"; {len(self.front) - _SHOWN} more" if len(self.front) > _SHOWN else ""
            found.append(("front", f"{len(self.front)} of {', '.join(self.goals)}: {points}{more}"))
        found.append(("trials", self.pace()))
        for (state, reason), times in self.reasons.most_common(_SHOWN):
            found.append((state, reason + (f" ({times:,} times)" if times > 1 else "")))
        return found

    def pace(self) -> str:
        """How many trials there are, of which state, how fast they come, and how long it takes at that rate."""
        seconds = time.monotonic() - self.begin
        others = [f"{self.states[state]:,} {state}" for state in _STATES if self.states[state]]
        said = [f"{self.evaluated:,} of {self.wanted:,}", *others]
        if self.here and seconds > 0:
            rate = self.here / seconds
            said.append(f"{rate:.1f}/s" if rate >= 1 else f"{60 * rate:.1f}/min")
            minutes, rest = divmod(round(max(0, self.wanted - self.evaluated) / rate), 60)
            said.append(f"{minutes}:{rest:02d} left")
        return ", ".join(said)

    def said(self, trial: Trial) -> str:
        """A trial in words: its number, values, costs and choice."""
        values = [f"{name} {figure(name, value)}" for name, value in zip(self.goals, trial.values or (), strict=False)]
        costs = [f"{figure(name, v)} {name}" for name, v in trial.costs.items() if name not in self.goals]
        choice = " ".join(f"{name}={label}" for name, label in trial.labels.items())
        return f"trial {trial.number}, {', '.join([*values, *costs])}: {choice}"
