"""Ends trials whose learning curve, drawn on to its end, is unlikely to reach the best."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from assembler.errors import InputError
from assembler.registry import pruner
from assembler.search.pruners.base import Point, Pruner, PruneSpec

Array = NDArray[np.float64]
_POWERS = np.geomspace(0.1, 3.0, 16)
_LEAST = 0.01  # deviation of a point from its curve, relative to how far the curve has come


@pruner("curve")
class Curve(Pruner):
    """Fits the power law a - b * step^-c (Domhan et al., IJCAI 2015, `pow3`) and ends a trial where the chance that its
    last value exceeds the best complete one is below `chance`.

    It needs `points` reports of a trial, at least 3, and one complete trial, whose last step is taken for the last of
    all where the search does not know it.
    """

    def __init__(self, spec: PruneSpec, *, chance: float = 0.05, points: int = 4) -> None:
        if points < 3 or not 0 < chance < 1:
            raise InputError(f"curve needs points >= 3 and a chance between 0 and 1, not {points} and {chance}")
        super().__init__(spec)
        self._chance, self._points = chance, points

    def reason(self, trial: int) -> str:
        curve = self.curves[trial]
        done = [self.curves[t][-1] for t, how in self.ended.items() if how == "complete" and self.curves.get(t)]
        last = self.spec.steps or max((step for step, _ in done), default=0)
        if not done or len(curve) < self._points or curve[-1][0] >= last:
            return ""
        best = max(values[0] for _, values in done)
        mean, deviation = extrapolated(curve, last)
        chance = 1 - NormalDist(mean, deviation).cdf(best)
        if chance >= self._chance:
            return ""
        return f"at step {curve[-1][0]} its curve leads to more than the best at step {last} with chance {chance:.2g}"


def extrapolated(curve: list[Point], step: int) -> tuple[float, float]:
    """Mean and deviation of what a curve comes to at a later step, over powers weighted by how well they fit."""
    steps = np.array([s for s, _ in curve], dtype=float)
    values = np.array([v[0] for _, v in curve])
    fits = [_fit(steps, values, float(power), step) for power in _POWERS]
    errors = np.array([error for error, _, _ in fits])
    spread = max(float(np.ptp(values)), 1e-12)
    noise = max(float(errors.min()) / max(1, len(values) - 2), (_LEAST * spread) ** 2)
    weights = np.exp(-(errors - errors.min()) / (2 * noise))
    weights /= weights.sum()
    means = np.array([mean for _, mean, _ in fits])
    within = np.array([noise * (1 + reach) for _, _, reach in fits])
    mean = float(weights @ means)
    return mean, math.sqrt(float(weights @ (within + (means - mean) ** 2)))


def _fit(steps: Array, values: Array, power: float, step: int) -> tuple[float, float, float]:
    """(squared error, value at `step`, variance of that relative to the noise) of the least-squares curve.

    A curve that would fall is taken as level.
    """
    x = np.stack([np.ones_like(steps), -(steps**-power)], axis=1)
    there = np.array([1.0, -(float(step) ** -power)])
    found, *_ = np.linalg.lstsq(x, values, rcond=None)
    if found[1] < 0:
        x, there = x[:, :1], there[:1]
        found = np.array([values.mean()])
    reach = float(there @ np.linalg.pinv(x.T @ x) @ there)
    return float(((x @ found - values) ** 2).sum()), float(there @ found), reach
