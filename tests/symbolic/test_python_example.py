"""The Python example of the product's description, as it is written there, on a small image."""

from __future__ import annotations

from pathlib import Path

import pyglove as pg
from torch import nn

import assembler as asm

TINY = ("vars.size=32", "vars.classes=3", "vars.widths=[4, 4, 4, 4]", "vars.depths=[1, 1, 1, 1]")


def my_score(model: nn.Module) -> float:
    return -float(sum(p.numel() for p in model.parameters()))


def test_the_example_runs(tmp_path: Path) -> None:
    recipe = asm.load("poolformer@s12", *TINY)
    recipe.rebind({"stage.block.mixer": pg.oneof(["pool", "attention", "dwconv"])})
    scores = []
    for candidate, feedback in pg.sample(recipe, pg.evolution.regularized_evolution(), num_examples=3):
        scores.append(my_score(asm.build(candidate)))
        feedback(scores[-1])
    assert len(scores) == 3
    storage = f"journal:///{tmp_path / 'study.log'}"
    result = asm.search(recipe, objective=my_score, sampler="tpe", trials=4, storage=storage)
    assert result.space_size == 3 and result.best is not None
    assert result.best.choice == {"stage.block.mixer": 0}, "pooling has no weights"
    again = asm.search(recipe, objective=my_score, sampler="tpe", trials=4, storage=storage)
    assert [t.choice for t in again.trials][: len(result.trials)] == [t.choice for t in result.trials]

    graph = asm.graph(asm.load("poolformer@s12", *TINY))
    changed = graph.replace("stage.0.block.0.mix.token", op="identity")
    assert "~ stage.0.block.0.mix.token: op pool -> identity" in str(asm.diff(graph, changed))
    assert changed.nodes["stage.0.block.0.mix.token"].op == "identity"
