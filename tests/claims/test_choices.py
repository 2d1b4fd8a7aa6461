"""Checks of choices and of searches among them, and claims that hold for so many seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from claim_case import verdict

import assembler as asm
from assembler.recipe.choices import Choice
from assembler.recipe.document import load
from assembler.registry import sampler
from assembler.registry.live import LIVE
from assembler.search import Sampler, SearchSpec

SPACE = """\
kind: space
base:
  vars: {dim: 8}
  inputs: {x: [B, 4]}
  graph:
    block: {repeat: 3, body: {act: {op: relu}, up: {op: linear, out: =dim}}}
    head: {op: linear, out: 2}
choose:
  block.*.act: {$oneof: [relu, gelu, tanh]}
  vars.dim: {$oneof: [4, 8, 16, 32]}
search: {sampler: grid}
"""


def found(claim: str, space: str = SPACE) -> Any:
    return verdict(f"{space}claims:\n  it: {{doc: A claim., {claim}}}\n")


@pytest.mark.parametrize("by", ["product", "list", "pyglove"])
def test_choices_are_counted_three_ways(by: str) -> None:
    assert found(f"check: choices, by: {by}, expect: == 108").values == (108,)


def test_choices_that_constraints_refuse_are_not_listed() -> None:
    space = SPACE + "where: vars.dim <= 8\n"
    assert found("check: choices, by: list, expect: == 54", space).holds
    assert found("check: choices, expect: == 108", space).holds


def test_no_choice_is_lost_as_dna_whatever_the_order_of_steps() -> None:
    mixed = SPACE.replace("block.*.act:", "block.up.out: {$int: [4, 6]}\n  block.*.act:")
    assert found("check: lost_choices, made: 8, expect: == 0", mixed).holds


def test_candidates_differ_where_decisions_do() -> None:
    assert found("check: strays, most: 10, expect: == 0").holds


def test_a_stray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = asm.load("stage_mixers")
    one, other = recipe.space.first, {**recipe.space.first, "vars.depth": 2}
    assert recipe.strays(one, other) == []
    monkeypatch.setattr(
        type(recipe), "decided", lambda self, choice: self.clone().rebind({"vars.classes": len(choice)})
    )
    assert recipe.strays(one, {"vars.depth": 2}) == ["vars.classes"]


def test_the_best_of_a_search_is_found_by_decisions_and_by_costs() -> None:
    score = "'count(block.*.act, ''gelu'') - abs(vars.dim - 16)'"
    assert found(f"check: found, objective: {score}, trials: 108, expect: == 3").holds
    # head: 4 * 2 + 2; three layers of 4 * 4 + 4
    assert found("check: found, objective: 0 - params, trials: 108, expect: == -70").holds
    assert found("check: found, objective: vars.dim, trials: 1, expect: == 4").holds


def test_refused_choices_are_not_found() -> None:
    claim = "check: found, objective: vars.dim, trials: 108, expect: == 8"
    assert found(claim, SPACE + "where: [vars.dim < 16, params < 1e6]\n").holds


def test_neighbours_are_alike_where_the_landscape_is_smooth_alone() -> None:
    smooth = found("check: locality, objective: \"count(block.*.act, 'gelu')\", expect: '> 0.5'")
    rugged = "objective: \"(count(block.*.act, 'gelu') + count(block.*.act, 'tanh') + vars.dim // 4) * 7919 % 5\""
    assert smooth.holds
    assert not found(f"check: locality, {rugged}, expect: '> 0.5'").holds


def test_nested_loops_find_the_best_of_the_product() -> None:
    score = "\"vars.dim * (block.0.act == 'tanh') - 40 * (block.1.act == 'relu')\""
    nested = "{search.sampler: {name: nested, over: block.*.act, outer: random, inner: random, trials: 4}}"
    claim = f"arms: {{nested: {nested}, all: {{}}}}, metric: {{check: found, objective: {score}, trials: 108}}"
    assert found(f"{claim}, expect: nested == all and all == 32").holds


def test_a_claim_may_hold_for_so_many_seeds() -> None:
    arms = "arms: {a: {search.sampler: random}}, metric: {check: found, objective: vars.dim, trials: 1}, seeds: 6"
    picked = [int(v) for v in found(f"{arms}, expect: a > 0").arms[0].values]
    high = sum(v > 8 for v in picked)
    assert 0 < high < 6
    assert found(f"{arms}, seeds_holding: {high}, expect: a > 8").holds
    assert not found(f"{arms}, seeds_holding: {high + 1}, expect: a > 8").holds
    exact = "check: found, objective: vars.dim, trials: 1, at: {search.sampler: random}, seeds: 6, expect: '> 8'"
    assert not found(exact).holds
    assert found(f"{exact}, seeds_holding: {high}").holds


def test_a_search_that_changes_the_childs_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text("inputs: {x: [B, 4]}\ngraph: {a: relu, b: {op: linear, out: 2}}\n")
    (tmp_path / "s.yaml").write_text(
        "kind: space\nbase: child.yaml\nchoose: {a: {$oneof: [relu, gelu]}}\nsearch: {sampler: scribbling}\n"
        "claims: {same: {doc: A., check: changed_by_search, objective: 0 - params, trials: 2, expect: == 0}}\n"
    )

    @sampler("scribbling")
    class Scribbling(Sampler):
        def __init__(self, spec: SearchSpec) -> None:
            super().__init__(spec)

        def ask(self) -> Choice:
            with (tmp_path / "child.yaml").open("a") as file:
                file.write("# another line\n")
            return self.space.first

    try:
        (told,) = asm.verify(load(tmp_path / "s.yaml"))
        assert (told.holds, told.values) == (False, (1,))
        (told,) = asm.verify(load(tmp_path / "s.yaml", ["search.sampler=random"]))
        assert told.holds
    finally:
        del LIVE["sampler", "scribbling"]
