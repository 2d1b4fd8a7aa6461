"""Bayesian optimisation: a Gaussian process on choices and architectures, expected improvement over a pool of changes.

Values enter as normal scores of their ranks, since scores of architectures have a long tail downwards. The pool is made
of neighbours and mutants of the best choices (White et al., AAAI 2021) and of random ones, and is refined around its
best. Several objectives are folded by random weights, anew for every question (ParEGO, Knowles 2006).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from assembler.errors import InputError, RecipeError
from assembler.recipe.choices import Choice, Pick
from assembler.registry import sampler
from assembler.search.features import Array, Encoder
from assembler.search.gaussian import Gaussian, Posterior
from assembler.search.moves import Frozen, Unseen, frozen, mutate, neighbours
from assembler.search.samplers.base import Origin, Sampler, SearchSpec, Values
from assembler.search.samplers.origins import Origins
from assembler.search.scores import chances, folded, improvement, normal_scores

_PARENTS = 8
_MUTANTS = 50
_RANDOM = 50
_ROUNDS = 3  # the pool, and twice the neighbours of its best
_GROWTH = 1.15  # how much more must be known before the kernel is learnt again
_MOST = 400  # values that the process is given: the best half and the latest


class _Known(NamedTuple):
    choice: Choice
    vector: Array
    values: list[Values]


@sampler("bayes")
class Bayes(Sampler):
    """Gaussian-process search, random for the first `startup` choices; none is asked for twice.

    It sees architectures where the study builds them. Choices without a value make those like them less likely to be
    asked for; choices that are open count at their predicted value.
    """

    multi = True

    def __init__(self, spec: SearchSpec, *, startup: int = 10) -> None:
        super().__init__(spec)
        if startup < 2:
            raise InputError(f"bayes begins with 2 random choices or more, not {startup}")
        self._rng = random.Random(spec.seed)
        self._unseen = Unseen(spec.space, self._rng)
        self._startup = startup
        self._encoder = Encoder(spec.space, spec.graph)
        self._vectors: dict[Frozen, Array | None] = {}
        self._known: dict[Frozen, _Known] = {}
        self._failed: dict[Frozen, Array] = {}
        self._open: dict[Frozen, Choice] = {}
        self._process = Gaussian(self._encoder.groups)
        self._failing = Gaussian(self._encoder.groups)
        self._learnt = 0.0
        self._origins = Origins("bayes")

    def ask(self) -> Choice | None:
        ready = len(self._unseen.seen) >= self._startup and len(self._known) > 1 and self._encoder.width
        choice = self._promising() if ready else None
        if choice:
            self._origins.propose(choice)
        choice = choice or self._unseen.draw()
        if choice is not None:
            self._unseen.add(choice)
            self._open[frozen(choice)] = choice
        return choice

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        key = frozen(choice)
        self._unseen.add(choice)
        self._origins.tell(choice, values)
        self._open.pop(key, None)
        vector = self._vector(key, choice)
        if vector is None:
            return
        if values is None:
            self._failed[key] = vector
        else:
            self._known.setdefault(key, _Known(dict(choice), vector, [])).values.append(values)

    def origin(self, choice: Mapping[str, Pick]) -> Origin | None:
        return self._origins.of(choice)

    def _promising(self) -> Choice | None:
        """The choice of greatest expected improvement that the pool and its refinement hold; None where none is new."""
        known, y = self._data()
        x = np.stack([one.vector for one in known])
        told = len(self._known) + len(self._failed)
        stale = told >= self._learnt * _GROWTH
        if stale:
            self._process.learn(x, y)
            self._learnt = told
        judge = _Judge(self._imagined(self._process.posterior(x, y), x, y), float(y.max()), self._failures(x, stale))
        pool: Iterable[Choice] = self._pool([known[i].choice for i in np.argsort(-y, kind="stable")[:_PARENTS]])
        best, tried = (-np.inf, Choice()), set(self._unseen.seen)
        for _ in range(_ROUNDS):
            gain, choice = max(self._judged(pool, tried, judge), key=lambda one: one[0], default=best)
            if gain <= best[0]:
                break
            best = (gain, choice)
            pool = neighbours(self.space, choice, self._rng)
        return best[1] if best[0] > -np.inf else None

    def _data(self) -> tuple[list[_Known], Array]:
        """What is known and its scores, the best half and the latest where it is much."""
        known = list(self._known.values())
        y = normal_scores(folded(np.array([np.mean(one.values, axis=0) for one in known]), self._rng))
        if len(known) > _MOST:
            latest = np.arange(len(known)) >= len(known) - _MOST // 2
            latest[np.argsort(-np.where(latest, -np.inf, y), kind="stable")[: _MOST // 2]] = True
            known, y = [one for one, kept in zip(known, latest, strict=True) if kept], y[latest]
        return known, y

    def _imagined(self, posterior: Posterior, x: Array, y: Array) -> Posterior:
        """The posterior that also has open choices, at the mean that it predicts for them."""
        open_ = [v for key, choice in self._open.items() if (v := self._vector(key, choice)) is not None]
        if not open_:
            return posterior
        stacked = np.stack(open_)
        return self._process.posterior(np.concatenate([x, stacked]), np.r_[y, posterior.predict(stacked)[0]])

    def _failures(self, x: Array, stale: bool) -> Posterior | None:
        """How likely choices are to have a value, where some had none: 1 for those that had one, 0 for the others."""
        if not self._failed:
            return None
        failed = np.stack(list(self._failed.values())[-_MOST:])
        x, y = np.concatenate([x, failed]), np.r_[np.ones(len(x)), np.zeros(len(failed))]
        if stale or not self._failing.ready:
            self._failing.learn(x, y)
        return self._failing.posterior(x, y)

    def _pool(self, parents: list[Choice]) -> Iterator[Choice]:
        for parent in parents:
            yield from neighbours(self.space, parent, self._rng)
        for _ in range(_MUTANTS):
            child = mutate(self.space, self._rng.choice(parents), self._rng)
            for _ in range(self._rng.randrange(1, 3)):
                child = mutate(self.space, child, self._rng)
            yield child
        for _ in range(_RANDOM):
            yield self.space.sample(self._rng)

    def _judged(self, pool: Iterable[Choice], tried: set[Frozen], judge: _Judge) -> Iterator[tuple[float, Choice]]:
        """(gain, choice) of those in the pool that were not tried, keep the constraints and can be built."""
        found: list[tuple[Choice, Array]] = []
        for choice in pool:
            key = frozen(choice)
            if key in tried or (self.space.where and self.space.refusal(choice)):
                continue
            tried.add(key)
            if (vector := self._vector(key, choice)) is not None:
                found.append((choice, vector))
        if found:
            gains = judge.gains(np.stack([vector for _, vector in found]))
            yield from ((float(gain), choice) for gain, (choice, _) in zip(gains, found, strict=True))

    def _vector(self, key: Frozen, choice: Mapping[str, Pick]) -> Array | None:
        """The vector of a choice, or None where it builds nothing."""
        if key not in self._vectors:
            try:
                self._vectors[key] = self._encoder.vector(choice)
            except RecipeError:
                self._vectors[key] = None
        return self._vectors[key]


class _Judge(NamedTuple):
    """What makes a choice promising: expected improvement, times how likely it has a value at all."""

    posterior: Posterior
    best: float
    failures: Posterior | None

    def gains(self, x: Array) -> Array:
        gains = improvement(*self.posterior.predict(x), self.best)
        return gains if self.failures is None else gains * chances(self.failures.predict(x)[0])
