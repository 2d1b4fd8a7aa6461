"""Regularised evolution: mutate the best of a random few, let the oldest die (Real et al., AAAI 2019)."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping

from assembler.errors import InputError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.moves import Frozen, Unseen, frozen, mutate
from assembler.search.samplers.base import Sampler, SearchSpec, Values


@sampler("evolution")
class Evolution(Sampler):
    """Regularised evolution that never asks for the same choice twice.

    The first `population_size` choices are random. Then one decision of the best of `tournament_size` random members,
    by default of all, changes; what it opens is drawn, what it closes goes; the newborn takes the place of the oldest.
    In a space with moves, every other child has one move more or less, or another one in place of one, instead. Choices
    without a value do not enter the population.
    """

    moves = True

    def __init__(
        self,
        spec: SearchSpec,
        *,
        population_size: int = 20,
        tournament_size: int | None = None,
    ) -> None:
        super().__init__(spec)
        tournament_size = population_size if tournament_size is None else tournament_size
        if not 1 <= tournament_size <= population_size:
            sizes = f"tournament_size {tournament_size}, population_size {population_size}"
            raise InputError(f"evolution needs 1 <= tournament_size <= population_size, not {sizes}")
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._members: deque[tuple[float, Choice]] = deque(maxlen=population_size)
        self._parents: dict[Frozen, Choice] = {}
        self._founders = population_size
        self._tournament = tournament_size

    def ask(self) -> Choice | None:
        founding = len(self._unseen.seen) < self._founders or not self._members
        return self._unseen.draw(self._founder if founding else self._child)

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
        if values is not None:
            self._members.append((values[0], dict(choice)))

    def parent(self, choice: Mapping[str, Pick]) -> Choice | None:
        return self._parents.get(frozen(choice))

    def _founder(self) -> Choice:
        """A random choice; where it is known already and can move, one a few moves away."""
        return self._moved(self.space.sample(self._rng))

    def _child(self) -> Choice:
        parent = self._chosen()
        child = self._changed(parent)
        self._parents[frozen(child)] = parent
        return child

    def _chosen(self) -> Choice:
        everyone = self._tournament >= len(self._members)
        rivals = self._members if everyone else self._rng.sample(self._members, self._tournament)
        return max(rivals, key=lambda m: m[0])[1]

    def _changed(self, parent: Choice) -> Choice:
        growth = self.spec.growth
        if growth is None:
            return mutate(self.space, parent, self._rng)
        if len(self.space.decisions) > 1 and self._rng.random() < 0.5:
            return growth.kept(mutate(self.space, parent, self._rng))
        return self._moved(growth.mutate(parent, self._rng))

    def _moved(self, choice: Choice) -> Choice:
        growth = self.spec.growth
        for _ in range(2 * growth.most if growth else 0):
            if frozen(choice) not in self._unseen.seen:
                break
            choice = growth.mutate(choice, self._rng) if growth else choice
        return choice
