"""Where trials are written down as they begin and end, and what others have written there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from assembler.recipe.choices import Choice
from assembler.search.trial import Trial


@dataclass(frozen=True)
class Queued:
    """A trial that waits to be begun: somebody wants it, or the worker of its first attempt died."""

    number: int
    choice: Choice
    problem: str = ""
    """Why its choice has no place in the space; empty where it has one."""


@dataclass(frozen=True)
class Orders:
    """What was said to a search while it runs: stop, refuse some choices, do more trials than were asked for."""

    stop: bool = False
    bans: tuple[Mapping[str, str], ...] = ()
    trials: int = 0


@dataclass(frozen=True)
class News:
    """What others have done since one last looked, and what they are at."""

    ended: tuple[Trial, ...] = ()
    running: tuple[Trial, ...] = ()
    queued: tuple[Queued, ...] = ()
    orders: Orders = field(default=Orders())


class Log(Protocol):
    """Trials in the order in which they began. Only one's own trials are ended, each once."""

    @property
    def shared(self) -> bool:
        """Whether others write here too."""

    def start(self, trial: Trial, queued: Queued | None = None) -> Trial | None:
        """Write down that a trial begins; returns it with its number, None where another has taken it off the queue.

        One that is not running is ended at once.
        """

    def end(self, trial: Trial) -> bool:
        """Write down what came of a trial; False where another has ended it."""

    def news(self) -> News:
        """What others did."""


class Memory:
    """A log that nobody else sees; numbers go on after those of `history`."""

    shared = False

    def __init__(self, history: Iterable[Trial] = ()) -> None:
        self._next = max((t.number for t in history), default=-1) + 1

    def start(self, trial: Trial, queued: Queued | None = None) -> Trial:
        self._next += 1
        return replace(trial, number=self._next - 1)

    def end(self, trial: Trial) -> bool:
        return True

    def news(self) -> News:
        return News()
