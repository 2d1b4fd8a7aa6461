"""Pruners: whom each one ends, by what reports, and that the past can be told to a new one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from assembler.errors import AssemblerError, InputError
from assembler.registry import names
from assembler.search.pruners import Pruner, PruneSpec, make
from assembler.search.pruners.curve import extrapolated
from assembler.search.pruners.dominance import dominates

STEPS = 9


def rising(end: float, steps: int = STEPS, noise: float = 0.0, seed: int = 0) -> list[float]:
    """A power law that comes to `end` at the last step."""
    rng = random.Random(seed)
    return [end - 0.5 * (step**-0.7 - steps**-0.7) + rng.gauss(0, noise) for step in range(1, steps + 1)]


def played(pruner: Pruner, curves: Sequence[Sequence[float]]) -> list[tuple[int, str]]:
    """For each trial, one after the other, the step at which it ended and why."""
    found = []
    for number, curve in enumerate(curves):
        said, step = "", 0
        for step, value in enumerate(curve, start=1):
            said = pruner.report(number, step, (value,))
            if said:
                break
        pruner.close(number, "pruned" if said else "complete")
        found.append((step, said))
    return found


@pytest.mark.parametrize("name", names("pruner"))
def test_bad_trials_end_early_and_the_best_never(name: str) -> None:
    ends = [0.6, 0.62, 0.64, 0.66, 0.68, 0.7, 0.2, 0.1, 0.9, 0.15]
    found = played(make(name, PruneSpec(steps=STEPS)), [rising(end) for end in ends])
    assert found[8] == (STEPS, "")
    ended = [n for n, (step, said) in enumerate(found) if said]
    assert ended and all(found[n][0] < STEPS for n in ended)
    assert {6, 7, 9} & set(ended)


@pytest.mark.parametrize("name", names("pruner"))
def test_a_new_pruner_that_is_told_the_past_goes_on_alike(name: str) -> None:
    rng = random.Random(2)
    curves = [rising(rng.random(), noise=0.02, seed=n) for n in range(24)]
    one = make(name, PruneSpec(steps=STEPS))
    before = played(one, curves[:16])
    other = make(name, PruneSpec(steps=STEPS))
    for number, (step, said) in enumerate(before):
        points = [(s, (v,)) for s, v in enumerate(curves[number][:step], start=1)]
        other.recall(number, points, "pruned" if said else "complete")
    for number, curve in enumerate(curves[16:], start=16):
        for step, value in enumerate(curve, start=1):
            said = one.report(number, step, (value,))
            assert other.report(number, step, (value,)) == said
            if said:
                break
        one.close(number, "pruned" if said else "complete")
        other.close(number, "pruned" if said else "complete")


def test_the_median_waits_for_startup_and_warmup() -> None:
    curves = [rising(0.5)] * 4 + [rising(0.1)]
    assert played(make({"name": "median", "startup": 5}, PruneSpec()), curves)[4][0] == STEPS
    assert played(make({"name": "median", "startup": 4}, PruneSpec()), curves)[4][0] == 1
    assert played(make({"name": "median", "startup": 4, "warmup": 3}, PruneSpec()), curves)[4][0] == 4
    said = played(make({"name": "median", "startup": 4}, PruneSpec()), curves)[4][1]
    assert said == "not among the best at step 1, by the median"


def test_the_curve_is_drawn_on_to_where_it_leads() -> None:
    points = [(step, (value,)) for step, value in enumerate(rising(0.8, steps=40)[:8], start=1)]
    mean, deviation = extrapolated(points, 40)
    assert mean == pytest.approx(0.8, abs=0.02) and 0 < deviation < 0.05
    early = extrapolated(points[:4], 40)
    assert early[1] > deviation, "less is known from fewer points"


def test_a_slow_starter_that_will_win_is_kept_by_the_curve() -> None:
    fast, slow = [0.6] * 20, [0.9 - 0.8 * step**-0.5 for step in range(1, 21)]
    assert slow[3] < fast[3] and slow[-1] > fast[-1]
    found = played(make("curve", PruneSpec(steps=20)), [fast, slow, [0.3 - 0.1 / step for step in range(1, 21)]])
    assert found[1] == (20, "")
    assert found[2][0] == 4 and found[2][1].startswith(
        "at step 4 its curve leads to more than the best at step 20 with chance "
    )


def test_dominance_ends_what_is_behind_in_all_objectives_alone() -> None:
    pruner = make({"name": "dominance", "startup": 2}, PruneSpec(objectives=2))
    for number, values in enumerate([(0.8, -10.0), (0.6, -5.0), (0.7, -7.0)]):
        for step in (1, 2):
            assert pruner.report(number, step, values) == ""
        pruner.close(number, "complete")
    assert pruner.report(3, 1, (0.1, -1.0)) == "", "cheapest of all"
    assert pruner.report(4, 1, (0.9, -99.0)) == "", "best of all"
    assert pruner.report(5, 1, (0.5, -8.0)) == "2 of 3 trials dominate it at step 1"
    assert pruner.report(6, 1, (0.75, -11.0)) == "", "only one of three is better in both"


def test_what_is_equal_does_not_dominate() -> None:
    assert not dominates((1.0, 2.0), (1.0, 2.0)) and dominates((1.0, 3.0), (1.0, 2.0))


def test_several_objectives_need_a_pruner_for_them() -> None:
    with pytest.raises(InputError, match="pruner 'median' follows one objective, not 2") as caught:
        make("median", PruneSpec(objectives=2))
    assert "use dominance" in str(caught.value)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(AssemblerError, match="unknown pruner 'medain'") as caught:
        make("medain", PruneSpec())
    assert "did you mean 'median'?" in str(caught.value)
    with pytest.raises(InputError, match="pruner 'median' has no option 'start'"):
        make({"name": "median", "start": 3}, PruneSpec())
    assert not math.isnan(extrapolated([(1, (0.5,)), (2, (0.5,)), (3, (0.5,))], 9)[1])
