"""How a study stands, read from its storage by anybody at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assembler.search.crew import PREFIX, Crew
from assembler.search.pareto import Direction, front
from assembler.search.records import trial_of
from assembler.search.shared import ABOUT, StudyLog
from assembler.search.steering import BANS, TRIALS, WANTED
from assembler.search.trial import Trial

_LATEST = 50  # trials that the rate is measured on


@dataclass(frozen=True)
class Status:
    """Trials by state, the best, the front, what failed and why, the evaluations a second, the seconds left.

    `objectives` are the names of what is to be maximised or minimised, as `directions` say.
    `wanted` is how many evaluations there are to be; `rate` is over the latest, `left` is None where neither is known.
    """

    name: str
    objectives: tuple[str, ...]
    directions: tuple[Direction, ...]
    trials: tuple[Trial, ...]
    states: dict[str, int]
    evaluated: int
    wanted: int | None
    best: Trial | None
    front: tuple[Trial, ...]
    failures: dict[str, int]
    rate: float
    left: float | None
    workers: tuple[str, ...]
    bans: tuple[dict[str, str], ...]


def status(study: StudyLog) -> Status:
    """The state of a study now."""
    kept, facts = study.trials, study.facts
    trials = [trial_of(frozen) for frozen in kept]
    states = Counter("waiting" if k.state.name == "WAITING" else t.state for k, t in zip(kept, trials, strict=True))
    directions: tuple[Any, ...] = study.directions
    done = [t for t in trials if t.state == "complete" and t.values]
    best_of_all = tuple(done[i] for i in front([t.values or () for t in done], directions))
    evaluated = sum(t.counts for t in trials)
    wanted = max(int(facts.get(WANTED, 0)), int(facts.get(TRIALS, 0))) or None
    rate = _rate([k for k, t in zip(kept, trials, strict=True) if t.counts])
    return Status(
        study.name,
        _names(facts.get(ABOUT, {}).get("objectives", ()), len(directions)),
        directions,
        tuple(trials),
        dict(states),
        evaluated,
        wanted,
        best_of_all[0] if best_of_all else None,
        best_of_all,
        dict(Counter(t.reason for t in trials if t.state == "failed").most_common()),
        rate,
        (wanted - evaluated) / rate if wanted and rate else None,
        _at_work(facts, study.grace),
        tuple(facts.get(BANS, ())),
    )


def _names(said: Sequence[str], count: int) -> tuple[str, ...]:
    """What the objectives are called: as the search said, else values by number."""
    if len(said) == count:
        return tuple(said)
    return ("value",) if count == 1 else tuple(f"value {i}" for i in range(1, count + 1))


def _rate(ended: Sequence[Any]) -> float:
    """Evaluations a second, over the latest ones."""
    times: list[datetime] = sorted(t.datetime_complete for t in ended if t.datetime_complete)[-_LATEST:]
    begun = [t.datetime_start for t in ended if t.datetime_complete in times and t.datetime_start]
    if not times or not begun:
        return 0.0
    seconds = (times[-1] - min(begun)).total_seconds()
    return len(times) / seconds if seconds > 0 else 0.0


def _at_work(facts: dict[str, Any], grace: float) -> tuple[str, ...]:
    """Who works on it, as far as one look tells."""
    dead = Crew(grace).dead(facts)
    members = {k.removeprefix(PREFIX): f for k, f in facts.items() if k.startswith(PREFIX)}
    return tuple(f"{f['host']}:{f['pid']} ({f['workers']})" for name, f in members.items() if name not in dead)
