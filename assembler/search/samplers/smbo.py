"""Sequential model-based optimisation with a linear model on hashed features (Negrinho and Gordon 2017)."""

from __future__ import annotations

import functools
import itertools
import random
import zlib
from collections.abc import Mapping

import numpy as np

from assembler.errors import InputError, RecipeError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.features import Array, paths
from assembler.search.moves import Frozen, Unseen, frozen
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values
from assembler.search.samplers.origins import Origins
from assembler.search.scores import normal_scores

_COLUMNS = 1024
_RIDGE = 1.0
_MOST = 1000  # of the latest values that the model is fitted to


@sampler("smbo")
class Smbo(Sampler):
    """The best of `pool` random choices by a ridge regression, or with the chance `explore` one at random.

    Features are picks, pairs of picks that follow on one another, and paths in the architecture where the study builds
    it, hashed (DeepArchitect, arXiv:1704.08792). No choice is asked for twice.
    """

    def __init__(self, spec: SearchSpec, *, pool: int = 256, explore: float = 0.1, startup: int = 10) -> None:
        super().__init__(spec)
        if pool < 1 or startup < 1:
            raise InputError(f"smbo needs a pool and a startup of at least 1, not {pool} and {startup}")
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._pool, self._explore, self._startup = pool, explore, startup
        self._known: dict[Frozen, tuple[Array, float]] = {}
        self._origins = Origins("smbo")

    def ask(self) -> Choice | None:
        guided = len(self._known) >= self._startup and self._rng.random() >= self._explore
        choice = self._best() if guided else None
        if choice is None:
            return self._unseen.draw()
        self._origins.propose(choice)
        self._unseen.add(choice)
        return choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        self._unseen.add(choice)
        self._origins.tell(choice, values)
        vector = self._vector(choice) if values else None
        if values and vector is not None:
            self._known[frozen(choice)] = (vector, values[0])

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self._origins.of(choice)

    def _best(self) -> Choice | None:
        drawn = (self.space.sample(self._rng) for _ in range(self._pool))
        fresh = {frozen(c): c for c in drawn if frozen(c) not in self._unseen.seen and not self.space.refusal(c)}
        found = [(choice, vector) for choice in fresh.values() if (vector := self._vector(choice)) is not None]
        if not found:
            return None
        known = list(self._known.values())[-_MOST:]
        x, y = np.stack([vector for vector, _ in known]), normal_scores(np.array([value for _, value in known]))
        weights = np.linalg.solve(x @ x.T + _RIDGE * np.eye(len(x)), y)
        predicted = np.stack([vector for _, vector in found]) @ (x.T @ weights)
        return found[int(predicted.argmax())][0]

    def _vector(self, choice: Mapping[str, Pick]) -> Array | None:
        """1024 hashed features, and 256 of paths where there is a graph; None where the choice builds nothing."""
        words = [f"{name}={label}" for name, label in self.space.named(choice).items()]
        words += [f"{one} {next_}" for one, next_ in itertools.pairwise(words)]
        found = np.bincount([_column(word) for word in words], minlength=_COLUMNS).astype(np.float64)
        try:
            return np.r_[found, paths(self.spec.graph(dict(choice)))] if self.spec.graph else found
        except RecipeError:
            return None


@functools.lru_cache(maxsize=65536)
def _column(word: str) -> int:
    return zlib.crc32(word.encode()) % _COLUMNS
