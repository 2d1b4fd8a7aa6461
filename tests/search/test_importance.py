"""Which decisions matter: the share of the variance that each explains."""

from __future__ import annotations

import random

import pytest

from assembler.search.importance import importance
from assembler.search.trial import Trial


def trials(count: int, seed: int = 0, noise: float = 0.0) -> list[Trial]:
    """Values of 3 a + b for two decisions, a third one that says nothing, and a number of many values."""
    rng, found = random.Random(seed), []
    for number in range(count):
        a, b, c, x = rng.randrange(3), rng.randrange(2), rng.randrange(4), rng.random()
        labels = {"a": f"a{a}", "b": f"b{b}", "c": f"c{c}", "x": f"{x:g}"}
        if a == 2:
            labels["a[a2].d"] = str(rng.randrange(2))
        found.append(Trial(number, {}, (3 * a + b + rng.gauss(0, noise),), "complete", labels=labels))
    return found


def test_shares_are_those_of_the_variance() -> None:
    found = importance(trials(4000))
    whole = 9 * 2 / 3 + 1 / 4  # variances of 3 a and of b
    assert found["a"] == pytest.approx(6 / whole, abs=0.02) and found["b"] == pytest.approx(0.25 / whole, abs=0.02)
    assert next(iter(found)) == "a" and found["c"] < 0.01 and found["x"] < 0.01
    inside = found["a[a2].d"]
    assert 0.4 < inside < found["a"], "whether it is open tells as much as a picked a2"


@pytest.mark.parametrize("seed", range(3))
def test_what_says_nothing_has_about_nothing_however_few_the_trials(seed: int) -> None:
    many = [importance(trials(16, seed=100 * seed + i, noise=50.0)) for i in range(60)]
    for name in ("a", "b", "c", "x"):
        assert sum(found[name] for found in many) / len(many) < 0.12


def test_nothing_is_said_of_too_few_or_equal_trials() -> None:
    assert importance([]) == {} and importance(trials(2)) == {}
    same = [Trial(i, {}, (1.0,), "complete", labels={"a": str(i)}) for i in range(9)]
    assert importance(same) == {}
    failed = [Trial(i, {}, None, "failed", labels={"a": str(i)}) for i in range(9)]
    assert importance(failed) == {}
    apart = [Trial(i, {}, (float(i),), "complete", labels={"a": f"a{i}"}) for i in range(9)]
    assert importance(apart) == {"a": 0.0}, "each in a group of its own tells nothing"


def test_another_objective_is_another_question() -> None:
    both = [Trial(i, {}, (float(i % 2), float(i % 3)), "complete", labels={"a": f"{i % 2}", "b": f"{i % 3}"})
            for i in range(24)]  # fmt: skip
    assert importance(both)["a"] == 1.0 and importance(both, 1)["b"] == 1.0 and importance(both, 1)["a"] == 0.0
