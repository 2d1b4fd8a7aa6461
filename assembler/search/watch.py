"""Who looks on while a search goes on."""

from __future__ import annotations

from collections.abc import Callable

from assembler.search.trial import Trial


class Watch:
    """Called with each new trial that has ended; a subclass may hear of the others and of how many there are to be."""

    def __init__(self, tell: Callable[[Trial], None] = lambda trial: None) -> None:
        self._tell = tell

    def __call__(self, trial: Trial) -> None:
        self._tell(trial)

    def heard(self, trial: Trial) -> None:
        """A trial that ended before this search began, or elsewhere."""

    def wanted(self, trials: int) -> None:
        """How many evaluations there are to be now."""


OnTrial = Callable[[Trial], None] | Watch | None
