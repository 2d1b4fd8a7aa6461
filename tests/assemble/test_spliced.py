"""A model with what others have in their slots: the values are those that the others' steps make of what enters."""

from __future__ import annotations

import pytest
import torch
from assemble_models import data, model
from test_starting import staged

from assembler.assemble.frozen import piece
from assembler.assemble.models import Model
from assembler.assemble.spliced import spliced
from assembler.assemble.starting import slot_of
from assembler.compile.lower import lower
from assembler.graph.edit import cut

PLACES = [
    ("stage.0", "stage.1"),
    ("stage.0..stage.1", "stage.1"),
    ("stage.1", "stage.0..stage.1"),
    ("stage.0.block.0.mlp", "stage.1"),
    ("stage.0..stage.1", "stage.1.block.0.mlp"),
    ("stage.1..stage.1", "stage.0..stage.1"),
    ("stage.0..stage.1", "stage.0..stage.1"),
]


def value(model: Model, path: str) -> torch.Tensor:
    return piece(model, {"v": path}, {"v": "v"}, "cpu")(data().train.fields)["v"]


@pytest.mark.parametrize(("slot", "path"), PLACES)
def test_another_models_steps_work_on_what_enters_the_slot(slot: str, path: str) -> None:
    host, other = model(staged()), model(staged(), seed=5)
    made = spliced(host, {slot: (other, path)}, data().train)
    part, weights = slot_of(other, path)
    theirs = lower(part).eval()
    theirs.load_state_dict(weights)
    place = cut(made.graph, slot)
    with torch.no_grad():
        wanted = theirs(value(host, cut(host.graph, slot).source))
    assert torch.allclose(value(made, place.output), wanted, atol=1e-6)
    assert not torch.allclose(value(host, cut(host.graph, slot).output), wanted, atol=1e-3)
    assert value(made, made.graph.outputs[0][1]).shape == value(host, host.graph.outputs[0][1]).shape


@pytest.mark.parametrize(("slot", "path"), PLACES)
def test_of_another_width_they_stand_between_stitches(slot: str, path: str) -> None:
    host, other = model(staged()), model(staged(dim=10), seed=5)
    made = spliced(host, {slot: (other, path)}, data(256).train)
    place, ours = cut(made.graph, slot), cut(host.graph, slot)
    assert value(made, place.output).shape == value(host, ours.output).shape
    stitches = {i.rpartition(".")[2] for i in made.graph.nodes if "stitch" in i}
    assert "stitch_in" in stitches and sum(made.graph.nodes[i].op == "conv2d" for i in place.ids) >= 2
    missed = (value(made, place.output) - value(host, ours.output)).square().mean()
    assert missed < value(host, ours.output).square().mean()  # the least squares are nearer than nothing


def test_slots_taken_one_after_the_other_do_not_mix() -> None:
    host, other = model(staged()), model(staged(), seed=5)
    made = spliced(host, {"stage.0": (other, "stage.1"), "stage.1": (other, "stage.0")}, data().train)
    key = "block.0.mlp.ffn.fc1.weight"
    for ours, theirs in (("stage.0", "stage.1"), ("stage.1", "stage.0")):
        assert torch.equal(made.weights[f"{ours}.{key}"], other.weights[f"{theirs}.{key}"])
