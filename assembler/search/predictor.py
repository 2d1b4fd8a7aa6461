"""What a candidate is worth, told from the trials so far: a Gaussian process on choices and architectures."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import numpy as np

from assembler.errors import RecipeError
from assembler.graph import Graph
from assembler.recipe.choices import Choice, Pick, Space
from assembler.search.features import Array, Encoder
from assembler.search.gaussian import Gaussian, Posterior
from assembler.search.moves import Frozen, frozen
from assembler.search.samplers.base import Values
from assembler.search.scores import folded, normal_scores

_STARTUP = 10
_GROWTH = 1.15  # how much more must be known before the kernel is learnt again


class Predictor:
    """Predicts the value of a choice from those that were told, as normal scores of their ranks.

    `score` is infinity until 10 values are known. `cost` gives None for what cannot be trained. Several objectives are
    folded by random weights whenever something was told.
    """

    def __init__(
        self,
        space: Space,
        graph: Callable[[Choice], Graph] | None = None,
        seed: int = 0,
        fits: Callable[[Choice], bool] = lambda choice: True,
    ) -> None:
        self._encoder = Encoder(space, graph)
        self._fits = fits
        self._process = Gaussian(self._encoder.groups)
        self._known: dict[Frozen, tuple[Array, Values]] = {}
        self._rng = random.Random(seed)
        self._learnt = 0.0
        self._posterior: Posterior | None = None

    def score(self, choice: Choice) -> float | None:
        if not self._fits(choice):
            return None
        if len(self._known) < _STARTUP:
            return math.inf
        try:
            vector = self._encoder.vector(choice)
        except RecipeError:
            return None
        return float(self._model().predict(vector[None])[0][0])

    def tell(self, choice: Mapping[str, Pick], values: Values | None) -> None:
        if values is None:
            return
        try:
            self._known[frozen(choice)] = self._encoder.vector(choice), values
        except RecipeError:
            return
        self._posterior = None

    def _model(self) -> Posterior:
        if self._posterior is None:
            x = np.stack([vector for vector, _ in self._known.values()])
            y = normal_scores(folded(np.array([values for _, values in self._known.values()]), self._rng))
            if len(self._known) >= self._learnt * _GROWTH:
                self._process.learn(x, y)
                self._learnt = len(self._known)
            self._posterior = self._process.posterior(x, y)
        return self._posterior
