"""Who evaluates trials: several at a time elsewhere, or one at a time in this process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from assembler.errors import InputError, PrunedError
from assembler.search.judge import say
from assembler.search.samplers.base import Values
from assembler.search.trial import Inherited, Trial


@dataclass(frozen=True)
class Outcome:
    """What came of an evaluation: values, or the reason why there are none."""

    values: Values | None
    reason: str = ""
    state: Literal["complete", "pruned", "failed"] = "complete"
    curve: tuple[tuple[int, Values], ...] = ()
    inherited: Inherited | None = None


class Evaluator(Protocol):
    """Evaluates up to `workers` trials at the same time."""

    @property
    def workers(self) -> int:
        """How many trials may be open."""

    def submit(self, trial: Trial) -> None:
        """Begin with a trial. It is evaluated as seed `study's + trial.repeat`, so that equal ones are equal."""

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        """Numbers of trials that have ended, and their outcomes; waits for the first one, that long at most."""

    def heard(self, trial: Trial) -> None:
        """A trial has ended: here, elsewhere, or in the past that is gone on with."""


class InProcess:
    """Evaluates one trial at a time, here: what `objective` raises fails the trial alone.

    It gives values or an outcome, of which `read` makes what the trial is worth; `heard` gets ended trials. A trial may
    take `limit` seconds. Then it is interrupted, which what runs in native code notices at its end only.
    """

    workers = 1

    def __init__(
        self,
        objective: Callable[[Trial], object],
        limit: float | None = None,
        read: Callable[[Trial, Outcome], Outcome] = lambda trial, found: found,
        heard: Callable[[Trial], None] = lambda trial: None,
    ) -> None:
        if limit is not None and threading.current_thread() is not threading.main_thread():
            hint = "call it from the main thread, or with several workers"
            raise InputError("a time limit for trials needs the main thread, or worker processes", hint=hint)
        self._objective = objective
        self._limit = limit
        self._read = read
        self._heard = heard
        self._open: list[Trial] = []

    def submit(self, trial: Trial) -> None:
        self._open.append(trial)

    def wait(self, seconds: float | None) -> list[tuple[int, Outcome]]:
        ended = [self._open.pop(0) for _ in self._open[:1]]
        return [(trial.number, self._read(trial, self._evaluated(trial))) for trial in ended]

    def heard(self, trial: Trial) -> None:
        self._heard(trial)

    def _evaluated(self, trial: Trial) -> Outcome:
        try:
            with limited(self._limit):
                return outcome(self._objective(trial))
        except _TimeUp:
            return Outcome(None, f"it took longer than {self._limit:g} s and was ended", "failed")
        except PrunedError as error:
            return Outcome(None, error.problems[0].message, "pruned", tuple(error.curve))
        except Exception as error:
            return Outcome(None, say(error), "failed")


class _TimeUp(BaseException):
    """Nobody's `except Exception` is to catch it."""


@contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Interrupt the block with an error of its own after that many seconds. For the main thread."""
    if seconds is None:
        yield
        return

    def stop(*_: Any) -> None:
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def outcome(found: object) -> Outcome:
    """What an objective returned, as an outcome: one number, or several in a row."""
    if isinstance(found, Outcome):
        return found
    several = isinstance(found, Sequence) and not isinstance(found, str)
    try:
        return Outcome(tuple(float(v) for v in (found if several else [found])))  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        said = f"the objective gave {found!r:.80}, which is no number"
        return Outcome(None, said, "failed")
