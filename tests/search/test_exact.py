"""Exact assembly against enumeration, its pool, its messages and its speed."""

from __future__ import annotations

import functools
import itertools
import math
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.errors import InputError
from assembler.search import Additive, BudgetError, SearchSpec, Solution, make, solutions, solve
from assembler.search.exact import binding, diverse
from assembler.testing.spaces import slots


def brute(problem: Additive) -> list[Solution]:
    """Every assembly that fits, best first."""
    found = []
    for picks in itertools.product(*(range(len(v)) for v in problem.scores.values())):
        choice = dict(zip(problem.scores, picks, strict=True))
        solution = problem.solution(choice)
        if math.isfinite(solution.score) and problem.fits(choice):
            found.append(solution)
    return sorted(found, key=lambda s: s.score)


@st.composite
def problems(draw: st.DrawFn) -> Additive:
    variants = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    names = [f"stage.{i}" for i in range(len(variants))]
    score = st.one_of(st.floats(-3, 3), st.integers(-2, 2).map(float), st.just(math.inf))
    cost = st.one_of(st.integers(0, 20).map(float), st.floats(0, 3), st.integers(0, 10**10).map(float))

    def table(values: st.SearchStrategy[float]) -> dict[str, tuple[float, ...]]:
        return {n: tuple(draw(values) for _ in range(v)) for n, v in zip(names, variants, strict=True)}

    scores = {n: row if any(map(math.isfinite, row)) else (0.0, *row[1:]) for n, row in table(score).items()}
    costs = {c: table(cost) for c in draw(st.sets(st.sampled_from(["params", "flops", "latency"])))}
    fixed = {c: draw(cost) for c in costs if draw(st.booleans())}
    budget = {}
    for c in costs:
        least, most = (sum(f(row) for row in costs[c].values()) + fixed.get(c, 0.0) for f in (min, max))
        budget[c] = least + draw(st.sampled_from([-0.1, 0.0, 0.1, 0.5, 1.0])) * (most - least)
    return Additive(scores, costs, fixed, budget)


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([1, 3, 12, 300]))
def test_is_what_enumeration_finds(problem: Additive, pool: int) -> None:
    expected = brute(problem)
    if not expected:
        with pytest.raises(BudgetError, match="no assembly fits"):
            solve(problem, pool)
        return
    found = solve(problem, pool)
    assert [s.score for s in found] == pytest.approx([s.score for s in expected[:pool]], abs=1e-7)
    assert all(problem.fits(s.choice) and problem.solution(s.choice) == s for s in found)
    assert len({tuple(s.choice.values()) for s in found}) == len(found)


def knapsack(slot_count: int, variants: int, tight: float, budgets: tuple[str, ...], seed: int = 0) -> Additive:
    """Slots whose better variants cost more, as trained parts do; budgets at `tight` of the way from least to most."""
    rng = random.Random(seed)
    scores, costs = {}, {b: {} for b in budgets}
    for i in range(slot_count):
        scores[f"stage.{i}"] = tuple(sorted((rng.random() for _ in range(variants)), reverse=True))
        for b in budgets:
            costs[b][f"stage.{i}"] = tuple(
                float(c) for c in sorted(rng.randrange(10**3, 10**7) for _ in range(variants))
            )
    least = {b: sum(map(min, costs[b].values())) for b in budgets}
    most = {b: sum(map(max, costs[b].values())) for b in budgets}
    return Additive(scores, costs, {}, {b: least[b] + tight * (most[b] - least[b]) for b in budgets})


@pytest.mark.parametrize(("slot_count", "variants"), [(24, 32), (48, 64)])
def test_large_problems_take_about_a_second(slot_count: int, variants: int) -> None:
    problem = knapsack(slot_count, variants, 0.3, ("params",))
    started = time.process_time()
    best = solve(problem)[0]
    assert time.process_time() - started < 2.0  # 0.3 s on an idle core
    assert problem.fits(best.choice)


def test_a_pool_of_a_large_problem_comes_in_order_and_begins_with_the_optimum() -> None:
    problem = knapsack(24, 32, 0.3, ("params", "flops"))
    started = time.process_time()
    pool = solve(problem, 16)
    assert time.process_time() - started < 10.0
    assert [s.score for s in pool] == sorted(s.score for s in pool)
    assert len({tuple(s.choice.values()) for s in pool}) == 16
    assert solve(problem)[0].score == pytest.approx(pool[0].score, abs=1e-9)


def test_ties_by_the_million_do_not_stall_the_pool() -> None:
    problem = Additive({f"s{i}": (1.0,) * 8 for i in range(30)})
    assert len({tuple(s.choice.values()) for s in solve(problem, 20)}) == 20


def test_solutions_are_lazy_and_end_with_the_last_assembly() -> None:
    problem = Additive({"a": (0.0, 1.0, math.inf), "b": (0.0, 0.5)})
    assert [s.choice for s in solutions(problem)] == [
        {"a": 0, "b": 0},
        {"a": 0, "b": 1},
        {"a": 1, "b": 0},
        {"a": 1, "b": 1},
    ]


def test_an_assembly_that_is_over_by_a_rounding_error_is_over() -> None:
    problem = Additive(
        {"a": (0.0, 1.0), "b": (0.0, 2.0)}, {"ms": {"a": (0.1, 0.0), "b": (0.2, 0.0)}}, budget={"ms": 0.3}
    )
    assert 0.1 + 0.2 > 0.3
    assert [s.choice for s in solve(problem, 5)] == [{"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 1, "b": 1}]


def test_next_best_ones_are_those_of_a_full_enumeration() -> None:
    for seed in range(3):
        problem = knapsack(9, 5, 0.15 + 0.2 * seed, ("params", "flops"), seed)
        tables = [problem.scores, *problem.costs.values()]
        sums = [functools.reduce(np.add.outer, [np.array(row) for row in table.values()]).ravel() for table in tables]
        fits = (sums[1] <= problem.budget["params"]) & (sums[2] <= problem.budget["flops"])
        expected = np.sort(sums[0][fits])[:500]
        assert [s.score for s in solve(problem, 500)] == pytest.approx(expected, abs=1e-9)


def test_fixed_costs_count() -> None:
    problem = Additive({"a": (0.0, 1.0)}, {"params": {"a": (50.0, 10.0)}}, {"params": 60.0}, {"params": 100.0})
    assert solve(problem) == [Solution({"a": 1}, 1.0, {"params": 70.0})]


SCORES = {"stage.0": (0.0, 1.0), "stage.1": (0.0, 1.0)}
LABELS = {"stage.0": ("conv", "identity"), "stage.1": ("attention", "pool")}
PARAMS = {"stage.0": (9_000.0, 210.0), "stage.1": (9_000.0, 4_000.0)}
FLOPS = {"stage.0": (1.0, 90.0), "stage.1": (2.0, 60.5)}


def test_a_budget_that_nothing_meets_names_the_cheapest_assembly() -> None:
    problem = Additive(SCORES, {"params": PARAMS}, {"params": 10_000.0}, {"params": 10_000.0}, LABELS)
    with pytest.raises(BudgetError) as error:
        solve(problem)
    assert str(error.value) == (
        "error: no assembly fits params <= 10,000: the cheapest needs 14,210 (stage.0=identity, stage.1=pool)"
    )
    assert error.value.exit_code == 2


def test_each_budget_that_nothing_meets_alone_is_named() -> None:
    problem = Additive(SCORES, {"params": PARAMS, "flops": FLOPS}, {}, {"params": 1_000, "flops": 2.5})
    with pytest.raises(BudgetError) as error:
        solve(problem)
    assert str(error.value) == (
        "error: no assembly fits params <= 1,000: the cheapest needs 4,210 (stage.0=1, stage.1=1)\n"
        "error: no assembly fits flops <= 2.5: the cheapest needs 3 (stage.0=0, stage.1=0)"
    )


def test_budgets_that_exclude_each_other_are_named_without_the_innocent() -> None:
    costs = {"params": PARAMS, "flops": FLOPS, "latency": {"stage.0": (1.0, 1.0), "stage.1": (1.0, 1.0)}}
    problem = Additive(SCORES, costs, {}, {"params": 5_000, "latency": 2.0, "flops": 100}, LABELS)
    with pytest.raises(BudgetError) as error:
        solve(problem)
    assert str(error.value) == (
        "error: no assembly fits params <= 5,000 and flops <= 100 together\n"
        "    hint: with flops <= 100 the cheapest needs params 9,210 (stage.0=identity, stage.1=attention); "
        "with params <= 5,000 the cheapest needs flops 150.5 (stage.0=identity, stage.1=pool)"
    )


def test_many_slots_are_cut_short_in_messages() -> None:
    names = [f"s{i}" for i in range(12)]
    problem = Additive({n: (0.0,) for n in names}, {"params": {n: (1.0,) for n in names}}, budget={"params": 10})
    with pytest.raises(BudgetError, match=r"needs 12 \(s0=0, s1=0, .*, s7=0, and 4 more\)"):
        solve(problem)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "there is no slot to fill"),
        (({"a": (math.nan, 1.0)},), "a score of slot 'a' is not a number"),
        (({"a": (math.inf,)},), "slot 'a' has no part that can be used"),
        (({"a": (1.0,)}, {"params": {"a": ()}}), "cost 'params' of slot 'a' needs 1 numbers"),
        (
            ({"a": (1.0,)}, {"params": {"a": (1.0,)}}, {}, {"param": 3.0}),
            "there is no cost 'param'\n    hint: did you mean 'params'?",
        ),
    ],
)
def test_malformed_problems_are_refused(arguments: tuple[dict[str, object], ...], message: str) -> None:
    with pytest.raises(InputError) as error:
        Additive(*arguments)  # type: ignore[arg-type]
    assert message in str(error.value)


def test_a_budgeted_part_without_a_finite_cost_is_not_used() -> None:
    problem = Additive({"a": (0.0, 1.0)}, {"params": {"a": (math.inf, 5.0)}}, {}, {"params": 9.0})
    assert solve(problem, 5) == [Solution({"a": 1}, 1.0, {"params": 5.0})]


def test_the_sampler_asks_in_order_of_score_and_names_candidates_by_label() -> None:
    space = slots(2, 3)
    scores = {"stage.0": (2.0, 1.0, 0.0), "stage.1": (0.3, 0.2, 0.1)}
    costs = {"params": {"stage.0": (1.0, 2.0, 3.0), "stage.1": (1.0, 2.0, 3.0)}}
    sampler = make(
        {"name": "exact", "pool": 4}, SearchSpec(space, additive=Additive(scores, costs, {}, {"params": 4.0}))
    )
    asked = [choice for _ in range(6) if (choice := sampler.ask()) is not None]
    assert asked[0] == {"stage.0": 2, "stage.1": 0}
    assert [sampler.estimate(c) for c in asked] == pytest.approx([0.3, 1.2, 1.3, 2.1])
    tight = make("exact", SearchSpec(space, additive=Additive(scores, costs, {}, {"params": 1.0})))
    with pytest.raises(BudgetError, match=r"the cheapest needs 2 \(stage.0=v0, stage.1=v0\)"):
        tight.ask()


def test_a_diverse_pool_is_the_best_of_what_is_apart_from_all_before() -> None:
    rng = random.Random(3)
    names = [f"s{n}" for n in range(4)]
    problem = Additive(
        {s: tuple(rng.random() for _ in range(3)) for s in names},
        {"params": {s: tuple(float(rng.randrange(9)) for _ in range(3)) for s in names}},
        budget={"params": 18.0},
    )
    every = [dict(zip(names, picks, strict=True)) for picks in itertools.product(range(3), repeat=4)]
    fitting = sorted((c for c in every if problem.fits(c)), key=problem.score)
    for apart in (1, 2, 3):
        wanted: list[dict[str, int]] = []
        for choice in fitting:
            if all(sum(choice[s] != other[s] for s in names) >= apart for other in wanted):
                wanted.append(choice)
        assert [s.choice for s in diverse(problem, apart)] == wanted


def test_the_budget_that_holds_the_best_back_is_named_with_its_price() -> None:
    scores = {"a": (0.0, 1.0), "b": (0.0, 2.0)}
    costs = {"params": {"a": (10.0, 0.0), "b": (10.0, 0.0)}, "flops": {"a": (1.0, 1.0), "b": (1.0, 1.0)}}
    tight = Additive(scores, costs, budget={"params": 15.0, "flops": 5.0})
    assert binding(tight) == pytest.approx({"params": 0.1})
    assert binding(Additive(scores, costs, budget={"params": 50.0, "flops": 5.0})) == {}
