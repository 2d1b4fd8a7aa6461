"""Blocks with a depth: every call makes its own choices, and the recursion ends."""

from __future__ import annotations

import random

import pytest

from assembler.errors import RecipeError
from assembler.recipe.choices import decide, space
from assembler.recipe.document import Document, parse
from assembler.recipe.values import plain
from assembler.recipe.write import to_yaml
from assembler.wiring.build import build
from assembler.wiring.lint import lint

TREE = """
kind: model
inputs: {{x: [B, 8]}}
blocks:
  cell:
    depth: {depth}
    body:
      left: {{op: {{$oneof: [relu, gelu, {{op: cell}}]}}}}
      right: {{op: {{$oneof: [tanh, cell]}}}}
graph:
  net: {{op: cell}}
  head: {{op: linear, out: 4}}
"""


def tree(depth: int) -> Document:
    return parse(TREE.format(depth=depth), "tree.yaml")


def known(depth: int) -> int:
    """Sentences of cell -> (relu | gelu | cell) (tanh | cell)."""
    return 0 if depth == 0 else (2 + known(depth - 1)) * (1 + known(depth - 1))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_the_size_is_the_number_of_sentences(depth: int) -> None:
    found = space(tree(depth).model)
    assert found.size == known(depth)
    if depth < 3:
        made = list(found.every())
        assert len(made) == known(depth)
        assert len({build(decide(tree(depth).model, c)).fingerprint for c in made}) == known(depth)


def test_decisions_are_named_by_the_call_that_makes_them() -> None:
    names = [d.name for d in space(tree(2).model).decisions]
    assert names == [
        "net.left.op",
        "net.left.op[cell].left.op",
        "net.right.op",
        "net.right.op[cell].left.op",
    ]


def test_a_choice_builds_and_its_recipe_is_an_ordinary_one() -> None:
    document = tree(3)
    choice = space(document.model).uniform(random.Random(3))
    made = decide(document.model, choice)
    graph = build(made)
    assert space(made).decisions == ()
    assert "$" not in to_yaml(made)
    again = parse(to_yaml(made), "again.yaml")
    assert build(again.model).fingerprint == graph.fingerprint
    assert [n.op for _, n in graph][-1] == "linear"


def test_each_call_of_the_graph_chooses_alone_and_copies_of_one_share() -> None:
    two = TREE.format(depth=1).replace("net: {op: cell}", "a: {op: cell}\n  b: {op: cell, repeat: 2}")
    found = space(parse(two).model)
    assert [d.name for d in found.decisions] == ["a.left.op", "b.left.op"]
    document = parse(two)
    graph = build(decide(document.model, {"a.left.op": 0, "b.left.op": 1}))
    assert [n.op for _, n in graph] == ["relu", "tanh", "gelu", "tanh", "gelu", "tanh", "linear"]


def test_two_blocks_may_call_each_other() -> None:
    text = """
kind: model
inputs: {x: [B, 8]}
blocks:
  sum:
    depth: 2
    body: {both: {op: branches, merge: add, body: {a: {op: product}, b: {op: {$oneof: [identity, product]}}}}}
  product:
    depth: 2
    body: {one: {op: {$oneof: [relu, {op: sum}]}}}
graph: {net: {op: sum}}
"""
    found = parse(text)
    assert lint(found) == []
    outer = 1 + 1 * 2  # a product in a sum: relu, or a sum in which both products are the last
    assert space(found.model).size == outer * (1 + outer) == len(list(space(found.model).every()))
    graph = build(found.default)
    assert {n.op for _, n in graph} >= {"relu", "add"}


def test_a_call_may_say_a_step_itself() -> None:
    said = TREE.format(depth=2).replace("net: {op: cell}", "net: {op: cell, left: {op: identity}}")
    assert [d.name for d in space(parse(said).model).decisions] == ["net.right.op", "net.right.op[cell].left.op"]


def test_arguments_are_read_where_the_call_stands() -> None:
    text = """
kind: model
inputs: {x: [B, 8]}
blocks:
  cell:
    depth: 3
    params: {dim: 16}
    body:
      fc: {op: linear, out: =dim}
      more: {op: {$oneof: [relu, {op: cell, dim: =dim * 2}]}}
graph: {net: {op: cell, dim: 4}}
"""
    document = parse(text)
    deepest = list(space(document.model).every())[-1]
    graph = build(decide(document.model, deepest))
    assert [n.arg("out") for _, n in graph if n.op == "linear"] == [4, 8, 16]


def test_the_parser_of_the_space_is_that_of_the_symbolic_recipe() -> None:
    from assembler.symbolic.recipe import symbolic
    from assembler.symbolic.recipe import tree as tree_of

    document = tree(3)
    assert symbolic(document).space == space(document.model)
    assert plain(tree_of(symbolic(document)).get("graph")) == plain(document.model.get("graph"))


def test_a_grammar_that_is_too_large_is_refused() -> None:
    with pytest.raises(RecipeError, match="block 'cell' unrolls to more than 5,000 calls"):
        tree(20)


def test_what_unrolls_once_is_not_unrolled_again() -> None:
    model = tree(2).model
    assert "depth" not in plain(model.get("blocks"))["cell"]
