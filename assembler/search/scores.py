"""Values made fit for a model, and what a model's predictions are worth."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import numpy as np

from assembler.search.features import Array

_NORMAL = NormalDist()
_LEAST = 1e-6  # what is left to choices like those that failed


def normal_scores(values: Array) -> Array:
    """The values [n] as quantiles of the normal distribution by rank; equal values share the middle of theirs."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - (counts + 1) / 2
    quantiles = np.array([_NORMAL.inv_cdf((m + 0.5) / len(values)) for m in middles])
    return np.asarray(quantiles[group])


def folded(values: Array, rng: random.Random) -> Array:
    """Values [n, objectives] as one number each: the least of the weighted ranks, for weights that are drawn.

    The augmented Chebyshev form, which can reach every point of a front.
    """
    if values.shape[1] == 1:
        return np.asarray(values[:, 0])
    drawn = [-math.log(1.0 - rng.random()) for _ in range(values.shape[1])]
    weights = np.array(drawn) / sum(drawn)
    ranks = np.stack([np.unique(column, return_inverse=True)[1] / len(column) for column in values.T], axis=1)
    weighted = (ranks - 1) * weights
    return np.asarray(weighted.min(axis=1) + 0.05 * weighted.sum(axis=1))


def improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Expected improvement over `best` (Jones et al. 1998, eq. 15)."""
    z = (mean - best) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
    return np.asarray(deviation * (z * below + density))


def chances(mean: Array) -> Array:
    """Predictions of what is 0 or 1 as chances, none of them nothing; squared, since those near 0 are but noise."""
    return np.clip(mean, 0.0, 1.0) ** 2 + _LEAST
