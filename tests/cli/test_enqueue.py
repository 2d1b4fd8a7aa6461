"""A recipe is enqueued as the candidate that it is, however it is written, or refused with what it has otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.matching import choice_of
from assembler.recipe.choices.chosen import chosen
from assembler.recipe.document import load, parse
from assembler.search.storage import open_study

Call = Callable[..., Result]
NET = """
kind: model
name: net
inputs: {image: [B, 1, 8, 8]}
vars: {dim: {$oneof: [4, 8, 16]}, drop: {$float: [0.0, 0.5]}}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
  mid: {$oneof: [dwconv, pool, {op: conv_mlp, ratio: {$oneof: [1, 2]}}]}
  twice: {op: shuffle, of: {$manyof: [1, 2, 3], k: 2}}
  act: relu
  drop: {op: dropout, p: =drop}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
""".replace("  twice: {op: shuffle, of: {$manyof: [1, 2, 3], k: 2}}\n", "")
SAME = """
kind: model
inputs: {image: [B, 1, 8, 8]}
vars: {dim: 16, drop: 0.25}
graph:
  stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
  mid: {op: conv_mlp, ratio: 2}
  act: relu
  drop: {op: dropout, p: =drop}
  pool: global_avg_pool
  head: {op: linear, out: 3}
outputs: {logits: head}
"""
OTHERWISE = (
    SAME.replace("{dim: 16, drop: 0.25}", "{k: 3, drop: 0.25}").replace("=dim", "=5 * k + 1").replace("2}", "=1 + 1}")
)
MOVES = "moves: {most: 2, of: [{rewrite: widen, factor: 2}, deepen]}\n"


@pytest.fixture
def url(place: Path) -> str:
    """A study that nobody has begun to search."""
    return study_of(place, NET)


def study_of(place: Path, text: str) -> str:
    found, url = Candidates(parse(text).model, "net"), f"journal:///{place}/study.log"
    with open_study(url, "net").join(found.space, found.recipe, {}, 1, found.text):
        return url


@pytest.mark.parametrize("text", [SAME, OTHERWISE], ids=["written alike", "written otherwise"])
def test_a_recipe_is_enqueued_as_the_candidate_that_it_is(url: str, place: Path, call: Call, text: str) -> None:
    (place / "wide.yaml").write_text(text)
    said = call("steer", url, "--enqueue", "wide.yaml")
    assert said.exit_code == 0, said.output
    assert said.stdout == "trial 0 is to be vars.dim=16, vars.drop=0.25, mid=conv_mlp, mid[conv_mlp].ratio=2\n"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("mid: {op: conv_mlp, ratio: 2}", "mid: identity", "differs in ~ mid: op dwconv -> identity"),
        ("dim: 16", "dim: 12", "differs in ~ stem: arg out 8 -> 12"),
        ("drop: 0.25", "drop: 0.75", "differs in ~ drop: arg p "),
        ("  act: relu\n", "", "differs in - act: relu("),
        ("  act: relu\n", "  a: relu\n  b: relu\n  c: gelu\n", " and 2 more"),
    ],
)
def test_what_is_no_candidate_is_told_with_the_nearest(
    url: str, place: Path, call: Call, old: str, new: str, told: str
) -> None:
    assert old in SAME
    (place / "mine.yaml").write_text(SAME.replace(old, new))
    said = call("steer", url, "--enqueue", "mine.yaml")
    assert said.exit_code == 2
    assert "recipe 'mine' is no candidate of 'net'\n    hint: of the nearest one it " in said.stderr
    assert told in said.stderr, said.stderr


def test_a_recipe_that_is_not_there_is_told(url: str, call: Call) -> None:
    said = call("steer", url, "--enqueue", "min.yaml")
    assert said.exit_code == 2 and "cannot find recipe 'min.yaml': no such file" in said.stderr


def test_what_breaks_a_constraint_is_told_at_once(place: Path, call: Call) -> None:
    url = study_of(place, NET + "where: [vars.dim * 2 <= 16, params < 10]\n")
    said = call("steer", url, "--enqueue", "{vars.dim: 16}")
    assert said.exit_code == 2
    assert said.stderr == (
        "error: no candidate with vars.dim=16 meets the constraints of the space: where: vars.dim * 2 <= 16\n"
    )
    assert call("steer", url, "--enqueue", "{mid: pool}").exit_code == 0


@pytest.mark.parametrize("text", ["vars.dim: 4", "vars.dim=4"])
def test_decisions_without_braces_are_told(url: str, call: Call, text: str) -> None:
    said = call("steer", url, "--enqueue", text)
    assert said.exit_code == 2
    hint = "    hint: give decisions in braces: '{vars.dim: 4}'\n"
    assert said.stderr == f"error: '{text}' is no recipe\n{hint}"


def test_with_moves_what_can_be_moved_to_is_a_candidate(place: Path, call: Call) -> None:
    url = study_of(place, without_drop(NET) + MOVES)
    pool = without_drop(SAME).replace("{op: conv_mlp, ratio: 2}", "pool")
    (place / "wide.yaml").write_text(pool.replace("=dim", "64"))
    said = call("steer", url, "--enqueue", "wide.yaml")
    assert said.exit_code == 0, said.output
    assert (
        "vars.dim=16, vars.drop=0.25, mid=pool, moves=[" in said.stdout and said.stdout.count('"rewrite": "widen"') == 2
    )
    (place / "wider.yaml").write_text(pool.replace("=dim", "128"))
    told = call("steer", url, "--enqueue", "wider.yaml").stderr
    assert "of the nearest one it differs in ~ stem: arg out " in told, told


def without_drop(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if "{op: dropout" not in line)


@pytest.mark.parametrize("name", ["stage_mixers", "nas_bench_201", "mobilenet_v3", "elastic_vit", "language_model"])
def test_every_recipe_of_a_shipped_space_is_found_again(name: str) -> None:
    import random

    document = load(name)
    candidates = Candidates(document.model, name)
    for seed in range(3):
        choice = candidates.space.sample(random.Random(seed))
        made = parse(candidates.recipe(choice))
        assert chosen(candidates.model, candidates.space, made.model) == choice
        assert choice_of(candidates, made) == choice
