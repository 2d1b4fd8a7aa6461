"""Runs that train models further from one start and merge them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import Done, changed, run_tiny

import assembler as asm
from assembler.errors import AssemblerError

HEAD = changed(("split: [stage.*]\nspace:\n  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n", "")).partition(
    "phases:"
)[0]
PHASES = """phases:
  teacher: {train: {epochs: 1}}
  one: {phase: tune, of: teacher, train: {epochs: 1}}
  two: {phase: tune, of: teacher, train: {epochs: 1, lr: 4e-2}, trained: [head]}
"""


def run(merge: str, home: Path, phases: str = PHASES) -> Done:
    return run_tiny(
        "seeds=[0]", home=home, text=f"{HEAD}{phases}  merge: {merge}\n  export: {{formats: [safetensors]}}\n"
    )


@pytest.mark.parametrize(
    "merge",
    [
        "{of: [one, two]}",
        "{of: [one, two], base: teacher, method: {name: ties, density: [0.2, 0.8]}, weights: [1, 0.5]}",
    ],
)
def test_models_tuned_from_one_are_merged(merge: str, places: Path) -> None:
    found = run(merge, places / "home")
    assert found.summary["failures"] == [] and found.made["merge"] == 1
    assert set(found.summary["models"]) == {"teacher", "one", "two", "merge"}
    assert found.summary["models"]["merge"]["test"] is not None
    products = {e.task.phase: e for e in found.events if e.kind == "done"}
    assert products["merge"].info["train_flops"] == 0 and products["merge"].info["merged"] == [0, 1]
    assert "head.weight" in asm.build(found.folder).state_dict()


def test_what_is_not_trained_keeps_its_weights(places: Path) -> None:
    found = run("{of: [two]}", places / "home")
    kept = asm.build(found.folder).state_dict()
    start = run_tiny("seeds=[0]", home=places / "home", text=f"{HEAD}{PHASES.partition('  one')[0]}  export: {{}}\n")
    for key, value in asm.build(start.folder).state_dict().items():
        assert torch.equal(kept[key], value) != key.startswith("head."), key


def test_a_greedy_soup_leaves_out_what_makes_it_worse(places: Path) -> None:
    phases = PHASES.replace("lr: 4e-2}, trained: [head]", "lr: 30.0}")
    found = run("{of: [two, one], greedy: true}", places / "home", phases)
    scores = {e.task.phase: e.info["validation"] for e in found.events if e.kind == "done" and e.task.phase != "test"}
    merged = next(e.info["merged"] for e in found.events if e.kind == "done" and e.task.phase == "merge")
    assert scores["two"] < scores["one"] and merged == [1] and scores["merge"] == scores["one"]


@pytest.mark.parametrize(
    ("merge", "said"),
    [
        ("{of: [one, too]}", "the model 'too' is to be merged, and no phase before this one makes it\n"),
        ("{of: [one], base: start}", "the model 'start' is to be read, and no phase before this one makes it\n"),
        ("{of: [one], method: tie}", "unknown merge 'tie'\n"),
        ("{of: [one], method: {name: ties, densty: 1}}", "merge 'ties' has no option 'densty'\n"),
        ("{of: [one], method: ties}", "'ties' needs the base, the model that all were tuned from\n"),
    ],
)
def test_mistakes_are_told(merge: str, said: str, places: Path) -> None:
    with pytest.raises(AssemblerError) as error:
        run(merge, places / "home")
    assert said in str(error.value)
