"""Local search: evaluate all neighbours, move to the best of them, start anew at a top (White et al., 2020)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Frozen, Unseen, frozen, neighbours
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("local")
class Local(Sampler):
    """Best-improvement hill climbing with restarts (arXiv:2005.02960); no choice is asked for twice.

    A climb begins at the best of `starts` random choices. Where all neighbours are known and none is better, the next
    climb begins.
    """

    def __init__(self, spec: SearchSpec, *, starts: int = 10) -> None:
        super().__init__(spec)
        if starts < 1:
            raise InputError(f"local search starts at 1 random choice or more, not {starts}")
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._starts = starts
        self._worth: dict[Frozen, float] = {}
        self._round: list[Choice] = []
        self._left: list[Choice] = []
        self._top: float | None = None
        self._place: Choice = {}
        self._parents: dict[Frozen, Choice] = {}

    def ask(self) -> Choice | None:
        while True:
            while self._left:
                choice = self._left.pop()
                if self._unseen.add(choice):
                    self._parents[frozen(choice)] = self._place
                    return choice
            if not self._step():
                return self._start()

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
        if values is not None:
            self._worth[frozen(choice)] = values[0]

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self._parents.get(frozen(choice))

    def _step(self) -> bool:
        """Move to the best of the round, whose neighbours are the next one; whether it is better than where it stood.

        Choices of the round that are still open have no say: whoever asks for more before telling goes on without them.
        """
        if self._top is None and len(self._round) < self._starts:
            return False
        told = [(self._worth[key], choice) for choice in self._round if (key := frozen(choice)) in self._worth]
        worth, best = max(told, key=lambda one: one[0], default=(0.0, Choice()))
        if not told or (self._top is not None and worth <= self._top):
            self._round, self._top = [], None
            return False
        self._top, self._place = worth, best
        self._round = list(neighbours(self.space, best, self._rng))
        self._left = self._rng.sample(self._round, len(self._round))
        return True

    def _start(self) -> Choice | None:
        choice = self._unseen.draw()
        if choice is not None:
            self._round.append(choice)
        return choice
