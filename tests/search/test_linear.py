"""Constraints that are linear in costs are budgets of the program; others take no place in the exact sampler's pool."""

from __future__ import annotations

import itertools

import pytest

from assembler.recipe.choices import Choice, Decision, Space
from assembler.recipe.choices.where import formula
from assembler.recipe.values import Map, marked
from assembler.search import Additive, BudgetError, SearchSpec, make, solve
from assembler.search.linear import bounded
from assembler.search.study import run

COSTS = {
    "params": {"a": (4.0, 9.0, 16.0), "b": (1.0, 25.0, 7.0), "c": (3.0, 3.0, 11.0)},
    "flops": {"a": (10.0, 2.0, 5.0), "b": (8.0, 1.0, 3.0), "c": (6.0, 4.0, 1.0)},
}
PROBLEM = Additive(
    {"a": (0.311, 0.2, 0.0), "b": (0.503, 0.0, 0.107), "c": (0.4, 0.253, 0.0)}, COSTS, {"params": 5.0, "flops": 7.0}
)
SPACE = Space(tuple(Decision(slot, "oneof", ("one", "two", "three")) for slot in PROBLEM.scores))
EVERY = [dict(zip("abc", picks, strict=True)) for picks in itertools.product(range(3), repeat=3)]
TREE = Map((("limits", marked({"most": 30})),))


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("params <= 30", "params"),
        ("params < 30", "params"),
        ("30 >= params", "params"),
        ("params >= 30", "-params"),
        ("20 < params <= 2 ** 5", "params"),
        ("2 * params + flops / 2 <= 3 * (params - 1) and flops <= max(20, 21)", "flops"),
        ("-(params - flops) * 2 > -40", "2 * params + -2 * flops"),
        ("cost.params <= limits.most", "params"),
    ],
)
def test_a_linear_constraint_is_a_budget(text: str, row: str) -> None:
    rule = formula(text, TREE, {})
    found = bounded(PROBLEM, [rule])
    assert row in found.budget

    def costs(choice: dict[str, int]) -> dict[str, float]:
        return {name: PROBLEM.cost(name, choice) for name in COSTS}

    holding = [choice for choice in EVERY if rule.holds({}, costs(choice))]
    assert 0 < len(holding) < len(EVERY) and [c for c in EVERY if found.fits(c)] == holding
    best = sorted(holding, key=PROBLEM.score)
    assert [s.choice for s in solve(found, 40)] == best


def test_a_tighter_budget_stays_and_what_is_not_linear_is_left() -> None:
    tight = Additive(PROBLEM.scores, COSTS, PROBLEM.fixed, {"params": 20.0})
    assert bounded(tight, [formula("params <= 30", TREE, {})]).budget == {"params": 20.0}
    assert bounded(tight, [formula("params <= 18", TREE, {})]).budget == {"params": 18.0}
    for text in ("params * flops <= 9", "params <= 9 or flops <= 9", "depth <= 3", "params != 9", "params + depth < 9",
                 "sqrt(params) < 9", "flops / params < 2", "params // 2 < 9"):  # fmt: skip
        assert bounded(PROBLEM, [formula(text, TREE, {})]) is PROBLEM, text


def test_what_no_assembly_meets_is_told() -> None:
    found = bounded(PROBLEM, [formula("params <= 10", TREE, {})])
    with pytest.raises(BudgetError, match=r"no assembly fits params <= 10: the cheapest needs 13 \(a=0, b=0, c=0\)"):
        solve(found)


def test_what_is_refused_gives_its_place_in_the_pool_to_the_next_best() -> None:
    sampler = make({"name": "exact", "pool": 3}, SearchSpec(SPACE, additive=PROBLEM))
    odd = {tuple(s.choice.items()) for s in solve(PROBLEM, 27)[::2]}

    def refusal(choice: Choice, costs: object) -> str:
        return "" if tuple(choice.items()) in odd else "where: odd"

    study = run(SPACE, lambda choice: 1.0, sampler, 10, where=refusal)
    done = [t.choice for t in study.trials if t.state == "complete"]
    assert done == [s.choice for s in solve(PROBLEM, 5)[::2]] and len(study.trials) == 5
    assert study.stopped == "exhausted"


def test_a_pool_that_was_told_before_is_not_asked_for_again() -> None:
    best = [s.choice for s in solve(PROBLEM, 4)]
    sampler = make({"name": "exact", "pool": 3}, SearchSpec(SPACE, additive=PROBLEM))
    sampler.tell(best[0], (1.0,))
    sampler.tell(best[1], None)
    assert [sampler.ask(), sampler.ask(), sampler.ask()] == [best[2], best[3], None]
