"""`asm.search`: all that a recipe's `search:` section says can be said to it, with an objective or with trainings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inside import search_inside

import assembler as asm
from assembler.compile.model import Compiled
from assembler.errors import AssemblerError
from assembler.pipeline.search.run import search_recipe
from assembler.pipeline.search.settings import settings
from assembler.recipe.document import parse
from assembler.search import Study

sys.path.insert(0, str(Path(__file__).parent))

from scored import RECIPE, rising, size

SPACE = """
kind: space
name: little
base:
  inputs: {image: [B, 1, 6, 6]}
  graph:
    stem: {op: conv2d, out: 4, kernel_size: 3, padding: 1}
    mid: dwconv
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
choose:
  mid: {$oneof: [dwconv, pool, identity]}
  stem.out: {$oneof: [2, 4, 8]}
where: [params <= 90]
search:
  data: {name: blobs, train: 48, validation: 24, test: 24, size: 6}
  sampler: random
  trials: 3
  train: {epochs: 2, batch: 16}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))


def outline(study: Study) -> list[tuple[Any, ...]]:
    return [(t.choice, t.values, t.state, t.reason, t.curve) for t in study.trials]


@pytest.mark.parametrize(
    "given",
    [
        {"prune": {"name": "dominance", "startup": 1}, "objectives": {"validation": "maximize", "params": "minimize"}},
        {"screen": {"by": "params", "keep": 0.5, "of": 4}, "mode": "inherit", "budget": {"params": 60}},
        {"mode": "supernet", "supernet": {"train": "spos", "epochs": 1, "then": "keep"}, "sampler": "evolution"},
    ],
    ids=["pruned", "screened_inheriting", "supernet"],
)
def test_without_an_objective_it_is_the_search_of_the_command_line(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    search_inside(monkeypatch)
    document = parse(SPACE, "little.yaml")
    study = asm.search(document, **given, seed=1)
    assert study.evaluated == 3 and outline(study) == outline(
        search_recipe(document, settings(document, given | {"seed": 1}))
    )
    assert all(t.costs["params"] <= 90 for t in study.trials if t.state == "complete")


def test_a_symbolic_recipe_is_told_what_it_does_not_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    search_inside(monkeypatch)
    (tmp_path / "little.yaml").write_text(SPACE)
    recipe, how = asm.load(tmp_path / "little.yaml"), settings(parse(SPACE), {})
    study = asm.search(recipe, data=how.data, train=how.train, trials=3, sampler="random")
    assert outline(study) == outline(asm.search(tmp_path / "little.yaml"))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_objective_that_yields_can_be_ended_early(workers: int) -> None:
    calls: list[int] = []

    def counted(model: Compiled) -> Iterator[float]:
        for value in rising(model):
            calls.append(len(calls))
            yield value

    objective = rising if workers > 1 else counted
    prune = {"name": "dominance", "startup": 2, "share": 0.5}
    study = asm.search(
        parse(RECIPE), objective, sampler="grid", trials=12, prune=prune, workers=workers, direction="minimize"
    )
    pruned = [t for t in study.trials if t.state == "pruned"]
    complete = [t for t in study.trials if t.state == "complete"]
    assert pruned and complete and len(pruned) + len(complete) == 12
    assert all(t.values == t.curve[-1][1] and len(t.curve) == 4 for t in complete)
    assert all(t.values is None and 1 <= len(t.curve) < 4 and "dominate it at step" in t.reason for t in pruned)
    if workers == 1:
        assert len(calls) == sum(len(t.curve) for t in study.trials)


def test_without_a_pruner_the_last_that_it_yields_is_its_value() -> None:
    study = asm.search(parse(RECIPE), rising, sampler="grid", trials=2)
    assert [t.values for t in study.trials] == [(4.0,), (8.0,)]


def test_costs_are_objectives_beside_what_a_function_gives() -> None:
    goals = {"score": "maximize", "params": "minimize"}
    study = asm.search(parse(RECIPE), size, sampler="grid", trials=4, objectives=goals)
    assert [t.values for t in study.trials] == [(p, p) for p in (t.costs["params"] for t in study.trials)]
    assert len(study.front) == 4, "more is better in one, less in the other"


def test_a_screen_goes_before_an_objective() -> None:
    data = {"name": "blobs", "train": 8, "validation": 8, "test": 8, "size": 6}
    study = asm.search(
        parse(RECIPE), size, sampler="grid", trials=3, data=data, screen={"by": "params", "keep": 0.25, "of": 12}
    )
    assert [t.labels["a.out"] for t in study.trials] == ["12", "11", "10"] and study.refused == 9


def test_a_loaded_space_is_searched_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    search_inside(monkeypatch)
    (tmp_path / "little.yaml").write_text(SPACE)
    recipe = asm.load(tmp_path / "little.yaml").rebind({"head.bias": False})
    found, same = asm.search(recipe), asm.search(parse(SPACE, overrides=["head.bias=false"]))
    assert [(t.labels, t.values) for t in found.trials] == [(t.labels, t.values) for t in same.trials]
    assert asm.search(recipe, trials=1).evaluated == 1 < found.evaluated


MISTAKES: list[tuple[bool, dict[str, Any], str]] = [
    (True, {"trails": 4}, "'search' has no setting 'trails'"),
    (True, {"mode": "inherit"}, "mode: inherit trains candidates, and an objective scores them as they are built"),
    (True, {"mode": "parts"}, "'faults' has no slots with trained parts to search"),
    (True, {"objectives": {"score": "maximise"}}, "'score' is to maximize or to minimize, not to 'maximise'"),
    (True, {"direction": ["maximize", "minimize"]}, "the objective gave 1 values"),
    (True, {"screen": {"by": "synflow"}}, "'search' needs 'data': a screen looks at samples"),
    (False, {}, "'search' needs 'data': its candidates are trained"),
    (False, {"data": "digits", "direction": "minimize"}, "'direction' is that of an objective function"),
    (False, {"data": "digits", "objectives": {"score": "maximize"}}, "there is no metric 'score'"),
]


@pytest.mark.parametrize(("scored", "given", "said"), MISTAKES)
def test_what_is_wrong_is_said_at_once(scored: bool, given: dict[str, Any], said: str) -> None:
    with pytest.raises(AssemblerError) as caught:
        asm.search(parse(RECIPE), size if scored else None, **{"sampler": "tpe", "trials": 2, **given})
    assert said in str(caught.value) and caught.value.exit_code == 2
