"""A Gaussian process on vectors that fall into groups, each of a length scale of its own, learnt from few values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_STEPS = 25
_RATE = 0.15
_SPREAD = 1.5  # of the prior of a group's weight, in logarithms
_NOISE = 1e-2  # variance of the noise before anything is learnt, where that of the values is 1


class Gaussian:
    """k(x, y) = m(sum_g w_g |x_g - y_g|^2) + noise [x = y], with a constant mean and a variance that are solved for.

    m is Matern's function of smoothness 3/2 (Rasmussen and Williams 2006, eq. 4.17) of the squared distance.

    The weights w_g and the noise are those of the greatest posterior under log-normal priors, found by Adam on the
    exact gradient (Rasmussen and Williams 2006, eq. 5.9), from where the last fit ended. A weight's prior has its
    middle where the group's usual distance counts as much as that of any other.
    """

    def __init__(self, groups: NDArray[np.intp]) -> None:
        self._groups = groups
        self._count = int(groups.max()) + 1 if len(groups) else 0
        self._logs: Array | None = None

    def learn(self, x: Array, y: Array) -> None:
        """Fit weights and noise to the values `y` [n] at `x` [n, columns]."""
        parts = np.stack([_squared(x[:, self._groups == g], x[:, self._groups == g]) for g in range(self._count)])
        usual = np.maximum(parts.mean(axis=(1, 2)), 1e-3)
        prior = np.log(np.r_[1.5 / (self._count * usual), _NOISE])
        spread = np.r_[np.full(self._count, _SPREAD), 1.0]
        logs = prior if self._logs is None else self._logs
        first, second = np.zeros_like(logs), np.zeros_like(logs)
        best, least = logs, np.inf
        for step in range(1, _STEPS + 1):
            loss, slope = _evidence(np.exp(logs), parts, y)
            off = (logs - prior) / spread
            loss, slope = loss + 0.5 * float(off @ off), slope + off / spread
            if loss < least:
                best, least = logs, loss
            first, second = 0.8 * first + 0.2 * slope, 0.9 * second + 0.1 * slope**2
            logs = logs - _RATE * first / (1 - 0.8**step) / (np.sqrt(second / (1 - 0.9**step)) + 1e-9)
        self._logs = best

    @property
    def ready(self) -> bool:
        """Whether weights were learnt."""
        return self._logs is not None

    def posterior(self, x: Array, y: Array) -> Posterior:
        """What values `y` [n] at `x` [n, columns] say of all others, with the weights that were learnt."""
        assert self._logs is not None, "learn comes first"
        scale = np.sqrt(np.exp(self._logs[:-1]))[self._groups]
        near = _matern(_squared(x * scale, x * scale))
        inverse = np.linalg.inv(near + np.exp(self._logs[-1]) * np.eye(len(x)))
        return Posterior(scale, x * scale, inverse, *_solved(inverse, y))


@dataclass(frozen=True)
class Posterior:
    """A process given values: the inverse of its matrix, and what was solved for with it."""

    scale: Array
    x: Array
    inverse: Array
    mean: float
    variance: float
    weights: Array

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation [m], without noise, at `x` [m, columns]."""
        near = _matern(_squared(x * self.scale, self.x))
        left = 1 - np.einsum("ij,ij->i", near @ self.inverse, near)
        return self.mean + near @ self.weights, np.sqrt(self.variance * np.maximum(left, 1e-10))


def _squared(x: Array, y: Array) -> Array:
    """Squared distances [n, m] of the rows of x and y."""
    found = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.asarray(np.maximum(found, 0.0))


def _matern(squared: Array) -> Array:
    distance = np.sqrt(3 * squared)
    return np.asarray((1 + distance) * np.exp(-distance))


def _solved(inverse: Array, y: Array) -> tuple[float, float, Array]:
    """The likeliest constant mean and variance, and the weights of the kernel's rows."""
    sums = inverse.sum(0)
    mean = float(sums @ y) / float(sums.sum())
    weights = inverse @ (y - mean)
    return mean, max(float((y - mean) @ weights) / len(y), 1e-12), weights


def _evidence(given: Array, parts: Array, y: Array) -> tuple[float, Array]:
    """The negative logarithm of the marginal likelihood, and its slope by the logarithms of weights and noise."""
    distance = np.tensordot(given[:-1], parts, 1)
    matrix = _matern(distance) + given[-1] * np.eye(len(y))
    inverse = np.linalg.inv(matrix)
    _, variance, weights = _solved(inverse, y)
    loss = 0.5 * len(y) * np.log(variance) + 0.5 * float(np.linalg.slogdet(matrix)[1])
    change = inverse - np.outer(weights, weights) / variance
    by_distance = -1.5 * np.exp(-np.sqrt(3 * distance))
    slope = 0.5 * given[:-1] * np.tensordot(parts, change * by_distance, 2)
    return float(loss), np.r_[slope, 0.5 * given[-1] * np.trace(change)]
