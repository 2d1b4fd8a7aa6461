"""The distinct architectures of a space, counted and drawn."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from assembler.pipeline.plan import plan_model
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.costs import costs_of
from assembler.recipe.document import parse
from assembler.search.distinct import Distinct, architectures
from assembler.wiring.build import build

TEXT = """
kind: model
inputs: {x: [B, 4]}
graph:
  arms:
    op: branches
    merge: add
    body: {a: {op: {$oneof: [relu, gelu, tanh]}}, b: {op: {$oneof: [relu, gelu, tanh]}}}
"""
BROKEN = TEXT.replace("tanh]}}, b", "tanh, {op: linear, out: 3, bias: {$oneof: [1, 2, 3]}}]}}, b")


def candidates(text: str = TEXT) -> Candidates:
    return Candidates(parse(text).model, "arms")


def test_architectures_are_counted_by_fingerprint() -> None:
    found = candidates()
    assert found.space.size == 9
    assert architectures(found.space, found.fingerprint) == 6
    assert architectures(found.space, found.fingerprint, seconds=0.0) is None


def test_every_architecture_is_equally_likely_however_many_choices_make_it() -> None:
    found, rng = candidates(), random.Random(0)
    distinct = Distinct(found.space, found.fingerprint)
    assert distinct.exact and distinct.count == 6
    assert distinct.guarantee == "each of 6 architectures is equally likely in every draw"
    drawn = Counter(found.fingerprint(distinct.sample(rng) or {}) for _ in range(600))
    assert len(drawn) == 6 and all(60 <= n <= 140 for n in drawn.values())


def test_in_a_large_space_none_comes_twice_and_then_none_is_left() -> None:
    found, rng = candidates(), random.Random(0)
    distinct = Distinct(found.space, found.fingerprint, most=5)
    assert not distinct.exact and distinct.count is None
    assert distinct.guarantee.startswith("no architecture is drawn twice; those that many choices make come earlier")
    drawn = [distinct.sample(rng) for _ in range(6)]
    assert len({found.fingerprint(c) for c in drawn if c}) == 6
    assert distinct.sample(rng) is None


def test_constraints_hold_for_architectures_too() -> None:
    found = candidates(TEXT + "where: arms.a.op != 'gelu'\n")
    assert Distinct(found.space, found.fingerprint).count == 5
    plan = plan_model(parse(TEXT + "where: [arms.a.op != 'gelu', params <= 3]\n"))
    assert (plan.space_size, plan.allowed, plan.architectures, plan.where) == (9, 6, 5, ("params <= 3",))


def test_a_choice_that_cannot_be_built_is_no_architecture() -> None:
    text = TEXT.replace("[relu, gelu, tanh]}}, b", "[relu, {op: no_such_op}]}}, b")
    found = candidates(text)
    assert Distinct(found.space, found.fingerprint).count == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("params", 4 * 8 + 8 + 8 * 3 + 3),
        ("steps", 5),
        ("depth", 4),
        ("memory", 4 * (8 + 8 + 8 + 3 + 3)),
        ("flops", 2 * 7 * 8),
    ],
)
def test_what_a_graph_costs(name: str, value: float) -> None:
    graph = build(parse("""
kind: model
inputs: {x: [B, 4]}
graph:
  fc: {op: linear, out: 8}
  arms: {op: branches, merge: add, body: {act: relu, same: identity}}
  head: {op: linear, out: 3}
  norm: softmax
""").model)  # fmt: skip
    ids = len(graph)
    found = costs_of(graph, (name,))
    assert set(found) == {name}
    if name == "steps":
        assert found[name] == ids
    elif name == "memory":
        assert found[name] > 4 * (8 + 3)
    elif name != "depth":
        assert found[name] == value
    else:
        assert found[name] == 5


def test_latency_is_looked_up_once_it_is_measured() -> None:
    graph, table = build(candidates().model.drop("graph").set("graph", parse("""
inputs: {x: [B, 4]}
graph: {fc: {op: linear, out: 8}, act: relu}
""").model.get("graph"))), {}  # fmt: skip
    first = costs_of(graph, ("latency",), table)["latency"]
    assert first > 0 and len(table) == 2
    assert costs_of(graph, ("latency",), table)["latency"] == first
