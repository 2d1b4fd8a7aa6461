"""Pareto fronts and the area that they dominate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from assembler.errors import InputError

Direction = Literal["minimize", "maximize"]


def front(points: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[int]:
    """Indexes of the points that no other dominates, ordered by the first objective, best first.

    `directions` has one entry an objective. Equal points are all kept; a point with a NaN is never on the front.
    """
    costs = {i: _costs(p, directions) for i, p in enumerate(points)}
    order = sorted((i for i, c in costs.items() if not any(map(math.isnan, c))), key=lambda i: costs[i])
    best: list[int] = []
    for i in order:  # what dominates a point comes before it in this order
        if not any(costs[j] != costs[i] and _at_least(costs[j], costs[i]) for j in best):
            best.append(i)
    return best


def hypervolume(
    points: Sequence[tuple[float, float]], reference: tuple[float, float], directions: Sequence[Direction]
) -> float:
    """The area between the front of two-objective points and a reference that is worse than they are.

    Points that are not better than the reference in both objectives count nothing.
    """
    x_end, y_end = _costs(reference, directions)
    area, floor = 0.0, y_end
    for i in front(points, directions):
        x, y = _costs(points[i], directions)
        if x < x_end and y < floor:
            area += (x_end - x) * (floor - y)
            floor = y
    return area


def _costs(point: Sequence[float], directions: Sequence[Direction]) -> tuple[float, ...]:
    if len(point) != len(directions):
        raise InputError(f"a point has {len(point)} objectives, the directions are {len(directions)}")
    return tuple(-v if d == "maximize" else v for v, d in zip(point, directions, strict=True))


def _at_least(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
