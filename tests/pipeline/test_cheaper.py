"""Searches with cheaper trials: inheritance, shared weights, screens and pruning, from recipe to result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from inside import search_inside

from assembler.assemble.runner import Event
from assembler.errors import AssemblerError, InputError, RecipeError
from assembler.pipeline.search.candidates import Candidates
from assembler.pipeline.search.modes import Inherit, differing
from assembler.pipeline.search.run import search_recipe
from assembler.pipeline.search.settings import Running, settings
from assembler.recipe.document import Document, parse
from assembler.search import Study, Trial
from assembler.search.lineage import edits, lineage
from assembler.search.status import status
from assembler.search.storage import load_study

SPACE = """
kind: space
name: little
base:
  inputs: {image: [B, 1, 6, 6]}
  vars: {dim: 4}
  graph:
    stem: {op: conv2d, out: =dim, kernel_size: 3, padding: 1}
    mid: dwconv
    act: relu
    pool: global_avg_pool
    head: {op: linear, out: 3}
  outputs: {logits: head}
choose:
  mid: {$oneof: [dwconv, pool, identity]}
  vars.dim: {$oneof: [2, 4, 8]}
search:
  data: {name: blobs, train: 48, validation: 24, test: 24, size: 6}
  sampler: random
  trials: 4
  train: {epochs: 2, batch: 16}
"""
SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASSEMBLER_HOME", str(tmp_path / "home"))
    search_inside(monkeypatch)
    return tmp_path / "home"


def document(**search: Any) -> Document:
    return parse(SPACE + "".join(f"  {key}: {json.dumps(value)}\n" for key, value in search.items()), "little.yaml")


def searched(**given: Any) -> tuple[Study, list[Event]]:
    found, events = document(), list[Event]()
    return search_recipe(found, settings(found, given), on_event=events.append), events


def outline(study: Study) -> list[tuple[Any, ...]]:
    return [(t.choice, t.values, t.state, t.reason) for t in study.trials]


def test_children_inherit_from_the_nearest_trial_and_the_same_search_reads_them() -> None:
    study, events = searched(mode="inherit", trials=4)
    done = [e for e in events if e.kind == "done"]
    accounts = [e.info.get("account", "") for e in done]
    assert len(done) == 4 and accounts[0] == "" and all(" copied" in said for said in accounts[1:])
    needs = [dict(e.task.needs).get("initial:parent") for e in done]
    assert needs[0] is None and needs[1] == done[0].task
    again, events = searched(mode="inherit", trials=4)
    assert outline(again) == outline(study)
    assert {e.kind for e in events} == {"reused"}


def test_a_trial_tells_whose_weights_it_began_with(tmp_path: Path) -> None:
    found, url = document(), f"journal:///{tmp_path}/study.log"
    study = search_recipe(found, settings(found, {"mode": "inherit", "trials": 3}), Running(storage=url))
    first, *others = study.trials
    assert first.inherited is None and all(t.inherited and " copied" in t.inherited.account for t in others)
    kept = status(load_study(url)).trials
    assert [t.inherited for t in kept] == [t.inherited for t in study.trials]
    link = lineage(kept, kept[1], {})[-1]
    assert kept[1].parent is None and set(link.edits) == set(edits(kept[0].labels, kept[1].labels))
    assert link.notes[0].startswith("it began with the weights of trial 0: ")


def test_the_parent_is_the_nearest_and_of_several_the_best() -> None:
    candidates = Candidates(document().model, "little")
    inherit = Inherit(lambda trial, needs: _task(trial), lambda trial, product: None)  # type: ignore[arg-type,return-value]
    for number, (choice, value) in enumerate([((0, 0), 0.5), ((1, 0), 0.9), ((0, 1), 0.7), ((2, 2), 1.0)]):
        inherit.heard(_trial(number, choice, value))

    def parent(mid: int, dim: int) -> str:
        found = inherit.parent({"mid": mid, "vars.dim": dim})
        assert found is not None
        return found.label

    assert [parent(1, 1), parent(0, 2), parent(2, 0)] == ["1", "3", "3"]
    assert differing({"a": 1, "b": 2}, {"a": 1, "c": 2}) == 2
    assert [d.name for d in candidates.space.decisions] == ["vars.dim", "mid"]


def _trial(number: int, choice: tuple[int, int], value: float) -> Trial:
    return Trial(number, {"mid": choice[0], "vars.dim": choice[1]}, (value,), "complete")


def _task(trial: Trial) -> Any:
    from assembler.assemble.task import task

    return task("assembler.pipeline.jobs:train", {"trial": trial.number}, label=str(trial.number))


@pytest.mark.parametrize(
    ("train", "then"), [("spos", "scratch"), ("sandwich", "tune"), pytest.param("enas", "keep", marks=SLOW)]
)
def test_a_supernet_is_trained_once_and_scores_all(train: str, then: str) -> None:
    study, events = searched(mode="supernet", supernet={"train": train, "epochs": 3, "then": then}, trials=5)
    made = [e.task.run.rpartition(":")[2] for e in events if e.kind == "done" and "jobs" not in e.task.run]
    assert made == ["train"] + ["score"] * 5
    finals = [e for e in events if e.kind == "done" and e.task.run == "assembler.pipeline.jobs:train"]
    assert len(finals) == (then != "keep") and (study.final is None) is (then == "keep")
    assert study.evaluated == 5 and study.best is not None and study.best.value is not None
    again, events = searched(mode="supernet", supernet={"train": train, "epochs": 3, "then": then}, trials=5)
    assert outline(again) == outline(study) and again.final == study.final
    assert "train" not in [e.task.run.rpartition(":")[2] for e in events if e.kind == "done"]


def test_darts_is_discretised_and_its_choice_is_looked_at_first() -> None:
    ops = parse(SPACE.replace("  vars.dim: {$oneof: [2, 4, 8]}\n", ""), "ops.yaml")
    given = {"mode": "supernet", "supernet": {"train": "darts", "epochs": 2}, "trials": 2}
    events: list[Event] = []
    study = search_recipe(ops, settings(ops, given), on_event=events.append)
    shared = next(e for e in events if e.task.run == "assembler.pipeline.search.supernets:train" and e.kind == "done")
    assert study.trials[0].choice == shared.info["preferred"] and study.final is not None


def test_a_screen_trains_the_best_share_alone() -> None:
    study, _ = searched(screen={"by": "params", "keep": 0.34, "of": 9}, trials=3)
    best = sorted((t.costs["params"] for t in study.trials), reverse=True)
    space = Candidates(document().model, "little")
    every = sorted((space.cost(c)["params"] for c in space.space.every()), reverse=True)
    assert [t.costs["params"] for t in study.trials] == best == every[:3] and study.refused == 9 - 4


@pytest.mark.parametrize(
    "by", ["synflow", "predictor", *(pytest.param(one, marks=SLOW) for one in ("naswot", "grad_norm", "snip"))]
)
def test_every_score_can_be_a_screen(by: str) -> None:
    study, _ = searched(screen={"by": by, "keep": 0.5, "of": 4}, trials=2, budget={"params": 60}, train={"steps": 1})
    done = [t for t in study.trials if t.state == "complete"]
    assert len(done) == 2 and all(t.costs["params"] <= 60 for t in done)
    assert all("params" in t.reason for t in study.trials if t.state == "infeasible")


def test_a_pruned_trial_keeps_its_curve_and_leaves_nothing_in_the_store(home: Path) -> None:
    prune = {"name": "dominance", "startup": 1, "share": 0.5}
    study, _ = searched(prune=prune, trials=9, train={"epochs": 4, "batch": 16, "lr": 0.02})
    pruned = [t for t in study.trials if t.state == "pruned"]
    complete = [t for t in study.trials if t.state == "complete"]
    assert pruned and complete and study.evaluated == 9
    for trial in pruned:
        assert trial.values is None and re.fullmatch(r"\d of \d trials dominate it at step \d", trial.reason)
        assert 1 <= len(trial.curve) < 4 and f"step {trial.curve[-1][0]}" in trial.reason
    assert all([step for step, _ in t.curve] == [1, 2, 3, 4] and t.curve[-1][1] == t.values for t in complete)
    assert len(list(home.rglob("weights.safetensors"))) == len(complete)
    again, _ = searched(prune=prune, trials=9, train={"epochs": 4, "batch": 16, "lr": 0.02})
    assert outline(again) == outline(study)


def test_what_is_trained_to_its_end_is_complete() -> None:
    prune = {"name": "dominance", "startup": 1, "share": 0.1, "warmup": 1}
    study, _ = searched(prune=prune, trials=5, train={"epochs": 2, "batch": 16, "lr": 0.02})
    assert [t.state for t in study.trials] == ["complete"] * 5


def test_several_objectives_are_pruned_by_dominance() -> None:
    goals = {"validation": "maximize", "params": "minimize"}
    prune = {"name": "dominance", "startup": 1, "share": 0.1}
    study, _ = searched(objectives=goals, prune=prune, trials=9, train={"epochs": 3, "batch": 16, "lr": 0.02})
    assert {t.state for t in study.trials} >= {"complete"}
    for trial in study.trials:
        assert all(values[1] == trial.costs["params"] for _, values in trial.curve)
    smallest = min(study.trials, key=lambda t: t.costs["params"])
    assert smallest.state == "complete", "nothing dominates what is cheapest"


MISTAKES = [
    ({"screen": {"by": "sinflow"}}, "unknown proxy 'sinflow'"),
    ({"screen": {"by": "synflow", "keep": 0}}, "'keep' of a screen is a share above 0 and up to 1, not 0"),
    ({"prune": "medain"}, "unknown pruner 'medain'"),
    ({"prune": "median", "objectives": {"validation": "maximize", "params": "minimize"}}, "use dominance"),
    ({"prune": "median", "objectives": {"loss": "minimize"}}, "'loss' is known when a training has ended"),
    ({"supernet": {"train": "spos"}}, "'supernet' is for mode: supernet, not trials"),
    ({"mode": "supernet", "prune": "median"}, "no trial is trained, so that none can be pruned"),
    ({"mode": "supernets"}, "'mode' of 'search' must be"),
]


@pytest.mark.parametrize(("given", "said"), MISTAKES)
def test_what_is_wrong_is_said_before_anything_is_trained(given: dict[str, Any], said: str, home: Path) -> None:
    with pytest.raises((InputError, RecipeError, AssemblerError)) as caught:
        searched(**given)
    assert said in str(caught.value)
    assert not list(home.rglob("card.json"))
