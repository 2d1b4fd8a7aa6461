"""What the bench of a library of parts holds its figures against."""

from __future__ import annotations

import pytest

from benchmarks import parts
from benchmarks.parts import Table, rows

BEFORE = "35 %: parts, exact choice, before tuning"
STUDENT = "35 %: from the start, logits"


def seen(before: float, student: float, teacher: float = 80.0, ranks: float = 0.7, trials: float = 0.1) -> Table:
    found = Table()
    for name, value in zip(
        (BEFORE, STUDENT, parts.TEACHER, parts.RANKS, parts.TRIALS),
        (before, student, teacher, ranks, trials),
        strict=True,
    ):
        found.add(name, value - 0.01)
        found.add(name, value + 0.01)
    return found


@pytest.mark.parametrize(("before", "student", "holds"), [(79.5, 74.0, True), (78.5, 70.0, False), (79.5, 75.0, False)])
def test_parts_are_held_against_their_teacher_and_a_fresh_student(before: float, student: float, holds: bool) -> None:
    found = {one.name: one for one in rows(seen(before, student))}
    assert (found[BEFORE].holds, found[BEFORE].runs) == (holds, 2)
    assert found[BEFORE].value == pytest.approx(before)
    assert found[STUDENT].goal == "reported"


def test_order_and_cost_have_goals_of_their_own() -> None:
    good, bad = (
        {one.name: one.holds for one in rows(seen(79.5, 70.0, ranks=ranks, trials=trials))}
        for ranks, trials in ((0.6, 0.2), (0.59, 0.21))
    )
    assert good[parts.RANKS] and good[parts.TRIALS]
    assert not bad[parts.RANKS] and not bad[parts.TRIALS]
