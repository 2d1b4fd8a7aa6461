"""Pareto fronts and hypervolumes against their definitions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.errors import InputError
from assembler.search import Direction, front, hypervolume

WAYS: tuple[Direction, Direction] = ("minimize", "maximize")
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12)


def dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


@given(points)
def test_the_front_is_what_nothing_dominates(ps: list[tuple[int, int]]) -> None:
    expected = {i for i, p in enumerate(ps) if not any(dominates(q, p) for q in ps)}
    found = front(ps, WAYS)
    assert set(found) == expected
    assert [ps[i][0] for i in found] == sorted(ps[i][0] for i in found)


@given(points)
def test_the_hypervolume_counts_the_unit_squares_that_are_dominated(ps: list[tuple[int, int]]) -> None:
    squares = sum(any(p[0] <= x and p[1] >= y + 1 for p in ps) for x in range(7) for y in range(7))
    assert hypervolume(ps, (7, 0), WAYS) == squares


def test_three_objectives_and_missing_numbers() -> None:
    ps = [(1, 1, 1), (2, 2, 2), (0, 3, 3), (math.nan, 0, 0)]
    assert front(ps, ("minimize",) * 3) == [2, 0]


def test_points_and_directions_must_match() -> None:
    with pytest.raises(InputError, match="a point has 2 objectives, the directions are 1"):
        front([(1, 2)], ("minimize",))
