"""Models trained further as others: with another head, cut short, or as the run has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import changed, run_tiny

import assembler as asm
from assembler.assemble.runner import Runner
from assembler.assemble.store import Store
from assembler.errors import AssemblerError
from assembler.pipeline.claims.runs import Workshop
from assembler.pipeline.spec import read
from assembler.recipe.document import parse

HEAD = changed(("split: [stage.*]\nspace:\n  stage.*.block.mixer: {$oneof: [dwconv, pool, zero]}\n", "")).partition(
    "phases:"
)[0]


def text(phase: str, first: str = "{train: {epochs: 1}}") -> str:
    return f"{HEAD}phases:\n  teacher: {first}\n  next: {phase}\n  export: {{formats: [safetensors]}}\n"


def weights(phases: str, home: Path) -> dict[str, torch.Tensor]:
    return asm.build(run_tiny("seeds=[0]", home=home, text=phases).folder).state_dict()


def test_what_is_set_otherwise_begins_afresh_and_all_else_with_the_weights_of_the_model_before(places: Path) -> None:
    home = places / "home"
    before = weights(f"{HEAD}phases:\n  teacher: {{train: {{epochs: 1}}}}\n  export: {{}}\n", home)
    same = weights(text("{phase: tune, of: teacher, set: {}, train: {epochs: 0}}"), home)
    assert all(torch.equal(same[key], value) for key, value in before.items()) and same.keys() == before.keys()
    small = weights(text("{phase: tune, of: teacher, set: {stage.repeat: 1}, train: {epochs: 0}}"), home)
    assert all(torch.equal(small[key], before[key]) for key in small) and not any("stage.1" in key for key in small)
    other = weights(text("{phase: tune, of: teacher, set: {head.out: 5}, train: {epochs: 0}}"), home)
    assert torch.equal(other["stem.weight"], before["stem.weight"]) and other["head.weight"].shape == (5, 6)


def test_what_no_phase_reads_is_planned_and_not_trained_where_a_claim_is_about_another_model(places: Path) -> None:
    store = Store(places / "home")
    with Runner(store, 1) as runner:
        shop = Workshop(runner, "cpu")
        run = shop.planned(read(parse(text("{phase: tune, of: teacher, train: {epochs: 1}}"))))
        assert [*run.models] == ["teacher", "next"] and not [*store.products()]
        run.make(run.models["teacher"].values())
    assert {one.card["phase"] for one in store.products()} == {"teacher"}


def test_an_objective_reads_what_the_changed_model_has(places: Path) -> None:
    first = "{phase: train, set: {graph.more: {op: linear, out: 3, from: pool}, outputs.more: more}, "
    first += "objective: [{loss: cross_entropy, value: more, target: label}], train: {epochs: 1}}"
    found = weights(text("{phase: tune, of: teacher, set: {}, train: {epochs: 1}}", first), places / "home")
    assert "head.weight" in found and "more.weight" not in found


def test_changes_that_are_wrong_are_told() -> None:
    with pytest.raises(AssemblerError, match="unknown op 'lineer'"):
        asm.plan(parse(text("{phase: tune, of: teacher, set: {head.op: lineer}}"), "r.yaml"))
    said = "{phase: tune, of: teacher, set: {}, objective: [{loss: mse, value: more, target: image}]}"
    with pytest.raises(AssemblerError, match="the model has no value 'more'"):
        asm.plan(parse(text(said), "r.yaml"))
    first = "{phase: train, set: {stage.repeat: 1}}"
    said = "{phase: train, objective: [{loss: mse, value: stage.1, target: teacher.stage.1}]}"
    with pytest.raises(AssemblerError, match=r"'teacher' has no value 'stage\.1'"):
        asm.plan(parse(text(said, first), "r.yaml"))
