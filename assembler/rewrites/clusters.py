"""Clusters of equally many rows: k-means whose assignment is the cheapest one that fills every cluster alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 30
_CLOSE = 1e-12


def clusters(rows: NDArray[np.float64], count: int, seed: int = 0) -> list[list[int]]:
    """`count` clusters of the unit vectors along the `rows` [N, D], each of N / count of them, in rising order.

    Constrained k-means (Bradley et al. 2000): centres begin as k-means++ draws them, and rows are assigned at the least
    sum of squared distances until nothing moves. `count` divides N.
    """
    units = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _CLOSE)
    centres = _spread(units, count, np.random.default_rng(seed))
    label = np.full(len(units), -1)
    for _ in range(_ROUNDS):
        found = cheapest(_distances(units, centres))
        if (found == label).all():
            break
        label = found
        centres = np.stack([units[label == c].mean(0) for c in range(count)])
    return [np.flatnonzero(label == c).tolist() for c in range(count)]


def cheapest(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """A column for each row of `cost` [N, K], every column N / K times, at the least sum.

    Each row gets its cheapest column; what is too much in one then moves on, along the cheapest chain of moves, to one
    that has room (successive shortest paths, which keep the sum at its least).
    """
    rows, columns = cost.shape
    label: NDArray[np.int64] = cost.argmin(1)
    while (load := np.bincount(label, minlength=columns)).max() > rows // columns:
        price, who = _moves(cost, label)
        far, before = _chains(price, load > rows // columns)
        end = int(np.where(load < rows // columns, far, np.inf).argmin())
        while before[end] >= 0:
            label[who[before[end], end]] = end
            end = int(before[end])
    return label


def _moves(cost: NDArray[np.float64], label: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What the cheapest move from each column to each other one costs, and the row that moves."""
    columns = cost.shape[1]
    price, who = np.full((columns, columns), np.inf), np.zeros((columns, columns), np.int64)
    gap = cost - np.take_along_axis(cost, label[:, None], 1)
    for c in range(columns):
        if len(members := np.flatnonzero(label == c)):
            who[c], price[c] = members[gap[members].argmin(0)], gap[members].min(0)
    np.fill_diagonal(price, np.inf)
    return price, who


def _chains(price: NDArray[np.float64], full: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """For every column the cost of the cheapest chain of moves that ends there, and the column before it, or -1."""
    far, before = np.where(full, 0.0, np.inf), np.full(len(full), -1)
    for _ in range(len(full)):
        through = far[:, None] + price
        better = through.min(0) < far - _CLOSE
        if not better.any():
            break
        before[better] = through.argmin(0)[better]
        far = np.minimum(far, through.min(0))
    return far, before


def _spread(units: NDArray[np.float64], count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """Rows far from each other, as k-means++ draws them (Arthur and Vassilvitskii 2007)."""
    chosen = [int(chance.integers(len(units)))]
    while len(chosen) < count:
        near = _distances(units, units[chosen]).min(1)
        near = near if near.sum() > _CLOSE else np.ones(len(units))
        chosen.append(int(chance.choice(len(units), p=near / near.sum())))
    return units[chosen]


def _distances(rows: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances [N, K]."""
    squares = (rows**2).sum(1)[:, None] + (centres**2).sum(1)
    found: NDArray[np.float64] = np.maximum(squares - 2 * rows @ centres.T, 0)
    return found
