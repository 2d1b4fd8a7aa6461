"""Checks of choices and of searches among them, and claims that hold for so many seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from claim_case import verdict

import assembler as asm
from assembler.errors import RecipeError
from assembler.recipe.choices import Choice
from assembler.recipe.document import load
from assembler.registry import sampler
from assembler.registry.live import LIVE
from assembler.search import Sampler, SearchSpec
from assembler.symbolic.recipe import Coder

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


DIGITS = """\
kind: space
base:
  vars: {dim: 8, rate: 0.001}
  inputs: {image: [B, 1, 8, 8]}
  graph: {flat: flatten, hidden: {op: linear, out: =dim}, act: relu, logits: {op: linear, out: 10}}
choose:
  vars.dim: {$oneof: [4, 16]}
  vars.rate: {$oneof: [1e-5, 1e-2]}
search: {data: digits, sampler: grid, train: {steps: 20, lr: =rate}}
"""


def among(trials: int, figure: str) -> str:
    metric = f"metric: {{check: found, objective: validation, trials: {trials}, figure: {figure}}}"
    return f"arms: {{a: {{}}, b: {{search.sampler: random}}}}, {metric}"


def test_arms_search_among_choices_that_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    every = found(f"{among(4, 'regret')}, seeds: 3, expect: a == 0 and b == 0", DIGITS)
    assert every.holds and every.measures == "found"
    made = [card for card in (tmp_path / "home").rglob("card.json")]
    assert len(made) == 4
    first = found(f"{among(1, 'regret')}, seeds: 3, expect: a > 0", DIGITS)
    assert first.holds and first.arms[0].values[0] > 0.1, "a rate of 1e-5 learns nothing"
    best, mean = (found(f"{among(4, figure)}, expect: a > 0", DIGITS).arms[0].mean for figure in ("best", "mean"))
    assert mean < best
    assert [card for card in (tmp_path / "home").rglob("card.json")] == made


@pytest.mark.parametrize(
    ("claim", "space", "message"),
    [
        ("check: found, objective: validation, expect: '> 0'", DIGITS, "are trained for the metric of arms alone"),
        (f"{among(2, 'best')}, expect: a > 0", SPACE, "the choices need a space's 'search' with data"),
        (
            f"{among(2, 'best')}, expect: a > 0",
            DIGITS.replace("[4, 16]", "[4, 16]}\n  vars.more: {$int: [1, 6000]").replace("dim: 8", "dim: 8, more: 1"),
            "the claim would train every choice, and there are 24,000",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_for_a_claim_is_told(claim: str, space: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        found(claim, space)
    assert message in str(caught.value)


def test_networks_are_the_same_when_a_choice_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("check: unlike_replays, most: 5, expect: == 0").holds
    read = Coder.read
    monkeypatch.setattr(Coder, "read", lambda self, numbers: {**read(self, numbers), "vars.dim": 0})
    assert found("check: unlike_replays, most: 5, expect: '> 0'").holds


def test_no_network_is_made_while_a_decision_is_open() -> None:
    unused = SPACE.replace("{dim: 8}", "{dim: 8, unused: 1}").replace(
        "  vars.dim:", "  vars.unused: {$int: [1, 2]}\n  vars.dim:"
    )
    assert found("check: open_builds, most: 3, expect: == 0", unused).holds
    taken = SPACE.replace("choose:", "moves: [deepen]\nchoose:")
    assert found("check: open_builds, most: 3, expect: == 0", taken).holds
