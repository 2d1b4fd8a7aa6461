"""Regularised evolution: mutate the best of a random few, let the oldest die (Real et al., AAAI 2019)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Unseen, mutate
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("evolution")
class Evolution(Sampler):
    """Regularised evolution that never asks for the same choice twice.

    The first `population_size` choices are random. Then one decision of the best of `tournament_size` random members
    changes; what it opens is drawn, what it closes goes. In a space with moves, every other child has one move more or
    less, or another one in place of one, instead. Choices without a value do not enter the population.
    """

    moves = True

    def __init__(
        self,
        spec: SearchSpec,
        *,
        population_size: int = 20,
        tournament_size: int = 5,
    ) -> None:
        super().__init__(spec)
        if not 1 <= tournament_size <= population_size:
            sizes = f"tournament_size {tournament_size}, population_size {population_size}"
            raise InputError(f"evolution needs 1 <= tournament_size <= population_size, not {sizes}")
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._members: deque[tuple[float, Choice]] = deque(maxlen=population_size)
        self._founders = population_size
        self._tournament = tournament_size

    def ask(self) -> Choice | None:
        founding = len(self._unseen.seen) < self._founders or not self._members
        return self._unseen.draw(self._founder if founding else self._child)

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
        if values is not None:
            self._members.append((values[0], dict(choice)))

    def _founder(self) -> Choice:
        choice, growth = self.space.sample(self._rng), self.spec.growth
        return growth.mutate(choice, self._rng) if growth and self._members else choice

    def _child(self) -> Choice:
        rivals = self._rng.sample(self._members, min(self._tournament, len(self._members)))
        parent, growth = max(rivals, key=lambda m: m[0])[1], self.spec.growth
        if growth is None:
            return mutate(self.space, parent, self._rng)
        if len(self.space.decisions) == 1 or self._rng.random() < 0.5:
            return growth.mutate(parent, self._rng)
        return growth.kept(mutate(self.space, parent, self._rng))
