"""A sampler behind a screen: many candidates are asked for and scored at no training cost, the best go through."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from assembler.recipe.choices import Choice, Pick
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Origin, Sampler, Values

_IDLE = 1000  # candidates without a score, after which a round is made of what there is


class Scorer(Protocol):
    """What gives candidates their scores, more being better."""

    def score(self, choice: Choice) -> float | None:
        """The score of a choice; None for one that cannot be trained. Infinity where nothing can be told yet."""

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        """What came of a choice that was trained."""


class Screen(Sampler):
    """The sampler `inner`, of whose choices only the best go through: in rounds of `of`, the share `keep` by `scorer`.

    The best of a round is asked first. The inner sampler is told that the others have no value, as it is of those that
    cannot be trained; `refused` counts them. What has no score, or was asked before, goes through: the study deals with
    it.
    """

    def __init__(self, inner: Sampler, scorer: Scorer, keep: float, of: int) -> None:
        super().__init__(inner.spec)
        self.inner = inner
        self.refused = 0
        self._scorer = scorer
        self._keep, self._of = keep, of
        self._passed: deque[Choice] = deque()
        self._seen: set[Frozen] = set()

    def ask(self) -> Choice | None:
        if not self._passed:
            self._round()
        return self._passed.popleft() if self._passed else None

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._seen.add(frozen(choice))
        self.inner.tell(choice, values)
        self._scorer.tell(choice, values)

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self.inner.parent(choice)

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self.inner.origin(choice)

    def renewed(self, choice: Mapping[str, Pick]) -> bool:
        return self.inner.renewed(choice)

    def estimate(self, choice: Mapping[str, Pick]) -> float | None:
        return self.inner.estimate(choice)

    def _round(self) -> None:
        """Ask for candidates, score them, and let the best pass."""
        scored: list[tuple[float, int, Choice]] = []
        while len(scored) < self._of and len(self._passed) < _IDLE and (choice := self.inner.ask()) is not None:
            score = None if frozen(choice) in self._seen else self._scorer.score(choice)
            self._seen.add(frozen(choice))
            if score is None:
                self._passed.append(choice)  # the study says why it is not trained, or replays it
                continue
            scored.append((-score, len(scored), choice))
            if score == math.inf:
                break  # nothing is known yet to hold candidates against
        scored.sort(key=lambda one: one[:2])
        count = math.ceil(round(self._keep * len(scored), 9))
        self._passed.extend(choice for _, _, choice in scored[:count])
        self.refused += len(scored) - count
        for _, _, choice in scored[count:]:
            self.inner.tell(choice, None)


class ByScore:
    """A scorer that does not learn."""

    def __init__(self, score: Callable[[Choice], float | None]) -> None:
        self._score = score

    def score(self, choice: Choice) -> float | None:
        return self._score(choice)

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        """It has nothing to learn."""
