"""Constraints of a space: what they read, what they refuse, and which of them empties a space."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from assembler.errors import RecipeError
from assembler.recipe.choices import Space, space
from assembler.recipe.document import parse
from assembler.recipe.values import Map, marked

TREE = {
    "vars": {"depth": {"$int": [1, 4]}, "dim": 16},
    "stage": [
        {"mixer": {"$oneof": ["pool", {"op": "attention", "heads": {"$oneof": [1, 2, 4]}}]}},
        {"mixer": {"$oneof": ["pool", {"op": "attention", "heads": {"$oneof": [1, 2, 4]}}]}},
    ],
    "rate": {"$oneof": [0.1, 0.2]},
    "taps": {"$manyof": [0, 1, 2], "k": 2, "sorted": True},
}


def under(*where: str, **more: Any) -> Space:
    tree = marked({**TREE, **more, "where": list(where)})
    assert isinstance(tree, Map)
    return space(tree)


def left(*where: str) -> int:
    return len(list(under(*where).every()))


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        ("vars.depth >= 2", 3 / 4),
        ("stage.0.mixer != 'attention'", 1 / 4),
        ("stage.0.mixer != 'attention' or vars.depth >= 2", 1 / 4 + 3 / 4 * 3 / 4),
        ("count(stage.*.mixer, 'attention') <= 1", 1 - 9 / 16),
        ("stage.0.mixer[attention].heads == null or stage.0.mixer[attention].heads > 1", 1 / 4 + 2 / 4),
        ("rate < 0.15", 1 / 2),
        ("2 in taps", 2 / 3),
        ("vars.dim * vars.depth <= 32", 2 / 4),
        ("len(stage.*.mixer) == 2", 1),
        ("stage.0.mixer == stage.1.mixer", 10 / 16),
    ],
)
def test_a_constraint_leaves_what_it_says(rule: str, share: float) -> None:
    assert under().size == 4 * 4 * 4 * 2 * 3
    assert left(rule) == under(rule).count() == round(384 * share)


def test_constraints_are_counted_together() -> None:
    rules = ("vars.depth >= 2", "count(stage.*.mixer, 'attention') <= 1", "rate < 0.15 or vars.depth == 2")
    assert left(*rules) == under(*rules).count()
    assert under(*rules).size == 384


def test_counting_does_not_enumerate_what_no_constraint_reads() -> None:
    tree = marked({**{f"x{i}": {"$int": [1, 10]} for i in range(30)}, "where": ["x0 + x1 <= 3"]})
    assert isinstance(tree, Map)
    assert space(tree).count() == 3 * 10**28


def test_every_choice_that_a_constraint_leaves_is_drawn_equally_often() -> None:
    import random

    found, rng = under("count(stage.*.mixer, 'attention') == 1", "vars.depth == 1"), random.Random(0)
    drawn = Counter(tuple(found.uniform(rng).items()) for _ in range(3600))
    assert len(drawn) == found.count() == 36
    assert all(60 <= n <= 145 for n in drawn.values())  # 100 each, more than four standard deviations either way


def test_the_reason_of_a_refusal_is_the_constraint() -> None:
    found = under("vars.depth >= 2", "params <= 1e6", "steps < 9")
    choice = found.first
    assert found.refusal(choice) == "where: vars.depth >= 2"
    assert found.refusal({**choice, "vars.depth": 3}) == ""
    assert found.refusal(choice, {"params": 2e6, "steps": 3}) == "where: params <= 1e6"
    assert found.refusal(choice, {"params": 1.0, "steps": 3}) == ""
    assert found.costs == {"params", "steps"}


CALLED = {"depth": {"$oneof": ["relu", "gelu", "tanh"]}, "min": {"$oneof": ["relu", "tanh"]}}


@pytest.mark.parametrize(
    ("rule", "count", "costs"),
    [
        ("graph.depth != 'relu'", 4, set()),
        ("cost.depth <= 3", 6, {"depth"}),
        ("graph.depth == 'relu' or cost.depth < 3 or steps < 9", 6, {"depth", "steps"}),
        ("graph.min != graph.depth", 4, set()),
    ],
)
def test_a_decision_and_a_cost_of_one_name_are_told_apart(rule: str, count: int, costs: set[str]) -> None:
    found = space(marked({"graph": CALLED, "where": [rule]}))
    assert (found.count(), found.costs) == (count, costs)
    if "depth" in costs:
        assert found.refusal({"depth": 1, "min": 0}, {"depth": 3.0, "steps": 9.0}) == (
            "" if rule == "cost.depth <= 3" else f"where: {rule}"
        )
    with pytest.raises(RecipeError, match="where: 'depth' is a decision and a cost") as caught:
        space(marked({"graph": CALLED, "where": ["depth <= 3"]}))
    assert "write graph.depth for the decision, cost.depth for the cost" in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            ["vars.depth > 4"],
            "where: 'vars.depth > 4' leaves no choice\n    hint: of 4 combinations of what it reads none",
        ),
        (
            ["rate < 0.15", "vars.depth > 3", "vars.depth + rate < 3"],
            "where: 'vars.depth > 3' and 'vars.depth + rate < 3' leave no choice",
        ),
        (
            ["vars.depth != 1", "vars.depth != 2", "vars.depth < 3", "rate < 1"],
            "where: 'vars.depth != 1', 'vars.depth != 2' and 'vars.depth < 3' leave no choice",
        ),
    ],
)
def test_the_constraints_that_empty_a_space_are_named(rules: list[str], message: str) -> None:
    import random

    found = under(*rules)
    problem = found.contradiction()
    assert problem is not None and message in str(RecipeError(problem))
    assert found.count() == 0
    with pytest.raises(RecipeError, match=r"leaves? no choice"):
        found.uniform(random.Random(0))
    assert under("rate < 0.15").contradiction() is None


def test_draws_go_on_until_one_fits_where_too_much_would_have_to_be_enumerated() -> None:
    import random

    found = under("vars.depth >= 2")
    assert all(found.uniform(random.Random(i), most=1)["vars.depth"] >= 2 for i in range(20))  # type: ignore[operator]
    assert found.count(most=1) is None
    with pytest.raises(RecipeError, match=r"none of 20,000 choices drawn meets where: 'vars.depth > 4'"):
        under("vars.depth > 4").uniform(random.Random(0), most=1)


def test_where_of_a_space_comes_on_top_of_that_of_its_base() -> None:
    text = """
kind: space
base:
  inputs: {x: [B, 4]}
  graph: {fc: {op: linear, out: {$int: [1, 9]}}}
  where: fc.out > 2
where: [fc.out < 7]
"""
    document = parse(text)
    assert space(document.model).count() == 4
    assert len(document.default) and space(document.default).where == ()
